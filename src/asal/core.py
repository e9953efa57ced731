"""The vocabulary of asal: what flows between its parts. Read this file first.

Shapes are written once, here: n images, q queries, k classes or neighbours, d feature dimensions,
z latent dimensions, and h × w × c pixels. Arrays that are passed in are read-only:
no part writes into its arguments. A part is anything that fits one of the protocols below.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias, TypeVar, cast

import numpy as np
import numpy.typing as npt

from asal.errors import UserError
from asal.runtime.meter import Meter

if TYPE_CHECKING:  # torch is heavy, and half of asal (the record, the report, the help) needs none of it
    from torch import Tensor

    from asal.models.linear_map import LinearMap

Ids: TypeAlias = npt.NDArray[np.int64]  # (n,)         an image's number in the pool; it never changes
Labels: TypeAlias = npt.NDArray[np.int64]  # (n,)         a class's number, 0 … k − 1
Images: TypeAlias = npt.NDArray[np.uint8]  # (n, h, w, c) as stored: 0 … 255, c = 1 or 3
Features: TypeAlias = npt.NDArray[np.float32]  # (n, d)
Inputs: TypeAlias = npt.NDArray[Any]  # what a classifier reads: Images, or the Features that are stored of them
Probs: TypeAlias = npt.NDArray[np.float64]  # (n, k)       rows sum to one
Scores: TypeAlias = npt.NDArray[np.float64]  # (n,)         higher = ask sooner, everywhere

NO_IDS: Ids = np.empty(0, np.int64)
T = TypeVar("T")


def as_ids(ids: npt.ArrayLike) -> Ids:
    """Return `ids` as a flat int64 array.

    Raises:
        TypeError: they are not integers: a mask or a float would silently become other images.
    """
    array = np.asarray(ids)
    if array.size and array.dtype.kind not in "iu":
        raise TypeError(f"ids are integers, and these are {array.dtype}")
    return array.astype(np.int64, copy=False).reshape(-1)


def check_ids(ids: npt.ArrayLike, size: int) -> Ids:
    """Return ids that are all of a pool of this size: NumPy would count a negative one from the end.

    >>> check_ids([0, 7], 8).tolist()
    [0, 7]

    Raises:
        UserError: one is not.
    """
    ids = as_ids(ids)
    outside = ids[(ids < 0) | (ids >= size)]
    if outside.size:
        known = f"is outside 0 … {size - 1}" if size else "is not in the pool, which is empty"
        raise UserError(f"image id {outside[0]} {known}", hint="pass ids of this pool")
    return ids


class Pool(Protocol):
    """Images that are read by id, in any order. An image's id never changes."""

    @property
    def fingerprint(self) -> str: ...
    @property
    def shape(self) -> tuple[int, int, int]: ...  # (h, w, c)
    def __len__(self) -> int: ...
    def read(self, ids: Ids) -> Images: ...


class Reader(Protocol):
    """Gives, by id, what a classifier reads: a `Pool` pictures, and `Vectors` stored features. It may have a `view`."""

    def read(self, ids: Ids) -> Inputs: ...


class Model(Protocol):
    """A trained classifier."""

    @property
    def reads(self) -> Literal["images", "features"]: ...  # what its inputs are
    def predict(self, inputs: Inputs) -> Probs: ...
    def embed(self, inputs: Inputs) -> Features:
        """Return the input of the last layer."""
        ...

    def logits(self, batch: Tensor) -> Tensor:
        """Map float images (n, c, h, w) in [−1, 1] to (n, k), differentiably."""
        ...


class LossPredictingModel(Model, Protocol):
    """A classifier that also predicts its own loss on an image: what a learner that provides "loss" returns."""

    def losses(self, inputs: Inputs) -> Scores: ...
    def loss(self, batch: Tensor) -> Tensor:
        """Map float images (n, c, h, w) in [−1, 1] to (n,), differentiably."""
        ...


