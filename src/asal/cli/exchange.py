"""`asal export` and `asal import`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer
from rich.console import Console

console = Console(markup=False)

ProjectPath = Annotated[Path, typer.Argument(help="A project folder.", metavar="PROJECT")]


def export(
    project: ProjectPath,
    out: Annotated[
        Path, typer.Argument(help="The folder to write; an earlier export in it is replaced.", metavar="OUT")
    ],
    form: Annotated[
        str, typer.Option("--as", help="csv, jsonl, parquet, folders, datasets or torch.", metavar="FORM")
    ] = "csv",
    originals: Annotated[
        bool, typer.Option("--originals", help="With folders: copy the source's files, not the pool's pixels.")
    ] = False,
) -> None:
    """Write the labels for other tools: one row for each label, with who gave it, when and in which round.

    **csv, jsonl, parquet** are tables · **folders** has a folder for each class · **datasets** is opened by the Hugging
    Face library's `load_from_disk` · **torch** is a Parquet file with the images in it and a `load.py` that opens it.

    OUT/conflicts.csv lists the images that people disagree about, and those that still wait for an answer. Only files
    that an earlier export wrote, and that nobody has changed, are overwritten.

    For example: `asal export my-project labels --as folders`
    """
    from asal.labelling.exchange.export import export as written
    from asal.project.folder import ProjectFolder

    _print(written(ProjectFolder.open(project), out, form, originals=originals).lines)


def import_(
    project: ProjectPath,
    file: Annotated[
        Path, typer.Argument(help="A file of labels, a tree of class folders, or a saved data set.", metavar="FILE")
    ],
    form: Annotated[
        str, typer.Option("--as", help="csv, jsonl, parquet, folders or datasets. [default: by its name]")
    ] = "",
    by: Annotated[
        Optional[str],  # noqa: UP045  typer reads it at run time
        typer.Option("--by", help="Who labelled. [default: the column `by`, if there is one]"),
    ] = None,
    key: Annotated[str, typer.Option("--key-column", help="The column of the image. [default: id, key …]")] = "",
    label: Annotated[str, typer.Option("--label-column", help="That of the label. [default: label or class]")] = "",
    replace: Annotated[
        bool, typer.Option("--replace", help="Write labels that conflict with the record as corrections.")
    ] = False,
    numbers: Annotated[
        str, typer.Option("--numbers-are", help="What labels that are numbers are: names, or positions from 0 on.")
    ] = "",
) -> None:
    """Read labels from a file: new ones are written, all or none; those that conflict are reported and left alone.

    Images are identified by their id, their key, or the end of a path if only one image has it. Importing the same file
    again writes nothing. FILE.import.csv, beside the file, lists the outcome of every row.

    For example: `asal import my-project labels.csv --by Ada`
    """
    from asal.labelling.exchange.imports import ImportOptions, import_labels
    from asal.labelling.exchange.readers import Columns
    from asal.project.folder import ProjectFolder

    options = ImportOptions(form, Columns(key, label), by, replace, numbers)  # type: ignore[arg-type]  # it is checked
    _print(import_labels(ProjectFolder.open(project), file, options).lines)


def _print(lines: list[str]) -> None:
    for line in lines:
        console.print(line, highlight=False, soft_wrap=True)
