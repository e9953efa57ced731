"""Reads the labels in files: every row with its line, and what cannot be read is reported, not dropped."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

from asal.data.sources.walking import printable
from asal.errors import UserError, unknown
from asal.labelling.exchange.columns import BY, ID, KEYS, LABELS, MADE, STATUS, Columns
from asal.labelling.exchange.image_folder import image_folder_rows
from asal.labelling.exchange.json_files import form_of_json, json_rows
from asal.labelling.exchange.parquet_rows import Named, parquet_columns, parquet_rows, with_names
from asal.labelling.exchange.records import CANT_TELL
from asal.labelling.exchange.rows import Assume, LabelRow, Row
from asal.labelling.exchange.tables import csv_rows
from asal.labelling.exchange.tool_forms import form_of_folder, tool_forms
from asal.labelling.exchange.writers import CONFLICTS, INDEX
from asal.runtime.artifacts import MANIFEST
from asal.runtime.optional import require

TEXT = dict.fromkeys((".csv", ".tsv", ".tab", ".txt"), "csv")
ENDINGS = {**TEXT, ".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet"}
SPREADSHEETS = (".xlsx", ".xlsm", ".xls", ".ods", ".numbers")
UNLABELLED = "_unlabeled"  # FiftyOne's folder of images without a label
OURS = ("labels.csv", "labels.jsonl", "labels.parquet")  # what an export's folder may hold


def form_of(path: Path) -> tuple[str, Path]:
    """Return the form of a file or folder, and where to read it: an export's folder holds the file itself.

    Raises:
        UserError: there is nothing, or its name does not show its form.
    """
    if path.is_dir():
        if (path / "dataset_info.json").is_file() or (path / "dataset_dict.json").is_file():
            return "datasets", path
        if tool := form_of_folder(path):
            return tool
        inside = next((path / name for name in OURS if (path / name).is_file()), None)
        return ("folders", path) if inside is None else (ENDINGS[inside.suffix], inside)
    if not path.is_file():
        raise UserError(f"no file or folder at {path}", hint="check the path")
    if path.suffix.lower() in SPREADSHEETS:
        raise UserError(f"{path} is a spreadsheet", hint="save it as CSV (UTF-8), and import that file")
    if path.suffix.lower() == ".json":
        return form_of_json(path), path
    if path.suffix.lower() not in ENDINGS:
        raise UserError(
            f"the name of {path} does not say what form of labels it has",
            rule=f"it would end in {', '.join(ENDINGS)} or .json",
            hint="name the form with --as",
        )
    return ENDINGS[path.suffix.lower()], path


def read_rows(path: Path, form: str, columns: Columns, assume: Assume = str) -> list[LabelRow]:
    """Return every row of a file or folder. Memory: that of the rows, without images.

    Args:
        assume: takes what was assumed to read it, in sentences, perhaps several times.

    Raises:
        UserError: the file is not of this form, or has no column of labels, or none of ids or keys.
    """
    if form not in FORMS_IN:
        raise unknown("form of labels", form, FORMS_IN)
    try:
        return list(FORMS_IN[form](path, columns, assume))
    except (OSError, ValueError) as error:  # of pyarrow too
        raise _not_of_form(path, form, str(error)) from None


def _table(reader: Callable[..., Iterator[Any]], path: Path, columns: Columns, assume: Assume) -> list[LabelRow]:
    """Return the rows of a table: a reader yields its columns' names, then its rows."""
    source = reader(path, columns, assume)
    places = columns.among(next(source), path)
    rows = [_label_row(row, places) for row in source]
    if any(row.id_text and row.image is None and not row.wrong for row in rows):  # a column of names
        assume(f"the column '{places[0]}' holds names of files, as not all of them are whole numbers")
        return [replace(row, key=row.key or row.id_text, image=None) if row.id_text else row for row in rows]
    return rows


def _not_of_form(path: Path, form: str, why: str) -> UserError:
    return UserError(f"{path} cannot be read as {form}: {why}", hint="correct the file, or name its form with --as")


def _label_row(row: Row, places: tuple[str | None, str | None, str]) -> LabelRow:
    line, values, wrong = row
    if values is None:
        return LabelRow(line, wrong=wrong)
    image_column, key_column, label_column = places
    key, label = _text(values.get(key_column or "")), _text(values.get(label_column))
    image, by = _text(values.get(image_column or "")), _text(values.get(BY))
    if image is None and key is None:
        return LabelRow(line, label=label, wrong="there is neither an id nor a key")
    number, synthetic = _whole(image), str(values.get(MADE)).lower() == "true"
    if label is None and _text(values.get(STATUS)) != CANT_TELL:
        return LabelRow(line, number, key, wrong="there is no label")
    kind = _kind(values.get(label_column))
    return LabelRow(line, number, key, label, by, partial=True, synthetic=synthetic, id_text=image or "", label_is=kind)


def _whole(text: str | None) -> int | None:
    match = re.fullmatch(r"(\d{1,18})(\.0+)?", (text or "").strip(), re.ASCII)
    return int(match[1]) if match else None


def _text(value: Any) -> str | None:
    if value is None or value == "":
        return None
    if isinstance(value, float) and value % 1 == 0:  # integers beside empty cells are stored as 1.0
        value = int(value)
    return str(value)


