"""Measures in a few seconds how long the steps of preparing take here, with some of a project's own images.

Images are decoded, a network that others trained is run on a few of them, and trainings are begun and stopped after
some steps. Nothing of it stays.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt

from asal.core import Ids, Images
from asal.data.decoding import Conversion, Unreadable
from asal.data.image_options import conversion, settled
from asal.data.sources import Source
from asal.data.sources.decode import decode
from asal.errors import UserError
from asal.features import ExtractorInputs, features
from asal.models.generators import generators
from asal.project import validate
from asal.project.durations import Estimate
from asal.project.extraction import held_out_part
from asal.project.outlook import INGEST
from asal.project.preparer import PlannedStep
from asal.project.spec import Spec
from asal.runtime.devices import Device, here
from asal.runtime.environment import cores
from asal.runtime.progress import no_progress
from asal.runtime.threads import limited_threads

DECODING, RUNNING, TRAINING = 1.0, 1.5, 2.5  # seconds, about: of a measurement of each kind
SAMPLE = 64  # images that are decoded, at most
BATCH = 16  # images that a network is run on at once
SIDE = 32  # pixels: larger images are trained on for a moment at this size, and the time is multiplied


@dataclass(frozen=True)
class Trial:
    """Seconds that were measured here, as far as that was possible.

    Args:
        each: seconds for one image, by kind of work: INGEST, "extract efficientnet-lite0".
        complete: seconds for the complete training of a part: "train wgan-gp".
    """

    each: Mapping[str, float] = field(default_factory=dict)
    complete: Mapping[str, float] = field(default_factory=dict)

    def applied(self, plan: Sequence[PlannedStep], images: Mapping[str, int]) -> list[PlannedStep]:
        """Return the steps with the estimates that were measured here.

        Args:
            images: of the pool and of each held-out set.
        """
        of_pool: dict[str, float] = {}  # units of work for the pool, by their kind: its step comes first
        steps = []
        for step in plan:
            kind = INGEST if step.name == INGEST else step.work.kind
            seconds = self.complete.get(kind)
            if kind == INGEST and kind in self.each:
                seconds = self.each[kind] * sum(images.values())
            elif kind in self.each and step.work.units:
                units = of_pool.setdefault(kind, step.work.units)
                seconds = self.each[kind] * images["pool"] * step.work.units / units
            elif kind in self.each:  # a set that is not there yet, and whose size the step does not know
                part = next((name for name in images if step.name.endswith(held_out_part(Path(name)).title)), "")
                seconds = self.each[kind] * images.get(part, 0)
            measured = None if seconds is None or step.status == "there" else Estimate(seconds, "measured")
            steps.append(replace(step, estimate=measured or step.estimate))
        return steps


def measure(source: Source, spec: Spec, root: Path) -> Trial:
    """Measure what the spec of a new project asks for; what cannot be measured is left out.

    Args:
        root: the project's folder.
    """
    options = settled(spec.source.kind, root, spec.pool.images)
    how = conversion(options, {}, None)
    images, seconds = _decoded(source, spec.pool.size or SIDE, spec.pool.gray, how)
    if not images:
        return Trial()
    pool, device = _Images(np.stack(images)), Device()
    each: dict[str, float] = {INGEST: seconds / cores()}
    complete: dict[str, float | None] = {}
    for table in spec.features.values():
        part, kind = validate.made(features, table), features[table.kind]
        with suppress(UserError):  # its library is not installed
            if "originals" in kind.provides:
                complete[f"train {table.kind}"], each_run = _of_running(part, pool, device)
                each[f"extract {table.kind}"] = seconds / cores() + each_run
            elif not kind.needs:
                complete[f"train {table.kind}"] = _of_training(part, pool, device)
    if spec.generator is not None:
        complete[f"train {spec.generator.kind}"] = _of_training(validate.made(generators, spec.generator), pool, device)
    return Trial(each, {name: total for name, total in complete.items() if total is not None})


def _decoded(source: Source, size: int, gray: bool, how: Conversion) -> tuple[list[npt.NDArray[np.uint8]], float]:
    """Return some of the images as the pool will have them, and the seconds for one, on one core."""
    rows = np.unique(np.linspace(0, source.splits["train"] - 1, SAMPLE).astype(np.int64))
    images, begun, timed = [], time.monotonic(), 0
    for chunk in (rows[start::8] for start in range(8)):  # so that they are spread wherever the time is up
        for record in source.records("train", chunk):
            with suppress(Unreadable):
                images.append(decode(record.raw, size=size, gray=gray, how=how))
            if len(images) == 1 and not timed:  # libraries were opened for it
                begun = time.monotonic()
            else:
                timed += 1
        if time.monotonic() - begun > DECODING:
            break
    return images, (time.monotonic() - begun) / max(timed, 1)


def _of_running(part: Any, pool: _Images, device: Device) -> tuple[float, float]:
    """Return the seconds until a network is there, and those for one image.

    On a CPU it is run by several processes, with a thread each.
    """
    alone = here().type == "cpu"
    with TemporaryDirectory() as home, limited_threads(1) if alone else nullcontext():
        start = time.monotonic()
        part.train(pool, Path(home), 0, device, no_progress)
        there = time.monotonic() - start
        extractor = part.load(Path(home), pool.shape, ExtractorInputs())
        side = getattr(part, "size", pool.shape[0])
        batch = np.zeros((BATCH, side, side, 3), np.uint8)
        extractor(batch[:2])
        begun, runs = time.monotonic(), 0
        while not runs or time.monotonic() - begun < RUNNING:
            extractor(batch)
            runs += 1
    return there, (time.monotonic() - begun) / (runs * BATCH) / (cores() if alone else 1)


class _EnoughError(Exception):
    """A training was measured."""


def _of_training(part: Any, pool: _Images, device: Device) -> float | None:
    """Return the seconds that a training takes, from a few of its steps; None where it reports none."""
    smaller = max(1, pool.shape[0] // SIDE)
    begun = time.monotonic()
    first: tuple[float, int] | None = None
    total_seconds: float | None = None

    def progress(stage: str, done: int, total: int, note: str = "") -> None:
        nonlocal first, total_seconds
        now = time.monotonic()
        if first is None:
            first = now, done
        elif done > first[1]:
            total_seconds = (now - first[0]) / (done - first[1]) * total * smaller**2
            if now - begun > TRAINING:
                raise _EnoughError

    with TemporaryDirectory() as home, suppress(_EnoughError, UserError):
        part.train(_Images(pool.images[:, ::smaller, ::smaller]), Path(home), 0, device, progress)
    return total_seconds


@dataclass(frozen=True)
class _Images:
    """A pool of a few images."""

    images: Images
    fingerprint: str = "of a trial"

    @property
    def shape(self) -> tuple[int, int, int]:
        height, width, channels = self.images.shape[1:]
        return height, width, channels

    def __len__(self) -> int:
        return len(self.images)

    def read(self, ids: Ids) -> Images:
        """Return the images of these ids."""
        return self.images[ids]
