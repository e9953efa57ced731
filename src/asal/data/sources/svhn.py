"""SVHN's cropped digits: the official MATLAB files, or the same images from the hub."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from asal.core import Ids, Labels
from asal.data.sources import SourceImage, apportion, damaged, file_missing, files_fingerprint, sources
from asal.data.sources.hub import Hub
from asal.errors import UserError, unknown

FILES = {part: f"{part}_32x32.mat" for part in ("train", "extra", "test")}
HUB, CONFIG = "ufldl-stanford/svhn", "cropped_digits"  # with the same three splits


class _Parts(Protocol):
    """What the files and the hub have in common: the splits train, extra and test."""

    @property
    def fingerprint(self) -> str | None: ...
    def labels(self, split: str) -> Labels | None: ...
    def records(self, split: str, rows: Ids) -> Iterator[SourceImage]: ...


@sources.register("svhn")
@dataclass(frozen=True)
class Svhn:
    """SVHN's cropped digits, 32 × 32 in colour; `extra` joins its 531,131 extra images to the 73,257 of "train".

    `path` is the folder of `train_32x32.mat`, `test_32x32.mat` and, unless `extra = false`, `extra_32x32.mat`; without
    a path they are read from the hub (`ufldl-stanford/svhn`, configuration `cropped_digits`). The paper's pool is both
    (section 4.1). Keys are `train/0` …, `extra/0` …, `test/0` …: the file or the hub's split, and the number in it.

    In a file `X` is uint8 (32, 32, 3, n), and `y` (n, 1) goes from 1 to 10, where 10 means the digit 0 (Netzer et al.,
    http://ufldl.stanford.edu/housenumbers/; torchvision's `datasets/svhn.py`). Memory: the labels; and while the images
    of a file are read, its complete `X` in every process, because it is one compressed block: 0.2 GB for train, 1.6 GB
    for extra.
    """

    path: str | None = None
    extra: bool = True

    @property
    def classes(self) -> tuple[str, ...]:
        return tuple("0123456789")

    @property
    def _joined(self) -> Mapping[str, tuple[str, ...]]:
        """The parts of each split, in order."""
        return {"train": ("train", "extra") if self.extra else ("train",), "test": ("test",)}

    @cached_property
    def _parts(self) -> _Parts:
        return Hub(HUB, config=CONFIG) if self.path is None else _MatFiles(Path(self.path), self.extra)

    @cached_property
    def _labels(self) -> dict[str, Labels]:
        """The labels of each part."""
        each = {part: self._parts.labels(part) for parts in self._joined.values() for part in parts}
        return {part: labels for part, labels in each.items() if labels is not None}

    @property
    def splits(self) -> Mapping[str, int]:
        return {split: sum(self._sizes(split).values()) for split in self._joined}

    @property
    def fingerprint(self) -> str | None:
        return self._parts.fingerprint

    def labels(self, split: str) -> Labels | None:
        return np.concatenate([self._labels[part] for part in self._sizes(split)])

    def records(self, split: str, rows: Ids) -> Iterator[SourceImage]:
        for part, part_rows in apportion(self._sizes(split), rows):
            if len(part_rows):
                yield from self._parts.records(part, part_rows)

    def _sizes(self, split: str) -> dict[str, int]:
        if split not in self._joined:
            raise unknown("split", split, self._joined)
        return {part: len(self._labels[part]) for part in self._joined[split]}


@dataclass(frozen=True)
class _MatFiles:
    """The MATLAB files, each a split."""

    folder: Path
    extra: bool

    @cached_property
    def _images(self) -> Callable[[str], Any]:
        """A function that returns the X of a split (h, w, c, n); it keeps the last one."""
        return lru_cache(1)(lambda split: self._variable(split, "X"))

    @property
    def fingerprint(self) -> str | None:
        return files_fingerprint(
            {part: self.folder / name for part, name in FILES.items() if part != "extra" or self.extra}
        )

    def labels(self, split: str) -> Labels | None:
        y = self._variable(split, "y")
        images = self._shape(split)[3]
        if y.shape != (images, 1) or y.dtype.kind not in "iuf" or not np.isin(y, np.arange(1, 11)).all():
            raise damaged(self._file(split), f"its y is not a column of {images:,} numbers from 1 to 10")
        return np.asarray(y.reshape(-1) % 10, np.int64)

    def records(self, split: str, rows: Ids) -> Iterator[SourceImage]:
        images = self._images(split)
        for row in rows.tolist():
            yield SourceImage(f"{split}/{row}", np.ascontiguousarray(images[..., row]))

    def _file(self, split: str) -> Path:
        file = self.folder / FILES[split]
        if not file.is_file():
            extra = split == "extra"
            raise file_missing(
                file.name,
                str(self.folder),
                rule="SVHN is a folder of MATLAB files",
                hint="check the path, download the file, or set extra = false"
                if extra
                else "check the path, or download the file",
            )
        return file

    def _shape(self, split: str) -> tuple[int, ...]:
        """Return the shape of X from its header."""
        from scipy.io import whosmat

        file = self._file(split)
        with _naming_file(file):
            shapes = {name: (tuple(shape), kind) for name, shape, kind in whosmat(file)}
        shape, kind = shapes.get("X", ((), "nothing"))
        if len(shape) != 4 or shape[:3] != (32, 32, 3) or kind != "uint8":
            raise damaged(file, f"its X is {kind} {shape}, not uint8 (32, 32, 3, n)")
        return shape

    def _variable(self, split: str, name: str) -> Any:
        from scipy.io import loadmat

        file = self._file(split)
        with _naming_file(file):
            variables = loadmat(file, variable_names=[name])
        if name not in variables:
            raise damaged(file, f"it has no variable {name}")
        return variables[name]


@contextmanager
def _naming_file(file: Path) -> Iterator[None]:
    """Turn SciPy's errors of a broken file into one that names it."""
    try:
        yield
    except NotImplementedError:
        raise UserError(
            f"{file} is a MATLAB file of version 7.3", rule="SVHN's files are of version 5", hint="download it again"
        ) from None
    except MemoryError:  # the file may well be intact
        raise
    except Exception as error:  # the library raises half a dozen kinds
        raise damaged(file, str(error)) from None
