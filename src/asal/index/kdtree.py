"""The k-d tree of the ASAL paper (Mayer & Timofte 2020, §3.3): exact, and at 50 dimensions a slow linear scan."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

import numpy as np
from annotated_types import Ge
from scipy.spatial import cKDTree

from asal.core import NO_IDS, Features, Ids, Neighbours, Scores
from asal.index import (
    NO_PAIRS,
    NeighbourPairs,
    Rows,
    Store,
    checked,
    indexes,
    nearest,
    neighbours,
    removed,
    squared_distances,
)
from asal.runtime.progress import Progress, no_progress

ANSWERS = 2**21  # neighbours held at a time
TIED = 1 + 1e-9  # distances closer than this are compared again, in one and the same arithmetic


@indexes.register("kdtree", cost="linear")
@dataclass(frozen=True)
class KdTree:
    """The paper's k-d tree: exact; logarithmic in few dimensions, near linear and slow in 50.

    Args:
        leaf: vectors in a leaf.
        workers: threads that share the queries of one search.
    """

    recall: ClassVar[float] = 1.0
    leaf: Annotated[int, Ge(1)] = 16
    workers: Annotated[int, Ge(1)] = 1

    def build(self, vectors: Store, folder: Path, progress: Progress = no_progress) -> None:
        """Write nothing: a stored tree could only be a pickle, and growing it anew takes seconds a million."""
        folder.mkdir(parents=True, exist_ok=True)

    def grow(self, before: Path, held: int, vectors: Store, folder: Path, progress: Progress = no_progress) -> None:
        """Write nothing, as `build` does."""
        self.build(vectors, folder, progress)

    def load(self, vectors: Store, folder: Path) -> KdTreeIndex:
        """Grow the tree. Cost: O(n·d + n log n) time and 8·n·d bytes, for scipy's trees hold float64."""
        points = np.empty((len(vectors), vectors.dim))
        for ids, x in vectors.shards():
            points[ids[0] : ids[0] + len(ids)] = x
        return KdTreeIndex(cKDTree(points, leafsize=self.leaf), self.workers)


class KdTreeIndex:
    """A tree whose k grows until enough of what it finds may be returned."""

    def __init__(self, tree: cKDTree, workers: int) -> None:
        self._tree, self._workers = tree, workers

    def search(self, queries: Features, k: int, *, without: Ids = NO_IDS) -> Neighbours:
        """Return the k nearest images that are not in `without`, ties by lower id; fewer only if fewer are left.

        Cost: a query surrounded by m removed images asks the tree for 2·(k + m) neighbours.

        Raises:
            UserError: queries of another dimension or not finite, k < 1, or an id in `without` that is not stored.
        """
        exact = checked(queries, k, self._tree.m)
        gone = removed(without, self._tree.n)
        k = min(k, self._tree.n - len(gone))
        found = [NO_PAIRS]
        todo, ask = np.arange(len(exact) if k else 0), k + 1
        while len(todo):
            ask = min(ask, self._tree.n)
            block = max(1, ANSWERS // ask)
            rounds = [self._round(todo[at : at + block], exact, k, ask, gone) for at in range(0, len(todo), block)]
            found += [answer for answer, _ in rounds]
            todo, ask = np.concatenate([open_still for _, open_still in rounds]), 2 * ask
        return neighbours(nearest(found, k), len(exact), k)

    def _round(self, rows: Rows, queries: Scores, k: int, ask: int, gone: Ids) -> tuple[NeighbourPairs, Rows]:
        """Return the answers to the queries that `ask` neighbours suffice for, and the rows of the others."""
        answer = self._tree.query(queries[rows], k=np.arange(1, ask + 1), workers=self._workers)
        distances, ids = np.asarray(answer[0]), np.asarray(answer[1], np.int64)  # (r, ask), nearest first
        free = ~np.isin(ids, gone)
        # The k-th free one must be nearer than the last one seen: beyond that, ties may wait with lower ids.
        nearer = free & (distances * TIED < distances[:, -1:])
        done = (nearer.sum(axis=1) >= k) | (ask == self._tree.n)
        place, column = np.nonzero(free & done[:, None])
        ids = ids[place, column]
        squares = squared_distances(queries[rows[place]], self._tree.data[ids])
        return nearest([NeighbourPairs(rows[place], ids, squares)], k), rows[~done]
