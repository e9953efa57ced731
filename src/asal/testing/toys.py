"""Toy worlds: a few tiny images with every part a strategy may want, built in milliseconds with numpy.

The images are blends of one pattern a class, so that a classifier is certain of most and uncertain of some. Only
the parts that must be differentiable (`ToyModel.logits`, `ToyGenerator.decode`) import torch, when called.

>>> world = toy_world(images=60, classes=3)
>>> world.pool.shape, world.truth.shape, world.classes
((4, 4, 1), (60,), ('zero', 'one', 'two'))
>>> now = world.round(labelled=[0, 1, 2, 3])
>>> now.predict(now.candidates.sample(5, stream(1, "example"))).shape
(5, 3)
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from asal.core import NO_IDS, Features, Ids, Images, Labels, Model, Neighbours, Probs, Round, as_ids, check_ids
from asal.runtime.artifacts import fingerprint
from asal.runtime.meter import Meter
from asal.runtime.rng import stream

if TYPE_CHECKING:
    from torch import Tensor

NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
Floats = npt.NDArray[np.float64]


class ToyPool:
    """Images (n, h, w, c) in memory, read by id. Counts what was read, for tests of a strategy's cost."""

    def __init__(self, images: Images) -> None:
        self._images = images
        self.reads = 0  # images, not calls
        self.fingerprint = fingerprint({"shape": images.shape, "bytes": images.tobytes().hex()})

    @property
    def shape(self) -> tuple[int, int, int]:
        """(h, w, c)."""
        h, w, c = self._images.shape[1:]
        return h, w, c

    def __len__(self) -> int:
        return len(self._images)

    def read(self, ids: Ids) -> Images:
        """Return these images, in this order. A negative id is refused, not counted from the end."""
        ids = check_ids(ids, len(self))
        self.reads += len(ids)
        return self._images[ids]


@dataclass(frozen=True)
class ToyModel:
    """Softmax of minus sharpness · (squared distance to each class's mean image), which is linear in the pixels."""

    weights: Floats  # (k, h·w·c) on pixels in [0, 1]
    biases: Floats  # (k,)

    reads: ClassVar[Literal["images"]] = "images"

    def predict(self, images: Images) -> Probs:
        """Return probabilities (n, k), none of them zero."""
        logits = self.embed(images).astype(np.float64) @ self.weights.T + self.biases
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        return np.asarray(powers / powers.sum(axis=1, keepdims=True))

    def embed(self, images: Images) -> Features:
        """Return the pixels in [0, 1], flat: what the only layer sees."""
        return (images.reshape(len(images), -1) / 255).astype(np.float32)

    def logits(self, batch: Tensor) -> Tensor:
        """Map float images (n, c, h, w) in −1 … 1 to (n, k), differentiably and as `predict` does."""
        import torch

        pixels = (batch.permute(0, 2, 3, 1).flatten(1) + 1) / 2  # stored images are (h, w, c)
        weights, biases = (torch.from_numpy(a).to(batch) for a in (self.weights, self.biases))
        logits: Tensor = pixels @ weights.T + biases
        return logits


@dataclass(frozen=True)
class ToyLearner:
    """Takes each class's mean image. `jitter` makes the result depend on `rng`, as initial weights do a network."""

    sharpness: float = 4.0
    jitter: float = 1e-3

    def fit(self, images: Images, labels: Labels, classes: int, rng: np.random.Generator) -> ToyModel:
        """Return the model; a class without a label gets the mean of all images."""
        pixels = images.reshape(len(images), -1) / 255  # (n, h·w·c)
        present = [labels == k if (labels == k).any() else np.full(len(labels), True) for k in range(classes)]
        centres = np.stack([pixels[rows].mean(axis=0) for rows in present]) + self.jitter * rng.normal(
            size=(classes, pixels.shape[1])
        )
        return ToyModel(2 * self.sharpness * centres, -self.sharpness * (centres**2).sum(axis=1))


@dataclass(frozen=True)
class ToyGenerator:
    """Draws tanh(mean + z · directions) with the pool's own mean and principal directions."""

    mean: Floats  # (h·w·c,) before the tanh
    directions: Floats  # (z, h·w·c)
    shape: tuple[int, int, int]

    @property
    def latent_dim(self) -> int:
        """Length of a latent."""
        return len(self.directions)

    def decode(self, latents: Tensor) -> Tensor:
        """Map latents (n, z) to float images (n, c, h, w) in [−1, 1], differentiably."""
        import torch

        mean, directions = (torch.from_numpy(a).to(latents) for a in (self.mean, self.directions))
        images: Tensor = torch.tanh(mean + latents @ directions).reshape(len(latents), *self.shape)
        return images.permute(0, 3, 1, 2)


