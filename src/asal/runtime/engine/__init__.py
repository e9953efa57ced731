"""Who does the work: pieces that any process on any machine can do, and what comes of them.

A piece of work is idempotent: it writes files under their names when they are whole, and done twice, or by two at
once, it leaves the same bytes. So an engine may try again whatever was lost, and resuming is calling again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol, TypeVar

from asal.runtime.progress import Watch, unwatched


class Work(Protocol):
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
    def light(self) -> bool:
        """Whether it does without torch, which takes seconds to load."""
        ...

    def do(self, watch: Watch) -> Any:
        """Do it, or find it done, and return what little there is to tell of it."""
        ...


W = TypeVar("W", bound=Work)


class Engine(Protocol):
    """Does pieces of work, some of them at the same time."""

    @property
    def workers(self) -> int:
        """How many pieces are in hand at a time."""
        ...

    def each(self, works: Sequence[W], watch: Watch = unwatched) -> Iterator[tuple[W, Any]]:
        """Do every piece, and yield each as it ends with what it returned, in whatever order they end.

        Raises:
            UserError: the first one that a piece raised, when those in hand beside it have ended; none begins after it.
        """
        ...


class Here:
    """Does one piece after the other in this process."""

    workers = 1

    def each(self, works: Sequence[W], watch: Watch = unwatched) -> Iterator[tuple[W, Any]]:
        """Do every piece, in order."""
        for work in works:
            yield work, work.do(watch)
