"""Uncertainty sampling (Lewis & Gale 1994): over the whole pool, or over a random part of it."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from annotated_types import Ge

from asal.core import Round, Selection
from asal.strategies import strategies
from asal.strategies.batch_rules import BatchRule, Space, SpreadRule, spread_batch
from asal.strategies.contenders import candidate_blocks
from asal.strategies.scoring import best, shortlist

COVERED = 10_000  # random images that stand for the pool where the batch is to be spread over all of it
LATER, FORMERLY = {"batch": "top", "space": "stored"}, {"score": "entropy"}


@strategies.register(
    "uncertainty",
    cost="linear",
    roles={"score": "score", "batch": "batch", "space": "space"},
    added=LATER,
    formerly=FORMERLY,
)
def uncertainty(
    now: Round,
    n: int,
    rng: np.random.Generator,
    *,
    score: str = "margin",
    batch: BatchRule = "top",
    space: Space = "auto",
) -> Selection:
    """The images that score highest in the whole pool. Cost: one network evaluation for every image of the pool.

    Args:
        batch: "top", or "spread": the rule of the strategy `spread`, with its settings, over the most uncertain images
            of the pool and 10,000 random ones that stand for all of it.
        space: of the distances under "spread": "stored" features, or the classifier's "penultimate" layer; "auto" is
            the first where the spec has features.
    """
    if batch == "top":
        return best(now, candidate_blocks(now), n, score)
    covered = shortlist(now, n, COVERED, rng)
    return spread_batch(now, n, covered, candidate_blocks(now), score, SpreadRule(space=space))


@strategies.register(
    "subset",
    roles={"score": "score", "subset": "size", "batch": "batch", "space": "space"},
    added=LATER,
    formerly=FORMERLY,
)
def subset(
    now: Round,
    n: int,
    rng: np.random.Generator,
    *,
    score: str = "margin",
    size: Annotated[int, Ge(1)] = 1000,
    batch: BatchRule = "top",
    space: Space = "auto",
) -> Selection:
    """The highest-scoring of `size` random images (Ertekin et al. 2007). Cost: constant in the pool's size.

    The best of 59 random images is among the pool's best 5% with probability 95%, whatever the pool's size: every
    claim of sub-linear selection has to beat this one.

    Args:
        batch: "top", or "spread": the rule of the strategy `spread`, with its settings.
        space: of the distances under "spread": "stored" features, or the classifier's "penultimate" layer; "auto" is
            the first where the spec has features.
    """
    if batch == "top":
        return best(now, [shortlist(now, n, size, rng)], n, score)
    rule = SpreadRule(space=space)
    return spread_batch(now, n, shortlist(now, n, max(size, rule.times * n), rng), (), score, rule)
