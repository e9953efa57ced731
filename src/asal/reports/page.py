"""Writes pages: a template with the pictures inline, and every file replaced in one step."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from asal.reports import theme
from asal.reports.theme import Draw, Picture
from asal.runtime.artifacts import explain_disk_errors, write
from asal.runtime.progress import Progress


@dataclass(frozen=True)
class Paths:
    """Where a page and its files lie; iterating yields every file, the page first."""

    page: Path
    picture: Path  # PNG of the first one
    files: tuple[Path, ...]  # these two and all the others

    def __iter__(self) -> Iterator[Path]:
        return iter(self.files)


def render_all(drawings: Mapping[str, Draw], progress: Progress, task: str) -> dict[str, Picture]:
    """Draw every picture, and report progress after each."""
    pictures = {}
    for number, (name, draw) in enumerate(drawings.items(), start=1):
        pictures[name] = theme.render(name, draw)
        progress(task, number, len(drawings), name)
    return pictures


def compose(template: str, pictures: Mapping[str, Picture], alts: Mapping[str, str], **values: Any) -> str:
    """Return the page: the template filled with the values and the pictures, each described in words by `alts`."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("asal.reports"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["thousands"] = "{:,}".format
    forms = {
        name: [
            ("wide", theme.inline(it.wide, f"{name}-wide", alts[name])),
            ("narrow", theme.inline(it.narrow, f"{name}-narrow", alts[name])),
        ]
        for name, it in pictures.items()
    }
    colours = {"dark_sheet": theme.dark_sheet(), "paper": theme.PAPER, "night": theme.NIGHT}
    return environment.get_template(template).render(pictures=forms, **colours, **values)


def publish(folder: Path, name: str, page: str, pictures: Mapping[str, Picture], sheets: Mapping[str, bytes]) -> Paths:
    """Write the page, its pictures (SVG and PNG) and the CSV files into a folder."""
    images = {f"{name}.{form}": data for name, it in pictures.items() for form, data in it.files().items()}
    files = {name: page.encode(), **images, **sheets}
    with explain_disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for file, data in files.items():
            write(folder / file, data)
    places = {file: folder / file for file in files}
    return Paths(places[name], folder / f"{next(iter(pictures))}.png", tuple(places.values()))
