"""The pool's features as fixed-size shards, computed batch by batch and read by id.

A store is a folder of `00000.npy`, `00001.npy` …, of which shard s holds the ids s · rows … (s + 1) · rows − 1, and
of `vectors.json`, which is written last and says how many vectors there are.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from asal.core import Features, Ids, Inputs, check_ids
from asal.data.concat_pool import places
from asal.errors import UserError
from asal.features.rows import as_slice, by_shard
from asal.runtime import artifacts, npy
from asal.runtime.progress import Progress, no_progress

ROWS = 65_536  # a shard; 13 MB at 50 dimensions
STORED = ("float32", "float16")  # types that shards may hold
BATCH = 1024  # images computed at a time; other batches give features that differ in the last bit
VECTORS = "vectors"  # a store, in a folder of features
FACTS = "vectors.json"

Compute: TypeAlias = Callable[[Ids], Features]


class StoredVectors:
    """The features of a pool's images, ids 0 … n − 1, read through memory maps."""

    def __init__(self, folder: Path, count: int, dim: int, rows: int, numbers: str = "float32") -> None:
        self.folder, self.dim, self.rows, self._count = folder, dim, rows, count
        self._dtype = np.dtype(numbers)  # as stored; what is read is float32
        self._maps: dict[int, npt.NDArray[Any]] = {}

    @classmethod
    def open(cls, folder: Path) -> StoredVectors:
        """Open what `write_vectors` wrote.

        Raises:
            DamageError: a shard or vectors.json is missing or truncated.
        """
        facts = folder / FACTS
        if not facts.exists():
            raise artifacts.damaged(facts, "it is missing")
        stored = artifacts.read_json(facts)
        try:
            numbers = str(stored.get("numbers", "float32"))
            vectors = cls(folder, int(stored["count"]), int(stored["dim"]), int(stored["rows"]), numbers)
        except (KeyError, TypeError, ValueError):
            raise artifacts.damaged(facts, "it lacks 'count', 'dim' or 'rows'") from None
        for shard in range(vectors.shard_count):
            vectors._check_size(shard)
        return vectors

    def __len__(self) -> int:
        return self._count

    @property
    def shard_count(self) -> int:
        """Number of files."""
        return -(-self._count // self.rows)

    def read(self, ids: Ids, dim: int | None = None) -> Features:
        """Return the vectors (n, d) of these ids, in their order; ids may repeat.

        Args:
            dim: the first dimensions alone; all by default.

        Raises:
            UserError: an id is not in the pool.
            DamageError: a shard has changed since it was written.
        """
        ids = check_ids(ids, self._count)
        vectors = np.empty((len(ids), dim or self.dim), np.float32)
        for shard, part in by_shard(ids, self.rows):
            rows = ids[part] - shard * self.rows
            vectors[part] = self._map(shard)[:, :dim][as_slice(rows)]
        return vectors

    def view(self, first: int, end: int, dim: int | None = None) -> Features | None:
        """Return the vectors of the ids first … end − 1 without a copy, read-only.

        None where they lie in several files, or are not stored as float32.
        """
        shard, row = divmod(first, self.rows)
        if self._dtype != np.float32 or not 0 <= first < end <= min((shard + 1) * self.rows, self._count):
            return None
        return self._map(shard)[row : row + end - first, :dim]

    def shards(self, dim: int | None = None) -> Iterator[tuple[Ids, Features]]:
        """Yield the ids of every shard, ascending, and its vectors (m, d), a read-only memory map.

        Args:
            dim: the first dimensions alone; all by default.
        """
        for shard in range(self.shard_count):
            first = shard * self.rows
            vectors = self._map(shard)[:, :dim]
            yield np.arange(first, first + len(vectors), dtype=np.int64), vectors.astype(np.float32, copy=False)

    def read_ahead(self) -> None:
        """Ask the system to read all files into its cache: page by page, on demand, takes fifty times as long."""
        for shard in range(self.shard_count):
            artifacts.preload(shard_path(self.folder, shard))

    def _shape(self, shard: int) -> tuple[int, int]:
        return min(self.rows, self._count - shard * self.rows), self.dim

    def _check_size(self, shard: int) -> None:
        path, (rows, dim) = shard_path(self.folder, shard), self._shape(shard)
        if not path.exists():
            raise artifacts.damaged(path, "it is missing")
        if path.stat().st_size <= self._dtype.itemsize * rows * dim:  # plus the header
            raise artifacts.damaged(path, f"it is truncated: {path.stat().st_size} bytes for {rows} × {dim} numbers")

    def _map(self, shard: int) -> npt.NDArray[Any]:
        vectors = self._maps.get(shard)
        if vectors is None:
            vectors = self._maps[shard] = self._open_shard(shard)  # two threads may both open it, which is harmless
        return vectors

    def _open_shard(self, shard: int) -> npt.NDArray[Any]:
        path, shape = shard_path(self.folder, shard), self._shape(shard)
        try:
            header = npy.read_header(path)
        except FileNotFoundError:
            raise artifacts.damaged(path, "it is missing") from None
        except (ValueError, EOFError) as error:
            raise artifacts.damaged(path, f"it is not a complete npy file ({error})") from None
        if header.dtype != self._dtype or header.shape != shape or header.fortran:
            raise artifacts.damaged(path, f"it holds {header.dtype} {header.shape}, not {self._dtype} {shape}")
        return _mapped(path, header)


@dataclass(frozen=True)
class PrefixVectors:
    """The first dimensions of stored vectors: of principal components, the best so many."""

    stored: StoredVectors | ConcatVectors
    dim: int

    @property
    def folder(self) -> Path:
        """The folder of vectors that are in one."""
        assert isinstance(self.stored, StoredVectors)
        return self.stored.folder

    def __len__(self) -> int:
        return len(self.stored)

    def read(self, ids: Ids) -> Features:
        """Return the vectors (n, dim) of these ids, in their order; ids may repeat.

        Raises:
            UserError: an id is not in the pool.
        """
        return self.stored.read(ids, self.dim)

    def view(self, first: int, end: int) -> Features | None:
        """Return consecutive vectors without a copy, where they lie in one file."""
        return self.stored.view(first, end, self.dim)

    def read_ahead(self) -> None:
        """Ask the system to read all files into its cache."""
        self.stored.read_ahead()

    def shards(self) -> Iterator[tuple[Ids, Features]]:
        """Yield the ids of every shard, ascending, and its vectors (m, dim)."""
        yield from self.stored.shards(self.dim)


@dataclass(frozen=True)
class ConcatVectors:
    """The features of a pool to which images were added."""

    parts: tuple[StoredVectors, ...]

    @property
    def dim(self) -> int:
        """Dimensions of a vector."""
        return self.parts[0].dim

    def __len__(self) -> int:
        return sum(map(len, self.parts))

    def read(self, ids: Ids, dim: int | None = None) -> Features:
        """Return the vectors (n, d) of these ids, in their order; ids may repeat.

        Args:
            dim: the first dimensions alone; all by default.

        Raises:
            UserError: an id is not in the pool.
        """
        ids = check_ids(ids, len(self))
        vectors = np.empty((len(ids), dim or self.dim), np.float32)
        for part, mask, local_ids in places(ids, [len(part) for part in self.parts]):
            vectors[mask] = self.parts[part].read(local_ids, dim)
        return vectors

    def view(self, first: int, end: int, dim: int | None = None) -> Features | None:
        """Return consecutive vectors without a copy, where they lie in one file."""
        for part in self.parts:
            if first < len(part):
                return part.view(first, end, dim)
            first, end = first - len(part), end - len(part)
        return None

    def read_ahead(self) -> None:
        """Ask the system to read all files into its cache."""
        for part in self.parts:
            part.read_ahead()

    def shards(self, dim: int | None = None) -> Iterator[tuple[Ids, Features]]:
        """Yield the ids of every shard, ascending, and its vectors (m, d)."""
        first = 0
        for part in self.parts:
            for ids, vectors in part.shards(dim):
                yield ids + first, vectors
            first += len(part)


@dataclass(frozen=True)
class VectorPool:
    """Stored vectors in the place of a pool: for what is prepared once from whatever the classifier reads.

    Args:
        fingerprint: of the vectors.
        count: how many there are.
        shape: (1, 1, d), where d is what was asked of PCA, which may give fewer: known before they are opened.
        open: opens them, at their first use.
    """

    fingerprint: str
    count: int
    shape: tuple[int, int, int]
    open: Callable[[], StoredVectors | ConcatVectors]

    def __len__(self) -> int:
        return self.count

    def read(self, ids: Ids) -> Inputs:
        """Return the vectors (n, d) of these ids."""
        return self.open().read(ids)


Vectors: TypeAlias = StoredVectors | ConcatVectors | PrefixVectors


def _mapped(path: Path, header: npy.Header) -> npt.NDArray[Any]:
    """Map a file into memory without keeping a handle: Python's maps keep one each, and a process has about 1,000."""
    import torch

    kind = {"float32": torch.float32, "float16": torch.float16}[header.dtype.name]
    skipped = header.start // header.dtype.itemsize  # headers are multiples of 64 bytes
    contents = torch.from_file(str(path), shared=False, size=skipped + math.prod(header.shape), dtype=kind)
    vectors = contents.numpy()[skipped:].reshape(header.shape)
    vectors.flags.writeable = False
    return vectors


def write_vectors(
    folder: Path, compute: Compute, n: int, *, rows: int = ROWS, batch: int = BATCH, progress: Progress = no_progress
) -> StoredVectors:
    """Fill `folder` with the vectors of the ids 0 … n − 1, and open it.

    A shard appears under its name when it is complete and synced, and complete shards are kept: a second call, after a
    crash at any moment, computes only what is missing and leaves the same bytes. Memory: one batch. A crash loses at
    most one shard's work.

    Args:
        compute: maps ids (m,) to vectors (m, d); called with at most `batch` ids, with the same boundaries every time.
            float16 vectors are stored as they are, in half the bytes.
        n: images in the pool.
        rows: vectors per shard; fewer where `compute` is slow and a lost shard would be costly.

    Raises:
        UserError: the pool is empty, or a vector is not finite.
    """
    start_shards(folder, n)
    for shard in range(-(-n // rows)):
        progress("features", shard * rows, n)
        write_shard(folder, shard, compute, (n, rows), batch)
    progress("features", n, n)
    return finish_shards(folder, n, rows)


def start_shards(folder: Path, n: int) -> None:
    """Prepare a folder for shards, and delete unfinished files of killed processes.

    Raises:
        UserError: the pool is empty.
    """
    if n <= 0:
        raise UserError("the pool is empty: there are no features to compute", hint="add images first")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / FACTS).unlink(missing_ok=True)
    for leftover in folder.glob(f".*{artifacts.UNFINISHED}"):
        leftover.unlink()


def missing_shards(folder: Path, n: int, rows: int) -> list[int]:
    """Return the numbers of the shards that are missing or incomplete."""
    shards = range(-(-n // rows))
    return [s for s in shards if _complete_header(shard_path(folder, s), len(ids_of(s, n, rows))) is None]


def ids_of(shard: int, n: int, rows: int) -> Ids:
    """Return the ids that a shard holds.

    >>> ids_of(2, 10, 4)
    array([8, 9])
    """
    return np.arange(shard * rows, min((shard + 1) * rows, n), dtype=np.int64)


def write_shard(folder: Path, shard: int, compute: Compute, size: tuple[int, int], batch: int = BATCH) -> Path:
    """Compute one shard, and return its file; a complete one is kept.

    Several processes may do so at once: each writes under its own name and renames the file at the end.

    Args:
        size: images in the pool, and vectors per shard.
    """
    path, ids = shard_path(folder, shard), ids_of(shard, *size)
    if _complete_header(path, len(ids)) is None:
        _write_shard(path, ids, compute, batch)
    return path


def finish_shards(folder: Path, n: int, rows: int) -> StoredVectors:
    """Write vectors.json once every shard is complete, and open the store.

    Raises:
        DamageError: a shard is incomplete, or has other dimensions than the first.
    """
    first: npy.Header | None = None
    for shard in range(-(-n // rows)):
        path = shard_path(folder, shard)
        header = _complete_header(path, len(ids_of(shard, n, rows)))
        if header is None:
            raise artifacts.damaged(path, "it is missing or incomplete")
        if first is not None and header.shape[1] != first.shape[1]:
            raise artifacts.damaged(path, f"its vectors have {header.shape[1]} dimensions, not {first.shape[1]}")
        first = first or header
    assert first is not None  # n ≥ 1
    facts = {"count": n, "dim": first.shape[1], "rows": rows}
    artifacts.write_json(folder / FACTS, facts | ({} if first.dtype == np.float32 else {"numbers": first.dtype.name}))
    return StoredVectors.open(folder)


def shard_path(folder: Path, shard: int) -> Path:
    """Return the path of a shard."""
    return folder / f"{shard:05d}.npy"


def _complete_header(path: Path, rows: int) -> npy.Header | None:
    """Return the header of a shard, or None where it is missing or incomplete."""
    try:
        header = npy.read_header(path)
    except (FileNotFoundError, ValueError, EOFError):
        return None
    valid = header.dtype.name in STORED and len(header.shape) == 2 and header.shape[0] == rows and not header.fortran
    return header if valid else None


def _write_shard(path: Path, ids: Ids, compute: Compute, batch: int) -> None:
    with artifacts.replacing(path) as file:
        dim = 0
        for start in range(0, len(ids), batch):
            batch_ids = ids[start : start + batch]
            vectors = _checked(batch_ids, compute(batch_ids), dim)
            if not dim:
                dim = vectors.shape[1]
                npy.write_header(file, (len(ids), dim), vectors.dtype)
            npy.append(file, vectors)


def _checked(ids: Ids, vectors: Features, dim: int) -> Features:
    vectors = np.ascontiguousarray(vectors, "<f2" if vectors.dtype == np.float16 else "<f4")
    if vectors.ndim != 2 or len(vectors) != len(ids) or vectors.shape[1] < 1 or dim not in (0, vectors.shape[1]):
        raise ValueError(f"features of {len(ids)} images have shape ({len(ids)}, {dim or 'd'}), not {vectors.shape}")
    broken = ids[~np.isfinite(vectors).all(axis=1)]
    if broken.size:
        others = f" ({broken.size} of the {len(ids)} images in its batch)" if len(ids) > 1 else ""
        half = "; or store them as float32: float16 ends at 65,504" if vectors.dtype == np.float16 else ""
        raise UserError(
            f"the features of image {broken[0]} hold a NaN or an infinity{others}",
            hint=f"train the feature extractor again, or choose another{half}",
        )
    return vectors
