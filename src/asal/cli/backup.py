"""`asal backup`: a copy of the labels."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from asal.cli.common import print_lines


def backup(
    project: Annotated[Path, typer.Argument(help="A project folder.", metavar="PROJECT")],
    file: Annotated[
        Path, typer.Argument(help="The file to write; an earlier backup of this project is replaced.", metavar="FILE")
    ],
) -> None:
    """Copy the labels into one file, complete at any time, also while people answer.

    The copy is read again before it takes FILE's place, which it does in one step: an interrupted backup leaves the
    earlier one as it was. A file that is no backup of this project is never overwritten, nor is one with more in it.

    To restore, put the copy into the project folder as labels.db, with no labels.db-wal beside it. With a record in
    PostgreSQL nothing is written, and the `pg_dump` command to use instead is named.

    For example: `asal backup my-project /backup/my-project.db`
    """
    from asal.project.folder import ProjectFolder
    from asal.session.backup import backup as written

    print_lines([written(ProjectFolder.open(project).record_place, file)])
