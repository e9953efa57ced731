"""Figure 6 and table 2: the cost of selecting a batch as the pool grows, measured, or predicted where it is too slow.

The pools are the project's images, shifted a little (`asal.data.augmented_pool`), as the paper enlarges CelebA.
Everything is timed in one process and one run; compare the ratios, since machines differ and are shared.
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
from asal.errors import UserError
from asal.experiments.statistics import CONFIDENCE, Estimate
from asal.features import features
from asal.features.store import write_vectors
from asal.index.exact import Exact
from asal.index.kdtree import KdTree
from asal.models.generators import generators
from asal.project.project import Project
from asal.project.validate import learner_space, made
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
PATIENCE = 60.0  # seconds of a selection; where one takes longer, larger pools are predicted
PAPER_SIZES = (160_000, 500_000, 1_600_000, 5_000_000, 16_000_000)
SPACE = "autoencoder"
TIMED_STEPS = 20  # steps of a training from which its rate is measured


@dataclass(frozen=True)
class SelectionTools:
    """The tools of a round over an enlarged pool."""

    generator: Generator
    extractor: Extractor
    vectors: Vectors
    index: Index
    own: None = None


@dataclass(frozen=True)
class Timing:
    """The cost of one strategy's selection of ten images from one pool."""

    strategy: str
    images: int
    seconds: float  # without reading images from the disk
    matching: float  # of these: the features of the synthetic images, and the search for their neighbours
    io: float
    evaluations: int
    predicted: bool = False


@dataclass(frozen=True)
class Preparation:
    """Seconds of the preparation before the first round; zero where a strategy does not need it."""

    generator: float  # steps × the rate of a few of them
    encoder: float
    features: Mapping[int, float]  # by images
    index: Mapping[int, float]

    def total(self, images: int, tree: bool) -> float:
        """Return the total for a pool of so many images, with or without the k-d tree."""
        return self.generator + self.encoder + self.features[images] + self.index[images] * tree


@dataclass(frozen=True)
class Measurements:
    """The timings over all pools."""

    timings: list[Timing]
    features: dict[int, float]  # seconds to extract all features, by images
    tree: dict[int, float]  # of building the k-d tree


@dataclass(frozen=True)
class TimedStrategy:
    """A strategy to time, the index that it searches, and whether its classifier predicts losses."""

    strategy: Chooser
    index: str = "exact"
    predicts_loss: bool = False


def timed_strategies(n: int) -> dict[str, TimedStrategy]:
    """Return the strategies to time by name, for a pool of n images."""
    return {
        "random": TimedStrategy(random),
        "asal, k-d tree": TimedStrategy(partial(asal, paper=True, score="entropy"), "kdtree"),
        "asal, exact scan": TimedStrategy(partial(asal, paper=True, score="entropy")),
        "subset of 1,000": TimedStrategy(partial(subset, size=1000, score="entropy")),
        "maximum entropy": TimedStrategy(partial(uncertainty, score="entropy")),
        "learning loss": TimedStrategy(partial(learning_loss, size=n), predicts_loss=True),
        "core-set": TimedStrategy(coreset),
    }


def measure(project: Project, sizes: Sequence[int], names: Sequence[str], progress: Progress) -> Measurements:
    """Time each strategy on each pool, smallest first; where one takes too long, predict it on the larger ones."""
    measured = Measurements([], {}, {})
    models = _models(project, any(timed_strategies(1)[name].predicts_loss for name in names))
    for n in sorted(sizes):
        pool = AugmentedPool(project.pool, n)
        with selection_tools(project, pool, measured, progress) as tools:
            for name in names:
                progress("timings", len(measured.timings), len(sizes) * len(names), f"{name}, {n:,} images")
                before = [it for it in measured.timings if it.strategy == name]
                measured.timings.append(_timed(name, pool, tools, models, before))
    progress("timings", len(measured.timings), len(measured.timings))
    return measured


