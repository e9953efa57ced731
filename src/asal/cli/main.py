"""The command line: parse, one call, print. Whatever it can do, the library can."""

from __future__ import annotations

import os
from pathlib import Path
from shlex import quote
from typing import Annotated, Optional, TypeVar

import typer
from rich.console import Console
from rich.table import Table

from asal.cli import label_studio
from asal.cli.errors import print_error, run_to_its_end
from asal.cli.exchange import export, import_
from asal.cli.label import annotator, label
from asal.errors import UserError

app = typer.Typer(
    name="asal",
    help="Choose the few images that are worth a label, without scoring the whole pool.\n\n"
    "Three ways through: **init, prepare, label** with your own images, **prepare, run, report** with a spec file and "
    "stored labels, or **demo** to see it all in minutes. Every command can be cut and called again: it goes on from "
    "there.",
    rich_markup_mode="markdown",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command()(label)
app.add_typer(annotator)
app.add_typer(label_studio.app)
console = Console(markup=False)  # a path may hold [brackets]

SpecPath = Annotated[
    Path, typer.Argument(help="A spec (TOML), or a project folder that holds asal.toml.", metavar="SPEC")
]
ProjectOption = Annotated[
    Optional[Path],  # noqa: UP045  typer reads it at run time
    typer.Option(
        "--project", help="Where pool, generator and features are kept. [default: a folder named as the spec]"
    ),
]
JobsOption = Annotated[int, typer.Option("--jobs", "-j", min=1, help="Runs side by side, each with one thread.")]
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
Number = TypeVar("Number", int, float)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        console.print(f"asal {version('asal')}", highlight=False)
        raise typer.Exit


@app.callback()
def _options(
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks; stands before the command.")] = False,
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Show it.")] = False,
) -> None:
    if debug:
        os.environ["ASAL_DEBUG"] = "1"


@app.command()
def demo(
    folder: Annotated[Path, typer.Argument(help="Where everything goes.")] = Path("demo"), jobs: JobsOption = CORES
) -> None:
    """Compare four strategies on scikit-learn's digits: data, generator, index, runs and report in minutes."""
    from asal.cli.progress import show_progress
    from asal.experiments.demo import demo as whole_way
    from asal.reports.experiment import report as write_report

    with show_progress(console) as progress:
        whole_way(folder, jobs, progress, console.print)
    _print_paths(write_report(folder))


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(help="The project folder to make.")],
    images: Annotated[Path, typer.Option("--images", help="A folder of image files; sub-folders are classes, if any.")],
    size: Annotated[int, typer.Option("--size", min=8, help="Pixels; images are resized and cropped to squares.")] = 64,
    gray: Annotated[bool, typer.Option("--gray", help="One channel instead of three.")] = False,
) -> None:
    """Start a project with your own images: writes FOLDER/asal.toml, which explains every setting."""
    from asal.project.scaffold import start

    written = start(folder, images, size, gray)
    console.print(f"Wrote {written}. Next: asal prepare {quote(str(folder))}", highlight=False, soft_wrap=True)


