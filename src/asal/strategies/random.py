"""Random: the baseline that every strategy has to beat."""

from __future__ import annotations

import numpy as np

from asal.core import Round, Selection
from asal.strategies import strategies


@strategies.register("random")
def random(now: Round, n: int, rng: np.random.Generator) -> Selection:
    """Images drawn at random, all equally likely. Cost: constant in the pool's size."""
    ids = now.candidates.sample(n, rng)
    return Selection(ids, np.zeros(len(ids)))
