"""The pool's features as fixed-size shards of float32, computed in a stream and read by id.

A store is a folder of `00000.npy`, `00001.npy` …, of which shard s holds the ids s · rows … (s + 1) · rows − 1, and
of `vectors.json`, which says how many there are; it is written last.
"""

from __future__ import annotations

import math
import os
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from asal.core import Features, Ids, as_ids, check_ids
from asal.data.concat_pool import places
from asal.errors import UserError
from asal.runtime import artifacts
from asal.runtime.progress import Progress, no_progress

ROWS = 65_536  # a shard; 13 MB at 50 dimensions
STORED = ("float32", "float16")  # numbers that shards may hold
BATCH = 1024  # images that are computed at a time; where batches are cut bears on the last bit
FACTS = "vectors.json"
HALF = ".partial"  # a shard that is being written

Compute: TypeAlias = Callable[[Ids], Features]


class StoredVectors:
    """The features of a pool's images, ids 0 … n − 1, read through memory maps."""

    def __init__(self, folder: Path, count: int, dim: int, rows: int, numbers: str = "float32") -> None:
        self.folder, self.dim, self.rows, self._count = folder, dim, rows, count
        self._numbers = np.dtype(numbers)  # as they are stored; what is read is float32
        self._maps: dict[int, npt.NDArray[Any]] = {}

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
            numbers = str(said.get("numbers", "float32"))
            vectors = cls(folder, int(said["count"]), int(said["dim"]), int(said["rows"]), numbers)
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
                f"{outside[0]}",
                rule=f"an image's id is between 0 and {self._count - 1}",
                hint="pass ids of the pool that these vectors were made from",
            )
        found = np.empty((len(ids), self.dim), np.float32)
        shard, row = np.divmod(ids, self.rows)
        order = np.argsort(shard, kind="stable")
        starts = np.flatnonzero(np.diff(shard[order], prepend=-1))
        for picked in np.split(order, starts[1:]) if len(ids) else []:
            found[picked] = self._map(int(shard[picked[0]]))[row[picked]]
        return found

    def shards(self) -> Iterator[tuple[Ids, Features]]:
        """Yield every shard's ids, ascending, and its vectors (m, d): a memory map that is not to be written to."""
        for shard in range(self.shard_count):
            first = shard * self.rows
            vectors = self._map(shard)
            yield np.arange(first, first + len(vectors), dtype=np.int64), vectors.astype(np.float32, copy=False)

    def expect(self) -> None:
        """Ask the system to read all of them, in order: page by page, on demand, takes fifty times as long."""
        for shard in range(self.shard_count):
            artifacts.preload(shard_path(self.folder, shard))

    def _shape(self, shard: int) -> tuple[int, int]:
        return min(self.rows, self._count - shard * self.rows), self.dim

    def _check_size(self, shard: int) -> None:
        path, (rows, dim) = shard_path(self.folder, shard), self._shape(shard)
        if not path.exists():
            raise artifacts.damaged(path, "it is missing")
        if path.stat().st_size <= self._numbers.itemsize * rows * dim:  # the header comes on top
            raise artifacts.damaged(path, f"it is cut short: {path.stat().st_size} bytes for {rows} × {dim} numbers")

    def _map(self, shard: int) -> npt.NDArray[Any]:
        found = self._maps.get(shard)
        if found is None:
            found = self._maps[shard] = self._open_shard(shard)  # two threads at once open it twice, and no harm
        return found

    def _open_shard(self, shard: int) -> npt.NDArray[Any]:
        path, shape = shard_path(self.folder, shard), self._shape(shard)
        try:
            found = _header(path)
        except FileNotFoundError:
            raise artifacts.damaged(path, "it is missing") from None
        except (ValueError, EOFError) as error:
            raise artifacts.damaged(path, f"it is not a whole npy file ({error})") from None
        if found.dtype != self._numbers or found.shape != shape or found.fortran:
            raise artifacts.damaged(path, f"it holds {found.dtype} {found.shape}, not {self._numbers} {shape}")
        return _mapped(path, found)


class _Header(NamedTuple):
    shape: tuple[int, ...]
    fortran: bool
    dtype: np.dtype[Any]
    start: int  # bytes


@dataclass(frozen=True)
class ConcatVectors:
    """The features of a pool that grew."""

    parts: tuple[StoredVectors, ...]

    @property
    def dim(self) -> int:
        """Numbers a vector."""
        return self.parts[0].dim

    def __len__(self) -> int:
        return sum(map(len, self.parts))

    def read(self, ids: Ids) -> Features:
        """Return the vectors (n, d) of these ids, in their order; an id may come twice.

        Raises:
            UserError: an id that is not of the pool.
        """
        ids = check_ids(ids, len(self))
        out = np.empty((len(ids), self.dim), np.float32)
        for part, here, own in places(ids, [len(part) for part in self.parts]):
            out[here] = self.parts[part].read(own)
        return out

    def expect(self) -> None:
        """Ask the system to read all of them from the disk."""
        for part in self.parts:
            part.expect()

    def shards(self) -> Iterator[tuple[Ids, Features]]:
        """Yield every shard's ids, ascending, and its vectors (m, d)."""
        first = 0
        for part in self.parts:
            for ids, vectors in part.shards():
                yield ids + first, vectors
            first += len(part)


def _header(path: Path) -> _Header:
    """Read how an npy file begins.

    Raises:
        ValueError: it is none, or ends too early.
    """
    with path.open("rb") as file:
        if np.lib.format.read_magic(file) != (1, 0):
            raise ValueError("it is of another version")
        header = _Header(*np.lib.format.read_array_header_1_0(file), file.tell())
    if path.stat().st_size < header.start + header.dtype.itemsize * math.prod(header.shape):
        raise ValueError("it is cut short")
    return header


