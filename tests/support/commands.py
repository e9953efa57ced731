"""Commands as tests run them: in this process, in one of their own, or forked from one that has imported asal."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

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
    "strategies": {
        "random": {}, "uncertainty": {}, "subset": {"size": 50}, "asal": {"search": "generator", "steps": 5},
    },
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
        """Check what a user can put right: code 2; what happened, the rule if any, a hint; and in them these words."""
        assert self.code == 2, f"code {self.code}\n{self.out}\n{self.err}"
        labels = [line.partition(" ")[0] for line in self.lines]
        assert labels in (["error:", "rule:", "hint:"], ["error:", "hint:"]), self.err
        assert all(len(line.split()) > 1 for line in self.lines), self.err
        for word in words:
            assert word in self.err, f"{word!r} is not in\n{self.err}"


Command = Callable[..., Said]


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
{extra}
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

    def __init__(self, folder: Path, extra: str = "") -> None:
        """Import asal; `extra` is Python that prepares what the commands need beside it."""
        self.folder, self.started, self.lock = folder, 0, threading.Lock()
        pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self.server = subprocess.Popen([sys.executable, "-c", SERVER.replace("{extra}", extra)], **pipes)
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
        with self.lock:
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
    codes: list[int] = field(default_factory=list)  # its exit code, once it has ended

    def ended(self) -> bool:
        """Say whether it has ended."""
        if not self.codes and (code := self.starter.ask({"wait": self.pid})) is not None:
            self.codes.append(code)
        return bool(self.codes)

    def wait(self, seconds: float = 120) -> Said:
        """Return what it said when it has ended, however it did."""
        end = time.monotonic() + seconds
        while not self.ended():
            assert time.monotonic() < end, f"still at work after {seconds} s: {self.out.read_text()}"
            time.sleep(0.01)
        return Said(self.codes[0], self.out.read_text(), self.err.read_text())

    def alive(self) -> list[int]:
        """Return the processes of its group, but those that have ended and wait to be counted."""
        told = subprocess.run(["ps", "-A", "-o", "pgid=,pid=,stat="], capture_output=True, text=True, check=True)
        rows = [line.split() for line in told.stdout.splitlines()]
        return [int(pid) for group, pid, state in rows if int(group) == self.pid and not state.startswith("Z")]
