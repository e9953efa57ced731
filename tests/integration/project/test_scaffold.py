"""A project of one's own images, from a folder to a batch."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from asal.models.learners import learners
from asal.project.project import Project
from asal.project.scaffold import Wish
from asal.project.scaffold import start as start_project
from asal.project.spec import load
from asal.project.validate import check

PLACES = {
    "plain": "project",
    "spaces and quotes": 'my "own" pictures\' home',
    "brackets": "[red]cats[/red]",
    "unicode": "Bäume und 猫 ∂",
    "dollars and backslashes": "$name \\n ${path}",
}


def pictures(folder: Path) -> Path:
    """Write sixty pictures of two classes, one that is broken and one that is none."""
    rng = np.random.default_rng(0)
    for number in range(60):
        home = folder / ("dark", "light")[number % 2]
        home.mkdir(parents=True, exist_ok=True)
        image = rng.integers(80, size=(12, 10, 3), dtype=np.uint8) + 150 * (number % 2)
        Image.fromarray(image.astype(np.uint8)).save(home / f"{number}.png")
    whole = (folder / "dark" / "0.png").read_bytes()
    (folder / "dark" / "broken.png").write_bytes(whole[: len(whole) // 2])
    (folder / "light" / "notes.txt").write_text("no picture")
    return folder


def hasten(file: Path) -> None:
    """Make training quick."""
    text = file.read_text(encoding="utf-8")
    assert 'kind = "cnn"' in text
    file.write_text(text.replace('kind = "cnn"', 'kind = "linear"'), encoding="utf-8")


@pytest.mark.parametrize("place", PLACES)
def test_what_is_written_can_be_read_wherever_it_lies(place: str, asal: Any, tmp_path: Path) -> None:
    images = pictures(tmp_path / PLACES[place] / "images")
    project = tmp_path / PLACES[place] / "project of mine"
    said = asal("init", "--no-estimate", project, "--images", images, "--size", 16)
    assert said.code == 0 and str(project / "asal.toml") in said.out
    assert said.out.strip().endswith(f"Next: asal prepare {shlex.quote(str(project))}"), "it cannot be copied"
    spec = load(project)
    assert spec.source.options == {"path": "../images"} and spec.name == "project-of-mine"
    assert spec.pool.size == 16 and not spec.pool.gray
    assert [*check(spec).tables] == ["spread", "subset", "random"]


def test_from_a_folder_of_pictures_to_a_batch(asal: Any, start: Any, tmp_path: Path) -> None:
    images = pictures(tmp_path / PLACES["spaces and quotes"])
    project = tmp_path / PLACES["brackets"]
    assert asal("init", "--no-estimate", project, "--images", images, "--size", 8).code == 0
    hasten(project / "asal.toml")
    said = start("prepare", project).wait()
    assert said.code == 0, said.err
    shown = " ".join(said.out.split())
    opened = Project.open(project)
    n, held = len(opened.pool), len(opened.test)
    assert f"{n} images of 8 × 8 × 3" in shown and shown.count(" complete ") >= 4
    assert not (project / "indexes").exists(), "nothing searches"
    assert n + held == 60 and held <= 12
    report = "".join((project / part / "unreadable.csv").read_text() for part in ("pool", "test"))
    assert "dark/broken.png" in report and "light/notes.txt" in report

    session = opened.session("spread")
    assert session.plan.classes == ("dark", "light")
    for _ in range(2):
        batch = session.ask(10)
        session.tell({int(i): key.split("/")[0] for i, key in zip(batch.ids, opened.pool.keys(batch.ids), strict=True)})
    sure = session.model().predict(opened.pool.read(np.arange(n))).argmax(1)
    assert sure.tolist() == opened.oracle("pool").answer(np.arange(n)).tolist()


def test_a_project_is_started_once(asal: Any, tmp_path: Path) -> None:
    images = pictures(tmp_path / "images")
    assert asal("init", "--no-estimate", tmp_path / "p", "--images", images).code == 0
    before = (tmp_path / "p" / "asal.toml").read_bytes()
    asal("init", tmp_path / "p", "--images", images, "--size", 32).refused("there is a project already", "asal.toml")
    assert (tmp_path / "p" / "asal.toml").read_bytes() == before


def test_wrong_words_are_refused_and_leave_nothing(asal: Any, tmp_path: Path) -> None:
    pictures(tmp_path / "images")
    (tmp_path / "file").write_text("")
    asal("init", tmp_path / "p", "--images", tmp_path / "imgs").refused("no folder at", "imgs")
    asal("init", tmp_path / "p", "--images", tmp_path / "file").refused("no folder at", "it is a file", str(tmp_path))
    asal("init", tmp_path / "p", "--images", tmp_path / "images", "--size", 4).refused("--size")
    asal("init", tmp_path / "p", "--images", tmp_path / "images", "--for", "photos").refused(
        "no kind of images is called 'photos'", "did you mean 'photographs'?"
    )
    asal("init", tmp_path / "p").refused("--images")
    asal("init", tmp_path / "file", "--images", tmp_path / "images").refused("there is a file in the folder's place")
    assert not (tmp_path / "p").exists()


def test_a_folder_without_images_is_refused_there_and_then(asal: Any, tmp_path: Path) -> None:
    images, project = tmp_path / "images", tmp_path / "p"
    images.mkdir()
    asal("init", project, "--images", images).refused("there are no images in", str(images))
    (images / "notes.txt").write_text("no picture")
    asal("init", project, "--images", images).refused("there are no images in", "notes.txt", "text")
    (images / "more").mkdir()
    (images / "more" / "1.jpg").write_bytes(b"\xff\xd8\xff\xe0 and no more")
    asal("init", project, "--images", images).refused("there are no images in", "1.jpg")
    assert not project.exists()


def test_a_project_and_its_images_lie_beside_each_other(asal: Any, tmp_path: Path) -> None:
    images = pictures(tmp_path / "all" / "images")
    asal("init", images / "p", "--images", images).refused("is inside the image folder")
    asal("init", tmp_path / "all", "--images", images).refused("is inside the project folder")
    assert not (tmp_path / "all" / "asal.toml").exists() and not (images / "p").exists()


@pytest.mark.parametrize("size", [8, 28, 50, 64, 128])
def test_small_images_of_every_size_can_be_asked_for(size: int, tmp_path: Path) -> None:
    """No generator has to draw them."""
    images = pictures(tmp_path / "images")
    spec = load(start_project(tmp_path / "p", images, Wish("small-images", size, gray=True)).file)
    assert spec.pool.size == size and spec.pool.gray and spec.generator is None
    learner = learners[spec.learner.kind].bind({**spec.learner.options, "width": 2, "steps": 1})
    drawn = np.random.default_rng(0).integers(256, size=(4, size, size, 1), dtype=np.uint8)
    model = learner.fit(drawn, np.array([0, 1, 0, 1]), 2, np.random.default_rng(0))
    assert model.predict(drawn).shape == (4, 2)
