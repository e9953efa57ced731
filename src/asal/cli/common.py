"""What commands share: the console, and how projects, specs and numbers of processes are named."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Optional

import typer
from rich.console import Console

from asal.runtime.environment import cores

console = Console(markup=False)  # a path may hold [brackets]

SpecPath = Annotated[
    Path, typer.Argument(help="A spec (TOML), or a project folder that holds asal.toml.", metavar="SPEC")
]
ProjectOption = Annotated[
    Optional[Path],  # noqa: UP045  typer reads it at run time
    typer.Option(
        "--project", help="The project folder: pool, generator, features. [default: a folder named like the spec]"
    ),
]
JobsOption = Annotated[int, typer.Option("--jobs", "-j", min=1, help="Runs at a time, each with one thread.")]
ClassifierOption = Annotated[
    str,
    typer.Option(
        "--strategy",
        help="One of the spec's, if its classifier is another one. [default: the one that labelling uses]",
        show_default=False,
    ),
]
CORES = cores()


def root_of(spec: Path, project: Path | None, name: str) -> Path:
    """Return the project's folder: the one that is given, the spec's own, or one named as the spec."""
    from asal.project.spec import FILE

    if project is not None:
        return project
    return spec if spec.is_dir() else spec.parent if spec.name == FILE else Path(name)


def print_lines(lines: Iterable[object]) -> None:
    """Print lines as they are: a path or a link is not broken."""
    for line in lines:
        console.print(str(line), highlight=False, soft_wrap=True)
