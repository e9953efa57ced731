"""Where images lie: no option of a pool, and written relative to the project where that can be."""

from __future__ import annotations

import os
from pathlib import Path

PLACES = ("path",)  # options of sources that say where the images lie


def relative_place(path: str, project: Path) -> str:
    """Return a path relative to a project, with slashes, if it lies beside or below the project's parent; else as is.

    >>> relative_place("/data/photos", Path("/data/project")), relative_place("/mnt/photos", Path("/data/project"))
    ('../photos', '/mnt/photos')
    """
    home, place = project.resolve(), Path(path)
    if "://" in path or not place.is_absolute():
        return path
    place = place.resolve()
    if place.is_relative_to(home):
        return place.relative_to(home).as_posix()
    if home.parent != home.parent.parent and place.is_relative_to(home.parent):
        return f"../{place.relative_to(home.parent).as_posix()}"
    return path


def absolute_place(path: str, project: Path) -> str:
    """Return where a path of a project's `asal.toml` leads: it is relative to the project, or, as it once was, to the
    working directory, where that is the only one that exists.
    """
    if "://" in path or Path(path).is_absolute():
        return path
    inside = Path(os.path.normpath(project.resolve() / path))
    return str(inside) if inside.exists() else path


def same_place(one: str, other: str, project: Path) -> bool:
    """Say whether two paths of a project lead to one place."""
    if one == other:
        return True
    if "://" in one or "://" in other:
        return False
    homes = (project, Path())  # a relative path was once relative to the working directory
    return any((home / other).resolve() == (base / one).resolve() for home in homes for base in homes)