@app.command()
def prepare(
    spec: SpecPath,
    project: ProjectOption = None,
    devices: Annotated[int, typer.Option("--devices", min=1, help="GPUs, or processes, that train the generator.")] = 1,
    engine: Annotated[str, typer.Option("--engine", help="Who extracts features: local (processes) or ray.")] = "local",
    workers: Annotated[
        int,
        typer.Option(
            "--workers",
            min=0,
            help="Shards in hand at a time, each with one thread. [default: a core each, one where there is a GPU; "
            "with ray, as many as the cluster has room for]",
            show_default=False,
        ),
    ] = 0,
    address: Annotated[
        str,
        typer.Option("--address", help="Of a running Ray cluster; auto finds this machine's, local starts one."),
    ] = "auto",
    cpus: Annotated[float, typer.Option("--cpus", min=0, help="That a shard asks of a Ray cluster.")] = 1,
    gpus: Annotated[float, typer.Option("--gpus", min=0, help="The same; 0.25 lets four shards share one.")] = 0,
    storage: Annotated[
        str,
        typer.Option(
            "--storage",
            help="Where the cluster's machines see no common disk: a URL by which they exchange files, such as "
            "s3://bucket/folder or sftp://machine/folder.",
        ),
    ] = "",
) -> None:
    """Take the images in, train the generator and the encoders, store the features, build the index. Once.

    Features are extracted shard by shard, by several processes at a time (**--workers**) or by the machines of a Ray
    cluster (**--engine ray**): the same bytes, whoever did which. docs/how-to/a-cluster.md has more.

    For example: `asal prepare SPEC --engine ray --address 10.0.0.1:6379`
    """
    from asal.cli.progress import show_progress
    from asal.project.project import Project
    from asal.project.spec import load
    from asal.runtime.devices import Device
    from asal.runtime.engine.choice import chosen

    settings = load(spec)
    root = _root(spec, project, settings.name)
    who = chosen(engine, workers, address, cpus, gpus)
    with show_progress(console) as progress:
        Project(root, settings, Device(count=devices), progress, who, storage).prepare()
    status(root)


@app.command()
def add(
    spec: SpecPath,
    images: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--images", help="A folder of image files. [default: the spec's source, looked at again]"),
    ] = None,
    project: ProjectOption = None,
    workers: Annotated[int, typer.Option("--workers", min=1, help="Processes that take images in.")] = CORES,
) -> None:
    """Take in images that have come since, under ids behind the present ones; then **prepare** again.

    New is what has a key, such as a file's path below its folder, that the project does not know yet; what a split left
    out (**train = 5000** of more) is new, too. All of it goes to the pool, and the next batch may ask for it. What was
    trained stays; features are computed for the new images alone, and the index grows by them. When what comes no
    longer looks like what the generator was trained on, start a new project.
    """
    from asal.cli.progress import show_progress
    from asal.data.sources.folder import Folder
    from asal.project.project import Project
    from asal.project.spec import load
    from asal.runtime.engine.choice import chosen

    settings = load(spec)
    root = _root(spec, project, settings.name)
    with show_progress(console) as progress:
        opened = Project(root, settings, progress=progress, engine=chosen("local", workers))
        found = opened.add(Folder(str(images)) if images else None)
    others = f", {found.others:,} of other classes" if found.others else ""
    then = f"Next: asal prepare {quote(str(root))}" if found.new else "Nothing has changed."
    console.print(f"{found.new:,} new images; {found.known:,} known{others}. {then}", highlight=False, soft_wrap=True)


@app.command()
def run(
    spec: SpecPath,
    out: Annotated[Path, typer.Option("--out", help="The run folder; called again, it goes on.")],
    strategies: Annotated[str, typer.Option("--strategies", help="Names, by commas. [default: all of the spec]")] = "",
    seeds: Annotated[int, typer.Option("--seeds", min=1, help="Paired repetitions: seeds 0 … N − 1.")] = 5,
    jobs: JobsOption = CORES,
    threads: Annotated[
        int, typer.Option("--threads", min=1, help="Threads of each run; part of the run's settings.")
    ] = 1,
    project: ProjectOption = None,
) -> None:
    """Compare strategies over paired seeds, with answers that are already known."""
    from asal.cli.progress import show_progress
    from asal.experiments.sweep import compare
    from asal.project.project import Project
    from asal.project.spec import load
    from asal.runtime.engine.choice import chosen

    settings = load(spec)
    names = [name.strip() for name in strategies.split(",")] if strategies else list(settings.strategies)
    with show_progress(console) as progress:
        root, engine = _root(spec, project, settings.name), chosen("local", jobs, option="--jobs")
        opened = Project(root, settings, progress=progress, engine=engine)
        compare(opened, names, range(seeds), out, jobs, threads)
    console.print(f"Done. Next: asal report {quote(str(out))}", highlight=False, soft_wrap=True)


