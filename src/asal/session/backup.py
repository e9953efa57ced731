"""A copy of a record that is complete at any time, also while people answer."""

from __future__ import annotations

import os
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from shlex import quote

import sqlalchemy as sa

from asal.errors import DamageError, UserError, counted
from asal.runtime import artifacts
from asal.session.connection import explaining, file_of, reading_engine, url_of
from asal.session.events import Record
from asal.session.record_file import LOG, check_view, is_there, none_there, read_stamp


@dataclass(frozen=True)
class Backup:
    """A copy that was read again and is complete."""

    path: Path
    events: int
    last: str  # when the last of them was written; empty where there is none

    def __str__(self) -> str:
        until = f", the last one of {self.last}" if self.last else ""
        return f"{self.path}: {counted(self.events, 'event')}{until}"


def backup(where: str | Path, target: Path) -> Backup:
    """Copy a record into a file, in one step, with SQLite's online backup; other processes may write meanwhile.

    Args:
        where: the record's file.
        target: a new file, or an earlier backup of the same record, which is replaced.

    Raises:
        UserError: the record is in a database server, there is none, or the target is something else.
        DamageError: the record is damaged; what lies at the target is kept.
    """
    source = file_of(url_of(where))
    if source is None:
        raise _elsewhere(where, target)
    if not is_there(source):
        raise none_there(source)
    target = target.resolve()  # a link stays a link: the file behind it is replaced
    if not target.absolute().parent.is_dir():
        raise UserError(f"there is no folder {target.absolute().parent}", hint="create it, or choose another file")
    scratch = artifacts.unfinished(target)
    with artifacts.explain_disk_errors(target):
        try:
            with Record.open(source, readonly=True) as record:
                _copy(record, scratch)
            done = _verified(scratch, target)
            _check_target(source, target, done)
            os.chmod(scratch, source.stat().st_mode & 0o777)  # names and digests of tokens: as private as the record
            artifacts.move_into_place(scratch, target)
        finally:
            for end in ("", LOG, "-shm", "-journal"):
                scratch.with_name(scratch.name + end).unlink(missing_ok=True)
    return done


def _copy(record: Record, scratch: Path) -> None:
    with record.look() as connection:
        reading = connection.connection.driver_connection
        assert isinstance(reading, sqlite3.Connection)
        writing = sqlite3.connect(scratch)
        try:
            reading.backup(writing)
        finally:
            writing.close()


def _verified(scratch: Path, target: Path) -> Backup:
    """Read the copy, every page and every event."""
    engine = reading_engine(scratch, alone=True)
    try:
        with explaining(str(target)), engine.connect() as connection:
            found = connection.exec_driver_sql("PRAGMA integrity_check").scalar()
        if found != "ok":
            raise DamageError(
                f"the record is damaged, and no backup was written: {found}",
                hint="keep the earlier backup, and restore the record from it",
            )
        events = Record(str(target), engine).read()
    finally:
        engine.dispose()
    return Backup(target, len(events), events[-1].at if events else "")


def _check_target(source: Path, target: Path, done: Backup) -> None:
    """Refuse to replace anything but an earlier backup of the same record."""
    if not target.exists():
        return
    if target.is_dir():
        raise _occupied(target, "it is a folder")
    if target.samefile(source):
        raise _occupied(target, "it is the record itself")
    if target.with_name(target.name + LOG).exists():
        raise _occupied(target, "it is a record that is in use")
    there, here = read_stamp(target), read_stamp(source)
    if there is None or not _is_record(target):
        raise _occupied(target, "it is not a backup of a record")
    if here is not None and there.record != here.record:
        raise _occupied(target, "it is a backup of another record")
    if there.events > done.events:
        more = f"it holds {counted(there.events, 'event')}, and the record has {done.events:,}"
        raise _occupied(target, more)


def _is_record(target: Path) -> bool:
    engine = reading_engine(target, alone=True)
    try:
        check_view(target, engine)
    except DamageError:
        return False
    finally:
        engine.dispose()
    return True


def _occupied(target: Path, why: str) -> UserError:
    return UserError(
        f"{target} is not replaced: {why}",
        rule="a backup replaces only an earlier one of the same record",
        hint="choose another file",
    )


def _elsewhere(where: str | Path, target: Path) -> UserError:
    """Return the error for a record in a database server, which has a command of its own; without the password."""
    url = url_of(where)
    plain = sa.URL.create("postgresql", url.username, None, url.host, url.port, url.database)
    dump = f"pg_dump --format=custom --file={quote(str(target))} {quote(plain.render_as_string())}"
    server = url.get_backend_name() == "postgresql"
    return UserError(
        f"the record is at {url.render_as_string(hide_password=True)}, and nothing was written",
        rule="asal copies records that are files",
        hint=f"run {dump}" if server else "use the backup command of that database",
    )
