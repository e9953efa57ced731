"""The command line: parse, one call, print. Whatever it can do, the library can."""

from __future__ import annotations

import os
from pathlib import Path
from shlex import quote
from typing import Annotated, Optional, TypeVar

import typer

from asal.cli import label_studio, projects
from asal.cli.backup import backup
from asal.cli.classes import classes
from asal.cli.common import CORES, JobsOption, ProjectOption, SpecPath, console, print_lines, root_of
from asal.cli.errors import run_and_exit
from asal.cli.evaluate import evaluate
from asal.cli.exchange import export, import_
from asal.cli.label import annotator, label
from asal.cli.predict import predict
from asal.errors import UserError

app = typer.Typer(
    name="asal",
    help="Choose the few images that are worth a label, without scoring the whole pool.\n\n"
    "Three ways to use it: **init, prepare, label** with your own images, **prepare, run, report** with a spec file "
    "and stored labels, or **demo** to see it all in minutes. Every command can be interrupted and run again: it goes "
    "on where it was.",
    rich_markup_mode="markdown",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command()(label)
app.command()(classes)
app.add_typer(annotator)
app.add_typer(label_studio.app)
Number = TypeVar("Number", int, float)


def _version(wanted: bool) -> None:
    if wanted:
        import asal

        console.print(f"asal {asal.__version__}", highlight=False)
        raise typer.Exit


@app.callback()
def _options(
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks; goes before the command.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    if debug:
        os.environ["ASAL_DEBUG"] = "1"


@app.command()
def demo(
    folder: Annotated[Path, typer.Argument(help="The folder to write to.")] = Path("demo"), jobs: JobsOption = CORES
) -> None:
    """Compare five strategies on scikit-learn's digits: data, generator, index, runs and report in minutes."""
    from asal.cli.progress import show_progress
    from asal.experiments.demo import demo as run_demo
    from asal.reports.experiment import report as write_report

    with show_progress(console) as progress:
        run_demo(folder, jobs, progress, console.print)
    print_lines(write_report(folder))


@app.command()
def run(
    spec: SpecPath,
    out: Annotated[Path, typer.Option("--out", help="The run folder; an interrupted run goes on in it.")],
    strategies: Annotated[
        str, typer.Option("--strategies", help="Names, separated by commas. [default: all of the spec]")
    ] = "",
    seeds: Annotated[int, typer.Option("--seeds", min=1, help="Paired repetitions: seeds 0 … N − 1.")] = 5,
    jobs: JobsOption = CORES,
    threads: Annotated[
        int, typer.Option("--threads", min=1, help="Threads of each run; part of the run's settings.")
    ] = 1,
    project: ProjectOption = None,
) -> None:
    """Compare strategies over paired seeds, with labels that are already known."""
    from asal.cli.progress import show_progress
    from asal.experiments.sweep import compare
    from asal.project.project import Project
    from asal.project.spec import load
    from asal.runtime.engine.choice import chosen

    settings = load(spec)
    names = [name.strip() for name in strategies.split(",")] if strategies else list(settings.strategies)
    with show_progress(console) as progress:
        root, engine = root_of(spec, project, settings.name), chosen("local", jobs, option="--jobs")
        opened = Project(root, settings, progress=progress, engine=engine)
        compare(opened, names, range(seeds), out, jobs, threads)
    console.print(f"Done. Next: asal report {quote(str(out))}", highlight=False, soft_wrap=True)


@app.command()
def report(
    folder: Annotated[Path, typer.Argument(help="A run folder.", metavar="DIR")],
    baseline: Annotated[
        str, typer.Option("--baseline", help="The strategy to compare the others with. [default: random]")
    ] = "",
    budgets: Annotated[
        str,
        typer.Option(
            "--budgets", help="Numbers of labels to compare at, separated by commas. [default: quarters of the budget]"
        ),
    ] = "",
    targets: Annotated[
        str,
        typer.Option(
            "--targets",
            help="Accuracies to count the labels needed for, separated by commas, such as 0.95,0.98. [default: shares "
            "of the fully supervised accuracy, where it is known, and the baseline's last one]",
        ),
    ] = "",
    out: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--out", help="The folder to write to, where DIR may not be written. [default: DIR]"),
    ] = None,
) -> None:
    """Write the curves, tables and pictures of a run: one HTML page, SVG, PNG and CSV.

    The page shows accuracy against labels and against images put through the classifier, differences over paired
    seeds with intervals and tests, labels needed, and which strategy beats which.
    """
    from asal.reports.experiment import report as write_report

    at = _numbers(budgets, int, "--budgets", "whole numbers of labels", "100,200")
    reached = _numbers(targets, float, "--targets", "accuracies between 0 and 1", "0.95,0.98")
    print_lines(write_report(folder, budgets=at, targets=reached, baseline=baseline or None, out=out))


@app.command()
def compare(
    folders: Annotated[
        list[Path], typer.Argument(help="Two or more run folders, one for each benchmark.", metavar="RUN")
    ],
    out: Annotated[Path, typer.Option("--out", help="The folder to write to; not one of the run folders.")],
    baseline: Annotated[
        str, typer.Option("--baseline", help="The strategy to compare the others with. [default: random]")
    ] = "",
) -> None:
    """Count on how many benchmarks each strategy beats each other one: one HTML page, SVG, PNG and CSV.

    Every RUN is a folder that `asal run … --out RUN` wrote. Strategies are matched by name, so give the same strategy
    the same name in every spec. One **beats** another on a benchmark where the 95% interval of their paired
    differences in area under the budget curve lies above zero; that takes at least two finished seeds in common.
    Unfinished runs are left out.

    For example: `asal compare runs/mnist-two runs/cifar-two --out runs/both`
    """
    from asal.reports.benchmarks import compare as over_benchmarks

    print_lines(over_benchmarks(folders, out, baseline=baseline or None))


@app.command()
def reproduce(
    exhibit: Annotated[str, typer.Argument(help="fig2, fig3a … fig3d, fig4a … fig4d, fig5, fig6, table1 or table2.")],
    out: Annotated[Path, typer.Option("--out", help="Page, picture and CSV go to OUT/EXHIBIT.")] = Path("reproduced"),
    seeds: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option("--seeds", min=1, help="Paired repetitions of curves. [default: the paper's number, 3 or 5]"),
    ] = None,
    budget: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(
            "--budget",
            min=1,
            help="Labels at which curves end; labels that fig2's classifier is trained on; images of the largest pool "
            "of fig6 and table2. [default: the spec's; 500; 160000]",
        ),
    ] = None,
    jobs: JobsOption = CORES,
    projects: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--projects", help="Where the project folders are kept. [default: OUT/projects]"),
    ] = None,
    specs: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--specs", help="A folder of specs of your own, such as celeba-bangs.toml with another path."),
    ] = None,
) -> None:
    """Reproduce a figure or table of the paper: its claims beside what is measured here.

    **fig2** synthetic images and their matches · **fig3a, fig3b** MNIST 5 and 7: accuracy, entropy of what was picked ·
    **fig3c, fig3d** MNIST: accuracy, dimensions of PCA · **fig4a, fig4b** CIFAR-10, two and ten classes · **fig4c**
    SVHN · **fig4d** LSUN · **fig5** CelebA, four attributes · **fig6** seconds against the pool's size · **table1** the
    set-ups · **table2** seconds of a round. fig2, fig6 and table2 use MNIST; table1 needs no data.

    Writes OUT/EXHIBIT/EXHIBIT.html with the picture (SVG and PNG), the numbers (CSV) and the paper's sentences, each
    with the result here and whether it agrees. Runs are kept in OUT/runs and shared by exhibits of one benchmark: fig3b
    after fig3a costs seconds. MNIST, CIFAR-10, CelebA and SVHN are read from the Hugging Face hub or $ASAL_DATA_DIR,
    LSUN from the folder lsun; specs/README.md says how to get them.

    Preparing a benchmark takes minutes (MNIST) to days (LSUN) on a CPU. If interrupted, run it again: it goes on.

    For example: `asal reproduce fig3a --seeds 2 --budget 100` for a first look
    """
    from asal.cli.progress import show_progress
    from asal.paper.context import ExhibitContext
    from asal.paper.reproduce import reproduce as write_exhibit

    with show_progress(console) as progress:
        paths = write_exhibit(exhibit, ExhibitContext(out, jobs, progress, seeds, budget, projects, specs))
    print_lines(paths)


def _numbers(text: str, kind: type[Number], option: str, what: str, example: str) -> list[Number] | None:
    try:
        return [kind(number) for number in text.split(",") if number.strip()] or None
    except ValueError:
        got = f"'{option} {text}' is not a list of {what}"
        raise UserError(got, hint=f"separate them by commas, such as {option} {example}") from None


PROJECTS = (
    *(projects.init, projects.prepare, projects.add, projects.move_images),
    *(projects.status, projects.duplicates, projects.doctor),
)
for command in PROJECTS:
    app.command()(command)
app.command(name="list")(projects.list_parts)
app.command()(predict)
app.command()(evaluate)
app.command()(export)
app.command()(backup)
app.command(name="import")(import_)


def main() -> None:
    """Run the command line; an error that the user can put right is printed in three lines at most."""
    run_and_exit(app)
