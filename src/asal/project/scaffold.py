"""Starts a project with a user's own images."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from string import Template

from asal.data.found import found
from asal.data.places import relative_place
from asal.data.sources import check_outside, sources
from asal.data.sources.folder import Folder
from asal.data.sources.split_names import split_kind
from asal.errors import UserError
from asal.project.spec import FILE, parse
from asal.runtime import artifacts


@dataclass(frozen=True)
class Started:
    """The spec that was written, and lines with what was found in the folder of images.

    Args:
        doubt: whether two readings of the folder are possible, so that the spec must say which is right.
    """

    file: Path
    found: list[str]
    doubt: bool = False


def start(folder: Path, images: Path, size: int, gray: bool, layout: str = "auto") -> Started:
    """Write `asal.toml` into the folder, and return what was found among the images.

    Args:
        layout: what the sub-folders of the images are; "auto" decides by their names.

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
    source: Folder = sources["folder"].bind({"path": str(images), "layout": layout})
    lines, held_out, doubt = _looked_at(source)
    text = Template(resources.files("asal.project").joinpath("templates/asal.toml").read_text()).substitute(
        name=re.sub(r"[^A-Za-z0-9._-]+", "-", folder.resolve().name).strip("-._") or "project",
        path=json.dumps(relative_place(str(images.resolve()), folder), ensure_ascii=False),  # JSON's string is TOML's
        layout=_layout_line(layout, doubt),
        validation=held_out["validation"],
        test=held_out["test"],
        size=size,
        gray=str(gray).lower(),
        rate="two to ten steps a second on two cores, hundreds on a GPU",
    )
    parse(tomllib.loads(text))
    with artifacts.explain_disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        artifacts.write(file, text.encode())
    return Started(file, lines, doubt)


def _looked_at(source: Folder) -> tuple[list[str], dict[str, str], bool]:
    """Return what was found, the lines of the spec for the held-out images, and whether two readings are possible."""
    held_out = {"validation": "# validation = 500           ", "test": "# test = 500"}
    try:
        lines = found(source)
    except UserError as error:
        return [error.got, *filter(None, [error.rule]), error.hint], held_out, True
    splits = {split: split_kind(split) for split in source.splits if split != "train"}
    for split, kind in splits.items():
        if kind and held_out[kind].startswith("#"):
            held_out[kind] = f"{kind} = {json.dumps(split, ensure_ascii=False)}"
    if source.classes and not splits and (number := min(1_000, source.splits["train"] // 10)):
        held_out["test"] = f"test = {number}"
    return lines, held_out, False


def _layout_line(layout: str, doubt: bool) -> str:
    if layout != "auto":
        return f"\nlayout = {json.dumps(layout)}"
    return '\n# layout = "classes"          # or "splits": which of them, has to be said here' if doubt else ""
