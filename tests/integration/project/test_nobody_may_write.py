"""A project on a read-only disk, and what is left of its record: what the commands that only read make of them."""

from __future__ import annotations

import csv
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.commands import Command
from support.many_clients import CLASSES, project
from support.run_folders import write_experiment

from asal.project.project import Project

ANSWERS = 12


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a project with an open batch."""
    return project(tmp_path_factory.mktemp("small") / "p", 30)


@pytest.fixture
def root(small: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(small, tmp_path / "p"))


def answer(root: Path) -> None:
    session = Project.open(root).session("random")
    batch = session.ask(1)
    session.tell({int(image): int(image) % CLASSES for image in batch.ids[:ANSWERS]}, by="Ada")
    session.record.close()


def die_answering(root: Path) -> None:
    """Answer in a process that is killed: the log stays beside the record."""
    if not (pid := os.fork()):
        session = Project.open(root).session("random")
        batch = session.ask(1)
        session.tell({int(image): int(image) % CLASSES for image in batch.ids[:ANSWERS]}, by="Ada")
        os.kill(os.getpid(), signal.SIGKILL)
    assert os.waitpid(pid, 0)[1] == signal.SIGKILL
    assert (root / "labels.db-wal").exists()


def die_without_an_index(root: Path) -> None:
    die_answering(root)
    (root / "labels.db-shm").unlink()


@contextmanager
def read_only(folder: Path) -> Iterator[Path]:
    """Show a folder at a second place that nobody may write to, root included."""
    if os.geteuid() != 0:
        pytest.skip("only root mounts")
    place = folder.with_name("read-only")
    place.mkdir()
    done = subprocess.run(["mount", "--bind", folder, place], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"nothing can be mounted here: {done.stderr.strip()}")
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", place], check=True)
        yield place
    finally:
        subprocess.run(["umount", "--lazy", place], check=True)


def files(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


@pytest.mark.parametrize("leave", [answer, die_answering, die_without_an_index])
def test_what_only_reads_reads_every_label_and_writes_nothing(
    root: Path, tmp_path: Path, asal: Command, leave: Callable[[Path], None]
) -> None:
    leave(root)
    write_experiment(root / "runs" / "one", {"random": 0.0, "asal": 0.5}, seeds=2, rounds=4)
    before = files(root)
    with read_only(root) as place:
        status, doctor = asal("status", place), asal("doctor", place)
        export = asal("export", place, tmp_path / "out")
        report = asal("report", place / "runs" / "one", "--out", tmp_path / "report")
        backup = asal("backup", place, tmp_path / "copy.db")
        asal("report", place / "runs" / "one").refused("read-only", "--out FOLDER")
    assert (status.code, doctor.code, export.code, report.code, backup.code) == (0, 0, 0, 0, 0), doctor.err + export.err
    assert f"{ANSWERS} labels by 1 person" in " ".join(status.out.split())
    with (tmp_path / "out" / "labels.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == ANSWERS
    assert all(int(row["number"]) == int(row["id"]) % CLASSES and row["by"] == "Ada" for row in rows)
    assert (tmp_path / "report" / "report.html").stat().st_size > 10_000
    assert f"{ANSWERS + 2} events" in backup.out
    assert files(root) == before


@pytest.mark.parametrize("command", ["status", "doctor", "export", "import", "label"])
def test_a_record_that_was_emptied_is_damage_for_every_command(
    root: Path, tmp_path: Path, asal: Command, command: str
) -> None:
    answer(root)
    (root / "labels.db").write_bytes(b"")
    (tmp_path / "more.csv").write_text("id,label\n1,1\n")
    more = {"export": [tmp_path / "out"], "import": [tmp_path / "more.csv"], "label": ["--no-browser"]}
    said = asal(command, root, *more.get(command, []))
    assert "it is empty, and asal begins no record without its tables" in " ".join((said.out + said.err).split())
    assert said.code == {"status": 0, "doctor": 1}.get(command, 2)
    assert (root / "labels.db").read_bytes() == b""
    assert not (tmp_path / "out").exists()


def test_an_older_copy_beside_the_log_is_told_by_every_reader(root: Path, tmp_path: Path, asal: Command) -> None:
    copy = shutil.copy(root / "labels.db", tmp_path / "copy.db")
    die_answering(root)
    shutil.copy(copy, root / "labels.db")
    before = files(root)
    asal("export", root, tmp_path / "out").refused("older copy with 2 events", "move labels.db-wal")
    assert asal("doctor", root).code == 1
    assert "damaged" in asal("status", root).out
    assert files(root) == before
    for end in ("-wal", "-shm"):
        (root / f"labels.db{end}").unlink()
    answer(root)
    assert asal("export", root, tmp_path / "out").code == 0
