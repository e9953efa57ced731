"""The Hugging Face library's ImageFolder: images, and a metadata.csv, .jsonl or .parquet beside them.

Each metadata file describes the images below its own folder: `file_name` is relative to it, and the label is a column.
See https://huggingface.co/docs/datasets/image_dataset#imagefolder.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from asal.errors import UserError
from asal.labelling.exchange.rows import Assume, LabelRow

if TYPE_CHECKING:
    from asal.labelling.exchange.columns import Columns

FILE_NAME = "file_name"
METADATA = {"metadata.csv": "csv", "metadata.jsonl": "jsonl", "metadata.parquet": "parquet"}

Table: TypeAlias = Callable[[Path, "Columns", Assume], Iterable[LabelRow]]


def metadata_files(root: Path) -> list[Path]:
    """Return the metadata files of a folder and of those below it."""
    found = []
    for folder, names, files in os.walk(root):
        names[:] = sorted(name for name in names if not name.startswith("."))
        found += [Path(folder, name) for name in sorted(METADATA.keys() & set(files))]
    return found


def image_folder_rows(tables: Mapping[str, Table], root: Path, columns: Columns, assume: Assume) -> Iterator[LabelRow]:
    """Yield the rows of all metadata files of a folder, or of one such file.

    Args:
        tables: what reads each form of table.

    Raises:
        UserError: there is no metadata file, or one without such columns.
    """
    files = metadata_files(root) if root.is_dir() else [root]
    if not files:
        raise UserError(
            f"{root} holds no metadata file",
            rule=f"an ImageFolder has one of {', '.join(METADATA)} beside its images",
            hint="import a tree of class folders with --as folders",
        )
    place, line = replace(columns, key=columns.key or FILE_NAME), 0
    for file in files:
        folder = file.parent.relative_to(root) if root.is_dir() else Path()
        for row in tables[METADATA.get(file.name, file.suffix[1:])](file, place, assume):
            line += 1
            key = row.key if row.key is None else (folder / row.key).as_posix()
            yield replace(row, line=row.line if len(files) == 1 else line, key=key, below=row.key)
