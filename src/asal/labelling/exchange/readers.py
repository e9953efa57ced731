"""Labels as files bring them: every row with its place in the file, and what cannot be read of it told, not dropped."""

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
    label: str | None = None  # a class's name; none for "can't tell"
    by: str | None = None
    loose: bool = False  # the key may also be the end of the project's, or the other way round
    made: bool = False  # it was made up, and has no key
    below: str | None = None  # a class folder's file: its path without the class, where the whole one fits nothing
    wrong: str = ""  # why it cannot be read


Row: TypeAlias = tuple[int, Mapping[str, Any] | None, str]  # place, what is in it, or why there is nothing


@dataclass(frozen=True)
class Columns:
    """Which columns hold what; the usual names where nothing is said."""

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
            what = "--label-column" if label is None else "--key-column"
            raise UserError(
                f"{file} has {', '.join(map(str, names)) or 'no columns'}",
                rule="a file of labels has a column of labels, and one of ids or keys",
                hint=f"name it by {what}",
            )
        return image, keys, label


def form_of(path: Path) -> tuple[str, Path]:
    """Return the form of a file or folder, and where to read it: an export's folder holds the file itself.

    Raises:
        UserError: there is nothing, or nothing that tells its form.
    """
    if path.is_dir():
        if (path / "dataset_info.json").is_file() or (path / "dataset_dict.json").is_file():
            return "datasets", path
        inside = next((path / name for name in OURS if (path / name).is_file()), None)
        return ("folders", path) if inside is None else (ENDINGS[inside.suffix], inside)
    if not path.is_file():
        raise UserError(f"there is no {path}", rule="labels are read from a file or a folder", hint="check the path")
    if path.suffix.lower() not in ENDINGS:
        raise UserError(str(path), rule=f"a file of labels ends in {', '.join(ENDINGS)}", hint="say what it is by --as")
    return ENDINGS[path.suffix.lower()], path


def given(path: Path, form: str, columns: Columns) -> list[LabelRow]:
    """Return every row of a file or folder. Memory: what is in the rows, but no image.

    Raises:
        UserError: the file is not of this form, or has no column of labels, or of ids and keys.
    """
    if form == "folders":
        return list(_folders(path))
    if form not in READERS:
        raise unknown("form of labels", form, [*READERS, "folders"])
    try:
        rows = READERS[form](path, columns)
        names = next(rows)
        places = columns.among(names, path)
        return [_given(row, places) for row in rows]
    except (OSError, ValueError) as error:  # of pyarrow too
        raise _not_of_form(path, form, str(error)) from None


def _not_of_form(path: Path, form: str, why: str) -> UserError:
    return UserError(
        f"{path} as {form}: {why}", rule="labels are read from a file of the form that is said", hint="mend the file"
    )


def _given(row: Row, places: tuple[str | None, str | None, str]) -> LabelRow:
    line, values, wrong = row
    if values is None:
        return LabelRow(line, wrong=wrong)
    image_column, key_column, label_column = places
    key, label = _text(values.get(key_column or "")), _text(values.get(label_column))
    image, by = _text(values.get(image_column or "")), _text(values.get(BY))
    if image is not None and not re.fullmatch(r"\d{1,18}", image, re.ASCII):
        return LabelRow(line, key=key, label=label, wrong=f"{image!r} is no id")
    if image is None and key is None:
        return LabelRow(line, label=label, wrong="there is neither an id nor a key")
    number, made = None if image is None else int(image), str(values.get(MADE)).lower() == "true"
    if label is None and _text(values.get(STATUS)) != CANT_TELL:
        return LabelRow(line, number, key, wrong="there is no label")
    return LabelRow(line, number, key, label, by, loose=True, made=made)


def _text(value: Any) -> str | None:
    return None if value is None or value == "" else str(value)


def _csv(path: Path, columns: Columns) -> Iterator[Any]:
    """Yield the columns' names, then the rows, by the lines they begin at; what is no UTF-8 makes a row unreadable."""
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
    """Yield the names of all columns, then the objects; the file is read twice, because any object may lack some."""
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
                yield line, None, f"it is no JSON: {error}"
                continue
            yield (line, values, "") if isinstance(values, dict) else (line, None, "it is no object")


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
    """Return the columns worth reading: images may lie in the others."""
    return [name for name in names if name in {ID, STATUS, BY, MADE, *KEYS, *LABELS, columns.key, columns.label}]


def _datasets(path: Path, columns: Columns) -> Iterator[Any]:
    """Yield the names, then the rows of all splits, a ClassLabel's by its names; images are left unread."""
    try:
        import datasets
    except ImportError:
        raise UserError(
            "it is not installed",
            rule="a data set of the hub's kind is read by the `datasets` library",
            hint="pip install 'asal[hub]'",
        ) from None
    whole = datasets.load_from_disk(str(path))
    parts = list(whole.values()) if isinstance(whole, datasets.DatasetDict) else [whole]
    features = parts[0].features
    names = [name for name, feature in features.items() if isinstance(feature, datasets.Value | datasets.ClassLabel)]
    yield names
    counted = {name: features[name].names for name in names if isinstance(features[name], datasets.ClassLabel)}
    line = 0
    for part in parts:
        for values in part.select_columns(_wanted(names, columns)):
            line += 1
            named = {name: counted[name][values[name]] for name in counted if values.get(name) is not None}
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
                own = name not in index
                below = printable((inside / name).relative_to(inside.parts[0]).as_posix()) if own else None
                yield LabelRow(line, image, key, label, loose=own, made=key is None, below=below)
            elif name not in (INDEX, MANIFEST, CONFLICTS):
                yield LabelRow(line, key=path, wrong="it lies in no class's folder")


def _index(root: Path) -> dict[str, tuple[int, str | None]]:
    """Return which image each file of an export is, by its name alone: it may have been moved to another class."""
    if not (root / INDEX).is_file():
        return {}
    rows = _csv(root / INDEX, Columns())
    if set(next(rows)) != {"file", ID, "key"}:
        return {}  # somebody else's
    whole = (values for _, values, _ in rows if values and re.fullmatch(r"\d{1,18}", values[ID], re.ASCII))
    return {values["file"].rpartition("/")[2]: (int(values[ID]), values["key"] or None) for values in whole}
