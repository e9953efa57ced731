"""Progress on the command line: a bar for each stage on a terminal, and lines in a pipe or a file."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

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

EVERY_SECONDS = 5.0  # between two lines of a stage, where there is no terminal to draw bars on
SILENT_SECONDS = 30.0  # without a report, until a line says that the work goes on


@contextmanager
def show_progress(console: Console) -> Iterator[Progress]:
    """Show progress until the block ends."""
    if not console.is_terminal:
        with _Lines(console).alive() as lines:
            yield lines
        return
    columns = (
        TextColumn("{task.description}"), BarColumn(20), MofNCompleteColumn(), TimeElapsedColumn(),
        TextColumn("left"), TimeRemainingColumn(), TextColumn("{task.fields[note]}"),
    )  # fmt: skip
    with Bars(*columns, console=console) as bars:
        stages: dict[str, TaskID] = {}

        def progress(stage: str, done: int, total: int, note: str = "") -> None:
            if not total:
                console.print(_message(stage, note), highlight=False, markup=False)  # above the bars
                return
            if stage not in stages:
                stages[stage] = bars.add_task(stage, total=total, note="")
            bars.update(stages[stage], completed=done, total=total, note=note)

        yield progress


def _message(stage: str, note: str) -> str:
    return f"{stage}: {note}" if note else stage


@dataclass
class _Stage:
    """What was printed of a stage."""

    begun: float  # seconds
    first: int  # how many were done then
    last: float  # seconds, of its last line
    ended: bool = False
    lines: int = 0  # since it began


class _Lines:
    """Lines for each stage: one when it begins, one every few seconds, one at its end.

    A stage that is done again and again, such as the training of every round, has one line every few seconds in all.
    """

    def __init__(self, console: Console) -> None:
        self.console = console
        self.stages: dict[tuple[str, int], _Stage] = {}  # by name and total
        self.lock = threading.Lock()  # reports come from several threads
        self.latest, self.printed = "", time.monotonic()

    @contextmanager
    def alive(self) -> Iterator[_Lines]:
        """Say, while the block runs, that the work goes on where nothing was reported for long."""
        over = threading.Event()

        def beat() -> None:
            while not over.wait(1.0):
                self.beat()

        thread = threading.Thread(target=beat, name="progress lines", daemon=True)
        thread.start()
        try:
            yield self
        finally:
            over.set()
            thread.join()

    def beat(self) -> None:
        """Print a line where none was printed for long."""
        with self.lock:
            now = time.monotonic()
            if self.latest and now - self.printed >= SILENT_SECONDS:
                self._line(f"{self.latest}: at work, with no report for {now - self.reported:.0f} s")

    def __call__(self, stage: str, done: int, total: int, note: str = "") -> None:
        with self.lock:
            self.latest, self.reported = stage, time.monotonic()
            if not total:
                self._line(_message(stage, note))
                return
            if done >= total:
                self.latest = ""
            self._report(stage, done, total, note)

    def _report(self, stage: str, done: int, total: int, note: str) -> None:
        key, now, ends = (stage, total), self.reported, done >= total
        known = self.stages.get(key)
        if known is None or known.ended:
            if known and ends:
                return  # its end was reported before
            due = known.last + EVERY_SECONDS if known else now  # at once, but not in every repetition
            known = self.stages[key] = _Stage(now, done, due - EVERY_SECONDS)
        known.ended = ends
        if now - known.last < EVERY_SECONDS and not (ends and known.lines):
            return
        known.last, known.lines = now, known.lines + 1
        self._print(stage, known, done, total, note)

    def _print(self, stage: str, known: _Stage, done: int, total: int, note: str) -> None:
        spent = known.last - known.begun
        seconds = f" in {spent:.0f} s" if spent or done >= total else ""
        left = f", {spent / (done - known.first) * (total - done):.0f} s left" if known.first < done < total else ""
        detail = f" · {note}" if note else ""
        self._line(f"{stage}: {done:,} of {total:,}{seconds}{left}{detail}")

    def _line(self, text: str) -> None:
        self.printed = time.monotonic()
        self.console.print(text, highlight=False, markup=False, soft_wrap=True)  # a file has no width
