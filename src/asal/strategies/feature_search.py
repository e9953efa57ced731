"""Search in feature space: real images near points of which the classifier is uncertain.

A search through a generator follows the gradient of a score from random latents to synthetic images, and looks real
images up that are like them. Here the gradient is followed in the space of the stored features, from the features of
random real images: no generator is trained, every point is compared with features as they are stored, and a step costs
a matrix product.

The classifier may read anything. What is differentiated is `LinearLogits`, which explains the probabilities that it
gave to random images by the features of these.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from asal.core import NO_IDS, Features, Ids, Probs, Round, Scores
from asal.strategies.batch_rules import typical_distance

Floats: TypeAlias = npt.NDArray[np.float64]
Objective: TypeAlias = Callable[[Floats], tuple[Scores, Floats]]  # logits (n, k) → values (n,) and gradients (n, k)

STEPS, STEP = 50, 0.1  # steps of each point, and the length of the first, in typical distances
IMAGES, MORE = 5, 8  # real images wanted of each point, and looked up: points share some
SMALLEST = 1e-12  # of probabilities, before their logarithm
ROUNDING = 1e-6  # of the largest singular value: what is less explains rounding errors


@dataclass(frozen=True)
class LinearLogits:
    """Logits of features x as a linear map: W x + b."""

    weights: Floats  # (k, d)
    biases: Floats  # (k,)

    @classmethod
    def fitted(cls, features: Features, probs: Probs) -> LinearLogits:
        """Fit to a classifier's probabilities (n, k) of images by their features (n, d), by least squares.

        The targets are the logarithms of the probabilities, less their mean over the classes: the logits of a softmax,
        but for a constant. So a classifier that is linear in these features, such as `head`, is found exactly if there
        are more than d images; of another one it is the best linear approximation, as in Ba & Caruana (NeurIPS 2014),
        who fit a student to logits. Of less than d images it is the smallest of all solutions.
        """
        logs = np.log(np.maximum(probs, SMALLEST))
        logits = logs - logs.mean(axis=1, keepdims=True)
        origin, mean = features.mean(axis=0, dtype=np.float64), logits.mean(axis=0)
        weights = np.linalg.lstsq(features - origin, logits - mean, rcond=ROUNDING)[0].T
        return cls(weights, mean - weights @ origin)

    def __call__(self, points: Floats) -> Floats:
        """Return the logits (n, k) of points (n, d)."""
        return np.asarray(points @ self.weights.T + self.biases)


def entropy_of_logits(logits: Floats) -> tuple[Scores, Floats]:
    """Return the entropies H (n,) of softmax(z), and dH/dz_j = −p_j (log p_j + H).

    >>> values, gradients = entropy_of_logits(np.array([[0.0, 0.0], [0.0, np.log(3)]]))
    >>> values.round(4).tolist(), gradients.round(3).tolist()
    ([0.6931, 0.5623], [[-0.0, -0.0], [0.206, -0.206]])
    """
    logs = logits - logits.max(axis=1, keepdims=True)
    logs -= np.log(np.exp(logs).sum(axis=1, keepdims=True))
    probs = np.exp(logs)
    values = -(probs * logs).sum(axis=1)
    return values, -probs * (logs + values[:, None])


def margin_of_logits(logits: Floats) -> tuple[Scores, Floats]:
    """Return the negative margins m = p_b − p_a (n,) of the two likeliest classes a, b, and dm/dz.

    dm/dz = p_b (e_b − p) − p_a (e_a − p).
    """
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    probs = powers / powers.sum(axis=1, keepdims=True)
    rows, (second, first) = np.arange(len(probs)), np.argsort(probs, axis=1)[:, -2:].T
    values = probs[rows, second] - probs[rows, first]
    gradients = -values[:, None] * probs
    gradients[rows, second] += probs[rows, second]
    gradients[rows, first] -= probs[rows, first]
    return values, gradients


def ascended(points: Floats, model: LinearLogits, objective: Objective, step: float, steps: int = STEPS) -> Floats:
    """Follow the gradient of an objective of the logits from points (n, d), in steps of this length.

    Only the direction of a gradient counts: where the classifier is certain it is tiny. A point stays where a step
    would not raise its value, and then tries one of half the length; without a gradient it stays.
    """
    lengths = np.full(len(points), step)
    values, gradients = objective(model(points))
    for _ in range(steps):
        uphill = gradients @ model.weights  # (n, d)
        norms = np.linalg.norm(uphill, axis=1)
        moved = points + uphill * np.divide(lengths, norms, out=np.zeros_like(norms), where=norms > 0)[:, None]
        reached, there = objective(model(moved))
        better = reached > values
        points, gradients = np.where(better[:, None], moved, points), np.where(better[:, None], there, gradients)
        values, lengths = np.where(better, reached, values), np.where(better, lengths, lengths / 2)
    return points


OBJECTIVE: Objective = margin_of_logits


@dataclass(frozen=True)
class Found:
    """Real images near points of high uncertainty."""

    ids: Ids  # (m,) distinct, ascending
    starts: Ids  # (m,) the real image that the search for it started at
    distances: Scores  # (m,) to the point that was found

    def notes(self) -> dict[int, dict[str, Any]]:
        """Return by id how each was found, ready for JSON."""
        rows = zip(self.ids.tolist(), self.starts.tolist(), self.distances.tolist(), strict=True)
        return {image: {"source": "search", "start": start, "distance": gap} for image, start, gap in rows}


NOTHING = Found(NO_IDS, NO_IDS, np.empty(0))


def search_by_gradient(
    now: Round, known: Ids, probs: Probs, size: int, rng: np.random.Generator, objective: Objective = OBJECTIVE
) -> Found:
    """Return at most `size` open images that are near points of high uncertainty, and not among the known ones.

    The starts are random, too: size / 5 of them. Cost, whatever the pool's size: the features of `known` and of the
    starts, a least-squares fit, 50 products (size / 5, d) × (d, k), and size / 5 look-ups of 8 in the index.

    Args:
        known: open ids, drawn at random.
        probs: what the classifier says of them.
        objective: the uncertainty, of logits.
    """
    number = min(-(-size // IMAGES), len(now.candidates))
    starts = np.sort(now.candidates.sample(number, rng))
    features, begin = now.features(known), now.features(starts).astype(np.float64)
    with now.meter.part("match"):
        model = LinearLogits.fitted(features, probs)
        points = ascended(begin, model, objective, STEP * typical_distance(features))
        near = now.search(points.astype(np.float32), MORE, without=now.candidates.excluded)
        # By rank, so that each point has its nearest before another has its second.
        order = np.lexsort((near.distances.T.ravel(), np.repeat(np.arange(near.ids.shape[1]), number)))
        ids, rows = near.ids.T.ravel()[order], np.tile(np.arange(number), near.ids.shape[1])[order]
        first = np.sort(np.unique(ids, return_index=True)[1])
        first = first[~np.isin(ids[first], known)][:size]
        first = first[np.argsort(ids[first])]
    return Found(ids[first], starts[rows[first]], near.distances.T.ravel()[order][first])
