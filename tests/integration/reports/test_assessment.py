"""A classifier assessed on labelled images: a folder of class folders, or what the project holds out."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image
from support.classified_projects import CLASSES, SMALL, classified
from support.commands import Command
from support.photographs import draw

from asal.errors import UserError
from asal.experiments.labelled_images import assess
from asal.project.project import Project
from asal.reports.assessment import lines, write_assessment
from asal.session.class_changes import ClassChange


@pytest.fixture
def project(tmp_path: Path) -> Project:
    draw(tmp_path / "held", [f"{name}/{number}.jpg" for name in CLASSES for number in range(7)], (60, 90))
    return classified(tmp_path, "head on pixels", images=40, pool={**SMALL, "split": {"test": 10}})


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_each_image_of_the_folder_is_compared_with_its_folders_name(project: Project, tmp_path: Path) -> None:
    (tmp_path / "held" / "loose.jpg").write_bytes((tmp_path / "held" / "cat" / "0.jpg").read_bytes())
    (tmp_path / "held" / "cat" / "broken.jpg").write_text("no image")
    found = assess(project, tmp_path / "held")
    paths = [tmp_path / "held" / name for name in found.names]
    assert sorted(found.names) == sorted(f"{name}/{number}.jpg" for name in CLASSES for number in range(7))
    expected = project.predict(paths)
    np.testing.assert_allclose(found.assessment.probs, expected.probs, atol=1e-6)
    assert found.assessment.labels.tolist() == [CLASSES.index(path.parent.name) for path in paths]
    assert list(found.unreadable) == ["cat/broken.jpg"] and found.without_class == 1
    right = sum(label == path.parent.name for label, path in zip(expected.labels, paths, strict=True))
    assert found.assessment.accuracy.hits == right
    said = "\n".join(lines(found))
    assert f"accuracy {right / 14:.1%}" in said and "1 file could not be read" in said and "gives 50.0%" in said


def test_by_default_it_is_the_test_set(project: Project) -> None:
    found, session = assess(project), project.session("random")
    labels = project.oracle("test").answer(np.arange(10))
    probs = session.model().predict(project.inputs("test").read(np.arange(10)))
    np.testing.assert_array_equal(found.assessment.labels, labels)
    np.testing.assert_array_equal(found.assessment.probs, probs)
    assert found.names == project.test.keys(np.arange(10)) and found.trained_on == 12
    session.record.close()


def test_without_either_it_says_what_to_give(tmp_path: Path) -> None:
    project = classified(tmp_path, "linear")
    with pytest.raises(UserError, match="holds no labelled images") as caught:
        assess(project)
    assert "asal evaluate PROJECT FOLDER" in caught.value.hint


def test_folders_under_former_names_count_and_unknown_ones_are_refused(project: Project, tmp_path: Path) -> None:
    session = project.session("random")
    session.change_classes(ClassChange("rename", ("cat",), "tiger"))
    session.record.close()
    renamed = Project.open(project.root)
    assert assess(renamed, tmp_path / "held").assessment.confusion.sum(axis=1).tolist() == [7, 7]
    (tmp_path / "held" / "fox").mkdir()
    Image.new("RGB", (9, 9)).save(tmp_path / "held" / "fox" / "1.png")
    with pytest.raises(UserError, match="the project has no class 'fox'"):
        assess(renamed, tmp_path / "held")


@pytest.mark.parametrize("what", ["splits", "no classes", "nothing"])
def test_a_folder_without_one_set_of_class_folders_is_refused(what: str, project: Project, tmp_path: Path) -> None:
    folder = tmp_path / "other"
    if what == "splits":
        for split in ("train", "test"):
            shutil.copytree(tmp_path / "held", folder / split)
    elif what == "no classes":
        shutil.copytree(tmp_path / "held" / "cat", folder)
    else:
        folder.mkdir()
    with pytest.raises(UserError, match="other"):
        assess(project, folder)


def test_the_files_hold_the_numbers(project: Project, tmp_path: Path) -> None:
    found, out = assess(project, tmp_path / "held"), tmp_path / "out"
    written = write_assessment(found, out)
    its = found.assessment
    assert sorted(path.name for path in written) == sorted(path.name for path in out.iterdir())
    facts = json.loads((out / "evaluation.json").read_text())
    assert facts["accuracy"]["value"] == its.accuracy.value and facts["always"]["accuracy"] == 0.5
    assert facts["balanced_accuracy"] == its.balanced_accuracy and facts["images"] == 14
    by_class = rows(out / "classes.csv")
    assert [row["class"] for row in by_class] == list(CLASSES)
    for row, one in zip(by_class, its.by_class, strict=True):
        assert float(row["recall"]) == pytest.approx(one.recall.value, abs=1e-6)
        assert float(row["recall_low"]) == pytest.approx(one.recall.interval[0], abs=1e-6)
    matrix = [[int(row[name]) for name in CLASSES] for row in rows(out / "confusion.csv")]
    assert matrix == its.confusion.tolist()
    images = rows(out / "predictions.csv")
    assert [row["file"] for row in images] == found.names
    assert [row["file"] for row in rows(out / "mistakes.csv")] == [found.names[row] for row in its.mistakes]
    assert all(row["label"] != row["prediction"] for row in rows(out / "mistakes.csv"))
    assert sum(int(row["images"]) for row in rows(out / "reliability.csv")) == 14
    for name in ("confusion", "reliability"):
        assert ElementTree.parse(out / f"{name}.svg").getroot().tag.endswith("svg")
        with Image.open(out / f"{name}.png") as picture:
            assert picture.width > 300
    write_assessment(found, out)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match="it holds no earlier evaluation"):
        write_assessment(found, tmp_path / "mine")


def test_the_command(asal: Command, project: Project, tmp_path: Path) -> None:
    said = asal("evaluate", project.root, tmp_path / "held", "--out", tmp_path / "out")
    assert said.code == 0 and "always answering" in said.out and "recall" in said.out
    assert str(tmp_path / "out" / "mistakes.csv") in said.out
    assert "the 10 images of the test set" in asal("evaluate", project.root).out
    asal("evaluate", project.root, tmp_path / "nowhere").refused("no folder")


def test_what_it_was_trained_on_is_left_out_also_as_a_copy(project: Project, tmp_path: Path) -> None:
    pool = project.pool
    session = project.session("random")
    labelled = set(pool.keys(session.labelled))  # type: ignore[union-attr]
    session.record.close()
    own = assess(project, tmp_path / "images")
    every = {f"{CLASSES[image % 2]}/{image:02d}.png" for image in range(40)}
    assert set(own.names) == every - labelled and own.learned == len(labelled) == 12
    assert "12 images that it was trained on" in "\n".join(lines(own))
    for key in labelled:
        shutil.copy(tmp_path / "images" / key, tmp_path / "held" / key.split("/")[0])
    found = assess(project, tmp_path / "held")
    assert (len(found.names), found.learned) == (14, 12)
    draw(tmp_path / "only", ["cat/1.png", "dog/1.png"])
    for file in (tmp_path / "only").rglob("*.png"):
        shutil.copy(tmp_path / "images" / sorted(labelled)[0], file)
    with pytest.raises(UserError, match="nothing is left of the 2 files"):
        assess(project, tmp_path / "only")


def test_a_folder_that_holds_something_else_is_refused_before_anything_is_opened(asal: Command, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    said = asal("evaluate", tmp_path / "no-project", "--out", tmp_path)
    assert said.code != 0 and "it holds no earlier evaluation" in said.out + said.err
