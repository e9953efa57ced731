"""What was asked and answered: an append-only table of events, and the state that they fold into.

Nothing in the record is ever changed or deleted; a correction is one more event. Resuming is reading.

>>> with Record.open("sqlite://") as record:
...     _ = record.append([Event("skipped", image=3), Event("answered", image=8, label=1, by="Ada")], after=0)
...     [(event.seq, event.kind, event.image) for event in record.read()]
[(1, 'skipped', 3), (2, 'answered', 8)]
"""

from __future__ import annotations

import json
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

from asal.errors import OutageError
from asal.session import record_file
from asal.session.connection import damaged, engine_of, explaining, file_of, url_of
from asal.session.schema import EVENTS, alone, migrated, refuse_newer

FORMAT = 5  # of a record; raised when an older asal could not read a newer record
# Formats that this asal reads: 2 added synthetic images, 3 several annotators, 4 changed classes, 5 `trained_in`.
READ = (1, 2, 3, 4, 5)

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
                   of earlier rounds that were open still), topped (true: asked by the last classifier once more),
                   trained_in (the round that its classifier was trained in, where others were asked since);
                   where an approximate index was searched also index (see `asal.runtime.meter.Meter.add_check`);
                   where the images are synthetic also images (PNG in base64, one an id) and group
        answered   image, label, by; its round is the one that asked for it
        skipped    image, by: "can't tell"
        voted      image, label (or null), by: a vote where several are wanted, or one that arrived too late
        corrected  image, label (null: it is skipped from now on), by
        withdrawn  image, by: taken back; the image waits again
        repeated   image, label (or null), by: what they had said before; it changes nothing, and keeps its key
        imported   image, label, by: a label from elsewhere, for an image that was not asked; body: file
        classes    by, body: change, which is added (names), renamed (class, its number; name), merged (class, into),
                   dropped (class) or restored (class: it is neither merged nor dropped any more)

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


class Record:
    """The events of one project or run, in a database. What `append` has returned from survives a power cut.

    In a file, it is also in a copy of that file alone; see `asal.session.record_file`.
    """

    def __init__(self, name: str, engine: sa.Engine, path: Path | None = None) -> None:
        """Use `Record.open`.

        Args:
            path: the file, where events are written into one.
        """
        self.name, self._engine = name, engine
        self._checkpoints = None if path is None else record_file.Checkpoints(path, engine)
        # A record that was not closed is also one file.
        weakref.finalize(self, engine.dispose if self._checkpoints is None else self._checkpoints.close)

    @classmethod
    def open(cls, where: str | Path, *, readonly: bool = False) -> Record:
        """Open a record, or begin one where there is none.

        Args:
            where: a file (SQLite; its folder must exist), or any SQLAlchemy URL:
                `postgresql://user@host/name`, or `sqlite://` for one in memory, which is lost when it is closed.
            readonly: for reading alone: it is opened also where nothing may be written.

        Raises:
            UserError: it cannot be opened there.
            DamageError: the file is not a record, or damaged.
        """
        url = url_of(where)
        name = url.render_as_string(hide_password=True)
        if url.get_backend_name() == "sqlite" and url.database:
            name = url.database
        path = file_of(url)
        if readonly and path is not None:
            if not record_file.is_there(path):
                raise record_file.none_there(path)  # a reader begins none
            if not record_file.may_write(path):
                return cls._to_read(url, name)
        try:
            return cls._to_write(url, name)
        except OutageError:
            if not readonly:
                raise
            return cls._to_read(url, name)

    @classmethod
    def _to_write(cls, url: sa.URL, name: str) -> Record:
        path = file_of(url)
        if path is not None:
            record_file.begin_or_check(path)
        with explaining(name):
            record = cls(name, engine_of(url, name), path)
            if path is not None:
                record_file.check_view(path, record._engine)
            migrated(record._engine)
            if path is not None and record._checkpoints is not None:
                record_file.identify(record._engine)
                record._checkpoints.now()  # what a process that was killed has left in the log
        return record

    @classmethod
    def _to_read(cls, url: sa.URL, name: str) -> Record:
        path = file_of(url)
        engine = engine_of(url, name) if path is None else record_file.reader(path)
        record = cls(name, engine)
        with explaining(name):
            if path is not None:
                record_file.check_view(path, engine)
            refuse_newer(engine)
        return record

    @contextmanager
    def transaction(self) -> Iterator[sa.Connection]:
        """Do something with the tables beside the events, all of it or nothing, and alone: others wait for its end.

        Raises:
            BusyError: another process has held the database for too long.
        """
        with explaining(self.name), self._engine.connect() as connection:
            alone(connection)
            yield connection
            connection.commit()
        if self._checkpoints is not None:
            self._checkpoints.later()

    @contextmanager
    def look(self) -> Iterator[sa.Connection]:
        """Read the tables beside the events."""
        with explaining(self.name), self._engine.connect() as connection:
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
            with explaining(self.name), self._engine.begin() as connection:
                connection.execute(sa.insert(EVENTS), rows)
                if self._checkpoints is not None:
                    record_file.stamp(connection, written[-1].seq)
            if self._checkpoints is not None:
                self._checkpoints.now()
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
                raise damaged(self.name, f"event {seq} is missing")
            events.append(Event(kind, number, image, label, by, self._body(text, seq), seq, at))
        return events

    def _body(self, text: str, seq: int) -> Mapping[str, Any]:
        if text == "{}":
            return NOTHING
        try:
            return dict(json.loads(text))
        except (TypeError, ValueError) as error:
            raise damaged(self.name, f"event {seq} is not readable ({error})") from None

    def close(self) -> None:
        """Let go of the database. A closed SQLite record is one file."""
        if self._checkpoints is not None:
            self._checkpoints.close()
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
