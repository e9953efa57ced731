"""`asal label` and `asal annotator`: people label images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from asal.project.spec import Spec

console = Console(markup=False)
annotator = typer.Typer(
    name="annotator",
    help="People who may label: names, tokens, roles.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)
ProjectPath = Annotated[Path, typer.Argument(help="A project folder.", metavar="PROJECT")]
Name = Annotated[str, typer.Argument(help="The person's name.", metavar="NAME")]


Place = Annotated[Path, typer.Argument(help="A project folder, or a folder of images.", metavar="PROJECT|IMAGES")]
ProjectOption = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option(
        "--project",
        help="Where the project of a folder of images is made. [default: beside it, IMAGES-asal]",
        show_default=False,
    ),
]
ClassesOption = Annotated[
    str,
    typer.Option(
        "--classes", help='The classes of a folder whose sub-folders name none, such as "cat,dog".', metavar="NAMES"
    ),
]
PrepareOption = Annotated[
    bool, typer.Option("--prepare", help="Prepare also what takes hours, such as a generator, while you label.")
]
StrategyOption = Annotated[
    str, typer.Option("--strategy", help="What chooses the images. [default: the spec's first]", show_default=False)
]
NameOption = Annotated[str, typer.Option("--name", help="Your name. [default: your user name]", show_default=False)]
PortOption = Annotated[
    Optional[int],  # noqa: UP045
    typer.Option("--port", min=0, max=65535, help="[default: the first free one from 8765 on]", show_default=False),
]
HostOption = Annotated[
    str, typer.Option("--host", help="The address to listen at; beyond this machine, people need tokens.")
]
OriginOption = Annotated[
    str,
    typer.Option(
        "--origin", help="The address that people use if it is behind a proxy, such as https://label.example.org."
    ),
]
RootPathOption = Annotated[
    str, typer.Option("--root-path", help="The path before the page behind a proxy, such as /tools/asal.")
]
BudgetOption = Annotated[
    Optional[int],  # noqa: UP045
    typer.Option("--budget", min=1, help="Answers after which to stop. [default: the spec's]", show_default=False),
]
SeedOption = Annotated[int, typer.Option("--seed", min=0, help="Seed of the random draws of a new record.")]
ThreadsOption = Annotated[
    Optional[int],  # noqa: UP045
    typer.Option("--threads", min=1, help="Threads that training may use. [default: all]", show_default=False),
]
BrowserOption = Annotated[bool, typer.Option("--browser/--no-browser", help="Open the page in a browser.")]


def label(
    place: Place = Path(),
    project: ProjectOption = None,
    classes: ClassesOption = "",
    prepare: PrepareOption = False,
    strategy: StrategyOption = "",
    name: NameOption = "",
    port: PortOption = None,
    host: HostOption = "127.0.0.1",
    origin: OriginOption = "",
    root_path: RootPathOption = "",
    budget: BudgetOption = None,
    seed: SeedOption = 0,
    threads: ThreadsOption = None,
    browser: BrowserOption = True,
) -> None:
    """Label in the browser: one key for each image, and the next images keep coming.

    A folder of images becomes a project beside it: its images are taken in while the page opens, and the first ones
    can be labelled while features of the others are still being computed.

    The classifier is trained and images are chosen in another process while you label. Every answer is on the disk
    before the page shows it as saved: Ctrl-C, a crash or a reload loses none, and the same command goes on. The
    settings are under **[labelling]** in asal.toml: classes, record (a file or postgresql://…), pace, overlap, lease.
    For several people see **asal annotator** and docs/how-to/label-together.md.

    For example: `asal label photos`, `asal label photos --classes "cat,dog"`, `asal label my-project --strategy asal`
    """
    from asal.cli.errors import print_error
    from asal.project.labelled_folder import project_of, strategy_at_once
    from asal.project.spec import load
    from asal.web.serve import Address, serve, with_budget, worker_config

    found = project_of(place, project, [name.strip() for name in classes.split(",") if name.strip()])
    for line in found.lines:
        say(line)
    spec = with_budget(load(found.root), budget)
    chosen = strategy_at_once(found, spec, strategy, prepare)
    config = worker_config(found.root, spec, chosen, seed, threads)
    for warning in generator_warnings(found.root, spec, config.strategy):
        say(f"warning: {warning}")
    serve(config, Address.of(host, port, origin, root_path), name, browser, say, print_error)


def generator_warnings(root: Path, spec: Spec, strategy: str) -> list[str]:
    """Return what to know of a prepared generator before the strategy chooses by it; see `Preparer.warnings`."""
    if spec.generator is None:  # as for photographs: torch is not loaded here
        return []
    from asal.project.preparer import Preparer
    from asal.project.project import Project

    return Preparer(Project(root, spec)).warnings([strategy])


def say(line: str) -> None:
    """Print a line as it is: a link is not broken."""
    console.print(line, highlight=False, soft_wrap=True)


@annotator.command()
def add(
    project: ProjectPath,
    name: Name,
    adjudicator: Annotated[
        bool, typer.Option("--adjudicator", help="This person decides where others disagree.")
    ] = False,
) -> None:
    """Add a person, and print the token that they sign in with. It is shown only now, and stored nowhere."""
    from asal.labelling.annotators import at

    with at(project) as people:
        say(people.add(name, "adjudicator" if adjudicator else "annotator"))


@annotator.command()
def token(project: ProjectPath, name: Name) -> None:
    """Print another token for a person who has been added."""
    from asal.labelling.annotators import at

    with at(project) as people:
        say(people.token(name))


@annotator.command()
def remove(project: ProjectPath, name: Name) -> None:
    """Make a person's tokens invalid. Their answers are kept."""
    from asal.labelling.annotators import at

    with at(project) as people:
        people.remove(name)
    say(f"{name} cannot sign in any more; their answers are kept.")


@annotator.command(name="list")
def list_people(project: ProjectPath = Path()) -> None:
    """List the people who may label."""
    from asal.labelling.annotators import at

    table = Table("name", "role", box=None, pad_edge=False)
    with at(project) as people:
        for person in people.all():
            table.add_row(person.name, person.role)
    console.print(table if table.row_count else "Nobody yet. Add a person: asal annotator add PROJECT NAME")
