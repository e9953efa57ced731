"""Files of a real Label Studio: it imports what asal exports, and asal imports what it exports."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support import export_projects as exchanges
from support import label_studio_server as studio_server
from support.label_studio_server import ADA, BOB, Server

from asal.labelling.exchange.export import export
from asal.labelling.exchange.imports import ImportOptions, import_labels
from asal.labelling.label_studio.client import label_config
from asal.project.project import Project

FILES = {"a/0.png": 0, "a/1.png": 60, "b/2.png": 120, "b/3.png": 180}


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    if studio_server.executable() is None:
        pytest.skip("Label Studio is not installed: `make test` does it, or ASAL_LABEL_STUDIO names one")
    with studio_server.server(tmp_path_factory.mktemp("label-studio")) as running:
        yield running


def filled(studio: Server, config: str, tasks: Any) -> int:
    number = int(studio.ask("POST", "/api/projects/", json={"title": "files", "label_config": config})["id"])
    studio.ask("POST", f"/api/projects/{number}/import", json=tasks)
    return number


def exported(studio: Server, project: int, form: str, path: Path) -> Path:
    params = {"exportType": form, "download_all_tasks": "true"}
    path.write_text(json.dumps(studio.ask("GET", f"/api/projects/{project}/export", params=params)))
    return path


def answers(project: Project) -> dict[int, int]:
    return dict(exchanges.state_of(project).answers)


def test_what_asal_exports_goes_through_label_studio_and_back(studio: Server, tmp_path: Path) -> None:
    project = exchanges.photos(tmp_path, FILES)
    (tmp_path / "first.json").write_text(json.dumps({"a/0.png": "dog", "a/1.png": "cat", "b/3.png": "dog"}))
    import_labels(project, tmp_path / "first.json", ImportOptions())
    export(project, tmp_path / "out", "label-studio")
    config = (tmp_path / "out" / "label_config.xml").read_text()
    number = filled(studio, config, json.loads((tmp_path / "out" / "tasks.json").read_text()))
    for form in ("JSON", "JSON_MIN"):
        fresh = exchanges.again(project)
        done = import_labels(fresh, exported(studio, number, form, tmp_path / f"{form}.json"), ImportOptions())
        assert answers(fresh) == answers(project) == {0: 1, 1: 0, 3: 1} and done.outcomes == {"new": 3}


def test_label_studios_own_exports_are_read(studio: Server, tmp_path: Path) -> None:
    project = exchanges.photos(tmp_path, FILES)
    tasks = [{"data": {"image": f"/data/local-files/?d={name}"}} for name in FILES]
    number = filled(studio, label_config(("cat", "dog")), tasks)
    found = sorted(studio.tasks(number).values(), key=lambda task: int(task["id"]))
    for task, label, by in ((0, "dog", ADA), (1, "cat", ADA), (1, "dog", BOB), (2, None, ADA)):
        studio.answer(found[task]["id"], label, by)
    done = import_labels(project, exported(studio, number, "JSON", tmp_path / "full.json"), ImportOptions())
    assert done.outcomes == {
        "new": 1, "conflicts within the file": 2, "can't tell, and was never asked": 1, "no label in the file": 1,
    }  # fmt: skip
    assert answers(project) == {0: 1} and set(exchanges.state_of(project).authors.values()) == {str(studio.user(ADA))}
    fresh = exchanges.again(project)
    import_labels(fresh, exported(studio, number, "JSON_MIN", tmp_path / "min.json"), ImportOptions())
    assert answers(fresh) == {0: 1}
