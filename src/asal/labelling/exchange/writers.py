"""The forms that labels leave in: each writes a half-made folder, and what it needs is in an `Outgoing`."""

from __future__ import annotations

import csv
import json
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from asal.core import Images, as_ids
from asal.data.png import png
from asal.errors import UserError
from asal.labelling.exchange.filenames import folders, safe
from asal.labelling.exchange.records import COLUMNS, LABELLED
from asal.runtime.artifacts import SCRATCH

CONFLICTS = "conflicts.csv"  # beside any form
INDEX = "index.csv"  # of class folders: which file is which image
BLOCK = 256  # images held at once
KINDS = {"id": int, "number": int, "round": int, "seen": int, "seconds": float, "score": float, "made": bool}


@dataclass(frozen=True)
class Outgoing:
    """What a form is written from."""

    classes: Sequence[str]
    rows: Sequence[Mapping[str, Any]]  # by `COLUMNS`
    images: Callable[[Any], Images]  # ids → pixels (n, h, w, c)
    originals: Path | None = None  # the folder of files to be copied, by their keys

    @property
    def labelled(self) -> list[Mapping[str, Any]]:
        """The rows that have a label."""
        return [row for row in self.rows if row["status"] == LABELLED]


def to_csv(out: Outgoing, folder: Path) -> None:
    """Write labels.csv: UTF-8, a header, empty where a value is not known. Keys are data, written as they are."""
    sheet(folder / "labels.csv", COLUMNS, out.rows)


def sheet(path: Path, columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows as CSV, true and false in small letters."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns)  # lines end in CR LF, or a lone CR in a key would not be quoted
        writer.writeheader()
        for row in rows:
            writer.writerow({k: str(v).lower() if isinstance(v, bool) else v for k, v in row.items()})


def to_jsonl(out: Outgoing, folder: Path) -> None:
    """Write labels.jsonl: one object a line, null where a value is not known."""
    with (folder / "labels.jsonl").open("w", encoding="utf-8", newline="") as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in out.rows)


def to_parquet(out: Outgoing, folder: Path) -> None:
    """Write labels.parquet, with columns of fixed kinds whatever is in them."""
    _parquet(folder / "labels.parquet", out.rows)


def to_torch(out: Outgoing, folder: Path) -> None:
    """Write labels.parquet with the images in it, and load.py, which opens it as a torch or `datasets` data set."""
    _parquet(folder / "labels.parquet", out.labelled, out.images)
    (folder / "classes.json").write_text(json.dumps(list(out.classes), ensure_ascii=False) + "\n", encoding="utf-8")
    template = resources.files("asal.labelling.exchange").joinpath("templates/load.py.txt")
    (folder / "load.py").write_text(template.read_text(encoding="utf-8"), encoding="utf-8")


def to_datasets(out: Outgoing, folder: Path) -> None:
    """Write what `datasets.load_from_disk` opens: an Image, a ClassLabel, and the other columns."""
    datasets = _library()
    scratch = folder / SCRATCH / "datasets"
    scratch.mkdir(parents=True, exist_ok=True)
    _parquet(scratch / "labels.parquet", out.labelled, out.images)
    features = datasets.Features.from_arrow_schema(_schema(images=True))
    features |= {"image": datasets.Image()}
    shown = not datasets.utils.are_progress_bars_disabled()
    datasets.disable_progress_bars()
    try:
        whole = datasets.Dataset.from_parquet(
            str(scratch / "labels.parquet"), features=datasets.Features(features), cache_dir=str(scratch / "cache")
        )
        whole = whole.remove_columns(["label", "status"]).rename_column("number", "label")
        whole = whole.cast_column("label", datasets.ClassLabel(names=list(out.classes)))
        whole.save_to_disk(str(folder))
    finally:
        if shown:
            datasets.enable_progress_bars()
        shutil.rmtree(scratch, ignore_errors=True)


def _library() -> Any:
    try:
        import datasets
    except ImportError:
        raise UserError(
            "it is not installed",
            rule="a data set of the hub's kind is written by the `datasets` library",
            hint="pip install 'asal[hub]', or take another form",
        ) from None
    return datasets


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
            told = [dict(row) for row in block]
            if images is not None:
                for row, pixels in zip(told, images(as_ids([row["id"] for row in block])), strict=True):
                    row["image"] = {"bytes": png(pixels), "path": f"{row['id']}.png"}
            writer.write_table(pa.Table.from_pylist(told, schema))


def _blocks(rows: Sequence[Mapping[str, Any]]) -> Iterator[Sequence[Mapping[str, Any]]]:
    for start in range(0, len(rows), BLOCK):
        yield rows[start : start + BLOCK]


def to_folders(out: Outgoing, folder: Path) -> list[int]:
    """Write a folder for each class, its images in it, and index.csv, which says which file is which image.

    Returns:
        The images whose own files were wanted and are not there any more: of these, the pool's pixels are written.
    """
    places, listing, gone = folders(out.classes), [], []
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
                gone += [row["id"]] if out.originals and not row["made"] else []
            listing.append({"file": f"{path.parent.name}/{path.name}", "id": row["id"], "key": row["key"]})
    sheet(folder / INDEX, ("file", "id", "key"), listing)
    return gone


def _file_name(row: Mapping[str, Any], original: Path | None) -> str:
    """Return a name that no other image has, and that still tells what its owner calls it."""
    own = Path(row["key"] or "made-up")
    ending = own.suffix if original and re.fullmatch(r"\.\w+", own.suffix, re.ASCII) else ".png"
    return f"{row['id']:09d}-{safe(own.stem)}{ending}"


def _original(root: Path | None, row: Mapping[str, Any]) -> Path | None:
    """Return an image's own file, if it is wanted and there."""
    if root is None or row["key"] is None or ".." in Path(row["key"]).parts or Path(row["key"]).is_absolute():
        return None
    with suppress(OSError, ValueError):  # a name may be too long, or hold what no name may
        if (path := root / str(row["key"])).is_file():
            return path
    return None


FORMS: Mapping[str, Callable[[Outgoing, Path], list[int] | None]] = {
    "csv": to_csv,
    "jsonl": to_jsonl,
    "folders": to_folders,
    "datasets": to_datasets,
    "parquet": to_parquet,
    "torch": to_torch,
}
