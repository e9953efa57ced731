"""Nearest neighbours by id: what an index is made of, and what they all share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from asal.core import NO_IDS, Features, Ids, Index, Neighbours, Scores, Vectors, as_ids
from asal.errors import UserError
from asal.registry import Registry
from asal.runtime.progress import Progress, no_progress

indexes = Registry("index", "asal.index", group="asal.index")

LARGEST = 1e15  # of a vector's numbers: their squares must stay far inside float32
Rows: TypeAlias = npt.NDArray[np.intp]


class NeighbourPairs(NamedTuple):
    """Pairs of a query and an image, and how far apart they are."""

    rows: Rows  # (n,) the query's
    ids: Ids  # (n,)
    squares: Scores  # (n,) squared distances


NO_PAIRS = NeighbourPairs(np.empty(0, np.intp), NO_IDS, np.empty(0))


class Store(Vectors, Protocol):
    """The vectors to be searched: ids 0 … n − 1 in shards, each a run of ascending ids."""

    @property
    def dim(self) -> int: ...
    def __len__(self) -> int: ...
    def shards(self) -> Iterator[tuple[Ids, Features]]: ...
    def expect(self) -> None:
        """Say that any of them may soon be read, so that they are fetched in order and not page by page."""
        ...


class Indexer(Protocol):
    """A kind of index with its options. It knows how to prepare a store once, and how to open what it prepared."""

    recall: ClassVar[float]  # of the nearest neighbour, promised; 1.0 is exact: true order, ties by lower id

    def build(self, vectors: Store, folder: Path, progress: Progress = no_progress) -> None:
        """Write into `folder` whatever makes searching these vectors quick."""
        ...

    def grow(self, before: Path, held: int, vectors: Store, folder: Path, progress: Progress = no_progress) -> None:
        """Write what makes searching these vectors quick, from what was written into `before` for the first `held`."""
        ...

    def load(self, vectors: Store, folder: Path) -> Index:
        """Open what `build` wrote for these vectors. The index may be searched from several threads at once."""
        ...


def checked(queries: Features, k: int, dim: int) -> Scores:
    """Return the queries (q, d) in float64.

    Raises:
        UserError: they are not of this index's dimension, or not finite, or k is less than 1.
    """
    exact: Scores = np.asarray(queries, np.float64)
    if exact.ndim != 2 or exact.shape[1] != dim:
        raise UserError(
            f"shape {exact.shape}",
            rule=f"this index is searched with queries of shape (q, {dim})",
            hint="compute them with the feature extractor that the index was built from",
        )
    if k < 1:
        raise UserError(f"k = {k}", rule="a search finds at least one neighbour a query", hint="ask for k ≥ 1")
    if exact.size and not np.abs(exact).max() <= LARGEST:  # a NaN fails this too
        raise UserError(
            "a NaN, an infinity or a larger number",
            rule=f"a query holds numbers between ±{LARGEST:g}",
            hint="look at the images that the queries were computed from",
        )
    return exact


def removed(without: Ids, n: int) -> Ids:
    """Return the ids to leave out, sorted and distinct. Cost: O(m log m) for m ids, whatever n is.

    Raises:
        UserError: an id that is not in the index.
    """
    ids = np.sort(as_ids(without))
    if ids.size and (ids[0] < 0 or ids[-1] >= n):
        raise UserError(
            f"{ids[0] if ids[0] < 0 else ids[-1]} among the ids to leave out",
            rule=f"an image's id is between 0 and {n - 1}",
            hint="pass ids of the pool that the index was built from",
        )
    return ids[np.flatnonzero(np.diff(ids, prepend=-1))]


def squared_distances(a: Scores, b: npt.NDArray[Any]) -> Scores:
    """Return ‖aᵢ − bᵢ‖² (n,) of the rows of a (n, d) and b (n, d), in float64."""
    apart = a - b  # (n, d)
    return np.asarray(np.einsum("nd,nd->n", apart, apart), np.float64)


def nearest(parts: Sequence[NeighbourPairs], k: int) -> NeighbourPairs:
    """Keep the k nearest of each query, sorted by query, distance and id.

    >>> pairs = Pairs(np.array([1, 0, 0]), np.array([7, 9, 8]), np.array([0.0, 4.0, 4.0]))
    >>> nearest([pairs], 1).ids
    array([8, 7])
    """
    rows, ids, squares = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    order = np.lexsort((ids, squares, rows))
    by_query = rows[order]
    rank = np.arange(len(order)) - np.searchsorted(by_query, by_query)
    order = order[rank < k]
    return NeighbourPairs(rows[order], ids[order], squares[order])


def neighbours(pairs: NeighbourPairs, q: int, k: int) -> Neighbours:
    """Return sorted pairs, k a query, as the answer of a search."""
    return Neighbours(pairs.ids.reshape(q, k), np.sqrt(pairs.squares).reshape(q, k))