@dataclass(frozen=True)
class ToyExtractor:
    """The pixels in [0, 1], flat."""

    dim: int

    def __call__(self, images: Images) -> Features:
        return (images.reshape(len(images), -1) / 255).astype(np.float32)


@dataclass(frozen=True)
class ToyVectors:
    """The pool's features (n, d), by id."""

    features: Features

    def read(self, ids: Ids) -> Features:
        return self.features[as_ids(ids)]


@dataclass(frozen=True)
class ToyIndex:
    """Exact neighbours by the full matrix of distances; of two equally near, the smaller id first."""

    features: Features  # (n, d)

    def search(self, queries: Features, k: int, *, without: Ids = NO_IDS) -> Neighbours:
        """Return the k nearest images that are not in `without`; fewer only if fewer are left."""
        ids = np.setdiff1d(np.arange(len(self.features)), without)
        gaps = queries[:, None].astype(np.float64) - self.features[ids][None]  # (q, n, d)
        distances = np.sqrt((gaps**2).sum(axis=2))  # (q, n)
        rows = np.argsort(distances, axis=1, kind="stable")[:, :k]
        return Neighbours(ids[rows], np.take_along_axis(distances, rows, axis=1))


@dataclass(frozen=True)
class ToyResources:
    """All that a strategy may declare in its `needs`."""

    generator: ToyGenerator
    extractor: ToyExtractor
    vectors: ToyVectors
    index: ToyIndex
    own: None = None

    def at(self, model: Model, meter: Meter) -> ToyResources:
        """Return the tools of a round: the same in each."""
        return self


@dataclass(frozen=True)
class World:
    """A pool whose labels are known, with every part built on it."""

    pool: ToyPool
    truth: Labels  # (n,) the label of image i at place i
    classes: tuple[str, ...]
    learner: ToyLearner
    tools: ToyResources

    def answers(self, ids: Iterable[int]) -> dict[int, int]:
        """Return the true labels, as `Session.tell` takes them."""
        return {int(image): int(self.truth[image]) for image in ids}

    def round(self, labelled: npt.ArrayLike, *, skipped: npt.ArrayLike = (), number: int = 1, seed: int = 0) -> Round:
        """Return what a strategy sees once these images are labelled truly and the classifier is trained on them."""
        ids = as_ids(labelled)
        labels = self.truth[ids]
        model = self.learner.fit(self.pool.read(ids), labels, len(self.classes), stream(seed, "learner", number))
        return Round(number, self.pool, ids, labels, model, self.tools, as_ids(skipped))


def toy_world(
    images: int = 120, classes: int = 3, shape: tuple[int, int, int] = (4, 4, 1), *, latents: int = 4, seed: int = 0
) -> World:
    """Build a world; the same arguments give the same world.

    Args:
        classes: at most ten.
        images: how many; image i belongs to class i mod `classes`, so that the first few ids hold every class.
        shape: (h, w, c).
        latents: length of the generator's latents, at most `images` and h·w·c.
        seed: of every draw.
    """
    rng = stream(seed, "toy world")
    patterns = rng.uniform(0.2, 0.8, size=(classes, *shape))
    truth = np.arange(images, dtype=np.int64) % classes
    other = (truth + rng.integers(1, max(classes, 2), size=images)) % classes
    share = rng.beta(1, 3, size=(images, 1, 1, 1)) / 2  # of another class: below one half, and mostly small
    blends = (1 - share) * patterns[truth] + share * patterns[other] + rng.normal(scale=0.03, size=(images, *shape))
    pool = ToyPool(np.round(blends.clip(0, 1) * 255).astype(np.uint8))
    features = (pool.read(np.arange(images)).reshape(images, -1) / 255).astype(np.float32)
    pool.reads = 0
    generator, extractor = _generator(features.astype(np.float64), shape, latents), ToyExtractor(features.shape[1])
    tools = ToyResources(generator, extractor, ToyVectors(features), ToyIndex(features))
    return World(pool, truth, NAMES[:classes], ToyLearner(), tools)


def _generator(features: Floats, shape: tuple[int, int, int], latents: int) -> ToyGenerator:
    points = np.arctanh((2 * features - 1).clip(-0.99, 0.99))  # so that the tanh ends in the pixels again
    mean = points.mean(axis=0)
    _, spread, axes = np.linalg.svd(points - mean, full_matrices=False)
    # Scaled so that standard normal latents spread as the pool does.
    directions = axes[:latents] * spread[:latents, None] / np.sqrt(len(points))
    return ToyGenerator(mean, directions, shape)
