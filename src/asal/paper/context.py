"""What was asked for, and what an exhibit is made of before it is put on its page."""

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
    """What was asked for, and where things lie."""

    out: Path
    jobs: int
    progress: Progress
    seeds: int | None = None
    budget: int | None = None  # labels; of figure 6 and table 2 the images of the largest pool
    projects: Path | None = None
    specs: Path | None = None  # of one's own, which go before those that come with asal

    def project(self, name: str) -> Path:
        """Return where a benchmark's pool, generator and features are kept, for all exhibits."""
        return (self.projects or self.out / "projects") / name

    def spec(self, name: str) -> Spec:
        """Return a benchmark's spec: the one of this name among one's own, else the one that comes with asal.

        Raises:
            UserError: the folder of one's own is not there, or the spec is wrong.
        """
        if self.specs is None:
            return load(shipped(name))
        if not self.specs.is_dir():
            raise UserError(
                f"{self.specs} is no folder",
                rule="--specs names a folder of specs, each called as the one that it goes before",
                hint=f"make it, and copy {shipped(name)} there to change it",
            )
        own = self.specs / f"{name}.toml"
        return load(own if own.exists() else shipped(name))


@dataclass(frozen=True)
class CheckedClaim:
    """A claim, and what was found of it."""

    says: str
    where: str
    finding: Finding


@dataclass(frozen=True)
class PagePart:
    """One picture of an exhibit's page, with what belongs to it."""

    name: str  # of the picture
    title: str
    draw: Draw
    alt: str
    checked: Sequence[CheckedClaim]
    note: str = ""
    table: Table | None = None  # which the page shows instead of the picture


@dataclass(frozen=True)
class ExhibitResult:
    """An exhibit before it is put on its page."""

    parts: Sequence[PagePart]
    heads: Sequence[str]  # of the CSV
    rows: Sequence[Mapping[str, Any]]
    settings: Mapping[str, Any]
