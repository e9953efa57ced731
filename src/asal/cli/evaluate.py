"""`asal evaluate`: how good the classifier is."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer
from rich.table import Table

from asal.cli.common import ClassifierOption, console, print_lines


def evaluate(
    project: Annotated[Path, typer.Argument(help="A project folder.", metavar="PROJECT")],
    labelled: Annotated[
        Optional[Path],  # noqa: UP045  typer reads it at run time
        typer.Argument(
            help="A folder with a sub-folder of images for each class. [default: the project's test set, or else its "
            "validation set]",
            metavar="[LABELLED]",
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--out", help="A folder for tables, pictures and the list of mistakes.", show_default=False),
    ] = None,
    strategy: ClassifierOption = "",
) -> None:
    """Measure the classifier of all labels so far on labelled images that it was not trained on.

    Shows recall and precision of each class with 95% intervals, accuracy beside that of always answering the commonest
    class, balanced accuracy, macro F1, and which classes are taken for others. **--out** writes the tables, the
    confusion matrix and the reliability curve as pictures, and the mistakes, the most confident first.

    The images of LABELLED are to be drawn at random from those that the classifier is for. Exact copies of images that
    it was trained on are left out, and counted.

    For example: `asal evaluate my-project held-out --out evaluation`
    """
    from asal.cli.progress import show_progress
    from asal.experiments.labelled_images import assess
    from asal.project.project import Project
    from asal.reports.assessment import check_replaceable, lines, write_assessment

    if out is not None:
        check_replaceable(out)  # before what may take long
    with show_progress(console) as progress:
        found = assess(Project.open(project, progress), labelled, strategy)
    table = Table("class", "images", "recall", "predicted", "precision", box=None, pad_edge=False)
    for one in found.assessment.by_class:
        table.add_row(
            one.name, f"{one.recall.images:,}", str(one.recall), f"{one.precision.images:,}", str(one.precision)
        )
    print_lines(lines(found))
    console.print(table)
    if out is not None:
        print_lines(write_assessment(found, out))
