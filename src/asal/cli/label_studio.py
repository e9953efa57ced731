"""`asal label-studio push | pull | sync`: label a project's batches in Label Studio."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Annotated, Optional

import typer
from rich.console import Console
from rich.table import Table

from asal.errors import counted

if TYPE_CHECKING:
    from asal.labelling.label_studio.bridge import Bridge, Pushed
    from asal.labelling.label_studio.reconcile import Report

app = typer.Typer(
    name="label-studio",
    help="Label in Label Studio: **push** a batch there, **pull** the answers, or **sync** both until the budget is "
    "spent. The token comes from LABEL_STUDIO_API_KEY or --token-file.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)
console = Console(markup=False)

ProjectPath = Annotated[Path, typer.Argument(help="A prepared project folder.", metavar="PROJECT")]
Url = Annotated[
    str, typer.Option("--url", help="Label Studio's address, such as http://localhost:8080. [default: as last time]")
]
Number = Annotated[
    int,
    typer.Option(
        "--project-id", min=0, help="An existing Label Studio project. [default: as last time, else a new one]",
        show_default=False,
    ),
]  # fmt: skip
TokenFile = Annotated[
    Optional[Path],  # noqa: UP045  typer reads it at run time
    typer.Option("--token-file", help="A file that holds the token. [default: LABEL_STUDIO_API_KEY]"),
]
Strategy = Annotated[str, typer.Option("--strategy", help="The strategy that chooses images. [default: the spec's]")]
Batch = Annotated[
    int,
    typer.Option("--batch", min=0, help="Images in a batch. [default: the spec's]", show_default=False),
]


@app.command()
def push(
    folder: ProjectPath, url: Url = "", number: Number = 0, token: TokenFile = None, strategy: Strategy = "",
    batch: Batch = 0,
) -> None:  # fmt: skip
    """Put the images that wait for an answer into Label Studio; if none does, choose a batch first.

    Label Studio is asked which images it has, so running this again puts no image there twice.

    For example: `asal label-studio push my-project --url http://localhost:8080`
    """
    from asal.labelling.label_studio.connect import bridged, size

    with bridged(folder, url, number, token, strategy) as bridge:
        pushed = bridge.push(size(folder, batch)(bridge.session))
        _print_push(bridge, pushed)


@app.command()
def pull(
    folder: ProjectPath, url: Url = "", number: Number = 0, token: TokenFile = None, strategy: Strategy = ""
) -> None:
    """Write Label Studio's answers into the record, and report what does not fit.

    What is reported does not change the record: people who disagree, deleted answers, labels that are no class, tasks
    that are not ours. Running this again writes nothing.

    For example: `asal label-studio pull my-project`
    """
    from asal.labelling.label_studio.connect import bridged

    with bridged(folder, url, number, token, strategy) as bridge:
        _print_pull(bridge.pull())


@app.command()
def sync(
    folder: ProjectPath, url: Url = "", number: Number = 0, token: TokenFile = None, strategy: Strategy = "",
    batch: Batch = 0,
    every: Annotated[
        float, typer.Option("--every", min=0, help="Seconds between two looks at Label Studio; 0 looks once and ends.")
    ] = 10.0,
    listen: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option("--listen", min=0, max=65535, help="A port of 127.0.0.1 for webhooks, which make it look sooner."),
    ] = None,
    webhook: Annotated[
        str, typer.Option("--webhook", help="The URL by which Label Studio reaches that port; it is registered.")
    ] = "",
) -> None:  # fmt: skip
    """Pull the answers, choose the next batch when all are in, push it; repeat until the budget is spent.

    If interrupted, run it again: it goes on.

    For example: `asal label-studio sync my-project --every 10`
    """
    from asal.labelling.label_studio.bridge import listening
    from asal.labelling.label_studio.connect import bridged, size

    with bridged(folder, url, number, token, strategy) as bridge:
        with listening(listen) if listen is not None else nullcontext((Event(), 0)) as (hint, _):
            bridge.hook(webhook) if webhook else None
            sized, printer = size(folder, batch), _Printer(bridge)
            bridge.follow(sized, printer, every, hint, printer.trouble) if every else bridge.sync(sized, printer)
        console.print(f"{counted(bridge.session.state.spent, 'label')}.", highlight=False)


class _Printer:
    """Prints the first look at Label Studio, and each one in which something happened."""

    def __init__(self, bridge: Bridge) -> None:
        self._bridge = bridge
        self._last: object = None

    def __call__(self, report: Report, pushed: Pushed) -> None:
        result = (report.discrepancies, report.open)
        if report.written or pushed.images or result != self._last:
            _print_pull(report)
            _print_push(self._bridge, pushed)
        self._last = result

    def trouble(self, what: str) -> None:
        """Print an error that may be temporary."""
        console.print(f"Trying again: {what}", highlight=False, soft_wrap=True)


def _print_pull(report: Report) -> None:
    table = Table(box=None, pad_edge=False)
    table.add_column("found in Label Studio", no_wrap=True)
    table.add_column("", justify="right")
    table.add_column("which")
    for what, count, which in report.rows():
        if count:
            table.add_row(what, f"{count:,}", which)
    if table.row_count:
        console.print(table)
    console.print(
        f"{counted(report.written, 'event')} written to the record; "
        f"{counted(report.open, 'image')} waiting for an answer.",
        highlight=False,
    )


def _print_push(bridge: Bridge, pushed: Pushed) -> None:
    new, held = len(pushed.images), pushed.held
    console.print(
        f"{counted(new, 'image')} put into Label Studio, {held:,} were there. Label them at {bridge.url}",
        highlight=False,
        soft_wrap=True,
    )
