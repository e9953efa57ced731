"""Writes small data sets in the very layouts in which the benchmarks are published: files, and the hub's folders."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from asal.data.sources.celeba import ATTRIBUTES, Celeba
from asal.data.sources.cifar10 import Cifar10
from asal.data.sources.lsun import Lsun
from asal.data.sources.mnist import Mnist
from asal.data.sources.svhn import Svhn
from asal.testing.source import Make

Pixels = npt.NDArray[np.uint8]  # (n, h, w) or (n, h, w, c)
Numbers = npt.NDArray[np.int64]  # (n,)

CIFAR_NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def pixels(labels: Numbers, *shape: int, seed: int = 0) -> Pixels:
    """Return noise (n, *shape) around a brightness that says the label, so that classifiers can learn it."""
    rng = np.random.default_rng(seed)
    noise = rng.integers(0, 30, (len(labels), *shape))
    return (noise + 22 * labels.reshape(-1, *[1] * len(shape))).astype(np.uint8)


def digits(n: int) -> Numbers:
    """Return n labels, every class in turn."""
    return np.arange(n) % 10


def encoded(image: Pixels, form: str = "JPEG") -> bytes:
    """Return an image file's bytes."""
    with io.BytesIO() as file:
        Image.fromarray(image).save(file, form)
        return file.getvalue()


# Files


def write_idx(path: Path, array: npt.NDArray[Any]) -> None:
    """Write unsigned bytes as an idx file, gzipped if its name says so."""
    data = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.astype(np.uint8).tobytes()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)


def write_mnist(folder: Path, train: tuple[Pixels, Numbers], test: tuple[Pixels, Numbers], end: str = ".gz") -> Path:
    """Write the four files."""
    for stem, (images, labels) in (("train", train), ("t10k", test)):
        write_idx(folder / f"{stem}-images-idx3-ubyte{end}", images)
        write_idx(folder / f"{stem}-labels-idx1-ubyte{end}", labels)
    return folder


def write_cifar(folder: Path, train: tuple[Pixels, Numbers], test: tuple[Pixels, Numbers]) -> Path:
    """Write five training batches and one of test."""
    folder.mkdir(parents=True, exist_ok=True)
    images, labels = (np.array_split(array, 5) for array in train)
    for name, x, y in [(f"data_batch_{i + 1}", images[i], labels[i]) for i in range(5)] + [("test_batch", *test)]:
        records = np.concatenate([y[:, None].astype(np.uint8), x.transpose(0, 3, 1, 2).reshape(len(x), -1)], axis=1)
        (folder / f"{name}.bin").write_bytes(records.tobytes())
    (folder / "batches.meta.txt").write_text("\n".join([*CIFAR_NAMES, "", ""]))
    return folder


def write_svhn(folder: Path, parts: Mapping[str, tuple[Pixels, Numbers]]) -> Path:
    """Write `train_32x32.mat` and its like: X (32, 32, 3, n), y (n, 1) with 10 for the digit 0."""
    from scipy.io import savemat

    folder.mkdir(parents=True, exist_ok=True)
    for part, (images, labels) in parts.items():
        y = np.where(labels == 0, 10, labels).astype(np.uint8)[:, None]
        variables = {"X": images.transpose(1, 2, 3, 0), "y": y}
        savemat(folder / f"{part}_32x32.mat", variables, do_compression=True)
    return folder


def marks(n: int, attribute: str, labels: Numbers) -> Numbers:
    """Return the forty attributes (n, 40) as ±1, one of them as wanted."""
    table = np.random.default_rng(40).choice([-1, 1], (n, len(ATTRIBUTES)))
    table[:, ATTRIBUTES.index(attribute)] = np.where(labels, 1, -1)
    return table


def write_celeba(folder: Path, table: Numbers, partition: Sequence[int], images: Pixels, end: str = ".txt") -> Path:
    """Write `img_align_celeba/` and the two lists, as published (.txt) or as Kaggle has them (.csv)."""
    faces = folder / "img_align_celeba"
    faces.mkdir(parents=True, exist_ok=True)
    names = [f"{number + 1:06}.jpg" for number in range(len(table))]
    for name, image in zip(names, images, strict=True):
        (faces / name).write_bytes(encoded(image))
    between, cell = (",", "{}") if end == ".csv" else (" ", "{:2}")
    head = ["image_id," + ",".join(ATTRIBUTES)] if end == ".csv" else [str(len(names)), " ".join(ATTRIBUTES) + " "]
    rows = [between.join([name, *map(cell.format, row)]) for name, row in zip(names, table.tolist(), strict=True)]
    (folder / f"list_attr_celeba{end}").write_text("\n".join([*head, *rows, ""]))
    head = ["image_id,partition"] if end == ".csv" else []
    rows = [f"{name}{between}{number}" for name, number in zip(names, partition, strict=True)]
    (folder / f"list_eval_partition{end}").write_text("\n".join([*head, *rows, ""]))
    return folder


