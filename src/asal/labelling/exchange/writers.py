"""The forms that labels are exported in: each writes an `ExportData` into an unfinished folder."""

from __future__ import annotations

import io
import json
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from asal.core import Images, as_ids
from asal.data.png import png
from asal.labelling.exchange.filenames import folders, safe
from asal.labelling.exchange.records import COLUMNS, LABELLED
from asal.runtime.artifacts import SCRATCH
from asal.runtime.csv_rows import write_csv
from asal.runtime.optional import require

CONFLICTS = "conflicts.csv"  # beside every form
INDEX = "index.csv"  # of class folders: the image of each file
BLOCK = 256  # images in memory at once
KINDS = {"id": int, "number": int, "round": int, "seen": int, "seconds": float, "score": float, "made": bool}


@dataclass(frozen=True)
class ExportData:
    """What is exported."""

    classes: Sequence[str]
    rows: Sequence[Mapping[str, Any]]  # by `COLUMNS`
    images: Callable[[Any], Images]  # ids → pixels (n, h, w, c)
    originals: Path | None = None  # the folder of the files to copy, by their keys

    @property
    def labelled(self) -> list[Mapping[str, Any]]:
        """The rows that have a label."""
        return [row for row in self.rows if row["status"] == LABELLED]


def to_csv(out: ExportData, folder: Path) -> None:
    """Write labels.csv: UTF-8, a header, empty cells for unknown values, keys unchanged."""
    write_table(folder / "labels.csv", COLUMNS, out.rows)


def write_table(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Write rows as CSV."""
    path.write_bytes(table_bytes(columns, rows))


def table_bytes(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> bytes:
    """Return rows as CSV, true and false in small letters, with lines that end in CR LF to quote a lone CR in a key."""
    text = io.StringIO(newline="")
    plain = ({k: str(v).lower() if isinstance(v, bool) else v for k, v in row.items()} for row in rows)
    write_csv(text, columns, plain, line_end="\r\n")
    return text.getvalue().encode()


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
        for block in _blocks(rows):
            table = [dict(row) for row in block]
            if images is not None:
                for row, pixels in zip(table, images(as_ids([row["id"] for row in block])), strict=True):
                    row["image"] = {"bytes": png(pixels), "path": f"{row['id']}.png"}
            writer.write_table(pa.Table.from_pylist(table, schema))


def _blocks(rows: Sequence[Mapping[str, Any]]) -> Iterator[Sequence[Mapping[str, Any]]]:
    for start in range(0, len(rows), BLOCK):
        yield rows[start : start + BLOCK]


def to_folders(out: ExportData, folder: Path) -> list[int]:
    """Write a folder of images for each class, and index.csv with the image of each file.

    Returns:
        The images whose original files are missing: of these, the pool's pixels are written.
    """
    places, listing, missing = folders(out.classes), [], []
    for name in places.values():
        (folder / name).mkdir(exist_ok=True)
    for block in _blocks(out.labelled):
        pixels: Any = () if out.originals else out.images(as_ids([row["id"] for row in block]))
        for place, row in enumerate(block):
            original = _original(out.originals, row)
            path = folder / places[row["label"]] / _file_name(row, original)
            if original:
                shutil.copyfile(original, path)
            else:
                path.write_bytes(png(pixels[place] if len(pixels) else out.images(as_ids([row["id"]]))[0]))
                missing += [row["id"]] if out.originals and not row["made"] else []
            listing.append({"file": f"{path.parent.name}/{path.name}", "id": row["id"], "key": row["key"]})
    write_table(folder / INDEX, ("file", "id", "key"), listing)
    return missing


def _file_name(row: Mapping[str, Any], original: Path | None) -> str:
    """Return a name that no other image has, and that contains the name in the pool."""
    name = Path(row["key"] or "synthetic")
    ending = name.suffix if original and re.fullmatch(r"\.\w+", name.suffix, re.ASCII) else ".png"
    return f"{row['id']:09d}-{safe(name.stem)}{ending}"


def _original(root: Path | None, row: Mapping[str, Any]) -> Path | None:
    """Return the original file of an image, if it is to be copied and exists."""
    if root is None or row["key"] is None or ".." in Path(row["key"]).parts or Path(row["key"]).is_absolute():
        return None
    with suppress(OSError, ValueError):  # a key may be too long for a name, or hold characters that none may
        if (path := root / str(row["key"])).is_file():
            return path
    return None


FORMS: Mapping[str, Callable[[ExportData, Path], list[int] | None]] = {
    "csv": to_csv,
    "jsonl": to_jsonl,
    "folders": to_folders,
    "datasets": to_datasets,
    "parquet": to_parquet,
    "torch": to_torch,
}
