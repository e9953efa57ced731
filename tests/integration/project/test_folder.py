"""What a project folder says of itself: pool, classes, record, held-out sets."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from asal.errors import UserError
from asal.project.folder import LabelledSet, ProjectFolder
from asal.project.project import Project


def test_it_says_the_same_as_the_project(tiny: Path) -> None:
    folder, project = ProjectFolder.open(tiny), Project.open(tiny)
    assert folder.pool.fingerprint == project.pool.fingerprint and len(folder.pool) == 400
    assert folder.classes == project.classes
    assert folder.has("pool") and folder.has("test") and not folder.has("validation")
    assert folder.is_labelled() and folder.is_labelled("test") and not folder.is_labelled("validation")


def test_the_record_is_where_the_spec_says(tiny: Path, write_spec: Callable[..., Path]) -> None:
    folder = ProjectFolder.open(tiny)
    assert folder.record_place == tiny / "labels.db" and not folder.has_record
    with folder.record() as record:
        assert not list(record.read())
    assert folder.has_record
    write_spec(tiny, labelling={"record": "postgresql://host/name"})
    assert ProjectFolder.open(tiny).record_place == "postgresql://host/name" and ProjectFolder.open(tiny).has_record


def test_a_test_set_counts_for_the_same_classes_only(tiny: Path) -> None:
    folder = ProjectFolder.open(tiny)
    assert folder.test_set(folder.classes) == LabelledSet("test", 200)
    assert LabelledSet("test", 200).to_json() == {"name": "test", "images": 200}
    assert folder.test_set(("even", "odd")) is None


def test_classes_that_nobody_names_are_asked_for(tiny: Path, write_spec: Callable[..., Path], tmp_path: Path) -> None:
    import numpy as np

    np.savez(tmp_path / "images.npz", x=np.zeros((30, 8, 8, 1), np.uint8))
    table = {"source": {"kind": "arrays", "path": str(tmp_path / "images.npz")}, "strategies": {"asal": None}}
    project = tmp_path / "unlabelled"
    project.mkdir()
    write_spec(project, **table, pool={"split": {"train": None, "test": 0}}, generator=None, features=None)
    with pytest.raises(UserError, match="asal prepare"):
        ProjectFolder.open(project).classes  # noqa: B018
    Project.open(project).ingest()
    with pytest.raises(UserError, match=r"\[labelling\] classes ="):
        ProjectFolder.open(project).classes  # noqa: B018
