"""Reads the labels in files: every row with its line, and what cannot be read is reported, not dropped."""

from __future__ import annotations

import csv
import json
import os
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from asal.data.sources.folder import printable
from asal.errors import UserError, unknown
from asal.labelling.exchange.records import CANT_TELL
from asal.labelling.exchange.writers import CONFLICTS, INDEX
from asal.runtime.artifacts import MANIFEST
from asal.runtime.optional import require

ID, STATUS, BY, MADE = "id", "status", "by", "made"
KEYS = ("key", "file", "filename", "file_name", "path", "image")  # columns, the first one that is there
LABELS = ("label", "class")
BLOCK = 4096  # rows of a table held at once
ENDINGS = {".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet"}
OURS = ("labels.csv", "labels.jsonl", "labels.parquet")  # what an export's folder may hold


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
    below: str | None = None  # of a class folder's file: its path without the class, if the full path fits nothing
    wrong: str = ""  # why it cannot be read


Row: TypeAlias = tuple[int, Mapping[str, Any] | None, str]  # line, its values, or why they cannot be read


@dataclass(frozen=True)
class Columns:
    """The names of the columns; the usual ones if empty."""

    key: str = ""
    label: str = ""

    def among(self, names: Collection[str], file: Path) -> tuple[str | None, str | None, str]:
        """Return the columns of ids, of keys and of labels.

        Raises:
            UserError: there is no such column.
        """
        for wanted in (self.key, self.label):
            if wanted and wanted not in names:
                raise unknown(f"column of {file.name}", wanted, names)
        key = self.key if self.key != ID else ""
        keys = key or (None if self.key else next((name for name in KEYS if name in names), None))
        label = self.label or next((name for name in LABELS if name in names), None)
        image = ID if ID in names and (not key or key == ID) else None
        if label is None or (image is None and keys is None):
            missing, option = ("labels", "--label-column") if label is None else ("ids or keys", "--key-column")
            raise UserError(
                f"{file} has no column of {missing}; it has {', '.join(map(str, names)) or 'no columns'}",
                hint=f"name the column with {option}",
            )
        return image, keys, label


def form_of(path: Path) -> tuple[str, Path]:
    """Return the form of a file or folder, and where to read it: an export's folder holds the file itself.

    Raises:
        UserError: there is nothing, or its name does not show its form.
    """
    if path.is_dir():
        if (path / "dataset_info.json").is_file() or (path / "dataset_dict.json").is_file():
            return "datasets", path
        inside = next((path / name for name in OURS if (path / name).is_file()), None)
        return ("folders", path) if inside is None else (ENDINGS[inside.suffix], inside)
    if not path.is_file():
        raise UserError(f"no file or folder at {path}", hint="check the path")
    if path.suffix.lower() not in ENDINGS:
        raise UserError(
            f"the name of {path} does not say what form of labels it has",
            rule=f"it would end in {', '.join(ENDINGS)}",
            hint="name the form with --as",
        )
    return ENDINGS[path.suffix.lower()], path


def read_rows(path: Path, form: str, columns: Columns) -> list[LabelRow]:
    """Return every row of a file or folder. Memory: that of the rows, without images.

    Raises:
        UserError: the file is not of this form, or has no column of labels, or none of ids or keys.
    """
    if form == "folders":
        return list(_folders(path))
    if form not in READERS:
        raise unknown("form of labels", form, [*READERS, "folders"])
    try:
        rows = READERS[form](path, columns)
        names = next(rows)
        places = columns.among(names, path)
        return [_label_row(row, places) for row in rows]
    except (OSError, ValueError) as error:  # of pyarrow too
        raise _not_of_form(path, form, str(error)) from None


def _not_of_form(path: Path, form: str, why: str) -> UserError:
    return UserError(f"{path} cannot be read as {form}: {why}", hint="correct the file, or name its form with --as")


def _label_row(row: Row, places: tuple[str | None, str | None, str]) -> LabelRow:
    line, values, wrong = row
    if values is None:
        return LabelRow(line, wrong=wrong)
    image_column, key_column, label_column = places
    key, label = _text(values.get(key_column or "")), _text(values.get(label_column))
    image, by = _text(values.get(image_column or "")), _text(values.get(BY))
    if image is not None and not re.fullmatch(r"\d{1,18}", image, re.ASCII):
        return LabelRow(line, key=key, label=label, wrong=f"{image!r} is not an id")
    if image is None and key is None:
        return LabelRow(line, label=label, wrong="there is neither an id nor a key")
    number, synthetic = None if image is None else int(image), str(values.get(MADE)).lower() == "true"
    if label is None and _text(values.get(STATUS)) != CANT_TELL:
        return LabelRow(line, number, key, wrong="there is no label")
    return LabelRow(line, number, key, label, by, partial=True, synthetic=synthetic)


