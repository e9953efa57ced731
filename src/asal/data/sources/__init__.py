"""Where images come from: named splits, each a sequence of images that is read as a stream.

A source is a frozen dataclass: its fields are the options of a spec. It decodes nothing: it yields bytes, paths or
arrays, and `asal.data.sources.decode` turns them into images.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy.typing as npt

from asal.core import Ids, Labels
from asal.errors import DamageError, UserError
from asal.registry import Registry
from asal.runtime.artifacts import fingerprint

sources = Registry("source", "asal.data.sources", group="asal.sources")


def kind_of(source: object) -> str:
    """Return the name under which a source's class is registered; if it is not registered, the class's name."""
    kinds = (name for name, part in sources.items() if part.make is type(source))
    return next(kinds, type(source).__name__.lower())


@dataclass(frozen=True)
class Lost:
    """An image that was listed and cannot be read, and why."""

    reason: str


Raw: TypeAlias = bytes | Path | npt.NDArray[Any] | Lost  # a file's bytes, a file, or pixels (h, w) or (h, w, c)

UNKNOWN = -1  # the label of an image whose class is not known
ENDS = 2**16  # bytes at either end that are hashed; an .npz or a .gz ends with checksums of its contents


@dataclass(frozen=True)
class SourceImage:
    """One image as its source holds it."""

    key: str  # such as its file name; distinct within the source
    raw: Raw


class SourceImages(Protocol):
    """Something that yields images by row."""

    def records(self, split: str, rows: Ids) -> Iterator[SourceImage]:
        """Yield the images of ascending rows, holding few of them at a time."""
        ...


class Source(SourceImages, Protocol):
    """Images in named splits, "train" always among them."""

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes, in the order of their numbers; empty if the source has no labels."""
        ...

    @property
    def splits(self) -> Mapping[str, int]:
        """How many images each split has."""
        ...

    @property
    def fingerprint(self) -> str | None:
        """A cheap hash that changes when the images change; None where nothing can be checked."""
        ...

    def labels(self, split: str) -> Labels | None:
        """Return all labels of a split (n,), −1 where unknown; None exactly if there are no classes."""
        ...


@runtime_checkable
class Listed(Protocol):
    """A source with a long list of images: a task for another process carries the part of the list that it needs.

    A source without such a list is sent as its options, and opened again by the other process.
    """

    @property
    def listing(self) -> str:
        """A hash of the list."""
        ...

    def excerpt(self, split: str, rows: Ids) -> SourceImages:
        """Return the images of these rows alone."""
        ...


@runtime_checkable
class Enlarging(Protocol):
    """A source whose pool is larger than what is ingested."""

    @property
    def origin(self) -> Source:
        """The source that is ingested."""
        ...

    @property
    def enlarges(self) -> Mapping[str, Any]:
        """The options of `asal.data.augmented_pool.AugmentedPool`, the number of `images` among them."""
        ...


def not_there(what: str, place: str, hint: str, *, rule: str = "") -> UserError:
    """Return the error for a source that does not exist: `what` is missing at a path or URL."""
    return UserError(f"no {what} at '{place}'", rule=rule, hint=hint)


def file_missing(name: str, folder: str, rule: str, hint: str) -> UserError:
    """Return the error for a data set's folder that lacks one of its files, or does not exist."""
    return UserError(f"no {name} in '{folder}'", rule=rule, hint=hint)


def damaged(file: Path, reason: str) -> DamageError:
    """Return the error for a file of a data set that is not as it was published."""
    return DamageError(
        f"{file} is damaged: {reason}", rule="a data set's files are read as published", hint="download it again"
    )


def hash_of_ends(file: Path) -> str:
    """Return a hash of a file's size, and of its first and last 64 KiB."""
    size = file.stat().st_size
    with file.open("rb") as stream:
        head = stream.read(ENDS)
        stream.seek(max(0, size - ENDS))
        return hashlib.sha256(b"%d\0" % size + head + stream.read(ENDS)).hexdigest()


def files_fingerprint(files: Mapping[str, Path]) -> str | None:
    """Return a hash of the sizes and ends of files; None if one of them is missing."""
    if not all(file.is_file() for file in files.values()):
        return None
    return fingerprint({name: hash_of_ends(file) for name, file in files.items()})


def apportion(sizes: Mapping[str, int], rows: Ids) -> Iterator[tuple[str, Ids]]:
    """Yield each part of a split, in order, with those of the split's ascending rows that lie in it, counted within it.

    >>> import numpy as np
    >>> [(part, rows.tolist()) for part, rows in apportion({"a": 3, "b": 2}, np.array([0, 2, 3]))]
    [('a', [0, 2]), ('b', [0])]
    """
    start = 0
    for part, size in sizes.items():
        low, high = rows.searchsorted([start, start + size])
        yield part, rows[low:high] - start
        start += size


def check_outside(project: Path, images: Path) -> None:
    """Refuse a project inside its own folder of images, where its files would become images."""
    if project.resolve().is_relative_to(images.resolve()):
        raise UserError(
            f"the project folder {project} is inside the image folder {images}",
            rule="a project's own files would become images",
            hint="choose a project folder outside it",
        )
