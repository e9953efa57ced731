"""The worker as the server's process sees it: started, listened to, started again when it dies."""

from __future__ import annotations

import multiprocessing
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from typing import TypeAlias, TypeVar

from asal.errors import UserError
from asal.experiments.round_row import RoundRow
from asal.labelling.messages import (
    Activity,
    CaughtUp,
    Failed,
    FromWorker,
    Guesses,
    Reason,
    Reasons,
    RecordChanged,
    Rows,
    Stopping,
    TakenIn,
)
from asal.labelling.worker import WorkerConfig, work

RESTART = 1.0  # seconds until a worker that died is started again, twice as many each time
LONGEST_RESTART = 60.0
STABLE = 30.0  # seconds of work after which the next restart is quick again
MAX_UNREAD = 100  # messages to a busy worker: a full pipe would block whoever answers
KEPT = 5_000  # images whose reasons and guesses are kept
T = TypeVar("T")
OnError: TypeAlias = Callable[[UserError], object]


def ignore(what: object) -> None:
    """Do nothing: the page shows it."""


class WorkerSupervisor:
    """Runs a worker, and keeps what it reported last. Every method returns at once."""

    def __init__(
        self, config: WorkerConfig, on_error: OnError = ignore, on_finish: Callable[[Activity], object] = ignore
    ) -> None:
        """Name what it works on; nothing is started.

        Args:
            on_error: is called with errors of the worker.
            on_finish: is called when all is labelled, with what comes next.
        """
        self._config, self._on_error, self._on_finish = config, on_error, on_finish
        self._lock, self._closed = threading.Lock(), threading.Event()
        self.taken_in = threading.Event()  # whether the images are there
        self._connection: Connection | None = None
        self._process: SpawnProcess | None = None
        self._activity, self._rows, self._stopping = Activity("starting"), Rows(), Stopping()
        self._reasons: dict[int, Reason] = {}
        self._guesses: dict[int, list[float]] = {}
        self._unread = 0
        self._listener = threading.Thread(target=self._run, name="worker supervisor", daemon=True)

    def start(self) -> None:
        """Start the worker."""
        self._listener.start()

    def close(self) -> None:
        """End the worker, whatever it does: what it has written stays."""
        self._closed.set()
        self.taken_in.set()  # whoever waits for it looks whether it is closed
        if self._process is not None:
            self._process.terminate()
            self._process.join(5)
        self._listener.join(5)

    @property
    def closed(self) -> bool:
        """Whether the worker was ended."""
        return self._closed.is_set()

    @property
    def pid(self) -> int | None:
        """The worker's process."""
        return None if self._process is None else self._process.pid

    @property
    def activity(self) -> Activity:
        """What the worker does now."""
        return self._activity

    @property
    def rows(self) -> tuple[RoundRow, ...]:
        """A row for each classifier so far."""
        return self._rows.rows

    @property
    def stopping(self) -> Stopping:
        """What the stopping criteria say."""
        return self._stopping

    def reason(self, image: int) -> Reason | None:
        """Return why an image was chosen, where the worker has reported it."""
        return self._reasons.get(image)

    def guess(self, image: int) -> list[float] | None:
        """Return the classifier's probabilities for an image, where the worker has reported them."""
        return self._guesses.get(image)

    def notify(self, rate: float) -> None:
        """Let the worker know that something was written, and how many answers come in a second."""
        with self._lock:
            if self._connection is None or self._unread >= MAX_UNREAD:
                return
            self._unread += 1
            with suppress(OSError, ValueError):  # it is dying: the next one reads the record
                self._connection.send(RecordChanged(rate))

    def _run(self) -> None:
        """Start a worker, listen to it until it ends, and start the next one."""
        wait = RESTART
        while not self._closed.is_set():
            started = time.monotonic()
            self._listen(*self._start_process())
            if self._closed.is_set():
                return
            wait = RESTART if time.monotonic() - started > STABLE else min(wait * 2, LONGEST_RESTART)
            if self.activity.stage != "failed":
                self._receive(Activity("starting", note="the worker ended and is started again"))
            self._closed.wait(wait)

    def _start_process(self) -> tuple[Connection, SpawnProcess]:
        context = multiprocessing.get_context("spawn")  # a fork would inherit the server's threads and sockets
        here, there = context.Pipe()
        # Not a daemon, which could not start processes: it ends by itself when the pipe is closed.
        process = context.Process(target=work, args=(self._config, there), name="asal worker")
        process.start()
        there.close()
        with self._lock:
            self._connection, self._process, self._unread = here, process, 0
        return here, process

    def _listen(self, connection: Connection, process: SpawnProcess) -> None:
        try:
            while True:
                self._receive(connection.recv())
        except (EOFError, OSError):
            with self._lock:
                self._connection = None
                connection.close()
            process.join(5)

    def _receive(self, message: FromWorker) -> None:
        if isinstance(message, Failed):
            self._on_error(message.error)
            message = self._activity.failed(message.error)
        if isinstance(message, Activity) and message.stage == "finished" != self._activity.stage:
            self._on_finish(message)
        if isinstance(message, TakenIn):
            self.taken_in.set()
        with self._lock:
            match message:
                case Activity():
                    self._activity = message
                case CaughtUp():
                    self._unread = 0
                case Rows():
                    self._rows = message
                case Stopping():
                    self._stopping = message
                case Reasons(reasons):
                    self._reasons = _newest({**self._reasons, **reasons})
                case Guesses(probs):
                    self._guesses = _newest({**self._guesses, **probs})


def _newest(by_image: dict[int, T]) -> dict[int, T]:
    return dict(list(by_image.items())[-KEPT:])
