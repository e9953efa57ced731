"""Nearest-neighbour indexes over stored features, by image id: their interfaces, and what they share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, ClassVar, NamedTuple, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from asal.core import NO_IDS, Features, Ids, Index, Neighbours, Scores, Vectors, check_ids
from asal.errors import UserError
from asal.registry import Registry
from asal.runtime import npy
from asal.runtime.progress import Progress, no_progress

indexes = Registry("index", "asal.index", group="asal.index")

MAX_VALUE = 1e15  # of a vector's numbers: their squares must be far from float32's largest number
Rows: TypeAlias = npt.NDArray[np.intp]


class NeighbourPairs(NamedTuple):
    """Pairs of a query and an image, with their squared distances."""

    rows: Rows  # (n,) of the query
    ids: Ids  # (n,)
    squares: Scores  # (n,) squared distances


NO_PAIRS = NeighbourPairs(np.empty(0, np.intp), NO_IDS, np.empty(0))


class Store(Vectors, Protocol):
    """The vectors to search: ids 0 … n − 1 in shards, each a range of ascending ids."""

    @property
    def dim(self) -> int: ...
    def __len__(self) -> int: ...
    def shards(self) -> Iterator[tuple[Ids, Features]]: ...
    def read_ahead(self) -> None:
        """Ask the system to read all of them into its cache, in order and not page by page."""
        ...


class Indexer(Protocol):
    """A kind of index with its options: it builds an index over a store once, and opens it."""

    recall: ClassVar[float]  # promised for the nearest neighbour; 1.0 is exact: true order, ties by lower id

    def build(self, vectors: Store, folder: Path, progress: Progress = no_progress) -> None:
        """Write an index over these vectors into `folder`."""
        ...

    def grow(self, previous: Path, count: int, vectors: Store, folder: Path, progress: Progress = no_progress) -> None:
        """Write an index over these vectors into `folder`, from the one in `previous` over the first `count`."""
        ...

    def load(self, vectors: Store, folder: Path) -> Index:
        """Open what `build` wrote for these vectors. The index may be searched from several threads at once."""
        ...


@contextmanager
def array_file(path: Path, shape: tuple[int, ...], dtype: npt.DTypeLike) -> Iterator[BinaryIO]:
    """Yield a new .npy file for `npy.append`. It is not synced: `artifacts.seal` syncs the files of a folder."""
    with path.open("wb") as file:
        npy.write_header(file, shape, dtype)
        yield file


def check_queries(queries: Features, k: int, dim: int) -> Scores:
    """Return the queries (q, d) in float64.

    Raises:
        UserError: they have another dimension or are not finite, or k is less than 1.
    """
    exact: Scores = np.asarray(queries, np.float64)
    if exact.ndim != 2 or exact.shape[1] != dim:
        raise UserError(
            f"the queries have shape {exact.shape}, not (q, {dim})",
            hint="compute them with the feature extractor that the index was built from",
        )
    if k < 1:
        raise UserError(f"a search for k = {k} neighbours finds nothing", hint="ask for k ≥ 1")
    if exact.size and not np.abs(exact).max() <= MAX_VALUE:  # a NaN fails this too
        raise UserError(
            f"a query holds a NaN, an infinity or a number beyond ±{MAX_VALUE:g}",
            hint="check the images that the queries were computed from",
        )
    return exact


def check_excluded(without: Ids, n: int) -> Ids:
    """Return the excluded ids, sorted and distinct. Cost: O(m log m) for m ids, independent of n.

    Raises:
        UserError: an id is not in the index.
    """
    ids = np.sort(check_ids(without, n))
    return ids[np.flatnonzero(np.diff(ids, prepend=-1))]


def squared_distances(a: Scores, b: npt.NDArray[Any]) -> Scores:
    """Return ‖aᵢ − bᵢ‖² (n,) of the rows of a (n, d) and b (n, d), in float64."""
    difference = a - b  # (n, d)
    return np.asarray(np.einsum("nd,nd->n", difference, difference), np.float64)


def k_nearest(parts: Sequence[NeighbourPairs], k: int) -> NeighbourPairs:
    """Keep the k nearest of each query, sorted by query, distance and id.

    >>> pairs = NeighbourPairs(np.array([1, 0, 0]), np.array([7, 9, 8]), np.array([0.0, 4.0, 4.0]))
    >>> k_nearest([pairs], 1).ids
    array([8, 7])
    """
    rows, ids, squares = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    order = np.lexsort((ids, squares, rows))
    by_query = rows[order]
    rank = np.arange(len(order)) - np.searchsorted(by_query, by_query)
    order = order[rank < k]
    return NeighbourPairs(rows[order], ids[order], squares[order])


def to_neighbours(pairs: NeighbourPairs, q: int, k: int) -> Neighbours:
    """Return sorted pairs, k per query, as the result of a search."""
    return Neighbours(pairs.ids.reshape(q, k), np.sqrt(pairs.squares).reshape(q, k))
