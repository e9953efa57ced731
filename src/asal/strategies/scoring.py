"""Scoring pool images, and choosing the highest; shared by several strategies."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from asal.core import Ids, Round, Scores, Selection, not_enough
from asal.registry import Part
from asal.strategies.scores import scores


def needs_of(part: Part, options: Mapping[str, Any]) -> frozenset[str]:
    """Return what a strategy with these options needs: its own needs, and what its score, search and batch rule need.

    Without a generator there is no gradient to follow through one. Stored features are needed where the batch is spread
    in them, and not where it is spread in the classifier's own.
    """
    score, space = part.value_of("score", options), part.value_of("space", options)
    needs = part.needs | (scores[score].needs if score is not None else frozenset())
    if part.value_of("search", options) not in (None, "generator"):
        needs -= {"generator", "gradient"}
    if space is None:
        return needs
    apart = part.value_of("batch", options) != "top"  # without such an option the batch is always spread
    return needs | {"features"} if apart and space == "stored" else needs - {"features"}


def rated(now: Round, ids: Ids, score: str) -> Scores:
    """Return a score of pool images, of their probabilities or of the losses that the classifier predicts."""
    part = scores[score]
    values: Scores = part.make(now.losses(ids) if "loss" in part.needs else now.predict(ids))
    return values


def best(now: Round, blocks: Iterable[Ids], n: int, score: str) -> Selection:
    """Return the n ids that score highest among the blocks, highest first; of equal ones the lower id.

    Memory: one block, whatever the number of blocks.
    """
    ids, values = np.empty(0, np.int64), np.empty(0)
    for block in blocks:
        own = rated(now, block, score)
        rows = (
            np.flatnonzero(own >= values[-1]) if len(ids) == n else slice(None)
        )  # few of a block are still of interest
        ids, values = highest(np.concatenate([ids, block[rows]]), np.concatenate([values, own[rows]]), n)
    if len(ids) < n:
        raise not_enough(n, len(ids))
    return Selection(ids, values)


def highest(ids: Ids, values: Scores, n: int) -> tuple[Ids, Scores]:
    """Return the n ids of highest value with their values, highest first; of equal ones the lower id.

    >>> highest(np.array([4, 2, 9]), np.array([1.0, 1.0, 0.5]), 2)[0].tolist()
    [2, 4]
    """
    kept = np.lexsort((ids, -values))[:n]
    return ids[kept], values[kept]


def shortlist(now: Round, n: int, size: int, rng: np.random.Generator) -> Ids:
    """Draw `size` open ids at random, at least n and at most all there are, in ascending order.

    Raises:
        UserError: fewer than n are left.
    """
    if len(now.candidates) < n:
        raise not_enough(n, len(now.candidates))
    return np.sort(now.candidates.sample(min(max(size, n), len(now.candidates)), rng))
