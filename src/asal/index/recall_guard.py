"""Checks an approximate index by exact answers to a few queries, and searches more lists after a miss.

Active learning excludes the nearest images of its queries, round after round. The recall of approximate indexes holds
for random exclusions; here it can fall without notice.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from asal.core import Features, Ids, Neighbours, RecallCheck, Scores
from asal.index import NeighbourPairs, Rows, to_neighbours
from asal.runtime.rng import stream

# queries, k, excluded ids, lists to search → k pairs per query, and the rows of the queries answered from lists
ListSearch: TypeAlias = Callable[[Features, int, Ids, int], tuple[NeighbourPairs, Rows]]

WIDER = 4  # times as many lists after a miss
EXACT_FROM = 4  # the exact scan answers where more than a quarter of the lists would be searched: it takes as long
TIE = 1 + 1e-9  # of squared distances: an equally near image is not a miss


class LimitedScan(Protocol):
    """The exact index, which is faster with known limits."""

    def search(self, queries: Features, k: int, *, without: Ids, limits: Scores | None = None) -> Neighbours: ...


@dataclass(frozen=True)
class RecallGuard:
    """Checks `queries` queries of each search, of those answered from lists; after one miss, all are searched again.

    The queries decide which ones are checked, so other searches check other ones. There is no state between searches:
    the same search has the same result.
    """

    exact: LimitedScan
    queries: int

    def search(
        self, search_lists: ListSearch, queries: Features, k: int, excluded: Ids, probes: int, lists: int
    ) -> Neighbours:
        """Return the result of the fewest lists in which no checked query is missed, or the exact result."""
        q = len(queries)
        pairs, list_rows = search_lists(queries, k, excluded, probes)
        result, begun, first = to_neighbours(pairs, q, k), time.perf_counter(), -1
        draw = stream(0, "guard", hashlib.sha256(queries.tobytes()).hexdigest())
        checked: Rows = list_rows[draw.permutation(len(list_rows))[: self.queries]]
        if not len(checked):
            return Neighbours(result.ids, result.distances, RecallCheck(0, 0, 0, q, 0.0))
        limits = result.distances[checked, 0] ** 2
        exact = self.exact.search(queries[checked], 1, without=excluded, limits=limits).distances[:, 0] ** 2
        while missed := int((result.distances[checked, 0] ** 2 > exact * TIE).sum()):
            first = missed if first < 0 else first
            probes *= WIDER
            if probes * EXACT_FROM > lists:
                result, probes, list_rows = self.exact.search(queries, k, without=excluded), 0, list_rows[:0]
                break
            pairs, list_rows = search_lists(queries, k, excluded, probes)
            result = to_neighbours(pairs, q, k)
        check = RecallCheck(len(checked), max(first, 0), probes, q - len(list_rows), time.perf_counter() - begun)
        return Neighbours(result.ids, result.distances, check)
