"""Exact search by matrix products over all vectors, or over their 8-bit codes and then the remaining candidates."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Protocol

import numpy as np
import numpy.typing as npt
from annotated_types import Ge

from asal.core import NO_IDS, Features, Ids, Neighbours, Scores
from asal.errors import UserError
from asal.index import (
    MAX_VALUE,
    NO_PAIRS,
    NeighbourPairs,
    Rows,
    Store,
    array_file,
    check_excluded,
    check_queries,
    indexes,
    int8_codes,
    k_nearest,
    squared_distances,
    to_neighbours,
)
from asal.index.int8_codes import CodedScan, Codes
from asal.runtime import npy
from asal.runtime.progress import Progress, no_progress

ROUNDING = 2.0**-23  # twice float32's unit roundoff, for any order of summation
UNREACHABLE = np.float32(3e38)  # below infinity, so that no limit admits an excluded image
FIRST_CHUNK = 2048  # vectors in the first chunk, which has no limit yet and is ranked entirely
MIN_CHUNK, MAX_CHUNK = (
    1024,
    8192,
)  # vectors in later chunks: their scores are read four times and should stay in the cache
QUERY_BLOCK = 512  # queries scanned together
FEW_QUERIES = 16  # up to here scores are laid out query by query: numpy is slow on many short rows
MEASURE_BLOCK = 16_384  # candidates measured in float64 at a time
CODED = 200_000  # vectors from which on codes pay off: below, a scan takes some ten milliseconds
LIMIT_SLACK = 1 + 1e-9  # for the rounding of a known distance

Block = npt.NDArray[np.float32]


@indexes.register("exact", cost="linear")
@dataclass(frozen=True)
class Exact:
    """Compares every query with every vector by matrix products: exact, and linear in the pool.

    Args:
        block: float32 distances held at a time, in addition to one chunk of vectors.
        coded: number of vectors from which on 8-bit codes are stored and scanned first (`asal.index.int8_codes`): the
            same results, from a quarter of the bytes.
    """

    recall: ClassVar[float] = 1.0
    block: Annotated[int, Ge(1)] = 2**17
    coded: Annotated[int, Ge(0)] = CODED

    def build(self, vectors: Store, folder: Path, progress: Progress = no_progress) -> None:
        """Write the centre c, the norms ‖x − c‖² (4 bytes per vector), and codes (1 byte per number): 3 passes."""
        n, total = len(vectors), np.zeros(vectors.dim)
        for ids, x in vectors.shards():
            progress("index: centre", int(ids[0]), n)
            total += x.sum(axis=0, dtype=np.float64)
        progress("index: centre", n, n)
        self._write(vectors, (total / n).astype(np.float32), folder, progress)

    def grow(self, previous: Path, count: int, vectors: Store, folder: Path, progress: Progress = no_progress) -> None:
        """Write the same with the old centre: any centre is correct. Two passes over all vectors."""
        centre = npy.open_mapped(previous / "centre.npy", shape=(vectors.dim,), dtype=np.float32)
        self._write(vectors, np.array(centre), folder, progress)

    def _write(self, vectors: Store, centre: Block, folder: Path, progress: Progress) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        n = len(vectors)
        with array_file(folder / "centre.npy", centre.shape, np.float32) as file:
            npy.append(file, centre)
        with array_file(folder / "norms.npy", (n,), np.float32) as file:
            for ids, x in vectors.shards():
                progress("index: norms", int(ids[0]), n)
                for at in range(0, len(ids), MEASURE_BLOCK):
                    block = x[at : at + MEASURE_BLOCK]
                    if not np.abs(block).max() <= MAX_VALUE:
                        raise _out_of_range(int(ids[at]))
                    npy.append(file, squared_distances(centre.astype(np.float64), block).astype(np.float32))
        progress("index: norms", n, n)
        if self._uses_codes(vectors):
            int8_codes.build(vectors, centre.astype(np.float64), folder / "codes", progress)

    def load(self, vectors: Store, folder: Path) -> ExactIndex:
        """Open the index; nothing is read before it is searched."""
        centre = npy.open_mapped(folder / "centre.npy", shape=(vectors.dim,), dtype=np.float32)
        norms = npy.open_mapped(folder / "norms.npy", shape=(len(vectors),), dtype=np.float32)
        coded = None
        if self._uses_codes(vectors) and int8_codes.usable(vectors.dim):
            coded = int8_codes.Codes.open(folder / "codes", len(vectors), vectors.dim)
        return ExactIndex(vectors, centre, norms, self.block, coded)

    def _uses_codes(self, vectors: Store) -> bool:
        return len(vectors) >= self.coded and int8_codes.MIN_DIM <= vectors.dim <= int8_codes.MAX_DIM


class ChunkScan(Protocol):
    """The scores of a few queries, chunk of vectors by chunk."""

    def chunks(self, excluded: Ids) -> Iterator[tuple[int, int]]:
        """Score each chunk, without excluded ids, and yield its first id and its length."""
        ...

    def within(self, limit: Scores) -> tuple[Rows, Rows]:
        """Return query and position of all pairs in the chunk that may be within the query's limit, squared."""
        ...

    def kth(self, k: int) -> Scores:
        """Return an upper bound of the k-th squared distance (q,) in the chunk."""
        ...


