"""Progress on the command line: a bar for each stage on a terminal, and lines in a pipe or a file."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Console
from rich.progress import BarColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars
from rich.table import Column

from asal.runtime.progress import Progress, Rate

EVERY_SECONDS = 5.0  # between two lines of a stage, where there is no terminal to draw bars on
SILENT_SECONDS = 30.0  # without a report, until a line says that the work goes on


@contextmanager
def show_progress(console: Console) -> Iterator[Progress]:
    """Show progress until the block ends."""
    if not console.is_terminal:
        with _Lines(console).alive() as lines:
            yield lines
        return
    # Two lines of text beside a short bar: what stands in one line is cut on a terminal of 80 columns.
    columns = (
        BarColumn(10, table_column=Column(min_width=10)),
        TimeElapsedColumn(table_column=Column(min_width=7)),
        TextColumn("{task.description}\n{task.fields[line]}", markup=False, table_column=Column(overflow="fold")),
    )
    with Bars(*columns, console=console) as bars:
        tasks: dict[str, TaskID] = {}
        stages: dict[str, _Stage] = {}

        def progress(stage: str, done: int, total: int, note: str = "") -> None:
            if not total:
                console.print(_message(stage, note), highlight=False, markup=False)  # above the bars
                return
            now = time.monotonic()
            if stage not in tasks:
                tasks[stage] = bars.add_task(stage, total=total, line="")
            known = stages.get(stage)
            if known is None or done < known.done:  # it begins, or begins again
                known = stages[stage] = _Stage(now, now)
            known.last, known.done = now, done
            known.rate.add(now, done)
            bars.update(tasks[stage], completed=done, total=total, line=_line(known, done, total, note))

        yield progress


def _message(stage: str, note: str) -> str:
    return f"{stage}: {note}" if note else stage


@dataclass
class _Stage:
    """What was printed of a stage."""

    begun: float  # seconds
    last: float  # seconds, of its last line
    ended: bool = False
    lines: int = 0  # since it began
    done: int = 0
    rate: Rate = field(default_factory=Rate)


def _line(known: _Stage, done: int, total: int, note: str) -> str:
    """Return how much is done, since when, and how long the rest takes."""
    spent = known.last - known.begun
    seconds = f" in {spent:.0f} s" if spent or done >= total else ""
    rest = known.rate.left(total) if done < total else None
    left = f", {rest:.0f} s left" if rest is not None else ""
    return f"{done:,} of {total:,}{seconds}{left}{f' · {note}' if note else ''}"


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
                self._write(f"{self.latest}: at work, with no report for {now - self.reported:.0f} s")

    def __call__(self, stage: str, done: int, total: int, note: str = "") -> None:
        with self.lock:
            self.latest, self.reported = stage, time.monotonic()
            if not total:
                self._write(_message(stage, note))
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
            known = self.stages[key] = _Stage(now, due - EVERY_SECONDS)
        known.ended = ends
        known.rate.add(now, done)
        if now - known.last < EVERY_SECONDS and not (ends and known.lines):
            return
        known.last, known.lines = now, known.lines + 1
        self._write(f"{stage}: {_line(known, done, total, note)}")

    def _write(self, text: str) -> None:
        self.printed = time.monotonic()
        self.console.print(text, highlight=False, markup=False, soft_wrap=True)  # a file has no width
