"""What was asked and answered: an append-only table of events, and the state that they fold into.

Nothing in the record is ever changed or deleted; a correction is one more event. Resuming is reading.

>>> with Record.open("sqlite://") as record:
...     _ = record.append([Event("skipped", image=3), Event("answered", image=8, label=1, by="Ada")], after=0)
...     [(event.seq, event.kind, event.image) for event in record.read()]
[(1, 'skipped', 3), (2, 'answered', 8)]
"""

from __future__ import annotations

import json
import sqlite3
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any

import numpy as np
import sqlalchemy as sa

from asal.errors import BusyError, DamageError, OutageError, UserError
from asal.session.schema import EVENTS, alone, migrated

FORMAT = 3  # of a record; raised when an older asal could not read a newer record
READ = (
    1,
    2,
    3,
)  # formats that this asal reads: 2 added synthetic images, 3 several annotators
PATIENCE = 20.0  # seconds that a writer waits for another one's transaction to end

BEHIND = (  # in the order of Event's fields
    sa.select(*(EVENTS.c[name] for name in ("kind", "round", "image", "label", "by", "body", "seq", "at")))
    .where(EVENTS.c.seq > sa.bindparam("after"))
    .order_by(EVENTS.c.seq)
)
NOTHING: MappingProxyType[Any, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Event:
    """One line of the record. `seq` and `at` are given to it when it is written.

    Kinds, and what they carry:
        opened     body: format, asal (its version), pool (fingerprint), images, classes, seed
        asked      body: ids, scores, notes, n, strategy, labelled, seconds, evaluations, generated, because (or null),
                   seen (number of the last event that its classifier was trained on: which model asked), ahead (images
                   of earlier rounds that were open still), topped (true: asked by the last classifier once more);
                   where an approximate index was searched also index (see `asal.runtime.meter.Meter.add_check`);
                   where the images are synthetic also images (PNG in base64, one an id) and group
        answered   image, label, by; its round is the one that asked for it
        skipped    image, by: "can't tell"
        voted      image, label (or null), by: a vote where several are wanted, or one that arrived too late
        corrected  image, label (null: it is skipped from now on), by
        withdrawn  image, by: taken back; the image waits again
        repeated   image, label (or null), by: what they had said before; it changes nothing, and keeps its key
        imported   image, label, by: a label from elsewhere, for an image that was not asked; body: file

    What a person answered carries in its body, where it is known: key (the same answer sent again is one answer),
    seconds (how long it took), guess (true: the classifier's guess was looked at), votes (those that it settles),
    final (true: by an adjudicator, whom the others' votes cannot overrule).
    """

    kind: str
    round: int = 0
    image: int | None = None
    label: int | None = None
    by: str | None = None
    body: Mapping[str, Any] = field(default_factory=lambda: NOTHING)
    seq: int = 0  # 1, 2, 3 …
    at: str = ""  # UTC, ISO 8601


class RecordDamageError(DamageError):
    """A record is not what was written."""


class Record:
    """The events of one project or run, in a database. What `append` has returned from survives a power cut."""

    def __init__(self, name: str, engine: sa.Engine) -> None:
        self.name, self._engine = name, engine
        weakref.finalize(self, engine.dispose)  # a record that was not closed is also one file

    @classmethod
    def open(cls, where: str | Path) -> Record:
        """Open a record, or begin one where there is none.

        Args:
            where: a file (SQLite; its folder must exist), or any SQLAlchemy URL:
                `postgresql://user@host/name`, or `sqlite://` for one in memory, which is lost when it is closed.

        Raises:
            UserError: it cannot be opened there.
            DamageError: the file is not a record, or damaged.
        """
        url = _url(where)
        name = url.render_as_string(hide_password=True)
        if url.get_backend_name() == "sqlite" and url.database:
            name = url.database
        with _explaining(name):
            record = cls(name, _engine(url, name))
            migrated(record._engine)
        return record

    @contextmanager
    def transaction(self) -> Iterator[sa.Connection]:
        """Do something with the tables beside the events, all of it or nothing, and alone: others wait for its end.

        Raises:
            BusyError: another process has held the database for too long.
        """
        with _explaining(self.name), self._engine.connect() as connection:
            alone(connection)
            yield connection
            connection.commit()

    @contextmanager
    def look(self) -> Iterator[sa.Connection]:
        """Read the tables beside the events."""
        with _explaining(self.name), self._engine.connect() as connection:
            yield connection

    def append(self, events: Sequence[Event], *, after: int) -> list[Event]:
        """Write events behind the one that was read last, all of them or none; return them as they were written.

        Args:
            events: without `seq` and `at`, which they are given here.
            after: the `seq` of the last event that the writer knows of.

        Raises:
            BusyError: somebody has written since; nothing of these events was.
            OutageError: the disk is full, writing is not permitted, or the database does not answer.
        """
        at = datetime.now(UTC).isoformat(timespec="milliseconds")
        written, rows = [], []
        for seq, event in enumerate(events, after + 1):
            text = _text(event.body)
            written.append(replace(event, seq=seq, at=at, body=self._body(text, seq)))  # just as it will be read
            rows.append({name: getattr(written[-1], name) for name in Event.__slots__} | {"body": text})
        if rows:
            with _explaining(self.name), self._engine.begin() as connection:
                connection.execute(sa.insert(EVENTS), rows)
        return written

    def read(self, after: int = 0) -> list[Event]:
        """Return the events behind number `after`, oldest first.

        Raises:
            DamageError: the record is damaged.
        """
        with self.look() as connection:
            return self.read_over(connection, after)

    def read_over(self, connection: sa.Connection, after: int = 0) -> list[Event]:
        """Return the events behind number `after`, as they are inside of somebody's `transaction`."""
        rows = connection.execute(BEHIND, {"after": after}).all()
        events = []
        for seq, (kind, number, image, label, by, text, found, at) in enumerate(rows, after + 1):
            if found != seq:
                raise _damaged(self.name, f"event {seq} is missing")
            events.append(Event(kind, number, image, label, by, self._body(text, seq), seq, at))
        return events

    def _body(self, text: str, seq: int) -> Mapping[str, Any]:
        if text == "{}":
            return NOTHING
        try:
            return dict(json.loads(text))
        except (TypeError, ValueError) as error:
            raise _damaged(self.name, f"event {seq} is not readable ({error})") from None

    def close(self) -> None:
        """Let go of the database. A closed SQLite record is one file, which can be copied."""
        self._engine.dispose()

    def __enter__(self) -> Record:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


@dataclass(frozen=True)
class RecordSnapshot:
    """A record as it was after one of its events; nothing can be written into it."""

    record: Record
    seq: int

    @property
    def name(self) -> str:
        return self.record.name

    def read(self, after: int = 0) -> list[Event]:
        """Return the events behind number `after`, up to the last one of then."""
        return [event for event in self.record.read(after) if event.seq <= self.seq]


def _text(body: Mapping[str, Any]) -> str:
    return json.dumps(dict(body), default=_plain, allow_nan=False, ensure_ascii=False, separators=(",", ":"))


def _plain(value: Any) -> Any:
    """Turn the numpy numbers and arrays of a strategy's notes, and read-only mappings, into what JSON knows."""
    return value.tolist() if isinstance(value, np.generic | np.ndarray) else dict(value)


def _url(where: str | Path) -> sa.URL:
    if isinstance(where, str) and "://" in where:
        try:
            url = sa.make_url(where)
        except sa.exc.ArgumentError:
            raise UserError(
                f"'{where}' is neither a file nor a database URL",
                rule="a record lives in a file or at a database URL",
                hint="pass a path, or a URL such as postgresql://user@host/name",
            ) from None
        # SQLAlchemy still takes psycopg2 for the plain name; asal's extra brings psycopg 3.
        return url.set(drivername="postgresql+psycopg") if url.drivername == "postgresql" else url
    path = Path(where).absolute()
    if not path.parent.is_dir():
        raise UserError(
            f"there is no folder {path.parent}", rule="a record lies in a folder", hint="create it, or check the path"
        )
    return sa.URL.create("sqlite", database=str(path))


def _engine(url: sa.URL, name: str) -> sa.Engine:
    if url.get_backend_name() != "sqlite":
        try:
            return sa.create_engine(url, pool_pre_ping=True)
        except (ModuleNotFoundError, sa.exc.NoSuchModuleError) as error:
            asals = url.drivername == "postgresql+psycopg"
            other = "install that driver, or use a file or a postgresql:// URL"
            raise UserError(
                f"{name}: the database's driver does not load ({error})",
                hint="pip install 'asal[postgres]'" if asals else other,
            ) from None
    patience = {"timeout": PATIENCE, "check_same_thread": False}
    if url.database in (None, "", ":memory:"):  # one connection, or every thread would see an empty table of its own
        return sa.create_engine(url, connect_args=patience, poolclass=sa.QueuePool, pool_size=1, max_overflow=0)
    engine = sa.create_engine(url, connect_args=patience)
    sa.event.listen(engine, "connect", _durable)
    return engine


def _durable(connection: sqlite3.Connection, _: object) -> None:
    """Let readers read while one writes (WAL), and let every commit reach the disk (FULL)."""
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA journal_mode=WAL")


TROUBLE = {  # SQLite's primary result codes → the reason in the error message
    sqlite3.SQLITE_FULL: "the disk is full",
    sqlite3.SQLITE_READONLY: "writing is not permitted",
    sqlite3.SQLITE_PERM: "writing is not permitted",
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened for writing",
    sqlite3.SQLITE_IOERR: "the disk reports an error",
}
DAMAGE = {
    sqlite3.SQLITE_CORRUPT: "the database file is damaged",
    sqlite3.SQLITE_NOTADB: "it is not a database",
    sqlite3.SQLITE_ERROR: "it is not a record of asal",
}


@contextmanager
def _explaining(name: str) -> Iterator[None]:
    """Turn the database's errors into the user's, by their codes."""
    try:
        yield
    except sa.exc.IntegrityError:
        raise _busy(f"another process has written to {name} since it was last read") from None
    except sa.exc.TimeoutError:
        raise _busy(f"every connection to {name} was in use for too long") from None
    except UnicodeDecodeError as error:  # from SQLite's own message about a text
        raise _damaged(name, f"a text in it is not readable ({error})") from None
    except (sa.exc.DBAPIError, sqlite3.Error) as error:  # the bare kind comes from `_durable`
        cause = getattr(error, "orig", error)
        undecodable = isinstance(cause, sqlite3.Error) and not hasattr(
            cause, "sqlite_errorcode"
        )  # by Python, not SQLite
        extended = sqlite3.SQLITE_CORRUPT if undecodable else getattr(cause, "sqlite_errorcode", -1)
        # The write-ahead log's index could not grow: SQLite's own words for a full disk at that place are others.
        code = sqlite3.SQLITE_FULL if extended == sqlite3.SQLITE_IOERR_SHMSIZE else extended & 0xFF
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise _busy(f"another process has held {name} for {PATIENCE:g} seconds") from None
        if code in DAMAGE:
            raise _damaged(name, f"{DAMAGE[code]} ({cause})") from None
        raise OutageError(
            f"{name}: {TROUBLE.get(code, str(cause).strip().partition(chr(10))[0])}",
            rule="a record must be open to writing",
            hint="fix that, then run the same command again: what was acknowledged is kept",
        ) from None


def _busy(got: str) -> BusyError:
    return BusyError(
        got,
        rule="one process at a time writes to a record",
        hint="read it again and answer what is still open: what was acknowledged is kept",
    )


def _damaged(name: str, what: str) -> RecordDamageError:
    return RecordDamageError(
        f"{name}: {what}",
        rule="a record is read only as it was written",
        hint="restore a copy from before the damage, or start a new record",
    )
