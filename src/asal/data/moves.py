"""What `asal add` found out about files that the pool has under another name: moved, renamed, copied or changed.

    additions/aliases.csv      the names under which images of the project were found since: key, part, id, class
              corrections.csv  stored labels that follow a file which was moved to another class folder: part, id, label
              moved.csv        those that wait for `asal add --take-corrections`, or `asal import --replace`
              unreadable.csv   all files that could not be read and still cannot: key, reason

A pool is a snapshot: its folder never changes. What is known since lies here.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from asal.data.concat_pool import ADDITIONS
from asal.runtime import artifacts
from asal.runtime.csv_rows import csv_bytes

ALIASES, CORRECTIONS, MOVED, UNREADABLE = "aliases.csv", "corrections.csv", "moved.csv", "unreadable.csv"


@dataclass(frozen=True)
class Alias:
    """A file whose image the project has under another key."""

    key: str
    part: str  # "pool" (with its additions), "validation" or "test"
    image: int
    label: str  # the class in which the source has it; "" where it has none


@dataclass(frozen=True)
class Correction:
    """An image whose files are all in another class than the label says."""

    part: str
    image: int
    key: str  # the image's in the pool
    now_at: str  # the file's present name
    was: str
    label: str


def read_aliases(root: Path) -> list[Alias]:
    """Return every name under which an image of the project was found, oldest first."""
    return [Alias(key, part, int(image), label) for key, part, image, label in _rows(root / ADDITIONS / ALIASES)]


def write_aliases(root: Path, aliases: Iterable[Alias]) -> None:
    """Write all of them."""
    rows = [(alias.key, alias.part, alias.image, alias.label) for alias in aliases]
    _write(root, ALIASES, ("key", "part", "id", "class"), rows)


def aliases(root: Path) -> dict[str, int]:
    """Return the pool's image of each further name: of files that were moved, renamed or copied since the ingest."""
    return {alias.key: alias.image for alias in read_aliases(root) if alias.part == "pool"}


def corrections(root: Path, part: str) -> dict[int, str]:
    """Return the classes of the images whose stored label was corrected, by id: "pool", "validation" or "test"."""
    return {int(image): label for where, image, label in _rows(root / ADDITIONS / CORRECTIONS) if where == part}


def take_corrections(root: Path, taken: Sequence[Correction]) -> None:
    """Write corrections of stored labels behind the earlier ones, of which they replace those of the same image."""
    rows = {(part, image): label for part, image, label in _rows(root / ADDITIONS / CORRECTIONS)}
    rows |= {(each.part, str(each.image)): each.label for each in taken}
    _write(root, CORRECTIONS, ("part", "id", "label"), [(*place, label) for place, label in rows.items()])


def write_moved(root: Path, waiting: Sequence[Correction]) -> Path:
    """Write the corrections that nobody has taken yet, ready for `asal import --replace`; return the file."""
    rows = [(each.key, each.label, each.was, each.now_at) for each in waiting if each.part == "pool"]
    return _write(root, MOVED, ("key", "label", "was", "now_at"), rows)


def unreadable_now(root: Path) -> dict[str, str] | None:
    """Return the files that cannot be read, with reasons, as the last `asal add` found them; None before there was one.

    Before, the lists of the folders say so.
    """
    path = root / ADDITIONS / UNREADABLE
    return {key: reason for key, reason in _rows(path)} if path.exists() else None


def write_unreadable(root: Path, reasons: Mapping[str, str]) -> None:
    """Write them."""
    _write(root, UNREADABLE, ("key", "reason"), list(reasons.items()))


def listed_unreadable(folder: Path) -> dict[str, str]:
    """Return what the list of a pool folder says could not be read when it was made."""
    return {key: reason for key, reason in _rows(folder / UNREADABLE)}


def _rows(path: Path) -> list[list[str]]:
    if not path.exists():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))[1:]


def _write(root: Path, name: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> Path:
    path = root / ADDITIONS / name
    content = csv_bytes(columns, rows)
    if path.exists() or rows:
        path.parent.mkdir(exist_ok=True)
        if not path.exists() or path.read_bytes() != content:
            artifacts.write(path, content)
    return path
