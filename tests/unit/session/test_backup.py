"""A backup: complete at any time, read again before it counts, and never over what is something else."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from asal.errors import DamageError, UserError
from asal.session.backup import backup
from asal.session.events import Event, Record


def filled(path: Path, events: int) -> Path:
    with Record.open(path) as record:
        known = len(record.read())
        record.append([Event("skipped", image=at, by="x" * 200) for at in range(known, events)], after=known)
    return path


def test_a_backup_is_the_record(tmp_path: Path) -> None:
    path = filled(tmp_path / "labels.db", 40)
    done = backup(path, tmp_path / "copy.db")
    with Record.open(path) as record, Record.open(tmp_path / "copy.db") as copy:
        events = record.read()
        assert copy.read() == events
    assert (done.events, done.last) == (40, events[-1].at)
    assert str(done) == f"{tmp_path / 'copy.db'}: 40 events, the last one of {events[-1].at}"
    assert sorted(file.name for file in tmp_path.iterdir()) == ["copy.db", "labels.db"]


def test_every_backup_under_way_of_answers_is_complete(tmp_path: Path) -> None:
    path = filled(tmp_path / "labels.db", 1)

    def write() -> None:
        with Record.open(path) as record:
            for after in range(1, 300):
                record.append([Event("skipped", image=after, by="x" * 200)], after=after)

    with ThreadPoolExecutor(1) as threads:
        writing, numbers = threads.submit(write), [0]
        while not writing.done():
            numbers.append(backup(path, tmp_path / "copy.db").events)
        writing.result()
    assert numbers == sorted(numbers)
    assert backup(path, tmp_path / "copy.db").events == 300


def test_an_earlier_backup_is_replaced_and_nothing_else(tmp_path: Path) -> None:
    path, copy = filled(tmp_path / "labels.db", 3), tmp_path / "copy.db"
    backup(path, copy)
    filled(path, 9)
    assert backup(path, copy).events == 9


def put_a_text(target: Path) -> None:
    target.write_text("my only notes")


def put_another_database(target: Path) -> None:
    with sqlite3.connect(target) as database:
        database.execute("CREATE TABLE films (title)")
    database.close()


def put_another_record(target: Path) -> None:
    filled(target, 2)


def put_a_folder(target: Path) -> None:
    target.mkdir()


def put_a_longer_one(target: Path) -> None:
    shutil.copy(target.with_name("labels.db"), target)
    filled(target, 50)


@pytest.mark.parametrize(
    ("put", "why"),
    [
        (put_a_text, "not a backup of a record"),
        (put_another_database, "not a backup of a record"),
        (put_another_record, "a backup of another record"),
        (put_a_folder, "a folder"),
        (put_a_longer_one, "holds 50 events, and the record has 20"),
    ],
)
def test_what_is_no_earlier_backup_is_kept(tmp_path: Path, put: Callable[[Path], None], why: str) -> None:
    path, target = filled(tmp_path / "labels.db", 20), tmp_path / "target"
    put(target)
    before = target.is_dir() or target.read_bytes()
    with pytest.raises(UserError, match=f"target is not replaced: it.* {why}.*choose another file"):
        backup(path, target)
    assert (target.is_dir() or target.read_bytes()) == before
    assert sorted(file.name for file in tmp_path.iterdir()) == ["labels.db", "target"]


def test_the_record_itself_and_one_in_use_are_kept(tmp_path: Path) -> None:
    path = filled(tmp_path / "labels.db", 2)
    with pytest.raises(UserError, match="it is the record itself"):
        backup(path, tmp_path / "labels.db")
    copy = Path(shutil.copy(path, tmp_path / "copy.db"))
    with Record.open(copy), pytest.raises(UserError, match="a record that is in use"):
        backup(path, copy)


def test_a_damaged_record_does_not_replace_a_good_backup(tmp_path: Path) -> None:
    path, copy = filled(tmp_path / "labels.db", 3000), tmp_path / "copy.db"
    backup(path, copy)
    good, data = copy.read_bytes(), bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 20_000] = bytes(20_000)
    path.write_bytes(data)
    with pytest.raises(DamageError):
        backup(path, copy)
    assert copy.read_bytes() == good


def test_a_record_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"there is no record at .*labels\.db"):
        backup(tmp_path / "labels.db", tmp_path / "copy.db")
    assert list(tmp_path.iterdir()) == []


def test_of_postgresql_the_command_is_named_without_the_password(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        backup("postgresql://me:secret@host:5433/labels", tmp_path / "my copy")
    file = tmp_path / "my copy"
    assert caught.value.hint == f"run pg_dump --format=custom --file='{file}' postgresql://me@host:5433/labels"
    assert "secret" not in str(caught.value)


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    record = filled(tmp_path / "labels.db", 3)
    (tmp_path / "today.db").touch()
    (tmp_path / "newest.db").symlink_to(tmp_path / "today.db")
    (tmp_path / "today.db").unlink()
    backup(record, tmp_path / "newest.db")
    filled(record, 5)
    done = backup(record, tmp_path / "newest.db")
    assert (tmp_path / "newest.db").is_symlink()
    assert (done.path, done.events) == (tmp_path / "today.db", 5)
