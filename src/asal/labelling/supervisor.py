"""The worker as the desk's process sees it: started, listened to, started again when it dies."""

from __future__ import annotations

import multiprocessing
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from typing import Any, TypeAlias, TypeVar

from asal.errors import UserError
from asal.experiments.round_row import RoundRow
from asal.labelling.worker import WorkerConfig, work

AGAIN = 1.0  # seconds until a worker that died is started again, twice as many each time
MOST = 60.0
STEADY = 30.0  # seconds after which a worker counts as well
UNHEARD = 100  # nudges that a busy worker is sent: a pipe that is full would hold up whoever answers
KEPT = 5_000  # images whose reasons are kept
T = TypeVar("T")
Complaint: TypeAlias = Callable[[UserError], object]


def quiet(error: UserError) -> None:
    """Say nothing: the page shows it."""


class WorkerSupervisor:
    """Runs a worker, and knows what it told last. Everything that is asked of it answers at once."""

    def __init__(self, order: WorkerConfig, complain: Complaint = quiet) -> None:
        self._order, self._lock, self._closed, self._complain = order, threading.Lock(), threading.Event(), complain
        self._line: Connection | None = None
        self._process: SpawnProcess | None = None
        self._told: dict[str, Any] = {"rows": [], "stopping": {"criteria": [], "advice": ""}}
        self._doing: dict[str, Any] = {"stage": "starting", "done": 0, "total": 0, "note": "", "since": time.time()}
        self._reasons: dict[int, Mapping[str, Any]] = {}
        self._guesses: dict[int, list[float]] = {}
        self._unheard = 0
        self._listener = threading.Thread(target=self._run, name="office", daemon=True)

    def start(self) -> None:
        """Start the worker."""
        self._listener.start()

    def close(self) -> None:
        """End it, wherever it is: what it had written stays."""
        self._closed.set()
        if self._process is not None:
            self._process.terminate()
            self._process.join(5)
        self._listener.join(5)

    @property
    def pid(self) -> int | None:
        """The worker's process."""
        return None if self._process is None else self._process.pid

    @property
    def doing(self) -> dict[str, Any]:
        """What the worker does now: stage, done, total, note, since (seconds), and error, or null."""
        with self._lock:
            return {"error": None, **self._doing, "since": round(time.time() - self._doing["since"], 1)}

    @property
    def rows(self) -> list[RoundRow]:
        """A row for each classifier so far."""
        rows: list[RoundRow] = self._told["rows"]
        return rows

    @property
    def stopping(self) -> dict[str, Any]:
        """The verdicts of the stopping criteria, and the advice."""
        found: dict[str, Any] = self._told["stopping"]
        return found

    def reason(self, image: int) -> Mapping[str, Any] | None:
        """Return why an image was chosen, where the worker told."""
        return self._reasons.get(image)

    def guess(self, image: int) -> list[float] | None:
        """Return the classifier's probabilities for an image, where the worker told."""
        return self._guesses.get(image)

    def nudge(self, rate: float) -> None:
        """Say that something was written, and how many answers come in a second."""
        with self._lock:
            if self._line is None or self._unheard >= UNHEARD:
                return
            self._unheard += 1
            with suppress(OSError, ValueError):  # it is dying: the next one reads the record
                self._line.send(rate)

    def _run(self) -> None:
        """Start a worker, listen to it to its end, and start the next one."""
        wait = AGAIN
        while not self._closed.is_set():
            begun = time.monotonic()
            self._hear(*self._started())
            if self._closed.is_set():
                return
            wait = AGAIN if time.monotonic() - begun > STEADY else min(wait * 2, MOST)
            if self.doing["stage"] != "failed":
                self._note(("doing", {"stage": "starting", "note": "the worker ended and is started again"}))
            self._closed.wait(wait)

    def _started(self) -> tuple[Connection, SpawnProcess]:
        context = multiprocessing.get_context("spawn")  # a fork would inherit the server's threads and sockets
        here, there = context.Pipe()
        process = context.Process(target=work, args=(self._order, there), name="asal worker", daemon=True)
        process.start()
        there.close()
        with self._lock:
            self._line, self._process, self._unheard = here, process, 0
        return here, process

    def _hear(self, line: Connection, process: SpawnProcess) -> None:
        try:
            while True:
                self._note(line.recv())
        except (EOFError, OSError):
            with self._lock:
                self._line = None
                line.close()
            process.join(5)

    def _note(self, said: tuple[str, Any]) -> None:
        kind, what = said
        if kind == "failed":
            self._complain(UserError(what["got"], rule=what["rule"], hint=what["hint"]))
        with self._lock:
            if kind == "doing":
                self._doing = {"done": 0, "total": 0, "note": "", "since": time.time(), **what}
            elif kind == "failed":
                self._doing = {**self._doing, "stage": "failed", "error": what, "since": time.time()}
            elif kind == "heard":
                self._unheard = 0
            elif kind == "reasons":
                self._reasons = _newest({**self._reasons, **what})
            elif kind == "guesses":
                self._guesses = _newest({**self._guesses, **what})
            else:
                self._told[kind] = what


def _newest(told: dict[int, T]) -> dict[int, T]:
    return dict(list(told.items())[-KEPT:])
