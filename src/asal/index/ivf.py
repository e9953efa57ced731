"""Many small lists of compressed vectors, a few of them searched, the best of what they hold ranked exactly."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, TypeAlias

import numpy as np
import numpy.typing as npt
from annotated_types import Ge

from asal.core import NO_IDS, Features, Ids, Neighbours
from asal.errors import UserError
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
from asal.index.exact import Exact, ExactIndex
from asal.index.recall_guard import SURRENDER, Guard
from asal.runtime import artifacts
from asal.runtime.progress import Progress, no_progress
from asal.runtime.rng import stream

LIST = 256  # vectors in a list, on average
SAMPLE = 40  # vectors that a list's centre is found from, on average
CODED = 200_000  # vectors that the codes are found from, at most
ITERATIONS = 8  # of k-means
ASSIGNED = 8  # cells of centres that a vector looks for its list in
EATEN = 1 / 16  # of a query's candidates may be removed ones: beyond that, nearer images may lie in other lists
SPARE = 8  # candidates for each neighbour wanted, at the least
CODEWORDS = 16  # 4 bits for every two dimensions

Block: TypeAlias = npt.NDArray[np.float32]


@indexes.register("ivf", cost="linear")
@dataclass(frozen=True)
class Ivf:
    """Looks into a fixed number of small lists, and ranks the best of what they hold: approximate, and watched.

    An inverted file of n / 256 lists (Jégou et al. 2011, section V), by faiss: `pip install 'asal[faiss]'`. Within a
    list, 4 bits for every two dimensions say where a vector lies, scanned in registers (André et al. 2017); the
    vectors of the best codes are then read, and ranked in float64.

    Active learning removes the nearest images of its queries, and what is left near them lies in other lists. So a
    query of which a sixteenth of the candidates are removed ones is answered by the exact scan; so is every query
    below some 500,000 images. And of each search the exact scan checks `guard` queries: both cost linear time, of a
    quarter of the vectors' bytes (`asal.index.int8_codes`).

    Args:
        probes: lists that a query looks into.
        candidates: vectors of a query that are ranked exactly.
        guard: queries of each search that the exact scan checks; one miss, and all look into more lists.
        lists: in all; 0 makes one for each 256 vectors.
    """

    recall: ClassVar[float] = 0.99
    probes: Annotated[int, Ge(1)] = 512
    candidates: Annotated[int, Ge(1)] = 256
    guard: Annotated[int, Ge(0)] = 1
    lists: Annotated[int, Ge(0)] = 0

    def build(self, vectors: Store, folder: Path, progress: Progress = no_progress) -> None:
        """Write the lists, a quarter of a byte a dimension and 8 for an id, and what the exact scan needs.

        Memory: what is written, and 40 vectors for each list.
        """
        faiss = _faiss()
        folder.mkdir(parents=True, exist_ok=True)
        Exact().build(vectors, folder / "exact", progress)
        centre = np.load(folder / "exact" / "centre.npy")
        n, lists = len(vectors), self.lists or max(1, len(vectors) // LIST)
        sample = _sample(vectors, min(n, max(SAMPLE * lists, CODED)), centre)
        cells, centres = _centres(sample[: SAMPLE * lists], min(lists, n), progress)
        width = centres.shape[1]
        index = faiss.IndexIVFPQFastScan(_flat(centres), width, len(centres), width // 2, 4)
        index.by_residual = True
        index.train(_repeated(sample[:CODED], CODEWORDS))
        index.quantizer = nested = _nested(cells, centres)  # finding a vector's list among all would take hours
        for ids, x in vectors.shards():
            progress("index: lists", int(ids[0]), n)
            index.add(_even(x - centre))
        index.quantizer = flat = _flat(centres)
        faiss.write_index(index, str(folder / "ivf.faiss"))
        del nested, flat  # not before: faiss holds no reference
        progress("index: lists", n, n)

    def grow(self, before: Path, held: int, vectors: Store, folder: Path, progress: Progress = no_progress) -> None:
        """Put the new vectors into the old lists, whose centres and codes stay as they were found.

        Where a pool has grown fourfold, lists are four times as long: `asal.project.prepare` builds anew then.
        """
        faiss = _faiss()
        Exact().grow(before / "exact", held, vectors, folder / "exact", progress)
        centre = np.load(folder / "exact" / "centre.npy")
        index = _read(before, held)
        flat = index.quantizer
        centres = flat.reconstruct_n(0, index.nlist)
        cells = _kmeans(centres, max(1, round(len(centres) ** 0.5)))
        index.quantizer = nested = _nested(cells, centres)
        for ids, x in vectors.shards():
            fresh = x[max(0, held - int(ids[0])) :]
            if len(fresh):
                progress("index: lists", int(ids[0]), len(vectors))
                index.add(_even(fresh - centre))
        index.quantizer = flat
        faiss.write_index(index, str(folder / "ivf.faiss"))
        del nested, flat
        progress("index: lists", len(vectors), len(vectors))

    def load(self, vectors: Store, folder: Path) -> IvfIndex:
        """Read the lists into memory; the vectors stay where they are, and are read ahead."""
        vectors.expect()
        index = _read(folder, len(vectors))
        exact = Exact().load(vectors, folder / "exact")
        guard = Guard(exact, self.guard) if self.guard else None
        return IvfIndex(vectors, index, exact, self.probes, self.candidates, guard)


class IvfIndex:
    """Lists that are searched by their centres, and what they hold by its codes."""

    def __init__(
        self, vectors: Store, index: Any, exact: ExactIndex, probes: int, candidates: int, guard: Guard | None
    ) -> None:
        self._vectors, self._index, self._exact = vectors, index, exact
        self._probes, self._candidates, self._guard = probes, candidates, guard

    def search(self, queries: Features, k: int, *, without: Ids = NO_IDS) -> Neighbours:
        """Return near images that are not in `without`, ties by lower id; fewer only if fewer are left.

        Cost: `probes` lists a query, m log m for m ids left out, and the guard's exact scan of a few queries.

        Raises:
            UserError: queries of another dimension or not finite, k < 1, or an id in `without` that is not stored.
        """
        checked(queries, k, len(self._exact.centre))
        gone = removed(without, len(self._vectors))
        k = min(k, len(self._vectors) - len(gone))
        if not k or not len(queries):
            return neighbours(NO_PAIRS, len(queries), k)
        if self._guard:
            return self._guard.search(self._answer, queries, k, gone, self._probes, self._index.nlist)
        return neighbours(self._answer(queries, k, gone, self._probes)[0], len(queries), k)

    def _answer(self, queries: Features, k: int, gone: Ids, probes: int) -> tuple[NeighbourPairs, Rows]:
        """Return k pairs a query: from so many lists, or exactly where near images are removed or the lists are few.

        The second are the rows of the queries that were answered from lists.
        """
        found, todo = [NO_PAIRS], np.arange(len(queries))
        if probes * SURRENDER <= self._index.nlist:
            pairs, trusted = self._probe(queries, k, gone, probes)
            keep = trusted[pairs.rows]
            found.append(NeighbourPairs(pairs.rows[keep], pairs.ids[keep], pairs.squares[keep]))
            todo = todo[~trusted]
        if len(todo):
            left = self._exact.search(queries[todo], k, without=gone)
            found.append(NeighbourPairs(np.repeat(todo, k), left.ids.ravel(), left.distances.ravel() ** 2))
        return nearest(found, k), np.setdiff1d(np.arange(len(queries)), todo)

    def _probe(self, queries: Features, k: int, gone: Ids, probes: int) -> tuple[NeighbourPairs, npt.NDArray[np.bool_]]:
        """Return the k best of each query's candidates that are left, and for which queries enough are left."""
        least = max(self._candidates, SPARE * k)
        wanted = least * probes // self._probes
        offsets = queries - self._exact.centre  # in float64
        how = _faiss().SearchParametersIVF(nprobe=probes)
        _, ids = self._index.search(_even(offsets), wanted, params=how)  # (q, wanted), −1 where there were fewer
        rows, columns = np.nonzero(ids >= 0)
        some = np.asarray(ids[rows, columns], np.int64)
        free = ~_among(some, gone)
        left = np.bincount(rows[free], minlength=len(queries))
        enough = left >= wanted - EATEN * least  # in more lists more may not be gone: the nearest ones count
        rows, some = rows[free], some[free]
        kept, where = np.unique(some, return_inverse=True)
        squares = squared_distances(queries.astype(np.float64)[rows], self._vectors.read(kept)[where])
        return nearest([NeighbourPairs(rows, some, squares)], k), enough


