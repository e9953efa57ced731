"""The pool's features as fixed-size shards of float32, computed in a stream and read by id.

A store is a folder of `00000.npy`, `00001.npy` …, of which shard s holds the ids s · rows … (s + 1) · rows − 1, and
of `vectors.json`, which says how many there are; it is written last.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO, TypeAlias

import numpy as np

from asal import artifacts
from asal.core import Features, Ids, as_ids
from asal.errors import UserError
from asal.progress import Watch, unwatched

ROWS = 65_536  # a shard; 13 MB at 50 dimensions
MAPS = 256  # shards mapped at a time: each costs a file handle, and a process has about a thousand
BATCH = 1024  # images that are computed at a time; where batches are cut bears on the last bit
FACTS = "vectors.json"
HALF = ".partial"  # a shard that is being written

Compute: TypeAlias = Callable[[Ids], Features]


class StoredVectors:
    """The features of a pool's images, ids 0 … n − 1, read through memory maps."""

    def __init__(self, folder: Path, count: int, dim: int, rows: int) -> None:
        self.folder, self.dim, self.rows, self._count = folder, dim, rows, count
        self._map = lru_cache(MAPS)(self._open_shard)

    @classmethod
    def open(cls, folder: Path) -> StoredVectors:
        """Open what `write_vectors` wrote.

        Raises:
            DamageError: a shard, or the file that says how many there are, is missing or cut short.
        """
        facts = folder / FACTS
        if not facts.exists():
            raise artifacts.damaged(facts, "it is missing")
        said = artifacts.read_json(facts)
        try:
            vectors = cls(folder, int(said["count"]), int(said["dim"]), int(said["rows"]))
        except (KeyError, TypeError, ValueError):
            raise artifacts.damaged(facts, "it does not say 'count', 'dim' and 'rows'") from None
        for shard in range(vectors.shard_count):
            vectors._check_size(shard)
        return vectors

    def __len__(self) -> int:
        return self._count

    @property
    def shard_count(self) -> int:
        """How many files hold the vectors."""
        return -(-self._count // self.rows)

    def read(self, ids: Ids) -> Features:
        """Return the vectors (n, d) of these ids, in their order; an id may come twice.

        Raises:
            UserError: an id that the pool does not have.
            DamageError: a shard is not what was written.
        """
        ids = as_ids(ids)
        outside = ids[(ids < 0) | (ids >= self._count)]
        if outside.size:
            raise UserError(
                f"an image's id is between 0 and {self._count - 1}",
                came=f"{outside[0]}",
                remedy="pass ids of the pool that these vectors were made from",
            )
        found = np.empty((len(ids), self.dim), np.float32)
        shard, row = np.divmod(ids, self.rows)
        order = np.argsort(shard, kind="stable")
        starts = np.flatnonzero(np.diff(shard[order], prepend=-1))
        for places in np.split(order, starts[1:]) if len(ids) else []:
            found[places] = self._map(int(shard[places[0]]))[row[places]]
        return found

    def shards(self) -> Iterator[tuple[Ids, Features]]:
        """Yield every shard's ids, ascending, and its vectors as a read-only memory map (m, d)."""
        for shard in range(self.shard_count):
            first = shard * self.rows
            vectors = self._map(shard)
            yield np.arange(first, first + len(vectors), dtype=np.int64), vectors

    def _shape(self, shard: int) -> tuple[int, int]:
        return min(self.rows, self._count - shard * self.rows), self.dim

    def _check_size(self, shard: int) -> None:
        path, (rows, dim) = shard_path(self.folder, shard), self._shape(shard)
        if not path.exists():
            raise artifacts.damaged(path, "it is missing")
        if path.stat().st_size <= 4 * rows * dim:  # the header comes on top
            raise artifacts.damaged(path, f"it is cut short: {path.stat().st_size} bytes for {rows} × {dim} numbers")

    def _open_shard(self, shard: int) -> Features:
        path = shard_path(self.folder, shard)
        try:
            vectors = np.lib.format.open_memmap(path, mode="r")
        except FileNotFoundError:
            raise artifacts.damaged(path, "it is missing") from None
        except (ValueError, EOFError) as error:
            raise artifacts.damaged(path, f"it is not a whole npy file ({error})") from None
        if vectors.dtype != np.float32 or vectors.shape != self._shape(shard) or not vectors.flags.c_contiguous:
            raise artifacts.damaged(path, f"it holds {vectors.dtype} {vectors.shape}, not float32 {self._shape(shard)}")
        return vectors.view(np.ndarray)  # plain: a memmap's own bookkeeping slows every slice


def write_vectors(
    folder: Path, compute: Compute, n: int, *, rows: int = ROWS, batch: int = BATCH, watch: Watch = unwatched
) -> StoredVectors:
    """Fill `folder` with the vectors of the ids 0 … n − 1, and open it.

    A shard appears under its name when it is whole and on the disk; one that is there already is kept, so that a
    second call, after a crash at any moment, computes only what is missing and leaves the very same bytes.
    Memory: one batch. Loses at most one shard's work.

    Args:
        compute: maps ids (m,) to vectors (m, d); called with at most `batch` ids, always cut at the same places.
        n: images in the pool.
        rows: vectors a shard; fewer where `compute` is slow and a lost shard would hurt.

    Raises:
        UserError: an empty pool, or a vector that is not finite.
    """
    begin(folder, n)
    for shard in range(-(-n // rows)):
        watch("features", shard * rows, n)
        write_shard(folder, shard, compute, (n, rows), batch)
    watch("features", n, n)
    return finish(folder, n, rows)


def begin(folder: Path, n: int) -> None:
    """Make a folder ready for shards, and drop what killed processes left half-written.

    Raises:
        UserError: an empty pool.
    """
    if n <= 0:
        raise UserError("a pool holds at least one image", came=f"a pool of {n}", remedy="fill the pool first")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / FACTS).unlink(missing_ok=True)
    for left in folder.glob(f".*{HALF}"):
        left.unlink()


def missing(folder: Path, n: int, rows: int) -> list[int]:
    """Return the numbers of the shards that are not there, or not whole."""
    there = (_finished(shard_path(folder, shard), len(ids_of(shard, n, rows))) for shard in range(-(-n // rows)))
    return [shard for shard, dim in enumerate(there) if dim is None]


def ids_of(shard: int, n: int, rows: int) -> Ids:
    """Return the ids that a shard holds.

    >>> ids_of(2, 10, 4)
    array([8, 9])
    """
    return np.arange(shard * rows, min((shard + 1) * rows, n), dtype=np.int64)


def write_shard(folder: Path, shard: int, compute: Compute, size: tuple[int, int], batch: int = BATCH) -> Path:
    """Compute one shard by itself, and return its file; one that is whole is kept.

    Any process may do it, and several at once: each writes under a name of its own, and the names end in one file.

    Args:
        size: images in the pool, and vectors a shard.
    """
    path, ids = shard_path(folder, shard), ids_of(shard, *size)
    if _finished(path, len(ids)) is None:
        _write_shard(path, ids, compute, batch)
    return path


def finish(folder: Path, n: int, rows: int) -> StoredVectors:
    """Say how many there are, now that every shard is there, and open them.

    Raises:
        DamageError: a shard that is not whole, or of other dimensions than those before it.
    """
    dim = None
    for shard in range(-(-n // rows)):
        path = shard_path(folder, shard)
        found = _finished(path, len(ids_of(shard, n, rows)))
        if found is None:
            raise artifacts.damaged(path, "it is missing or not whole")
        if dim is not None and found != dim:
            raise artifacts.damaged(path, f"its vectors have {found} dimensions, those before it {dim}")
        dim = found
    artifacts.write_json(folder / FACTS, {"count": n, "dim": dim, "rows": rows})
    return StoredVectors.open(folder)


def shard_path(folder: Path, shard: int) -> Path:
    """Return where a shard lies."""
    return folder / f"{shard:05d}.npy"


def _finished(path: Path, rows: int) -> int | None:
    """Return the number of dimensions of a shard that is whole, None of any other."""
    try:
        vectors = np.lib.format.open_memmap(path, mode="r")
    except (FileNotFoundError, ValueError, EOFError):
        return None
    whole = vectors.dtype == np.float32 and vectors.ndim == 2 and len(vectors) == rows
    return int(vectors.shape[1]) if whole else None


def _write_shard(path: Path, ids: Ids, compute: Compute, batch: int) -> None:
    scratch = path.with_name(
        f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}{HALF}"
    )  # nobody else's, on any machine
    try:
        with scratch.open("wb") as file:
            dim = 0
            for start in range(0, len(ids), batch):
                some = ids[start : start + batch]
                vectors = _checked(some, compute(some), dim)
                if not dim:
                    dim = vectors.shape[1]
                    _write_header(file, (len(ids), dim))
                file.write(vectors.tobytes())
            file.flush()
            os.fsync(file.fileno())
        scratch.replace(path)
        artifacts.sync(path.parent)
    finally:
        scratch.unlink(missing_ok=True)


def _write_header(file: BinaryIO, shape: tuple[int, int]) -> None:
    np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": shape})


def _checked(ids: Ids, vectors: Features, dim: int) -> Features:
    vectors = np.ascontiguousarray(vectors, "<f4")
    if vectors.ndim != 2 or len(vectors) != len(ids) or vectors.shape[1] < 1 or dim not in (0, vectors.shape[1]):
        raise ValueError(f"features of {len(ids)} images have shape ({len(ids)}, {dim or 'd'}), not {vectors.shape}")
    broken = ids[~np.isfinite(vectors).all(axis=1)]
    if broken.size:
        raise UserError(
            "features are finite numbers",
            came=f"image {broken[0]} has a NaN or an infinity ({broken.size} of {len(ids)} images around it)",
            remedy="train the feature extractor again, or choose another",
        )
    return vectors
