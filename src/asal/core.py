"""The vocabulary of asal: what flows between its parts. Read this file first.

Shapes are written once, here: n images, q queries, k classes or neighbours, d feature dimensions,
z latent dimensions, and h × w × c pixels. Every array that is passed in is read-only by habit:
no part writes into what it was given. A part is anything that fits one of the protocols below.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, TypeVar, cast

import numpy as np
import numpy.typing as npt

from asal.errors import UserError
from asal.runtime.meter import Meter

if TYPE_CHECKING:  # torch is heavy, and half of asal (the record, the report, the help) needs none of it
    from torch import Tensor

Ids: TypeAlias = npt.NDArray[np.int64]  # (n,)         an image's number in the pool, for ever
Labels: TypeAlias = npt.NDArray[np.int64]  # (n,)         a class's number, 0 … k − 1
Images: TypeAlias = npt.NDArray[np.uint8]  # (n, h, w, c) as stored: 0 … 255, c = 1 or 3
Features: TypeAlias = npt.NDArray[np.float32]  # (n, d)
Probs: TypeAlias = npt.NDArray[np.float64]  # (n, k)       rows sum to one
Scores: TypeAlias = npt.NDArray[np.float64]  # (n,)         higher = ask sooner, everywhere

NO_IDS: Ids = np.empty(0, np.int64)
T = TypeVar("T")


def as_ids(ids: npt.ArrayLike) -> Ids:
    """Return `ids` as a flat int64 array.

    Raises:
        TypeError: they are not whole numbers: a mask or a float would silently become other images.
    """
    given = np.asarray(ids)
    if given.size and given.dtype.kind not in "iu":
        raise TypeError(f"ids are whole numbers, and these are {given.dtype}")
    return given.astype(np.int64, copy=False).reshape(-1)


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
    """Images that can be read by id, in any order, for ever under the same number."""

    @property
    def fingerprint(self) -> str: ...
    @property
    def shape(self) -> tuple[int, int, int]: ...  # (h, w, c)
    def __len__(self) -> int: ...
    def read(self, ids: Ids) -> Images: ...


class Model(Protocol):
    """A trained classifier."""

    def predict(self, images: Images) -> Probs: ...
    def embed(self, images: Images) -> Features:
        """Return the input of the last layer."""
        ...

    def logits(self, batch: Tensor) -> Tensor:
        """Map float images (n, c, h, w) in [−1, 1] to (n, k), differentiably."""
        ...


class LossModel(Model, Protocol):
    """A classifier that also foretells its own loss on an image: what a learner that provides "loss" returns."""

    def losses(self, images: Images) -> Scores: ...
    def loss(self, batch: Tensor) -> Tensor:
        """Map float images (n, c, h, w) in [−1, 1] to (n,), differentiably."""
        ...


class LinearModel(Model, Protocol):
    """A classifier that is linear in features that stand still: what a learner that provides "linear" returns."""

    def head(self) -> tuple[Features, Features]:
        """Return the weights (k, d) and biases (k,) that make logits of what `embed` returns."""
        ...


class Learner(Protocol):
    """Trains a classifier from scratch."""

    def fit(self, images: Images, labels: Labels, classes: int, rng: np.random.Generator) -> Model: ...


class LineLearner(Protocol):
    """Trains a classifier from images and from how they were made; see `asal.strategies.adba`."""

    def fit_lines(
        self,
        images: Images,
        labels: Labels,
        origins: Sequence[Mapping[str, Any]],
        classes: int,
        rng: np.random.Generator,
    ) -> Model:
        """Fit to labelled images; `origins` has the note of each that was made up, and an empty one of the others."""
        ...


class Generator(Protocol):
    """Draws images from latents; trained once, on the pool's images alone."""

    @property
    def latent_dim(self) -> int: ...
    def decode(self, latents: Tensor) -> Tensor:
        """Map latents (n, z) to float images (n, c, h, w) in [−1, 1], differentiably."""
        ...


class Extractor(Protocol):
    """Maps images to the space in which likeness is measured."""

    @property
    def dim(self) -> int: ...
    def __call__(self, images: Images) -> Features: ...


