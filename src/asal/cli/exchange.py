"""`asal export` and `asal import`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer
from rich.console import Console

console = Console(markup=False)

ProjectFolder = Annotated[Path, typer.Argument(help="A project folder.", metavar="PROJECT")]


def export(
    project: ProjectFolder,
    out: Annotated[
        Path, typer.Argument(help="The folder to write; an earlier export in it is replaced.", metavar="OUT")
    ],
    form: Annotated[
        str, typer.Option("--as", help="csv, jsonl, parquet, folders, datasets or torch.", metavar="FORM")
    ] = "csv",
    originals: Annotated[
        bool, typer.Option("--originals", help="With folders: copy the source's own files, not the pool's pixels.")
    ] = False,
) -> None:
    """Write the labels for other tools: one row a label, with who, when, which round, and which model asked.

    **csv, jsonl, parquet** are tables · **folders** has a folder for each class · **datasets** is opened by the Hugging
    Face library's `load_from_disk` · **torch** is a Parquet file with the images in it and a `load.py` that opens it.

    On what people disagree, and what still waits for an answer, is listed in OUT/conflicts.csv. Nothing is overwritten
    but what an earlier export wrote and nobody has changed.

    For example: `asal export my-project labels --as folders`
    """
    from asal.labelling.exchange.export import export as written
    from asal.project.folder import ProjectFolder

    _print(written(ProjectFolder.open(project), out, form, originals=originals).lines)


def import_(
    project: ProjectFolder,
    file: Annotated[
        Path, typer.Argument(help="A file of labels, a tree of class folders, or a saved data set.", metavar="FILE")
    ],
    form: Annotated[
        str, typer.Option("--as", help="csv, jsonl, parquet, folders or datasets. [default: as its name says]")
    ] = "",
    by: Annotated[
        Optional[str],  # noqa: UP045  typer reads it at run time
        typer.Option("--by", help="Who labelled. [default: what the column `by` says, if there is one]"),
    ] = None,
    key: Annotated[str, typer.Option("--key-column", help="Which column says which image. [default: id, key …]")] = "",
    label: Annotated[str, typer.Option("--label-column", help="Which has the label. [default: label or class]")] = "",
    replace: Annotated[
        bool, typer.Option("--replace", help="What conflicts with the record becomes a correction.")
    ] = False,
) -> None:
    """Take labels in: what is new is written, all of it or nothing; what disagrees is told, and left as it is.

    Images go by their id, by their key, or by the end of a path where only one image has it. The same file again writes
    nothing. FILE.import.csv, beside the file, says of every row what became of it.

    For example: `asal import my-project labels.csv --by Ada`
    """
    from asal.labelling.exchange.imports import ImportOptions, import_labels
    from asal.labelling.exchange.readers import Columns
    from asal.project.folder import ProjectFolder

    how = ImportOptions(form, Columns(key, label), by, replace)
    _print(import_labels(ProjectFolder.open(project), file, how).lines)


def _print(lines: list[str]) -> None:
    for line in lines:
        console.print(line, highlight=False, soft_wrap=True)
