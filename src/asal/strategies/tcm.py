"""TCM (Doucet et al. 2024): typical images first, those of the smallest margin later."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from annotated_types import Ge

from asal.core import Round, Selection, not_enough
from asal.strategies import strategies
from asal.strategies.contenders import candidate_blocks
from asal.strategies.scoring import best
from asal.strategies.typiclust import typiclust


@strategies.register("tcm", needs=("features",), provides=("first",), cost="linear", roles={"subset": "size"})
def tcm(
    now: Round,
    n: int,
    rng: np.random.Generator,
    *,
    per_class: Annotated[int, Ge(0)] = 20,
    size: Annotated[int, Ge(1)] = 10_000,
) -> Selection:
    """TypiClust until there are `per_class` labels for each class, then the smallest margins of the whole pool.

    "Bridging Diversity and Uncertainty in Active Learning with Self-Supervised Pre-Training" (arXiv 2403.03728): its
    heuristic TypiClust, then Margin. The number of labels alone says which phase a round belongs to; a batch is of one
    phase. It needs no classifier while there are labels of fewer than two classes, as in a first batch. That the
    authors change over at 20 labels for each class on average is second-hand: we could not read that section. Typical
    images are those of `size` random ones, as in `typiclust` (they take the whole pool; our choice, for its cost).
    Scores are typicalities, or margins.

    Cost: in the first phase constant, with one network evaluation, which tells the number of classes; then one for
    every image of the pool.
    """
    if len(now.candidates) < n:
        raise not_enough(n, len(now.candidates))
    if _begins(now, per_class):
        return typiclust(now, n, rng, size=size)
    return best(now, candidate_blocks(now), n, "margin")


def _begins(now: Round, per_class: int) -> bool:
    """Say whether there are fewer than so many labels for each class on average."""
    if len(np.unique(now.labels)) < 2:
        return True  # there may be no classifier yet
    probs = now.predict(next(now.candidates.blocks())[:1])
    return len(now.labelled) < per_class * int(probs.shape[1])
