"""`asal classes`: the classes that people choose from, changed while they label."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer
from rich.table import Table

from asal.cli.common import console, print_lines


def classes(
    project: Annotated[Path, typer.Argument(help="A project folder.", metavar="PROJECT")],
    action: Annotated[
        str, typer.Argument(help="list, add, rename, merge, drop or restore.", metavar="[ACTION]")
    ] = "list",
    names: Annotated[
        Optional[list[str]],  # noqa: UP045  typer reads it at run time
        typer.Argument(help="Names of classes: NAME …, OLD NEW, FROM INTO.", metavar="[NAME]..."),
    ] = None,
    to: Annotated[str, typer.Option("--to", help="With drop: the class that its answers count as.")] = "",
    skipped: Annotated[
        bool, typer.Option("--cant-tell", help='With drop: its answers count as "can\'t tell".')
    ] = False,
    by: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--by", help="Who changes them; goes into the record."),
    ] = None,
) -> None:
    """Show or change the classes of a project, also while people label.

    **list** shows each class with its number and its labels · **add** NAME … appends · **rename** OLD NEW keeps the
    number and the answers · **merge** FROM INTO: what was and will be answered with FROM counts as INTO · **drop** NAME
    offers it no more; if it has answers, say what they count as · **restore** NAME takes a merger or drop back.

    What people said stays in the record, so every change can be taken back. The list in asal.toml is changed, too.

    For example: `asal classes my-project merge kitten cat`
    """
    from asal.labelling.class_command import change, table, wanted
    from asal.project.folder import ProjectFolder

    folder = ProjectFolder.open(project)
    if action != "list":
        print_lines(change(folder, wanted(action, names or [], to, skipped), by))
    shown = Table("number", "class", "labels", "", box=None, pad_edge=False)
    for row in table(folder):
        shown.add_row(*row)
    console.print(shown)
