"""Watches an approximate index by exact answers to a few of its queries, and searches wider where it failed.

Active learning removes the nearest images of its queries, round after round, and approximate indexes, whose promise
holds for removals at random, fail there without saying so.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from asal.core import Features, Ids, Index, Neighbours
from asal.index import Pairs, neighbours

Answer: TypeAlias = Callable[[Features, int, Ids, int], Pairs]  # queries, k, ids to leave out, lists to look into

WIDER = 4  # times more lists after a miss
SURRENDER = 4  # looking into more than a quarter of all lists takes as long as the exact scan, which then answers
SAME = 1 + 1e-9  # of squared distances: equally near images are no miss


@dataclass(frozen=True)
class Guard:
    """Checks as many queries of each search, spread over them; with one miss among them, all are searched again.

    Nothing is remembered from one search to the next: the same search has the same answer, whatever came before.
    """

    exact: Index
    queries: int

    def search(self, answer: Answer, queries: Features, k: int, gone: Ids, probes: int, lists: int) -> Neighbours:
        """Return what `answer` finds in the fewest lists that the checked queries bear out, or what is exact."""
        some = np.unique(np.linspace(0, len(queries) - 1, min(self.queries, len(queries))).round().astype(np.intp))
        true = self.exact.search(queries[some], 1, without=gone).distances[:, 0] ** 2
        while True:
            found = neighbours(answer(queries, k, gone, probes), len(queries), k)
            if (found.distances[some, 0] ** 2 <= true * SAME).all():
                return found
            probes *= WIDER
            if probes * SURRENDER > lists:
                return self.exact.search(queries, k, without=gone)
