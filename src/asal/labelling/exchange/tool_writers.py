"""Writes labels in the forms of other tools: YOLO, FiftyOne, ImageFolder, COCO, Label Studio.

Each takes an `ExportData` and an unfinished folder, and returns the images whose original files are missing.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from asal.core import as_ids
from asal.data.png import png
from asal.labelling.exchange.export_data import ExportData, blocks, original, write_images, write_table
from asal.labelling.exchange.fiftyone import DATA, LABELS
from asal.labelling.exchange.filenames import folders
from asal.labelling.exchange.image_folder import FILE_NAME
from asal.labelling.exchange.label_studio_json import CONTROL, IMAGE, KEY, POOL
from asal.labelling.exchange.records import LABELLED
from asal.labelling.label_studio.client import label_config

IMAGES = "images"
DESCRIBED = (FILE_NAME, "label", "id", "key", "by", "at")  # columns of ImageFolder's metadata
HELD_OUT = 5  # one image in so many is for validation


def to_yolo(out: ExportData, folder: Path) -> list[int]:
    """Write `train/CLASS/` and `val/CLASS/`: one image in five is for validation, and stays so in later exports.

    Which one is decided by a hash of its number; each class with two images has one at least.
    """
    places, held_out = folders(out.classes), _held_out(out.labelled)
    for split in ("train", "val"):
        for name in places.values():
            (folder / split / name).mkdir(parents=True)
    return write_images(
        out, folder, lambda row: f"{'val' if row['id'] in held_out else 'train'}/{places[row['label']]}"
    )[1]


def _held_out(rows: Sequence[Mapping[str, Any]]) -> set[int]:
    by_class: defaultdict[str, list[int]] = defaultdict(list)
    for row in rows:
        by_class[row["label"]].append(row["id"])
    chosen: set[int] = set()
    for images in by_class.values():
        some = {image for image in images if _hash(image) % HELD_OUT == 0}
        if len(images) > 1:
            some = some or {min(images, key=_hash)}
            some -= {max(some, key=_hash)} if len(some) == len(images) else set()
        chosen |= some if len(images) > 1 else set()
    return chosen


def _hash(image: int) -> int:
    return int.from_bytes(hashlib.blake2b(b"%d" % image, digest_size=8).digest(), "big")


def to_fiftyone(out: ExportData, folder: Path) -> list[int]:
    """Write FiftyOne's image classification: `data/` with the images, and `labels.json`."""
    written, missing = write_images(out, folder, lambda row: DATA)
    (folder / DATA).mkdir(exist_ok=True)
    labels = {path.stem: row["number"] for row, path in written}
    _write_json(folder / LABELS, {"classes": list(out.classes), "labels": labels})
    return missing


def to_image_folder(out: ExportData, folder: Path, form: str = "csv") -> list[int]:
    """Write what `datasets.load_dataset("imagefolder", data_dir=…)` opens: images, and a metadata file.

    Args:
        form: csv, jsonl or parquet; in Parquet the label is a ClassLabel.
    """
    written, missing = write_images(out, folder, lambda row: IMAGES)
    table = [{**row, FILE_NAME: f"{IMAGES}/{path.name}"} for row, path in written]
    rows = [{name: row[name] for name in DESCRIBED} for row in table]
    path = folder / f"metadata.{form}"
    if form == "csv":
        write_table(path, DESCRIBED, rows)
    elif form == "jsonl":
        path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    else:
        _write_parquet(path, rows, out.classes)
    return missing


def _write_parquet(path: Path, rows: Sequence[Mapping[str, Any]], classes: Sequence[str]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = {name: place for place, name in enumerate(classes)}
    kinds = {"label": pa.int64(), "id": pa.int64()}
    text = {"dtype": "string", "_type": "Value"}
    features: dict[str, Any] = {name: text for name in DESCRIBED}
    features |= {"label": {"names": list(classes), "_type": "ClassLabel"}, "id": {"dtype": "int64", "_type": "Value"}}
    metadata: dict[bytes | str, bytes | str] = {"huggingface": json.dumps({"info": {"features": features}})}
    schema = pa.schema([(name, kinds.get(name, pa.string())) for name in DESCRIBED], metadata)
    pq.write_table(pa.Table.from_pylist([{**row, "label": number[row["label"]]} for row in rows], schema), path)


def to_coco(out: ExportData, folder: Path) -> list[int]:
    """Write `images/` and COCO's `annotations.json`: for each image one annotation, whose box is the image.

    The number of an image there is its id in the pool; categories are numbered from 1 in the order of the classes.
    """
    from PIL import Image

    written, missing = write_images(out, folder, lambda row: IMAGES)
    images, annotations = [], []
    for number, (row, path) in enumerate(written, 1):
        with Image.open(path) as image:  # its header alone is read
            width, height = image.size
        images.append({"id": row["id"], "file_name": path.name, "width": width, "height": height})
        annotations.append({
            "id": number, "image_id": row["id"], "category_id": row["number"] + 1, "bbox": [0, 0, width, height],
            "area": width * height, "segmentation": [], "iscrowd": 0,
        })  # fmt: skip
    categories = [{"id": number, "name": name, "supercategory": ""} for number, name in enumerate(out.classes, 1)]
    data = {"images": images, "annotations": annotations, "categories": categories}
    _write_json(folder / "annotations.json", {"info": {"description": "labels exported by asal"}, **data})
    return missing


def to_label_studio(out: ExportData, folder: Path) -> list[int]:
    """Write Label Studio's tasks.json, with the answers as annotations, and label_config.xml for the project there.

    The images stand in the tasks as the pool's pixels; where original files are wanted, as paths of Label Studio's
    local storage, relative to the folder of the source. "Can't tell" is a cancelled annotation.
    """
    missing: list[int] = []
    with (folder / "tasks.json").open("w", encoding="utf-8", newline="") as file:
        for number, task in enumerate(_tasks(out, missing)):
            file.write(("[\n" if number == 0 else ",\n") + json.dumps(task, ensure_ascii=False))
        file.write("\n]\n" if out.rows else "[]\n")
    (folder / "label_config.xml").write_text(label_config(out.classes) + "\n", encoding="utf-8")
    return missing


def _tasks(out: ExportData, missing: list[int]) -> Iterator[dict[str, Any]]:
    for block in blocks(out.rows):
        for row in block:
            if original(out.originals, row):
                address = f"/data/local-files/?d={quote(row['key'])}"
            else:
                address = f"data:image/png;base64,{_base64(out.images, row['id'])}"
                missing += [row["id"]] if out.originals and not row["made"] else []
            yield _task(out, row, address)


def _task(out: ExportData, row: Mapping[str, Any], address: str) -> dict[str, Any]:
    chosen = {"from_name": CONTROL, "to_name": "image", "type": "choices", "value": {"choices": [row["label"]]}}
    is_labelled = row["status"] == LABELLED
    answer = {"result": [chosen] if is_labelled else [], "was_cancelled": not is_labelled, "lead_time": row["seconds"]}
    facts = {name: value for name, value in ((KEY, row["key"]), ("by", row["by"])) if value is not None}
    ids = {IMAGE: row["id"], POOL: out.pool}
    return {"data": {"image": address, **facts, **ids}, "meta": ids, "annotations": [answer]}


def _base64(images: Callable[[Any], Any], image: int) -> str:
    return base64.b64encode(png(images(as_ids([image]))[0])).decode()


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False) + "\n", encoding="utf-8")
