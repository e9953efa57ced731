"""One row of a file of labels, whatever its form."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

Row: TypeAlias = tuple[int, Mapping[str, Any] | None, str]  # line, its values, or why they cannot be read
Assume: TypeAlias = Callable[[str], object]  # takes what was assumed of a file, in a sentence


@dataclass(frozen=True, slots=True)
class LabelRow:
    """One row of a file."""

    line: int
    image: int | None = None  # an id
    key: str | None = None
    label: str | None = None  # a class's name; None for "can't tell"
    by: str | None = None
    partial: bool = False  # the key may also be the end of the project's key, or the other way round
    synthetic: bool = False  # a synthetic image, which has no key
    below: str | None = None  # another name of the image, tried if the key fits nothing
    wrong: str = ""  # why it cannot be read
    note: str = ""  # what the report says of it besides
    unlabelled: bool = False  # the file lists the image, and gives it no label
    pool: str = ""  # the fingerprint of the pool that the id is of, where the file says it
    id_text: str = ""  # the id as the file writes it
    label_is: Literal["text", "number", "name"] = "text"  # a number of the file; a name that the file itself defines
