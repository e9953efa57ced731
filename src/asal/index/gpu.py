"""Exact search on the GPU that networks run on: it scans all vectors in milliseconds."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, cast

import numpy as np
from annotated_types import Ge

from asal.core import NO_IDS, Features, Ids, Neighbours, Scores
from asal.index import (
    NO_PAIRS,
    NeighbourPairs,
    Store,
    check_excluded,
    check_queries,
    indexes,
    k_nearest,
    squared_distances,
    to_neighbours,
)
from asal.index.exact import Exact, ExactIndex
from asal.runtime.progress import Progress, no_progress

SPARE = 64  # vectors ranked in float64 beyond the k nearest
QUERY_BLOCK = 64  # queries scanned together
ROUNDING = 2.0**-23  # twice float32's unit roundoff
MEMORY_SHARE = 0.5  # of a GPU's free memory that vectors may take


def fits(vectors: Store) -> bool:
    """Return whether networks run on a GPU with room for these vectors."""
    import torch

    from asal.runtime.devices import here

    if here().type != "cuda":
        return False
    free, _ = torch.cuda.mem_get_info(here())
    return bool(4 * len(vectors) * (vectors.dim + QUERY_BLOCK // 8) <= MEMORY_SHARE * free)  # plus norms and scores


@indexes.register("gpu", cost="linear")
@dataclass(frozen=True)
class Gpu:
    """Compares every query with every vector on the GPU, which holds them all: as exact as `exact`.

    Without a GPU it runs on the CPU, where `exact` is faster. Results are exact: the best k + 64 float32 scores are
    ranked in float64, and where rounding may have hidden a nearer vector, `exact` answers the query.

    Args:
        block: vectors scanned at a time.
    """

    recall: ClassVar[float] = 1.0
    block: Annotated[int, Ge(1)] = 2**20

    def build(self, vectors: Store, folder: Path, progress: Progress = no_progress) -> None:
        """Write what the exact scan needs."""
        Exact().build(vectors, folder, progress)

    def grow(self, previous: Path, count: int, vectors: Store, folder: Path, progress: Progress = no_progress) -> None:
        """Write what the exact scan needs."""
        Exact().grow(previous, count, vectors, folder, progress)

    def load(self, vectors: Store, folder: Path) -> GpuIndex:
        """Copy the vectors, minus their centre, to the device: 4 bytes per number."""
        import torch

        from asal.runtime.devices import here

        exact = Exact().load(vectors, folder)
        centre = exact.centre.astype(np.float32)
        held = torch.empty((len(vectors), vectors.dim), device=here())
        for ids, x in vectors.shards():
            held[int(ids[0]) : int(ids[0]) + len(x)] = torch.from_numpy(x - centre)
        return GpuIndex(vectors, exact, held, self.block)


class GpuIndex:
    """Vectors on a device, and the exact index for queries that rounding leaves undecided."""

    def __init__(self, vectors: Store, exact: ExactIndex, held: Any, block: int) -> None:
        self._vectors, self._exact, self._held, self._block = vectors, exact, held, block
        import torch

        self._norms = torch.cat([x.square().sum(1) for x in held.split(block)])
        # Where they are allowed, products in TensorFloat-32 keep 10 bits.
        exact_products = torch.get_float32_matmul_precision() == "highest" and not torch.backends.cuda.matmul.allow_tf32
        self._rounding = ROUNDING if exact_products else 2.0**-9
        self._longest = float(self._norms.max().sqrt())

    def search(self, queries: Features, k: int, *, without: Ids = NO_IDS) -> Neighbours:
        """Return the k nearest images that are not in `without`, ties by lower id; fewer only where fewer are left.

        Cost: O(n·d) a query, at the speed of the device's memory, and O(m log m) for m ids excluded.

        Raises:
            UserError: queries have another dimension or are not finite, k < 1, or an id in `without` is not stored.
        """
        import torch

        wide = check_queries(queries, k, len(self._exact.centre))
        excluded = check_excluded(without, len(self._vectors))
        k = min(k, len(self._vectors) - len(excluded))
        if not k or not len(wide):
            return to_neighbours(NO_PAIRS, len(wide), k)
        norms = self._norms.clone()
        norms[torch.from_numpy(excluded).to(norms.device)] = torch.inf
        found = [self._scan(wide[at : at + QUERY_BLOCK], k, excluded, norms) for at in range(0, len(wide), QUERY_BLOCK)]
        pairs = [p._replace(rows=p.rows + at * QUERY_BLOCK) for at, p in enumerate(found)]
        return to_neighbours(k_nearest(pairs, k), len(wide), k)

    def _scan(self, queries: Scores, k: int, excluded: Ids, norms: Any) -> NeighbourPairs:
        kept = min(k + SPARE, len(norms))
        offsets = queries - self._exact.centre  # (q, d)
        scores, ids = self._best(offsets, kept, norms)
        rows, columns = np.nonzero(np.isfinite(scores))
        some = ids[rows, columns]
        pairs = k_nearest([NeighbourPairs(rows, some, squared_distances(queries[rows], self._vectors.read(some)))], k)
        if kept == len(norms):
            return pairs
        # A vector outside the kept ones has no lower score than the last of them, up to this rounding error.
        lengths = np.linalg.norm(offsets, axis=1)
        slack = 2 * self._rounding * (offsets.shape[1] + 8) * (lengths + self._longest) ** 2
        proven = pairs.squares.reshape(len(queries), k)[:, -1] < scores[:, -1] + lengths**2 - slack
        todo = np.flatnonzero(~proven)
        if not len(todo):
            return pairs
        rest = self._exact.search(cast(Features, queries[todo]), k, without=excluded)  # in float64
        keep = proven[pairs.rows]
        settled = NeighbourPairs(pairs.rows[keep], pairs.ids[keep], pairs.squares[keep])
        return k_nearest(
            [settled, NeighbourPairs(np.repeat(todo, k), rest.ids.ravel(), rest.distances.ravel() ** 2)], k
        )

    def _best(self, offsets: Scores, kept: int, norms: Any) -> tuple[Scores, Ids]:
        """Return the lowest scores ‖x − c‖² − 2 (q − c)·(x − c) of each query, ascending, and their ids."""
        import torch

        factors = torch.from_numpy((-2 * offsets).astype(np.float32)).to(norms.device)  # (q, d)
        best = torch.full((len(offsets), 0), torch.inf, device=norms.device)
        ids = torch.zeros((len(offsets), 0), dtype=torch.int64, device=norms.device)
        for first in range(0, len(norms), self._block):
            x = self._held[first : first + self._block]
            scores = torch.addmm(norms[first : first + len(x)], factors, x.T)  # (q, m)
            lowest, positions = scores.topk(min(kept, len(x)), largest=False)
            best, ids = torch.cat([best, lowest], 1), torch.cat([ids, positions + first], 1)
            best, order = best.topk(min(kept, best.shape[1]), largest=False)
            ids = ids.gather(1, order)
        return best.cpu().double().numpy(), ids.cpu().numpy()
