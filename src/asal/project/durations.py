"""How long a step of preparing will take: from what was measured on this machine, else by a rule of thumb.

What a step took is kept in `rates.json` in asal's cache folder ($ASAL_CACHE_DIR, else ~/.cache/asal): they
belong to the machine and its device, not to a project, whose bytes depend on its spec alone.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from asal.errors import UserError
from asal.project.step import Step, Work
from asal.runtime import artifacts
from asal.runtime.remote_files import cache_folder

FILE = "rates.json"
LEAST = 5.0  # seconds: what is quicker has measured the start of a step and not its work
REACH = 30  # times as much work as was measured: beyond it the fixed cost of small steps would be multiplied

# Seconds a unit on two cores of a CPU, within a factor of three; units as `step.Work` counts them.
RULES = {
    "train wgan-gp": 4e-8,
    "train wgan-gp of residual blocks": 7e-7,
    "train ct-gan": 4e-8,
    "train ct-gan of residual blocks": 7e-7,
    "train dcgan": 2e-8,
    "train autoencoder": 1e-8,
    "extract autoencoder": 1e-7,
    "extract discriminator": 1e-7,
    "extract efficientnet-lite0": 8e-7,
    "extract pixels": 1e-8,
    "index auto": 2e-5,
    "index exact": 2e-5,
    "index kdtree": 2e-5,
    "make pixels": 0.1,
    "make discriminator": 0.1,
    "make efficientnet-lite0": 3.0,
}
PASS = 3e-3  # seconds of a batch through a network, at least


@dataclass(frozen=True)
class Measurement:
    """What a step took here, and how much work it was."""

    seconds: float
    units: float


@dataclass(frozen=True)
class Estimate:
    """Seconds that a step will take, and where the number comes from.

    Args:
        at_most: the step was begun, and how much of it is left is not known.
    """

    seconds: float | None = None
    basis: Literal["measured", "rule of thumb", "unknown", ""] = "unknown"
    at_most: bool = False

    def __str__(self) -> str:
        if self.seconds is None:
            return self.basis
        how = "at most" if self.at_most else "about"
        return f"{how} {duration(self.seconds)} ({'measured here' if self.basis == 'measured' else self.basis})"


nothing = Estimate(basis="")  # of what is there


def estimate(work: Work, device: str) -> Estimate:
    """Return how long so much work takes on a device: "cpu", "cuda"."""
    if not work.units:
        return Estimate()
    known = _measurements().get(_key(work, device))
    if known is not None and work.units <= REACH * known.units:
        return Estimate(known.seconds * work.units / known.units, "measured")
    if device == "cpu" and work.kind in RULES:
        return Estimate(RULES[work.kind] * work.units + PASS * work.passes, "rule of thumb")
    return Estimate()


@contextmanager
def measured(step: Step, device: str) -> Iterator[None]:
    """Remember how long a step takes, if it has not been begun before."""
    begins = step.status == "to do" and step.work.units > 1  # a single unit says nothing of others
    begun = time.monotonic()
    yield
    seconds = time.monotonic() - begun
    if begins and seconds >= LEAST:
        remember(step.work, device, seconds)


def remember(work: Work, device: str, seconds: float) -> None:
    """Keep how long so much work takes on a device, for the next estimate of its kind."""
    with suppress(OSError, UserError):  # an estimate less, and no reason to stop
        place = _place()
        place.parent.mkdir(parents=True, exist_ok=True)
        known = {key: vars(one) for key, one in _measurements().items()}
        artifacts.write_json(place, {**known, _key(work, device): vars(Measurement(seconds, work.units))})


def duration(seconds: float) -> str:
    """Return a duration in words.

    >>> [duration(seconds) for seconds in (0.3, 50, 130, 7000, 200_000)]
    ['1 s', '50 s', '2 min', '1.9 h', '2.3 days']
    """
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 36 * 3600 else f"{seconds / 86_400:.1f} days"


def _place() -> Path:
    return cache_folder() / FILE


def _key(work: Work, device: str) -> str:
    return f"{work.kind} on {device}"


def _measurements() -> dict[str, Measurement]:
    try:
        entries = artifacts.read_json(_place()).items()
        return {key: Measurement(float(it["seconds"]), float(it["units"])) for key, it in entries}
    except (OSError, UserError, KeyError, TypeError, ValueError):
        return {}
