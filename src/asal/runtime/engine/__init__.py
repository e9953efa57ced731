"""Engines run tasks, in this process, in others, or on other machines, and yield their results.

A task is idempotent: it writes complete files, and run twice, or by two processes at once, it leaves the same bytes.
So an engine may run a lost task again, and to resume is to call it again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol, TypeVar

from asal.runtime.progress import Progress, no_progress


class Task(Protocol):
    """A task. It is sent between processes, so it holds little: names and numbers, not images."""

    @property
    def name(self) -> str:
        """Its name in progress and errors."""
        ...

    @property
    def size(self) -> int:
        """The total of its own progress."""
        ...

    @property
    def needs_torch(self) -> bool:
        """Whether it needs torch, which takes seconds to load."""
        ...

    def run(self, progress: Progress) -> Any:
        """Do it, unless it is done already, and return a small result."""
        ...


T = TypeVar("T", bound=Task)


class Engine(Protocol):
    """Runs tasks, some of them at the same time."""

    @property
    def workers(self) -> int:
        """How many tasks run at a time."""
        ...

    def map_unordered(self, tasks: Sequence[T], progress: Progress = no_progress) -> Iterator[tuple[T, Any]]:
        """Run every task, and yield each with its result as it ends, in any order.

        Raises:
            UserError: the first one that a task raised, when those that run beside it have ended; none begins after.
        """
        ...


class InProcess:
    """Runs one task after the other in this process."""

    workers = 1

    def map_unordered(self, tasks: Sequence[T], progress: Progress = no_progress) -> Iterator[tuple[T, Any]]:
        """Run every task, in order."""
        for task in tasks:
            yield task, task.run(progress)