def _kind(value: Any) -> Literal["text", "number", "name"]:
    if isinstance(value, Named):
        return "name"
    return "number" if isinstance(value, int | float) and not isinstance(value, bool) else "text"


def _jsonl(path: Path, columns: Columns, assume: Assume) -> Iterator[Any]:
    """Yield the names of all columns, then the objects; the file is read twice, because objects may lack columns."""
    names: dict[str, None] = {}
    for _, values, _ in _objects(path):
        names.update(dict.fromkeys(values or ()))
    yield names
    yield from _objects(path)


def _json(path: Path, columns: Columns, assume: Assume) -> Iterator[Any]:
    """Yield the names of all columns, then the objects of a JSON file."""
    rows = list(json_rows(path))
    yield dict.fromkeys(name for _, values, _ in rows for name in values or ())
    yield from rows


def _objects(path: Path) -> Iterator[Row]:
    with path.open("rb") as file:
        for line, data in enumerate(file, 1):
            if not data.strip():
                continue
            try:
                values = json.loads(data.decode("utf-8-sig" if line == 1 else "utf-8"))
            except (ValueError, RecursionError) as error:
                yield line, None, f"it is not JSON: {error}"
                continue
            yield (line, values, "") if isinstance(values, dict) else (line, None, "it is not a JSON object")


def _parquet(path: Path, columns: Columns, assume: Assume) -> Iterator[Any]:
    names = parquet_columns(path)
    yield names
    yield from parquet_rows(path, _wanted(names, columns), assume)


def _wanted(names: Collection[str], columns: Columns) -> list[str]:
    """Return the columns to read: the others may hold images."""
    wanted = {ID, STATUS, BY, MADE, *KEYS, *LABELS, columns.key.casefold(), columns.label.casefold()}
    return [name for name in names if name.strip().casefold() in wanted]


def _datasets(path: Path, columns: Columns, assume: Assume) -> Iterator[Any]:
    """Yield the names, then the rows of all splits, a ClassLabel by its names; images are not read."""
    datasets = require("datasets", extra="hub", why="the `datasets` library reads data sets of the hub's kind")
    saved = datasets.load_from_disk(str(path))
    parts = list(saved.values()) if isinstance(saved, datasets.DatasetDict) else [saved]
    features = parts[0].features
    names = [name for name, feature in features.items() if isinstance(feature, datasets.Value | datasets.ClassLabel)]
    yield names
    wanted = _wanted(names, columns)
    class_names = {name: features[name].names for name in wanted if isinstance(features[name], datasets.ClassLabel)}
    line = 0
    for part in parts:
        for values in part.select_columns(wanted):
            line += 1
            try:
                yield line, with_names(values, class_names), ""
            except ValueError as error:
                yield line, None, str(error)


def _folders(root: Path, columns: Columns, assume: Assume, depth: int = 1) -> Iterator[LabelRow]:
    """Yield every file of a tree of class folders: by an export's index, or by its path, or by its name alone.

    Args:
        depth: how deep the class folders lie: 2 inside the folders of splits.
    """
    index, line = _index(root), 0
    for folder, names, files in os.walk(root):
        names[:] = sorted(name for name in names if not name.startswith("."))
        inside = Path(folder).relative_to(root)
        for name in sorted(file for file in files if not file.startswith(".")):
            line += 1
            path = printable((inside / name).as_posix())
            if len(inside.parts) >= depth:
                label = printable(inside.parts[depth - 1])
                image, key, by = index.get(name, (None, path, None))
                indexed = name in index
                below = None if indexed else printable(Path(*inside.parts[depth:], name).as_posix())
                row = LabelRow(line, image, key, label, by, partial=not indexed, synthetic=key is None, below=below)
                yield replace(row, label=None, unlabelled=True) if label == UNLABELLED else row
            elif name not in (INDEX, MANIFEST, CONFLICTS):
                yield LabelRow(line, key=path, wrong="it is not in the folder of a class")


def _index(root: Path) -> dict[str, tuple[int, str | None, str | None]]:
    """Return the image of each file of an export, and who labelled it, by the file's name alone: files may be moved."""
    if not (root / INDEX).is_file():
        return {}
    rows = csv_rows(root / INDEX, Columns(), str)
    if set(next(rows)) - {BY} != {"file", ID, "key"}:
        return {}  # no export wrote it
    entries = (values for _, values, _ in rows if values and re.fullmatch(r"\d{1,18}", values[ID], re.ASCII))
    return {
        values["file"].rpartition("/")[2]: (int(values[ID]), values["key"] or None, values.get(BY) or None)
        for values in entries
    }


TABLES: Mapping[str, Callable[[Path, Columns, Assume], Iterable[LabelRow]]] = {
    "csv": partial(_table, csv_rows),
    "jsonl": partial(_table, _jsonl),
    "parquet": partial(_table, _parquet),
    "json": partial(_table, _json),
    "datasets": partial(_table, _datasets),
}
FORMS_IN: Mapping[str, Callable[[Path, Columns, Assume], Iterable[LabelRow]]] = {
    **TABLES,
    "folders": _folders,
    **tool_forms(_index, partial(_folders, depth=2), partial(image_folder_rows, TABLES)),
}
