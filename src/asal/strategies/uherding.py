"""Uncertainty Herding (Bae, Oliveira & Sutherland, ICLR 2025): images that cover what the classifier is unsure of."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from annotated_types import Ge, Gt

from asal.core import Labels, Probs, Round, Scores, Selection
from asal.strategies import strategies
from asal.strategies.coverage import considered, covering, smallest_distance, unit
from asal.strategies.scores.margin import margin

TEMPERATURES = np.arange(1.0, 20.0, 0.1)  # those that the authors' code tries
HELD_OUT = 0.3  # of the labelled images, for the temperature
FEWEST = 4  # labelled images that a part of is held out
WITHOUT_LABELS = 1.0  # the authors' width where no two labelled images give another


@strategies.register("uherding", needs=("features",), cost="linear")
def uherding(
    now: Round,
    n: int,
    rng: np.random.Generator,
    *,
    width: Annotated[float, Gt(0)] | Literal["auto"] = "auto",
    temperature: Annotated[float, Gt(0)] | Literal["auto"] = "auto",
    size: Annotated[int, Ge(1)] | None = None,
) -> Selection:
    """Images that cover the uncertain part of the pool best: greedy maximisation of the uncertainty coverage.

    arg max over c of Σ_j u_j · max(0, k(c, j) − cover_j), again and again, j over the pool: `max-herding` weighted by
    u = 1 − (largest − second largest probability) (their definition 5 and algorithm 1). As in the authors' code, the
    kernel is exp(−‖a − b‖² / width²) of stored features divided by their lengths, and two things follow the labels:

    - the width is the smallest distance between two labelled images: small as labels grow many, and the method then
      becomes margin sampling;
    - the probabilities are softmax(logits / temperature), with the temperature of 1.0, 1.1, … 19.9 under which a
      classifier that was fitted to 70% of the labelled images has the smallest expected calibration error on the rest
      (as many bins as classes).

    The authors train their network again for that; here it is a softmax regression on what the classifier's last layer
    sees, which for a head on stored features is the same, and for a network only its last layer (our choice, for its
    cost). They hold out the images labelled last, we random ones. Scores are the gains.

    Cost: one network evaluation for every image of the pool, and one for each labelled one; else as `max-herding`.

    Args:
        width: of the kernel, or "auto".
        temperature: of the probabilities, or "auto"; 1 leaves them as they are.
        size: random images that are covered and chosen from, in place of the pool (the authors': at most 35,000).
    """
    ids = considered(now, n, size, rng)
    blocks = (ids[at : at + 4096] for at in range(0, len(ids), 4096))
    probs = np.concatenate([now.predict(block) for block in blocks])
    heat = calibrated(now, probs.shape[1], rng) if temperature == "auto" else temperature
    points, labelled = unit(now.features(ids)), unit(now.features(now.real))
    with now.meter.part("match"):
        radius = (smallest_distance(labelled) or WITHOUT_LABELS) if width == "auto" else width
        u = uncertainty_of(probs, heat)
        rows, gains = covering(points, labelled, u, n, radius)
    facts = {"temperature": float(heat), "width": float(radius)}
    picks = zip(u[rows], gains, strict=True)
    return Selection(ids[rows], gains, [{"uncertainty": float(a), "gain": float(b), **facts} for a, b in picks])


def uncertainty_of(probs: Probs, temperature: float) -> Scores:
    """Return 1 − margin (n,) of softmax(logits / temperature), where these probabilities (n, k) are softmax(logits).

    >>> uncertainty_of(np.array([[0.8, 0.2]]), 2.0).round(4).tolist()
    [0.6667]
    """
    return np.asarray(1 + margin(tempered(probs, temperature)))


def tempered(probs: Probs, temperature: float) -> Probs:
    """Return softmax(logits / temperature) of softmax(logits)."""
    logs = np.log(np.maximum(probs, np.finfo(np.float64).tiny)) / temperature
    powers = np.exp(logs - logs.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def calibrated(now: Round, classes: int, rng: np.random.Generator) -> float:
    """Return the temperature for the labels at hand; 1 where they are too few."""
    from asal.models.learners.head import Head  # imports torch

    order = np.argsort(now.labelled)  # which are held out must not depend on it
    held = int(len(order) * HELD_OUT)
    if len(order) < FEWEST:
        return 1.0
    order = rng.permutation(order)
    rest, held_out = np.sort(order[held:]), np.sort(order[:held])
    if len(np.unique(now.labels[rest])) < 2:
        return 1.0
    features = now.embed(now.labelled)
    with now.meter.part("score"):
        model = Head().fit(features[rest], now.labels[rest], classes, rng)
        probs = model.predict(features[held_out])
        errors = [calibration_error(tempered(probs, float(t)), now.labels[held_out]) for t in TEMPERATURES]
    return float(TEMPERATURES[int(np.argmin(errors))])


def calibration_error(probs: Probs, labels: Labels) -> float:
    """Return the expected calibration error: Σ over bins of share · |accuracy − mean confidence|; k bins, k classes.

    >>> round(calibration_error(np.array([[0.9, 0.1], [0.8, 0.2]]), np.array([0, 1])), 3)
    0.35
    """
    confidence, right = probs.max(axis=1), probs.argmax(axis=1) == labels
    bins = np.ceil(confidence * probs.shape[1]).astype(np.int64)  # (0, 1/k], (1/k, 2/k], …
    gaps = np.bincount(bins, weights=right - confidence)
    return float(np.abs(gaps).sum() / len(labels))
