"""The regimes of `selection.py`: which images are in the pool, which are labelled first, and what is measured.

All are made of the folders that `selection_features.py` writes. A regime and a seed give the same pool, the same first
labels and the same test set to every strategy.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.metrics import average_precision_score, recall_score

from asal.core import Features, Ids, Index, Labels, Model, Vectors
from asal.features.store import StoredVectors, write_vectors
from asal.index.exact import Exact
from asal.runtime.rng import stream

COMMON, IMBALANCE = 5000, 100  # images of the most frequent class of a long tail, and of that for one of the rarest
RARE = 3  # classes of a long tail that count as rare
KNOWN = 3  # needles that are known at the beginning
RANDOM_FEATURES = 256  # max(0, w·x + b): a head on these does not see the space of the index
L2 = Path(__file__).with_suffix(".json")  # of the head, by data set: `selection.py --tune` says how each does


@dataclass(frozen=True)
class Regime:
    """A pool, and how it is labelled.

    Args:
        data: the folder of features.
        make: returns the pool's rows and first labels.
        initial: images labelled at the beginning.
        batch: images asked for together.
        budget: labels at the end.
        metric: on the test set.
        lifted: the head reads random features of the stored ones.
    """

    name: str
    data: str
    make: Callable[[Path, str, int], Draw]
    initial: int = 20
    batch: int = 10
    budget: int = 500
    metric: str = "accuracy"
    lifted: bool = False

    @property
    def tuned(self) -> str:
        """What the head's l2 is chosen for; needles take the product's own, "auto"."""
        if self.metric == "average precision":
            return "needles"
        return f"{self.data}, random features" if self.lifted else self.data

    @property
    def l2(self) -> float | str:
        """Return the head's l2."""
        l2: float | str = json.loads(L2.read_text())[self.tuned]
        return l2


@dataclass(frozen=True)
class Draw:
    """What a seed draws of a regime."""

    features: Features  # (n, d) of the pool
    labels: Labels  # (n,)
    test: tuple[Features, Labels]
    first: Ids  # labelled at the beginning
    classes: int
    rare: tuple[int, ...] = ()  # classes whose finds are counted


@dataclass
class World:
    """A regime's pool on the disk, with an index that is built at its first use: what a strategy's tools offer."""

    regime: Regime
    drawn: Draw
    folder: Path
    vectors: Vectors = field(init=False)
    reader: Vectors = field(init=False)  # of what the head reads
    test: Features = field(init=False)  # as the head reads it
    generator: Any = None
    extractor: Any = None
    own: Any = None

    def __post_init__(self) -> None:
        self.vectors = self.reader = store(self.folder / "vectors", self.drawn.features)
        self.test = self.drawn.test[0]
        if self.regime.lifted:
            lift = random_features(self.drawn.features)
            self.reader = store(self.folder / "lifted", lift(self.drawn.features))
            self.test = lift(self.test)

    @cached_property
    def index(self) -> Index:
        """The exact scan."""
        assert isinstance(self.vectors, StoredVectors)
        Exact().build(self.vectors, self.folder / "index")
        return Exact().load(self.vectors, self.folder / "index")

    def at(self, *_: Any) -> World:
        """Return the tools of a round."""
        return self

    def measure(self, model: Model) -> float:
        """Return the metric of a model on the test set."""
        truth, probs = self.drawn.test[1], model.predict(self.test)
        if self.regime.metric == "average precision":
            return float(average_precision_score(truth, probs[:, 1]))
        if self.regime.metric == "balanced accuracy":
            return float(recall_score(truth, probs.argmax(axis=1), average="macro"))
        return float((probs.argmax(axis=1) == truth).mean())


@contextmanager
def world(regime: Regime, features: Path, seed: int) -> Iterator[World]:
    """Yield the pool of a seed, with its files in a temporary folder."""
    drawn = regime.make(features, regime.data, seed)
    if len(drawn.first) < regime.initial:  # a few are given; the others are random
        rest = np.setdiff1d(np.arange(len(drawn.labels)), drawn.first)
        if drawn.classes == 2:  # needles: none but the given ones
            rest = rest[drawn.labels[rest] == 0]
        more = stream(seed, "initial").choice(rest, regime.initial - len(drawn.first), replace=False)
        drawn = replace(drawn, first=np.concatenate([drawn.first, more]))
    with tempfile.TemporaryDirectory(prefix="selection-") as folder:
        yield World(regime, drawn, Path(folder))


def store(folder: Path, features: Features) -> StoredVectors:
    """Write features as `asal prepare` does."""
    return write_vectors(folder, lambda ids: features[ids], len(features), batch=65_536)


def random_features(features: Features) -> Callable[[Features], Features]:
    """Return the map to max(0, w·x + b), x scaled to a mean square length of 1; the same for all seeds."""
    rng, mean = stream(0, "benchmark", "random features"), features.mean(axis=0)
    scale = float(np.sqrt(((features - mean) ** 2).sum(axis=1).mean()))
    w = rng.standard_normal((features.shape[1], RANDOM_FEATURES)).astype(np.float32)
    b = rng.uniform(-1, 1, RANDOM_FEATURES).astype(np.float32)
    return lambda x: np.maximum((x - mean) / np.float32(scale) @ w + b, 0)