def _timed(
    name: str, pool: AugmentedPool, tools: Mapping[str, SelectionTools], models: _Models, before: list[Timing]
) -> Timing:
    n, case = len(pool), timed_strategies(len(pool))[name]
    if before and (before[-1].predicted or before[-1].seconds > PATIENCE):
        last = before[-1]
        scale = n / last.images  # slow strategies are linear: they look at every image
        seconds, matching, io = (scale * part for part in (last.seconds, last.matching, last.io))
        return Timing(name, n, seconds, matching, io, round(last.evaluations * scale), True)
    model = models.predicts_loss if case.predicts_loss else models.plain
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
    predicts_loss: Model
    labels: np.ndarray[Any, np.dtype[np.int64]]


def _models(project: Project, predicts_loss: bool) -> _Models:
    if learner_space(project.spec):
        raise UserError(
            f"the learner '{project.spec.learner.kind}' reads stored features",
            rule="figure 6 enlarges a pool of pictures, whose classifier reads pictures",
            hint="use the learner 'linear' or 'cnn' in this spec",
        )
    oracle = project.oracle("pool")
    ids = np.arange(LABELLED)
    labels, images, k = oracle.answer(ids), project.pool.read(ids), len(oracle.classes)
    plain = project.learner().fit(images, labels, k, stream(0, "learner"))
    if not predicts_loss:
        return _Models(plain, plain, labels)
    learner = project.learner(frozenset({"loss"}))
    return _Models(plain, learner.fit(images, labels, k, stream(0, "learner")), labels)


@contextmanager
def selection_tools(
    project: Project, pool: Pool, measured: Measurements, progress: Progress
) -> Iterator[dict[str, SelectionTools]]:
    """Yield the tools over an enlarged pool, by index, and record the seconds to build them."""
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
        yield {
            name: SelectionTools(project.generator, space.extractor, vectors, index) for name, index in built.items()
        }


def preparation(project: Project, measured: Measurements) -> Preparation:
    """Return the seconds of preparation: features and trees as timed, trainings by the rate of their first steps."""
    assert project.spec.generator is not None
    generator = made(generators, project.spec.generator)
    encoder = made(features, project.spec.features[SPACE])
    return Preparation(_training(generator, project), _training(encoder, project), measured.features, measured.tree)


def _training(part: Any, project: Project) -> float:
    """Return the seconds of a training: its steps × the rate of a few of them, without the first report."""
    marks: list[tuple[int, float]] = []

    class _EnoughSteps(Exception):  # noqa: N818  ends a training, it is no error
        pass

    def progress(stage: str, done: int, total: int, note: str = "") -> None:
        marks.append((done, time.perf_counter()))
        if done > TIMED_STEPS:
            raise _EnoughSteps

    with tempfile.TemporaryDirectory(prefix="asal-") as home:
        (Path(home) / ".scratch").mkdir()
        with suppress(_EnoughSteps):
            part.train(project.pool, Path(home), project.spec.seed, project.device, progress)
    if len(marks) < 2:
        return 0.0
    (first, began), (last, ended) = marks[0], marks[-1]
    return float(part.steps * (ended - began) / max(last - first, 1))


def exponent(timings: Sequence[Timing], matching: bool = False) -> Estimate:
    """Return the slope of log seconds over log images, by least squares over what was measured, and its 95% interval.

    Args:
        matching: take only the seconds of matching.
    """
    from scipy import stats

    nan = float("nan")
    points = [(it.images, it.matching if matching else it.seconds) for it in timings if not it.predicted]
    points = [(n, seconds) for n, seconds in points if seconds > 0]
    if len(points) < 2:
        return Estimate(nan, nan, nan, "none: one size", len(points))
    fit = stats.linregress(*np.log(np.array(points)).T)
    slope, degrees = float(fit.slope), len(points) - 2
    if not degrees:
        return Estimate(slope, nan, nan, "none: two sizes", 2)
    half = float(stats.t.ppf((1 + CONFIDENCE) / 2, degrees) * fit.stderr)
    return Estimate(slope, slope - half, slope + half, "t-interval", len(points))


def crossings(timings: Sequence[Timing], prepared: Preparation, ours: str, theirs: str) -> dict[int, float]:
    """Return for each pool the round from which a strategy has taken less time in total, preparation included."""
    seconds = {(it.strategy, it.images): it.seconds for it in timings}
    rounds = {}
    for n in sorted({it.images for it in timings}):
        saved = seconds[theirs, n] - seconds[ours, n]
        rounds[n] = prepared.total(n, tree="tree" in ours) / saved if saved > 0 else float("inf")
    return rounds
