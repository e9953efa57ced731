"""Where images come from: named splits, each a row of records that are read in a stream.

A source is a frozen dataclass: its fields are the options of a spec. It decodes nothing; it hands out bytes,
paths or arrays, and `asal.data.sources.decode` makes images of them.
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
    """Return the name under which a source's class is registered; of one that is not registered, the class's name."""
    kinds = (name for name, part in sources.items() if part.make is type(source))
    return next(kinds, type(source).__name__.lower())


@dataclass(frozen=True)
class Lost:
    """An image that is not to be had where it was listed, and why."""

    reason: str


Raw: TypeAlias = bytes | Path | npt.NDArray[Any] | Lost  # a file's bytes, a file, or pixels (h, w) or (h, w, c)

UNKNOWN = -1  # the label of an image whose class the source does not say
ENDS = 2**16  # bytes at either end that stand for a file; an .npz or a .gz ends with checksums of what is in it


@dataclass(frozen=True)
class SourceImage:
    """One image as its source holds it."""

    key: str  # what its owner knows it by; distinct within the source
    raw: Raw


class SourceImages(Protocol):
    """Whatever hands records out."""

    def records(self, split: str, rows: Ids) -> Iterator[SourceImage]:
        """Yield the records of ascending rows, holding few of them at a time."""
        ...


class Source(SourceImages, Protocol):
    """Images in named splits, "train" always among them."""

    @property
    def classes(self) -> tuple[str, ...]:
        """The names that labels count; none where the source is unlabelled."""
        ...

    @property
    def splits(self) -> Mapping[str, int]:
        """How many images each split has."""
        ...

    @property
    def fingerprint(self) -> str | None:
        """What changes when other images lie there; cheap, and None where there is nothing to look at."""
        ...

    def labels(self, split: str) -> Labels | None:
        """Return every label of a split (n,), −1 where unknown; None exactly where there are no classes."""
        ...


@runtime_checkable
class Listed(Protocol):
    """A source that knows its images by a long list: what other processes read of it takes its part of the list along.

    A source that does without, and is a dataclass, travels as its options and is opened anew.
    """

    @property
    def listing(self) -> str:
        """What changes when the list does."""
        ...

    def excerpt(self, split: str, rows: Ids) -> SourceImages:
        """Return what has the records of these rows and no others."""
        ...


@runtime_checkable
class Enlarging(Protocol):
    """A source whose pool is larger than what is taken in."""

    @property
    def origin(self) -> Source:
        """The source that is taken in."""
        ...

    @property
    def enlarges(self) -> Mapping[str, Any]:
        """The options of `asal.data.augmented_pool.Augmented`, the number of `images` among them."""
        ...


def not_there(what: str, place: str, hint: str) -> UserError:
    """Return the error for a source that has gone, or never was."""
    return UserError(f"there is none at '{place}'", rule=f"a source of images is {what}", hint=hint)


def broken(file: Path, what: str) -> DamageError:
    """Return the error for a file of a data set that is not as it was published."""
    return DamageError(
        f"{file}: {what}", rule="a data set is read from its files as they were published", hint="download it again"
    )


def ends(file: Path) -> str:
    """Return what changes with a file's size, or with its first or last 64 KiB."""
    size = file.stat().st_size
    with file.open("rb") as stream:
        head = stream.read(ENDS)
        stream.seek(max(0, size - ENDS))
        return hashlib.sha256(b"%d\0" % size + head + stream.read(ENDS)).hexdigest()


def glance(files: Mapping[str, Path]) -> str | None:
    """Return what changes when other files lie there, by their sizes and ends; None where one of them is missing."""
    if not all(file.is_file() for file in files.values()):
        return None
    return fingerprint({name: ends(file) for name, file in files.items()})


def apportion(sizes: Mapping[str, int], rows: Ids) -> Iterator[tuple[str, Ids]]:
    """Yield for each part of a split, in order, those of the split's ascending rows that lie in it, by its own count.

    >>> import numpy as np
    >>> [(part, rows.tolist()) for part, rows in apportion({"a": 3, "b": 2}, np.array([0, 2, 3]))]
    [('a', [0, 2]), ('b', [0])]
    """
    start = 0
    for part, size in sizes.items():
        low, high = rows.searchsorted([start, start + size])
        yield part, rows[low:high] - start
        start += size


def apart(project: Path, images: Path) -> None:
    """Refuse a project inside its own folder of images, where its files would become images."""
    if project.resolve().is_relative_to(images.resolve()):
        raise UserError(
            f"{project} is inside {images}",
            rule="a project lies outside the folder that its images come from",
            hint="choose a project folder beside it",
        )