@lru_cache(8)
def loaded(folder: Path, split: str) -> tuple[Features, Labels]:
    """Return the features and labels of a part of a data set."""
    return np.load(folder / f"{split}.npy", mmap_mode="r"), np.load(folder / f"{split}-labels.npy")


def balanced(home: Path, data: str, seed: int) -> Draw:
    """All images, as many of each class as there are."""
    (x, y), test = loaded(home / data, "train"), loaded(home / data, "test")
    return Draw(np.asarray(x), y, test, np.empty(0, np.int64), int(y.max()) + 1)


def bursts(home: Path, data: str, seed: int) -> Draw:
    """Half of the images, and as many near-copies of a few."""
    (x, y), test = loaded(home / data, "train"), loaded(home / data, "test")
    shots, base = np.load(home / "bursts" / "train.npy"), np.load(home / "bursts" / "base.npy")
    kept = np.sort(stream(seed, "benchmark", "dup").choice(len(x), len(x) - len(shots), replace=False))
    features, labels = np.concatenate([x[kept], shots]), np.concatenate([y[kept], y[base]])
    return Draw(features, labels, test, np.empty(0, np.int64), int(y.max()) + 1)


def tail(home: Path, data: str, seed: int) -> Draw:
    """A long tail: from 5,000 images of the most frequent class to 50 of the rarest, one of each class known."""
    (x, y), test, rng = loaded(home / data, "train"), loaded(home / data, "test"), stream(seed, "benchmark", "tail")
    order = rng.permutation(int(y.max()) + 1)
    sizes = (COMMON * IMBALANCE ** (-np.arange(len(order)) / (len(order) - 1))).round().astype(int)
    rows = [rng.choice(np.flatnonzero(y == c), size, replace=False) for c, size in zip(order, sizes, strict=True)]
    ids = rng.permutation(np.concatenate(rows))
    first = [rng.choice(np.flatnonzero(y[ids] == c)) for c in range(len(order))]
    return Draw(x[ids], y[ids], test, np.array(first), len(order), tuple(order[-RARE:].tolist()))


def needles(ratio: int) -> Callable[[Path, str, int], Draw]:
    """One class at 1 : ratio among all images of the others; the class is the seed's last digit."""

    def make(home: Path, data: str, seed: int) -> Draw:
        (x, y), test, rng = loaded(home / data, "train"), loaded(home / data, "test"), stream(seed, "needle", ratio)
        target = seed % (int(y.max()) + 1)
        others = np.flatnonzero(y != target)
        some = rng.choice(np.flatnonzero(y == target), round(len(others) / ratio), replace=False)
        return _needles(x, others, some, (test[0], (test[1] == target).astype(np.int64)), rng)

    return make


def rare_among_copies(images: int, ratio: int) -> Callable[[Path, str, int], Draw]:
    """So many near-copies of other classes, and one class at 1 : ratio, no two of it copies of one image."""

    def make(home: Path, data: str, seed: int) -> Draw:
        (_, y), test, rng = loaded(home / data, "train"), loaded(home / data, "test"), stream(seed, "needle", images)
        x, target = np.load(home / "copies" / "train.npy", mmap_mode="r"), seed % (int(y.max()) + 1)
        labels, count = y[np.arange(len(x)) % len(y)], images // ratio
        others = np.flatnonzero(labels != target)[: images - count]
        some = rng.choice(np.flatnonzero(y == target), count, replace=False)
        some = some + len(y) * rng.integers(-(-(int(others[-1]) + 1) // len(y)), size=count)
        return _needles(x, others, some, (test[0], (test[1] == target).astype(np.int64)), rng)

    return make


def _needles(x: Features, others: Ids, some: Ids, test: tuple[Features, Labels], rng: np.random.Generator) -> Draw:
    rows, wanted = np.concatenate([others, some]), np.repeat([0, 1], [len(others), len(some)])
    order = rng.permutation(len(rows))
    labels = wanted[order]
    known = rng.choice(np.flatnonzero(labels), KNOWN, replace=False)
    return Draw(x[rows[order]], labels, test, known, 2, (1,))


_ten = Regime("bal10", "cifar10", balanced)
_fifty = Regime("bal50", "cifar10", balanced, 50, 50, 1000)
_tail = Regime("tail", "cifar10", tail, metric="balanced accuracy")
_needle = Regime("n300", "cifar10", needles(300), budget=300, metric="average precision")
REGIMES = {
    regime.name: regime
    for regime in (
        _ten,
        _fifty,
        replace(_fifty, name="dup", make=bursts),
        _tail,
        replace(_ten, name="bal10R", lifted=True),
        _needle,
        replace(_needle, name="n1000", make=needles(1000)),
        replace(_needle, name="big", make=rare_among_copies(250_000, 5_000)),
        replace(_needle, name="huge", make=rare_among_copies(900_000, 20_000)),
        *(
            replace(regime, name=f"{regime.name}:{short}", data=data)
            for short, data in (("mnist", "mnist"), ("fashion", "fashion-mnist"))
            for regime in (_ten, _fifty, _tail)
        ),
        replace(_ten, name="bal10:clothing", data="clothing", budget=300),
    )
}
