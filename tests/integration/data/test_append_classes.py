"""A class folder that appears after ingest: refused with what helps, or made a class where that is asked for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from asal.errors import UserError
from asal.project.folder import ProjectFolder
from asal.project.project import Project
from asal.project.spec import parse


def pictures(folder: Path, n: int, seed: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(n):
        pixels = np.random.default_rng(seed + number).integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")


@pytest.fixture
def project(tmp_path: Path) -> Project:
    pictures(tmp_path / "images" / "cat", 5, 0)
    pictures(tmp_path / "images" / "dog", 5, 100)
    source = {"kind": "folder", "path": str(tmp_path / "images")}
    made = Project(tmp_path / "p", parse({"name": "p", "source": source, "strategies": {"random": {}}}))
    made.ingest()
    return made


def test_a_new_class_folder_is_refused_and_taken_where_that_is_asked_for(project: Project, tmp_path: Path) -> None:
    session = project.session("random")
    session.tell(dict.fromkeys(session.ask(3).ids.tolist(), "dog"))
    session.record.close()
    pictures(tmp_path / "images" / "bird", 4, 200)  # before the others in the alphabet
    pictures(tmp_path / "images" / "dog", 7, 100)
    with pytest.raises(UserError, match="no class of this project is called 'bird'") as caught:
        project.add()
    assert "--new-classes" in caught.value.hint and "keep" not in caught.value.hint, "`prepare` would refuse it"
    assert project.add(new_classes=True).new == 6
    oracle = project.oracle("pool")
    keys = project.pool.keys(np.arange(16))
    assert [oracle.classes[label] for label in oracle.answer(np.arange(16))] == [key.partition("/")[0] for key in keys]
    assert (
        oracle.classes == project.classes == ProjectFolder(project.root, project.spec).classes == ("cat", "dog", "bird")
    )
    session = project.session("random")
    assert session.classes == {0: "cat", 1: "dog", 2: "bird"} and session.counts == {"cat": 0, "dog": 3, "bird": 0}
    session.record.close()


def test_further_additions_know_the_class(project: Project, tmp_path: Path) -> None:
    pictures(tmp_path / "images" / "bird", 2, 200)
    project.add(new_classes=True)
    pictures(tmp_path / "images" / "bird", 3, 200)
    assert project.add().new == 1  # a class by now: no word is needed
    pictures(tmp_path / "images" / "ant", 2, 300)
    assert project.add(new_classes=True).new == 2
    oracle, keys = project.oracle("pool"), project.pool.keys(np.arange(15))
    assert oracle.classes == ("cat", "dog", "bird", "ant")
    assert [oracle.classes[label] for label in oracle.answer(np.arange(15))] == [key.partition("/")[0] for key in keys]
