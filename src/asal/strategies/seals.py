"""SEALS (Coleman et al., AAAI 2022): look only at the neighbours of what is labelled."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from annotated_types import Ge

from asal.core import Ids, Round, Selection, not_enough
from asal.strategies import strategies
from asal.strategies.batch_rules import BatchRule, spread_batch, with_sources
from asal.strategies.scoring import best, shortlist

COVERED = 1000  # random images that stand for the pool where the batch is to be spread


@strategies.register(
    "seals",
    needs=("features", "index"),
    roles={"score": "score", "batch": "batch"},
    added={"batch": "top"},
    formerly={"score": "entropy"},
)
def seals(
    now: Round,
    n: int,
    rng: np.random.Generator,
    *,
    score: str = "margin",
    neighbours: Annotated[int, Ge(1)] = 100,
    batch: BatchRule = "top",
) -> Selection:
    """The highest-scoring of the nearest neighbours of all labelled images (their algorithm 1, k = 100).

    Cost: one look-up in the index and at most `neighbours` network evaluations for each labelled image, whatever the
    pool's size. Neighbourhoods are those of the whole pool, labelled images included, so they never shift; only where
    they hold fewer than n open images are they widened, fourfold at a time.

    Args:
        batch: "top", as the authors do, or "spread": the rule of the strategy `spread`, with its settings. As the
            neighbours of labelled images are no fair sample, 1,000 random images stand for the pool; they are scored,
            and may be picked, too.
    """
    if len(now.candidates) < n:
        raise not_enough(n, len(now.candidates))
    with now.meter.part("match"):
        ids = neighbourhood(now, n, neighbours)
    blocks = (ids[at : at + 4096] for at in range(0, len(ids), 4096))
    if batch == "top":
        return best(now, blocks, n, score)
    chosen = spread_batch(now, n, shortlist(now, n, COVERED, rng), blocks, score)
    return with_sources(chosen, {image: {"source": "neighbours"} for image in ids.tolist()})


def neighbourhood(now: Round, n: int, neighbours: int) -> Ids:
    """Return the open images, n or more, among the nearest neighbours of the labelled ones, ascending.

    If no labelled image is of the pool (all are synthetic), those of the pool's first image are used.
    """
    anchors = now.real if len(now.real) else np.zeros(1, np.int64)
    queries, k = now.features(anchors), neighbours + 1  # each is its own nearest
    while True:
        near = np.unique(now.search(queries, k).ids)
        ids = near[now.candidates.has(near)]
        if len(ids) >= n:
            return ids
        k *= 4
