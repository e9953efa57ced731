"""Watches an approximate index by exact answers to a few of its queries, and searches wider where it failed.

Active learning removes the nearest images of its queries, round after round, and approximate indexes, whose promise
holds for removals at random, fail there without saying so.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from asal.core import Features, Ids, Neighbours, RecallCheck, Scores
from asal.index import NeighbourPairs, Rows, neighbours
from asal.runtime.rng import stream

# queries, k, ids to leave out, lists to look into → k pairs a query, and the rows of queries that were only looked up
Answer: TypeAlias = Callable[[Features, int, Ids, int], tuple[NeighbourPairs, Rows]]

WIDER = 4  # times more lists after a miss
SURRENDER = 4  # looking into more than a quarter of all lists takes as long as the exact scan, which then answers
SAME = 1 + 1e-9  # of squared distances: equally near images are no miss


class LimitedScan(Protocol):
    """The exact index, which is quicker where it is told how near something is already."""

    def search(self, queries: Features, k: int, *, without: Ids, limits: Scores | None = None) -> Neighbours: ...


@dataclass(frozen=True)
class Guard:
    """Checks as many queries of each search, of those that no exact scan answered; with one miss, all are done again.

    Which ones are checked hangs on the queries: other searches check other ones. Nothing is remembered from one search
    to the next: the same search has the same answer, whatever came before.
    """

    exact: LimitedScan
    queries: int

    def search(self, answer: Answer, queries: Features, k: int, gone: Ids, probes: int, lists: int) -> Neighbours:
        """Return what `answer` finds in the fewest lists that the checked queries bear out, or what is exact."""
        q = len(queries)
        pairs, open_rows = answer(queries, k, gone, probes)
        found, begun, first = neighbours(pairs, q, k), time.perf_counter(), -1
        draw = stream(0, "guard", hashlib.sha256(queries.tobytes()).hexdigest())
        some: Rows = open_rows[draw.permutation(len(open_rows))[: self.queries]]
        if not len(some):
            return Neighbours(found.ids, found.distances, RecallCheck(0, 0, 0, q, 0.0))
        limits = found.distances[some, 0] ** 2
        true = self.exact.search(queries[some], 1, without=gone, limits=limits).distances[:, 0] ** 2
        while missed := int((found.distances[some, 0] ** 2 > true * SAME).sum()):
            first = missed if first < 0 else first
            probes *= WIDER
            if probes * SURRENDER > lists:
                found, probes, open_rows = self.exact.search(queries, k, without=gone), 0, open_rows[:0]
                break
            pairs, open_rows = answer(queries, k, gone, probes)
            found = neighbours(pairs, q, k)
        check = RecallCheck(len(some), max(first, 0), probes, q - len(open_rows), time.perf_counter() - begun)
        return Neighbours(found.ids, found.distances, check)
