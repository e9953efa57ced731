"""Which folders are splits and which are classes: the cases of the docs, and random trees against what they say."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asal.data.found import found
from asal.data.sources.folder import Folder
from asal.data.sources.walking import walked_names
from asal.errors import UserError

Said = dict[str, tuple[str, str]]  # the split and the class of each file that is an image; "" is no class


def write(root: Path, files: Iterable[str]) -> Path:
    for name in files:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")
    return root


def read(source: Folder) -> Said:
    """Return the split and class of each image as a source has them."""
    said: Said = {}
    for split, number in source.splits.items():
        labels = source.labels(split)
        names = [
            "" if labels is None or label < 0 else source.classes[label]
            for label in (labels if labels is not None else [-1] * number)
        ]
        keys = [record.key for record in source.records(split, np.arange(number))]
        said |= dict(zip(keys, [(split, name) for name in names], strict=True))
    return said


def split_class(*splits: str) -> list[str]:
    return [f"{split}/{name}/{number}.png" for split in splits for name in ("cat", "dog") for number in range(2)]


CLEAR: dict[str, tuple[list[str], Said]] = {
    "classes": (["cat/1.png", "dog/2.png"], {"cat/1.png": ("train", "cat"), "dog/2.png": ("train", "dog")}),
    "no folders": (["1.png", "2.png"], {"1.png": ("train", ""), "2.png": ("train", "")}),
    "splits and stray files": (
        ["train/cat/1.png", "Validation/cat/2.png", "vectorize.py", "README", "cover.png"],
        {"train/cat/1.png": ("train", "cat"), "Validation/cat/2.png": ("validation", "cat")},
    ),
    "an unzipped archive": (
        ["archive/Training/cat/1.png", "archive/TESTING/cat/2.png", "__MACOSX/archive/._1.png", "LICENSE"],
        {"archive/Training/cat/1.png": ("train", "cat"), "archive/TESTING/cat/2.png": ("testing", "cat")},
    ),
    "an archive of classes": (
        ["pets/cat/1.png", "pets/dog/2.png"],
        {"pets/cat/1.png": ("train", "cat"), "pets/dog/2.png": ("train", "dog")},
    ),
    "YOLO, images above": (
        ["images/train/1.png", "images/val/2.png", "labels/train/1.txt", "labels/val/2.txt", "data.yaml"],
        {"images/train/1.png": ("train", ""), "images/val/2.png": ("val", "")},
    ),
    "YOLO, splits above": (
        ["train/images/1.png", "train/labels/1.txt", "valid/images/2.png", "valid/labels/2.txt"],
        {"train/images/1.png": ("train", ""), "valid/images/2.png": ("valid", "")},
    ),
    "YOLO, side by side": (
        ["train/1.png", "train/1.txt", "val/2.png", "val/2.txt"],
        {"train/1.png": ("train", ""), "val/2.png": ("val", "")},
    ),
    "splits in classes": (
        ["cat/train/1.png", "cat/test/2.png", "dog/Train/3.png", "dog/Test/4.png"],
        {
            "cat/train/1.png": ("train", "cat"), "cat/test/2.png": ("test", "cat"),
            "dog/Train/3.png": ("train", "dog"), "dog/Test/4.png": ("test", "dog"),
        },
    ),
    "a split in its own folder": (
        ["seg_train/seg_train/sea/1.png", "seg_test/seg_test/sea/2.png"],
        {"seg_train/seg_train/sea/1.png": ("train", "sea"), "seg_test/seg_test/sea/2.png": ("seg_test", "sea")},
    ),
    "masks": (["images/a/1.png", "masks/a/1.png"], {"images/a/1.png": ("train", "a")}),
    "valid is a class beside invalid": (
        ["valid/1.png", "invalid/2.png"],
        {"valid/1.png": ("train", "valid"), "invalid/2.png": ("train", "invalid")},
    ),
    "words inside other words": (
        ["train station/1.png", "bus stop/2.png"],
        {"train station/1.png": ("train", "train station"), "bus stop/2.png": ("train", "bus stop")},
    ),
    "a split below a class is no split": (
        ["vehicles/bus/1.png", "vehicles/train/2.png", "pets/cat/3.png"],
        {
            "vehicles/bus/1.png": ("train", "vehicles"), "vehicles/train/2.png": ("train", "vehicles"),
            "pets/cat/3.png": ("train", "pets"),
        },
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CLEAR)
def test_a_clear_tree_is_read_as_it_says(case: str, tmp_path: Path) -> None:
    files, said = CLEAR[case]
    assert read(Folder(str(write(tmp_path, files)))) == said


DOUBTFUL: dict[str, list[str]] = {
    "a class called train": ["bus/1.png", "car/2.png", "train/3.png"],
    "a class called test": ["good/1.png", "defect/2.png", "test/3.png"],
    "a third folder beside splits": [*split_class("train", "test"), "extra/cat/1.png"],
    "two of training images": split_class("train", "Training"),
    "none of training images": split_class("test", "val"),
    "images beside others": ["images/1.png", "drawings/2.png"],
    "splits in some classes": ["cat/train/1.png", "cat/test/2.png", "dog/3.png"],
    "folds": ["fold1/train/1.png", "fold1/test/2.png", "fold2/train/3.png", "fold2/test/4.png"],
    "splits below": ["pets/cat/train/1.png", "pets/cat/test/2.png", "plants/rose/train/3.png"],
}


@pytest.mark.parametrize("case", DOUBTFUL)
def test_two_readings_are_refused_until_a_word_says_which(case: str, tmp_path: Path) -> None:
    root = write(tmp_path, DOUBTFUL[case])
    with pytest.raises(UserError, match=r'layout = "') as refused:
        read(Folder(str(root)))
    assert "[source]" in refused.value.hint
    as_classes = read(Folder(str(root), layout="classes"))
    assert {key: name for key, (_, name) in as_classes.items()} == {name: name.split("/")[0] for name in DOUBTFUL[case]}
    assert {split for split, _ in as_classes.values()} == {"train"}


def test_the_word_splits_is_followed(tmp_path: Path) -> None:
    said = read(Folder(str(write(tmp_path, [*split_class("train", "test"), "extra/cat/1.png"])), layout="splits"))
    assert {(key.split("/")[0], *value) for key, value in said.items()} == {
        ("train", "train", "cat"), ("train", "train", "dog"),
        ("test", "test", "cat"), ("test", "test", "dog"), ("extra", "extra", "cat"),
    }  # fmt: skip
    with pytest.raises(UserError, match="none has the training images"):
        _ = Folder(str(write(tmp_path / "more", split_class("test", "val"))), layout="splits").splits


def test_the_word_classes_with_splits_is_followed(tmp_path: Path) -> None:
    said = read(Folder(str(write(tmp_path, DOUBTFUL["splits in some classes"])), layout="classes/splits"))
    assert said == {
        "cat/train/1.png": ("train", "cat"), "cat/test/2.png": ("test", "cat"), "dog/3.png": ("train", "dog"),
    }  # fmt: skip


def test_without_labels_folders_need_no_decision_unless_some_are_held_out(tmp_path: Path) -> None:
    flat = Folder(str(write(tmp_path / "a", DOUBTFUL["a class called train"])), label="none")
    assert flat.splits == {"train": 3} and flat.classes == ()
    held_out = Folder(str(write(tmp_path / "b", split_class("train", "val"))), label="none")
    assert held_out.splits == {"train": 4, "val": 4}
    with pytest.raises(UserError, match="not clear"):
        _ = Folder(str(write(tmp_path / "c", DOUBTFUL["a third folder beside splits"])), label="none").splits


BINS = [
    "@eaDir/1.png/THUMB.jpg", "$RECYCLE.BIN/S-1/x.png", "lost+found/2.png", "__MACOSX/cat/._1.png",
    ".thumbnails/3.png", "System Volume Information/4.png", "#recycle/5.png", ".Trash-1000/files/6.png",
    "cat/Thumbs.db", "cat/desktop.ini", "cat/.DS_Store", "cat/._1.png", "cat/@eaDir/1.png/THUMB.jpg",
]  # fmt: skip


def test_thumbnails_and_bins_are_passed_over_and_told_alike_on_a_disk_and_behind_a_url(tmp_path: Path) -> None:
    images = ["cat/1.png", "dog/2.png"]
    source = Folder(str(write(tmp_path, images + BINS)))
    assert read(source) == {"cat/1.png": ("train", "cat"), "dog/2.png": ("train", "dog")}
    (told,) = [line for line in source.notes() if "passed over" in line]
    for name in ("2 files in @eaDir", "in $RECYCLE.BIN", "in lost+found", "in __MACOSX", "in System Volume Information",
                 "in #recycle", "Thumbs.db", "desktop.ini", ".DS_Store", "._*"):  # fmt: skip
        assert name in told
    here, there = source._files, walked_names(images + BINS)
    assert there.files == here.files == images
    assert sum(there.passed.values()) == sum(here.passed.values()) == len(BINS)
    behind = Folder(f"file://{tmp_path}")
    assert list(behind.keys()) == images and behind.classes == ("cat", "dog")


def test_what_was_found_is_told_with_counts(tmp_path: Path) -> None:
    root = write(tmp_path, [*split_class("train", "Test"), "train/Cat/1.png", "train/stray.png", "notes.md"])
    (root / "train" / "eel").mkdir()
    told = "\n".join(found(Folder(str(root))))
    assert "found 10 images, 3 classes, 2 splits:" in told
    assert "train: 6 images: Cat 1, cat 2, dog 2; 1 of no class" in told
    assert "test: 4 images: Cat 0, cat 2, dog 2" in told and "the split 'test' is 'Test'" in told
    assert "no class, because no image is in it: 'eel'" in told
    assert "differ only by case or Unicode form are different classes: 'Cat', 'cat'" in told
    assert "1 file in no class folder" in told and "passed over: 1 file beside the folders of the splits" in told


def test_a_link_to_a_folder_is_followed_once(tmp_path: Path) -> None:
    write(tmp_path, ["cat/1.png", "dog/2.png"])
    (tmp_path / "cat" / "up").symlink_to(tmp_path)
    assert set(read(Folder(str(tmp_path)))) == {"cat/1.png", "dog/2.png"}


def test_the_listing_of_older_pools_is_the_same(tmp_path: Path) -> None:
    import hashlib

    files = ["a/1.png", "b/2.png", "c.png"]
    old = hashlib.sha256(b"".join(f"train/{name}\0".encode() for name in files)).hexdigest()
    assert Folder(str(write(tmp_path / "x", files))).fingerprint == old
    parts = ["test/a/1.png", "train/a/2.png"]
    old = hashlib.sha256(b"".join(f"{name}\0".encode() for name in parts)).hexdigest()
    assert Folder(str(write(tmp_path / "y", parts))).fingerprint == old
    doubtful = Folder(str(write(tmp_path / "z", DOUBTFUL["a class called train"])))
    old = hashlib.sha256(
        b"".join(f"train/{name}\0".encode() for name in sorted(DOUBTFUL["a class called train"]))
    ).hexdigest()
    assert doubtful.fingerprint == old


TRAIN = ["train", "Train", "TRAINING", "trainset", "train_images", "Train-Set", "train2017", "TrainData"]
HELD_OUT = ["test", "Testing", "TESTSET", "val", "Valid", "validation", "DEV", "val2017", "test_images", "holdout"]
CLASSES = ["cat", "Dog", "Ähre", "0", "10", "red car", "train station", "labels of wine", "ice.cream"]
STRAY = ["README", "vectorize.py", "labels.csv", "data.yaml", "notes.txt", "._x", "Thumbs.db", ".DS_Store"]
LAYOUTS = ["classes", "splits", "flat splits", "classes/splits", "yolo", "roboflow"]


@st.composite
def trees(draw: st.DrawFn) -> tuple[list[str], Said]:
    """Draw files, and the split and class that their names give to each image."""
    layout = draw(st.sampled_from(LAYOUTS))
    classes = draw(st.lists(st.sampled_from(CLASSES), min_size=2, max_size=4, unique=True))
    splits = {draw(st.sampled_from(TRAIN)): "train"}
    for name in draw(st.lists(st.sampled_from(HELD_OUT), min_size=1, max_size=2, unique_by=str.casefold)):
        splits[name] = name.casefold()
    said: Said = {}
    strays: list[str] = []
    prefix = draw(st.sampled_from(["", "archive/", "pets v2/data/"]))
    for folder, split in splits.items() if layout != "classes" else [("", "train")]:
        for name in classes if layout in ("classes", "splits", "classes/splits") else [""]:
            home = {"classes": name, "splits": f"{folder}/{name}", "flat splits": folder, "yolo": f"images/{folder}",
                    "classes/splits": f"{name}/{folder}", "roboflow": f"{folder}/images"}[layout]  # fmt: skip
            for number in range(draw(st.integers(1, 3))):
                said[f"{prefix}{home}/{split}{number}.jpg"] = (split, name)
                if layout in ("yolo", "roboflow"):
                    strays.append(f"{prefix}{home.replace('images', 'labels')}/{split}{number}.txt")
    tops = [prefix, *(f"{key.rsplit('/', 1)[0]}/" for key in said if layout != "classes/splits")]
    for place in draw(st.lists(st.sampled_from(tops), max_size=2)):
        strays.append(place + draw(st.sampled_from(STRAY)))
    strays += draw(st.lists(st.sampled_from(["docs/index.md", "@eaDir/x.jpg", "__MACOSX/a/b.jpg"]), max_size=2))
    return [*said, *strays], said


@settings(max_examples=80, deadline=None)
@given(trees())
def test_no_image_gets_another_split_or_class_than_its_tree_says(drawn: tuple[list[str], Said]) -> None:
    files, said = drawn
    with tempfile.TemporaryDirectory() as folder:
        given_ = read(Folder(str(write(Path(folder), files))))
    images = {key: value for key, value in given_.items() if key.endswith(".jpg")}
    assert images == said
    others = {split for key, (split, _) in given_.items() if key not in said}
    assert not [key for key in given_ if key not in said and "labels/" in key] and others <= {
        "train",
        *(s for s, _ in said.values()),
    }
