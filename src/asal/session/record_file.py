"""A record's file of SQLite: made complete at once, kept complete on its own, and checked before it is believed.

    labels.db               all events; after every answer, a copy of this file alone has that answer
    labels.db-wal, -shm     SQLite's write-ahead log and its index, while a process has the record open
    labels.db-checkpoint    which record lies here and how many events labels.db had at least, as long as there is a log

SQLite applies a log to whatever file it finds beside it. Two numbers in the file's header tell whether they belong
together: `user_version` is the number of events, and `application_id` a random number of the record.
See docs/decisions/0015-a-copy-of-the-record.md.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import sqlite3
import tempfile
import threading
import time
import weakref
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import sqlalchemy as sa

from asal.errors import UserError
from asal.runtime import artifacts
from asal.session.connection import RecordDamageError, damaged, engine_of, explaining, outage, reading_engine
from asal.session.schema import EVENTS, migrated

LATER = 1.0  # seconds until what is no answer, such as a lease, is copied into the file
AGAIN = 0.1  # seconds until that is tried again where a reader or another process was in the way
MARKED = 0.5  # seconds between two marks
LOG, MARK = "-wal", "-checkpoint"
RESTORE = "restore a copy of it"
LOG_GONE = (
    "to go on with {file} as it is now, move {log} and {file}-shm away first; to go on with the answers of before, "
    "put the file back that lay beside that log"
)


class Stamp(NamedTuple):
    """What the header of a record's file says. Both are 0 where an asal before this one wrote it."""

    record: int  # a random number
    events: int


def read_stamp(path: Path) -> Stamp | None:
    """Read what a file says without its log; None where it is no file of SQLite.

    By way of SQLite: whoever opens and closes the file otherwise loses every lock that this process has on it.
    """
    engine = reading_engine(path, alone=True)
    try:
        with engine.connect() as connection:
            return _stamp_of(connection)
    except sa.exc.DBAPIError:
        return None
    finally:
        engine.dispose()


def _stamp_of(connection: sa.Connection) -> Stamp:
    pragmas = ("PRAGMA application_id", "PRAGMA user_version")
    return Stamp(*(int(connection.exec_driver_sql(pragma).scalar() or 0) for pragma in pragmas))


def stamp(connection: sa.Connection, events: int) -> None:
    """Write the number of events into the header, in the transaction that adds them."""
    connection.exec_driver_sql(f"PRAGMA user_version = {events}")


def create(path: Path) -> None:
    """Make a record's file with all its tables, complete or not at all; leave one alone that is there by then."""
    scratch = artifacts.unfinished(path)
    try:
        with explaining(str(path)):
            engine = engine_of(sa.URL.create("sqlite", database=str(scratch)), str(path))
            try:
                migrated(engine)
                identify(engine)
                with engine.connect() as connection:  # closing would say nothing of a disk that is full by now
                    connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").one()
            finally:
                engine.dispose()
        artifacts.sync(scratch)
        try:
            os.link(scratch, path)  # fails where another process was first
        except FileExistsError:
            pass
        except OSError:  # a file system without links
            if not path.exists():
                scratch.rename(path)
        artifacts.sync(path.parent)
    except OSError as error:
        raise outage(str(path), f"it cannot be opened for writing ({error.strerror})") from None
    finally:
        for end in ("", LOG, "-shm"):
            scratch.with_name(scratch.name + end).unlink(missing_ok=True)


def identify(engine: sa.Engine) -> None:
    """Give a record its number, where it has none: one that an older asal began."""
    with engine.connect() as connection:
        if connection.exec_driver_sql("PRAGMA application_id").scalar():
            return
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        events = connection.execute(sa.select(sa.func.max(EVENTS.c.seq))).scalar() or 0
        connection.exec_driver_sql(f"PRAGMA application_id = {1 + secrets.randbelow(2**31 - 1)}")
        stamp(connection, events)
        connection.commit()


def check(path: Path) -> None:
    """Refuse a file that is no record, or that lies beside the log of another file; SQLite would believe both.

    Raises:
        RecordDamageError: says which, and what to do.
    """
    log = path.with_name(path.name + LOG)
    if not path.exists():
        if _logged(path):
            what = f"it is missing, and {log.name} beside it holds answers that cannot be read without it"
            raise damaged(str(path), what, hint=f"{RESTORE}, or move {log.name} away to begin a new record")
        return
    if path.is_dir():
        raise outage(str(path), "it is a folder")
    if path.stat().st_size == 0:
        raise no_tables(path, "it is empty")
    if _logged(path):
        _check_log(path, log)


def begin_or_check(path: Path) -> None:
    """Make the file of a new record, or check the one that is there, before anything writes into it."""
    check(path)
    if not path.exists():
        create(path)
    elif _logged(path):
        engine = reading_engine(path, alone=False)  # a writer would take what is in the log into the file
        try:
            check_view(path, engine)
        finally:
            engine.dispose()


def reader(path: Path) -> sa.Engine:
    """Return what reads a record where nothing may be written, with what is in its log.

    Raises:
        RecordDamageError: it is no record, or the log beside it is not its own.
    """
    check(path)
    if not _logged(path):
        return reading_engine(path, alone=True)
    engine = reading_engine(path, alone=False)
    try:
        with engine.connect() as connection:
            connection.exec_driver_sql("SELECT count(*) FROM sqlite_master").scalar()
        return engine
    except sa.exc.DBAPIError:  # SQLite would have to make the log's index beside the file
        engine.dispose()
    folder = tempfile.TemporaryDirectory(prefix="asal-record-")
    for end in ("", LOG):
        shutil.copyfile(path.with_name(path.name + end), Path(folder.name) / (path.name + end))
    engine = engine_of(sa.URL.create("sqlite", database=str(Path(folder.name) / path.name)), str(path))
    sa.event.listen(engine, "connect", lambda raw, _: raw.execute("PRAGMA query_only = ON"))
    weakref.finalize(engine, folder.cleanup)
    return engine