@app.command()
def report(
    folder: Annotated[Path, typer.Argument(help="A run folder.", metavar="DIR")],
    baseline: Annotated[str, typer.Option("--baseline", help="What differences are taken to. [default: random]")] = "",
    budgets: Annotated[
        str, typer.Option("--budgets", help="Labels to compare at, by commas. [default: quarters]")
    ] = "",
    targets: Annotated[
        str,
        typer.Option(
            "--targets",
            help="Accuracies to tell the labels needed for, by commas, such as 0.95,0.98. [default: shares of the "
            "fully supervised accuracy, where it is known, and what the baseline ends with]",
        ),
    ] = "",
) -> None:
    """Write the curves, tables and pictures of a run: one HTML page, SVG, PNG and CSV.

    The page tells accuracy against labels and against images put through the classifier, differences over paired
    seeds with intervals and tests, labels needed, and which strategy beats which.
    """
    from asal.reports.experiment import report as write_report

    at = _numbers(budgets, int, "--budgets", "whole numbers of labels", "100,200")
    reached = _numbers(targets, float, "--targets", "accuracies between 0 and 1", "0.95,0.98")
    _print_paths(write_report(folder, budgets=at, targets=reached, baseline=baseline or None))


@app.command()
def compare(
    folders: Annotated[list[Path], typer.Argument(help="Run folders, one a benchmark: two or more.", metavar="RUN")],
    out: Annotated[Path, typer.Option("--out", help="Where the page goes; not one of the run folders.")],
    baseline: Annotated[str, typer.Option("--baseline", help="What differences are taken to. [default: random]")] = "",
) -> None:
    """Count on how many benchmarks each strategy beats each other one: one HTML page, SVG, PNG and CSV.

    Every RUN is a folder that `asal run … --out RUN` wrote. Strategies are matched by name, so give those that are
    the same the same name in every spec. One **beats** another on a benchmark where the 95% interval of their paired
    differences in area under the budget curve lies above zero; two finished seeds in common are the least for that.
    What is unfinished counts in nothing.

    For example: `asal compare runs/mnist-two runs/cifar-two --out runs/both`
    """
    from asal.reports.benchmarks import compare as over_benchmarks

    _print_paths(over_benchmarks(folders, out, baseline=baseline or None))


@app.command()
def reproduce(
    exhibit: Annotated[str, typer.Argument(help="fig2, fig3a … fig3d, fig4a … fig4d, fig5, fig6, table1 or table2.")],
    out: Annotated[Path, typer.Option("--out", help="Page, picture and CSV go to OUT/EXHIBIT.")] = Path("reproduced"),
    seeds: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option("--seeds", min=1, help="Paired repetitions of curves. [default: as many as the paper's, 3 or 5]"),
    ] = None,
    budget: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(
            "--budget",
            min=1,
            help="Labels that curves end with, in a run folder of their own; labels that fig2's classifier has seen; "
            "images of the largest pool of fig6 and table2. [default: the spec's; 500; 160000]",
        ),
    ] = None,
    jobs: JobsOption = CORES,
    projects: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--projects", help="Where pools and generators are kept, a folder each. [default: OUT/projects]"),
    ] = None,
    specs: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--specs", help="A folder of specs of your own, such as celeba-bangs.toml with another path."),
    ] = None,
) -> None:
    """Do a figure or table of the paper again: its claims beside what is measured here.

    **fig2** made-up images and their matches · **fig3a, fig3b** MNIST 5 and 7: accuracy, entropy of what was picked ·
    **fig3c, fig3d** MNIST: accuracy, dimensions of PCA · **fig4a, fig4b** CIFAR-10, two and ten classes · **fig4c**
    SVHN · **fig4d** LSUN · **fig5** CelebA, four attributes · **fig6** seconds against the pool's size · **table1** the
    set-ups · **table2** seconds of a round. fig2, fig6 and table2 are done on MNIST; table1 needs no data.

    Writes OUT/EXHIBIT/EXHIBIT.html with the picture (SVG and PNG), the numbers (CSV) and the paper's sentences, each
    with what was found and whether it agrees. Runs are kept in OUT/runs and shared by exhibits of one benchmark: fig3b
    after fig3a costs seconds. MNIST, CIFAR-10, CelebA and SVHN are read from the Hugging Face hub or $ASAL_DATA_DIR,
    LSUN from the folder lsun; specs/README.md says how to get them.

    Preparing a benchmark takes minutes (MNIST) to days (LSUN) on a CPU. Cut, and called again, it goes on.

    For example: `asal reproduce fig3a --seeds 2 --budget 100` for a first look
    """
    from asal.cli.progress import show_progress
    from asal.paper.context import ExhibitContext
    from asal.paper.reproduce import reproduce as done_again

    with show_progress(console) as progress:
        paths = done_again(exhibit, ExhibitContext(out, jobs, progress, seeds, budget, projects, specs))
    _print_paths(paths)


