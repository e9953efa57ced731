"""Every query against every vector on the device that networks run on: a GPU reads all of them in milliseconds."""

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
    checked,
    indexes,
    nearest,
    neighbours,
    removed,
    squared_distances,
)
from asal.index.exact import Exact, ExactIndex
from asal.runtime.progress import Progress, no_progress

SPARE = 64  # vectors ranked in float64 beyond the k wanted, at the least
QUERIES = 64  # scanned together
ROUNDING = 2.0**-23  # twice float32's unit roundoff
SHARE = 0.5  # of a GPU's free memory that vectors may take


def fits(vectors: Store) -> bool:
    """Say whether networks run on a GPU here that has room for these vectors."""
    import torch

    from asal.runtime.devices import here

    if here().type != "cuda":
        return False
    free, _ = torch.cuda.mem_get_info(here())
    return bool(4 * len(vectors) * (vectors.dim + QUERIES // 8) <= SHARE * free)  # norms and scores on top


@indexes.register("gpu", cost="linear")
@dataclass(frozen=True)
class Gpu:
    """Compares every query with every vector on the GPU, which holds them all: exact, as `exact` is.

    Without a GPU it does the same on the CPU, where `exact` is quicker. Every answer is proven: the best k + 64 of the
    device's float32 scores are ranked in float64, and where rounding could have kept a nearer vector from being among
    them, `exact` answers.

    Args:
        block: vectors scanned at a time.
    """

    recall: ClassVar[float] = 1.0
    block: Annotated[int, Ge(1)] = 2**20

    def build(self, vectors: Store, folder: Path, progress: Progress = no_progress) -> None:
        """Write what the exact scan needs."""
        Exact().build(vectors, folder, progress)

    def grow(self, before: Path, held: int, vectors: Store, folder: Path, progress: Progress = no_progress) -> None:
        """Write what the exact scan needs."""
        Exact().grow(before, held, vectors, folder, progress)

    def load(self, vectors: Store, folder: Path) -> GpuIndex:
        """Move the vectors, less their centre, to the device: 4 bytes a number."""
        import torch

        from asal.runtime.devices import here

        exact = Exact().load(vectors, folder)
        centre = exact.centre.astype(np.float32)
        held = torch.empty((len(vectors), vectors.dim), device=here())
        for ids, x in vectors.shards():
            held[int(ids[0]) : int(ids[0]) + len(x)] = torch.from_numpy(x - centre)
        return GpuIndex(vectors, exact, held, self.block)


class GpuIndex:
    """Vectors on a device, and the exact index that answers where rounding leaves a doubt."""

    def __init__(self, vectors: Store, exact: ExactIndex, held: Any, block: int) -> None:
        self._vectors, self._exact, self._held, self._block = vectors, exact, held, block
        import torch

        self._norms = torch.cat([x.square().sum(1) for x in held.split(block)])
        # Products in TensorFloat-32 keep 10 bits, where somebody allowed them.
        exact_products = torch.get_float32_matmul_precision() == "highest" and not torch.backends.cuda.matmul.allow_tf32
        self._rounding = ROUNDING if exact_products else 2.0**-9
        self._longest = float(self._norms.max().sqrt())

    def search(self, queries: Features, k: int, *, without: Ids = NO_IDS) -> Neighbours:
        """Return the k nearest images that are not in `without`, ties by lower id; fewer only if fewer are left.

        Cost: O(n·d) a query, at the speed of the device's memory, and O(m log m) for m ids left out.

        Raises:
            UserError: queries of another dimension or not finite, k < 1, or an id in `without` that is not stored.
        """
        import torch

        wide = checked(queries, k, len(self._exact.centre))
        gone = removed(without, len(self._vectors))
        k = min(k, len(self._vectors) - len(gone))
        if not k or not len(wide):
            return neighbours(NO_PAIRS, len(wide), k)
        norms = self._norms.clone()
        norms[torch.from_numpy(gone).to(norms.device)] = torch.inf
        found = [self._scan(wide[at : at + QUERIES], k, gone, norms) for at in range(0, len(wide), QUERIES)]
        pairs = [p._replace(rows=p.rows + at * QUERIES) for at, p in enumerate(found)]
        return neighbours(nearest(pairs, k), len(wide), k)

    def _scan(self, queries: Scores, k: int, gone: Ids, norms: Any) -> NeighbourPairs:
        kept = min(k + SPARE, len(norms))
        offsets = queries - self._exact.centre  # (q, d)
        scores, ids = self._best(offsets, kept, norms)
        rows, columns = np.nonzero(np.isfinite(scores))
        some = ids[rows, columns]
        pairs = nearest([NeighbourPairs(rows, some, squared_distances(queries[rows], self._vectors.read(some)))], k)
        if kept == len(norms):
            return pairs
        # A vector beyond the kept ones scores no less than the last of them, and is off by this at the most.
        lengths = np.linalg.norm(offsets, axis=1)
        slack = 2 * self._rounding * (offsets.shape[1] + 8) * (lengths + self._longest) ** 2
        proven = pairs.squares.reshape(len(queries), k)[:, -1] < scores[:, -1] + lengths**2 - slack
        todo = np.flatnonzero(~proven)
        if not len(todo):
            return pairs
        left = self._exact.search(cast(Features, queries[todo]), k, without=gone)  # in float64, as they came
        keep = proven[pairs.rows]
        sure = NeighbourPairs(pairs.rows[keep], pairs.ids[keep], pairs.squares[keep])
        return nearest([sure, NeighbourPairs(np.repeat(todo, k), left.ids.ravel(), left.distances.ravel() ** 2)], k)

    def _best(self, offsets: Scores, kept: int, norms: Any) -> tuple[Scores, Ids]:
        """Return the lowest scores ‖x − c‖² − 2 (q − c)·(x − c) of each query, ascending, and whose they are."""
        import torch

        factors = torch.from_numpy((-2 * offsets).astype(np.float32)).to(norms.device)  # (q, d)
        best = torch.full((len(offsets), 0), torch.inf, device=norms.device)
        ids = torch.zeros((len(offsets), 0), dtype=torch.int64, device=norms.device)
        for first in range(0, len(norms), self._block):
            x = self._held[first : first + self._block]
            scores = torch.addmm(norms[first : first + len(x)], factors, x.T)  # (q, m)
            near, places = scores.topk(min(kept, len(x)), largest=False)
            best, ids = torch.cat([best, near], 1), torch.cat([ids, places + first], 1)
            best, order = best.topk(min(kept, best.shape[1]), largest=False)
            ids = ids.gather(1, order)
        return best.cpu().double().numpy(), ids.cpu().numpy()
