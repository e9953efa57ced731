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
    check_excluded,
    check_queries,
    indexes,
    k_nearest,
    squared_distances,
    to_neighbours,
)
from asal.runtime.progress import Progress, no_progress

MAX_RESULTS = 2**21  # neighbours held at a time
TIE = 1 + 1e-9  # distances closer than this are computed again in the same arithmetic


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
        """Write nothing: a stored tree would be a pickle, and building it takes seconds per million vectors."""
        folder.mkdir(parents=True, exist_ok=True)

    def grow(self, previous: Path, count: int, vectors: Store, folder: Path, progress: Progress = no_progress) -> None:
        """Write nothing, as `build` does."""
        self.build(vectors, folder, progress)

    def load(self, vectors: Store, folder: Path) -> KdTreeIndex:
        """Build the tree. Cost: O(n·d + n log n) time and 8·n·d bytes, since scipy's trees hold float64."""
        points = np.empty((len(vectors), vectors.dim))
        for ids, x in vectors.shards():
            points[ids[0] : ids[0] + len(ids)] = x
        return KdTreeIndex(cKDTree(points, leafsize=self.leaf), self.workers)


class KdTreeIndex:
    """A tree that is asked for more neighbours until enough of them are not excluded."""

    def __init__(self, tree: cKDTree, workers: int) -> None:
        self._tree, self._workers = tree, workers

    def search(self, queries: Features, k: int, *, without: Ids = NO_IDS) -> Neighbours:
        """Return the k nearest images that are not in `without`, ties by lower id; fewer only where fewer are left.

        Cost: a query surrounded by m excluded images asks the tree for 2·(k + m) neighbours.

        Raises:
            UserError: queries have another dimension or are not finite, k < 1, or an id in `without` is not stored.
        """
        exact = check_queries(queries, k, self._tree.m)
        excluded = check_excluded(without, self._tree.n)
        k = min(k, self._tree.n - len(excluded))
        pairs = [NO_PAIRS]
        todo, ask = np.arange(len(exact) if k else 0), k + 1
        while len(todo):
            ask = min(ask, self._tree.n)
            block = max(1, MAX_RESULTS // ask)
            rounds = [self._round(todo[at : at + block], exact, k, ask, excluded) for at in range(0, len(todo), block)]
            pairs += [result for result, _ in rounds]
            todo, ask = np.concatenate([open_rows for _, open_rows in rounds]), 2 * ask
        return to_neighbours(k_nearest(pairs, k), len(exact), k)

    def _round(self, rows: Rows, queries: Scores, k: int, ask: int, excluded: Ids) -> tuple[NeighbourPairs, Rows]:
        """Return the results of the queries for which `ask` neighbours suffice, and the rows of the others."""
        result = self._tree.query(queries[rows], k=np.arange(1, ask + 1), workers=self._workers)
        distances, ids = np.asarray(result[0]), np.asarray(result[1], np.int64)  # (r, ask), nearest first
        free = ~np.isin(ids, excluded)
        # The k-th free one must be nearer than the last one returned: further ties may have lower ids.
        nearer = free & (distances * TIE < distances[:, -1:])
        done = (nearer.sum(axis=1) >= k) | (ask == self._tree.n)
        place, column = np.nonzero(free & done[:, None])
        ids = ids[place, column]
        squares = squared_distances(queries[rows[place]], self._tree.data[ids])
        return k_nearest([NeighbourPairs(rows[place], ids, squares)], k), rows[~done]
