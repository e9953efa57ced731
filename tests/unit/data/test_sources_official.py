"""The benchmarks' own layouts: the right pixels, labels and keys, and every way to get them wrong."""

from __future__ import annotations

import os
import pickle
import shutil
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import official_layouts as official
from support.official_layouts import BANGS, FACES, GRAY, PARTITION, PARTS, PHOTOS, digits, encoded, marks, pixels

from asal.core import Images
from asal.data.ingest import Split, ingest
from asal.data.pool import StoredPool
from asal.data.sources import Source
from asal.data.sources.celeba import ATTRIBUTES, Celeba
from asal.data.sources.cifar10 import RECORD, Cifar10
from asal.data.sources.decode import decode
from asal.data.sources.hub import Hub
from asal.data.sources.lsun import SCENES, Lsun
from asal.data.sources.mnist import Mnist
from asal.data.sources.svhn import Svhn
from asal.errors import DamageError, UserError
from asal.session.oracles.stored import Stored
from asal.testing.source import CHECKS

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def libraries(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests with hub or lsun in their name: the library; the hub's own copies kept out of the user's home."""
    if "lsun" in request.node.name:
        pytest.importorskip("lmdb", reason="the extra `lsun` is not installed")
    if "hub" in request.node.name:
        datasets = pytest.importorskip("datasets", reason="the extra `hub` is not installed")
        monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
        monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)


@pytest.fixture
def hub_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return where the hub's data sets are looked for."""
    monkeypatch.setenv("ASAL_DATA_DIR", str(tmp_path / "hub"))
    return tmp_path / "hub"


def read(source: Source, split: str, rows: Any = None) -> Images:
    chosen = np.arange(source.splits[split]) if rows is None else np.array(rows)
    return np.stack([decode(record.raw, size=None, gray=False) for record in source.records(split, chosen)])


def keys(source: Source, split: str = "train") -> list[str]:
    return [record.key for record in source.records(split, np.arange(source.splits[split]))]


def labels(source: Source, split: str = "train") -> list[int]:
    numbers = source.labels(split)
    assert numbers is not None
    return numbers.tolist()


def cut(file: Path, size: int = -1) -> None:
    os.truncate(file, file.stat().st_size // 2 if size < 0 else size)


# What all of them have in common


@pytest.mark.parametrize("name", official.MAKERS)
def test_a_fingerprint_changes_with_the_files_and_is_none_without_them(name: str, tmp_path: Path) -> None:
    source = official.MAKERS[name](tmp_path / "set" if name in ("cifar10", "svhn", "celeba") else tmp_path)
    before = source.fingerprint
    assert before is not None and before == source.fingerprint
    changed = {
        "mnist": "t10k-labels-idx1-ubyte.gz", "cifar10": "cifar-10-batches-bin/data_batch_5.bin",
        "svhn": "extra_32x32.mat", "celeba": "list_attr_celeba.txt", "lsun": "tower_train_lmdb/data.mdb",
    }[name]  # fmt: skip
    (file,) = [path for path in tmp_path.rglob("*") if path.as_posix().endswith(changed)]
    file.write_bytes(file.read_bytes()[:-1] + b"~")
    assert source.fingerprint not in (None, before)
    file.unlink()
    assert source.fingerprint is None


@pytest.mark.parametrize(
    "make",
    [Mnist, Cifar10, Svhn, lambda path: Celeba("Bangs", path), Lsun],
    ids=["mnist", "cifar10", "svhn", "celeba", "lsun"],
)
def test_a_folder_without_the_files_is_reported(make: Callable[[str], Source], tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(UserError, match=folder.name) as raised:
            _ = make(str(folder)).splits
        assert raised.value.hint.startswith("check the path")
        assert make(str(folder)).fingerprint is None


LARGE: dict[str, tuple[Callable[[Path], Source], int]] = {
    "mnist": (lambda folder: Mnist(str(write_large_mnist(folder, ""))), 2_000_000),
    "mnist-gz": (lambda folder: Mnist(str(write_large_mnist(folder, ".gz"))), 2_000_000),
    "cifar10": (lambda folder: Cifar10(str(write_large_cifar(folder))), 2_000_000),
    "lsun": (lambda folder: Lsun(str(write_large_lsun(folder)), ("bridge",)), 5_000_000),
}


def write_large_mnist(folder: Path, end: str) -> Path:
    many = np.zeros((15_000, 28, 28), np.uint8), digits(15_000)
    return official.write_mnist(folder, many, many, end)


def write_large_cifar(folder: Path) -> Path:
    many = np.zeros((4_000, 32, 32, 3), np.uint8), digits(4_000)
    return official.write_cifar(folder, many, many)


def write_large_lsun(folder: Path) -> Path:
    official.write_lsun(folder, "bridge_train", [bytes([number]) * 100_000 for number in range(150)])
    return folder


@pytest.mark.parametrize("name", LARGE)
def test_images_are_streamed(name: str, tmp_path: Path) -> None:
    make, limit = LARGE[name]
    source = make(tmp_path)
    everything, size = np.arange(source.splits["train"]), 0
    tracemalloc.start()
    try:
        for record in source.records("train", everything):
            assert not isinstance(record.raw, Path)
            size += len(record.raw)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < limit, f"{peak:,} bytes to read {len(everything):,} images one after the other"


# MNIST


@pytest.mark.parametrize("end", ["", ".gz"])
def test_mnist_is_read_packed_and_unpacked(tmp_path: Path, end: str) -> None:
    source = Mnist(str(official.write_mnist(tmp_path, GRAY["train"], GRAY["test"], end)))
    assert source.splits == {"train": 13, "test": 11} and source.classes == tuple("0123456789")
    for split in ("train", "test"):
        assert np.array_equal(read(source, split)[..., 0], GRAY[split][0])
        assert labels(source, split) == GRAY[split][1].tolist()
    assert keys(source, "test")[:2] == ["test/0", "test/1"]
    assert np.array_equal(read(source, "train", [2, 3, 12])[..., 0], GRAY["train"][0][[2, 3, 12]])


def test_mnist_by_the_bytes_of_its_format(tmp_path: Path) -> None:
    official.write_mnist(tmp_path, GRAY["train"], GRAY["test"], "")
    head = bytes([0, 0, 8, 3, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3])
    (tmp_path / "t10k-images-idx3-ubyte").write_bytes(head + bytes([1, 2, 3, 4, 5, 6]))
    (tmp_path / "t10k-labels-idx1-ubyte").write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 1, 7]))
    assert read(Mnist(str(tmp_path)), "test")[0, ..., 0].tolist() == [[1, 2, 3], [4, 5, 6]]
    assert labels(Mnist(str(tmp_path)), "test") == [7]


