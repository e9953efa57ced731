"""Rows as CSV: one way to write them, for reports, exports and lists of what could not be read."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TextIO, TypeAlias

Row: TypeAlias = Mapping[str, Any] | Sequence[Any]  # by column, or in the order of the columns


def write_csv(file: TextIO, columns: Sequence[str], rows: Iterable[Row], *, line_end: str = "\n") -> None:
    r"""Write a header and the rows into a text file that was opened with `newline=""`.

    What a row lacks stays empty. Take `line_end="\r\n"` for values that may hold a lone CR: the standard library
    quotes only the characters of the line end.

    >>> import sys
    >>> write_csv(sys.stdout, ["name", "size"], [{"name": "a, b"}, ("c", 2)])
    name,size
    "a, b",
    c,2
    """
    writer = csv.writer(file, lineterminator=line_end)
    writer.writerow(columns)
    for row in rows:
        writer.writerow([row.get(column, "") for column in columns] if isinstance(row, Mapping) else row)


def csv_bytes(columns: Sequence[str], rows: Iterable[Row]) -> bytes:
    """Return a header and the rows as the bytes of a CSV file, in UTF-8."""
    text = io.StringIO(newline="")
    write_csv(text, columns, rows)
    return text.getvalue().encode()
