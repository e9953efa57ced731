"""The pool: images as shards of uint8 on disk, read by id through memory maps.

    pool/  part.json       what it was made from, and the sha256 of every file
           pool.json       {"images": 49998, "unreadable": 2, "shape": [28, 28, 1], "shard": 16384, "starts": [0, …]}
           images/00000.npy …   what can be read of `shard` rows of the source each; `starts` are their first ids
           receipts/00000.json …   the shards' keys, and what was left out of each: with them a shard is made again
           keys.parquet    id, key: the name of each image in its source
           labels.npy      read by `asal.session.oracles.stored` and by nothing else; absent where there are none
           unreadable.csv  key, reason: what was left out

`asal.data.ingest` writes such a folder; this module reads it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from asal.core import Ids, Images, as_ids, check_ids
from asal.errors import UserError
from asal.runtime import artifacts, npy

if TYPE_CHECKING:
    from pyarrow.parquet import ParquetFile

FACTS, KEYS, LABELS, UNREADABLE = "pool.json", "keys.parquet", "labels.npy", "unreadable.csv"

SHARD_IMAGES, SHARD_BYTES = 2**14, 2**25  # at most, in a file of images
KEY_GROUP = 16384  # keys in a row group of keys.parquet: what is read to look one up
OPEN_SHARDS = 32  # maps held at once; an address range and a file handle each
HASHED = 2**28  # bytes; a pool up to this size is checked by its contents when it is opened, a larger one by its sizes


def shard_name(number: int) -> str:
    """Return the path of a shard in its folder."""
    return f"images/{number:05d}.npy"


def shard_size(shape: tuple[int, int, int]) -> int:
    """Return how many images of this shape make a shard: a power of two, at most 16,384 and 32 MiB, at least one.

    >>> shard_size((28, 28, 1)), shard_size((64, 64, 3)), shard_size((8000, 6000, 3))
    (16384, 2048, 1)
    """
    fitting = max(1, min(SHARD_IMAGES, SHARD_BYTES // math.prod(shape)))
    return 1 << (fitting.bit_length() - 1)


class StoredPool:
    """A pool folder, open for reading. Costs by id, never by the pool's size."""

    def __init__(self, folder: Path, facts: dict[str, Any], fingerprint: str) -> None:
        self.folder, self.fingerprint = folder, fingerprint
        height, width, channels = facts["shape"]
        self.shape: tuple[int, int, int] = (height, width, channels)
        self.shard: int = facts["shard"]
        self.unreadable: int = facts["unreadable"]
        self._images: int = facts["images"]
        # Pools of older versions have no `starts`: all their shards but the last are full.
        self._starts: Ids = np.array(facts.get("starts") or range(0, self._images, self.shard), np.int64)
        self._maps: dict[int, Images] = {}  # least recently used first
        self._keys: ParquetFile | None = None

    @classmethod
    def open(cls, folder: Path) -> StoredPool:
        """Open a folder that `asal.data.ingest` finished, after checking its files' sizes and, up to 256 MiB, contents.

        Raises:
            UserError: there is no finished pool.
            DamageError: a file is missing or changed; names it, and how to repair it.
        """
        made_from(folder)
        artifacts.verify(folder, contents_up_to=HASHED)
        return cls(folder, facts_of(folder), images_fingerprint(folder))

    def __len__(self) -> int:
        return self._images

    def read(self, ids: Ids) -> Images:
        """Return the images (n, h, w, c) of these ids, in this order; an id may come twice.

        Raises:
            UserError: an id that is not of this pool.
            DamageError: a shard is missing or not what was written.
        """
        ids = check_ids(ids, len(self))
        out = np.empty((len(ids), *self.shape), np.uint8)
        for shard, places in _grouped(self.shards_of(ids)):
            out[places] = self._map(shard)[ids[places] - self._starts[shard]]
        return out

    def view(self, first: int, end: int) -> Images | None:
        """Return the images first … end − 1 without a copy, read-only; None where they lie in several files."""
        shard = int(self._starts.searchsorted(first, side="right")) - 1
        limit = int(self._starts[shard + 1]) if shard + 1 < len(self._starts) else len(self)
        if not 0 <= first < end <= limit:
            return None
        start = int(self._starts[shard])
        return self._map(shard)[first - start : end - start]

    def keys(self, ids: Ids) -> list[str]:
        """Return the key of each image: its name in the source. Cost: each row group of keys that holds one of them."""
        ids = check_ids(ids, len(self))
        out = np.empty(len(ids), object)
        for group, places in _grouped(ids // KEY_GROUP):
            out[places] = self._key_group(group)[ids[places] % KEY_GROUP]
        return out.tolist()

    def shards_of(self, ids: Ids) -> Ids:
        """Return the number of the file that holds each image."""
        return as_ids(self._starts.searchsorted(ids, side="right") - 1)

    def shards(self) -> Iterator[Ids]:
        """Yield every id in ascending order, one shard's at a time."""
        for start, end in pairwise([*self._starts.tolist(), len(self)]):
            if end > start:  # all of a shard may be unreadable
                yield np.arange(start, end, dtype=np.int64)

    def _map(self, shard: int) -> Images:
        images = self._maps.pop(shard, None)
        if images is None:
            images = self._open_shard(shard)
        self._maps[shard] = images
        while len(self._maps) > OPEN_SHARDS:
            self._maps.pop(next(iter(self._maps)), None)
        return images

    def _open_shard(self, shard: int) -> Images:
        path = self.folder / shard_name(shard)
        end = self._starts[shard + 1] if shard + 1 < len(self._starts) else len(self)
        expected = (int(end - self._starts[shard]), *self.shape)
        return npy.open_mapped(path, shape=expected, dtype=np.uint8)

    def _key_group(self, group: int) -> npt.NDArray[np.object_]:
        import pyarrow as pa
        import pyarrow.parquet as pq

        path = self.folder / KEYS
        try:
            if self._keys is None:
                self._keys = pq.ParquetFile(path)
            column = self._keys.read_row_group(group, columns=["key"]).column("key")
        except (pa.ArrowException, OSError) as error:
            raise artifacts.damaged(path, str(error)) from None
        return np.array(column.to_pylist(), object)


def made_from(folder: Path) -> dict[str, Any]:
    """Return the manifest of a finished pool.

    Raises:
        UserError: there is none.
    """
    if not artifacts.is_complete(folder):
        raise UserError(
            f"there is no finished pool in {folder}",
            hint="run `asal prepare`",
        )
    return artifacts.manifest(folder)


def facts_of(folder: Path) -> dict[str, Any]:
    """Return the contents of `pool.json` of a finished pool.

    Raises:
        DamageError: it is missing or unreadable.
    """
    if not (folder / FACTS).exists():
        raise artifacts.damaged(folder / FACTS, "it is missing")
    return artifacts.read_json(folder / FACTS)


def images_fingerprint(folder: Path) -> str:
    """Return a hash of the pool's images; labels and keys do not change it."""
    files = artifacts.manifest(folder)["files"]
    return artifacts.fingerprint({name: files[name]["sha256"] for name in files if name.startswith("images/")})


def _grouped(numbers: Ids) -> Iterator[tuple[int, Ids]]:
    """Yield each distinct number, with its positions."""
    order = np.argsort(numbers, kind="stable")
    distinct, starts = np.unique(numbers[order], return_index=True)
    for number, start, end in zip(distinct.tolist(), starts, [*starts[1:], len(order)], strict=False):
        yield number, order[start:end]
