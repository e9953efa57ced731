"""MaxHerding (Bae, Noh & Sutherland, ECCV 2024): images that the pool is near to, and no labelled image is."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from annotated_types import Ge, Gt

from asal.core import Round, Selection
from asal.strategies import strategies
from asal.strategies.coverage import considered, covering, unit


@strategies.register("max-herding", needs=("features",), provides=("first",), cost="linear")
def max_herding(
    now: Round,
    n: int,
    rng: np.random.Generator,
    *,
    width: Annotated[float, Gt(0)] = 1.0,
    size: Annotated[int, Ge(1)] | None = None,
) -> Selection:
    """Images that cover the pool best: greedy generalised coverage; needs no classifier, and so fits a first batch.

    arg max over c of Σ_j max(0, k(c, j) − cover_j), again and again, j over the pool; cover_j is the largest k(i, j)
    of what is labelled or picked (their algorithm 1), and k(a, b) = exp(−‖a − b‖² / width²) of stored features divided
    by their lengths, as in the authors' code. Scores are the gains. Where nothing is left to gain, the lowest ids.

    Cost: quadratic in the pool, whose kernel is computed once in tiles and never laid out, and then some rows of it for
    each pick; the features of the pool in memory.

    Args:
        width: of the kernel; 1.0 is the authors' for all their data.
        size: random images that are covered and chosen from, in place of the pool (the authors': at most 35,000).
    """
    ids = considered(now, n, size, rng)
    points, labelled = unit(now.features(ids)), unit(now.features(now.real))
    with now.meter.part("match"):
        rows, gains = covering(points, labelled, np.ones(len(ids)), n, width)
    return Selection(ids[rows], gains, [{"gain": float(gain)} for gain in gains])