class LinearModel(Model, Protocol):
    """A classifier that is linear in fixed features: what a learner that provides "linear" returns."""

    def head(self) -> tuple[Features, Features]:
        """Return the weights (k, d) and biases (k,) that make logits of what `embed` returns."""
        ...

    def linear_map(self) -> LinearMap | None:
        """Return the map from what it reads to logits; None where that is not linear. It scores a whole pool fast."""
        ...


class DropoutModel(Model, Protocol):
    """A classifier that can predict with dropout: what a learner that provides "dropout" returns."""

    def predict_with_dropout(self, inputs: Inputs, times: int, rate: float, rng: np.random.Generator) -> Probs:
        """Return (times, n, k): each time a share `rate` of the last layer's inputs is dropped, at random."""
        ...


class Learner(Protocol):
    """Trains a classifier from scratch, on images or on stored features."""

    def fit(self, inputs: Inputs, labels: Labels, classes: int, rng: np.random.Generator) -> Model: ...


class OriginLearner(Protocol):
    """Trains a classifier from images and from the notes on how they were generated; see `asal.strategies.adba`."""

    def fit_with_origins(
        self,
        images: Images,
        labels: Labels,
        origins: Sequence[Mapping[str, Any]],
        classes: int,
        rng: np.random.Generator,
    ) -> Model:
        """Fit to labelled images; `origins` has the note of each synthetic image, and an empty one for the others."""
        ...


class Generator(Protocol):
    """Draws images from latents; trained once, on the pool's images alone."""

    @property
    def latent_dim(self) -> int: ...
    def decode(self, latents: Tensor) -> Tensor:
        """Map latents (n, z) to float images (n, c, h, w) in [−1, 1], differentiably."""
        ...


class Extractor(Protocol):
    """Maps images to the space in which distances are measured."""

    @property
    def dim(self) -> int: ...
    def __call__(self, images: Images) -> Features: ...


class DifferentiableExtractor(Extractor, Protocol):
    """An extractor that a gradient can pass: what features that provide "gradient" load."""

    def differentiable(self, batch: Tensor) -> Tensor:
        """Map float images (n, c, h, w) in [−1, 1] to (n, d), as a call does, differentiably."""
        ...


@dataclass(frozen=True)
class RecallCheck:
    """How an approximate search was checked against the exact scan; see `asal.index.recall_guard`."""

    checked: int  # queries that the exact scan answered, too
    missed: int  # of these, the ones whose nearest image the approximate search had missed
    probes: int  # lists that the last search read for each query; 0 where the exact scan answered all
    exact: int  # queries that the exact scan answered in place of the approximate search
    seconds: float  # of checking, and of searching again


@dataclass(frozen=True)
class Neighbours:
    """The answer of an index: for each query its nearest images, nearest first."""

    ids: Ids  # (q, k)
    distances: Scores  # (q, k) euclidean
    check: RecallCheck | None = field(default=None, compare=False)  # where the index checks its recall


class Index(Protocol):
    """Finds the stored images nearest to a query; speaks ids, never rows."""

    def search(self, queries: Features, k: int, *, without: Ids = NO_IDS) -> Neighbours:
        """Return the k nearest images that are not in `without`; fewer only if fewer are left."""
        ...


class Vectors(Protocol):
    """The pool's stored features, by id."""

    def read(self, ids: Ids) -> Features: ...


class Resources(Protocol):
    """What a strategy declares in its `needs`, opened when it is first used."""

    @property
    def generator(self) -> Generator: ...
    @property
    def extractor(self) -> Extractor: ...
    @property
    def vectors(self) -> Vectors: ...
    @property
    def index(self) -> Index: ...
    @property
    def own(self) -> Any:
        """What the strategy prepares for itself: the object that its `load` returns."""
        ...


class ToolProvider(Protocol):
    """Gives the tools of a round: most are fixed, and some depend on the present classifier."""

    def at(self, model: Model, meter: Meter) -> Resources: ...


Score: TypeAlias = Callable[[Any], Any]  # probabilities (n, k) → scores (n,), for numpy arrays and torch tensors alike


