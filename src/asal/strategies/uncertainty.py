"""Uncertainty sampling (Lewis & Gale 1994): over the whole pool, or over a random part of it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

import numpy as np
from annotated_types import Ge

from asal.core import Ids, Round, Selection, not_enough
from asal.scores import scores
from asal.strategies import strategies


@strategies.register("uncertainty", cost="linear")
def uncertainty(now: Round, n: int, rng: np.random.Generator, *, score: str = "entropy") -> Selection:
    """The images that score highest in the whole pool. Cost: one network evaluation for every image of the pool."""
    return best(now, now.candidates.blocks(), n, score)


@strategies.register("subset")
def subset(
    now: Round, n: int, rng: np.random.Generator, *, score: str = "entropy", size: Annotated[int, Ge(1)] = 1000
) -> Selection:
    """The highest-scoring of `size` random images (Ertekin et al. 2007). Cost: constant in the pool's size.

    The best of 59 random images is among the pool's best 5% with probability 95%, whatever the pool's size: every
    claim of sub-linear selection has to beat this one.
    """
    if len(now.candidates) < n:
        raise not_enough(n, len(now.candidates))
    drawn = now.candidates.sample(min(max(size, n), len(now.candidates)), rng)
    return best(now, [np.sort(drawn)], n, score)


def best(now: Round, blocks: Iterable[Ids], n: int, score: str) -> Selection:
    """Return the n ids that score highest among the blocks, highest first; of equal ones the lower id.

    Memory: one block, whatever the number of blocks.
    """
    measure = scores[score].make
    ids, values = np.empty(0, np.int64), np.empty(0)
    for block in blocks:
        probs = now.predict(block)
        with now.meter.part("score"):
            ids, values = np.concatenate([ids, block]), np.concatenate([values, measure(probs)])
            keep = np.lexsort((ids, -values))[:n]
            ids, values = ids[keep], values[keep]
    if len(ids) < n:
        raise not_enough(n, len(ids))
    return Selection(ids, values)
