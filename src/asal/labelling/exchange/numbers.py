"""Labels that are numbers: names of classes, or their positions? What could be both is refused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal, TypeAlias

from asal.errors import UserError
from asal.labelling.exchange.rows import LabelRow

Numbers: TypeAlias = Literal["", "names", "positions"]
MEANINGS = ("names", "positions")


def with_meaning(
    rows: Sequence[LabelRow], classes: Sequence[str], numbers: Numbers = ""
) -> tuple[Sequence[LabelRow], str]:
    """Return the rows with class names for numbers, and what was assumed, in a sentence or empty.

    A number is the name of a class: with the classes "5" and "7", 7 is "7", and 1 is no class. It is a position
    (0 is the first class) only where that was said. Refused is what may well be a position: all labels are numbers
    that would fit, they give other classes, and some fit no name, or the file stores them as numbers.

    >>> rows = [LabelRow(1, label="2", label_is="number"), LabelRow(2, label="5", label_is="number")]
    >>> with_meaning(rows, ["1", "2", "3", "4", "5"])[1]
    'the labels are numbers, read as names: 2 is the class "2"'
    >>> [row.label for row in with_meaning([LabelRow(1, label="1")], ["cat", "dog"], "positions")[0]]
    ['dog']

    Raises:
        UserError: the numbers may be names or positions.
    """
    labels = {row.label for row in rows if row.label is not None and not row.wrong and row.label_is != "name"}
    if not labels or not all(_is_number(label) for label in labels):
        return rows, ""
    if numbers == "positions":
        return [_by_position(row, classes) for row in rows], "the labels are numbers, read as positions: 0 is " + (
            f'the class "{classes[0]}"' if classes else "the first class"
        )
    stored = any(row.label_is == "number" for row in rows)
    if not numbers and _is_ambiguous(labels, classes, stored):
        example = min(labels & set(classes), key=int)
        raise UserError(
            f'the labels are numbers that may be names or positions: {example} is the class "{example}", or '
            f'"{classes[int(example)]}" if the first class is 0',
            rule=f"the classes are {', '.join(classes)}, and the file has {', '.join(sorted(labels, key=int))}",
            hint="say which: --numbers-are names, or --numbers-are positions",
        )
    known = sorted(labels & set(classes), key=int)
    return rows, f'the labels are numbers, read as names: {known[0]} is the class "{known[0]}"' if known and (
        stored or numbers
    ) else ""


def _is_ambiguous(labels: set[str], classes: Sequence[str], stored: bool) -> bool:
    named = labels & set(classes)
    if not named or not all(0 <= int(label) < len(classes) for label in labels):
        return False
    if all(classes[int(label)] == label for label in labels):
        return False  # both readings say the same
    return stored or named != labels


def _is_number(label: str) -> bool:
    return label.isascii() and label.isdigit() and str(int(label[:18])) == label


def _by_position(row: LabelRow, classes: Sequence[str]) -> LabelRow:
    if row.label is None or row.wrong or row.label_is == "name":
        return row
    if int(row.label) >= len(classes):
        return replace(row, label=None, wrong=f"there is no class {row.label}: the positions end at {len(classes) - 1}")
    return replace(row, label=classes[int(row.label)], label_is="name")
