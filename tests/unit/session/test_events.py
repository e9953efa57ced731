"""The record: what it returns is what was written, and what it acknowledged outlives its writer."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from support.databases import fresh

from asal.errors import BusyError, DamageError, UserError
from asal.session.connection import explaining
from asal.session.events import Event, Record

Opener = Callable[[], Record]
WRITER = "import sys; sys.path = eval(sys.argv[1]); from test_events import {0}; {0}(*sys.argv[2:])"
PATHS = repr([str(Path(__file__).parent), *sys.path])


def start(function: str, *arguments: object) -> subprocess.Popen[str]:
    """Run a function of this file in a process of its own."""
    command = [sys.executable, "-c", WRITER.format(function), PATHS, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


@pytest.fixture(params=["sqlite", "postgresql"])
def opener(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Opener]:
    """Opens one and the same record, as often as it is called."""
    where: str | Path = tmp_path / "labels.db"
    if request.param == "postgresql":
        where = fresh(request.getfixturevalue("postgres"))
    opened: list[Record] = []

    def another() -> Record:
        opened.append(Record.open(where))
        return opened[-1]

    yield another
    for record in opened:
        record.close()


EVENTS = [
    Event("opened", body={"pool": "7f3a", "classes": ["Katze", "犬"], "seed": 2**40}),
    Event("asked", 0, body={"ids": [5, 2**31 + 7], "scores": [0.1, 1 / 3], "notes": [{"z": [1e-300]}, {}]}),
    Event("answered", 0, image=5, label=1, by="Zoë"),
    Event("skipped", 0, image=2**31 + 7),
    Event("corrected", 0, image=5, label=None, by='it\'s "me"; DROP TABLE events'),
]


def test_what_is_read_is_what_was_written(opener: Opener) -> None:
    record = opener()
    written = record.append(EVENTS[:2], after=0) + record.append(EVENTS[2:], after=2)
    assert [event.seq for event in written] == [1, 2, 3, 4, 5]
    assert record.read() == written == opener().read()
    assert record.read(after=3) == written[3:]
    for event, got in zip(EVENTS, written, strict=True):
        assert (event.kind, event.round, event.image, event.label, event.by) == (
            (got.kind, got.round, got.image, got.label, got.by)
        )
        assert event.body == got.body
        assert got.at.endswith("+00:00")


def test_numpy_values_in_a_body_come_back_plain_at_once(opener: Opener) -> None:
    body = {"ids": np.arange(3), "score": np.float32(0.5), "seen": np.bool_(True)}
    record = opener()
    (event,) = record.append([Event("asked", body=body)], after=0)
    assert event.body == {"ids": [0, 1, 2], "score": 0.5, "seen": True}
    assert record.read() == [event]


def test_a_body_with_nan_is_refused_and_nothing_written(opener: Opener) -> None:
    record = opener()
    with pytest.raises(ValueError, match="JSON"):
        record.append([Event("skipped", image=1), Event("asked", body={"score": float("nan")})], after=0)
    assert record.read() == []


def test_nothing_to_append_is_nothing_appended(opener: Opener) -> None:
    assert opener().append([], after=0) == []


def test_of_two_writers_who_read_the_same_past_the_second_fails_whole(opener: Opener) -> None:
    ada, bob = opener(), opener()
    ada.append(EVENTS[:1], after=0)
    with pytest.raises(BusyError, match="another process has written"):
        bob.append(EVENTS[:3], after=0)
    assert [event.kind for event in bob.read()] == ["opened"]
    bob.append(EVENTS[1:], after=1)
    assert len(ada.read()) == len(EVENTS)


def write_on(record: Record, name: str, wanted: int) -> list[int]:
    """Append pairs of events until `wanted` pairs got in; return their first numbers."""
    mine: list[int] = []
    while len(mine) < wanted:
        last = len(record.read())
        try:
            pair = record.append([Event("skipped", image=len(mine), by=name)] * 2, after=last)
        except BusyError:
            continue
        mine.append(pair[0].seq)
    return mine


def test_eight_threads_on_one_record_lose_nothing(opener: Opener) -> None:
    records = [opener() for _ in range(8)]
    with ThreadPoolExecutor(8) as threads:
        claims = list(threads.map(lambda at: write_on(records[at], f"thread {at}", 5), range(8)))
    check_claims(records[0], {f"thread {at}": seqs for at, seqs in enumerate(claims)})


def test_eight_threads_share_one_open_record(opener: Opener) -> None:
    record = opener()
    with ThreadPoolExecutor(8) as threads:
        claims = list(threads.map(lambda at: write_on(record, f"thread {at}", 5), range(8)))
    check_claims(record, {f"thread {at}": seqs for at, seqs in enumerate(claims)})


def write_and_print(path: str, name: str, wanted: str) -> None:
    """Open the record (the first time ever, maybe) and write on; in a process of its own."""
    with Record.open(path) as record:
        print(*write_on(record, name, int(wanted)))


def test_processes_that_begin_one_record_together_lose_nothing(tmp_path: Path) -> None:
    names = [f"process {at}" for at in range(3)]
    writers = [start("write_and_print", tmp_path / "labels.db", name, 6) for name in names]
    claims = {}
    for name, writer in zip(names, writers, strict=True):
        claims[name] = [int(seq) for seq in writer.communicate()[0].split()]
    with Record.open(tmp_path / "labels.db") as record:
        check_claims(record, claims)


def check_claims(record: Record, claims: dict[str, list[int]]) -> None:
    events = record.read()
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    assert len(events) == 2 * sum(map(len, claims.values()))
    for name, seqs in claims.items():
        assert [event.seq for event in events if event.by == name] == [at for seq in seqs for at in (seq, seq + 1)]


def write_for_ever(path: str) -> None:
    """Append three events at a time, and print the last number of what is acknowledged."""
    with Record.open(path) as record:
        seq = len(record.read())
        while True:
            seq = record.append([Event("skipped", image=seq, by="x" * 500)] * 3, after=seq)[-1].seq
            print(seq, flush=True)


@pytest.mark.slow
def test_what_was_acknowledged_outlives_a_kill(tmp_path: Path) -> None:
    for turn in range(3):
        with start("write_for_ever", tmp_path / "labels.db") as writer:
            assert writer.stdout is not None
            acknowledged = [int(writer.stdout.readline())]
            time.sleep(0.02 + 0.013 * turn)
            writer.kill()
            acknowledged += [int(line) for line in writer.stdout.read().split("\n")[:-1]]
        with Record.open(tmp_path / "labels.db") as record:
            seqs = [event.seq for event in record.read()]
        assert len(seqs) >= acknowledged[-1], "an acknowledged event is lost"
        assert len(seqs) % 3 == 0, "a transaction came in half"


def test_a_record_in_memory_needs_no_file_and_serves_every_thread() -> None:
    with Record.open("sqlite://") as record, ThreadPoolExecutor(4) as threads:
        claims = list(threads.map(lambda at: write_on(record, f"thread {at}", 5), range(4)))
        check_claims(record, {f"thread {at}": seqs for at, seqs in enumerate(claims)})


def test_a_closed_record_is_one_file(tmp_path: Path) -> None:
    with Record.open(tmp_path / "ein Ordner?#%20.db") as record:
        record.append(EVENTS, after=0)
    assert [path.name for path in tmp_path.iterdir()] == ["ein Ordner?#%20.db"]


def test_its_table_is_readable_with_any_tool(tmp_path: Path) -> None:
    with Record.open(tmp_path / "labels.db") as record:
        record.append(EVENTS, after=0)
    with sqlite3.connect(tmp_path / "labels.db") as database:
        rows = database.execute('SELECT seq, kind, image, label, "by", body FROM events WHERE seq = 3').fetchall()
        (mode,) = database.execute("PRAGMA journal_mode").fetchone()
    assert rows == [(3, "answered", 5, 1, "Zoë", "{}")]
    assert mode == "wal"


def test_every_commit_reaches_the_disk(tmp_path: Path) -> None:
    full = 2
    with Record.open(tmp_path / "labels.db") as record, record._engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == full


# What can go wrong, each told with the file's name ------------------------------------------------------------------


def full_record(path: Path, events: int = 3000) -> None:
    with Record.open(path) as record:
        record.append([Event("skipped", image=at, by="someone") for at in range(events)], after=0)


def damage_the_middle(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 4 : len(data) // 2] = os.urandom(len(data) // 4)
    path.write_bytes(data)


def cut_in_half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def put_text_in_its_place(path: Path) -> None:
    path.write_text("ids,labels\n3,dog\n" * 100)


def spoil_a_letter(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data.replace(b"someone", b"some\xffne"))


def spoil_a_body(path: Path) -> None:
    with sqlite3.connect(path) as database:
        database.execute("UPDATE events SET body = '{\"ids\": [' WHERE seq = 7")


def lose_an_event(path: Path) -> None:
    with sqlite3.connect(path) as database:
        database.execute("DELETE FROM events WHERE seq = 7")


def be_another_table(path: Path) -> None:
    with sqlite3.connect(path) as database:
        database.execute("ALTER TABLE events RENAME COLUMN body TO payload")


@pytest.mark.parametrize(
    "damage",
    [
        damage_the_middle,
        cut_in_half,
        put_text_in_its_place,
        spoil_a_letter,
        spoil_a_body,
        lose_an_event,
        be_another_table,
    ],
)
def test_a_damaged_file_is_named(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    path = tmp_path / "labels.db"
    full_record(path)
    damage(path)
    with pytest.raises(DamageError, match=r"labels\.db"), Record.open(path) as record:
        record.read()


def test_a_damaged_length_is_damage() -> None:
    refused = pytest.raises(DamageError, match=r"labels\.db.*damaged")
    with closing(sqlite3.connect(":memory:")) as database, refused, explaining("labels.db"):
        database.execute("SELECT zeroblob(2000000000)")  # what SQLite says of a damaged length, too


@pytest.mark.parametrize(
    ("url", "module", "hint"),
    [
        ("postgresql://me@host/name", "psycopg", r"pip install 'asal\[postgres\]'"),
        ("mysql+pymysql://me@host/name", "pymysql", "install that driver, or use a file"),
        ("nothing://me@host/name", "", "install that driver, or use a file"),
    ],
)
def test_a_database_whose_driver_is_missing_is_named(
    url: str, module: str, hint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if module:
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(UserError, match=f"the database's driver does not load .*; {hint}"):
        Record.open(url)


def test_a_full_disk_is_told_and_costs_only_what_was_not_acknowledged(tmp_path: Path) -> None:
    path = tmp_path / "labels.db"
    with Record.open(path) as record:
        record.append(EVENTS, after=0)
        with (
            record._engine.connect() as connection
        ):  # the pool gives this connection out again; SQLite counts pages for it
            connection.exec_driver_sql("PRAGMA max_page_count = 4")
        with pytest.raises(UserError, match=r"labels\.db: the disk is full"):
            record.append([Event("skipped", image=at, by="x" * 500) for at in range(500)], after=5)
        assert len(record.read()) == len(EVENTS)
    with Record.open(path) as record:
        record.append([Event("skipped", image=at, by="x" * 500) for at in range(500)], after=5)


def test_a_lock_that_is_held_too_long_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("asal.session.connection.PATIENCE", 0.05)
    with Record.open(tmp_path / "labels.db") as record:
        holder = sqlite3.connect(tmp_path / "labels.db")
        holder.execute("BEGIN IMMEDIATE")
        with pytest.raises(BusyError, match=r"has held .*labels\.db"):
            record.append(EVENTS, after=0)
        holder.close()
        assert len(record.append(EVENTS, after=0)) == len(EVENTS)


def test_a_folder_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nowhere"):
        Record.open(tmp_path / "nowhere" / "labels.db")


def test_a_folder_in_the_files_place_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=tmp_path.name):
        Record.open(tmp_path)


@pytest.mark.parametrize("where", ["nonsense://", "postgresql", "sqlite:///nowhere/at/all.db", "oracle://host/x"])
def test_a_url_that_leads_nowhere_is_told(where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    if "://" in where:
        with pytest.raises(UserError):
            Record.open(where)
    else:  # a plain word is a file's name
        Record.open(where).close()
        assert (tmp_path / where).exists()


def try_to_write(path: str) -> None:
    """Open and write as somebody without the right to; print the error."""
    if os.geteuid() == 0:
        os.setegid(65534)
        os.seteuid(65534)
    try:
        with Record.open(path) as record:
            record.append([Event("skipped", image=1)], after=3)
    except UserError as error:
        print(error)


@pytest.mark.skipif(sys.platform == "win32", reason="permissions are another matter there")
@pytest.mark.parametrize("what", ["folder", "file", "new"])
def test_a_place_that_is_not_to_be_written_is_told(what: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "labels.db"
        if what != "new":
            full_record(path, events=3)
            path.chmod(stat.S_IRUSR | stat.S_IRGRP | stat.S_IROTH)
        Path(folder).chmod(0o755 if what != "file" else 0o777)
        if os.geteuid() != 0:
            Path(folder).chmod(0o555 if what != "file" else 0o755)
        told, _ = start("try_to_write", path).communicate()
        Path(folder).chmod(0o755)
    assert "labels.db: " in told
    assert "writing" in told
