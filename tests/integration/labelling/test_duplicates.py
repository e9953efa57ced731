"""Exact copies are asked about once, and the answer counts for all of them."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from asal.data.duplicates import report
from asal.project.project import Project
from asal.project.status import summary


def picture(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, (8, 8, 3), dtype=np.uint8)).save(path)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a project of ten images without labels: 7, 8 and 9 are copies of 1, 1 and 2."""
    for number in range(7):
        picture(tmp_path / "images" / f"{number}.png", number)
    for copy, first in ((7, 1), (8, 1), (9, 2)):
        shutil.copy(tmp_path / "images" / f"{first}.png", tmp_path / "images" / f"{copy}.png")
    root = tmp_path / "project"
    root.mkdir()
    (root / "asal.toml").write_text(
        f'name = "p"\n[source]\nkind = "folder"\npath = "{tmp_path / "images"}"\nlabel = "none"\n[pool]\nsize = 8\n'
        '[learner]\nkind = "linear"\n[protocol]\ninitial = 3\nbatch = 2\nbudget = 9\n[strategies.random]\n'
        '[labelling]\nclasses = ["cat", "dog"]\n'
    )
    Project.open(root).ingest()
    return root


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_copies_are_listed_and_told(root: Path, asal: Callable[..., Any]) -> None:
    said = asal("prepare", root)
    assert "3 images are exact copies of 2 others" in said.out
    assert [(row["key"], row["copy_of"]) for row in read(root / "pool" / "duplicates.csv")] == [
        ("7.png", "1.png"), ("8.png", "1.png"), ("9.png", "2.png"),
    ]  # fmt: skip
    said = asal("duplicates", root, "--near")
    assert said.code == 0 and "0 images in 0 groups" in said.out and asal("doctor", root).code == 0


def test_one_of_each_group_is_asked_about_until_none_is_left(root: Path, asal: Callable[..., Any]) -> None:
    session = Project.open(root).session("random")
    asked: list[int] = []
    while session.left:
        batch = session.ask(min(2, session.left))
        asked += batch.ids.tolist()
        session.tell({int(image): int(image) % 2 for image in batch.ids}, by="Ada")
    session.record.close()
    assert sorted(asked) == [0, 1, 2, 3, 4, 5, 6]
    said = asal("export", root, root.parent / "out").out
    assert "10 labels" in said and "3 of them are exact copies" in said and "conflict" not in said.lower()
    rows = {int(row["id"]): row for row in read(root.parent / "out" / "labels.csv")}
    assert {image: row["copy_of"] for image, row in rows.items() if row["copy_of"]} == {7: "1", 8: "1", 9: "2"}
    assert [rows[image]["label"] for image in (1, 7, 8, 2, 9)] == ["dog", "dog", "dog", "cat", "cat"]
    assert "7 labels that 3 exact copies have, too" in " ".join(row[2] for row in summary(root))
    back = asal("import", root, root.parent / "out" / "labels.csv")
    assert back.code == 0 and "0 labels written" in back.out, "what was exported is no news"
    for form in ("jsonl", "parquet", "folders", "torch"):
        assert asal("export", root, root.parent / form, "--as", form).code == 0
    assert len(list((root.parent / "folders").glob("*/*.png"))) == 10


def test_an_imported_label_of_a_copy_counts_for_the_group(root: Path) -> None:
    from asal.labelling.exchange.imports import ImportOptions, import_labels
    from asal.project.folder import ProjectFolder

    file = root.parent / "some.csv"
    file.write_text("key,label\n7.png,cat\n8.png,cat\n")
    assert import_labels(ProjectFolder.open(root), file, ImportOptions()).written == 2
    session = Project.open(root).session("random")
    assert session.left == 6 and 1 not in session.ask(6).ids.tolist()
    session.record.close()


def test_copies_with_different_labels_are_conflicts(root: Path, asal: Callable[..., Any]) -> None:
    file = root.parent / "some.csv"
    file.write_text("key,label\n1.png,cat\n7.png,dog\n3.png,dog\n")
    assert asal("import", root, file).code == 0
    report_of_rows = {row["key"]: row["detail"] for row in read(Path(f"{file}.import.csv"))}
    assert "of which it is an exact copy, is cat" in report_of_rows["7.png"]
    said = asal("export", root, root.parent / "out").out
    assert "exact copies have different labels: 2" in said
    rows = read(root.parent / "out" / "conflicts.csv")
    assert [(row["id"], row["label"]) for row in rows] == [("1", "cat"), ("7", "dog")]
    assert rows[0]["opinions"] == '{"image 1": "cat", "image 7": "dog"}'
    assert [row["id"] for row in read(root.parent / "out" / "labels.csv")] == ["1", "3", "7"], "8 is neither"


def test_each_asks_about_every_image(root: Path, asal: Callable[..., Any]) -> None:
    with (root / "asal.toml").open("a") as file:
        file.write('duplicates = "each"\n')
    session = Project.open(root).session("random")
    assert session.left == 10 and sorted(session.ask(10).ids.tolist()) == list(range(10))
    session.tell({1: 0}, by="Ada")
    session.record.close()
    assert "1 label," in asal("export", root, root.parent / "out").out


def test_contradicting_folders_and_held_out_copies_are_told(tmp_path: Path, asal: Callable[..., Any]) -> None:
    for number in range(20):
        picture(tmp_path / "images" / "train" / ("cat", "dog")[number % 2] / f"{number}.png", number)
    picture(tmp_path / "images" / "test" / "cat" / "x.png", 100)
    picture(tmp_path / "images" / "test" / "dog" / "y.png", 101)
    images = tmp_path / "images"
    shutil.copy(images / "train" / "cat" / "2.png", images / "train" / "dog" / "copy.png")
    shutil.copy(images / "train" / "cat" / "4.png", images / "test" / "cat" / "leak.png")
    root = tmp_path / "project"
    root.mkdir()
    (root / "asal.toml").write_text(
        f'name = "p"\n[source]\nkind = "folder"\npath = "{images}"\n[pool]\nsize = 8\n[pool.split]\ntest = "test"\n'
        '[learner]\nkind = "linear"\n[protocol]\ninitial = 3\nbatch = 2\nbudget = 9\n[strategies.random]\n'
    )
    said = asal("prepare", root).out
    assert "train/cat/2.png (cat) and train/dog/copy.png (dog)" in said and "1 copy is in another class" in said
    assert "1 image of the held-out sets is in the pool, too" in said and "test: test/cat/leak.png" in said
    found = report(root)
    assert (found.copies, found.originals, found.contradictions, found.leaked) == (1, 1, 1, 1)
    (row,) = read(root / "pool" / "duplicates.csv")
    assert (row["class"], row["class_of_first"]) == ("dog", "cat")
    truth = Project.open(root).oracle("pool")
    assert len(Project.open(root).pool) == 21 and set(truth.answer(np.arange(21)).tolist()) == {0, 1}, "as it was"
