"""Every source against the shipped checks, and what is particular to each."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from support import official_layouts as official

from asal.data.sources import Source, SourceImage, sources
from asal.data.sources.arrays import Arrays
from asal.data.sources.augmented import Augmented
from asal.data.sources.digits import Digits
from asal.data.sources.folder import Folder
from asal.data.sources.hub import Hub
from asal.errors import UserError
from asal.testing.source import CHECKS, Make


def png(value: int, size: tuple[int, int] = (6, 5)) -> bytes:
    """A gray picture, all of one value."""
    with io.BytesIO() as file:
        Image.new("L", size, value).save(file, "PNG")
        return file.getvalue()


def write_hub(folder: Path, *, image: str = "image", label: str | None = "label", names: bool = True) -> Path:
    """Seven training and three test images as the hub stores them: parquet with bytes, and features in the metadata."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    features: dict[str, Any] = {image: {"_type": "Image"}}
    if label:
        value = {"dtype": "int64", "_type": "Value"}
        features[label] = {"names": ["cat", "dog", "eel"], "_type": "ClassLabel"} if names else value
    cell = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    folder.mkdir(exist_ok=True)
    for split, rows in (("train", 7), ("test", 3)):
        columns: dict[str, Any] = {image: pa.array([{"bytes": png(row), "path": None} for row in range(rows)], cell)}
        if label:
            columns[label] = [row % 3 if names else 5 + 2 * (row % 2) for row in range(rows)]
        metadata = {"huggingface": json.dumps({"info": {"features": features}})}
        pq.write_table(pa.table(columns).replace_schema_metadata(metadata), folder / f"{split}-00000-of-00001.parquet")
    return folder


