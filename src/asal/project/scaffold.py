"""Starts a project with a user's own images."""

from __future__ import annotations

import json
import re
from importlib import resources
from pathlib import Path
from string import Template

from asal.data.sources import check_outside
from asal.data.sources.folder import Folder
from asal.errors import UserError
from asal.project.spec import FILE, parse
from asal.runtime import artifacts


def start(folder: Path, images: Path, size: int, gray: bool) -> Path:
    """Write `asal.toml` into the folder and return its path.

    Raises:
        UserError: there is no such folder of images, or the project has a spec already.
    """
    import tomllib

    file = folder / FILE
    if file.exists():
        raise UserError(f"there is a project already: {file}", hint="edit that file, or choose another folder")
    if not images.is_dir():
        raise UserError(f"no folder at {images}", rule="images lie in a folder", hint="check the path")
    if size > 32 and size & (size - 1):
        raise UserError(
            f"no generator makes images of {size} pixels",
            rule="a generator makes squares of 8 to 32 pixels, or of 64, 128 …",
            hint="choose 28, 32, 64 or 128",
        )
    check_outside(folder, images)
    source = Folder(str(images))
    test = min(1_000, source.splits["train"] // 10) if source.classes else 0
    text = Template(resources.files("asal.project").joinpath("templates/asal.toml").read_text()).substitute(
        name=re.sub(r"[^A-Za-z0-9._-]+", "-", folder.resolve().name).strip("-._") or "project",
        path=json.dumps(str(images.resolve()), ensure_ascii=False),  # a JSON string is a TOML string
        test=f"test = {test}" if test else "# test = 500",
        size=size,
        gray=str(gray).lower(),
        rate="two to ten steps a second on two cores, hundreds on a GPU",
    )
    parse(tomllib.loads(text))
    with artifacts.explain_disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        artifacts.write(file, text.encode())
    return file