@dataclass(frozen=True)
class Candidates:
    """Every image of the pool but the excluded ones, which are few: so those are stored."""

    size: int
    excluded: Ids = field(default_factory=lambda: NO_IDS)  # sorted, distinct

    def __post_init__(self) -> None:
        excluded = np.sort(as_ids(self.excluded), kind="stable")  # `unique` takes seconds for millions
        excluded = excluded[np.concatenate([[True], np.diff(excluded) != 0])] if len(excluded) else excluded
        object.__setattr__(self, "excluded", check_ids(excluded, self.size))

    def __len__(self) -> int:
        return self.size - len(self.excluded)

    def has(self, ids: Ids) -> npt.NDArray[np.bool_]:
        """Say for each id whether it may be asked. Cost: O(n log excluded)."""
        inside = (ids >= 0) & (ids < self.size)
        return inside & ~np.isin(ids, self.excluded)

    def sample(self, n: int, rng: np.random.Generator) -> Ids:
        """Draw n distinct candidates, all equally likely. Cost: O(n + excluded), whatever the pool's size."""
        if n > len(self):
            raise not_enough(n, len(self))
        ranks = _distinct(n, len(self), rng)
        # The rank-th candidate is rank + (excluded ids below it): excluded[i] − i candidates lie before excluded[i].
        candidates_before = self.excluded - np.arange(len(self.excluded))
        return as_ids(ranks + np.searchsorted(candidates_before, ranks, side="right"))

    def blocks(self, size: int = 4096) -> Iterator[Ids]:
        """Yield every candidate in ascending order, block by block. Cost: linear in the pool."""
        for start in range(0, self.size, size):
            end = min(start + size, self.size)
            excluded = self.excluded[slice(*np.searchsorted(self.excluded, [start, end]))]
            ids = np.delete(np.arange(start, end, dtype=np.int64), excluded - start)
            if ids.size:
                yield ids


def _distinct(n: int, size: int, rng: np.random.Generator) -> Ids:
    """Draw n distinct numbers below `size`, in random order. Memory: O(n); numpy's `choice` lays out up to 50 n."""
    if 4 * n > size:
        return as_ids(rng.choice(size, size=n, replace=False))
    distinct = NO_IDS
    while len(distinct) < n:  # in place of a number that was drawn before, another is drawn
        drawn = np.concatenate([distinct, rng.integers(size, size=n - len(distinct))])
        distinct = drawn[np.sort(np.unique(drawn, return_index=True)[1])]
    return distinct


def not_enough(n: int, left: int) -> UserError:
    """Return the error for a batch that the pool cannot fill."""
    return UserError(
        f"a batch of {n} is asked for, and {left or 'no'} {'image is' if left == 1 else 'images are'} left",
        hint=f"ask for {left} or fewer, or add images to the pool" if left else "stop here, or add images to the pool",
    )