def write_tree(folder: Path) -> Path:
    for name in ("b/10.png", "b/9.png", "a/1.png", "a/deep/2.png", "stray.png", ".DS_Store"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(png(len(name)))
    return folder


def write_npz(path: Path, images: int = 7, **more: Any) -> Path:
    x = np.arange(images * 20, dtype=np.uint8).reshape(images, 4, 5)
    np.savez(path, **({"x": x, "y": np.arange(images) % 3, "x_test": x[:2], "y_test": np.array([1, 2])} | more))
    return path


MAKERS: dict[str, Make] = {
    "arrays": lambda folder: Arrays(str(write_npz(folder / "set.npz"))),
    "augmented": lambda folder: Augmented(2000, {"kind": "digits"}),
    "digits": lambda folder: Digits(),
    "folder": lambda folder: Folder(str(write_tree(folder))),
    "hub": lambda folder: Hub(str(write_hub(folder))),
    **official.MAKERS,
}


@pytest.fixture(autouse=True)
def hub_library(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests with hub in their name: the library, its own copies kept out of the user's home."""
    if "lsun" in request.node.name:
        pytest.importorskip("lmdb", reason="the extra `lsun` is not installed")
    if "hub" in request.node.name.lower():
        datasets = pytest.importorskip("datasets", reason="the extra `hub` is not installed")
        monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
        monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("name", sources)
def test_every_source_passes_every_check(name: str, check: str) -> None:
    CHECKS[check](MAKERS[name])


@dataclass(frozen=True)
class Toy:
    """Five images in memory, three labels."""

    @property
    def classes(self) -> tuple[str, ...]:
        return ("no", "yes")

    @property
    def splits(self) -> dict[str, int]:
        return {"train": 5}

    @property
    def fingerprint(self) -> str | None:
        return "toy"

    def labels(self, split: str) -> Any:
        return np.array([0, 1, 1, -1, 0])[: self._size(split)]

    def records(self, split: str, rows: Any) -> Iterator[SourceImage]:
        self._size(split)
        for row in rows.tolist():
            yield SourceImage(f"{split}/{row}", np.full((3, 3), row, np.uint8))

    def _size(self, split: str) -> int:
        if split != "train":
            raise UserError(split, rule="there is one split", hint="use 'train'")
        return 5


@dataclass(frozen=True)
class Miscounts(Toy):
    @property
    def splits(self) -> dict[str, int]:
        return {"train": 4}

    def records(self, split: str, rows: Any) -> Iterator[SourceImage]:
        return super().records(split, np.arange(5))


@dataclass(frozen=True)
class NamesTwice(Toy):
    @property
    def classes(self) -> tuple[str, ...]:
        return ("no", "no")


@dataclass(frozen=True)
class LabelsPast(Toy):
    def labels(self, split: str) -> Any:
        return super().labels(split) + 1


@dataclass(frozen=True)
class OneKey(Toy):
    def records(self, split: str, rows: Any) -> Iterator[SourceImage]:
        return (replace(record, key="image") for record in super().records(split, rows))


@dataclass(frozen=True)
class CountsFromTheFirst(Toy):
    def records(self, split: str, rows: Any) -> Iterator[SourceImage]:
        return super().records(split, np.arange(len(rows)))


@dataclass(frozen=True)
class Lists(Toy):
    def records(self, split: str, rows: Any) -> Any:
        return list(super().records(split, rows))


@dataclass(frozen=True)
class Garbles(Toy):
    def records(self, split: str, rows: Any) -> Iterator[SourceImage]:
        return (replace(record, raw=b"garbage") for record in super().records(split, rows))


@dataclass(frozen=True)
class Shuffles(Toy):
    def records(self, split: str, rows: Any) -> Iterator[SourceImage]:
        return super().records(split, np.random.default_rng().permutation(250)[: len(rows)])


@dataclass(frozen=True)
class Drags(Toy):
    read: bytes = bytes(100_000)


class Bare:
    """The same as Toy, and no dataclass."""

    classes = Toy.classes
    splits = Toy.splits
    fingerprint = Toy.fingerprint
    labels, records, _size = Toy.labels, Toy.records, Toy._size


@dataclass(frozen=True)
class AnySplit(Toy):
    def _size(self, split: str) -> int:
        return 5


TWINS: dict[str, Callable[[], Any]] = {
    "names its splits": Miscounts,
    "names its classes": NamesTwice,
    "labels every image": LabelsPast,
    "gives every image its own key": OneKey,
    "gives the rows asked for": CountsFromTheFirst,
    "streams its records": Lists,
    "decodes": Garbles,
    "is the same twice": Shuffles,
    "is a frozen dataclass": Bare,
    "can be sent to another process": Drags,
    "refuses an unknown split": AnySplit,
}


def test_the_checks_pass_a_right_source_and_each_has_a_twin() -> None:
    assert TWINS.keys() == CHECKS.keys()
    for check in CHECKS.values():
        check(lambda folder: Toy())


@pytest.mark.parametrize("check", CHECKS)
def test_each_check_rejects_its_twin(check: str) -> None:
    with pytest.raises(AssertionError):
        CHECKS[check](lambda folder: TWINS[check]())


def keys(source: Source, split: str = "train") -> list[str]:
    return [record.key for record in source.records(split, np.arange(source.splits[split]))]


def test_digits_use_the_whole_range() -> None:
    images = [record.raw for record in Digits().records("train", np.arange(100))]
    assert np.max(images) == 255 and np.min(images) == 0
    assert sources["digits"].options({}) == {}


def test_folder_takes_classes_from_folders_and_orders_as_people_do(tmp_path: Path) -> None:
    source = Folder(str(write_tree(tmp_path)))
    assert source.classes == ("a", "b")
    assert keys(source) == ["a/1.png", "a/deep/2.png", "b/9.png", "b/10.png", "stray.png"]
    labels = source.labels("train")
    assert labels is not None and labels.tolist() == [0, 0, 1, 1, -1]
    assert Folder(str(tmp_path), label="none").labels("train") is None


def test_folder_with_splits_has_the_classes_inside(tmp_path: Path) -> None:
    for split in ("train", "test"):
        write_tree(tmp_path / split)
    source = Folder(str(tmp_path))
    assert source.classes == ("a", "b") and source.splits == {"test": 5, "train": 5}
    assert keys(source, "test")[0] == "test/a/1.png"


def test_folder_survives_links_in_circles_and_odd_names(tmp_path: Path) -> None:
    write_tree(tmp_path)
    (tmp_path / "a" / "up").symlink_to(tmp_path)
    (tmp_path / "a" / "gone.png").symlink_to(tmp_path / "nowhere")
    (tmp_path / "b" / os.fsdecode(b"\xff.png")).write_bytes(png(1))
    os.mkfifo(tmp_path / "b" / "pipe")
    found = keys(Folder(str(tmp_path)))
    assert len(found) == len(set(found)) == 8
    assert "a/gone.png" in found and "b/\\xff.png" in found
    CHECKS["decodes"](lambda _: Folder(str(tmp_path)))


def test_folder_fingerprint_depends_on_the_names(tmp_path: Path) -> None:
    before = Folder(str(write_tree(tmp_path))).fingerprint
    (tmp_path / "a" / "new.png").write_bytes(png(3))
    assert Folder(str(tmp_path)).fingerprint != before
    assert Folder(str(tmp_path / "nowhere")).fingerprint is None


@pytest.mark.parametrize("source", [Folder("no/where"), Arrays("no/where.npz"), Hub("./no/where")], ids=repr)
def test_a_source_that_is_not_there_is_reported(source: Source) -> None:
    with pytest.raises(UserError, match="no/where"):
        _ = source.splits


def test_arrays_in_every_accepted_form(tmp_path: Path) -> None:
    x = np.random.default_rng(0).integers(0, 256, (6, 4, 4, 3), np.uint8)
    np.save(tmp_path / "plain.npy", x)
    np.savez_compressed(tmp_path / "packed.npz", images=x, labels=np.array(["b", "a", "b", "a", "b", "b"])[:, None])
    np.savez(tmp_path / "floats.npz", x_train=x / 255, y_train=np.array([7, 5, -1, 7, 5, 5]))
    for name in ("plain.npy", "packed.npz"):
        read = [record.raw for record in Arrays(str(tmp_path / name)).records("train", np.array([0, 2, 5]))]
        assert np.array_equal(read, x[[0, 2, 5]])
    assert Arrays(str(tmp_path / "plain.npy")).classes == ()
    packed, floats = Arrays(str(tmp_path / "packed.npz")), Arrays(str(tmp_path / "floats.npz"))
    assert packed.classes == ("a", "b") and floats.classes == ("5", "7")
    assert packed.labels("train").tolist() == [1, 0, 1, 0, 1, 1]
    assert floats.labels("train").tolist() == [1, 0, -1, 1, 0, 0]
    CHECKS["decodes"](lambda _: floats)


@pytest.mark.parametrize(
    ("x", "y", "match"),
    [
        (np.zeros((5, 3, 8, 8), np.uint8), None, "moveaxis"),
        (np.zeros((5, 64), np.uint8), None, "reshape"),
        (np.zeros((5, 8, 8), np.complex128), None, "complex128"),
        (np.zeros((5, 8, 8), np.uint8), np.zeros(4, int), "one string per image"),
        (np.zeros((5, 8, 8), np.uint8), np.zeros((5, 3)), "one string per image"),
        (np.array([[[None]]] * 3), None, "object"),
    ],
)
def test_arrays_that_are_no_images_are_refused_at_once(tmp_path: Path, x: Any, y: Any, match: str) -> None:
    np.savez(tmp_path / "set.npz", **{"x": x} | ({} if y is None else {"y": y}))
    with pytest.raises(UserError, match=match):
        _ = Arrays(str(tmp_path / "set.npz")).classes


def test_a_broken_array_file_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "cut.npy", np.zeros((50, 8, 8), np.uint8))
    os.truncate(tmp_path / "cut.npy", 1000)
    (tmp_path / "text.npy").write_text("not an array")
    write_npz(tmp_path / "nameless.npz", x=np.zeros(3), images_of_mine=np.zeros(2))
    (tmp_path / "flipped.npz").write_bytes(
        write_npz(tmp_path / "whole.npz").read_bytes().replace(bytes(range(60, 80)), b"!" * 20)
    )
    for name in ("cut.npy", "text.npy", "nameless.npz"):
        with pytest.raises(UserError, match=name):
            _ = Arrays(str(tmp_path / name)).splits
    with pytest.raises(UserError, match="flipped"):
        keys(Arrays(str(tmp_path / "flipped.npz")))


def test_hub_guesses_the_only_image_and_class_columns(tmp_path: Path) -> None:
    source = Hub(str(write_hub(tmp_path / "set", image="img", label="fine")))
    assert source.classes == ("cat", "dog", "eel")
    assert source.labels("test").tolist() == [0, 1, 2]
    assert keys(source, "test") == ["test/0", "test/1", "test/2"]
    with pytest.raises(UserError, match="no column is called 'pictures'"):
        _ = Hub(str(tmp_path / "set"), image="pictures").splits
    with pytest.raises(UserError, match="no column is called 'kind'"):
        _ = Hub(str(tmp_path / "set"), label="kind").classes


def test_hub_labels_may_be_numbers_or_absent(tmp_path: Path) -> None:
    numbers = Hub(str(write_hub(tmp_path / "numbers", names=False)))
    assert numbers.classes == ("5", "7") and numbers.labels("test").tolist() == [0, 1, 0]
    assert Hub(str(write_hub(tmp_path / "bare", label=None))).labels("train") is None
    assert Hub(str(tmp_path / "numbers"), label="none").classes == ()


def test_hub_columns_need_no_features_in_the_metadata(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    structs = [{"bytes": png(row), "path": f"{row}.png"} for row in range(4)]
    pq.write_table(pa.table({"image": structs, "label": ["b", "a", None, "b"]}), tmp_path / "train.parquet")
    source = Hub(str(tmp_path))
    assert source.classes == ("a", "b") and source.labels("train").tolist() == [1, 0, -1, 1]
    CHECKS["decodes"](lambda _: source)


def test_hub_ids_are_looked_for_in_the_data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_hub(tmp_path / "pets")
    monkeypatch.setenv("ASAL_DATA_DIR", str(tmp_path))
    assert Hub("someone/pets").splits == {"train": 7, "test": 3}
    assert Hub("someone/pets").fingerprint is not None and Hub("someone/else").fingerprint is None


def test_hub_without_the_library_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "datasets", None)
    with pytest.raises(UserError, match=r"asal\[hub\]"):
        _ = Hub("ylecun/mnist").splits
