"""Who does the work: pieces that any process on any machine can do, and what comes of them.

A piece of work is idempotent: it writes files under their names when they are whole, and done twice, or by two at
once, it leaves the same bytes. So an engine may try again whatever was lost, and resuming is calling again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol, TypeVar

from asal.runtime.progress import Progress, no_progress


class Task(Protocol):
    """A piece of work. It travels between processes, so it holds little: names and numbers, not images."""

    @property
    def name(self) -> str:
        """What progress and errors call it."""
        ...

    @property
    def size(self) -> int:
        """What its own progress counts to."""
        ...

    @property
    def needs_torch(self) -> bool:
        """Whether it needs torch, which takes seconds to load."""
        ...

    def run(self, progress: Progress) -> Any:
        """Do it, or find it done, and return what little there is to tell of it."""
        ...


W = TypeVar("W", bound=Task)


class Engine(Protocol):
    """Does pieces of work, some of them at the same time."""

    @property
    def workers(self) -> int:
        """How many pieces are in hand at a time."""
        ...

    def map_unordered(self, works: Sequence[W], progress: Progress = no_progress) -> Iterator[tuple[W, Any]]:
        """Do every piece, and yield each as it ends with what it returned, in whatever order they end.

        Raises:
            UserError: the first one that a piece raised, when those in hand beside it have ended; none begins after it.
        """
        ...


class InProcess:
    """Does one piece after the other in this process."""

    workers = 1

    def map_unordered(self, works: Sequence[W], progress: Progress = no_progress) -> Iterator[tuple[W, Any]]:
        """Do every piece, in order."""
        for work in works:
            yield work, work.run(progress)
