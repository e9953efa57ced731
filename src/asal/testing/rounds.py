"""Small rounds of real parts for the checks of strategies, and stand-ins that count, refuse, fail or repeat.

Real are the learner (`linear`), the features (pixels and PCA, or latents, in shards), the index (`exact`) and whatever
a strategy prepares for itself; the generator is a map of latents through tanh onto the pool's principal directions,
which is differentiable and needs no training, and the predicted losses are the entropies.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar, Literal, cast

import numpy as np
from torch import Tensor

from asal.core import (
    NO_IDS,
    DifferentiableExtractor,
    Extractor,
    Features,
    Generator,
    Ids,
    Images,
    Index,
    Inputs,
    Labels,
    Neighbours,
    Pool,
    Probs,
    Round,
    Scores,
    Vectors,
    as_ids,
)
from asal.features import ExtractorInputs
from asal.features.latent import Latent
from asal.features.pca import Reduced, fit_pca
from asal.features.pixels import PixelExtractor
from asal.features.store import VectorPool, write_vectors
from asal.index.exact import Exact
from asal.models.learners.head import Head
from asal.models.learners.linear import Linear
from asal.models.learners.neural import NeuralModel
from asal.models.linear_map import LinearMap, linear_map_of
from asal.registry import Part
from asal.runtime.devices import Device
from asal.runtime.progress import no_progress
from asal.runtime.rng import stream
from asal.strategies.scores.entropy import entropy
from asal.testing.toys import ToyPool, toy_world
from asal.testing.training import Cut

CLASSES = 3
NEEDS = {
    "generator": "generator",
    "extractor": "features",
    "vectors": "features",
    "index": "index",
    "own": "own",
    "logits": "gradient",
    "losses": "loss",
    "loss": "loss",
    "head": "linear",
    "predict_with_dropout": "dropout",
}
OF_TOOLS = ("generator", "extractor", "vectors", "index", "own")


@dataclass(frozen=True)
class Toolbox:
    """All that a strategy may declare in its needs."""

    generator: Generator
    extractor: Extractor
    vectors: Vectors
    index: Index
    own: Any = None


@dataclass(frozen=True)
class EntropyAsLossModel:
    """A classifier that predicts its entropy as its loss."""

    model: NeuralModel

    def losses(self, images: Images) -> Scores:
        """Return the losses (n,)."""
        return np.asarray(entropy(self.model.predict(images)))

    def loss(self, batch: Tensor) -> Tensor:
        """Return the losses (n,), differentiably."""
        losses: Tensor = entropy(self.model.logits(batch).softmax(1))
        return losses

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["model"], name)  # what it has of the classifier within


READS: ContextVar[Literal["images", "features"]] = ContextVar("reads", default="images")


@contextmanager
def classifier_of_features() -> Iterator[None]:
    """Let the rounds of all settings have a classifier that reads stored features: `head`, in place of `linear`."""
    before = READS.set("features")
    try:
        yield
    finally:
        READS.reset(before)


@dataclass(frozen=True)
class Setting:
    """A pool whose labels are known, with the tools prepared for it and for a strategy."""

    part: Part
    home: Path
    pool: Pool
    truth: Labels
    tools: Toolbox
    reads_features: bool = False

    def round(self, labelled: Ids, *, skipped: Ids = NO_IDS, number: int = 1) -> Round:
        """Return what a strategy sees once these images are labelled truly and its classifier is fitted to them."""
        labels, rng = self.truth[labelled], stream(0, "learner", number)
        classes, reader = int(self.truth.max()) + 1, self.tools.vectors if self.reads_features else None
        model: Any = None
        if reader is not None:
            extractor = cast(DifferentiableExtractor, self.tools.extractor)
            model = Head().through(lambda: extractor).fit(reader.read(labelled), labels, classes, rng)
        elif "lines" in self.part.provides:
            learner = self.part.make.learner(self.tools)  # type: ignore[attr-defined]
            model = learner.fit_with_origins(self.pool.read(labelled), labels, [{}] * len(labels), classes, rng)
        else:
            model = EntropyAsLossModel(Linear(iterations=10).fit(self.pool.read(labelled), labels, classes, rng))
        return Round(number, self.pool, labelled, labels, model, self.tools, skipped, reader=reader)

    def own(self, pool: Pool, vectors: Any, name: str) -> Any:
        """Return what the strategy prepares for itself on a pool; nothing where it has no need of it."""
        if "own" not in self.part.needs:
            return None
        folder = self.home / name
        folder.mkdir()
        owner: Any = self.part.make
        read: Any = VectorPool(name, len(pool), (1, 1, vectors.dim), lambda: vectors) if self.reads_features else pool
        owner.train(read, folder, 0, Device("cpu"), no_progress)
        return owner.load(folder, pool.shape)


@contextmanager
def setting(part: Part, images: int = 60, change: Callable[[Images], Images] | None = None) -> Iterator[Setting]:
    """Make a pool of toy images, of two classes where the strategy needs that and else of three, and its tools.

    Args:
        change: returns other images (n, h, w, c) for these; the generator and the PCA stay those of the toy images.
    """
    toy = toy_world(images, 2 if "two classes" in part.needs else CLASSES)
    if change is not None:
        toy = replace(toy, pool=ToyPool(change(toy.pool.read(np.arange(images)))))
    extractor = _extractor(images, len(toy.classes), "latents" in part.needs)
    indexer = Exact()
    with tempfile.TemporaryDirectory() as home:
        folder = Path(home)
        vectors = write_vectors(folder, lambda ids: extractor(toy.pool.read(ids)), images)
        indexer.build(vectors, folder / "index")
        tools = Toolbox(toy.tools.generator, extractor, vectors, indexer.load(vectors, folder / "index"))
        made = Setting(part, folder, toy.pool, toy.truth, tools, READS.get() == "features")
        yield replace(made, tools=replace(tools, own=made.own(toy.pool, vectors, "own")))


@lru_cache(8)
def _extractor(images: int, classes: int, latents: bool) -> Extractor:
    toy = toy_world(images, classes)
    if latents:
        return Latent(steps=30).load(Path(), toy.pool.shape, ExtractorInputs(cast(Any, toy.tools.generator)))
    pixels = PixelExtractor(math.prod(toy.pool.shape))
    return Reduced(pixels, fit_pca(lambda ids: pixels(toy.pool.read(ids)), images, 6, rng=stream(0, "pca")))


@dataclass(frozen=True)
class Certain:
    """A classifier that is certain of every image: each probability is exactly 0 or 1."""

    model: Any
    scale: float = 1e6

    def predict(self, inputs: Inputs) -> Probs:
        """Return one 1 in each row."""
        probs = self.model.predict(inputs)
        return np.asarray(np.eye(probs.shape[1])[probs.argmax(axis=1)])

    def predict_with_dropout(self, inputs: Inputs, times: int, rate: float, rng: np.random.Generator) -> Probs:
        """Return the same probabilities each time."""
        return np.repeat(self.predict(inputs)[None], times, axis=0)

    def logits(self, batch: Tensor) -> Tensor:
        """Return logits so far apart that their softmax has no gradient left."""
        logits: Tensor = self.scale * self.model.logits(batch)
        return logits

    def losses(self, inputs: Inputs) -> Scores:
        """Return the same loss for all."""
        return np.zeros(len(inputs))

    def loss(self, batch: Tensor) -> Tensor:
        """Return the same loss for all, without a gradient to speak of."""
        same: Tensor = 0 * self.logits(batch).sum(1)
        return same

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["model"], name)


@dataclass(frozen=True)
class Uncertain(Certain):
    """A classifier to which all images are the same: each probability is 1/k."""

    scale: float = 0.0

    def predict(self, inputs: Inputs) -> Probs:
        """Return rows that are all the same."""
        probs = self.model.predict(inputs)
        return np.full_like(probs, 1 / probs.shape[1])


@dataclass(frozen=True)
class CountingMap(LinearMap):
    """A linear map that counts for a `CountingModel`."""

    model: CountingModel

    def logits(self, inputs: Inputs) -> Any:
        """Count, and return the logits."""
        self.model.predicted += len(inputs)
        return super().logits(inputs)


class CountingModel:
    """A classifier that counts the pool images and the synthetic ones that it evaluates."""

    COUNTED: ClassVar = {"predict": "predicted", "embed": "predicted", "losses": "predicted", "logits": "optimised"}

    def __init__(self, model: Any) -> None:
        self._model, self.predicted, self.optimised = model, 0, 0

    def predict_with_dropout(self, inputs: Inputs, times: int, rate: float, rng: np.random.Generator) -> Probs:
        """Count each image as often as it is predicted, and predict."""
        self.predicted += len(inputs) * times
        probs: Probs = self._model.predict_with_dropout(inputs, times, rate, rng)
        return probs

    def loss(self, batch: Tensor) -> Any:
        """Count, and predict the losses."""
        self.optimised += len(batch)
        return self._model.loss(batch)

    def linear_map(self) -> LinearMap | None:
        """Return the classifier's own, which counts each image that it gives logits of."""
        linear = linear_map_of(self._model)
        return linear and CountingMap(linear.weights, linear.biases, self)

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.__dict__["_model"], name)
        if name not in self.COUNTED:
            return found

        def counted(inputs: Any) -> Any:
            setattr(self, self.COUNTED[name], getattr(self, self.COUNTED[name]) + len(inputs))
            return found(inputs)

        return counted


