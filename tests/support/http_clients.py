"""People without a person: clients that answer over HTTP, and the server that they answer to."""

from __future__ import annotations

import atexit
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import httpx

from support.commands import Starter

Label = Callable[[int], int | None]
PATIENCE = 120.0  # seconds: a busy machine starts a server ten times slower than an idle one


def free_port() -> int:
    """Return a port that nobody listens at."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


@dataclass
class Served:
    """`asal label` as a process, on a port of its own that stays the same when it is started again."""

    root: Path
    options: Sequence[str] = ()
    threads: int | None = 1  # that its worker trains with
    port: int = field(default_factory=free_port)
    process: Process | None = None
    token: str = ""
    printed: int = 0  # characters of its output when it was started

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> str:
        """Start it; return the token of the link that it prints, when it answers."""
        words = ["label", str(self.root), "--no-browser", "--port", str(self.port), *self.options]
        if self.threads is None:
            self.process = Process.fresh(words)
        else:
            self.process = Process.forked([*words, "--threads", str(self.threads)])
        end = time.monotonic() + PATIENCE
        while not (link := re.search(r"#token=(\S+)\n|Serving.*\n", self.process.output())):
            assert time.monotonic() < end and self.process.running(), f"it ended: {self.process.output()}"
            time.sleep(0.02)
        self.token, self.printed = link[1] or self.token, len(self.process.output())
        while time.monotonic() < end:
            try:
                httpx.get(f"{self.url}/healthz")
                return self.token
            except httpx.TransportError:
                time.sleep(0.02)
        raise AssertionError("it does not answer")

    def kill(self) -> None:
        """Kill it as a power cut would; its worker ends by itself."""
        assert self.process is not None
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def stop(self) -> str:
        """Press Ctrl-C; return what it printed since it was started, without the link."""
        assert self.process is not None
        os.kill(self.process.pid, signal.SIGINT)
        self.process.wait()
        return self.process.output()[self.printed :]

    def workers(self) -> list[int]:
        """Return the processes that train for it, or did before it was killed; the newest last."""
        assert self.process is not None
        return self.process.workers()

    def __enter__(self) -> Served:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.process is not None and self.process.running():
            os.kill(self.process.pid, signal.SIGTERM)
            try:
                self.process.wait()
            except AssertionError:
                self.kill()


WARM = """
import multiprocessing.forkserver, multiprocessing.resource_tracker
import uvicorn, uvicorn.protocols.http.h11_impl, uvicorn.loops.auto, fastapi, sqlalchemy.dialects.sqlite
import asal.cli.label, asal.web.serve, asal.labelling.supervisor

