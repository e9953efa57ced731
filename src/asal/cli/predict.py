"""`asal predict`: what the classifier says of images."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from asal.cli.common import ClassifierOption, console, print_lines


def predict(
    project: Annotated[Path, typer.Argument(help="A project folder.", metavar="PROJECT")],
    images: Annotated[
        Optional[list[str]],  # noqa: UP045  typer reads it at run time
        typer.Argument(
            help="New images: files, folders, or URLs of folders. [default: the pool's images without a label]",
            metavar="[IMAGES]...",
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        Path, typer.Option("--out", help="The file to write: a name that ends in .csv, .jsonl or .parquet.")
    ] = Path("predictions.csv"),
    labelled: Annotated[
        bool, typer.Option("--all", help="Of the pool: also images that have a label, on which it was trained.")
    ] = False,
    strategy: ClassifierOption = "",
) -> None:
    """Write which class each image is likely of, with the probabilities of all classes.

    The classifier is the one of all labels so far; while people label, it is not disturbed. Without IMAGES, it
    predicts the images of the pool that have no label. New images are read as **asal add** would read them, and not
    added; those that cannot be read are listed beside OUT, in OUT.unreadable.csv.

    OUT appears when it is complete: Ctrl-C leaves the file as it was before.

    For example: `asal predict my-project --out rest.csv`, `asal predict my-project new-photos --out new.parquet`
    """
    from asal.cli.progress import show_progress
    from asal.labelling.exchange.prediction_files import write_predictions
    from asal.project.project import Project

    with show_progress(console) as progress:
        opened = Project.open(project, progress)
        written = write_predictions(opened, out, images or [], labelled=labelled, strategy=strategy)
    print_lines(written.lines)