def may_write(path: Path) -> bool:
    """Say whether a file may be written; SQLite would open it all the same, and leave empty files beside it."""
    effective = os.access in os.supports_effective_ids
    return os.access(path, os.W_OK, effective_ids=effective)


def is_there(path: Path) -> bool:
    """Say whether there is a record, or what is left of one."""
    return path.exists() or _logged(path)


def none_there(path: Path) -> UserError:
    """Return the error for a record that was not begun."""
    return UserError(f"there is no record at {path}", hint="check the path, or label some images first: asal label")


def _logged(path: Path) -> bool:
    """Say whether there is a log with something in it."""
    log = path.with_name(path.name + LOG)
    return log.exists() and log.stat().st_size > 0


def no_tables(path: Path, what: str) -> RecordDamageError:
    """Return the error for a file without the tables that every record is begun with."""
    hint = f"{RESTORE}, with {path.name}{LOG} where the copy has one; or, if nothing was answered yet, delete it"
    return damaged(str(path), f"{what}, and asal begins no record without its tables", hint=hint)


def _check_log(path: Path, log: Path) -> None:
    """Refuse a log that was written for another file: SQLite would mix the two, and lose both."""
    known = _read_mark(path)  # before the file, which is never older than its mark
    here = read_stamp(path)
    if here is None or known is None or not known.record:
        return  # what is no database is reported when it is read; an older asal leaves no mark
    hint = LOG_GONE.format(file=path.name, log=log.name)
    if here.record != known.record:
        raise damaged(str(path), f"it is another record than the one that {log.name} beside it belongs to", hint=hint)
    if here.events < known.events:
        what = (
            f"it is an older copy with {here.events:,} events; {log.name} beside it was written after {known.events:,}"
        )
        raise damaged(str(path), what, hint=hint)


def check_view(path: Path, engine: sa.Engine) -> None:
    """Refuse a file without tables, and one whose log shows events that are not there.

    Args:
        engine: one that does not write: it would make the damage permanent.
    """
    with explaining(str(path)), engine.connect() as connection:
        if not sa.inspect(connection).has_table(EVENTS.name):
            raise no_tables(path, "it has no table of events")
        if not _logged(path):
            return
        connection.rollback()
        connection.exec_driver_sql("BEGIN")  # all that is read is of one moment
        number, wanted = _stamp_of(connection)
        last = connection.execute(sa.select(sa.func.max(EVENTS.c.seq))).scalar() or 0
    here, log = read_stamp(path), path.name + LOG
    if (here is not None and here.record not in (0, number)) or last < wanted:
        hint = LOG_GONE.format(file=path.name, log=log)
        raise damaged(str(path), f"{log} beside it was written for another file", hint=hint)


def _mark_of(path: Path) -> Path:
    return path.with_name(path.name + MARK)


def _read_mark(path: Path) -> Stamp | None:
    """Return what the mark beside a file says; None where there is none, or a power cut has emptied it."""
    try:
        facts = json.loads(_mark_of(path).read_bytes())
        return Stamp(int(facts["record"]), int(facts["events"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


@dataclass
class Checkpoints:
    """Copies what was committed from the write-ahead log into the file, so that the file alone is a backup."""

    path: Path
    engine: sa.Engine

    def __post_init__(self) -> None:
        self._lock, self._closed = threading.RLock(), False
        self._marked: Stamp | None = None
        self._next_mark = 0.0
        self._later: threading.Timer | None = None

    def now(self) -> None:
        """Copy all that is committed; where something is in the way, go on in the background."""
        if not self._copy():
            self.later(AGAIN)

    def later(self, seconds: float = LATER) -> None:
        """Do so in a while, once."""
        with self._lock:
            if self._later is None and not self._closed:
                self._later = threading.Timer(seconds, self._run)
                self._later.daemon = True
                self._later.start()

    def _run(self) -> None:
        with self._lock:
            self._later = None
            if self._closed:
                return
        self.now()

    def _copy(self) -> bool:
        """Return whether the file has everything. A commit is safe in the log, so that no error here matters."""
        with self._lock, suppress(sa.exc.SQLAlchemyError, sqlite3.Error, OSError):
            if self._closed:
                return True
            with self.engine.connect() as connection:
                here = _stamp_of(connection)
                connection.rollback()
                # PASSIVE waits for nobody: readers and writers go on meanwhile.
                blocked, logged, copied = connection.exec_driver_sql("PRAGMA wal_checkpoint(PASSIVE)").one()
            if blocked or logged != copied:
                return False
            self._mark(here)
            return True
        return False

    def _mark(self, here: Stamp) -> None:
        """Note what the file has at least, twice a second. Not synced: a mark that is lost or old refuses nothing."""
        if here == self._marked:
            return
        if (now := time.monotonic()) < self._next_mark:
            self.later(MARKED)
        else:
            scratch = artifacts.unfinished(self.path)
            try:
                scratch.write_text(json.dumps(here._asdict()))
                scratch.replace(_mark_of(self.path))
            finally:
                scratch.unlink(missing_ok=True)
            # The first answer of a process is noted at once: an older copy differs from it already.
            self._next_mark = now + MARKED if self._marked else 0.0
            self._marked = here

    def close(self) -> None:
        """End it, and let go of the database. The last process that does so leaves one file."""
        with self._lock:
            self._closed = True
            if self._later is not None:
                self._later.cancel()
            self.engine.dispose()
            with suppress(OSError):  # a folder that may not be written
                if not self.path.with_name(self.path.name + LOG).exists():
                    _mark_of(self.path).unlink(missing_ok=True)
