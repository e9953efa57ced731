"""One index in parts: ranges of ids that lie apart, in this process or in others, and answers that are put together.

Each part finds its own k nearest and measures them anew in float64 from the stored vectors; the k nearest of all are
among them. Where the parts are exact, the whole is, to the order of equals.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from asal.core import NO_IDS, Features, Ids, Index, Neighbours
from asal.errors import UserError
from asal.features.store import StoredVectors
from asal.index import NO_PAIRS, Indexer, NeighbourPairs, checked, nearest, neighbours, removed, squared_distances
from asal.runtime import artifacts
from asal.runtime.engine import InProcess
from asal.runtime.engine.ray import Ray
from asal.runtime.progress import Progress, no_progress

Ask = Callable[[Features, int, Sequence[Ids]], Sequence[NeighbourPairs]]  # queries, k, each part's own removed ids


@dataclass(frozen=True)
class IdRange:
    """The ids first … last − 1 of stored vectors, as a store of its own that counts from 0.

    It travels between processes: it holds a folder's name, and opens it when it is first read.
    """

    folder: Path
    first: int
    last: int

    @cached_property
    def _whole(self) -> StoredVectors:
        return StoredVectors.open(self.folder)

    def __getstate__(self) -> dict[str, Any]:
        return {"folder": self.folder, "first": self.first, "last": self.last}

    @property
    def dim(self) -> int:
        """Numbers a vector."""
        return self._whole.dim

    def __len__(self) -> int:
        return self.last - self.first

    def read(self, ids: Ids) -> Features:
        """Return the vectors (n, d) of these ids of its own."""
        return self._whole.read(np.asarray(ids) + self.first)

    def expect(self) -> None:
        """Ask the system to read the files that it lies in."""
        self._whole.expect()

    def shards(self) -> Iterator[tuple[Ids, Features]]:
        """Yield runs of its own ids, and their vectors as read-only memory maps."""
        for ids, x in self._whole.shards():
            low, high = max(self.first - int(ids[0]), 0), min(self.last - int(ids[0]), len(ids))
            if low < high:
                yield ids[low:high] - self.first, x[low:high]


def id_ranges(folder: Path, n: int, parts: int) -> list[IdRange]:
    """Cut n ids into so many id_ranges of about the same length, none of them empty.

    >>> [(part.first, part.last) for part in id_ranges(Path("vectors"), 7, 3)]
    [(0, 2), (2, 4), (4, 7)]
    """
    ends = [part * n // min(parts, n) for part in range(min(parts, n) + 1)]
    return [IdRange(folder, *ends[at : at + 2]) for at in range(len(ends) - 1)]


class IndexPart:
    """The index over one stretch, opened when it is first asked."""

    def __init__(self, work: Built) -> None:
        self._work, self._stretch = work, work.stretch

    @cached_property
    def _index(self) -> Index:
        return self._work.indexer.load(self._stretch, self._work.folder)

    def open(self) -> None:
        """Open it now.

        Raises:
            DamageError: it is not what was built.
        """
        self._index  # noqa: B018  touching is opening

    def nearest(self, queries: Features, k: int, gone: Ids) -> NeighbourPairs:
        """Return the k nearest of each query, by the ids of the whole; fewer where fewer are left.

        Args:
            gone: ids of its own that are to be left out.
        """
        k = min(k, len(self._stretch) - len(gone))
        if k < 1 or not len(queries):
            return NO_PAIRS
        ids = self._index.search(queries, k, without=gone).ids  # (q, k)
        rows, own = np.repeat(np.arange(len(ids)), ids.shape[1]), ids.ravel()
        # Distances are roots, and roots of two numbers may be equal: they are told apart by their squares.
        squares = squared_distances(queries[rows].astype(np.float64), self._stretch.read(own))
        return NeighbourPairs(rows, own + self._stretch.first, squares)


@dataclass(frozen=True)
class Built:
    """The index of one stretch, as a piece of work."""

    indexer: Indexer
    stretch: IdRange
    folder: Path
    needs_torch: ClassVar[bool] = True

    @property
    def name(self) -> str:
        """Say which."""
        return f"index: images from {self.stretch.first}"

    @property
    def size(self) -> int:
        """Images."""
        return len(self.stretch)

    def run(self, progress: Progress) -> None:
        """Build it, unless it is there."""
        if artifacts.is_complete(self.folder) and not any(artifacts.faults(self.folder)):
            return
        shutil.rmtree(self.folder, ignore_errors=True)  # a part that `doctor --repair` took a file from
        scratch = self.folder.with_name(f".{self.folder.name}.{os.getpid()}-{secrets.token_hex(4)}")
        with artifacts.explain_disk_errors(scratch):
            scratch.mkdir(parents=True)
            try:
                self.indexer.build(self.stretch, scratch, progress)
                artifacts.seal(scratch, {"first": self.stretch.first, "images": self.size})
                scratch.rename(self.folder)
            except OSError:
                if not self.folder.exists():  # else another process was quicker, and has left the same
                    raise
            finally:
                shutil.rmtree(scratch, ignore_errors=True)


@dataclass(frozen=True)
class Sharded:
    """A kind of index in parts.

    Args:
        indexer: the kind of each part.
        parts: how many; fewer where there are fewer images.
        cluster: builds them, and holds each in an actor; without it, this process does.
    """

    indexer: Indexer
    parts: int
    cluster: Ray | None = None

    @property
    def recall(self) -> float:
        """What each part promises, the whole keeps: the nearest of all is the nearest of its part."""
        return self.indexer.recall

    def build(self, vectors: StoredVectors, folder: Path, progress: Progress = no_progress) -> None:
        """Build the parts, each in a folder of its own."""
        done, engine = 0, InProcess() if self.cluster is None else self.cluster
        for work, _ in engine.map_unordered(self._works(vectors, folder)):
            done += work.size
            progress("index: parts", done, len(vectors))

    def grow(
        self, before: Path, held: int, vectors: StoredVectors, folder: Path, progress: Progress = no_progress
    ) -> None:
        """Build the parts anew: where they are cut hangs on how many there are in all."""
        self.build(vectors, folder, progress)

    def load(self, vectors: StoredVectors, folder: Path) -> ShardedIndex:
        """Open the parts, where they are to be searched."""
        works = self._works(vectors, folder)
        ask = in_actors(self.cluster, works) if self.cluster else in_process(works)
        return ShardedIndex([work.stretch for work in works], vectors.dim, ask)

    def _works(self, vectors: StoredVectors, folder: Path) -> list[Built]:
        cut = id_ranges(vectors.folder.absolute(), len(vectors), self.parts)
        return [Built(self.indexer, stretch, folder.absolute() / f"{at:05d}") for at, stretch in enumerate(cut)]


class ShardedIndex:
    """An index whose parts are asked all at once."""

    def __init__(self, parts: Sequence[IdRange], dim: int, ask: Ask) -> None:
        self._parts, self._dim, self._ask = parts, dim, ask

    def search(self, queries: Features, k: int, *, without: Ids = NO_IDS) -> Neighbours:
        """Return the k nearest images that are not in `without`, ties by lower id; fewer only if fewer are left.

        Cost: that of the slowest part, and k distances a query and part.

        Raises:
            UserError: queries of another dimension or not finite, k < 1, or an id in `without` that is not stored.
        """
        n = self._parts[-1].last
        checked(queries, k, self._dim)
        gone = removed(without, n)
        own = [gone[slice(*np.searchsorted(gone, (part.first, part.last)))] - part.first for part in self._parts]
        k = min(k, n - len(gone))
        found = self._ask(queries, k, own) if k and len(queries) else []
        return neighbours(nearest([NO_PAIRS, *found], k), len(queries), k)


def in_process(works: Sequence[Built]) -> Ask:
    """Open the parts in this process, and return what asks them one after the other."""
    parts = [IndexPart(work) for work in works]
    for part in parts:
        part.open()

    def ask(queries: Features, k: int, gone: Sequence[Ids]) -> Sequence[NeighbourPairs]:
        return [part.nearest(queries, k, own) for part, own in zip(parts, gone, strict=True)]

    return ask


def in_actors(engine: Ray, works: Sequence[Built]) -> Ask:
    """Open each part in an actor of a Ray cluster, and return what asks all at the same time.

    Actors are spread over the machines and ask for no CPU, since they wait most of the time: pieces of work find room
    beside them. One that dies is started again, `retries` times, and asked again. They end with what is returned.
    """
    ray = engine.connect()
    actor = ray.remote(_Held).options(
        num_cpus=0,
        memory=engine.memory,
        max_restarts=engine.retries,
        max_task_retries=engine.retries,
        scheduling_strategy="SPREAD",
    )
    actors = [actor.remote(work) for work in works]

    def answers(futures: Sequence[Any]) -> list[Any]:
        try:
            told = ray.get(futures)
        except ray.exceptions.RayError as error:
            raise UserError(
                f"one was lost {engine.retries + 1} times: {type(error).__name__}",
                rule=f"each of the {len(actors)} parts of an index answers",
                hint="see whether the machines are up, have the memory, and see the project's folder; then ask again",
            ) from None
        for _, refused in told:
            if refused:
                raise refused
        return [value for value, _ in told]

    def ask(queries: Features, k: int, gone: Sequence[Ids]) -> Sequence[NeighbourPairs]:
        sent = ray.put(queries)
        return answers([part.answer.remote("nearest", sent, k, own) for part, own in zip(actors, gone, strict=True)])

    answers([part.answer.remote("open") for part in actors])
    return ask


class _Held:
    """A part in an actor. What it refuses it returns: an error that is raised there comes wrapped and with noise."""

    def __init__(self, work: Built) -> None:
        self._part = IndexPart(work)

    def answer(self, what: str, *given: Any) -> tuple[Any, UserError | None]:
        try:
            return getattr(self._part, what)(*given), None
        except UserError as error:
            return None, error