class Declared:
    """Tools and a classifier that show only what was declared in a strategy's needs."""

    def __init__(self, needs: frozenset[str], now: Round) -> None:
        self._needs, self._now = needs, now

    def __getattr__(self, name: str) -> Any:
        need = NEEDS.get(name)
        assert need is None or need in self._needs, f"it uses '{name}', and '{need}' is not among its needs"
        return getattr(self._now.tools if name in OF_TOOLS else self._now.model, name)


def declared(needs: frozenset[str], now: Round) -> Round:
    """Return the round with nothing but these needs met."""
    shown: Any = Declared(needs, now)
    return replace(now, tools=shown, model=shown)


class Tripwire:
    """Counts how often a round's pool, classifier and tools are touched, and cuts the work at one of these places."""

    def __init__(self, place: int = 0) -> None:
        self.place, self.touched = place, 0

    def touch(self) -> None:
        """Count, and raise `Cut` at the place."""
        self.touched += 1
        if self.touched == self.place:
            raise Cut

    def across(self, now: Round) -> Round:
        """Return the round with the wire laid across it."""
        wired: list[Any] = [_Wired(part, self.touch) for part in (now.pool, now.model, now.tools)]
        reader: Any = now.reader and _Wired(now.reader, self.touch)
        return replace(now, pool=wired[0], model=wired[1], tools=wired[2], reader=reader)


