"""Exact copies in exports and imports: the image that was asked about answers for its copies."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container, Sequence
from dataclasses import replace

import numpy as np

from asal.core import as_ids
from asal.data.duplicates import Copies
from asal.labelling.exchange.records import Asking, Conflict, LabelEntry
from asal.session.events import NOTHING

DIFFER = "exact copies have different labels"


def with_copies(entries: Sequence[LabelEntry], copies: Copies, waiting: Container[int]) -> list[LabelEntry]:
    """Return the entries, by ids, and one more for each copy of a labelled image that has no label of its own.

    Where labelled images of one group differ, none of them answers for the others: see `conflicts_of_copies`.
    """
    labelled = {entry.image: entry for entry in entries if entry.label is not None and not entry.synthetic}
    known = {entry.image for entry in entries}
    differing = {conflict.image for conflict in conflicts_of_copies(entries, copies)}
    more = [
        replace(labelled[image], image=copy, seconds=None, asking=Asking(), votes=NOTHING, copy_of=image)
        for copy, image in copies.answered_by(as_ids(list(labelled))).items()
        if copy not in known and copy not in waiting and image not in differing
    ]
    return sorted([*entries, *more], key=lambda entry: entry.image)


def conflicts_of_copies(entries: Sequence[LabelEntry], copies: Copies) -> list[Conflict]:
    """Return the labelled images whose exact copies have another label, with the labels of all of them."""
    labelled = [entry for entry in entries if entry.label is not None and not entry.synthetic]
    groups: defaultdict[int, list[LabelEntry]] = defaultdict(list)
    firsts = copies.first_of(as_ids([entry.image for entry in labelled]))
    for entry, first in zip(labelled, firsts.tolist(), strict=True):
        groups[first].append(entry)
    return [
        Conflict(entry.image, entry.label, DIFFER, {f"image {each.image}": each.label for each in group})
        for group in groups.values()
        if len({each.label for each in group}) > 1
        for entry in group
    ]


class LabelsOfGroups:
    """The labels that groups of exact copies have, those of a record and of the rows of a file so far."""

    def __init__(self, copies: Copies, answers: dict[int, int]) -> None:
        """Hold the labels of a record's answers: id → label."""
        self._copies = copies
        self._known: dict[int, tuple[int, int | None]] = {}  # the group's first image → a labelled one, its label
        if len(copies):
            firsts = copies.first_of(as_ids(list(answers))).tolist()
            for first, (image, label) in zip(firsts, answers.items(), strict=True):
                self._known.setdefault(first, (image, label))

    def of(self, image: int) -> tuple[int, int | None] | None:
        """Return an exact copy of an image that has a label, and the label; None where there is none."""
        found = self._known.get(self._first(image)) if self._known else None
        return None if found is None or found[0] == image else found

    def add(self, image: int, label: int | None) -> None:
        """Take the label of one more image."""
        if len(self._copies) and label is not None:
            self._known.setdefault(self._first(image), (image, label))

    def _first(self, image: int) -> int:
        return int(self._copies.first_of(np.array([image]))[0])
