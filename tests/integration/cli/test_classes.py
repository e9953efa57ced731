"""`asal classes` on real projects: the record and asal.toml agree, imports and exports use the present names."""

from __future__ import annotations

import csv
import tomllib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.commands import Command

from asal.errors import UserError
from asal.project.project import Project
from asal.session.events import Event

TOML = """name = "p"
[source]
kind = "folder"
path = "{images}"
label = "none"
[strategies.random]
[labelling]
classes = ["cat", "dog"]  # what we look for
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a prepared project of twelve images, four of which are answered: cat, cat, dog, cat."""
    images, project = tmp_path / "images", tmp_path / "p"
    images.mkdir()
    project.mkdir()
    for number in range(12):
        pixels = np.random.default_rng(number).integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(images / f"{number}.png")
    (project / "asal.toml").write_text(TOML.format(images=images))
    opened = Project.open(project)
    opened.ingest()
    session = opened.session("random")
    ids = session.ask(4).ids.tolist()
    session.tell(dict(zip(ids, ["cat", "cat", "dog", "cat"], strict=True)), by="Ada")
    session.record.close()
    return project


def listed(root: Path) -> list[str]:
    return list(tomllib.loads((root / "asal.toml").read_text())["labelling"]["classes"])


def events(root: Path) -> list[Event]:
    with Project.open(root).folder.record() as record:
        return [event for event in record.read() if event.kind == "classes"]


def exported(asal: Command, root: Path, out: Path) -> list[str]:
    assert asal("export", root, out).code == 0
    with (out / "labels.csv").open(encoding="utf-8", newline="") as file:
        return sorted(row["label"] for row in csv.DictReader(file))


def test_classes_are_changed_in_the_record_and_in_the_file(asal: Command, root: Path, tmp_path: Path) -> None:
    said = asal("classes", root, "add", "bird", "kitten", "--by", "Ada")
    assert said.code == 0 and "Added bird (number 2), kitten (number 3)." in said.out, said.err
    assert listed(root) == ["cat", "dog", "bird", "kitten"] and "# what we look for" in (root / "asal.toml").read_text()
    assert asal("classes", root, "rename", "dog", "hound").code == 0
    assert asal("classes", root, "merge", "cat", "kitten").code == 0
    assert listed(root) == ["hound", "bird", "kitten"]
    assert exported(asal, root, tmp_path / "out") == ["hound", "kitten", "kitten", "kitten"]
    assert [event.by for event in events(root)] == ["Ada", None, None]
    said = asal("classes", root)
    assert [line.split() for line in said.out.splitlines()[1:]] == [
        ["1", "hound", "1"], ["2", "bird", "0"], ["3", "kitten", "3"], ["0", "cat", "(3)", "counts", "as", "kitten"]
    ]  # fmt: skip


def test_a_former_name_in_a_file_counts_as_the_present_class(asal: Command, root: Path, tmp_path: Path) -> None:
    asal("classes", root, "add", "bird")
    asal("classes", root, "rename", "dog", "hound")
    with Project.open(root).folder.record() as record:
        asked = {image for event in record.read() if event.kind == "asked" for image in event.body["ids"]}
    keys = Project.open(root).pool.keys(np.array([image for image in range(12) if image not in asked][:3]))
    table = tmp_path / "more.csv"
    table.write_text(
        "key,label\n" + "".join(f"{key},{label}\n" for key, label in zip(keys, ["dog", "hound", "bird"], strict=True))
    )
    assert asal("import", root, table).code == 0
    assert "read as 'hound', its name by now" in (tmp_path / "more.csv.import.csv").read_text()
    assert exported(asal, root, tmp_path / "out") == ["bird", "cat", "cat", "cat", "hound", "hound", "hound"]


def test_asal_toml_alone_adds_a_class(asal: Command, root: Path, tmp_path: Path) -> None:
    (root / "asal.toml").write_text((root / "asal.toml").read_text().replace('"cat", "dog"', '"bird", "cat", "dog"'))
    session = Project.open(root).session("random")
    assert session.classes == {0: "cat", 1: "dog", 2: "bird"}
    session.tell(dict.fromkeys(session.ask(2).ids.tolist(), "bird"))
    session.record.close()
    assert exported(asal, root, tmp_path / "out") == ["bird", "bird", "cat", "cat", "cat", "dog"]


def test_a_name_that_vanished_is_refused_with_a_command_that_helps(asal: Command, root: Path) -> None:
    (root / "asal.toml").write_text((root / "asal.toml").read_text().replace('"dog"', '"hound"'))
    with pytest.raises(UserError, match="was begun with classes") as caught:
        Project.open(root).session("random")
    command = f"asal classes {root} rename 'dog' 'hound'"
    assert command in caught.value.hint
    assert asal("classes", root, "rename", "dog", "hound").code == 0
    session = Project.open(root).session("random")
    assert session.counts == {"cat": 3, "hound": 1}
    session.record.close()


def test_dropping_a_class_with_answers_needs_a_word(asal: Command, root: Path, tmp_path: Path) -> None:
    asal("classes", root, "add", "bird")
    asal("classes", root, "drop", "cat").refused("'cat' has been answered for 3 images", "--cant-tell")
    assert listed(root) == ["cat", "dog", "bird"]
    assert asal("classes", root, "drop", "cat", "--to", "bird").code == 0
    assert exported(asal, root, tmp_path / "out") == ["bird", "bird", "bird", "dog"]
    assert asal("classes", root, "restore", "cat").code == 0
    assert listed(root) == ["dog", "bird", "cat"]
    assert asal("classes", root, "drop", "cat", "--cant-tell").code == 0
    assert exported(asal, root, tmp_path / "out") == ["", "", "", "dog"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["explode"], "nothing that can be done with classes"),
        (["add"], "add does not take 0 names"),
        (["rename", "cat"], "asal classes PROJECT rename OLD NEW"),
        (["merge", "cat", "dog", "--cant-tell"], "merge does not take 2 names and these options"),
        (["drop", "cat", "--to", "dog", "--cant-tell"], "both --to and --cant-tell"),
        (["merge", "cat", "dog"], "only 'dog' would be left"),
    ],
)
def test_a_command_that_cannot_be_is_refused(asal: Command, root: Path, words: list[str], says: str) -> None:
    asal("classes", root, *words).refused(says)
    assert events(root) == [] and listed(root) == ["cat", "dog"]


def test_a_record_that_is_not_begun_is_begun_with_the_change(asal: Command, root: Path) -> None:
    (root / "labels.db").unlink()
    assert asal("classes", root).out.split() == ["number", "class", "labels", "0", "cat", "0", "1", "dog", "0"]
    assert asal("classes", root, "add", "bird").code == 0
    session = Project.open(root).session("random")
    assert session.classes == {0: "cat", 1: "dog", 2: "bird"} and len(session.ask(3)) == 3
    session.record.close()