@dataclass(frozen=True)
class Round:
    """What a strategy sees: the pool, what is known of it, and the present classifier."""

    number: int
    pool: Pool
    labelled: Ids
    labels: Labels
    model: Model
    tools: Resources
    skipped: Ids = field(default_factory=lambda: NO_IDS)  # not to be asked: without a label, or open
    meter: Meter = field(default_factory=Meter)
    origins: Sequence[Mapping[str, Any]] = ()  # how each synthetic image so far was generated, in the order of ids
    reader: Reader | None = None  # of what the classifier reads; by default the pool, of pictures
    candidates: Candidates = field(init=False)

    def __post_init__(self) -> None:
        excluded = np.concatenate([self.labelled, self.skipped])
        object.__setattr__(self, "candidates", Candidates(len(self.pool), excluded[excluded < len(self.pool)]))

    @property
    def real(self) -> Ids:
        """The labelled ids of the pool, in ascending order: synthetic images have no stored features."""
        return np.sort(self.labelled[self.labelled < len(self.pool)])

    def inputs(self, ids: Ids) -> Inputs:
        """Return what the classifier reads: pictures of the pool, or their stored features."""
        with self.meter.part("io"):
            return (self.reader or self.pool).read(ids)

    def predict(self, ids: Ids) -> Probs:
        """Return the classifier's probabilities for pool images, and count the evaluations."""
        return self._evaluated(ids, self.model.predict)

    def embed(self, ids: Ids) -> Features:
        """Return the input of the classifier's last layer for pool images, and count the evaluations."""
        return self._evaluated(ids, self.model.embed)

    def losses(self, ids: Ids) -> Scores:
        """Return the loss that the classifier predicts for pool images, and count the evaluations."""
        return self._evaluated(ids, cast(LossPredictingModel, self.model).losses)

    def predict_with_dropout(self, ids: Ids, times: int, rate: float, rng: np.random.Generator) -> Probs:
        """Return probabilities (times, n, k) of pool images with dropout, and count `times` evaluations of each."""
        model = cast(DropoutModel, self.model)
        return self._evaluated(ids, lambda inputs: model.predict_with_dropout(inputs, times, rate, rng), times)

    def _evaluated(self, ids: Ids, evaluate: Callable[[Inputs], T], times: int = 1) -> T:
        inputs = self.inputs(ids)
        with self.meter.part("score"):
            self.meter.evaluations += len(ids) * times
            return evaluate(inputs)

    def search(self, queries: Features, k: int, *, without: Ids = NO_IDS) -> Neighbours:
        """Return what the index finds (`Index.search`), and count how its recall was checked."""
        near = self.tools.index.search(queries, k, without=without)
        if near.check is not None:
            self.meter.add_check(len(queries), **vars(near.check))
        return near

    def features(self, ids: Ids) -> Features:
        """Return the stored features of pool images."""
        with self.meter.part("io"):
            return self.tools.vectors.read(ids)


@dataclass(frozen=True)
class Selection:
    """What a strategy picked: distinct ids, sooner first, and for each pick its score and its reason.

    A strategy that generates images, to be labelled in place of the pool's, returns them with `of_synthetic`. Images
    that are answered together, as ADBA's lines are, form groups.
    """

    ids: Ids
    scores: Scores
    notes: Sequence[Mapping[str, Any]] = ()  # one for each pick, JSON-ready, or none at all
    images: Images | None = None  # (n, h, w, c) synthetic; None where the ids are the pool's
    group: int = 1  # images to one annotation

    @classmethod
    def of_synthetic(
        cls, now: Round, images: Images, scores: Scores, notes: Sequence[Mapping[str, Any]], group: int = 1
    ) -> Selection:
        """Return a selection of new synthetic images, under the next free ids."""
        first = len(now.pool) + len(now.origins)
        return cls(np.arange(first, first + len(images)), scores, notes, images, group)

    def __post_init__(self) -> None:
        object.__setattr__(self, "ids", as_ids(self.ids))
        object.__setattr__(self, "scores", np.asarray(self.scores, np.float64).reshape(-1))
        if len(np.unique(self.ids)) != len(self.ids):
            raise ValueError(f"a selection's ids are distinct, and {sorted(self.ids.tolist())} has one twice")
        if len(self.scores) != len(self.ids):
            raise ValueError(f"a selection has one score for each id, not {len(self.scores)} for {len(self.ids)}")
        if not np.isfinite(self.scores).all():
            raise ValueError("scores must be finite: a NaN would sort at random")
        if self.notes and len(self.notes) != len(self.ids):
            raise ValueError(f"a selection has one note for each id or none, not {len(self.notes)} for {len(self.ids)}")
        if self.images is not None and len(self.images) != len(self.ids):
            raise ValueError(f"a selection has one image for each id, not {len(self.images)} for {len(self.ids)}")
        if len(self.ids) % self.group:
            raise ValueError(f"a selection holds complete groups of {self.group} images, not {len(self.ids)} images")


class Strategy(Protocol):
    """Chooses n images to ask about. It has keyword options of its own, and no state."""

    def __call__(self, now: Round, n: int, rng: np.random.Generator, /, **options: Any) -> Selection: ...
