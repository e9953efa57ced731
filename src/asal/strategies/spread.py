"""Spread subset: of random images, uncertain ones that stand for the others and are unlike what is labelled."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from annotated_types import Ge, Gt

from asal.core import Round, Selection
from asal.strategies import strategies
from asal.strategies.batch_rules import Space, SpreadRule, spread_batch
from asal.strategies.scoring import shortlist


@strategies.register(
    "spread",
    needs=("features",),
    roles={"score": "score", "subset": "size", "space": "space"},
    formerly={"space": "stored"},
)
def spread(  # noqa: PLR0913  its options are the method's
    now: Round,
    n: int,
    rng: np.random.Generator,
    *,
    score: str = "margin",
    size: Annotated[int, Ge(1)] = 1000,
    times: Annotated[int, Ge(1)] = 3,
    width: Annotated[float, Gt(0)] = 0.35,
    gamma: Annotated[float, Ge(0)] = 0.5,
    recent: Annotated[int, Ge(0)] = 1000,
    space: Space = "auto",
) -> Selection:
    """Uncertain images, of `size` random ones, that stand for the others. Cost: constant in the pool's size.

    The batch is chosen by uncertainty-weighted herding, as in Uncertainty Herding (Bae, Oliveira & Sutherland, ICLR
    2025), with settings of our own (`asal.strategies.batch_rules.spread_batch`). An image counts by its score times its
    class weight, which is the larger the fewer labels its probable classes have; the labelled images already stand for
    what is like them. One network evaluation for each of the `size` images; no index, no generator.

    Args:
        size: random images that are scored; at least `times` · n are.
        times: the batch is chosen among `times` · n images, the most uncertain ones.
        width: of the kernel, in units of the median distance to the tenth nearest of 1,000 random images.
        gamma: how much classes with few labels are preferred; 0: not at all.
        recent: labelled images that stand for others: those that were answered last.
        space: distances are those of the "stored" features, or of the classifier's "penultimate" layer, which costs a
            second evaluation of each image and one of each recent labelled image, and needs no features; "auto" is
            the first where the spec has features, and else the second.
    """
    ids = shortlist(now, n, max(size, times * n), rng)
    return spread_batch(now, n, ids, (), score, SpreadRule(times, width, gamma, recent, space))
