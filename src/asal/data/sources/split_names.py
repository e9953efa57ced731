"""Names of folders that data sets give to their splits, to their images and to their annotations."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import Literal, TypeAlias

Part: TypeAlias = Literal["train", "held out", ""]  # "" is no split

TRAIN = frozenset({"train", "training", "trn"})
HELD_OUT = frozenset(
    {"test", "testing", "tst", "val", "valid", "validation", "validate", "dev", "development"}
    | {"eval", "evaluation", "holdout", "heldout"}
)
NEUTRAL = frozenset(  # words that say nothing about what is in a folder
    {"set", "data", "dataset", "split", "image", "images", "img", "imgs", "picture", "pictures", "photo", "photos"}
    | {"jpg", "jpeg", "png", "jpegimages", "folder", "dir"}
)
IMAGES = frozenset({"image", "images", "img", "imgs", "jpegimages", "picture", "pictures", "photo", "photos", "data"})
ANNOTATIONS = frozenset(
    {"label", "labels", "annotation", "annotations", "annot", "annots", "mask", "masks", "groundtruth", "gt"}
    | {"segmentation", "segmentations", "bbox", "bboxes"}
)


def words(name: str) -> list[str]:
    """Return the words of a folder's name in lower case, without numbers.

    >>> words("TrainImages_2017"), words("val-set"), words("testset")
    (['train', 'images'], ['val', 'set'], ['test', 'set'])
    """
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", unicodedata.normalize("NFC", name))
    found = re.findall(r"[^\W\d_]+", spaced.casefold())
    return [word for one in found for word in _parted(one)]


def _parted(word: str) -> list[str]:
    """Part a split's word and a neutral one that are written together: trainset."""
    for end in NEUTRAL:
        if word.endswith(end) and word.removesuffix(end) in TRAIN | HELD_OUT:
            return [word.removesuffix(end), end]
        if word.startswith(end) and word.removeprefix(end) in TRAIN | HELD_OUT:
            return [word.removeprefix(end), end]
    return [word]


def are_splits(names: Sequence[str]) -> bool:
    """Say whether all of several names are those of splits.

    >>> are_splits(["train", "validation"]), are_splits(["train", "bus"]), are_splits(["train"])
    (True, False, False)
    """
    return len(names) > 1 and all(map(part_of, names))


def part_of(name: str, *, beside: tuple[str, ...] = ()) -> Part:
    """Return which split a folder's name stands for.

    Args:
        beside: words that may stand beside it, such as "seg" of seg_train and seg_test.

    >>> part_of("Train"), part_of("val"), part_of("test_images"), part_of("train_station"), part_of("cat")
    ('train', 'held out', 'held out', '', '')
    """
    rest = [word for word in words(name) if word not in NEUTRAL and word not in beside]
    if len(rest) != 1:
        return ""
    return "train" if rest[0] in TRAIN else "held out" if rest[0] in HELD_OUT else ""


def contains(name: str) -> Part:
    """Return which split a folder's name speaks of, among other words."""
    found = set(words(name))
    return "train" if found & TRAIN else "held out" if found & HELD_OUT else ""


def common_words(names: list[str]) -> tuple[str, ...]:
    """Return the words that all names have beside those of splits.

    >>> common_words(["seg_train", "seg_test"]), common_words(["train", "test"])
    (('seg',), ())
    """
    shared = set.intersection(*(set(words(name)) for name in names)) if names else set()
    return tuple(sorted(shared - TRAIN - HELD_OUT - NEUTRAL))


def is_images(name: str) -> bool:
    """Whether a folder is called "images" or the like, which is no class."""
    found = words(name)
    return bool(found) and set(found) <= IMAGES


def is_annotations(name: str) -> bool:
    """Whether a folder is called "labels", "masks" or the like, beside one of images."""
    rest = set(words(name)) - TRAIN - HELD_OUT - NEUTRAL
    return bool(rest) and rest <= ANNOTATIONS | {"ground", "truth"}


def split_key(name: str) -> str:
    """Return the name of a folder's split in a spec: "train" for training images, else the folder's in lower case."""
    return "train" if part_of(name) == "train" else unicodedata.normalize("NFC", name).casefold()


def split_kind(name: str) -> Literal["validation", "test", ""]:
    """Return whether a held-out split chooses settings or measures accuracy.

    >>> split_kind("val"), split_kind("test_images"), split_kind("extra")
    ('validation', 'test', '')
    """
    found = set(words(name))
    if found & {"test", "testing", "tst", "holdout", "heldout", "eval", "evaluation"}:
        return "test"
    return "validation" if found & HELD_OUT else ""
