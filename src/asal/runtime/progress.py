"""How long work reports how far it is, without knowing who listens."""

from __future__ import annotations

import multiprocessing
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar


class Progress(Protocol):
    """Takes reports of progress. Called often: it must be cheap, and it must not raise."""

    def __call__(self, stage: str, done: int, total: int, note: str = "") -> None:
        """Take a report: so many of so many are done; where the total is 0, it is not known, or the note is all."""


def no_progress(stage: str, done: int, total: int, note: str = "") -> None:
    """Ignore the report: the default of library calls."""


MOMENT = 0.5  # seconds before a loop reports first, and between its reports: shorter loops report nothing
_listener: ContextVar[tuple[Progress, str] | None] = ContextVar("listener", default=None)
T = TypeVar("T")


@contextmanager
def report_to(progress: Progress, stage: str) -> Iterator[None]:
    """Let every loop inside the block that uses `track` report to `progress`, under this stage's name."""
    before = _listener.set((progress, stage))
    try:
        yield
    finally:
        _listener.reset(before)


@dataclass
class Pace:
    """Says when a loop has to report: after its first step, and then by time, however long its steps take."""

    seconds: float = 1.0  # between two reports
    last: float | None = None

    def due(self, *, always: bool = False) -> bool:
        """Return whether to report now; at some steps, such as the last, it is so whatever the time."""
        now = time.monotonic()
        if not always and self.last is not None and now - self.last < self.seconds:
            return False
        self.last = now
        return True


WINDOW = 60.0  # seconds: a rate is the mean over the last ones, because machines are shared


class Rate:
    """How quickly work gets on, from its reports.

    What precedes the first change counts for nothing: processes were started and files opened meanwhile.

    >>> rate = Rate()
    >>> for second, done in ((0, 0), (30, 10), (31, 12)):
    ...     rate.add(second, done)
    >>> rate.left(100)
    44.0
    """

    def __init__(self) -> None:
        self._changes: list[tuple[float, int]] = []  # seconds, and how many were done then
        self._started = False

    def add(self, now: float, done: int) -> None:
        """Take a report; work that begins again begins with another rate."""
        changes = self._changes
        if changes and done < changes[-1][1]:
            changes.clear()
            self._started = False
        if changes and done == changes[-1][1]:
            return
        if changes and not self._started:
            changes.clear()
            self._started = True
        changes.append((now, done))
        while len(changes) > 2 and changes[1][0] < now - WINDOW:
            del changes[0]

    def left(self, total: int) -> float | None:
        """Return the seconds for the rest of so many, or None before two changes."""
        if len(self._changes) < 2:
            return None
        (begun, first), (last, done) = self._changes[0], self._changes[-1]
        return (last - begun) / (done - first) * (total - done)


def track(items: Iterable[T], total: int, what: str) -> Iterator[T]:
    """Yield the items, and report how many are done once that takes longer than a moment.

    >>> with report_to(no_progress, "training"):
    ...     list(track([4, 5], 2, "steps"))
    [4, 5]
    """
    begun = last = time.monotonic()
    for done, item in enumerate(items):
        listener, now = _listener.get(), time.monotonic()
        if listener is not None and now - last > MOMENT:
            listener[0](listener[1], done, total, what)
            last = now
        yield item
    if (listener := _listener.get()) is not None and last > begun:
        listener[0](listener[1], total, total, what)


@dataclass(frozen=True)
class Sender:
    """Puts reports into a queue that another process, or another thread, reads with `relay`."""

    queue: Any

    def __call__(self, stage: str, done: int, total: int, note: str = "") -> None:
        self.queue.put((stage, done, total, note))


@contextmanager
def relay(queue: Any, progress: Progress, *, patience: float | None = None) -> Iterator[None]:
    """Pass on what a queue's `Sender`s report while the block runs, in a thread.

    Args:
        patience: seconds to wait at the end for what is still in the queue; None waits until all is passed on. A worker
            that was killed while it wrote to the queue leaves it locked for ever.
    """

    def pass_on() -> None:
        while (report := queue.get()) is not None:
            progress(*report)

    thread = threading.Thread(target=pass_on, name="progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        queue.put(None)
        thread.join(patience)


@contextmanager
def across_processes(progress: Progress, *, needed: bool = True) -> Iterator[Progress]:
    """Yield a `Progress` that other processes may be given and call; the same one where that is not `needed`."""
    if not needed:
        yield progress
        return
    with multiprocessing.Manager() as manager:
        queue = manager.Queue()
        with relay(queue, progress):
            yield Sender(queue)
