"""A tiny project that is prepared once, and the command line, called as a user would."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support import ROOT, databases
from support.commands import TINY, Command, Said, Starter, merged

os.environ.setdefault("OMP_NUM_THREADS", "1")  # networks are tiny here: threads cost more than they bring
# The processes that tests start shall find what pyproject.toml tells pytest alone.
os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT / "src"), str(ROOT / "tests"), os.environ.get("PYTHONPATH", "")])


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """Run a PostgreSQL server, and yield the URL of its first database."""
    if databases.binaries() is None:
        pytest.skip("PostgreSQL's server is not installed: apt-get install postgresql")
    with databases.server() as url:
        yield url


@pytest.fixture
def asal(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Command:
    """Return `asal(*words)`, which runs the command line in this process."""
    from asal.cli.main import main

    def run(*words: object) -> Said:
        monkeypatch.setenv("ASAL_DEBUG", "")  # and is as it was when the test ends, whatever `--debug` makes of it
        monkeypatch.setattr(sys, "argv", ["asal", *map(str, words)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as end:
            main()
        code = end.value.code or 0
        return Said(code if isinstance(code, int) else 1, *capfd.readouterr())

    return run


@pytest.fixture(scope="session")
def shell() -> Command:
    """Return `shell(*words)`, which runs `python -m asal` in a process of its own."""

    def run(*words: object, **settings: Any) -> Said:
        command = [sys.executable, "-m", "asal", *map(str, words)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, **settings)
        return Said(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture(scope="session")
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Starter]:
    """Return what starts commands in processes of their own, in no time."""
    starter = Starter(tmp_path_factory.mktemp("said"))
    yield starter
    starter.end()


@pytest.fixture(scope="session")
def spec() -> Callable[..., dict[str, Any]]:
    """Return `spec(section={key: value})`: the tiny spec as a plain dict, changed."""
    return lambda **changes: merged(TINY, changes)


@pytest.fixture(scope="session")
def write_spec() -> Callable[..., Path]:
    """Return `write_spec(path, section={key: value})`, which writes the tiny spec, changed, as TOML."""

    def write(path: Path, **changes: Any) -> Path:
        from asal.project.spec import to_toml

        file = path / "asal.toml" if path.is_dir() else path
        file.write_text(to_toml(merged(TINY, changes)))
        return path

    return write


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory, write_spec: Callable[..., Path]) -> Path:
    """Return a project folder that holds everything its `asal.toml` asks for. To be read, not written."""
    from asal.project.project import Project
    from asal.project.spec import load

    folder = write_spec(tmp_path_factory.mktemp("prepared"))
    Project(folder, load(folder)).prepare()
    return folder


@pytest.fixture
def tiny(prepared: Path, tmp_path: Path) -> Path:
    """Return a prepared project of one's own."""
    return Path(shutil.copytree(prepared, tmp_path / "tiny"))
