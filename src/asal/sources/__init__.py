"""Where images come from: named splits, each a row of records that are read in a stream.

A source is a frozen dataclass: its fields are the options of a spec. It decodes nothing; it hands out bytes,
paths or arrays, and `asal.sources.decode` makes images of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy.typing as npt

from asal.core import Ids, Labels
from asal.errors import UserError
from asal.registry import Registry

sources = Registry("source", "asal.sources")

Raw: TypeAlias = bytes | Path | npt.NDArray[Any]  # a file's bytes, a file, or pixels (h, w) or (h, w, c)

UNKNOWN = -1  # the label of an image whose class the source does not say


@dataclass(frozen=True)
class Record:
    """One image as its source holds it."""

    key: str  # what its owner knows it by; distinct within the source
    raw: Raw


class Source(Protocol):
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

    def records(self, split: str, rows: Ids) -> Iterator[Record]:
        """Yield the records of ascending rows, holding few of them at a time."""
        ...


def not_there(what: str, place: str, remedy: str) -> UserError:
    """Return the error for a source that has gone, or never was."""
    return UserError(f"a source of images is {what}", came=f"there is none at '{place}'", remedy=remedy)


def apart(project: Path, images: Path) -> None:
    """Refuse a project inside its own folder of images, where its files would become images."""
    if project.resolve().is_relative_to(images.resolve()):
        raise UserError(
            "a project lies outside the folder that its images come from",
            came=f"{project} is inside {images}",
            remedy="choose a project folder beside it",
        )