# A worker is not forked from the server, whose threads and sockets it would inherit, but from a process of its own.
worker = ["torch._dynamo", "scipy.special", "sklearn.metrics", "asal.labelling.worker_session"]
multiprocessing.set_forkserver_preload(worker)
multiprocessing.forkserver.ensure_running()
multiprocessing.forkserver._forkserver.ensure_running = multiprocessing.resource_tracker.ensure_running  # in forks, too
asal.labelling.supervisor.multiprocessing = types.SimpleNamespace(
    get_context=lambda _: multiprocessing.get_context("forkserver")
)
"""


@cache
def warm_starter() -> Starter:
    """Return what forks servers from a process that has imported all that they need, which takes seconds."""
    folder = Path(tempfile.mkdtemp(prefix="asal-label-"))
    starter = Starter(folder, WARM)
    atexit.register(lambda: (starter.end(), shutil.rmtree(folder, ignore_errors=True)))
    return starter


@dataclass(frozen=True)
class Process:
    """A server under way, whose output goes to a file."""

    pid: int
    log: Path
    ended: Callable[[], bool]

    @classmethod
    def fresh(cls, words: Sequence[str]) -> Process:
        """Start it as a user does: all is imported anew."""
        log = Path(tempfile.mkdtemp(prefix="asal-label-")) / "output"
        with log.open("w") as file:
            command = [sys.executable, "-m", "asal", *words]
            running = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT)
        return cls(running.pid, log, lambda: running.poll() is not None)

    @classmethod
    def forked(cls, words: Sequence[str]) -> Process:
        """Fork it from a process that has imported everything."""
        running = warm_starter()(*words, first="os.dup2(1, 2)")
        return cls(running.pid, running.out, running.ended)

    def output(self) -> str:
        return self.log.read_text() if self.log.exists() else ""

    def running(self) -> bool:
        return not self.ended()

    def wait(self) -> None:
        """Wait until it has ended."""
        end = time.monotonic() + PATIENCE
        while self.running():
            assert time.monotonic() < end, f"it does not end: {self.output()}"
            time.sleep(0.01)

    def workers(self) -> list[int]:
        """Return the processes that its fork server has started, the newest last."""
        parents: dict[int, tuple[int, int]] = {}  # process → its parent, and when it was started
        for path in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = path.read_text().rpartition(")")[2].split()
            except OSError:  # it has ended meanwhile
                continue
            if fields[0] != "Z":
                parents[int(path.parent.name)] = (int(fields[1]), int(fields[19]))
        starter = warm_starter().server.pid
        found = [pid for pid, (parent, _) in parents.items() if parents.get(parent, (0, 0))[0] == starter]
        return sorted(found, key=lambda pid: parents[pid][1])


def is_preparing(reply: httpx.Response) -> bool:
    """Say whether the server takes images in, and reports no error."""
    if reply.status_code != 503:
        return False
    doing = reply.json()["error"].get("doing")
    return doing is not None and doing["error"] is None


@dataclass(eq=False)
class Bot:
    """Somebody who answers over HTTP, with a token."""

    url: str
    token: str
    tab: str = field(default_factory=lambda: uuid.uuid4().hex)
    patience: float = PATIENCE  # seconds that it calls again while nobody answers

    def __post_init__(self) -> None:
        self.http = httpx.Client(base_url=self.url, headers={"Authorization": f"Bearer {self.token}"}, timeout=PATIENCE)
        weakref.finalize(self, self.http.close)

    def get(self, path: str) -> Any:
        """Return what the server says, as soon as it has taken the images in."""
        until = time.monotonic() + self.patience
        while is_preparing(reply := self.http.get(path)):
            assert time.monotonic() < until, reply.text
            time.sleep(0.05)
        assert reply.status_code == 200, reply.text
        return reply.json()

    def post(self, path: str, body: dict[str, Any]) -> Any:
        """Send something until it is acknowledged, over and over while the server is away, or takes images in."""
        until = time.monotonic() + self.patience
        while True:
            try:
                reply = self.http.post(path, json=body)
            except httpx.TransportError:
                assert time.monotonic() < until, "the server stays away"
                time.sleep(0.02)
                continue
            if is_preparing(reply):
                assert time.monotonic() < until, reply.text
                time.sleep(0.05)
                continue
            assert reply.status_code == 200, reply.text
            return reply.json()

    def next(self, n: int = 1, have: Sequence[int] = ()) -> list[dict[str, Any]]:
        """Return images to answer; none where there are none for now."""
        found: list[dict[str, Any]] = self.post("/api/next", {"tab": self.tab, "n": n, "have": list(have)})["tasks"]
        return found

    def answer(self, *answers: tuple[int, int | None], key: str = "") -> Any:
        """Answer images."""
        told = [{"image": image, "label": label, "seconds": 0.5} for image, label in answers]
        return self.post("/api/answers", {"key": key or uuid.uuid4().hex, "tab": self.tab, "answers": told})

    def label(self, label: Label, *, each: int = 1) -> int:
        """Answer whatever comes until the budget is spent; return how many that were."""
        done = 0
        while True:
            tasks = self.next(each)
            if tasks:
                self.answer(*((task["image"], label(task["image"])) for task in tasks))
                done += len(tasks)
            elif (doing := self.get("/api/status")["doing"])["stage"] == "finished":
                return done
            else:
                assert doing["error"] is None, doing
                time.sleep(0.02)
