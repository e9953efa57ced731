"""A tiny project that is prepared once, and the command line, called as a user would."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import databases
import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")  # networks are tiny here: threads cost more than they bring
HERE = Path(__file__).parent  # the processes that tests start shall find what pyproject.toml tells pytest alone
os.environ["PYTHONPATH"] = os.pathsep.join([str(HERE.with_name("src")), str(HERE), os.environ.get("PYTHONPATH", "")])

TINY: Mapping[str, Any] = {
    "name": "tiny",
    "source": {"kind": "digits"},
    "pool": {"gray": True, "split": {"train": 400, "test": 200}},
    "generator": {
        "kind": "wgan-gp", "steps": 20, "width": 4, "latent_dim": 8, "batch": 16, "critic_steps": 1,
        "precision": "float32",
    },
    "features": {"autoencoder": {"steps": 20, "width": 4, "code": 8, "batch": 16, "precision": "float32"}},
    "learner": {"kind": "linear", "l2": 0.01, "iterations": 30},
    "protocol": {"initial": 20, "batch": 10, "budget": 40},
    "strategies": {"random": {}, "uncertainty": {}, "subset": {"size": 50}, "asal": {"steps": 5}},
}  # fmt: skip


@dataclass(frozen=True)
class Said:
    """What a command answered."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.err.splitlines()

    def refused(self, *words: str) -> None:
        """Check that a user can mend it: code 2; the rule, what came and the remedy; and in them all these words."""
        assert self.code == 2, f"code {self.code}\n{self.out}\n{self.err}"
        assert len(self.lines) == 3, self.err
        for line, first in zip(self.lines, ("error", "came", "remedy"), strict=True):
            assert line.split()[0] == first and len(line.split()) > 1, self.err
        for word in words:
            assert word in self.err, f"{word!r} is not in\n{self.err}"


Command = Callable[..., Said]


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


def merged(given: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the tables with these keys set; a key that is set to None goes."""
    whole = dict(given)
    for key, value in changes.items():
        before = whole.pop(key, {})
        if isinstance(value, Mapping):
            whole[key] = merged(before if isinstance(before, Mapping) else {}, value)
        elif value is not None:
            whole[key] = value
    return whole


SERVER = """
import json, multiprocessing, os, signal, sys, types
import torch._dynamo, scipy.linalg, sklearn.decomposition, PIL.Image, safetensors.numpy, pyarrow.parquet, filelock
import asal.project.project, asal.reports.experiment, asal.experiments.sweep, asal.models.generators.quality
import asal.models.tensors, asal.cli.main, asal.cli.progress, asal.project.status
import asal.runtime.engine.local, asal.paper.reproduce

# Workers are forks too, for the same reason.
asal.runtime.engine.local.multiprocessing = types.SimpleNamespace(
    get_context=lambda _: multiprocessing.get_context("fork"),
    parent_process=multiprocessing.parent_process,
    active_children=multiprocessing.active_children,
)
signal.signal(signal.SIGINT, signal.default_int_handler)  # whatever a shell has made of it
print("ready", flush=True)
for line in sys.stdin:
    job = json.loads(line)
    if "wait" in job:
        pid, status = os.waitpid(job["wait"], os.WNOHANG)
        print(json.dumps(os.waitstatus_to_exitcode(status) if pid else None), flush=True)
        continue
    child = os.fork()
    if child:
        print(child, flush=True)
        continue
    os.setsid()
    os.chdir(job["at"])
    for number, path in enumerate((os.devnull, job["out"], job["err"])):
        os.dup2(os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC), number)
    sys.argv = ["asal", *job["words"]]
    code = 0
    try:
        exec(job["first"])
        asal.cli.main.main()
    except SystemExit as end:
        code = end.code or 0
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
"""


class Starter:
    """Starts commands in processes of their own: forks of one that has imported all of asal, which takes seconds."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.started = folder, 0
        pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self.server = subprocess.Popen([sys.executable, "-c", SERVER], **pipes)
        assert self.server.stdout and self.server.stdout.readline() == "ready\n"

    def __call__(self, *words: object, first: str = "") -> Running:
        """Start `asal words…`, in a session of its own; `first` is Python that runs before."""
        self.started += 1
        out, err = (self.folder / f"{self.started}.{name}" for name in ("out", "err"))
        job = {"words": [str(word) for word in words], "out": str(out), "err": str(err), "first": first}
        return Running(self, self.ask({**job, "at": str(Path.cwd())}), out, err)

    def ask(self, job: Mapping[str, Any]) -> Any:
        """Send the server a line and return its answer."""
        assert self.server.stdin and self.server.stdout
        self.server.stdin.write(json.dumps(job) + "\n")
        self.server.stdin.flush()
        return json.loads(self.server.stdout.readline())

    def end(self) -> None:
        """End the server."""
        self.server.kill()
        self.server.communicate()


@dataclass(frozen=True)
class Running:
    """A command under way; its workers are in its process group."""

    starter: Starter
    pid: int
    out: Path
    err: Path

    def wait(self, seconds: float = 120) -> Said:
        """Return what it said when it has ended, however it did."""
        end = time.monotonic() + seconds
        while (code := self.starter.ask({"wait": self.pid})) is None:
            assert time.monotonic() < end, f"still at work after {seconds} s: {self.out.read_text()}"
            time.sleep(0.01)
        return Said(code, self.out.read_text(), self.err.read_text())

    def alive(self) -> list[int]:
        """Return the processes of its group, but those that have ended and wait to be counted."""
        told = subprocess.run(["ps", "-A", "-o", "pgid=,pid=,stat="], capture_output=True, text=True, check=True)
        rows = [line.split() for line in told.stdout.splitlines()]
        return [int(pid) for group, pid, state in rows if int(group) == self.pid and not state.startswith("Z")]


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
        from asal.reports.experiment import toml

        file = path / "asal.toml" if path.is_dir() else path
        file.write_text(toml(merged(TINY, changes)))
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