def _among(ids: Ids, gone: Ids) -> npt.NDArray[np.bool_]:
    """Return which ids are among the sorted `gone`."""
    places = np.searchsorted(gone, ids)
    return np.asarray(np.append(gone, -1)[places] == ids)


def _sample(vectors: Store, count: int, centre: Block) -> Block:
    """Draw vectors, less their centre, in a random order that is the same for the same store."""
    rng = stream(0, "ivf", len(vectors))
    ids = rng.choice(len(vectors), size=count, replace=False)
    return _even(vectors.read(np.sort(ids)) - centre)[rng.permutation(count)]


def _centres(sample: Block, lists: int, progress: Progress) -> tuple[Block, Block]:
    """Find the lists' centres (lists, d) inside √lists cells, and the cells' centres: k-means of k-means.

    At 16 million images the plain one compares 2.5 million vectors with 62,500 centres, eight times over.
    """
    top = max(1, round(lists**0.5))
    cells = _kmeans(sample, top)
    flat = _flat(cells)
    of = flat.search(sample, 1)[1][:, 0]
    order = np.argsort(of, kind="stable")
    members = np.split(sample[order], np.searchsorted(of[order], np.arange(1, len(cells))))
    found = []
    for done, mine in enumerate(members):
        progress("index: centres", done, len(members))
        share = round(lists * len(mine) / len(sample))
        found.append(_kmeans(mine, min(share, len(mine))) if share > 1 else mine[:1])
    progress("index: centres", len(members), len(members))
    return cells, np.concatenate(found)


