"""Uncertainty sampling (Lewis & Gale 1994): over the whole pool, or over a random part of it."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from annotated_types import Ge

from asal.core import Round, Selection
from asal.strategies import strategies
from asal.strategies.scoring import best, shortlist


@strategies.register("uncertainty", cost="linear", roles={"score": "score"})
def uncertainty(now: Round, n: int, rng: np.random.Generator, *, score: str = "entropy") -> Selection:
    """The images that score highest in the whole pool. Cost: one network evaluation for every image of the pool."""
    return best(now, now.candidates.blocks(), n, score)


@strategies.register("subset", roles={"score": "score", "subset": "size"})
def subset(
    now: Round, n: int, rng: np.random.Generator, *, score: str = "entropy", size: Annotated[int, Ge(1)] = 1000
) -> Selection:
    """The highest-scoring of `size` random images (Ertekin et al. 2007). Cost: constant in the pool's size.

    The best of 59 random images is among the pool's best 5% with probability 95%, whatever the pool's size: every
    claim of sub-linear selection has to beat this one.
    """
    return best(now, [shortlist(now, n, size, rng)], n, score)
