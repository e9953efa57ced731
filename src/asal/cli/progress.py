"""Progress on the command line: a bar for each stage on a terminal, a line every few seconds elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import (
    Progress as Bars,
)

from asal.runtime.progress import Progress

EVERY_SECONDS = 10.0  # a stage's line, where there is no terminal to draw bars on


@contextmanager
def show_progress(console: Console) -> Iterator[Progress]:
    """Show progress until the block ends."""
    if not console.is_terminal:
        yield _Lines(console)
        return
    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
        TextColumn("left"), TimeRemainingColumn(), TextColumn("{task.fields[note]}"),
    )  # fmt: skip
    with Bars(*columns, console=console) as bars:
        stages: dict[str, TaskID] = {}

        def progress(stage: str, done: int, total: int, note: str = "") -> None:
            if stage not in stages:
                stages[stage] = bars.add_task(stage, total=total, note="")
            bars.update(stages[stage], completed=done, total=total, note=note)

        yield progress


class _Lines:
    """One line for each stage every few seconds, and one at its end."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.begun: dict[tuple[str, int], tuple[float, int]] = {}  # by stage and total
        self.last: dict[tuple[str, int], float] = {}
        self.ended: set[tuple[str, int]] = set()

    def __call__(self, stage: str, done: int, total: int, note: str = "") -> None:
        key, now, ends = (stage, total), time.monotonic(), done >= total
        if key in self.ended:
            if ends:
                return  # it was printed
            self._forget(key)  # the same stage begins again
        begun, first = self.begun.setdefault(key, (now, done))
        if not ends and now - self.last.setdefault(key, now) < EVERY_SECONDS:
            return
        self.last[key] = now
        if ends:
            self.ended.add(key)
        spent = now - begun
        left = f", {spent / (done - first) * (total - done):.0f} s left" if first < done < total else ""
        detail = f" · {note}" if note else ""
        self.console.print(
            f"{stage}: {done:,} of {total:,} in {spent:.0f} s{left}{detail}", highlight=False, markup=False
        )

    def _forget(self, key: tuple[str, int]) -> None:
        self.ended.discard(key)
        del self.begun[key], self.last[key]
