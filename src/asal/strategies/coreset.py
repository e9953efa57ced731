"""Core-set selection (Sener & Savarese 2018): cover the pool with the labelled images."""

from __future__ import annotations

import numpy as np

from asal.core import NO_IDS, Features, Round, Scores, Selection, not_enough
from asal.strategies import strategies

CENTRES = 1024  # that distances are laid out to at a time


@strategies.register("coreset", cost="linear")
def coreset(now: Round, n: int, rng: np.random.Generator) -> Selection:
    """The images farthest from all that are labelled or picked: greedy k-centre in the classifier's last hidden layer.

    arg max over u of min over j of ‖f_u − f_j‖, again and again, j over labelled and picked images (their algorithm 1;
    the mixed integer program that they refine it by gained them little and is left out). Scores are the distances at
    which images were picked; of equal ones the lower id. Cost: one network evaluation for every image of the pool,
    labelled ones included, O(n·b·d) arithmetic, and the features of the whole pool in memory.
    """
    if len(now.candidates) < n:
        raise not_enough(n, len(now.candidates))
    centres = now.embed(np.sort(now.labelled))
    blocks = [(ids, now.embed(ids)) for ids in now.candidates.blocks()]
    ids = np.concatenate([NO_IDS, *(some for some, _ in blocks)])
    with now.meter.part("score"):
        features = np.concatenate([some for _, some in blocks])
        gaps = np.concatenate([squared_gaps(some, centres) for _, some in blocks])
        rows, distances = farthest_first(features, gaps, n)
    return Selection(ids[rows], distances)


def squared_gaps(features: Features, centres: Features) -> Scores:
    """Return ‖f − c‖² to the nearest centre (n,); infinity where there is none."""
    if not len(centres):
        return np.full(len(features), np.inf)
    shift = centres.mean(axis=0)  # off first: squares of features with a large offset cancel
    x, nearest = (features - shift).astype(np.float64), np.full(len(features), np.inf)
    for at in range(0, len(centres), CENTRES):
        c = (centres[at : at + CENTRES] - shift).astype(np.float64)
        nearest = np.minimum(nearest, ((c**2).sum(axis=1) - 2 * x @ c.T).min(axis=1))  # of (n, centres)
    return np.asarray(np.maximum(nearest + (x**2).sum(axis=1), 0.0))


def farthest_first(features: Features, gaps: Scores, n: int) -> tuple[np.ndarray, Scores]:
    """Return n rows, each the farthest from all centres and rows before it, and those distances (n,).

    Args:
        features: (m, d).
        gaps: (m,) squared distances to the nearest centre.

    >>> line = np.array([[0.0], [1.0], [4.0], [5.0]], np.float32)
    >>> farthest_first(line, squared_gaps(line, line[:1]), 2)[0].tolist()
    [3, 1]
    """
    gaps = gaps.copy()
    rows, distances = np.empty(n, np.int64), np.empty(n)
    for place in range(n):
        row = int(gaps.argmax())  # the first of equal ones
        rows[place], distances[place] = row, np.sqrt(gaps[row]) if np.isfinite(gaps[row]) else 0.0
        apart = features - features[row]
        gaps = np.minimum(gaps, np.einsum("nd,nd->n", apart, apart, dtype=np.float64))
        gaps[rows[: place + 1]] = -1.0  # taken, also where others lie on the same spot
    return rows, distances
