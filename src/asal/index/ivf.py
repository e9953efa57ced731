"""Inverted file: many small lists of compressed vectors, of which a few are searched and re-ranked exactly."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, TypeAlias

import numpy as np
import numpy.typing as npt
from annotated_types import Ge

from asal.core import NO_IDS, Features, Ids, Neighbours
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
from asal.index.exact import Exact, ExactIndex
from asal.index.recall_guard import EXACT_FROM, RecallGuard
from asal.runtime import artifacts, npy
from asal.runtime.optional import require
from asal.runtime.progress import Progress, no_progress
from asal.runtime.rng import stream

LIST = 256  # vectors in a list, on average
SAMPLE = 40  # vectors per list for k-means, on average
CODED = 200_000  # vectors for training the codes, at most
ITERATIONS = 8  # of k-means
ASSIGNED = 8  # cells of centres in which the list of a vector is searched
MAX_EXCLUDED = (
    1 / 16
)  # share of a query's candidates that may be excluded: beyond it, nearer images may lie in other lists
SPARE = 8  # candidates per neighbour, at least
CODEWORDS = 16  # 4 bits for every two dimensions

Block: TypeAlias = npt.NDArray[np.float32]
Mask: TypeAlias = npt.NDArray[np.bool_]


@indexes.register("ivf", cost="linear")
@dataclass(frozen=True)
class Ivf:
    """Searches a fixed number of small lists and re-ranks the best candidates: approximate, with a recall check.

    An inverted file of n / 256 lists (Jégou et al. 2011, section V), by faiss: `pip install 'asal[faiss]'`. Within a
    list, vectors are coded in 4 bits per two dimensions and scanned in registers (André et al. 2017); the vectors of
    the best codes are then read, and ranked in float64.

    Active learning excludes the nearest images of its queries, and the nearest remaining ones lie in other lists. So
    the exact scan answers a query of whose candidates more than a sixteenth are excluded, and every query below some
    500,000 images. In each search it also checks `guard` queries. Both take linear time, over a quarter of the
    vectors' bytes (`asal.index.int8_codes`).

    Args:
        probes: lists searched per query.
        candidates: vectors ranked exactly per query.
        guard: queries of each search that the exact scan checks; after one miss all queries search more lists.
        lists: in total; 0 makes one per 256 vectors.
    """

    recall: ClassVar[float] = 0.99
    probes: Annotated[int, Ge(1)] = 512
    candidates: Annotated[int, Ge(1)] = 256
    guard: Annotated[int, Ge(0)] = 1
    lists: Annotated[int, Ge(0)] = 0

    def build(self, vectors: Store, folder: Path, progress: Progress = no_progress) -> None:
        """Write the lists (a quarter of a byte per dimension and 8 per id), and what the exact scan needs.

        Memory: what is written, and 40 vectors per list.
        """
        faiss = _faiss()
        folder.mkdir(parents=True, exist_ok=True)
        Exact().build(vectors, folder / "exact", progress)
        centre = npy.open_mapped(folder / "exact" / "centre.npy", shape=(vectors.dim,), dtype=np.float32)
        n, lists = len(vectors), self.lists or max(1, len(vectors) // LIST)
        sample = _sample(vectors, min(n, max(SAMPLE * lists, CODED)), centre)
        cells, centres = _centres(sample[: SAMPLE * lists], min(lists, n), progress)
        width = centres.shape[1]
        index = faiss.IndexIVFPQFastScan(_flat(centres), width, len(centres), width // 2, 4)
        index.by_residual = True
        index.train(_repeated(sample[:CODED], CODEWORDS))
        index.quantizer = two_level = _two_level(
            cells, centres
        )  # searching all centres for each vector would take hours
        for ids, x in vectors.shards():
            progress("index: lists", int(ids[0]), n)
            index.add(_pad_to_even(x - centre))
        index.quantizer = flat = _flat(centres)
        faiss.write_index(index, str(folder / "ivf.faiss"))
        del two_level, flat  # only now: faiss holds no reference
        progress("index: lists", n, n)

    def grow(self, previous: Path, count: int, vectors: Store, folder: Path, progress: Progress = no_progress) -> None:
        """Add the new vectors to the old lists, with the old centres and codes.

        In a pool of four times the size, lists are four times as long: `asal.project.prepare` builds again then.
        """
        faiss = _faiss()
        Exact().grow(previous / "exact", count, vectors, folder / "exact", progress)
        centre = npy.open_mapped(folder / "exact" / "centre.npy", shape=(vectors.dim,), dtype=np.float32)
        index = _read(previous, count)
        flat = index.quantizer
        centres = flat.reconstruct_n(0, index.nlist)
        cells = _kmeans(centres, max(1, round(len(centres) ** 0.5)))
        index.quantizer = two_level = _two_level(cells, centres)
        for ids, x in vectors.shards():
            fresh = x[max(0, count - int(ids[0])) :]
            if len(fresh):
                progress("index: lists", int(ids[0]), len(vectors))
                index.add(_pad_to_even(fresh - centre))
        index.quantizer = flat
        faiss.write_index(index, str(folder / "ivf.faiss"))
        del two_level, flat
        progress("index: lists", len(vectors), len(vectors))

    def load(self, vectors: Store, folder: Path) -> IvfIndex:
        """Read the lists into memory; the vectors stay on the disk, and are read ahead."""
        vectors.read_ahead()
        index = _read(folder, len(vectors))
        exact = Exact().load(vectors, folder / "exact")
        guard = RecallGuard(exact, self.guard) if self.guard else None
        return IvfIndex(vectors, index, exact, self.probes, self.candidates, guard)


class IvfIndex:
    """Lists, which are searched by their centres, and their vectors, by their codes."""

    def __init__(
        self, vectors: Store, index: Any, exact: ExactIndex, probes: int, candidates: int, guard: RecallGuard | None
    ) -> None:
        self._vectors, self._index, self._exact = vectors, index, exact
        self._probes, self._candidates, self._guard = probes, candidates, guard

    def search(self, queries: Features, k: int, *, without: Ids = NO_IDS) -> Neighbours:
        """Return near images that are not in `without`, ties by lower id; fewer only where fewer are left.

        Cost: `probes` lists per query, m log m for m excluded ids, and the exact scan of a few queries.

        Raises:
            UserError: queries have another dimension or are not finite, k < 1, or an id in `without` is not stored.
        """
        check_queries(queries, k, len(self._exact.centre))
        excluded = check_excluded(without, len(self._vectors))
        k = min(k, len(self._vectors) - len(excluded))
        if not k or not len(queries):
            return to_neighbours(NO_PAIRS, len(queries), k)
        if self._guard:
            return self._guard.search(self._answer, queries, k, excluded, self._probes, self._index.nlist)
        return to_neighbours(self._answer(queries, k, excluded, self._probes)[0], len(queries), k)

    def _answer(self, queries: Features, k: int, excluded: Ids, probes: int) -> tuple[NeighbourPairs, Rows]:
        """Return k pairs per query: from `probes` lists, or exact ones where near images are excluded or lists are few.

        The second result holds the rows of the queries that were answered from lists.
        """
        answers, todo = [NO_PAIRS], np.arange(len(queries))
        if probes * EXACT_FROM <= self._index.nlist:
            pairs, trusted = self._probe(queries, k, excluded, probes)
            keep = trusted[pairs.rows]
            answers.append(NeighbourPairs(pairs.rows[keep], pairs.ids[keep], pairs.squares[keep]))
            todo = todo[~trusted]
        if len(todo):
            rest = self._exact.search(queries[todo], k, without=excluded)
            answers.append(NeighbourPairs(np.repeat(todo, k), rest.ids.ravel(), rest.distances.ravel() ** 2))
        return k_nearest(answers, k), np.setdiff1d(np.arange(len(queries)), todo)

    def _probe(self, queries: Features, k: int, excluded: Ids, probes: int) -> tuple[NeighbourPairs, Mask]:
        """Return the k best candidates of each query, and for which queries enough candidates are not excluded."""
        least = max(self._candidates, SPARE * k)
        wanted = least * probes // self._probes
        offsets = queries - self._exact.centre  # in float64
        params = _faiss().SearchParametersIVF(nprobe=probes)
        _, ids = self._index.search(
            _pad_to_even(offsets), wanted, params=params
        )  # (q, wanted), −1 where there were fewer
        rows, columns = np.nonzero(ids >= 0)
        candidates = np.asarray(ids[rows, columns], np.int64)
        free = ~_is_excluded(candidates, excluded)
        remaining = np.bincount(rows[free], minlength=len(queries))
        enough = (
            remaining >= wanted - MAX_EXCLUDED * least
        )  # in more lists more may not be excluded: the nearest ones count
        rows, candidates = rows[free], candidates[free]
        distinct, places = np.unique(candidates, return_inverse=True)
        squares = squared_distances(queries.astype(np.float64)[rows], self._vectors.read(distinct)[places])
        return k_nearest([NeighbourPairs(rows, candidates, squares)], k), enough


def _is_excluded(ids: Ids, excluded: Ids) -> Mask:
    """Return which ids are in the sorted `excluded`."""
    places = np.searchsorted(excluded, ids)
    return np.asarray(np.append(excluded, -1)[places] == ids)


def _sample(vectors: Store, count: int, centre: Block) -> Block:
    """Draw vectors, minus their centre, in a random order that is the same for the same store."""
    rng = stream(0, "ivf", len(vectors))
    ids = rng.choice(len(vectors), size=count, replace=False)
    return _pad_to_even(vectors.read(np.sort(ids)) - centre)[rng.permutation(count)]


def _centres(sample: Block, lists: int, progress: Progress) -> tuple[Block, Block]:
    """Return the centres of √lists cells, and of the lists (lists, d) within these cells: two-level k-means.

    At 16 million images plain k-means compares 2.5 million vectors with 62,500 centres, eight times.
    """
    top = max(1, round(lists**0.5))
    cells = _kmeans(sample, top)
    flat = _flat(cells)
    cell_of = flat.search(sample, 1)[1][:, 0]
    order = np.argsort(cell_of, kind="stable")
    members = np.split(sample[order], np.searchsorted(cell_of[order], np.arange(1, len(cells))))
    centres = []
    for done, cell in enumerate(members):
        progress("index: centres", done, len(members))
        share = round(lists * len(cell) / len(sample))
        centres.append(_kmeans(cell, min(share, len(cell))) if share > 1 else cell[:1])
    progress("index: centres", len(members), len(members))
    return cells, np.concatenate(centres)


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


def _two_level(cells: Block, centres: Block) -> Any:
    """Return an index over the centres that searches only the nearest cells."""
    faiss = _faiss()
    top = _flat(cells)
    index = faiss.IndexIVFFlat(top, cells.shape[1], len(cells))
    index.referenced_objects = [top]  # faiss holds no reference
    index.is_trained = True
    index.add(centres)
    index.make_direct_map()  # codes are of residuals: a vector minus its centre
    index.nprobe = ASSIGNED
    return index


def _pad_to_even(x: npt.NDArray[Any]) -> Block:
    """Return float32 vectors with an even number of dimensions, padded with zeros: codes cover two each."""
    return np.ascontiguousarray(np.pad(x, ((0, 0), (0, x.shape[1] % 2))), np.float32)


def _repeated(sample: Block, least: int) -> Block:
    return np.tile(sample, (-(-least // len(sample)), 1))


def _read(folder: Path, n: int) -> Any:
    try:
        index = _faiss().read_index(str(folder / "ivf.faiss"))
    except RuntimeError as error:
        raise artifacts.damaged(folder / "ivf.faiss", str(error).splitlines()[0]) from None
    if index.ntotal != n:
        raise artifacts.damaged(folder / "ivf.faiss", f"it holds {index.ntotal:,} vectors, not {n:,}")
    return index


def _faiss() -> Any:
    why = "the index 'ivf' searches with faiss"
    return require("faiss", extra="faiss", why=why, hint="or use the index 'exact'")
