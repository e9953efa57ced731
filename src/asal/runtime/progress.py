"""How long work tells how far it is, without knowing who looks."""

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
    """Is told of progress. Called often: it must be cheap, and it must not raise."""

    def __call__(self, stage: str, done: int, total: int, note: str = "") -> None:
        """Take notice: so many of so many are done."""


def no_progress(stage: str, done: int, total: int, note: str = "") -> None:
    """Look away: the watch of a library call."""


PATIENCE = 2.0  # seconds that a loop goes on before it is told of
_listener: ContextVar[tuple[Progress, str] | None] = ContextVar("listener", default=None)
T = TypeVar("T")


@contextmanager
def listening(progress: Progress, stage: str) -> Iterator[None]:
    """Let long loops inside the block, wherever they are, tell `watch` how far they are, under this stage's name."""
    before = _listener.set((progress, stage))
    try:
        yield
    finally:
        _listener.reset(before)


def told(items: Iterable[T], total: int, what: str) -> Iterator[T]:
    """Yield the items, and tell whoever listens of them once they have taken a while.

    >>> with listening(unwatched, "training"):
    ...     list(told([4, 5], 2, "steps"))
    [4, 5]
    """
    begun = spoken = time.monotonic()
    for done, item in enumerate(items):
        listener, now = _listener.get(), time.monotonic()
        if listener is not None and now - begun > PATIENCE and now - spoken > PATIENCE / 4:
            listener[0](listener[1], done, total, what)
            spoken = now
        yield item
    if (listener := _listener.get()) is not None and spoken > begun:
        listener[0](listener[1], total, total, what)


@dataclass(frozen=True)
class _Sender:
    told: Any  # a queue that travels between processes

    def __call__(self, stage: str, done: int, total: int, note: str = "") -> None:
        self.told.put((stage, done, total, note))


@contextmanager
def relayed(progress: Progress, *, across: bool) -> Iterator[Progress]:
    """Give a watch that may be called in other processes; itself where nothing goes `across`."""
    if not across:
        yield progress
        return
    with multiprocessing.Manager() as manager:
        told = manager.Queue()

        def listen() -> None:
            while (said := told.get()) is not None:
                progress(*said)

        listener = threading.Thread(target=listen, daemon=True)
        listener.start()
        try:
            yield _Sender(told)
        finally:
            told.put(None)
            listener.join()
