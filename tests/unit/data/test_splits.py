"""Splits dealt out by number and by name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from asal.data.sources.arrays import Arrays
from asal.data.sources.folder import Folder
from asal.data.splits import Split, make_splits
from asal.errors import UserError
from asal.project.spec import parse


def write_folder(folder: Path) -> Folder:
    """Write 12 files to train on, and 4 for each of two other splits."""
    for split, files in (("train", 12), ("val", 4), ("test", 4)):
        for number in range(files):
            path = folder / split / "ab"[number % 2] / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    return Folder(str(folder))


def test_a_split_of_its_own_to_validate_on_is_taken_whole(tmp_path: Path) -> None:
    parts = make_splits(write_folder(tmp_path), Split(None, "val", "test"))
    assert {name: (part.split, len(part.rows)) for name, part in parts.items()} == {
        "pool": ("train", 12), "validation": ("val", 4), "test": ("test", 4),
    }  # fmt: skip
    assert list(parts) == ["pool", "validation", "test"] == list(Split(None, "val", "test").parts)


def test_the_other_set_is_still_held_out_by_number(tmp_path: Path) -> None:
    source = write_folder(tmp_path)
    parts = make_splits(source, Split(None, "val", 3))
    assert (parts["test"].split, len(parts["test"].rows), len(parts["pool"].rows)) == ("train", 3, 9)
    assert not set(parts["test"].rows) & set(parts["pool"].rows)


def test_rows_are_those_of_before(tmp_path: Path) -> None:
    """Labels belong to ids: what a split by numbers deals out may never change."""
    np.save(tmp_path / "x.npy", np.zeros((10, 2, 2), np.uint8))
    parts = make_splits(Arrays(str(tmp_path / "x.npy")), Split(4, 2, 3, seed=1))
    rows = {name: part.rows.tolist() for name, part in parts.items()}
    assert rows == {"pool": [1, 4, 5, 6], "validation": [3, 9], "test": [0, 7, 8]}


@pytest.mark.parametrize(
    ("split", "match"),
    [
        (Split(None, "vall", "test"), "no split for the validation set is called 'vall'.*did you mean 'val'"),
        (Split(None, "train", "test"), "no split for the validation set is called 'train'"),
        (Split(None, "test", "test"), "the validation and the test set are both"),
        (Split(None, "val", -1), "none negative"),
        (Split(None, 5, -5), "none negative"),
        (Split(13, "val", "test"), "add up to 12"),
    ],
)
def test_what_cannot_be_dealt_out_is_told(tmp_path: Path, split: Split, match: str) -> None:
    with pytest.raises(UserError, match=match):
        make_splits(write_folder(tmp_path), split)


def test_a_spec_names_a_split_to_validate_on() -> None:
    def given(validation: object) -> object:
        table = {"name": "x", "source": {"kind": "digits"}, "pool": {"split": {"validation": validation}}}
        return parse(table).pool.split.validation

    assert given("val") == "val" and given(7) == 7
    with pytest.raises(UserError, match="validation"):
        given(-1)
