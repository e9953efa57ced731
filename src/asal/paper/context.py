"""The settings of a reproduction, and the parts of an exhibit before they are put on its page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from asal.errors import UserError
from asal.paper.claims import Finding
from asal.project.spec import Spec, load, shipped
from asal.reports.tables import Cell, Table
from asal.reports.theme import Draw
from asal.runtime.progress import Progress


def table_of(title: str, note: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """Return a table of words for a page; the first cell of a row is its heading."""
    return Table(title, note, heads[1:], [(row[0], [Cell(text) for text in row[1:]]) for row in rows], heads[0])


@dataclass(frozen=True)
class ExhibitContext:
    """What to reproduce how, and where the files are."""

    out: Path
    jobs: int
    progress: Progress
    seeds: int | None = None
    budget: int | None = None  # labels; of figure 6 and table 2 the images of the largest pool
    projects: Path | None = None
    specs: Path | None = None  # a folder of the user's specs, which replace the shipped ones of the same name

    def project(self, name: str) -> Path:
        """Return the folder of a benchmark's pool, generator and features, shared by all exhibits."""
        return (self.projects or self.out / "projects") / name

    def spec(self, name: str) -> Spec:
        """Return a benchmark's spec: the user's of this name, else the shipped one.

        Raises:
            UserError: the folder of the user's specs does not exist, or the spec is wrong.
        """
        if self.specs is None:
            return load(shipped(name))
        if not self.specs.is_dir():
            raise UserError(
                f"{self.specs} is not a folder",
                rule="--specs names a folder of specs, each with the name of the shipped one that it replaces",
                hint=f"create it, and copy {shipped(name)} there to change it",
            )
        custom = self.specs / f"{name}.toml"
        return load(custom if custom.exists() else shipped(name))


@dataclass(frozen=True)
class CheckedClaim:
    """A claim and its finding."""

    says: str
    where: str
    finding: Finding


@dataclass(frozen=True)
class PagePart:
    """One picture of an exhibit's page, with its claims and texts."""

    name: str  # of the picture
    title: str
    draw: Draw
    alt: str
    checked: Sequence[CheckedClaim]
    note: str = ""
    table: Table | None = None  # shown on the page instead of the picture


@dataclass(frozen=True)
class ExhibitResult:
    """An exhibit before it is put on its page."""

    parts: Sequence[PagePart]
    heads: Sequence[str]  # of the CSV
    rows: Sequence[Mapping[str, Any]]
    settings: Mapping[str, Any]
