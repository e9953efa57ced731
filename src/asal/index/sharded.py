"""An index in parts, each over a range of ids, in this process or in others; their results are merged.

Each part returns its k nearest, measured in float64 from the stored vectors; the k nearest of all are among them. If
the parts are exact, so is the index, including the order of ties.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, TypeAlias

import numpy as np

from asal.core import NO_IDS, Features, Ids, Index, Neighbours
from asal.errors import UserError
from asal.features.store import PrefixVectors, StoredVectors
from asal.index import (
    NO_PAIRS,
    Indexer,
    NeighbourPairs,
    check_excluded,
    check_queries,
    k_nearest,
    squared_distances,
    to_neighbours,
)
from asal.runtime import artifacts
from asal.runtime.engine import InProcess
from asal.runtime.engine.ray import Ray
from asal.runtime.progress import Progress, no_progress

Stored: TypeAlias = StoredVectors | PrefixVectors
# queries, k, the excluded ids of each part → the pairs of each part
SearchParts = Callable[[Features, int, Sequence[Ids]], Sequence[NeighbourPairs]]


@dataclass(frozen=True)
class IdRange:
    """The ids first … last − 1 of stored vectors, as a store whose ids start at 0.

    It can be pickled: it holds the name of a folder, and opens it at the first read.
    """

    folder: Path
    first: int
    last: int
    dimensions: int = 0  # the first ones of each vector; 0 is all

    @cached_property
    def _store(self) -> Stored:
        stored = StoredVectors.open(self.folder)
        return PrefixVectors(stored, self.dimensions) if self.dimensions else stored

    def __getstate__(self) -> dict[str, Any]:
        return {"folder": self.folder, "first": self.first, "last": self.last, "dimensions": self.dimensions}

    @property
    def dim(self) -> int:
        """Dimensions of a vector."""
        return self._store.dim

    def __len__(self) -> int:
        return self.last - self.first

    def read(self, ids: Ids) -> Features:
        """Return the vectors (n, d) of these ids, which start at 0."""
        return self._store.read(np.asarray(ids) + self.first)

    def read_ahead(self) -> None:
        """Ask the system to read its files into the cache."""
        self._store.read_ahead()

    def shards(self) -> Iterator[tuple[Ids, Features]]:
        """Yield ranges of its ids, and their vectors as read-only memory maps."""
        for ids, x in self._store.shards():
            low, high = max(self.first - int(ids[0]), 0), min(self.last - int(ids[0]), len(ids))
            if low < high:
                yield ids[low:high] - self.first, x[low:high]


def id_ranges(folder: Path, n: int, parts: int, dimensions: int = 0) -> list[IdRange]:
    """Split n ids into ranges of about the same length, none of them empty.

    >>> [(part.first, part.last) for part in id_ranges(Path("vectors"), 7, 3)]
    [(0, 2), (2, 4), (4, 7)]
    """
    ends = [part * n // min(parts, n) for part in range(min(parts, n) + 1)]
    return [IdRange(folder, ends[at], ends[at + 1], dimensions) for at in range(len(ends) - 1)]


class IndexPart:
    """The index over one range of ids, opened at the first search."""

    def __init__(self, task: BuildPartTask) -> None:
        self._task, self._ids = task, task.ids

    @cached_property
    def _index(self) -> Index:
        return self._task.indexer.load(self._ids, self._task.folder)

    def open(self) -> None:
        """Open the index.

        Raises:
            DamageError: a file has changed since it was built.
        """
        self._index  # noqa: B018  the property opens it

    def nearest(self, queries: Features, k: int, excluded: Ids) -> NeighbourPairs:
        """Return the k nearest images of each query, by their ids in the pool; fewer where fewer are left.

        Args:
            excluded: excluded ids, which start at 0 in this part.
        """
        k = min(k, len(self._ids) - len(excluded))
        if k < 1 or not len(queries):
            return NO_PAIRS
        ids = self._index.search(queries, k, without=excluded).ids  # (q, k)
        rows, local_ids = np.repeat(np.arange(len(ids)), ids.shape[1]), ids.ravel()
        # Merged by squares: two different squares may have the same root.
        squares = squared_distances(queries[rows].astype(np.float64), self._ids.read(local_ids))
        return NeighbourPairs(rows, local_ids + self._ids.first, squares)


@dataclass(frozen=True)
class BuildPartTask:
    """The task of building the index over one range of ids."""

    indexer: Indexer
    ids: IdRange
    folder: Path
    needs_torch: ClassVar[bool] = True

    @property
    def name(self) -> str:
        """Name for the progress display."""
        return f"index: images from {self.ids.first}"

    @property
    def size(self) -> int:
        """Number of images."""
        return len(self.ids)

    def run(self, progress: Progress) -> None:
        """Build it, unless it is complete."""
        if artifacts.is_complete(self.folder) and not any(artifacts.faults(self.folder)):
            return
        shutil.rmtree(self.folder, ignore_errors=True)  # `asal doctor --repair` removed a file of this part
        scratch = artifacts.unfinished(self.folder)
        with artifacts.explain_disk_errors(scratch):
            scratch.mkdir(parents=True)
            try:
                self.indexer.build(self.ids, scratch, progress)
                artifacts.seal(scratch, {"first": self.ids.first, "images": self.size})
                artifacts.move_into_place(scratch, self.folder)
            except OSError:
                if not self.folder.exists():  # otherwise another process was faster, and has built the same
                    raise
            finally:
                shutil.rmtree(scratch, ignore_errors=True)


@dataclass(frozen=True)
class Sharded:
    """A kind of index in parts.

    Args:
        indexer: the kind of each part.
        parts: their number; smaller where there are fewer images.
        cluster: builds the parts, and holds each in an actor; without it, this process does.
    """

    indexer: Indexer
    parts: int
    cluster: Ray | None = None

    @property
    def recall(self) -> float:
        """The recall of each part is that of all: the nearest of all is the nearest of its part."""
        return self.indexer.recall

    def build(self, vectors: Stored, folder: Path, progress: Progress = no_progress) -> None:
        """Build the parts, each in its own folder."""
        done, engine = 0, InProcess() if self.cluster is None else self.cluster
        for task, _ in engine.map_unordered(self._tasks(vectors, folder)):
            done += task.size
            progress("index: parts", done, len(vectors))

    def grow(
        self,
        previous: Path,
        count: int,
        vectors: Stored,
        folder: Path,
        progress: Progress = no_progress,
    ) -> None:
        """Build the parts again: the number of vectors decides their ranges."""
        self.build(vectors, folder, progress)

    def load(self, vectors: Stored, folder: Path) -> ShardedIndex:
        """Open the parts where they will be searched."""
        tasks = self._tasks(vectors, folder)
        search = in_actors(self.cluster, tasks) if self.cluster else in_process(tasks)
        return ShardedIndex([task.ids for task in tasks], vectors.dim, search)

    def _tasks(self, vectors: Stored, folder: Path) -> list[BuildPartTask]:
        dimensions = vectors.dim if isinstance(vectors, PrefixVectors) else 0
        cut = id_ranges(vectors.folder.absolute(), len(vectors), self.parts, dimensions)
        return [BuildPartTask(self.indexer, stretch, folder.absolute() / f"{at:05d}") for at, stretch in enumerate(cut)]


class ShardedIndex:
    """An index whose parts are all searched at once."""

    def __init__(self, parts: Sequence[IdRange], dim: int, search: SearchParts) -> None:
        self._parts, self._dim, self._search_parts = parts, dim, search

    def search(self, queries: Features, k: int, *, without: Ids = NO_IDS) -> Neighbours:
        """Return the k nearest images that are not in `without`, ties by lower id; fewer only where fewer are left.

        Cost: that of the slowest part, and k distances per query and part.

        Raises:
            UserError: queries have another dimension or are not finite, k < 1, or an id in `without` is not stored.
        """
        n = self._parts[-1].last
        check_queries(queries, k, self._dim)
        excluded = check_excluded(without, n)
        local = [
            excluded[slice(*np.searchsorted(excluded, (part.first, part.last)))] - part.first for part in self._parts
        ]
        k = min(k, n - len(excluded))
        pairs = self._search_parts(queries, k, local) if k and len(queries) else []
        return to_neighbours(k_nearest([NO_PAIRS, *pairs], k), len(queries), k)


def in_process(tasks: Sequence[BuildPartTask]) -> SearchParts:
    """Open the parts in this process, and return a function that searches them one after the other."""
    parts = [IndexPart(task) for task in tasks]
    for part in parts:
        part.open()

    def search(queries: Features, k: int, excluded: Sequence[Ids]) -> Sequence[NeighbourPairs]:
        return [part.nearest(queries, k, local) for part, local in zip(parts, excluded, strict=True)]

    return search


def in_actors(engine: Ray, tasks: Sequence[BuildPartTask]) -> SearchParts:
    """Open each part in an actor of a Ray cluster, and return a function that searches all at the same time.

    Actors are spread over the machines and reserve no CPU, since they are idle most of the time: tasks can run beside
    them. An actor that dies is restarted up to `retries` times, and asked again. They live as long as the function.
    """
    ray = engine.connect()
    actor = ray.remote(_PartActor).options(
        num_cpus=0,
        memory=engine.memory,
        max_restarts=engine.retries,
        max_task_retries=engine.retries,
        scheduling_strategy="SPREAD",
    )
    actors = [actor.remote(task) for task in tasks]

    def results_of(futures: Sequence[Any]) -> list[Any]:
        try:
            results = ray.get(futures)
        except ray.exceptions.RayError as error:
            raise UserError(
                f"one of the index's {len(actors)} parts was lost {engine.retries + 1} times: {type(error).__name__}",
                hint="check that the machines are up, have enough memory and see the project's folder; then try again",
            ) from None
        for _, refusal in results:
            if refusal:
                raise refusal
        return [value for value, _ in results]

    def search(queries: Features, k: int, excluded: Sequence[Ids]) -> Sequence[NeighbourPairs]:
        sent = ray.put(queries)
        return results_of(
            [part.call.remote("nearest", sent, k, local) for part, local in zip(actors, excluded, strict=True)]
        )

    results_of([part.call.remote("open") for part in actors])
    return search


class _PartActor:
    """A part in an actor. It returns its errors: Ray wraps those that are raised, and logs them."""

    def __init__(self, task: BuildPartTask) -> None:
        self._part = IndexPart(task)

    def call(self, method: str, *args: Any) -> tuple[Any, UserError | None]:
        try:
            return getattr(self._part, method)(*args), None
        except UserError as error:
            return None, error