class ExactIndex:
    """Ranks all vectors by float32 or 8-bit scores, then the candidates that rounding cannot rule out in float64."""

    def __init__(self, vectors: Store, centre: Block, norms: Block, block: int, coded: Codes | None) -> None:
        self._vectors, self._norms, self._block, self._coded = vectors, norms, block, coded
        self.centre = centre.astype(np.float64)

    def search(self, queries: Features, k: int, *, without: Ids = NO_IDS, limits: Scores | None = None) -> Neighbours:
        """Return the k nearest images that are not in `without`, ties by lower id; fewer only where fewer are left.

        Cost: O(n·d) a query and O(m log m) for m ids excluded. Memory: one block of distances, whatever n and q are.

        Args:
            limits: squared distances (q,) within which k images are known to lie; they make the search faster.

        Raises:
            UserError: queries have another dimension or are not finite, k < 1, or an id in `without` is not stored.
        """
        exact = check_queries(queries, k, len(self.centre))
        excluded = check_excluded(without, len(self._vectors))
        k = min(k, len(self._vectors) - len(excluded))
        known = np.full(len(exact), np.inf) if limits is None else limits * LIMIT_SLACK
        pairs = [NO_PAIRS]
        for at in range(0, len(exact) if k else 0, QUERY_BLOCK):
            best = self._scan(exact[at : at + QUERY_BLOCK], k, excluded, known[at : at + QUERY_BLOCK])
            pairs.append(best._replace(rows=best.rows + at))
        return to_neighbours(k_nearest(pairs, k), len(exact), k)

    def _scan(self, queries: Scores, k: int, excluded: Ids, known: Scores) -> NeighbourPairs:
        scan: ChunkScan
        if self._coded is not None and len(queries) <= FEW_QUERIES:  # with more, arithmetic is dearer than memory
            scan = CodedScan(self._coded, self._norms, queries, self.centre)
        else:
            size = min(MAX_CHUNK, max(MIN_CHUNK, self._block // len(queries)))
            scan = _FloatScan(self._vectors, self._norms, queries, self.centre, size)
        best = _NearestSoFar(self._vectors, queries, k, known)
        for first, m in scan.chunks(excluded):
            rows, places = scan.within(best.limit)
            if len(rows) > 8 * k * len(queries) and m > k:
                best.limit = np.minimum(best.limit, scan.kth(k))
                rows, places = scan.within(best.limit)
            best.add(rows, first + places)
        return best.measure()


class _FloatScan:
    """Scores ‖x − c‖² − 2 (q − c)·x in float32, in memory that all chunks share.

    The score is ‖x − q‖² minus a constant of the query. Subtracting the centre c from the norms and the queries avoids
    cancellation in float32 where all features share a large offset, without a copy of the vectors.
    """

    def __init__(self, vectors: Store, norms: Block, queries: Scores, centre: Scores, rows: int) -> None:
        self._vectors, self._norms, self._rows = vectors, norms, rows
        self._q, self._dim = len(queries), len(centre)
        self._factors: Block = (-2 * (queries - centre)).astype(np.float32)  # (q, d)
        self._lengths = np.linalg.norm(self._factors.astype(np.float64), axis=1)
        self._radius = float(np.linalg.norm(centre))
        self._shift = np.einsum("qd,qd->q", queries, queries) - centre @ centre  # ‖x − q‖² minus the exact score
        self._product = np.empty((rows, self._q), np.float32)
        self._transposed = np.empty((self._q, rows) if self._q <= FEW_QUERIES else (0, 0), np.float32)
        self._scores: Block = self._product
        self._slack: Scores = np.empty(0)

    def chunks(self, excluded: Ids) -> Iterator[tuple[int, int]]:
        """Compute norms − 2 (q − c)·x of all pairs, chunk by chunk."""
        size = min(FIRST_CHUNK, self._rows)
        for ids, x in self._vectors.shards():
            at = 0
            while at < len(x):
                first, chunk = int(ids[0]) + at, x[at : at + size]
                self._score(chunk, first, excluded)
                yield first, len(chunk)
                at, size = at + size, self._rows

    def _score(self, x: Features, first: int, excluded: Ids) -> None:
        norms = self._norms[first : first + len(x)]
        # The largest rounding error of a score (q,) (Higham 2002, §3.1), for norms up to the largest.
        largest = float(norms.max())
        longest = np.sqrt(largest) + self._radius  # ‖x‖ ≤ ‖x − c‖ + ‖c‖
        self._slack = np.asarray(ROUNDING * ((self._dim + 4) * self._lengths * longest + 2 * largest))
        norms = _masked(norms, first, excluded)
        product = np.matmul(x, self._factors.T, out=self._product[: len(x)])  # (m, q)
        if self._q <= FEW_QUERIES:
            self._scores = np.add(product.T, norms, out=self._transposed[:, : len(x)])  # (q, m)
        else:
            self._scores = np.add(product, norms[:, None], out=product)  # (m, q)

    def within(self, limit: Scores) -> tuple[Rows, Rows]:
        """Return query and position of all pairs in the chunk that may be within the query's limit, squared."""
        highest = np.minimum(limit - self._shift + self._slack, UNREACHABLE).astype(np.float32)
        highest = np.nextafter(highest, np.float32(np.inf))  # the conversion may have rounded down
        if self._q <= FEW_QUERIES:
            rows, places = np.divmod(np.flatnonzero(self._scores <= highest[:, None]), self._scores.shape[1])
        else:
            places, rows = np.divmod(np.flatnonzero(self._scores <= highest), self._q)
        return rows, places

    def kth(self, k: int) -> Scores:
        """Return an upper bound of the k-th squared distance (q,) in the chunk."""
        scores = self._scores if self._q <= FEW_QUERIES else self._scores.T
        return np.asarray(np.partition(scores, k - 1)[:, k - 1] + self._slack + self._shift)


class _NearestSoFar:
    """The k nearest images so far of each query, and the limit that new ones must be within."""

    def __init__(self, vectors: Store, queries: Scores, k: int, limit: Scores) -> None:
        self._vectors, self._queries, self._k = vectors, queries, k
        self.limit = limit.copy()
        self._best = NO_PAIRS
        self._pending: list[tuple[Rows, Ids]] = []
        self._pending_count = 0

    def add(self, rows: Rows, ids: Ids) -> None:
        """Add pairs; they are measured once there are enough of them for a sort."""
        self._pending.append((rows, ids))
        self._pending_count += len(rows)
        if self._pending_count >= self._k * len(self._queries):
            self.measure()

    def measure(self) -> NeighbourPairs:
        """Measure the pending pairs in float64, and return the nearest so far, sorted by query, distance and id."""
        rows, ids = (np.concatenate(parts) for parts in zip(*self._pending, strict=True))
        for at in range(0, len(rows), MEASURE_BLOCK):
            row, block = rows[at : at + MEASURE_BLOCK], ids[at : at + MEASURE_BLOCK]
            pairs = NeighbourPairs(row, block, squared_distances(self._queries[row], self._vectors.read(block)))
            self._best = k_nearest([self._best, pairs], self._k)
        self._pending, self._pending_count = [(np.empty(0, np.intp), NO_IDS)], 0
        ends = np.searchsorted(self._best.rows, np.arange(1, len(self._queries) + 1))
        full = np.diff(ends, prepend=0) == self._k
        self.limit[full] = np.minimum(self.limit[full], self._best.squares[ends[full] - 1])
        return self._best


def _masked(norms: Block, first: int, excluded: Ids) -> Block:
    """Return the norms, with those of excluded ids infinite in a copy."""
    low, high = np.searchsorted(excluded, (first, first + len(norms)))
    if low == high:
        return norms
    norms = norms.copy()
    norms[excluded[low:high] - first] = np.inf
    return norms


def _out_of_range(near: int) -> UserError:
    return UserError(
        f"the features near image {near} hold a NaN, an infinity or a number beyond ±{MAX_VALUE:g}",
        hint="train the feature extractor again, or choose another",
    )
