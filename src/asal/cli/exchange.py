"""`asal export` and `asal import`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer
from rich.console import Console

from asal.errors import UserError

console = Console(markup=False)

ProjectPath = Annotated[Path, typer.Argument(help="A project folder.", metavar="PROJECT")]


def export(
    project: ProjectPath,
    out: Annotated[
        Path, typer.Argument(help="The folder to write; an earlier export in it is replaced.", metavar="OUT")
    ],
    form: Annotated[
        str,
        typer.Option(
            "--as",
            help="csv, jsonl, parquet, folders, datasets, torch, yolo, fiftyone, imagefolder (-jsonl, -parquet), coco "
            "or label-studio; or model, for the classifier.",
            metavar="FORM",
        ),
    ] = "csv",
    originals: Annotated[
        bool, typer.Option("--originals", help="Forms with images: take the source's files, not the pool's pixels.")
    ] = False,
) -> None:
    """Write the labels for other tools, one row for each label; or the classifier, with **--as model**.

    **csv, jsonl, parquet** are tables · **folders** has a folder for each class · **datasets** is opened by the Hugging
    Face library's `load_from_disk` · **torch** is a Parquet file with the images in it and a `load.py` that opens it ·
    **yolo** has class folders in train and val · **fiftyone**, **imagefolder** (with metadata.csv) and **coco** have
    images and one file of labels · **label-studio** are tasks that it imports.

    **model** is the classifier, as a folder that needs torch alone: weights, a loader, a model card.

    OUT/conflicts.csv lists the images that people disagree about, and those that still wait for an answer. Only files
    that an earlier export wrote, and that nobody has changed, are overwritten.

    For example: `asal export my-project labels --as folders`, `asal export my-project model --as model`
    """
    if form == "model":
        _export_model(project, out, originals)
        return
    from asal.labelling.exchange.export import export as written
    from asal.project.folder import ProjectFolder

    _print(written(ProjectFolder.open(project), out, form, originals=originals).lines)


def import_(
    project: ProjectPath,
    file: Annotated[
        Path, typer.Argument(help="A file of labels, a tree of class folders, or a saved data set.", metavar="FILE")
    ],
    form: Annotated[
        str,
        typer.Option(
            "--as",
            help="csv, jsonl, json, parquet, folders, datasets, yolo, fiftyone, imagefolder, coco or label-studio. "
            "[default: by its name and contents]",
            metavar="FORM",
        ),
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
    separator: Annotated[str, typer.Option("--separator", help="Of a table. [default: as its header looks]")] = "",
    encoding: Annotated[str, typer.Option("--encoding", help="Of a table. [default: as its bytes look]")] = "",
    own_ids: Annotated[
        bool, typer.Option("--ids-are-this-pools", help="Ids without keys are this pool's, not names of files.")
    ] = False,
    by_names: Annotated[
        bool, typer.Option("--match-names", help="File names alone identify images, without their folders.")
    ] = False,
) -> None:
    """Read labels from a file: new ones are written, all or none; those that conflict are reported and left alone.

    Images are identified by their key, in any usual spelling, if only one image fits; an id alone counts only if the
    file shows whose it is. FILE.import.csv, beside the file, lists how each row was matched and its outcome. A file of
    which no row is taken is an error. Importing the same file again writes nothing.

    For example: `asal import my-project labels.csv --by Ada`
    """
    from asal.labelling.exchange.columns import Columns
    from asal.labelling.exchange.imports import ImportOptions, import_labels
    from asal.project.folder import ProjectFolder

    columns = Columns(key, label, separator, encoding)
    options = ImportOptions(form, columns, by, replace, numbers, own_ids, by_names)  # type: ignore[arg-type]  # checked
    _print(import_labels(ProjectFolder.open(project), file, options).lines)


def _export_model(folder: Path, out: Path, originals: bool) -> None:
    if originals:
        raise UserError("--originals does not go with --as model, which has no images", hint="leave it out")
    from asal.cli.progress import show_progress
    from asal.labelling.exchange.model_folder import export_model
    from asal.project.project import Project

    with show_progress(console) as progress:
        lines = export_model(Project.open(folder, progress), out).lines
    _print(lines)


def _print(lines: list[str]) -> None:
    for line in lines:
        console.print(line, highlight=False, soft_wrap=True)
