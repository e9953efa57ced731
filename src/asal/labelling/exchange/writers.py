"""The forms that labels are exported in: each writes an `ExportData` into an unfinished folder."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Any

from asal.core import Images, as_ids
from asal.data.png import png
from asal.labelling.exchange.export_data import (
    CONFLICTS,
    INDEX,
    ExportData,
    blocks,
    table_bytes,
    write_images,
    write_table,
)
from asal.labelling.exchange.filenames import folders
from asal.labelling.exchange.records import COLUMNS
from asal.labelling.exchange.tool_writers import to_coco, to_fiftyone, to_image_folder, to_label_studio, to_yolo
from asal.runtime.artifacts import SCRATCH
from asal.runtime.optional import require

__all__ = ["CONFLICTS", "FORMS", "INDEX", "ExportData", "table_bytes", "write_table"]

WHOLE = ("id", "number", "round", "seen", "copy_of")
KINDS: dict[str, type] = {**dict.fromkeys(WHOLE, int), "seconds": float, "score": float, "made": bool}


def to_csv(out: ExportData, folder: Path) -> None:
    """Write labels.csv: UTF-8, a header, empty cells for unknown values, keys unchanged."""
    write_table(folder / "labels.csv", COLUMNS, out.rows)


def to_jsonl(out: ExportData, folder: Path) -> None:
    """Write labels.jsonl: an object in each line, null for unknown values."""
    with (folder / "labels.jsonl").open("w", encoding="utf-8", newline="") as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in out.rows)


def to_parquet(out: ExportData, folder: Path) -> None:
    """Write labels.parquet, whose columns have the same types whatever they hold."""
    _parquet(folder / "labels.parquet", out.rows)


def to_torch(out: ExportData, folder: Path) -> None:
    """Write labels.parquet with the images in it, and load.py, which opens it as a torch or `datasets` data set."""
    _parquet(folder / "labels.parquet", out.labelled, out.images)
    (folder / "classes.json").write_text(json.dumps(list(out.classes), ensure_ascii=False) + "\n", encoding="utf-8")
    template = resources.files("asal.labelling.exchange").joinpath("templates/load.py.txt")
    (folder / "load.py").write_text(template.read_text(encoding="utf-8"), encoding="utf-8")


def to_datasets(out: ExportData, folder: Path) -> None:
    """Write what `datasets.load_from_disk` opens: an Image, a ClassLabel, and the other columns."""
    hint, why = "or take another form", "the `datasets` library writes data sets of the hub's kind"
    datasets = require("datasets", extra="hub", why=why, hint=hint)
    scratch = folder / SCRATCH / "datasets"
    scratch.mkdir(parents=True, exist_ok=True)
    _parquet(scratch / "labels.parquet", out.labelled, out.images)
    features = datasets.Features.from_arrow_schema(_schema(images=True))
    features |= {"image": datasets.Image()}
    shown = not datasets.utils.are_progress_bars_disabled()
    datasets.disable_progress_bars()
    try:
        dataset = datasets.Dataset.from_parquet(
            str(scratch / "labels.parquet"), features=datasets.Features(features), cache_dir=str(scratch / "cache")
        )
        dataset = dataset.remove_columns(["label", "status"]).rename_column("number", "label")
        dataset = dataset.cast_column("label", datasets.ClassLabel(names=list(out.classes)))
        dataset.save_to_disk(str(folder))
    finally:
        if shown:
            datasets.enable_progress_bars()
        shutil.rmtree(scratch, ignore_errors=True)


def to_folders(out: ExportData, folder: Path) -> list[int]:
    """Write a folder of images for each class, and index.csv with the image of each file.

    Returns:
        The images whose original files are missing: of these, the pool's pixels are written.
    """
    places = folders(out.classes)
    for name in places.values():
        (folder / name).mkdir(exist_ok=True)
    return write_images(out, folder, lambda row: places[row["label"]], ("id", "key"))[1]


def _schema(images: bool = False) -> Any:
    import pyarrow as pa

    kinds = {int: pa.int64(), float: pa.float64(), bool: pa.bool_(), str: pa.string()}
    extra = [pa.field("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())]))] if images else []
    return pa.schema([*extra, *(pa.field(name, kinds[KINDS.get(name, str)]) for name in COLUMNS)])


def _parquet(path: Path, rows: Sequence[Mapping[str, Any]], images: Callable[[Any], Images] | None = None) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = _schema(images is not None)
    with pq.ParquetWriter(path, schema) as writer:
        for block in blocks(rows):
            table = [dict(row) for row in block]
            if images is not None:
                for row, pixels in zip(table, images(as_ids([row["id"] for row in block])), strict=True):
                    row["image"] = {"bytes": png(pixels), "path": f"{row['id']}.png"}
            writer.write_table(pa.Table.from_pylist(table, schema))


FORMS: Mapping[str, Callable[[ExportData, Path], list[int] | None]] = {
    "csv": to_csv,
    "jsonl": to_jsonl,
    "folders": to_folders,
    "datasets": to_datasets,
    "parquet": to_parquet,
    "yolo": to_yolo,
    "fiftyone": to_fiftyone,
    "imagefolder": to_image_folder,
    "imagefolder-jsonl": partial(to_image_folder, form="jsonl"),
    "imagefolder-parquet": partial(to_image_folder, form="parquet"),
    "coco": to_coco,
    "label-studio": to_label_studio,
    "torch": to_torch,
}
WITH_IMAGES = ("folders", "yolo", "fiftyone", "imagefolder", "imagefolder-jsonl", "imagefolder-parquet", "coco",
               "label-studio")  # which `--originals` goes with  # fmt: skip
WITH_CANT_TELL = ("csv", "jsonl", "parquet", "label-studio")  # the other forms have no place for it
