"""How long work tells how far it is, without knowing who looks."""

from __future__ import annotations

from typing import Protocol


class Watch(Protocol):
    """Is told of progress. Called often: it must be cheap, and it must not raise."""

    def __call__(self, stage: str, done: int, total: int, note: str = "") -> None: ...


def unwatched(stage: str, done: int, total: int, note: str = "") -> None:
    """Look away: the watch of a library call."""
