"""What is exported, and what several forms write alike: tables, and files of images with a list of them."""

from __future__ import annotations

import io
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from asal.core import Images, as_ids
from asal.data.png import png
from asal.labelling.exchange.filenames import safe
from asal.labelling.exchange.records import LABELLED
from asal.runtime.csv_rows import write_csv

CONFLICTS = "conflicts.csv"  # beside every form
INDEX = "index.csv"  # of forms that hold images: the image of each file
BLOCK = 256  # images in memory at once


@dataclass(frozen=True)
class ExportData:
    """What is exported."""

    classes: Sequence[str]
    rows: Sequence[Mapping[str, Any]]  # by `COLUMNS`
    images: Callable[[Any], Images]  # ids → pixels (n, h, w, c)
    originals: Path | None = None  # the folder of the files to copy, by their keys
    pool: str = ""  # the fingerprint of the pool that the ids are of

    @property
    def labelled(self) -> list[Mapping[str, Any]]:
        """The rows that have a label."""
        return [row for row in self.rows if row["status"] == LABELLED]


def write_table(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Write rows as CSV."""
    path.write_bytes(table_bytes(columns, rows))


def table_bytes(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> bytes:
    """Return rows as CSV, true and false in small letters, with lines that end in CR LF to quote a lone CR in a key."""
    text = io.StringIO(newline="")
    plain = ({k: str(v).lower() if isinstance(v, bool) else v for k, v in row.items()} for row in rows)
    write_csv(text, columns, plain, line_end="\r\n")
    return text.getvalue().encode()


def blocks(rows: Sequence[Mapping[str, Any]]) -> Iterator[Sequence[Mapping[str, Any]]]:
    """Yield the rows, so many at a time as images may be in memory."""
    for start in range(0, len(rows), BLOCK):
        yield rows[start : start + BLOCK]


def write_images(
    out: ExportData,
    folder: Path,
    place: Callable[[Mapping[str, Any]], str],
    columns: Sequence[str] = ("id", "key", "by"),
) -> tuple[list[tuple[Mapping[str, Any], Path]], list[int]]:
    """Write a file for each image that has a label, and index.csv with the image of each file.

    Args:
        place: the folder of a row's image, relative to `folder`.
        columns: what index.csv says of each file.

    Returns:
        The rows with their files; the images whose original files are missing: of these, the pool's pixels are written.
    """
    written, missing = [], []
    for block in blocks(out.labelled):
        pixels: Any = () if out.originals else out.images(as_ids([row["id"] for row in block]))
        for number, row in enumerate(block):
            file = original(out.originals, row)
            path = folder / place(row) / _file_name(row, file)
            path.parent.mkdir(parents=True, exist_ok=True)
            if file:
                shutil.copyfile(file, path)
            else:
                path.write_bytes(png(pixels[number] if len(pixels) else out.images(as_ids([row["id"]]))[0]))
                missing += [row["id"]] if out.originals and not row["made"] else []
            written.append((row, path))
    listing = (
        {"file": path.relative_to(folder).as_posix(), **{name: row[name] for name in columns}} for row, path in written
    )
    write_table(folder / INDEX, ("file", *columns), listing)
    return written, missing


def _file_name(row: Mapping[str, Any], original: Path | None) -> str:
    """Return a name that no other image has, and that contains the name in the pool."""
    name = Path(row["key"] or "synthetic")
    ending = name.suffix if original and re.fullmatch(r"\.\w+", name.suffix, re.ASCII) else ".png"
    return f"{row['id']:09d}-{safe(name.stem)}{ending}"


def original(root: Path | None, row: Mapping[str, Any]) -> Path | None:
    """Return the original file of an image, if it is to be copied and exists."""
    if root is None or row["key"] is None or ".." in Path(row["key"]).parts or Path(row["key"]).is_absolute():
        return None
    with suppress(OSError, ValueError):  # a key may be too long for a name, or hold characters that none may
        if (path := root / str(row["key"])).is_file():
            return path
    return None
