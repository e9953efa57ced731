"""How long work tells how far it is, without knowing who looks."""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol


class Watch(Protocol):
    """Is told of progress. Called often: it must be cheap, and it must not raise."""

    def __call__(self, stage: str, done: int, total: int, note: str = "") -> None:
        """Take notice: so many of so many are done."""


def unwatched(stage: str, done: int, total: int, note: str = "") -> None:
    """Look away: the watch of a library call."""


@dataclass(frozen=True)
class _Sender:
    told: Any  # a queue that travels between processes

    def __call__(self, stage: str, done: int, total: int, note: str = "") -> None:
        self.told.put((stage, done, total, note))


@contextmanager
def relayed(watch: Watch, *, across: bool) -> Iterator[Watch]:
    """Give a watch that may be called in other processes; itself where nothing goes `across`."""
    if not across:
        yield watch
        return
    with multiprocessing.Manager() as manager:
        told = manager.Queue()

        def listen() -> None:
            while (said := told.get()) is not None:
                watch(*said)

        listener = threading.Thread(target=listen, daemon=True)
        listener.start()
        try:
            yield _Sender(told)
        finally:
            told.put(None)
            listener.join()
