"""A tree of image files, with a class for each sub-folder or without classes."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np

from asal.core import Ids, Labels
from asal.data.sources import UNKNOWN, SourceImage, not_there, sources
from asal.data.sources.remote import fetched, is_url, listed
from asal.errors import unknown

SPLITS = frozenset({"train", "test", "val", "valid", "validation"})


@sources.register("folder")
@dataclass(frozen=True)
class Folder:
    """A tree of image files; each first-level sub-folder is a class, unless `label = "none"`.

    Every file counts except hidden ones (`.DS_Store`): a file that is not an image is listed as unreadable when it is
    decoded. Files beside the class folders are of unknown class. If there is a sub-folder called train and all the
    others are called test or validation, they are splits, and the classes lie inside them. Files are in natural
    order: 2.png before 10.png. Memory: about 100 bytes per file.

    `path` may be a URL of fsspec, such as `s3://bucket/photos`, `ftp://host/photos` or `zip://::photos.zip`: it is
    listed once, and its files are downloaded while others are decoded. Later changes there are not noticed.
    """

    path: str
    label: Literal["folder", "none"] = "folder"

    @cached_property
    def _tree(self) -> dict[str, tuple[str, list[str]]]:
        """For each split its folder, ending with a slash (or "" for the root), and its files relative to that."""
        if is_url(self.path):
            return _by_split(sorted(filter(_shown, listed(self.path)), key=_in_order))
        root = Path(self.path)
        if not root.is_dir():
            raise not_there(
                "folder", self.path, "check the path", rule="the source 'folder' is a folder of image files"
            )
        tops = {name for name in os.listdir(root) if not name.startswith(".")}
        if _are_splits(tops):
            return {top: (f"{top}/", list(_walk(root / top))) for top in sorted(tops)}
        return {"train": ("", list(_walk(root)))}

    @cached_property
    def classes(self) -> tuple[str, ...]:
        if self.label == "none":
            return ()
        tops = {_top(name) for _, names in self._tree.values() for name in names} - {""}
        return tuple(printable(top) for top in sorted(tops, key=_natural))

    @property
    def splits(self) -> Mapping[str, int]:
        return {split: len(names) for split, (_, names) in self._tree.items()}

    @property
    def fingerprint(self) -> str | None:
        # Remote storage is not checked: a pool is a snapshot.
        return None if is_url(self.path) or not Path(self.path).is_dir() else self.listing

    @cached_property
    def listing(self) -> str:
        digest = hashlib.sha256()
        for split, (_, names) in self._tree.items():
            for name in names:
                digest.update(os.fsencode(f"{split}/{name}") + b"\0")
        return digest.hexdigest()

    def labels(self, split: str) -> Labels | None:
        _, names = self._split(split)
        if not self.classes:
            return None
        number = {name: label for label, name in enumerate(self.classes)}
        return np.array([number.get(printable(_top(name)), UNKNOWN) for name in names], np.int64)

    def records(self, split: str, rows: Ids) -> Iterator[SourceImage]:
        return self.excerpt(split, rows).records(split, rows)

    def excerpt(self, split: str, rows: Ids) -> Excerpt:
        folder, names = self._split(split)
        return Excerpt(self.path, [folder + names[row] for row in rows.tolist()], rows)

    def _split(self, split: str) -> tuple[str, list[str]]:
        if split not in self._tree:
            raise unknown("split", split, self._tree)
        return self._tree[split]


@dataclass(frozen=True, eq=False)
class Excerpt:
    """Some rows of a split, with the names of their files."""

    path: str
    names: list[str]
    among: Ids  # the rows, ascending

    def records(self, split: str, rows: Ids) -> Iterator[SourceImage]:
        """Yield the images of ascending rows, all of them among these."""
        names = [self.names[place] for place in self.among.searchsorted(rows).tolist()]
        if is_url(self.path):
            yield from map(SourceImage, map(printable, names), fetched(self.path, names))
            return
        root = Path(self.path)
        if not root.is_dir():  # otherwise every file would be reported as unreadable
            raise not_there("folder", self.path, "make the folder available on every machine under this path")
        for name in names:
            yield SourceImage(printable(name), root / name)


def _are_splits(tops: Collection[str]) -> bool:
    return "train" in tops and SPLITS.issuperset(tops)


def _by_split(names: list[str]) -> dict[str, tuple[str, list[str]]]:
    tops = {name.partition("/")[0] for name in names}
    if not _are_splits(tops):
        return {"train": ("", names)}
    return {
        top: (f"{top}/", [name.removeprefix(f"{top}/") for name in names if name.startswith(f"{top}/")])
        for top in sorted(tops)
    }


def _shown(name: str) -> bool:
    return not any(step.startswith(".") for step in name.split("/"))


def _in_order(name: str) -> list[tuple[list[str | int], str]]:
    """Return a key that sorts folder by folder, in the order of `_walk`."""
    return [_natural(step) for step in name.split("/")]


def _walk(root: Path) -> Iterator[str]:
    """Yield every file below `root`, relative to it, folder by folder in natural order.

    Links are followed, but not in circles. A folder that may not be listed is yielded itself: decoding it gives the
    reason.
    """
    parents: list[tuple[int, int]] = []

    def visit(folder: Path, prefix: str) -> Iterator[str]:
        status = folder.stat()
        if (status.st_dev, status.st_ino) in parents:
            return
        parents.append((status.st_dev, status.st_ino))
        with os.scandir(folder) as entries:
            is_folder = {entry.name: entry.is_dir() for entry in entries if not entry.name.startswith(".")}
        for name in sorted(is_folder, key=_natural):
            if is_folder[name] and os.access(folder / name, os.R_OK | os.X_OK):
                yield from visit(folder / name, f"{prefix}{name}/")
            else:
                yield prefix + name
        parents.pop()

    yield from visit(root, "")


def _natural(name: str) -> tuple[list[str | int], str]:
    """Return a key that sorts the numbers in names by their values, not by their digits."""
    parts = re.split("([0-9]+)", name)
    return [int(part) if i % 2 else part for i, part in enumerate(parts)], name


def _top(name: str) -> str:
    return name.partition("/")[0] if "/" in name else ""


def printable(name: str) -> str:
    """Return a file's name as valid UTF-8, escaping the bytes that are not."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")
