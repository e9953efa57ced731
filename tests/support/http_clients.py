"""People without a person: clients that answer over HTTP, and the server that they answer to."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
import uuid
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

Label = Callable[[int], int | None]


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
    process: subprocess.Popen[str] | None = None
    token: str = ""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> str:
        """Start it; return the token of the link that it prints, when it answers."""
        command = [sys.executable, "-m", "asal", "label", str(self.root), "--no-browser", "--port", str(self.port)]
        environment = {**os.environ, "OMP_NUM_THREADS": str(self.threads or os.cpu_count())}
        pipe, threads = subprocess.PIPE, [] if self.threads is None else ["--threads", str(self.threads)]
        self.process = subprocess.Popen(
            [*command, *threads, *self.options], stdout=pipe, stderr=subprocess.STDOUT, text=True, env=environment
        )
        assert self.process.stdout is not None
        said = ""
        while not (found := re.search(r"#token=(\S+)|Serving", said)):
            line = self.process.stdout.readline()
            assert line, f"it ended: {said}"
            said += line
        self.token = found[1] or self.token
        for _ in range(400):
            try:
                httpx.get(f"{self.url}/healthz")
                return self.token
            except httpx.TransportError:
                time.sleep(0.05)
        raise AssertionError("it does not answer")

    def kill(self) -> None:
        """Kill it as a power cut would; its worker ends by itself."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()
        if self.process.stdout:
            self.process.stdout.close()

    def stop(self) -> str:
        """Press Ctrl-C; return what it said last."""
        assert self.process is not None
        self.process.send_signal(signal.SIGINT)
        said, _ = self.process.communicate(timeout=30)
        return said

    def __enter__(self) -> Served:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.communicate(timeout=20)
            except subprocess.TimeoutExpired:
                self.kill()


@dataclass(eq=False)
class Bot:
    """Somebody who answers over HTTP, with a token."""

    url: str
    token: str
    tab: str = field(default_factory=lambda: uuid.uuid4().hex)
    patience: float = 60.0  # seconds that it calls again while nobody answers

    def __post_init__(self) -> None:
        self.http = httpx.Client(base_url=self.url, headers={"Authorization": f"Bearer {self.token}"}, timeout=60)
        weakref.finalize(self, self.http.close)

    def get(self, path: str) -> Any:
        """Return what the server says."""
        reply = self.http.get(path)
        assert reply.status_code == 200, reply.text
        return reply.json()

    def post(self, path: str, body: dict[str, Any]) -> Any:
        """Send something until it is acknowledged, over and over while the server is away."""
        until = time.monotonic() + self.patience
        while True:
            try:
                reply = self.http.post(path, json=body)
            except httpx.TransportError:
                assert time.monotonic() < until, "the server stays away"
                time.sleep(0.02)
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
