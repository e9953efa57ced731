"""Figure 6 and table 2: what selecting a batch costs as the pool grows, measured, and predicted where it is too long.

The pools are the project's own images, shifted a little (`asal.data.augmented_pool`), as the paper enlarges CelebA.
Everything is timed in one process and one run; judge by the ratios, for machines differ and are shared.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from asal.core import Extractor, Generator, Index, Model, Pool, Round, Vectors
from asal.data.augmented_pool import AugmentedPool
from asal.experiments.statistics import CONFIDENCE, Estimate
from asal.features import features
from asal.features.store import write_vectors
from asal.index.exact import Exact
from asal.index.kdtree import KdTree
from asal.models.generators import generators
from asal.project.project import Project
from asal.project.validate import made
from asal.runtime.meter import Meter
from asal.runtime.progress import Progress
from asal.runtime.rng import stream
from asal.session.plan import Chooser
from asal.strategies.asal import asal
from asal.strategies.coreset import coreset
from asal.strategies.learning_loss import learning_loss
from asal.strategies.random import random
from asal.strategies.uncertainty import subset, uncertainty

PICKS = 10  # in a round, as in the paper
LABELLED = 100
REPEATS = 5  # of a selection; the first one warms up and is not counted
PATIENCE = 60.0  # seconds of one selection, beyond which the larger pools are predicted
PAPER_SIZES = (160_000, 500_000, 1_600_000, 5_000_000, 16_000_000)
SPACE = "autoencoder"
TRIED = 20  # steps that a training's rate is taken over


@dataclass(frozen=True)
class Bench:
    """The tools of a round, over an enlarged pool."""

    generator: Generator
    extractor: Extractor
    vectors: Vectors
    index: Index
    own: None = None


@dataclass(frozen=True)
class Timing:
    """What a selection of ten took, by one strategy from one pool."""

    strategy: str
    images: int
    seconds: float  # without reading images from the disk
    matching: float  # of these, in feature space: of the made-up images' features, and the search for their neighbours
    io: float
    evaluations: int
    predicted: bool = False


@dataclass(frozen=True)
class Preparation:
    """Seconds of what happens once, before the first round; zero where a strategy needs none of it."""

    generator: float  # steps × the rate of a few
    encoder: float
    features: Mapping[int, float]  # by images
    index: Mapping[int, float]

    def total(self, images: int, tree: bool) -> float:
        """Return all of it for a pool of so many images, with the k-d tree or without."""
        return self.generator + self.encoder + self.features[images] + self.index[images] * tree


@dataclass(frozen=True)
class Measured:
    """What was timed over all pools."""

    timings: list[Timing]
    features: dict[int, float]  # seconds of finding all features, by images
    tree: dict[int, float]  # of growing the k-d tree


@dataclass(frozen=True)
class Case:
    """A strategy as it is timed: with the index that it searches, and the kind of classifier that it asks."""

    strategy: Chooser
    index: str = "exact"
    foretelling: bool = False


def cases(n: int) -> dict[str, Case]:
    """Return the strategies by what they are called, for a pool of n images."""
    return {
        "random": Case(random),
        "asal, k-d tree": Case(partial(asal, paper=True), "kdtree"),
        "asal, exact scan": Case(partial(asal, paper=True)),
        "subset of 1,000": Case(partial(subset, size=1000)),
        "maximum entropy": Case(uncertainty),
        "learning loss": Case(partial(learning_loss, size=n), foretelling=True),
        "core-set": Case(coreset),
    }


def measure(project: Project, sizes: Sequence[int], names: Sequence[str], progress: Progress) -> Measured:
    """Time each strategy on each pool, smallest first; where one took too long, predict it on the larger ones."""
    measured = Measured([], {}, {})
    models = _models(project, any(cases(1)[name].foretelling for name in names))
    for n in sorted(sizes):
        pool = AugmentedPool(project.pool, n)
        with benches(project, pool, measured, progress) as tools:
            for name in names:
                progress("timings", len(measured.timings), len(sizes) * len(names), f"{name}, {n:,} images")
                before = [it for it in measured.timings if it.strategy == name]
                measured.timings.append(_timed(name, pool, tools, models, before))
    progress("timings", len(measured.timings), len(measured.timings))
    return measured


def _timed(name: str, pool: AugmentedPool, tools: Mapping[str, Bench], models: _Models, before: list[Timing]) -> Timing:
    n, case = len(pool), cases(len(pool))[name]
    if before and (before[-1].predicted or before[-1].seconds > PATIENCE):
        last = before[-1]
        scale = n / last.images  # such strategies are linear: they look at every image
        seconds, matching, io = (scale * part for part in (last.seconds, last.matching, last.io))
        return Timing(name, n, seconds, matching, io, round(last.evaluations * scale), True)
    model = models.foretelling if case.foretelling else models.plain
    splits, evaluations = [], 0
    for number in range(REPEATS + 1):
        meter = Meter()
        now = Round(number, pool, np.arange(LABELLED), models.labels, model, tools[case.index], meter=meter)
        with meter.part("score"):
            case.strategy(now, PICKS, stream(0, "timings", number))
        splits.append(meter.split())
        evaluations = meter.evaluations + meter.generated
        if number and sum(meter.split().values()) > PATIENCE / REPEATS:
            break
    counted = splits[1:]
    io, matching = (median(split[part] for split in counted) for part in ("io", "match"))
    return Timing(name, n, median(sum(split.values()) - split["io"] for split in counted), matching, io, evaluations)


@dataclass(frozen=True)
class _Models:
    plain: Model
    foretelling: Model
    labels: np.ndarray[Any, np.dtype[np.int64]]


def _models(project: Project, foretelling: bool) -> _Models:
    oracle = project.oracle("pool")
    ids = np.arange(LABELLED)
    labels, images, k = oracle.answer(ids), project.pool.read(ids), len(oracle.classes)
    plain = project.learner().fit(images, labels, k, stream(0, "learner"))
    if not foretelling:
        return _Models(plain, plain, labels)
    learner = project.learner(frozenset({"loss"}))
    return _Models(plain, learner.fit(images, labels, k, stream(0, "learner")), labels)


@contextmanager
def benches(project: Project, pool: Pool, measured: Measured, progress: Progress) -> Iterator[dict[str, Bench]]:
    """Give the tools over an enlarged pool, by index, and note what making them took; their files go afterwards."""
    space, n = project.space(SPACE), len(pool)
    with tempfile.TemporaryDirectory(prefix="asal-") as home:
        folder, start = Path(home), time.perf_counter()
        vectors = write_vectors(folder, lambda ids: space.extractor(pool.read(ids)), n, progress=progress)
        measured.features[n] = time.perf_counter() - start
        exact = Exact()
        exact.build(vectors, folder / "exact")
        start = time.perf_counter()
        tree = KdTree().load(vectors, folder)
        measured.tree[n] = time.perf_counter() - start
        built: dict[str, Index] = {"exact": exact.load(vectors, folder / "exact"), "kdtree": tree}
        yield {name: Bench(project.generator, space.extractor, vectors, index) for name, index in built.items()}


def preparation(project: Project, measured: Measured) -> Preparation:
    """Return what happens once: features and trees as they were timed, trainings by the rate of their first steps."""
    assert project.spec.generator is not None
    generator = made(generators, project.spec.generator)
    encoder = made(features, project.spec.features[SPACE])
    return Preparation(_training(generator, project), _training(encoder, project), measured.features, measured.tree)


def _training(part: Any, project: Project) -> float:
    """Return the seconds that a training takes: its steps by the rate of a few of them, the first ones left out."""
    marks: list[tuple[int, float]] = []

    class Enough(Exception):  # noqa: N818  it has told what was to be told
        pass

    def progress(stage: str, done: int, total: int, note: str = "") -> None:
        marks.append((done, time.perf_counter()))
        if done > TRIED:
            raise Enough

    with tempfile.TemporaryDirectory(prefix="asal-") as home:
        (Path(home) / ".scratch").mkdir()
        with suppress(Enough):
            part.train(project.pool, Path(home), project.spec.seed, project.device, progress)
    if len(marks) < 2:
        return 0.0
    (first, began), (last, ended) = marks[0], marks[-1]
    return float(part.steps * (ended - began) / max(last - first, 1))


def exponent(timings: Sequence[Timing], matching: bool = False) -> Estimate:
    """Return the slope of log seconds over log images, by least squares over what was measured, and its 95% interval.

    Args:
        matching: of the seconds of matching alone.
    """
    from scipy import stats

    nan = float("nan")
    points = [(it.images, it.matching if matching else it.seconds) for it in timings if not it.predicted]
    points = [(n, seconds) for n, seconds in points if seconds > 0]
    if len(points) < 2:
        return Estimate(nan, nan, nan, "none: one size", len(points))
    found = stats.linregress(*np.log(np.array(points)).T)
    slope, degrees = float(found.slope), len(points) - 2
    if not degrees:
        return Estimate(slope, nan, nan, "none: two sizes", 2)
    reach = float(stats.t.ppf((1 + CONFIDENCE) / 2, degrees) * found.stderr)
    return Estimate(slope, slope - reach, slope + reach, "t-interval", len(points))


def crossings(timings: Sequence[Timing], prepared: Preparation, ours: str, theirs: str) -> dict[int, float]:
    """Return for each pool the round from which one strategy, preparation included, has taken less time in all."""
    seconds = {(it.strategy, it.images): it.seconds for it in timings}
    found = {}
    for n in sorted({it.images for it in timings}):
        saved = seconds[theirs, n] - seconds[ours, n]
        found[n] = prepared.total(n, tree="tree" in ours) / saved if saved > 0 else float("inf")
    return found
