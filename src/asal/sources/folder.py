"""A tree of image files, with a class for each sub-folder or without classes."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np

from asal.core import Ids, Labels
from asal.errors import unknown
from asal.sources import UNKNOWN, Record, not_there, sources

SPLITS = frozenset({"train", "test", "val", "valid", "validation"})


@sources.register("folder")
@dataclass(frozen=True)
class Folder:
    """A tree of image files; each first-level sub-folder is a class, unless `label = "none"`.

    Every file counts but the hidden ones (`.DS_Store`): what is no image is listed as such when it is decoded.
    Files beside the class folders are of unknown class. Where there is a sub-folder called train and all the
    others are called test or validation, they are splits, and the classes lie inside them. Files come in natural
    order: 2.png before 10.png. Memory: about 100 bytes a file.
    """

    path: str
    label: Literal["folder", "none"] = "folder"

    @cached_property
    def _roots(self) -> dict[str, Path]:
        root = Path(self.path)
        if not root.is_dir():
            raise not_there("a folder of image files", self.path, "check the path")
        tops = {name for name in os.listdir(root) if not name.startswith(".")}
        return {top: root / top for top in sorted(tops)} if "train" in tops and tops <= SPLITS else {"train": root}

    @cached_property
    def _files(self) -> dict[str, list[str]]:
        """For each split its files, relative to the split's root."""
        return {split: list(_walk(root)) for split, root in self._roots.items()}

    @cached_property
    def classes(self) -> tuple[str, ...]:
        if self.label == "none":
            return ()
        tops = {_top(name) for names in self._files.values() for name in names} - {""}
        return tuple(printable(top) for top in sorted(tops, key=_natural))

    @property
    def splits(self) -> Mapping[str, int]:
        return {split: len(names) for split, names in self._files.items()}

    @property
    def fingerprint(self) -> str | None:
        if not Path(self.path).is_dir():
            return None
        names = hashlib.sha256()
        for split in self._roots:
            for name in self._files[split]:
                names.update(os.fsencode(f"{split}/{name}") + b"\0")
        return names.hexdigest()

    def labels(self, split: str) -> Labels | None:
        names = self._names(split)
        if not self.classes:
            return None
        number = {name: label for label, name in enumerate(self.classes)}
        return np.array([number.get(printable(_top(name)), UNKNOWN) for name in names], np.int64)

    def records(self, split: str, rows: Ids) -> Iterator[Record]:
        names = self._names(split)
        root, top = self._roots[split], Path(self.path)
        for row in rows.tolist():
            file = root / names[row]
            yield Record(printable(file.relative_to(top).as_posix()), file)

    def _names(self, split: str) -> list[str]:
        if split not in self._files:
            raise unknown("split", split, self._files)
        return self._files[split]


def _walk(root: Path) -> Iterator[str]:
    """Yield every file below `root`, relative to it, folder by folder in natural order.

    Links are followed, but never round in a circle. A folder that may not be listed stands for itself: decoding
    it will say why.
    """
    above: list[tuple[int, int]] = []

    def visit(folder: Path, prefix: str) -> Iterator[str]:
        facts = folder.stat()
        if (facts.st_dev, facts.st_ino) in above:
            return
        above.append((facts.st_dev, facts.st_ino))
        with os.scandir(folder) as entries:
            found = {entry.name: entry.is_dir() for entry in entries if not entry.name.startswith(".")}
        for name in sorted(found, key=_natural):
            if found[name] and os.access(folder / name, os.R_OK | os.X_OK):
                yield from visit(folder / name, f"{prefix}{name}/")
            else:
                yield prefix + name
        above.pop()

    yield from visit(root, "")


def _natural(name: str) -> tuple[list[str | int], str]:
    """Order as people do: by the numbers in a name, not by their digits."""
    parts = re.split("([0-9]+)", name)
    return [int(part) if i % 2 else part for i, part in enumerate(parts)], name


def _top(name: str) -> str:
    return name.partition("/")[0] if "/" in name else ""


def printable(name: str) -> str:
    """Return a file's name as valid UTF-8, escaping the bytes that are not."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")
