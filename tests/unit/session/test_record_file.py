"""A record's file: a copy of it alone has every answer, and what is not its own is refused before it is mixed."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from asal.errors import DamageError, OutageError, UserError
from asal.session import record_file
from asal.session.events import Event, Record
from asal.session.schema import LEASES


def in_a_process(work: Callable[[], str]) -> tuple[int, str]:
    """Do something in a fork; return the signal that ended it, and what it returned."""
    reading, writing = os.pipe()
    if not (pid := os.fork()):
        try:
            os.write(writing, work().encode())
        except BaseException as error:
            os.write(writing, f"{type(error).__name__}: {error}".encode())
        finally:
            os._exit(0)
    os.close(writing)
    with open(reading, "rb") as pipe:
        said = pipe.read().decode()
    return os.waitpid(pid, 0)[1], said


def die_after(path: Path, events: int, how: str = "") -> None:
    """Write one event at a time until there are so many, in a process that is killed as by a power cut.

    Args:
        how: "lazy" takes nothing from the log into the file.
    """

    def work() -> str:
        record = Record.open(path)
        if how == "lazy":
            record_file.Checkpoints.now = lambda self: None  # type: ignore[method-assign]
        for after in range(len(record.read()), events):
            record.append([Event("skipped", image=after, by="somebody")], after=after)
        os.kill(os.getpid(), signal.SIGKILL)
        return ""

    assert in_a_process(work) == (signal.SIGKILL, "")


def events_in(path: Path, *, readonly: bool = False) -> int:
    with Record.open(path, readonly=readonly) as record:
        return len(record.read())


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file() and path.suffix != ".db-shm"}


def alone(path: Path, folder: Path) -> Path:
    """Return a copy of the file alone, as cron or a synchronised folder makes one."""
    folder.mkdir(exist_ok=True)
    return Path(shutil.copy(path, folder / path.name))


# A copy ---------------------------------------------------------------------------------------------------------------


def test_a_copy_of_the_file_has_every_answer_that_was_acknowledged(tmp_path: Path) -> None:
    path = tmp_path / "labels.db"
    with Record.open(path) as record:
        assert events_in(alone(path, tmp_path / "new")) == 0, "the tables are in the file from the beginning"
        for after in range(60):
            record.append([Event("skipped", image=after, by="x" * 300)], after=after)
            copy = alone(path, tmp_path / f"copy {after}")
            assert events_in(copy) == after + 1
            with sqlite3.connect(copy) as database:
                assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_of_several_processes_each_leaves_the_file_complete(tmp_path: Path) -> None:
    path = tmp_path / "labels.db"
    with Record.open(path) as here, Record.open(path) as there:
        for after in range(0, 20, 2):
            here.append([Event("skipped", image=after)], after=after)
            there.append([Event("skipped", image=after + 1)], after=after + 1)
            assert events_in(alone(path, tmp_path / str(after))) == after + 2


def test_what_a_reader_was_in_the_way_of_is_copied_afterwards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record_file, "AGAIN", 0.01)
    path = tmp_path / "labels.db"
    with Record.open(path) as record:
        record.append([Event("skipped", image=0)], after=0)
        with record._engine.connect() as reader:
            reader.exec_driver_sql("BEGIN")
            assert reader.exec_driver_sql("SELECT count(*) FROM events").scalar() == 1
            record.append([Event("skipped", image=1)], after=1)
            record.append([Event("skipped", image=2)], after=2)
            assert record_file.read_stamp(path).events < 3, "the reader still reads the older pages"  # type: ignore[union-attr]
        until = time.monotonic() + 60
        while events_in(alone(path, tmp_path / "copy")) < 3 and time.monotonic() < until:
            time.sleep(0.01)
        assert events_in(alone(path, tmp_path / "copy")) == 3


def test_a_lease_is_copied_in_a_while(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record_file, "LATER", 0.01)
    monkeypatch.setattr(record_file.Checkpoints.later, "__defaults__", (0.01,))
    path = tmp_path / "labels.db"
    with Record.open(path) as record:
        with record.transaction() as connection:
            connection.execute(LEASES.insert().values(image=3, person="Ada", tab="a", renewed=0.0, until=1.0))
        until = time.monotonic() + 60
        leases: list[tuple[int]] = []
        while not leases and time.monotonic() < until:
            with sqlite3.connect(alone(path, tmp_path / "copy")) as database:
                leases = database.execute("SELECT image FROM leases").fetchall()
        assert leases == [(3,)]


def test_the_log_of_a_process_that_was_killed_is_taken_in_at_once(tmp_path: Path) -> None:
    path = tmp_path / "labels.db"
    die_after(path, 20, "lazy")
    assert record_file.read_stamp(path).events == 0  # type: ignore[union-attr]
    with Record.open(path):
        assert events_in(alone(path, tmp_path / "copy")) == 20


def test_a_closed_record_leaves_nothing_beside_it_also_after_a_kill(tmp_path: Path) -> None:
    path = tmp_path / "labels.db"
    die_after(path, 5)
    assert {path.name + end for end in ("", "-wal", "-shm", "-checkpoint")} == {p.name for p in tmp_path.iterdir()}
    assert events_in(path) == 5
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_a_record_of_an_older_asal_gets_its_number_and_keeps_every_event(tmp_path: Path) -> None:
    path = tmp_path / "labels.db"
    with Record.open(path) as record:
        record.append([Event("skipped", image=at) for at in range(7)], after=0)
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA application_id = 0")
        database.execute("PRAGMA user_version = 0")
    database.close()
    assert events_in(path) == 7
    number, events = record_file.read_stamp(path) or (0, 0)
    assert (number > 0, events) == (True, 7)
    assert events_in(path) == 7 and record_file.read_stamp(path) == (number, 7)


def test_the_log_of_an_older_asal_is_read(tmp_path: Path) -> None:
    path = tmp_path / "labels.db"
    Record.open(path).close()
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA application_id = 0")
    database.close()
    writer = sqlite3.connect(path)
    writer.execute("""INSERT INTO events VALUES (1, '', 'skipped', 0, 1, NULL, NULL, '{}')""")
    writer.commit()
    for end in ("", "-wal"):
        shutil.copy(f"{path}{end}", tmp_path / f"killed.db{end}")
    writer.close()
    assert events_in(tmp_path / "killed.db") == 1


# What is no record, or not this one's ---------------------------------------------------------------------------------


def emptied(path: Path) -> None:
    path.write_bytes(b"")
    for end in ("-wal", "-shm", "-checkpoint"):
        path.with_name(path.name + end).unlink(missing_ok=True)


def emptied_beside_its_log(path: Path) -> None:
    path.write_bytes(b"")


def gone_but_for_its_log(path: Path) -> None:
    path.unlink()


def zeroed(path: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


def without_its_tables(path: Path) -> None:
    emptied(path)
    path.unlink()
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("CREATE TABLE films (title)")
    database.close()


def halved(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    path.with_name(path.name + "-wal").unlink(missing_ok=True)


@pytest.mark.parametrize(
    "damage", [emptied, emptied_beside_its_log, gone_but_for_its_log, zeroed, without_its_tables, halved]
)
@pytest.mark.parametrize("readonly", [False, True])
def test_what_is_left_of_a_record_is_no_empty_record(
    tmp_path: Path, damage: Callable[[Path], None], readonly: bool
) -> None:
    path = tmp_path / "labels.db"
    die_after(path, 12, "lazy")
    damage(path)
    before = contents(tmp_path)
    with pytest.raises(DamageError, match=r"labels\.db.*(copy|move)"):
        events_in(path, readonly=readonly)
    if damage is not halved:  # which SQLite alone can tell
        assert contents(tmp_path) == before, "what may help is kept"


def test_a_new_project_stays_easy(tmp_path: Path) -> None:
    assert events_in(tmp_path / "labels.db") == 0
    with pytest.raises(UserError, match="there is no record"):
        Record.open(tmp_path / "other.db", readonly=True)
    assert not (tmp_path / "other.db").exists()


@pytest.mark.parametrize("how", ["", "lazy"])
def test_an_older_copy_beside_the_log_is_refused_and_both_remedies_help(tmp_path: Path, how: str) -> None:
    path = tmp_path / "labels.db"
    die_after(path, 8)
    copy, events_in_it = alone(path, tmp_path / "copy"), 8
    die_after(path, 30)
    if how:  # the log has more than the file
        die_after(path, 33, how)
    newest = path.read_bytes()
    shutil.copy(copy, path)
    before = contents(tmp_path)
    with pytest.raises(DamageError, match=r"older copy with 8 events.*move labels\.db-wal and labels\.db-shm away"):
        events_in(path)
    assert contents(tmp_path) == before

    other = tmp_path / "other"
    other.mkdir()
    for file in tmp_path.glob("labels.db*"):
        shutil.copy(file, other / file.name)
    for end in ("-wal", "-shm"):
        (other / f"labels.db{end}").unlink()
    assert events_in(other / "labels.db") == events_in_it
    path.write_bytes(newest)
    assert events_in(path) == (33 if how else 30)


def test_another_record_beside_the_log_is_refused(tmp_path: Path) -> None:
    path, other = tmp_path / "labels.db", tmp_path / "other" / "labels.db"
    other.parent.mkdir()
    die_after(path, 10)
    with Record.open(other) as record:
        record.append([Event("skipped", image=at) for at in range(90)], after=0)
    shutil.copy(other, path)
    with pytest.raises(DamageError, match="another record"):
        events_in(path)


def test_a_strange_log_is_refused_also_where_the_mark_was_lost(tmp_path: Path) -> None:
    path = tmp_path / "labels.db"
    die_after(path, 100)
    copy = alone(path, tmp_path / "copy")
    die_after(path, 900)
    shutil.copy(copy, path)
    (tmp_path / "labels.db-checkpoint").unlink()
    with pytest.raises(DamageError, match=r"labels\.db"):
        events_in(path)


def test_a_mark_that_a_power_cut_has_emptied_refuses_nothing(tmp_path: Path) -> None:
    path = tmp_path / "labels.db"
    die_after(path, 10)
    (tmp_path / "labels.db-checkpoint").write_bytes(b"")
    assert events_in(path) == 10


# Where nothing may be written -----------------------------------------------------------------------------------------


def read_as_a_stranger(path: Path) -> str:
    """Read a record as somebody without the right to write; return how much was read, and how writing ends."""

    def work() -> str:
        Record.open("sqlite://").close()  # all that is imported late
        if os.geteuid() == 0:
            os.setegid(65534)
            os.seteuid(65534)
        with Record.open(path, readonly=True) as record:
            events = len(record.read())
            try:
                record.append([Event("skipped", image=1)], after=events)
            except OutageError:
                return f"{events}, and no more"
        return "it was written"

    return in_a_process(work)[1]


@pytest.mark.parametrize("left", ["closed", "killed", "killed without an index", "killed with a full log"])
@pytest.mark.parametrize("modes", [(0o555, 0o444), (0o777, 0o444)])
def test_somebody_who_may_not_write_reads_every_event(left: str, modes: tuple[int, int]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "labels.db"
        die_after(path, 25, "lazy" if left == "killed with a full log" else "")
        if left == "closed":
            assert events_in(path) == 25
        if left == "killed without an index":
            path.with_name("labels.db-shm").unlink()
        for file in Path(folder).iterdir():
            file.chmod(modes[1])
        Path(folder).chmod(modes[0])
        before = contents(Path(folder))
        said = read_as_a_stranger(path)
        Path(folder).chmod(0o755)
        assert said == "25, and no more"
        assert contents(Path(folder)) == before


def test_an_older_record_is_read_without_its_migration() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "labels.db"
        with Record.open(path) as record:
            record.append([Event("skipped", image=1)], after=0)
        with sqlite3.connect(path) as database:
            for table in ("asal_version", "leases", "people", "tokens"):
                database.execute(f"DROP TABLE {table}")
        database.close()
        path.chmod(0o444)
        Path(folder).chmod(0o555)
        said = read_as_a_stranger(path)
        Path(folder).chmod(0o755)
        assert said == "1, and no more"