class _Wired:
    def __init__(self, part: Any, touch: Callable[[], None]) -> None:
        self._part, self._touch = part, touch

    def __len__(self) -> int:
        return len(self._part)

    def __call__(self, *args: Any, **options: Any) -> Any:
        self._touch()
        return self._part(*args, **options)

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._part, name)
        return _Wired(value, self._touch) if callable(value) or name in OF_TOOLS else value


class Repeated:
    """A pool, or its features, of any size and no memory: the same few rows again and again. Counts what is read."""

    def __init__(self, source: Any, base: int, copies: int) -> None:
        self._source, self._base, self._copies = source, base, copies
        self.reads = 0  # ids, not calls

    @property
    def shape(self) -> tuple[int, int, int]:
        """(h, w, c)."""
        shape: tuple[int, int, int] = self._source.shape
        return shape

    @property
    def dim(self) -> int:
        """Dimensions of a vector."""
        return int(self._source.dim)

    @property
    def fingerprint(self) -> str:
        """That of the few, and how often they come."""
        return f"{self._source.fingerprint} × {self._copies}"

    def __len__(self) -> int:
        return self._base * self._copies

    def read(self, ids: Ids) -> Any:
        """Return the rows of these ids."""
        self.reads += len(ids)
        return self._source.read(as_ids(ids) % self._base)


@dataclass(frozen=True)
class RepeatedIndex:
    """Exact neighbours in a repeated pool, at a cost that does not grow with the copies."""

    index: Index
    base: int
    copies: int

    def search(self, queries: Features, k: int, *, without: Ids = NO_IDS) -> Neighbours:
        """Return the k nearest: every copy of the nearest row, lower ids first, then those of the next."""
        enough = min(self.copies, k + len(without))
        near = self.index.search(queries, min(self.base, -(-(k + len(without)) // enough)))  # (q, r)
        ids = (near.ids[:, :, None] + self.base * np.arange(enough)).reshape(len(queries), -1)
        distances = np.repeat(near.distances, enough, axis=1)
        kept = np.argsort(np.isin(ids, without), axis=1, kind="stable")[:, :k]
        return Neighbours(np.take_along_axis(ids, kept, axis=1), np.take_along_axis(distances, kept, axis=1))


def repeated(at: Setting, labelled: Ids, copies: int) -> tuple[Round, Repeated, Repeated]:
    """Return a round over so many copies of the pool, and what counts the images and the features read."""
    base = len(at.pool)
    pool, vectors = Repeated(at.pool, base, copies), Repeated(at.tools.vectors, base, copies)
    own = at.own(pool, vectors, f"own-{copies}")
    tools = replace(at.tools, vectors=vectors, index=RepeatedIndex(at.tools.index, base, copies), own=own)
    now = at.round(labelled)
    return replace(now, pool=pool, tools=tools, reader=now.reader and vectors), pool, vectors