def _mapped(path: Path, header: _Header) -> npt.NDArray[Any]:
    """Map a file of numbers into memory, and keep no handle of it: Python's own maps keep one each, of a thousand."""
    import torch

    kind = {"float32": torch.float32, "float16": torch.float16}[header.dtype.name]
    skipped = header.start // header.dtype.itemsize  # headers are multiples of 64 bytes
    whole = torch.from_file(str(path), shared=False, size=skipped + math.prod(header.shape), dtype=kind)
    found = whole.numpy()[skipped:].reshape(header.shape)
    found.flags.writeable = False
    return found


def write_vectors(
    folder: Path, compute: Compute, n: int, *, rows: int = ROWS, batch: int = BATCH, progress: Progress = no_progress
) -> StoredVectors:
    """Fill `folder` with the vectors of the ids 0 … n − 1, and open it.

    A shard appears under its name when it is whole and on the disk; one that is there already is kept, so that a
    second call, after a crash at any moment, computes only what is missing and leaves the very same bytes.
    Memory: one batch. Loses at most one shard's work.

    Args:
        compute: maps ids (m,) to vectors (m, d); called with at most `batch` ids, always cut at the same places. What
            it returns as float16 is stored so, in half the bytes.
        n: images in the pool.
        rows: vectors a shard; fewer where `compute` is slow and a lost shard would hurt.

    Raises:
        UserError: an empty pool, or a vector that is not finite.
    """
    start_shards(folder, n)
    for shard in range(-(-n // rows)):
        progress("features", shard * rows, n)
        write_shard(folder, shard, compute, (n, rows), batch)
    progress("features", n, n)
    return finish_shards(folder, n, rows)


def start_shards(folder: Path, n: int) -> None:
    """Make a folder ready for shards, and drop what killed processes left half-written.

    Raises:
        UserError: an empty pool.
    """
    if n <= 0:
        raise UserError(f"a pool of {n}", rule="a pool holds at least one image", hint="fill the pool first")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / FACTS).unlink(missing_ok=True)
    for left in folder.glob(f".*{HALF}"):
        left.unlink()


def missing_shards(folder: Path, n: int, rows: int) -> list[int]:
    """Return the numbers of the shards that are not there, or not whole."""
    there = (_finished(shard_path(folder, shard), len(ids_of(shard, n, rows))) for shard in range(-(-n // rows)))
    return [shard for shard, header in enumerate(there) if header is None]


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


def finish_shards(folder: Path, n: int, rows: int) -> StoredVectors:
    """Say how many there are, now that every shard is there, and open them.

    Raises:
        DamageError: a shard that is not whole, or of other dimensions than those before it.
    """
    first: _Header | None = None
    for shard in range(-(-n // rows)):
        path = shard_path(folder, shard)
        found = _finished(path, len(ids_of(shard, n, rows)))
        if found is None:
            raise artifacts.damaged(path, "it is missing or not whole")
        if first is not None and found.shape[1] != first.shape[1]:
            raise artifacts.damaged(
                path, f"its vectors have {found.shape[1]} dimensions, those before it {first.shape[1]}"
            )
        first = first or found
    assert first is not None  # n ≥ 1
    facts = {"count": n, "dim": first.shape[1], "rows": rows}
    artifacts.write_json(folder / FACTS, facts | ({} if first.dtype == np.float32 else {"numbers": first.dtype.name}))
    return StoredVectors.open(folder)


def shard_path(folder: Path, shard: int) -> Path:
    """Return where a shard lies."""
    return folder / f"{shard:05d}.npy"


def _finished(path: Path, rows: int) -> _Header | None:
    """Return how a shard begins that is whole, None of any other."""
    try:
        header = _header(path)
    except (FileNotFoundError, ValueError, EOFError):
        return None
    whole = header.dtype.name in STORED and len(header.shape) == 2 and header.shape[0] == rows and not header.fortran
    return header if whole else None


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
                    _write_header(file, (len(ids), dim), vectors.dtype)
                file.write(vectors.tobytes())
            file.flush()
            os.fsync(file.fileno())
        scratch.replace(path)
        artifacts.sync(path.parent)
    finally:
        scratch.unlink(missing_ok=True)


def _write_header(file: BinaryIO, shape: tuple[int, int], numbers: np.dtype[Any]) -> None:
    np.lib.format.write_array_header_1_0(file, {"descr": numbers.str, "fortran_order": False, "shape": shape})


def _checked(ids: Ids, vectors: Features, dim: int) -> Features:
    vectors = np.ascontiguousarray(vectors, "<f2" if vectors.dtype == np.float16 else "<f4")
    if vectors.ndim != 2 or len(vectors) != len(ids) or vectors.shape[1] < 1 or dim not in (0, vectors.shape[1]):
        raise ValueError(f"features of {len(ids)} images have shape ({len(ids)}, {dim or 'd'}), not {vectors.shape}")
    broken = ids[~np.isfinite(vectors).all(axis=1)]
    if broken.size:
        raise UserError(
            f"image {broken[0]} has a NaN or an infinity ({broken.size} of {len(ids)} images around it)",
            rule="features are finite numbers",
            hint="train the feature extractor again, or choose another"
            + ("; or store them as float32: half the bits reach to 65,504" if vectors.dtype == np.float16 else ""),
        )
    return vectors
