"""Every query against every vector, as a matrix product: of 8-bit codes where there are many, then of the few left."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, BinaryIO, ClassVar, Protocol

import numpy as np
import numpy.typing as npt
from annotated_types import Ge

from asal.core import NO_IDS, Features, Ids, Neighbours, Scores
from asal.errors import UserError
from asal.index import (
    LARGEST,
    NO_PAIRS,
    NeighbourPairs,
    Rows,
    Store,
    checked,
    indexes,
    int8_codes,
    nearest,
    neighbours,
    removed,
    squared_distances,
)
from asal.index.int8_codes import CodedScan, Codes
from asal.runtime import artifacts
from asal.runtime.progress import Progress, no_progress

ROUNDING = 2.0**-23  # twice float32's unit roundoff: room for any order of summation
NEVER = np.float32(3e38)  # below infinity, so that no limit lets a removed image through
FIRST = 2048  # vectors in the first chunk, which has no limit yet and is ranked as a whole
LEAST, MOST = 1024, 8192  # vectors in the others: their scores are passed over four times and should stay in the cache
QUERIES = 512  # scanned together
NARROW = 16  # queries up to here are laid out query by query: numpy is slow on many short rows
PIECE = 16_384  # candidates measured in float64 at a time
CODED = 200_000  # vectors from which on their codes are worth it: below, a scan takes some ten milliseconds
LOOSE = 1 + 1e-9  # a known distance's own rounding

Block = npt.NDArray[np.float32]


@indexes.register("exact", cost="linear")
@dataclass(frozen=True)
class Exact:
    """Compares every query with every vector: exact, linear in the pool, quick through its matrix product.

    Args:
        block: float32 distances held at a time, besides one chunk of vectors.
        coded: vectors from which on 8-bit codes are kept beside them and scanned first (`asal.index.int8_codes`): the
            same answers, from a quarter of the bytes.
    """

    recall: ClassVar[float] = 1.0
    block: Annotated[int, Ge(1)] = 2**17
    coded: Annotated[int, Ge(0)] = CODED

    def build(self, vectors: Store, folder: Path, progress: Progress = no_progress) -> None:
        """Write the vectors' centre c, their norms ‖x − c‖², 4 bytes a vector, and codes, a byte a number: 3 passes."""
        n, total = len(vectors), np.zeros(vectors.dim)
        for ids, x in vectors.shards():
            progress("index: centre", int(ids[0]), n)
            total += x.sum(axis=0, dtype=np.float64)
        self._write(vectors, (total / n).astype(np.float32), folder, progress)

    def grow(self, before: Path, held: int, vectors: Store, folder: Path, progress: Progress = no_progress) -> None:
        """Write the same about the old centre: any centre is right. Two passes over all vectors."""
        self._write(vectors, np.array(_stored(before / "centre.npy", (vectors.dim,))), folder, progress)

    def _write(self, vectors: Store, centre: Block, folder: Path, progress: Progress) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        n = len(vectors)
        with (folder / "centre.npy").open("wb") as file:
            _begin(file, centre.shape)
            file.write(centre.tobytes())
        with (folder / "norms.npy").open("wb") as file:  # no memory map: where the disk is full, that ends in a signal
            start = _begin(file, (n,))
            for ids, x in vectors.shards():
                progress("index: norms", int(ids[0]), n)
                file.seek(start + 4 * int(ids[0]))
                for at in range(0, len(ids), PIECE):
                    some = x[at : at + PIECE]
                    if not np.abs(some).max() <= LARGEST:
                        raise _too_large(int(ids[at]))
                    file.write(squared_distances(centre.astype(np.float64), some).astype("<f4").tobytes())
        progress("index: norms", n, n)
        if self._codes(vectors):
            int8_codes.build(vectors, centre.astype(np.float64), folder / "codes", progress)

    def load(self, vectors: Store, folder: Path) -> ExactIndex:
        """Open the norms beside the vectors; neither is read before it is searched."""
        centre = _stored(folder / "centre.npy", (vectors.dim,))
        norms = _stored(folder / "norms.npy", (len(vectors),))
        coded = None
        if self._codes(vectors) and int8_codes.usable(vectors.dim):
            coded = int8_codes.Codes.open(folder / "codes", len(vectors), vectors.dim)
        return ExactIndex(vectors, centre, norms, self.block, coded)

    def _codes(self, vectors: Store) -> bool:
        return len(vectors) >= self.coded and int8_codes.NARROWEST <= vectors.dim <= int8_codes.WIDEST


