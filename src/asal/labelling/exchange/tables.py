"""Tables of text as people have them: any usual separator and encoding, said where it is not the usual one."""

from __future__ import annotations

import codecs
import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from asal.errors import UserError
from asal.labelling.exchange.columns import Columns
from asal.labelling.exchange.rows import Assume

SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "vertical bars"}
BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
WINDOWS = "cp1252"  # assumed of what is not Unicode
LOOKED_AT = 2**16  # bytes
ZIP = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")  # how files of Excel begin


@dataclass(frozen=True)
class Written:
    """How a table is written."""

    encoding: str
    separator: str
    skipped: int = 0  # lines before the header


def csv_rows(path: Path, columns: Columns, assume: Assume) -> Iterator[Any]:
    """Yield the columns' names, then the rows with their first lines; a row in another encoding is unreadable.

    Raises:
        UserError: it is no text, there is no such encoding, or the separator is not one character.
    """
    written = how_written(path, columns, assume)
    with _opened(path, written.encoding) as file:
        for _ in range(written.skipped):
            file.readline()
        reader = csv.reader(file, delimiter=written.separator)
        names = _header(reader)
        yield names
        while True:
            line = reader.line_num + 1 + written.skipped
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                yield line, None, str(error)
                continue
            if cells:  # otherwise an empty line
                yield _row(line, names, cells, written.encoding)


def _header(reader: Any) -> list[str]:
    try:
        names: list[str] = next(reader, [])
    except csv.Error as error:
        raise ValueError(str(error)) from None
    while names and not names[-1].strip():
        names.pop()
    return [name.lstrip("\ufeff") for name in names]


def _row(line: int, names: list[str], cells: list[str], encoding: str) -> tuple[int, dict[str, str] | None, str]:
    if len(cells) < len(names) or any(cell.strip() for cell in cells[len(names) :]):
        return line, None, f"{len(cells)} cells for {len(names)} columns"
    if any("\udc80" <= letter <= "\udcff" for cell in cells for letter in cell):
        return line, None, f"it is not {encoding.upper().removesuffix('-SIG')}"
    return line, dict(zip(names, cells, strict=False)), ""


def _opened(path: Path, encoding: str) -> TextIO:
    errors = "surrogateescape" if not encoding.startswith(("utf-16", "utf-32")) else "strict"
    return path.open(encoding=encoding, errors=errors, newline="")


def how_written(path: Path, columns: Columns, assume: Assume) -> Written:
    """Return how a table is written: as `columns` say, or as its first lines look.

    Raises:
        UserError: it is no text, there is no such encoding, or the separator is not one character.
    """
    with path.open("rb") as data:
        start = data.read(LOOKED_AT)
    if start.startswith(ZIP):
        raise UserError(
            f"{path} is a spreadsheet, not a table of text", hint="save it as CSV (UTF-8), and import that file"
        )
    encoding = _named_encoding(columns.encoding) if columns.encoding else _encoding(path, start)
    if encoding not in ("utf-8", "utf-8-sig") and not columns.encoding:
        assume(f"it is written in {encoding.upper()}; --encoding names another")
    with _opened(path, encoding) as file:
        first = file.readline()
        given = _sep_line(first)
        header = file.readline() if given else first
    separator = _named_separator(columns.separator) or given or _separator(header, columns)
    if separator != "," and not columns.separator:
        assume(f"its cells are separated by {SEPARATORS.get(separator, repr(separator))}")
    return Written(encoding, separator, skipped=bool(given))


def _sep_line(line: str) -> str:
    """Return the separator that a first line such as `sep=;` names for Excel."""
    text = line.lstrip("\ufeff").rstrip("\r\n").strip('"')
    return text[4:] if text.lower().startswith("sep=") and len(text) == 5 else ""


def _separator(header: str, columns: Columns) -> str:
    """Return the separator with which the header has the most columns that are known, a comma in doubt."""
    counts = {one: _cells(header, one) for one in SEPARATORS}
    return max(SEPARATORS, key=lambda one: (columns.known(counts[one]), one == "," or len(counts[one]) > 1))


def _cells(header: str, separator: str) -> list[str]:
    try:
        return next(csv.reader([header.lstrip("\ufeff")], delimiter=separator), [])
    except csv.Error:
        return []


def _named_separator(text: str) -> str:
    names = {"\\t": "\t", "tab": "\t", "comma": ",", "semicolon": ";", "space": " "}
    separator = names.get(text.lower(), text)
    if len(separator) > 1 or separator in ("\n", "\r", '"'):
        raise UserError(f"--separator '{text}' is not one character", hint="for example --separator ';', or tab")
    return separator


def _named_encoding(name: str) -> str:
    try:
        return codecs.lookup(name).name
    except LookupError:
        raise UserError(f"there is no encoding '{name}'", hint="for example --encoding utf-16, or cp1252") from None


def _encoding(path: Path, start: bytes) -> str:
    """Return the encoding of a file: by its mark, its zeros, or because all of it can be read so."""
    for mark, name in BOMS:
        if start.startswith(mark):
            return name
    if sixteen := _sixteen(start[:64]):
        return sixteen
    with path.open("rb") as data:
        lines = list(_not_ascii(data))
    if not lines or any(_is_utf8(line) for line in lines):
        return "utf-8"  # a line that is not is a damaged row
    return WINDOWS


def _sixteen(start: bytes) -> str:
    """Return the form of UTF-16 that a header of plain letters is written in, where every second byte is zero."""
    high, low = start[::2].count(0), start[1::2].count(0)
    if max(high, low) < len(start) / 3 or min(high, low) > len(start) / 12:
        return ""
    return "utf-16-be" if high > low else "utf-16-le"


def _not_ascii(data: Any) -> Iterator[bytes]:
    for line in data:
        if not line.isascii():
            yield line


def _is_utf8(line: bytes) -> bool:
    try:
        line.decode()
    except UnicodeError:
        return False
    return True