@dataclass(frozen=True)
class Check:
    """How an approximate search was watched, and what that cost; see `asal.index.recall_guard`."""

    checked: int  # queries that the exact scan looked at as well
    missed: int  # of these, the ones whose nearest image the first answer had missed
    probes: int  # lists that a query looked into at last; 0 where the exact scan answered all
    exact: int  # queries that the exact scan answered
    seconds: float  # of checking, and of searching again


@dataclass(frozen=True)
class Neighbours:
    """The answer of an index: for each query its nearest images, nearest first."""

    ids: Ids  # (q, k)
    distances: Scores  # (q, k) euclidean
    check: Check | None = field(default=None, compare=False)  # of an index that is watched


class Index(Protocol):
    """Finds the stored images nearest to a query; speaks ids, never rows."""

    def search(self, queries: Features, k: int, *, without: Ids = NO_IDS) -> Neighbours:
        """Return the k nearest images that are not in `without`; fewer only if fewer are left."""
        ...


class Vectors(Protocol):
    """The pool's stored features, by id."""

    def read(self, ids: Ids) -> Features: ...


class Resources(Protocol):
    """What a strategy declared in its `needs`, opened when it is first touched."""

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
        """What the strategy itself prepared: whatever its `load` returned."""
        ...


class ToolProvider(Protocol):
    """Hands out the tools of a round: most stand still, and some hang on the present classifier."""

    def at(self, model: Model, meter: Meter) -> Resources: ...


Score: TypeAlias = Callable[[Any], Any]  # probabilities (n, k) → scores (n,), for numpy arrays and torch tensors alike


@dataclass(frozen=True)
class Candidates:
    """Every image of the pool but the closed ones: what is taken is small, so that is what is held."""

    size: int
    excluded: Ids = field(default_factory=lambda: NO_IDS)  # sorted, distinct

    def __post_init__(self) -> None:
        excluded = np.unique(as_ids(self.excluded))
        object.__setattr__(self, "excluded", check_ids(excluded, self.size))

    def __len__(self) -> int:
        return self.size - len(self.excluded)

    def has(self, ids: Ids) -> npt.NDArray[np.bool_]:
        """Say for each id whether it may still be asked. Cost: O(n log closed)."""
        inside = (ids >= 0) & (ids < self.size)
        return inside & ~np.isin(ids, self.excluded)

    def sample(self, n: int, rng: np.random.Generator) -> Ids:
        """Draw n distinct open ids, all equally likely. Cost: O(n + closed), whatever the pool's size."""
        if n > len(self):
            raise not_enough(n, len(self))
        ranks = _distinct(n, len(self), rng)
        # The rank-th open id is rank + (closed ids at or below it): closed[i] − i open ids lie before closed[i].
        open_before = self.excluded - np.arange(len(self.excluded))
        return as_ids(ranks + np.searchsorted(open_before, ranks, side="right"))

    def blocks(self, size: int = 4096) -> Iterator[Ids]:
        """Yield every open id in ascending order, block by block. Cost: linear in the pool."""
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
    found = NO_IDS
    while len(found) < n:  # a number that came before is drawn again
        drawn = np.concatenate([found, rng.integers(size, size=n - len(found))])
        found = drawn[np.sort(np.unique(drawn, return_index=True)[1])]
    return found


def not_enough(n: int, left: int) -> UserError:
    """Return the error for a batch that the pool cannot fill."""
    return UserError(
        f"{n} were wanted and {left or 'none'} are left",
        rule="a batch holds images that nobody has been asked about",
        hint=f"ask for {left} or fewer, or add images to the pool" if left else "stop here, or add images to the pool",
    )


