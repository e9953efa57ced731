"""The columns of a table of labels: which ones hold ids, keys and classes, and how the table is written."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from asal.errors import UserError, unknown

ID, STATUS, BY, MADE = "id", "status", "by", "made"
KEYS = (
    "key", "file", "filename", "file_name", "filepath", "file_path", "path", "image", "image.path", "image_path",
    "image_name", "imagename", "image_id", "img", "name", "id_code",
)  # the first one that is there  # fmt: skip
LABELS = ("label", "class", "class_name", "label_name", "category", "choice")


@dataclass(frozen=True)
class Columns:
    """The names of the columns, the usual ones if empty; of text, how it is written, by what it looks like if empty."""

    key: str = ""
    label: str = ""
    separator: str = ""
    encoding: str = ""

    def among(self, names: Collection[str], file: Path) -> tuple[str | None, str | None, str]:
        """Return the columns of ids, of keys and of labels. The id is a name if it is named as the column of keys.

        Raises:
            UserError: there is no such column, or it is there twice.
        """
        named = [_named(wanted, names, file) for wanted in (self.key, self.label)]
        key = named[0] or (None if self.key else _usual(KEYS, names, file))
        label = named[1] or _usual(LABELS, [name for name in names if name != key], file)
        image = None if self.key else _usual((ID,), names, file)
        if label is None or (image is None and key is None):
            missing, option = ("labels", "--label-column") if label is None else ("ids or keys", "--key-column")
            raise UserError(
                f"{file} has no column of {missing}; it has {', '.join(map(str, names)) or 'no columns'}",
                hint=f"name the column with {option}",
            )
        return image, key, label

    def known(self, names: Collection[str]) -> int:
        """Return how many of ids or keys, and labels these columns hold: 0, 1 or 2."""
        plain = {name.strip().casefold() for name in names}
        key = {self.key.casefold()} if self.key else {ID, *KEYS}
        label = {self.label.casefold()} if self.label else set(LABELS)
        return bool(plain & key) + bool(plain & label)


def _named(wanted: str, names: Collection[str], file: Path) -> str | None:
    """Return the column that is called so, or is but for blanks and capitals."""
    if not wanted:
        return None
    found = [name for name in names if name == wanted] or _alike(wanted, names)
    if not found:
        raise unknown(f"column of {file.name}", wanted, names)
    return _only(found, wanted, file)


def _usual(wanted: Collection[str], names: Collection[str], file: Path) -> str | None:
    for one in wanted:
        if found := _alike(one, names):
            return _only(found, one, file)
    return None


def _alike(wanted: str, names: Collection[str]) -> list[str]:
    return [name for name in names if name.strip().casefold() == wanted.strip().casefold()]


def _only(found: list[str], wanted: str, file: Path) -> str:
    if len(found) > 1:
        raise UserError(
            f"{file} has {len(found)} columns called '{wanted}'",
            rule="capitals and blanks around a name do not tell columns apart",
            hint="rename or remove one of them",
        )
    return found[0]