def damage_mnist(folder: Path, what: str) -> None:
    images, names = folder / "train-images-idx3-ubyte", folder / "train-labels-idx1-ubyte"
    packed = images.with_name(f"{images.name}.gz")
    match what:
        case "missing":
            names.unlink()
        case "cut":
            cut(images)
        case "cut in its head":
            cut(images, 7)
        case "cut gz":
            official.write_idx(packed, GRAY["train"][0])
            images.unlink()
            cut(packed)
        case "no gz":
            images.unlink()
            packed.write_bytes(b"<html>404</html>")
        case "labels for images":
            shutil.copy(names, images)
        case "fewer labels":
            official.write_idx(names, GRAY["train"][1][:-1])
        case "eleventh class":
            official.write_idx(names, GRAY["train"][1] + 1)
        case "cut labels":
            cut(names, 12)


@pytest.mark.parametrize(
    ("what", "match"),
    [
        ("missing", r"'train-labels-idx1-ubyte' or 'train-labels-idx1-ubyte.gz'"),
        ("cut", r"train-images-idx3-ubyte is damaged: it ends inside image 6"),
        ("cut in its head", "3 dimensions"),
        ("cut gz", r"train-images-idx3-ubyte.gz is damaged: .*end-of-stream"),
        ("no gz", r"train-images-idx3-ubyte.gz is damaged: Not a gzipped file"),
        ("labels for images", "does not begin like an idx file of bytes in 3 dimensions"),
        ("fewer labels", "header says 12 labels, and it has 12, for 13 images"),
        ("eleventh class", "a label 10, which is not a digit"),
        ("cut labels", "header says 13 labels, and it has 4"),
    ],
)
def test_mnist_that_is_broken_is_reported(tmp_path: Path, what: str, match: str) -> None:
    source = Mnist(str(official.write_mnist(tmp_path, GRAY["train"], GRAY["test"], "")))
    damage_mnist(tmp_path, what)
    with pytest.raises(UserError, match=match):
        read(source, "train")


# CIFAR-10


