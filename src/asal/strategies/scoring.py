"""Scoring pool images, and choosing the highest; shared by several strategies."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from asal.core import Ids, Round, Scores, Selection, not_enough
from asal.registry import Part
from asal.strategies.contenders import Value, contenders
from asal.strategies.scores import constant_of, scores


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
    return needs | {"features"} if apart and space != "penultimate" else needs - {"features"}


def rated(now: Round, ids: Ids, score: str) -> Scores:
    """Return a score of pool images, of their probabilities or of the losses that the classifier predicts."""
    part = scores[score]
    values: Scores = part.make(now.losses(ids) if "loss" in part.needs else now.predict(ids))
    return values


def best(now: Round, blocks: Iterable[Ids], n: int, score: str) -> Selection:
    """Return the n ids that score highest among the blocks, highest first; of equal ones the lower id.

    Memory: one block, whatever the number of blocks.
    """
    kept, waiting, count = (np.empty(0, np.int64), np.empty(0)), list[tuple[Ids, Scores]](), 0
    for block, own in _contending(now, blocks, n, score):
        # Few of a block are still of interest. They wait until there are enough to be worth sorting.
        rows = np.flatnonzero(own >= kept[1][-1]) if len(kept[0]) == n else np.arange(len(own))
        waiting.append((block[rows], own[rows]))
        count += len(rows)
        if count >= n:
            kept, waiting, count = _highest_of([kept, *waiting], n), [], 0
    ids, values = _highest_of([kept, *waiting], n)
    if len(ids) < n:
        raise not_enough(n, len(ids))
    return Selection(ids, values)


def _contending(now: Round, blocks: Iterable[Ids], n: int, score: str) -> Iterator[tuple[Ids, Scores]]:
    part = scores[score]
    if "loss" in part.needs:
        for block in blocks:
            yield block, rated(now, block, score)
    else:
        value = Value(part.make, partial(constant_of, part.make))
        for block, probs in contenders(now, blocks, n, value):
            yield block, part.make(probs)


def _highest_of(parts: Sequence[tuple[Ids, Scores]], n: int) -> tuple[Ids, Scores]:
    ids, values = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    return highest(ids, values, n)


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