class ChunkScan(Protocol):
    """The scores of a few queries and one chunk of vectors after the other."""

    def chunks(self, gone: Ids) -> Iterator[tuple[int, int]]:
        """Score chunk after chunk, without those of removed ids, and yield its first id and how many it holds."""
        ...

    def within(self, limit: Scores) -> tuple[Rows, Rows]:
        """Return query and place in the chunk of all pairs whose squared distance may be at most the query's limit."""
        ...

    def kth(self, k: int) -> Scores:
        """Return an upper bound of the k-th squared distance (q,) in the chunk."""
        ...


class ExactIndex:
    """Ranks all vectors by scores in float32 or in 8 bits, then the few that rounding cannot rule out in float64."""

    def __init__(self, vectors: Store, centre: Block, norms: Block, block: int, coded: Codes | None) -> None:
        self._vectors, self._norms, self._block, self._coded = vectors, norms, block, coded
        self.centre = centre.astype(np.float64)

    def search(self, queries: Features, k: int, *, without: Ids = NO_IDS, limits: Scores | None = None) -> Neighbours:
        """Return the k nearest images that are not in `without`, ties by lower id; fewer only if fewer are left.

        Cost: O(n·d) a query and O(m log m) for m ids left out. Memory: one block of distances, whatever n and q are.

        Args:
            limits: squared distances (q,) that k images are known to lie within, where they are: it is quicker so.

        Raises:
            UserError: queries of another dimension or not finite, k < 1, or an id in `without` that is not stored.
        """
        exact = checked(queries, k, len(self.centre))
        gone = removed(without, len(self._vectors))
        k = min(k, len(self._vectors) - len(gone))
        known = np.full(len(exact), np.inf) if limits is None else limits * LOOSE
        found = [NO_PAIRS]
        for at in range(0, len(exact) if k else 0, QUERIES):
            best = self._scan(exact[at : at + QUERIES], k, gone, known[at : at + QUERIES])
            found.append(best._replace(rows=best.rows + at))
        return neighbours(nearest(found, k), len(exact), k)

    def _scan(self, queries: Scores, k: int, gone: Ids, known: Scores) -> NeighbourPairs:
        scan: ChunkScan
        if self._coded is not None and len(queries) <= NARROW:  # with more, arithmetic is dearer than memory
            scan = CodedScan(self._coded, self._norms, queries, self.centre)
        else:
            size = min(MOST, max(LEAST, self._block // len(queries)))
            scan = _Scan(self._vectors, self._norms, queries, self.centre, size)
        best = _Best(self._vectors, queries, k, known)
        for first, m in scan.chunks(gone):
            rows, places = scan.within(best.limit)
            if len(rows) > 8 * k * len(queries) and m > k:
                best.limit = np.minimum(best.limit, scan.kth(k))
                rows, places = scan.within(best.limit)
            best.add(rows, first + places)
        return best.settle()


class _Scan:
    """Scores ‖x − c‖² − 2 (q − c)·x in float32, in memory that every chunk uses again.

    That expression is ‖x − q‖² less a constant of the query. Taking the centre c off the norms and the queries keeps
    float32 from cancelling where all features share a large offset; the vectors themselves need no copy.
    """

    def __init__(self, vectors: Store, norms: Block, queries: Scores, centre: Scores, rows: int) -> None:
        self._vectors, self._norms, self._rows = vectors, norms, rows
        self._q, self._dim = len(queries), len(centre)
        self._factors: Block = (-2 * (queries - centre)).astype(np.float32)  # (q, d)
        self._lengths = np.linalg.norm(self._factors.astype(np.float64), axis=1)
        self._radius = float(np.linalg.norm(centre))
        self._shift = np.einsum("qd,qd->q", queries, queries) - centre @ centre  # ‖x − q‖² less the exact score
        self._product = np.empty((rows, self._q), np.float32)
        self._turned = np.empty((self._q, rows) if self._q <= NARROW else (0, 0), np.float32)
        self._scores: Block = self._product
        self._slack: Scores = np.empty(0)

    def chunks(self, gone: Ids) -> Iterator[tuple[int, int]]:
        """Compute norms − 2 (q − c)·x of every pair in one chunk after the other."""
        size = min(FIRST, self._rows)
        for ids, x in self._vectors.shards():
            at = 0
            while at < len(x):
                first, some = int(ids[0]) + at, x[at : at + size]
                self._score(some, first, gone)
                yield first, len(some)
                at, size = at + size, self._rows

    def _score(self, x: Features, first: int, gone: Ids) -> None:
        norms = self._norms[first : first + len(x)]
        # How far a score (q,) can be off by rounding (Higham 2002, §3.1), for norms up to the largest.
        largest = float(norms.max())
        longest = np.sqrt(largest) + self._radius  # ‖x‖ ≤ ‖x − c‖ + ‖c‖
        self._slack = np.asarray(ROUNDING * ((self._dim + 4) * self._lengths * longest + 2 * largest))
        norms = _masked(norms, first, gone)
        product = np.matmul(x, self._factors.T, out=self._product[: len(x)])  # (m, q)
        if self._q <= NARROW:
            self._scores = np.add(product.T, norms, out=self._turned[:, : len(x)])  # (q, m)
        else:
            self._scores = np.add(product, norms[:, None], out=product)  # (m, q)

    def within(self, limit: Scores) -> tuple[Rows, Rows]:
        """Return query and place in the chunk of all pairs whose squared distance may be at most the query's limit."""
        highest = np.minimum(limit - self._shift + self._slack, NEVER).astype(np.float32)
        highest = np.nextafter(highest, np.float32(np.inf))  # the conversion may have rounded down
        if self._q <= NARROW:
            rows, places = np.divmod(np.flatnonzero(self._scores <= highest[:, None]), self._scores.shape[1])
        else:
            places, rows = np.divmod(np.flatnonzero(self._scores <= highest), self._q)
        return rows, places

    def kth(self, k: int) -> Scores:
        """Return an upper bound of the k-th squared distance (q,) in the chunk."""
        scores = self._scores if self._q <= NARROW else self._scores.T
        return np.asarray(np.partition(scores, k - 1)[:, k - 1] + self._slack + self._shift)


class _Best:
    """The k nearest so far of each query, and the limit that a newcomer must stay within."""

    def __init__(self, vectors: Store, queries: Scores, k: int, limit: Scores) -> None:
        self._vectors, self._queries, self._k = vectors, queries, k
        self.limit = limit.copy()
        self._best = NO_PAIRS
        self._new: list[tuple[Rows, Ids]] = []
        self._waiting = 0

    def add(self, rows: Rows, ids: Ids) -> None:
        """Take pairs in; measuring them waits until they are worth a sort."""
        self._new.append((rows, ids))
        self._waiting += len(rows)
        if self._waiting >= self._k * len(self._queries):
            self.settle()

    def settle(self) -> NeighbourPairs:
        """Measure what waits in float64, and return the best so far, sorted by query, distance and id."""
        rows, ids = (np.concatenate(parts) for parts in zip(*self._new, strict=True))
        for at in range(0, len(rows), PIECE):
            row, some = rows[at : at + PIECE], ids[at : at + PIECE]
            found = NeighbourPairs(row, some, squared_distances(self._queries[row], self._vectors.read(some)))
            self._best = nearest([self._best, found], self._k)
        self._new, self._waiting = [(np.empty(0, np.intp), NO_IDS)], 0
        ends = np.searchsorted(self._best.rows, np.arange(1, len(self._queries) + 1))
        full = np.diff(ends, prepend=0) == self._k
        self.limit[full] = np.minimum(self.limit[full], self._best.squares[ends[full] - 1])
        return self._best


def _masked(norms: Block, first: int, gone: Ids) -> Block:
    """Return the norms with those of removed ids infinite: a copy, and only where one is removed."""
    low, high = np.searchsorted(gone, (first, first + len(norms)))
    if low == high:
        return norms
    norms = norms.copy()
    norms[gone[low:high] - first] = np.inf
    return norms


def _begin(file: BinaryIO, shape: tuple[int, ...]) -> int:
    """Write the header of float32 numbers, and return where they begin."""
    np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": shape})
    return file.tell()


def _stored(path: Path, shape: tuple[int, ...]) -> Block:
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise artifacts.damaged(path, "it is missing") from None
    except (ValueError, EOFError) as error:
        raise artifacts.damaged(path, f"it is not a whole npy file ({error})") from None
    if not isinstance(array, np.ndarray) or array.dtype != np.float32 or array.shape != shape:
        raise artifacts.damaged(path, f"it is not float32 {shape}")
    return array.view(np.ndarray)


def _too_large(near: int) -> UserError:
    return UserError(
        f"a NaN, an infinity or a larger number near image {near}",
        rule=f"vectors hold numbers between ±{LARGEST:g}",
        hint="train the feature extractor again, or choose another",
    )
