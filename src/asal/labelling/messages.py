"""What a worker and the process that serves people send each other: frozen messages, a class for each kind."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, TypeAlias

import numpy as np

from asal.core import NO_IDS, Features, Ids
from asal.errors import UserError
from asal.experiments.round_row import RoundRow
from asal.labelling.stopping import Verdict


@dataclass(frozen=True)
class RecordChanged:
    """To the worker: something was written into the record.

    Args:
        rate: answers a second of late.
    """

    rate: float


@dataclass(frozen=True)
class Activity:
    """What the worker does now.

    Args:
        stage: "starting", "taking in images", "computing features", "waiting", "training", "generating and matching",
            "evaluating", "finished" or "failed".
        done: of `total` steps; both are 0 where there are none to count.
        since: when it began, in seconds since 1970.
        error: why it failed.
        ends: when all of it will be over, as far as that is known: not this step alone, but whatever new images or
            features wait for.
        next: the command that comes next, at the end.
    """

    stage: str
    done: int = 0
    total: int = 0
    note: str = ""
    since: float = field(default_factory=time.time)
    error: UserError | None = None
    ends: float | None = None
    next: str = ""

    def failed(self, error: UserError) -> Activity:
        """Return the same activity, ended by an error."""
        return replace(self, stage="failed", error=error, since=time.time())

    def to_json(self) -> dict[str, Any]:
        """Return it as the page reads it: `since` in seconds up to now, `left` in seconds from now on."""
        error = None if self.error is None else self.error.to_json()
        now, done, total = time.time(), self.done, self.total
        left = None if self.ends is None else round(max(0.0, self.ends - now), 1)
        if self.ends is not None and not total:  # the share of the time, where there are no steps to count
            done, total = round(100 * min(1.0, (now - self.since) / max(self.ends - self.since, 1e-3))), 100
        return {
            "stage": self.stage,
            "done": done,
            "total": total,
            "note": self.note,
            "since": round(now - self.since, 1),
            "left": left,
            "error": error,
            "next": self.next,
        }


@dataclass(frozen=True)
class Failed:
    """The worker ends because of an error."""

    error: UserError


@dataclass(frozen=True)
class CaughtUp:
    """The worker has read every `RecordChanged` that was sent so far."""


@dataclass(frozen=True)
class TakenIn:
    """The images are in the pool: they can be shown."""


@dataclass(frozen=True)
class Sampled:
    """Features of images drawn at random, from which typical ones can be chosen while the others are computed.

    Args:
        ids: (m,) none where they cannot be had soon.
        vectors: (m, d)
    """

    ids: Ids = field(default_factory=lambda: NO_IDS)
    vectors: Features = field(default_factory=lambda: np.empty((0, 0), np.float32))


@dataclass(frozen=True)
class Prepared:
    """All that the strategy needs is there."""


@dataclass(frozen=True)
class Rows:
    """A row for each classifier so far."""

    rows: tuple[RoundRow, ...] = ()


@dataclass(frozen=True)
class Stopping:
    """What the stopping criteria say."""

    verdicts: tuple[Verdict, ...] = ()
    advice: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return it as the page reads it."""
        return {"criteria": [asdict(verdict) for verdict in self.verdicts], "advice": self.advice}


@dataclass(frozen=True)
class Reason:
    """Why an image was chosen.

    Args:
        facts: what the strategy noted, such as a distance.
        synthetic: the synthetic image that led to it, as a PNG file.
        score: the name of what the strategy ranks images by; "" where that has none.
    """

    facts: Mapping[str, Any] = field(default_factory=dict)
    synthetic: bytes | None = None
    score: str = ""


@dataclass(frozen=True)
class Reasons:
    """Why images were chosen, by their ids."""

    reasons: Mapping[int, Reason]


@dataclass(frozen=True)
class Guesses:
    """The classifier's probabilities of the classes, by image ids."""

    probs: Mapping[int, list[float]]


FromWorker: TypeAlias = Activity | Failed | CaughtUp | TakenIn | Rows | Stopping | Reasons | Guesses
FromPreparation: TypeAlias = Activity | Failed | TakenIn | Sampled | Prepared