def _text(value: Any) -> str | None:
    return None if value is None or value == "" else str(value)


def _csv(path: Path, columns: Columns) -> Iterator[Any]:
    """Yield the columns' names, then the rows with their first lines; a row that is not UTF-8 is unreadable."""
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        reader = csv.reader(file)
        names = next(reader, [])
        yield names
        while True:
            line = reader.line_num + 1
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                yield line, None, str(error)
                continue
            if not cells:
                continue  # an empty line
            if len(cells) != len(names):
                yield line, None, f"{len(cells)} cells for {len(names)} columns"
            elif any("\udc80" <= letter <= "\udcff" for cell in cells for letter in cell):
                yield line, None, "it is not UTF-8"
            else:
                yield line, dict(zip(names, cells, strict=True)), ""


def _jsonl(path: Path, columns: Columns) -> Iterator[Any]:
    """Yield the names of all columns, then the objects; the file is read twice, because objects may lack columns."""
    names: dict[str, None] = {}
    for _, values, _ in _objects(path):
        names.update(dict.fromkeys(values or ()))
    yield names
    yield from _objects(path)


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


def _parquet(path: Path, columns: Columns) -> Iterator[Any]:
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        names = [name for name in file.schema_arrow.names if _is_plain(file.schema_arrow.field(name).type)]
        yield names
        line = 0
        for batch in file.iter_batches(BLOCK, columns=_wanted(names, columns)):
            for values in batch.to_pylist():
                line += 1
                yield line, values, ""


def _is_plain(kind: Any) -> bool:
    import pyarrow as pa

    return not (pa.types.is_nested(kind) or pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _wanted(names: Collection[str], columns: Columns) -> list[str]:
    """Return the columns to read: the others may hold images."""
    return [name for name in names if name in {ID, STATUS, BY, MADE, *KEYS, *LABELS, columns.key, columns.label}]


def _datasets(path: Path, columns: Columns) -> Iterator[Any]:
    """Yield the names, then the rows of all splits, a ClassLabel by its names; images are not read."""
    datasets = require("datasets", extra="hub", why="the `datasets` library reads data sets of the hub's kind")
    saved = datasets.load_from_disk(str(path))
    parts = list(saved.values()) if isinstance(saved, datasets.DatasetDict) else [saved]
    features = parts[0].features
    names = [name for name, feature in features.items() if isinstance(feature, datasets.Value | datasets.ClassLabel)]
    yield names
    class_names = {name: features[name].names for name in names if isinstance(features[name], datasets.ClassLabel)}
    line = 0
    for part in parts:
        for values in part.select_columns(_wanted(names, columns)):
            line += 1
            named = {name: class_names[name][values[name]] for name in class_names if values.get(name) is not None}
            yield line, {**values, **named}, ""


READERS: Mapping[str, Callable[[Path, Columns], Iterator[Any]]] = {
    "csv": _csv,
    "jsonl": _jsonl,
    "parquet": _parquet,
    "datasets": _datasets,
}


def _folders(root: Path) -> Iterator[LabelRow]:
    """Yield every file of a tree of class folders: by an export's index, or by its path, or by its name alone."""
    index, line = _index(root), 0
    for folder, names, files in os.walk(root):
        names[:] = sorted(name for name in names if not name.startswith("."))
        inside = Path(folder).relative_to(root)
        for name in sorted(file for file in files if not file.startswith(".")):
            line += 1
            path = printable((inside / name).as_posix())
            if inside.parts:
                label = printable(inside.parts[0])
                image, key = index.get(name, (None, path))
                indexed = name in index
                below = printable((inside / name).relative_to(inside.parts[0]).as_posix()) if not indexed else None
                yield LabelRow(line, image, key, label, partial=not indexed, synthetic=key is None, below=below)
            elif name not in (INDEX, MANIFEST, CONFLICTS):
                yield LabelRow(line, key=path, wrong="it is not in the folder of a class")


def _index(root: Path) -> dict[str, tuple[int, str | None]]:
    """Return the image of each file of an export, by its name alone, as files may be moved to another class."""
    if not (root / INDEX).is_file():
        return {}
    rows = _csv(root / INDEX, Columns())
    if set(next(rows)) != {"file", ID, "key"}:
        return {}  # no export wrote it
    entries = (values for _, values, _ in rows if values and re.fullmatch(r"\d{1,18}", values[ID], re.ASCII))
    return {values["file"].rpartition("/")[2]: (int(values[ID]), values["key"] or None) for values in entries}
