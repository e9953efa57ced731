"""The forms of other tools that labels are read from: how each is recognised, and what reads it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from asal.errors import UserError
from asal.labelling.exchange.coco import coco_rows
from asal.labelling.exchange.fiftyone import LABELS, fiftyone_rows
from asal.labelling.exchange.image_folder import metadata_files
from asal.labelling.exchange.json_files import form_of_json
from asal.labelling.exchange.label_studio_json import label_studio_rows
from asal.labelling.exchange.rows import Assume, LabelRow
from asal.labelling.exchange.writers import INDEX
from asal.runtime import artifacts

if TYPE_CHECKING:
    from asal.labelling.exchange.columns import Columns

Reader: TypeAlias = Callable[[Path, "Columns", Assume], Iterable[LabelRow]]
# Of an export's folder: file → id, key, who labelled it.
Index: TypeAlias = Callable[[Path], Mapping[str, tuple[int, str | None, str | None]]]

# The files that hold the labels of an export in a form, inside its folder.
INSIDE = {"label-studio": "tasks.json", "coco": "annotations.json"}
# What an export is read as, where that is not the name of its form.
READ_AS = {"torch": "parquet", "imagefolder-jsonl": "imagefolder", "imagefolder-parquet": "imagefolder"}
SPLITS = frozenset({"train", "training", "test", "testing", "val", "valid", "validation"})


def form_of_folder(root: Path) -> tuple[str, Path] | None:
    """Return the form of a folder of another tool, or of an export, and where to read it; None for class folders.

    Raises:
        UserError: its labels are boxes, not classes.
    """
    if artifacts.is_complete(root) and (form := artifacts.manifest(root).get("export")):
        return _of_export(root, READ_AS.get(form, form))
    if (root / LABELS).is_file() and form_of_json(root / LABELS) == "fiftyone":
        return "fiftyone", root
    if metadata_files(root):
        return "imagefolder", root
    inside = [path for path in sorted(root.glob("*.json")) if not path.name.startswith(".")]
    tops = {path.name.casefold(): path for path in root.iterdir() if path.is_dir() and not path.name.startswith(".")}
    if len(inside) == 1 and not tops.keys() - {"images", "data"}:
        return form_of_json(inside[0]), inside[0]
    if {"images", "labels"} <= tops.keys() and next(tops["labels"].rglob("*.txt"), None):
        raise UserError(
            f"{root} holds boxes (YOLO's images/ and labels/), not classes of images",
            rule="of YOLO, asal reads class folders: train/cat/1.jpg",
            hint="export for classification",
        )
    return ("yolo", root) if _are_splits(tops) else None


def _of_export(root: Path, form: str) -> tuple[str, Path] | None:
    if form in ("csv", "jsonl", "parquet"):
        return form, root / f"labels.{form}"
    return form, root / INSIDE.get(form, "")


def _are_splits(tops: Mapping[str, Path]) -> bool:
    return tops.keys() <= SPLITS and bool({"train", "training"} & tops.keys()) and all(map(_has_folders, tops.values()))


def _has_folders(folder: Path) -> bool:
    inside = [path for path in folder.iterdir() if not path.name.startswith(".")]
    return any(path.is_dir() for path in inside) or not inside


def with_index(reader: Reader, index: Index, path: Path, columns: Columns, assume: Assume) -> Iterator[LabelRow]:
    """Yield a reader's rows; where an export wrote the folder, with the images of its own files."""
    root = path if path.is_dir() else path.parent
    known = index(root) if (root / INDEX).is_file() else {}
    for row in reader(path, columns, assume):
        found = known.get((row.key or "").rpartition("/")[2])
        if found is None:
            yield row
            continue
        image, key, by = found
        own = replace(row, image=image, id_text=str(image), key=key, below=None, synthetic=key is None)
        yield replace(own, by=own.by or by)


def tool_forms(index: Index, folders: Reader, image_folder: Reader) -> dict[str, Reader]:
    """Return what reads each form of other tools.

    Args:
        index: reads the list of an export's files.
        folders: reads class folders that lie in splits.
        image_folder: reads metadata files.
    """
    return {
        "label-studio": label_studio_rows,
        "coco": partial(with_index, coco_rows, index),
        "fiftyone": partial(with_index, fiftyone_rows, index),
        "imagefolder": partial(with_index, image_folder, index),
        "yolo": folders,
    }