def write_lsun(folder: Path, name: str, values: Sequence[bytes]) -> list[str]:
    """Write the database `name`_lmdb, keyed by the values' SHA-1, and return the keys in their order."""
    import lmdb

    entries = {hashlib.sha1(b"%d" % number + value).hexdigest(): value for number, value in enumerate(values)}
    with lmdb.open(str(folder / f"{name}_lmdb"), map_size=2**26) as database, database.begin(write=True) as writing:
        for key, value in entries.items():
            writing.put(key.encode(), value)
    return sorted(entries)


# The hub's folders


def _write_parquet(
    path: Path, images: Sequence[bytes], columns: Mapping[str, Any], features: Mapping[str, Any]
) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    cell = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    table = {"image": pa.array([{"bytes": image, "path": None} for image in images], cell), **columns}
    metadata = {"huggingface": json.dumps({"info": {"features": {"image": {"_type": "Image"}, **features}}})}
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(table).replace_schema_metadata(metadata), path)


def _write_card(folder: Path, configs: Sequence[str], splits: Sequence[str]) -> None:
    """Write the head of a data set's card, which says where the files of each configuration are."""
    lines = ["---", "configs:"]
    for config in configs:
        lines += [f"- config_name: {config}", "  data_files:"]
        for split in splits:
            lines += [f"  - split: {split}", f"    path: {config}/{split}-*"]
    (folder / "README.md").write_text("\n".join([*lines, "---", ""]))


def write_hub_svhn(folder: Path, parts: Mapping[str, tuple[Pixels, Numbers]]) -> Path:
    """Write `ufldl-stanford/svhn` with both its configurations, of which only one has labels per digit."""
    label = {"label": {"names": list("0123456789"), "_type": "ClassLabel"}}
    for part, (images, labels) in parts.items():
        files = [encoded(image, "PNG") for image in images]
        _write_parquet(folder / f"cropped_digits/{part}-00000-of-00001.parquet", files, {"label": labels}, label)
        _write_parquet(folder / f"full_numbers/{part}-00000-of-00001.parquet", files[:1], {}, {})
    _write_card(folder, ["full_numbers", "cropped_digits"], list(parts))
    return folder


def write_hub_celeba(folder: Path, table: Numbers, partition: Sequence[int], images: Pixels) -> Path:
    """Write `flwrlabs/celeba`: the splits train, valid and test, and a column of booleans for each attribute."""
    config = "img_align+identity+attr"
    features = {name: {"dtype": "bool", "_type": "Value"} for name in ATTRIBUTES}
    for number, split in enumerate(("train", "valid", "test")):
        rows = np.flatnonzero(np.array(partition) == number)
        columns = {"celeb_id": rows} | {name: table[rows, i] == 1 for i, name in enumerate(ATTRIBUTES)}
        files = [encoded(image) for image in images[rows]]
        schema = {"celeb_id": {"dtype": "int64", "_type": "Value"}, **features}
        _write_parquet(folder / config / f"{split}-00000-of-00001.parquet", files, columns, schema)
    _write_card(folder, [config], ["train", "valid", "test"])
    return folder


# A small one of each, for the checks that all sources share

PARTS = {
    name: (pixels(digits(n), 32, 32, 3, seed=n), digits(n)) for name, n in (("train", 12), ("extra", 15), ("test", 11))
}
GRAY = {name: (pixels(digits(n), 28, 28, seed=n), digits(n)) for name, n in (("train", 13), ("test", 11))}
BANGS = np.array([0, 1, 1, 0, 1, 0, 0, 1, 0, 1])
PARTITION = (0, 0, 0, 1, 2, 0, 1, 2, 0, 2)
FACES = pixels(4 * BANGS, 218, 178, 3)
PHOTOS = pixels(digits(10), 40, 50, 3)


def make_mnist(folder: Path) -> Mnist:
    """Return 13 + 11 digits."""
    return Mnist(str(write_mnist(folder, GRAY["train"], GRAY["test"])))


def make_cifar(folder: Path) -> Cifar10:
    """Return 12 + 11 images."""
    return Cifar10(str(write_cifar(folder / "cifar-10-batches-bin", PARTS["train"], PARTS["test"])))


def make_svhn(folder: Path) -> Svhn:
    """Return 12 + 15 + 11 house numbers."""
    return Svhn(str(write_svhn(folder, PARTS)))


def make_celeba(folder: Path, end: str = ".txt") -> Celeba:
    """Return ten faces, some with bangs."""
    return Celeba("Bangs", str(write_celeba(folder, marks(10, "Bangs", BANGS), PARTITION, FACES, end)))


def make_lsun(folder: Path) -> Lsun:
    """Return six bedrooms and four towers, and two and two to validate on."""
    write_lsun(folder, "bedroom_train", [encoded(photo) for photo in PHOTOS[:6]])
    write_lsun(folder, "tower_train", [encoded(photo, "WEBP") for photo in PHOTOS[6:]])
    for name in ("bedroom_val", "tower_val"):
        write_lsun(folder, name, [encoded(photo) for photo in PHOTOS[:2]])
    return Lsun(str(folder), ("bedroom", "tower"))


MAKERS: Mapping[str, Make] = {
    "mnist": make_mnist, "cifar10": make_cifar, "svhn": make_svhn, "celeba": make_celeba, "lsun": make_lsun,
}  # fmt: skip