def _kmeans(sample: Block, k: int) -> Block:
    if k >= len(sample):
        return sample
    train = _faiss().Kmeans(sample.shape[1], k, niter=ITERATIONS, seed=0, min_points_per_centroid=1)
    train.train(sample)
    return np.asarray(train.centroids)


def _flat(centres: Block) -> Any:
    index = _faiss().IndexFlatL2(centres.shape[1])
    index.add(centres)
    return index


def _nested(cells: Block, centres: Block) -> Any:
    """Return an index over the centres that looks into the nearest cells alone."""
    faiss = _faiss()
    top = _flat(cells)
    index = faiss.IndexIVFFlat(top, cells.shape[1], len(cells))
    index.referenced_objects = [top]  # faiss holds no reference
    index.is_trained = True
    index.add(centres)
    index.make_direct_map()  # codes are of what is left of a vector, less its centre
    index.nprobe = ASSIGNED
    return index


def _even(x: npt.NDArray[Any]) -> Block:
    """Return float32 vectors with a zero behind where their number of dimensions is odd: codes go by twos."""
    return np.ascontiguousarray(np.pad(x, ((0, 0), (0, x.shape[1] % 2))), np.float32)


def _repeated(sample: Block, least: int) -> Block:
    return np.tile(sample, (-(-least // len(sample)), 1))


def _read(folder: Path, n: int) -> Any:
    try:
        index = _faiss().read_index(str(folder / "ivf.faiss"))
    except RuntimeError as error:
        raise artifacts.damaged(folder / "ivf.faiss", str(error).splitlines()[0]) from None
    if index.ntotal != n:
        raise artifacts.damaged(folder / "ivf.faiss", f"it holds {index.ntotal:,} vectors of {n:,}")
    return index


def _faiss() -> Any:
    try:
        import faiss
    except ImportError:
        raise UserError(
            "faiss is not installed", rule="the index ivf is faiss's", hint="pip install 'asal[faiss]', or take exact"
        ) from None
    return faiss
