"""The progress of all steps of preparing together: which of how many, and how long until all are done."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from asal.project import durations
from asal.project.durations import Estimate
from asal.project.step import Status, Step
from asal.runtime import slowness
from asal.runtime.progress import Progress, Rate

EVERY_SECONDS = 30.0  # between two looks at what slows the work down
QUICK = 5.0  # seconds: the beginning of a step that takes less is not reported
INGEST = "take the images in"


@dataclass
class _Stage:
    """What one step reports under one name."""

    total: int
    done: int = 0
    rate: Rate = field(default_factory=Rate)


@dataclass(frozen=True)
class Expected:
    """One step as far as it is known before: its name, whether it is there, how long it takes, what it reports."""

    name: str
    status: Status = "to do"
    estimate: Estimate = field(default_factory=Estimate)
    stages: tuple[tuple[str, float], ...] = ()

    @classmethod
    def of(cls, step: Step, device: str) -> Expected:
        """Return what to expect of a step on a device."""
        there = step.status == "there"
        return cls(
            step.name, step.status, durations.nothing if there else durations.estimate(step.work, device), step.stages
        )

    @property
    def seconds(self) -> float | None:
        """Seconds that it takes; none where it is there, None where that is not known."""
        return 0.0 if self.status == "there" else self.estimate.seconds


class Outlook:
    """Takes the reports of every step, and passes them on with the step's number and the time left in all.

    Each step is one stage of `progress`, "2 of 5: compute the features 'photos'"; where it reports several of them,
    each is one. Beside these it reports, with a total of 0, the list of all steps, the beginning of each, and what
    slows the work down.
    """

    def __init__(self, progress: Progress, device: str) -> None:
        self._progress, self._device = progress, device
        self._steps: list[Expected] = []
        self._number, self._begun = 0, 0.0
        self._stages: dict[str, _Stage] = {}
        self._looked, self._causes = time.monotonic(), set[str]()

    def expect(self, steps: Sequence[Expected]) -> None:
        """Take the list of all steps, or a later one that knows more, and report it once."""
        first = not self._steps
        self._steps = list(steps)
        if first and (ahead := [step.name for step in steps if step.status != "there"]):
            there = len(steps) - len(ahead)
            already = f" ({there} there already)" if there else ""
            seconds = _sum([step.seconds for step in steps])
            total = f"; about {durations.duration(seconds)} in all" if seconds else ""
            self._progress(f"{len(steps)} steps{already}", 0, 0, "; ".join(ahead) + total)

    @contextmanager
    def step(self, number: int) -> Iterator[None]:
        """Be at a step, counted from 1, while the block runs."""
        self._number, self._begun = number, time.monotonic()
        self._stages.clear()
        step = self._steps[number - 1] if number <= len(self._steps) else Expected(INGEST, "there")
        if step.seconds is None or step.seconds > QUICK:
            known = "" if step.seconds is None else str(step.estimate)
            self._progress(self._title, 0, 0, " · ".join(filter(None, (known, self._in_all()))))
        yield

    def __call__(self, stage: str, done: int, total: int, note: str = "") -> None:
        """Take a report of the present step."""
        if not total:
            self._progress(stage, done, total, note)
            return
        now, known = time.monotonic(), self._stages.get(stage)
        if known is None or known.total != total or done < known.done:
            self._stages.pop(stage, None)
            known = self._stages[stage] = _Stage(total)
        known.done = done
        known.rate.add(now, done)
        self._explain(now)
        own = ": ".join(part for part in stage.split(": ") if part.removeprefix("ingest ") not in self._title)
        title = f"{self._title}: {own.removeprefix('ingest ')}" if own else self._title
        self._progress(title, done, total, " · ".join(filter(None, (note, self._in_all()))))

    def left(self) -> float | None:
        """Return the seconds until all steps are done, or None where that is not known."""
        if not self._steps:
            return None
        return _sum([self._left_of_present(), *(step.seconds for step in self._steps[self._number :])])

    @property
    def _title(self) -> str:
        if self._number > len(self._steps):
            return INGEST
        return f"{self._number} of {len(self._steps)}: {self._steps[self._number - 1].name}"

    def _in_all(self) -> str:
        """Return the time until all is done, in words; of an unknown one what is known of it."""
        if (left := self.left()) is not None:
            return f"in all about {durations.duration(left)} left" if left >= 1 else ""
        ahead = [self._left_of_present(), *(step.seconds for step in self._steps[self._number :])]
        known = sum(filter(None, ahead))
        return f"in all more than {durations.duration(known)} left" if known >= 1 else ""

    def _left_of_present(self) -> float | None:
        """Return the seconds left of the present step: by what it reports, else by its estimate."""
        step = self._steps[self._number - 1] if 0 < self._number <= len(self._steps) else Expected(INGEST)
        if self._stages:
            name, stage = next(reversed(self._stages.items()))
            later = _later(step, name.rpartition(": ")[2])
            if (left := stage.rate.left(stage.total + round(later * stage.total))) is not None:
                return left
            if stage.done >= stage.total and not later:
                return 0.0
            return step.seconds  # as long as too little is done to tell
        if step.seconds is None:
            return None
        return max(0.0, step.seconds - (time.monotonic() - self._begun))

    def _explain(self, now: float) -> None:
        """Report what slows the work down, each cause once."""
        if now - self._looked < EVERY_SECONDS:
            return
        self._looked = now
        for cause, what in slowness.causes().items():
            if cause not in self._causes:
                self._causes.add(cause)
                self._progress("slower than it could be", 0, 0, what)


def _later(step: Expected, stage: str) -> float:
    """Return the work of a step that comes after one of its stages, as a multiple of that stage's."""
    names, shares = [name for name, _ in step.stages], dict(step.stages)
    if not shares.get(stage):
        return 0.0
    return sum(shares[name] for name in names[names.index(stage) + 1 :]) / shares[stage]


def _sum(parts: Sequence[float | None]) -> float | None:
    """Add them up; None where one is None."""
    known = [part for part in parts if part is not None]
    return sum(known) if len(known) == len(parts) else None