@pytest.mark.parametrize("at", ["", "cifar-10-batches-bin"])
def test_cifar_is_read_from_its_folder_or_the_one_around(tmp_path: Path, at: str) -> None:
    official.make_cifar(tmp_path)
    source = Cifar10(str(tmp_path / at))
    assert (
        source.splits == {"train": 12, "test": 11} and source.classes[1] == "automobile" and len(source.classes) == 10
    )
    for split in ("train", "test"):
        assert np.array_equal(read(source, split), PARTS[split][0])
        assert labels(source, split) == PARTS[split][1].tolist()
    assert np.array_equal(read(source, "train", [0, 5, 11]), PARTS["train"][0][[0, 5, 11]])
    assert keys(source)[:4] == ["data_batch_1.bin/0", "data_batch_1.bin/1", "data_batch_1.bin/2", "data_batch_2.bin/0"]


def test_cifar_by_the_bytes_of_its_format(tmp_path: Path) -> None:
    folder = Path(official.make_cifar(tmp_path).path)
    red, green = bytes([1, 2]) + bytes(1022), bytes(32) + bytes([3]) + bytes(991)
    (folder / "test_batch.bin").write_bytes(bytes([9]) + red + green + bytes([255]) * 1024)
    source = Cifar10(str(folder))
    image = read(source, "test")[0]
    assert labels(source, "test") == [9] and len(source.classes) == 10
    assert image[0, :3].tolist() == [[1, 0, 255], [2, 0, 255], [0, 0, 255]] and image[1, 0].tolist() == [0, 3, 255]


@pytest.mark.parametrize("at", ["", "cifar-10-batches-py"])
def test_pickled_cifar_is_refused_and_never_opened(tmp_path: Path, at: str) -> None:
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    opened = tmp_path / "opened"
    (folder / "data_batch_1").write_bytes(pickle.dumps(Trap(str(opened))))
    with pytest.raises(UserError, match="pickled python version") as raised:
        _ = Cifar10(str(tmp_path / at)).splits
    assert "cifar-10-binary.tar.gz" in raised.value.hint and "uoft-cs/cifar10" in raised.value.hint
    assert not opened.exists()


