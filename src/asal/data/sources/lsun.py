"""LSUN's scenes from their official databases, one LMDB folder for each category and set."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from asal.core import Ids, Labels
from asal.data.sources import SourceImage, apportion, damaged, file_missing, files_fingerprint, sources
from asal.errors import UserError, unknown
from asal.runtime.optional import require

SCENES = (
    *("bedroom", "bridge", "church_outdoor", "classroom", "conference_room"),
    *("dining_room", "kitchen", "living_room", "restaurant", "tower"),
)
SETS = {"train": "train", "validation": "val"}  # the official test set has no labels
BLOCK = 32  # images read at once: many enough to be fast, few enough to hold photographs in memory


@sources.register("lsun")
@dataclass(frozen=True)
class Lsun:
    """LSUN's ten scenes, some 10 million photographs, from the databases `bedroom_train_lmdb` … `tower_train_lmdb`.

    `path` is the folder that they were unpacked in. If `bedroom_val_lmdb` … are there as well, they are the split
    "validation" (300 images per class). `categories` are the classes, in this order; by default all ten. The values
    are complete JPEG or WebP files whose short side has 256 pixels, so a `size` is needed. Keys are
    `bedroom_train/0001c4…`: the database, and the key in it.

    Sources: Yu et al., "LSUN", arXiv 1506.03365; https://github.com/fyu/lsun; torchvision's `datasets/lsun.py`.
    Memory: 32 photographs; no key is kept. A database is read in the order of its keys; skipping images that are not
    wanted takes about 2 seconds per million, in every process.
    """

    path: str
    categories: tuple[str, ...] = SCENES

    def __post_init__(self) -> None:
        for name in self.categories:
            if name not in SCENES:
                raise unknown("category", name, SCENES)
        if not self.categories or len(set(self.categories)) != len(self.categories):
            raise UserError(
                "`categories` names one category twice" if self.categories else "`categories` is empty",
                rule="each category is named once, and at least one is named",
                hint="name those that you want, or leave `categories` out for all ten",
            )

    @property
    def classes(self) -> tuple[str, ...]:
        return self.categories

    @cached_property
    def _sizes(self) -> dict[str, dict[str, int]]:
        """For each split its databases, and how many images each has."""
        _library()
        sizes = {"train": {name: _size(self._folder(name)) for name in self._databases("train")}}
        validation = self._databases("validation")
        if any(self._data(name).is_file() for name in validation):
            sizes["validation"] = {name: _size(self._folder(name)) for name in validation}
        return sizes

    @cached_property
    def _positions(self) -> dict[str, _Position]:
        """How far each database has been read."""
        return {}

    @property
    def splits(self) -> Mapping[str, int]:
        return {split: sum(sizes.values()) for split, sizes in self._sizes.items()}

    @property
    def fingerprint(self) -> str | None:
        names = [name for split in SETS for name in self._databases(split)]
        present = [name for name in names if name in self._databases("train") or self._data(name).is_file()]
        return files_fingerprint({name: self._data(name) for name in present})

    def labels(self, split: str) -> Labels | None:
        return np.repeat(np.arange(len(self.categories)), list(self._parts(split).values()))

    def records(self, split: str, rows: Ids) -> Iterator[SourceImage]:
        for name, part_rows in apportion(self._parts(split), rows):
            for key, value in _entries(self._folder(name), part_rows, self._positions.setdefault(name, _Position())):
                yield SourceImage(f"{name}/{key.decode('ascii', 'backslashreplace')}", value)

    def _databases(self, split: str) -> list[str]:
        return [f"{name}_{SETS[split]}" for name in self.categories]

    def _data(self, name: str) -> Path:
        return Path(self.path) / f"{name}_lmdb" / "data.mdb"

    def _folder(self, name: str) -> Path:
        data = self._data(name)
        if not data.is_file():
            raise file_missing(
                f"{name}_lmdb/data.mdb",
                self.path,
                rule="LSUN is a folder with one database per category",
                hint=f"check the path, unpack {name}_lmdb.zip there, or set `categories` to those that you have",
            )
        return data.parent

    def _parts(self, split: str) -> Mapping[str, int]:
        if split not in self._sizes:
            raise unknown("split", split, self._sizes)
        return self._sizes[split]


def _library() -> Any:
    return require("lmdb", extra="lsun", why="the source 'lsun' reads with the library `lmdb`")


@contextmanager
def _opened(folder: Path) -> Iterator[Any]:
    """Open a database for reading, without a lock, so that its folder may be read-only; yield a transaction."""
    lmdb, data = _library(), folder / "data.mdb"
    try:
        with lmdb.open(str(folder), readonly=True, lock=False, readahead=False) as database:
            needed = (database.info()["last_pgno"] + 1) * database.stat()["psize"]
            if (
                data.stat().st_size < needed
            ):  # it is mapped into memory, and reading past its end would kill the process
                raise damaged(data, f"it has {data.stat().st_size:,} of {needed:,} bytes")
            with database.begin() as transaction:
                yield transaction
    except lmdb.Error as error:
        raise damaged(data, str(error)) from None


def _size(folder: Path) -> int:
    with _opened(folder) as transaction:
        return int(transaction.stat()["entries"])


@dataclass
class _Position:
    """A row of a database, and its key."""

    row: int = 0
    key: bytes = b""


def _entries(folder: Path, rows: Ids, position: _Position) -> Iterator[tuple[bytes, bytes]]:
    """Yield the key and the value of ascending rows, counted in the order of the keys, and move the position along.

    The database is closed between two blocks: one process cannot have it open twice, and a reader may stop anywhere.
    """
    at, key = (position.row, position.key) if len(rows) and position.row <= rows[0] else (0, b"")
    for start in range(0, len(rows), BLOCK):
        block = []
        with _opened(folder) as transaction:
            cursor = transaction.cursor()
            cursor.set_range(key)
            for row in rows[start : start + BLOCK].tolist():
                next(islice(cursor.iternext(values=False), row - at, None), None)
                at, key = row, cursor.key()
                block.append((key, cursor.value()))
        position.row, position.key = at, key
        yield from block