def _numbers(text: str, kind: type[Number], option: str, what: str, example: str) -> list[Number] | None:
    try:
        return [kind(number) for number in text.split(",") if number.strip()] or None
    except ValueError:
        rule, hint = f"{option} takes {what}, by commas", f"write, for example, {option} {example}"
        raise UserError(f"{option} {text}", rule=rule, hint=hint) from None


@app.command(name="list")
def list_parts(kind: Annotated[str, typer.Argument(help="One kind, such as strategies. [default: all]")] = "") -> None:
    """List the parts of every kind, one line each."""
    from asal.errors import unknown
    from asal.project.validate import REGISTRIES

    if kind and kind not in REGISTRIES:
        raise unknown("kind of parts", kind, REGISTRIES)
    for title, registry in REGISTRIES.items():
        if kind in ("", title):
            table = Table("name", "what it is", title=title, title_justify="left", box=None, pad_edge=False)
            for name in registry:
                table.add_row(name, registry[name].summary)
            console.print(table, *map(str, registry.failed), "")


@app.command()
def status(folder: Annotated[Path, typer.Argument(help="A project folder.", metavar="PROJECT")] = Path()) -> None:
    """Show what a project folder holds: images, parts, features, and what was cut short."""
    from asal.project.status import summary

    table = Table("folder", "state", "what is in it", box=None, pad_edge=False)
    for row in summary(folder):
        table.add_row(*row)
    console.print(table if table.row_count else f"{folder} holds nothing that asal made.")


@app.command()
def doctor(
    folder: Annotated[Optional[Path], typer.Argument(help="A project folder to check byte by byte.")] = None,  # noqa: UP045
    mend: Annotated[
        bool,
        typer.Option(
            "--mend", help="Take damaged files away: the next `asal prepare` makes these anew, and only these."
        ),
    ] = False,
) -> None:
    """Show what is installed and which device is used; check whether a project folder is whole."""
    from asal.project import status
    from asal.runtime import environment
    from asal.runtime.devices import here

    facts = environment.facts()
    for name, value in {**facts["versions"], **facts["hardware"], "device": here(), "commit": facts["commit"]}.items():
        console.print(f"{name:18} {value if value is not None else 'not there'}", highlight=False)
    wrong = status.damage(folder) if folder else []
    for error in wrong:
        print_error(error)
    if folder:
        gone = status.mend(folder) if mend else []
        _print_paths(
            f"taken away, to be made anew by `asal prepare`, or `asal add` for what was added: {path}" for path in gone
        )
        found = f"{len(wrong)} faults" if wrong else "every file is as it was written"
        console.print(f"{folder}: {found}", highlight=False, soft_wrap=True)
        wrong = wrong[len(gone) :]
    raise typer.Exit(1 if wrong else 0)


app.command()(export)
app.command(name="import")(import_)


def _root(spec: Path, project: Path | None, name: str) -> Path:
    from asal.project.spec import FILE

    own = spec if spec.is_dir() else spec.parent if spec.name == FILE else Path(name)
    return project or own


def _print_paths(paths: object) -> None:
    for path in paths:  # type: ignore[attr-defined]
        console.print(str(path), highlight=False, soft_wrap=True)


def main() -> None:
    """Run the command line; errors that a user can mend come in three lines."""
    run_to_its_end(app)
