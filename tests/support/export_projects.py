"""Small projects whose labels are exported and imported, each with a record of its own."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from asal.project.project import Project
from asal.project.spec import parse
from asal.session.events import Event, Record
from asal.session.session import Session
from asal.session.state import State, fold

COUNT = itertools.count()
DIGITS: Mapping[str, Any] = {
    "name": "exchanged",
    "source": {"kind": "digits"},
    "pool": {"gray": True, "split": {"train": 300, "test": 50}},
    "strategies": {"random": {}},
}


def digits(root: Path) -> Project:
    """Return a project of 300 digits with an empty record; the images are taken in once."""
    project = Project(root, parse({**DIGITS, "labelling": {"record": f"{next(COUNT)}.db"}}))
    project.ingest()
    return project


def again(project: Project, record: str = "") -> Project:
    """Return the same project with an empty record, a new file unless a place is named."""
    spec, place = project.spec.model_dump(mode="json"), record or f"{next(COUNT)}.db"
    return Project(project.root, parse({**spec, "labelling": {**spec["labelling"], "record": place}}))


def photos(home: Path, files: Mapping[str, int], classes: tuple[str, ...] = ("cat", "dog")) -> Project:
    """Return a project of image files, by their paths and brightness, whose folders are no classes."""
    for name, value in files.items():
        path = home / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((8, 8, 3), value, np.uint8)).save(path)
    given = {
        "name": "photos",
        "source": {"kind": "folder", "path": str(home / "photos"), "label": "none"},
        "strategies": {"random": {}},
        "labelling": {"classes": list(classes), "record": f"{next(COUNT)}.db"},
    }
    project = Project(home / "project", parse(given))
    project.ingest()
    return project


def labelled(project: Project, n: int = 20, by: str = "Ada", skip: int = 0) -> Session:
    """Answer n images by the stored labels, the first ones with "can't tell"."""
    session = project.session("random")
    ids = session.ask(n).ids
    truth = project.oracle("pool").answer(ids).tolist()
    told = zip(ids.tolist(), truth, strict=True)
    session.tell({image: None if place < skip else label for place, (image, label) in enumerate(told)}, by=by)
    return session


def state_of(project: Project) -> State:
    """Return what a project's record says."""
    place = project.spec.labelling.place(project.root)
    with Record.open(place) as record:
        return fold(State(), record.read())


def write(project: Project, *events: Event) -> None:
    """Append events to a project's record."""
    with Record.open(project.spec.labelling.place(project.root)) as record:
        record.append(events, after=fold(State(), record.read()).seq)


def contents(folder: Path) -> dict[str, bytes]:
    """Return every file of a folder."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}