class Trap:
    """Whoever unpickles it leaves a file behind."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (Path(self.path),)


@pytest.mark.parametrize(
    ("name", "size", "match"),
    [
        ("data_batch_3.bin", None, r"data_batch_3.bin is missing"),
        ("batches.meta.txt", None, r"batches.meta.txt is missing"),
        ("test_batch.bin", 2 * RECORD - 1, r"6,145 bytes are not a multiple of 3,073"),
        ("data_batch_2.bin", 0, r"data_batch_2.bin is damaged: 0 bytes"),
        ("batches.meta.txt", 20, "a label 9"),
    ],
)
def test_broken_cifar_is_reported(tmp_path: Path, name: str, size: int | None, match: str) -> None:
    source = official.make_cifar(tmp_path)
    file = Path(source.path) / name
    file.unlink() if size is None else cut(file, size)
    with pytest.raises(DamageError, match=match):
        _ = source.splits, source.classes, source.labels("train"), source.labels("test")


# SVHN


def test_svhn_joins_train_and_extra(tmp_path: Path) -> None:
    source = official.make_svhn(tmp_path)
    assert source.splits == {"train": 27, "test": 11} and source.classes == tuple("0123456789")
    both = np.concatenate([PARTS["train"][0], PARTS["extra"][0]])
    assert np.array_equal(read(source, "train"), both) and np.array_equal(read(source, "test"), PARTS["test"][0])
    assert labels(source) == [*PARTS["train"][1], *PARTS["extra"][1]] and 0 in labels(source)
    assert np.array_equal(read(source, "train", [3, 11, 12, 26]), both[[3, 11, 12, 26]])
    assert keys(source)[11:13] == ["train/11", "extra/0"]


def test_svhn_without_extra_does_not_want_the_file(tmp_path: Path) -> None:
    official.make_svhn(tmp_path)
    (tmp_path / "extra_32x32.mat").unlink()
    source = Svhn(str(tmp_path), extra=False)
    assert source.splits == {"train": 12, "test": 11} and source.fingerprint is not None
    with pytest.raises(UserError, match=r"no extra_32x32.mat in .*set extra = false"):
        _ = Svhn(str(tmp_path)).splits


def test_svhn_by_the_numbers_of_its_format(tmp_path: Path) -> None:
    from scipy.io import savemat

    official.make_svhn(tmp_path)
    x = np.zeros((32, 32, 3, 2), np.uint8)
    x[4, 7, 2, 1] = 200  # row, column, blue, second image
    savemat(tmp_path / "test_32x32.mat", {"X": x, "y": np.array([[10], [1]], np.uint8)})
    source = Svhn(str(tmp_path))
    assert labels(source, "test") == [0, 1] and read(source, "test")[1, 4, 7].tolist() == [0, 0, 200]


def test_svhn_labels_are_read_without_the_images(tmp_path: Path) -> None:
    source = official.make_svhn(tmp_path)
    official.write_svhn(tmp_path, {"extra": (pixels(digits(3_000), 32, 32, 3), digits(3_000))})
    _ = Svhn(str(tmp_path), extra=False).splits  # what is imported first does not count
    tracemalloc.start()
    try:
        assert source.splits["train"] == 3_012
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()


def test_svhn_of_the_hub_is_the_same(tmp_path: Path, hub_folder: Path) -> None:
    files, hub = official.make_svhn(tmp_path / "files"), Svhn()
    official.write_hub_svhn(hub_folder / "svhn", PARTS)
    assert hub.splits == files.splits and hub.classes == files.classes and hub.fingerprint
    for split in ("train", "test"):
        assert np.array_equal(read(hub, split), read(files, split))
        assert labels(hub, split) == labels(files, split) and keys(hub, split) == keys(files, split)
    assert Svhn(extra=False).splits == {"train": 12, "test": 11}


def break_svhn(file: Path, what: str) -> None:
    from scipy.io import savemat

    x, y = PARTS["train"][0].transpose(1, 2, 3, 0), PARTS["train"][1][:, None] + 1
    match what:
        case "cut":
            cut(file)
        case "empty":
            cut(file, 0)
        case "a page":
            file.write_text("<html>404</html>" * 99)
        case "version 7.3":
            file.write_bytes(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM" + bytes(300))
        case "no y":
            savemat(file, {"X": x})
        case "zeros":
            savemat(file, {"X": x, "y": y - 1})
        case "too few":
            savemat(file, {"X": x, "y": y[1:]})
        case "images first":
            savemat(file, {"X": PARTS["train"][0], "y": y})


@pytest.mark.parametrize(
    ("what", "match"),
    [
        ("cut", r"train_32x32.mat"),
        ("empty", r"train_32x32.mat"),
        ("a page", r"train_32x32.mat is damaged: .*[Uu]nknown mat"),
        ("version 7.3", r"train_32x32.mat is a MATLAB file of version 7.3; .*of version 5"),
        ("no y", "it has no variable y"),
        ("zeros", "not a column of 12 numbers from 1 to 10"),
        ("too few", "not a column of 12 numbers from 1 to 10"),
        ("images first", r"its X is uint8 \(12, 32, 32, 3\), not uint8 \(32, 32, 3, n\)"),
    ],
)
def test_broken_svhn_is_reported(tmp_path: Path, what: str, match: str) -> None:
    source = official.make_svhn(tmp_path)
    break_svhn(tmp_path / "train_32x32.mat", what)
    with pytest.raises(UserError, match=match):
        read(source, "train")


# CelebA

ROWS = {
    split: np.flatnonzero(np.array(PARTITION) == number) for number, split in enumerate(("train", "validation", "test"))
}


def check_celeba(source: Celeba, *, names: bool = True) -> None:
    """Check that it is the ten faces."""
    assert source.splits == {"train": 5, "validation": 2, "test": 3} and source.classes == ("without", "with")
    for split, rows in ROWS.items():
        assert labels(source, split) == BANGS[rows].tolist()
        jpegs = [decode(encoded(FACES[row]), size=None, gray=False) for row in rows]
        assert np.array_equal(read(source, split), jpegs)
        if names:
            assert keys(source, split) == [f"{row + 1:06}.jpg" for row in rows]
    assert np.array_equal(read(source, "train", [1, 4]), read(source, "train")[[1, 4]])


@pytest.mark.parametrize("end", [".txt", ".csv"])
def test_celeba_is_read_as_published_and_as_kaggle_has_it(tmp_path: Path, end: str) -> None:
    check_celeba(official.make_celeba(tmp_path, end))


def test_celeba_in_the_folders_of_the_official_drive_and_of_kaggles_zip(tmp_path: Path) -> None:
    drive = official.make_celeba(tmp_path / "drive")
    for name, home in (
        ("list_attr_celeba.txt", "Anno"),
        ("list_eval_partition.txt", "Eval"),
        ("img_align_celeba", "Img"),
    ):
        (tmp_path / "drive" / home).mkdir()
        (tmp_path / "drive" / name).rename(tmp_path / "drive" / home / name)
    check_celeba(drive)
    kaggle = official.make_celeba(tmp_path / "kaggle", ".csv")
    (tmp_path / "kaggle/img_align_celeba").rename(tmp_path / "kaggle/inner")
    (tmp_path / "kaggle/img_align_celeba").mkdir()
    (tmp_path / "kaggle/inner").rename(tmp_path / "kaggle/img_align_celeba/img_align_celeba")
    check_celeba(kaggle)


def test_celeba_of_the_hub_is_the_same(tmp_path: Path, hub_folder: Path) -> None:
    official.write_hub_celeba(hub_folder / "celeba", marks(10, "Bangs", BANGS), PARTITION, FACES)
    check_celeba(Celeba("Bangs"), names=False)
    assert keys(Celeba("Bangs"), "validation") == ["valid/0", "valid/1"] and Celeba("Bangs").fingerprint


def test_celeba_of_the_hub_where_one_answer_alone_is_there(tmp_path: Path, hub_folder: Path) -> None:
    table = marks(10, "Bangs", np.ones(10, np.int64))
    official.write_hub_celeba(hub_folder / "celeba", table, PARTITION, FACES)
    assert labels(Celeba("Bangs")) == [1] * 5 and Celeba("Bangs").classes == ("without", "with")


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("name", ["celeba", "svhn"])
def test_read_from_the_hub_it_passes_every_check(name: str, check: str, hub_folder: Path) -> None:
    if name == "celeba":
        official.write_hub_celeba(hub_folder / "celeba", marks(10, "Bangs", BANGS), PARTITION, FACES)
    else:
        official.write_hub_svhn(hub_folder / "svhn", PARTS)
    CHECKS[check](lambda _: Celeba("Bangs") if name == "celeba" else Svhn())


def test_each_attribute_of_celeba_is_its_column(tmp_path: Path) -> None:
    table = marks(10, "Bangs", BANGS)
    official.write_celeba(tmp_path, table, PARTITION, FACES)
    for column, attribute in enumerate(ATTRIBUTES):
        expected = (table[ROWS["train"], column] == 1).astype(int).tolist()
        assert labels(Celeba(attribute, str(tmp_path))) == expected, attribute
    assert len(set(ATTRIBUTES)) == 40


def test_a_misspelt_attribute_is_reported_before_anything_is_read() -> None:
    with pytest.raises(UserError, match=r"no attribute is called 'Blonde_Hair'.*did you mean 'Blond_Hair'"):
        Celeba("Blonde_Hair", "no/where")


def test_a_face_that_is_missing_is_listed_as_such(tmp_path: Path) -> None:
    source = official.make_celeba(tmp_path / "celeba")
    (tmp_path / "celeba/img_align_celeba/000002.jpg").unlink()
    folder = ingest(source, tmp_path / "project", size=64)["pool"]
    assert StoredPool.open(folder).unreadable == 1
    assert "000002.jpg,there is no such file" in (folder / "unreadable.csv").read_text()


def change(file: Path, before: str, after: str) -> None:
    text = file.read_text()
    assert before in text
    file.write_text(text.replace(before, after, 1))


BROKEN_CELEBA: dict[str, tuple[str, str, str, str]] = {
    "cut": ("list_attr_celeba.txt", "\n000010.jpg", "\n", "line 12 is not a name and forty"),
    "cut at a line": ("list_attr_celeba.txt", "10\n", "11\n", "its first line says 11 images, and it lists 10"),
    "headless": ("list_attr_celeba.txt", " Bangs ", " Fringe ", "its header has no 'Bangs'"),
    "no count": ("list_attr_celeba.txt", "10\n", "", "its header has no 'Bangs'"),
    "another split": ("list_eval_partition.txt", "000003.jpg 0", "000003.jpg 3", "it has '000003.jpg 3' in place of"),
    "another order": ("list_eval_partition.txt", "000003.jpg", "000004.jpg", "in place of '000003.jpg'"),
    "fewer": ("list_eval_partition.txt", "000010.jpg 2\n", "", "fewer images than the attributes"),
    "more": ("list_eval_partition.txt", "000010.jpg 2\n", "000010.jpg 2\n000011.jpg 2\n", "more images than"),
}


@pytest.mark.parametrize("what", BROKEN_CELEBA)
def test_broken_celeba_is_reported(tmp_path: Path, what: str) -> None:
    name, before, after, match = BROKEN_CELEBA[what]
    source = official.make_celeba(tmp_path)
    change(tmp_path / name, before, after)
    with pytest.raises(DamageError, match=f"{name} is damaged: .*{match}"):
        _ = source.splits


def test_an_attribute_is_there_or_not(tmp_path: Path) -> None:
    table = marks(10, "Bangs", BANGS)
    table[4, ATTRIBUTES.index("Bangs")] = 0
    source = Celeba("Bangs", str(official.write_celeba(tmp_path, table, PARTITION, FACES)))
    with pytest.raises(DamageError, match="line 7 is not a name and forty numbers 1 or -1"):
        _ = source.splits


def test_celebas_own_splits_become_pool_validation_and_test(tmp_path: Path) -> None:
    source = official.make_celeba(tmp_path / "celeba")
    folders = ingest(source, tmp_path / "project", Split(None, "validation", "test"), size=64)
    for name, split in (("pool", "train"), ("validation", "validation"), ("test", "test")):
        images, answers = StoredPool.open(folders[name]), Stored.open(folders[name])
        ids = np.arange(len(images))
        assert images.shape == (64, 64, 3) and images.keys(ids) == keys(source, split)
        assert answers.answer(ids).tolist() == labels(source, split) and answers.classes == ("without", "with")


# LSUN


def test_lsun_is_read_in_the_order_of_categories_and_keys(tmp_path: Path) -> None:
    beds = official.write_lsun(tmp_path, "bedroom_train", [encoded(photo) for photo in PHOTOS[:6]])
    towers = official.write_lsun(tmp_path, "tower_train", [encoded(photo, "WEBP") for photo in PHOTOS[6:]])
    source = Lsun(str(tmp_path), ("tower", "bedroom"))
    assert source.splits == {"train": 10} and source.classes == ("tower", "bedroom")
    assert labels(source) == [0] * 4 + [1] * 6
    assert keys(source) == [f"tower_train/{key}" for key in towers] + [f"bedroom_train/{key}" for key in beds]
    found = {record.raw for record in source.records("train", np.arange(4, 10))}
    assert found == {encoded(photo) for photo in PHOTOS[:6]}
    assert np.array_equal(read(source, "train", [1, 3, 4, 9]), read(source, "train")[[1, 3, 4, 9]])


def test_lsun_has_ten_scenes_and_a_split_to_validate_on(tmp_path: Path) -> None:
    for name in SCENES:
        official.write_lsun(tmp_path, f"{name}_train", [encoded(photo) for photo in PHOTOS[:3]])
        official.write_lsun(tmp_path, f"{name}_val", [encoded(photo) for photo in PHOTOS[:2]])
    source = Lsun(str(tmp_path))
    assert source.splits == {"train": 30, "validation": 20} and len(source.classes) == 10
    assert labels(source, "validation") == np.repeat(np.arange(10), 2).tolist()
    assert keys(source, "validation")[0].startswith("bedroom_val/")


@pytest.mark.parametrize("step", [1, 3, 40])
def test_lsun_of_several_blocks(tmp_path: Path, step: int) -> None:
    values = [bytes([number]) for number in range(150)]
    expected = official.write_lsun(tmp_path, "bridge_train", values)
    source = Lsun(str(tmp_path), ("bridge",))
    rows = np.arange(2, 150, step)
    assert [r.key for r in source.records("train", rows)] == [f"bridge_train/{expected[row]}" for row in rows]


def test_lsun_is_read_by_two_at_once_and_left_half_way(tmp_path: Path) -> None:
    source = official.make_lsun(tmp_path)
    rows = np.arange(10)
    one, two = source.records("train", rows), source.records("train", rows)
    assert all(a.key == b.key and a.raw == b.raw for a, b in zip(one, two, strict=True))
    left: Iterator[Any] = source.records("train", rows)
    next(left)
    assert len(keys(source)) == 10


def test_lsun_is_not_written_to(tmp_path: Path) -> None:
    source = official.make_lsun(tmp_path)
    for lock in tmp_path.rglob("lock.mdb"):
        lock.unlink()
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    keys(source)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_lsun_says_which_category_is_missing(tmp_path: Path) -> None:
    official.make_lsun(tmp_path)
    with pytest.raises(
        UserError, match=r"bridge_train_lmdb/data.mdb.*unpack bridge_train_lmdb.zip there.*`categories`"
    ):
        _ = Lsun(str(tmp_path)).splits
    shutil.rmtree(tmp_path / "tower_val_lmdb")
    with pytest.raises(UserError, match=r"tower_val_lmdb/data.mdb"):
        _ = Lsun(str(tmp_path), ("bedroom", "tower")).splits
    assert Lsun(str(tmp_path), ("bedroom",)).splits == {"train": 6, "validation": 2}


@pytest.mark.parametrize(
    ("categories", "match"),
    [(("bedrom",), "did you mean 'bedroom'"), ((), "at least one"), (("tower", "tower"), "named once")],
)
def test_categories_of_lsun_that_do_not_exist_are_reported(categories: tuple[str, ...], match: str) -> None:
    with pytest.raises(UserError, match=match):
        Lsun("no/where", categories)


@pytest.mark.parametrize("size", [-1, 4096, 0])
def test_a_database_of_lsun_that_was_cut_is_reported_and_ends_nothing(tmp_path: Path, size: int) -> None:
    source = official.make_lsun(tmp_path)
    cut(tmp_path / "tower_train_lmdb/data.mdb", size)
    with pytest.raises(DamageError, match=r"tower_train_lmdb/data.mdb"):
        _ = source.splits


def test_a_database_of_lsun_that_is_none_is_reported(tmp_path: Path) -> None:
    source = official.make_lsun(tmp_path)
    (tmp_path / "tower_train_lmdb/data.mdb").write_bytes(b"<html>404</html>" * 999)
    with pytest.raises(DamageError, match=r"tower_train_lmdb/data.mdb is damaged: .*not an LMDB file"):
        _ = source.splits


def test_lsun_without_the_library_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = official.make_lsun(tmp_path)
    monkeypatch.setitem(__import__("sys").modules, "lmdb", None)
    with pytest.raises(UserError, match=r"asal\[lsun\]"):
        _ = source.splits


def test_a_pool_of_lsun_is_found_again_with_its_categories(tmp_path: Path) -> None:
    (tmp_path / "lsun").mkdir()
    source = official.make_lsun(tmp_path / "lsun")
    folders = ingest(source, tmp_path / "project", Split(None, "validation", 2), size=16)
    assert ingest(source, tmp_path / "project", Split(None, "validation", 2), size=16) == folders
    assert StoredPool.open(folders["pool"]).shape == (16, 16, 3)


# The real thing


def real(name: str) -> Hub:
    folder = Path(os.environ.get("ASAL_DATA_DIR", "/nowhere")) / name
    if not folder.is_dir():
        pytest.skip(f"ASAL_DATA_DIR does not say where a copy of {name} is")
    return Hub(str(folder))


def slice_of(source: Hub, split: str, rows: Any) -> tuple[Images, Any]:
    everything = source.labels(split)
    assert everything is not None
    return read(source, split, rows), everything[rows]


def test_real_mnist_of_the_hub_is_the_same_from_idx_files(tmp_path: Path) -> None:
    hub, rows = real("mnist"), np.arange(0, 10_000, 37)
    train, test = slice_of(hub, "train", 6 * rows), slice_of(hub, "test", rows)
    official.write_mnist(tmp_path, (train[0][..., 0], train[1]), (test[0][..., 0], test[1]))
    files = Mnist(str(tmp_path))
    for split, (images, expected) in (("train", train), ("test", test)):
        assert np.array_equal(read(files, split), images) and labels(files, split) == expected.tolist()
    assert hub.classes == files.classes


def test_real_cifar_of_the_hub_is_the_same_from_binary_files(tmp_path: Path) -> None:
    hub, rows = real("cifar10"), np.arange(0, 10_000, 37)
    train, test = slice_of(hub, "train", 5 * rows), slice_of(hub, "test", rows)
    files = Cifar10(str(official.write_cifar(tmp_path / "bin", train, test)))
    for split, (images, expected) in (("train", train), ("test", test)):
        assert np.array_equal(read(files, split), images) and labels(files, split) == expected.tolist()
    assert hub.classes == files.classes
