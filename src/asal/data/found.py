"""Says what a source holds, before anything of it is kept: splits, classes, and how many images each has."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from asal.data.sources import Source
from asal.data.sources.split_names import are_splits
from asal.errors import UserError, counted, quoted

MANY = 24  # classes that are counted one by one
FEW = 6  # classes that are named in a sentence


def found(source: Source) -> list[str]:
    """Return lines with the classes and splits of a source, and what people should know of how it was read.

    Raises:
        UserError: the source is not there, or two readings of it are possible.
    """
    sizes, classes = source.splits, source.classes
    classed = f"{counted(len(classes), 'class')}" if classes else "no classes"
    splits = counted(len(sizes), "split")
    head = f"found {counted(sum(sizes.values()), 'image')}, {classed}, {splits}:"
    notes: Any = getattr(getattr(source, "origin", source), "notes", list)
    return [head, *_splits(source), *(f"  {note}" for note in notes())]


def _splits(source: Source) -> Iterator[str]:
    classes = source.classes
    for split, number in sorted(source.splits.items(), key=lambda item: (item[0] != "train", item[0])):
        labels = source.labels(split)
        if labels is None:
            yield f"  {split}: {counted(number, 'image')}"
            continue
        counts = np.bincount(labels[labels >= 0], minlength=len(classes)).tolist()
        shown = ", ".join(f"{name} {count:,}" for name, count in list(zip(classes, counts, strict=True))[:MANY])
        rest = counts[MANY:]
        more = f" and {len(rest)} classes more, of {min(rest):,} to {max(rest):,} images" if rest else ""
        unknown = f"; {number - sum(counts):,} of no class" if number > sum(counts) else ""
        yield f"  {split}: {counted(number, 'image')}: {shown}{more}{unknown}"


def mistaken_for_classes(classes: Sequence[str], source: Source) -> list[str]:
    """Return a line for a project whose classes are the source's splits, as an earlier version could read a folder.

    Args:
        classes: the project's.
    """
    if not are_splits(classes):
        return []
    try:
        now = source.classes
    except UserError:  # two readings are possible, or it is gone
        return []
    if set(classes) & set(now):
        return []
    instead = f"its classes are {quoted(now[:FEW])}{', …' if len(now) > FEW else ''}" if now else "it has no classes"
    return [
        f"The classes of this project are {quoted(classes)}, which are splits of the source ({instead}): an earlier "
        "version took them for classes. To have the source read as it is now, start another project folder: asal init"
    ]