@dataclass(frozen=True)
class Round:
    """All that a strategy may look at: the pool, what is known of it, and the present classifier."""

    number: int
    pool: Pool
    labelled: Ids
    labels: Labels
    model: Model
    tools: Resources
    skipped: Ids = field(default_factory=lambda: NO_IDS)  # not to be asked: nobody could tell, or they are open still
    meter: Meter = field(default_factory=Meter)
    origins: Sequence[Mapping[str, Any]] = ()  # how each image was made that was made up so far, in the order of ids
    candidates: Candidates = field(init=False)

    def __post_init__(self) -> None:
        excluded = np.concatenate([self.labelled, self.skipped])
        object.__setattr__(self, "candidates", Candidates(len(self.pool), excluded[excluded < len(self.pool)]))

    @property
    def real(self) -> Ids:
        """The labelled ids that are of the pool, in ascending order: the made-up ones have no stored features."""
        return np.sort(self.labelled[self.labelled < len(self.pool)])

    def predict(self, ids: Ids) -> Probs:
        """Return the classifier's probabilities for pool images, and count the evaluations."""
        return self._evaluated(ids, self.model.predict)

    def embed(self, ids: Ids) -> Features:
        """Return the input of the classifier's last layer for pool images, and count the evaluations."""
        return self._evaluated(ids, self.model.embed)

    def losses(self, ids: Ids) -> Scores:
        """Return the loss that the classifier foretells for pool images, and count the evaluations."""
        return self._evaluated(ids, cast(LossModel, self.model).losses)

    def _evaluated(self, ids: Ids, evaluate: Callable[[Images], T]) -> T:
        with self.meter.part("io"):
            images = self.pool.read(ids)
        with self.meter.part("score"):
            self.meter.evaluations += len(ids)
            return evaluate(images)

    def search(self, queries: Features, k: int, *, without: Ids = NO_IDS) -> Neighbours:
        """Return what the index finds (`Index.search`), and note how it was watched."""
        near = self.tools.index.search(queries, k, without=without)
        if near.check is not None:
            self.meter.watched(len(queries), **vars(near.check))
        return near

    def features(self, ids: Ids) -> Features:
        """Return the stored features of pool images."""
        with self.meter.part("io"):
            return self.tools.vectors.read(ids)


@dataclass(frozen=True)
class Selection:
    """What a strategy picked: distinct ids, sooner first, and where each pick came from.

    A strategy that makes images up, to be labelled in place of the pool's, returns them with `of_made`. Images that are
    answered together, as ADBA's lines are, come in groups.
    """

    ids: Ids
    scores: Scores
    notes: Sequence[Mapping[str, Any]] = ()  # one a pick, JSON-ready, or none at all
    images: Images | None = None  # (n, h, w, c) made up; none where the ids are the pool's
    group: int = 1  # images to one annotation

    @classmethod
    def of_synthetic(
        cls, now: Round, images: Images, scores: Scores, notes: Sequence[Mapping[str, Any]], group: int = 1
    ) -> Selection:
        """Return a selection of images that were made up just now, under the ids that are free."""
        first = len(now.pool) + len(now.origins)
        return cls(np.arange(first, first + len(images)), scores, notes, images, group)

    def __post_init__(self) -> None:
        object.__setattr__(self, "ids", as_ids(self.ids))
        object.__setattr__(self, "scores", np.asarray(self.scores, np.float64).reshape(-1))
        if len(np.unique(self.ids)) != len(self.ids):
            raise ValueError(f"a selection's ids are distinct: {sorted(self.ids.tolist())} holds one twice")
        if len(self.scores) != len(self.ids):
            raise ValueError(f"a selection has one score an id: {len(self.scores)} for {len(self.ids)}")
        if not np.isfinite(self.scores).all():
            raise ValueError("scores must be finite: a NaN would sort at random")
        if self.notes and len(self.notes) != len(self.ids):
            raise ValueError(f"a selection has one note an id or none: {len(self.notes)} for {len(self.ids)}")
        if self.images is not None and len(self.images) != len(self.ids):
            raise ValueError(f"a selection has one made-up image an id: {len(self.images)} for {len(self.ids)}")
        if len(self.ids) % self.group:
            raise ValueError(f"a selection holds whole groups of {self.group} images, not {len(self.ids)}")


class Strategy(Protocol):
    """Chooses n images to ask about. Keyword options are its own; state it has none."""

    def __call__(self, now: Round, n: int, rng: np.random.Generator, /, **options: Any) -> Selection: ...
