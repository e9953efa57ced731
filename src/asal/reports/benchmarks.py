"""Several benchmarks side by side: on how many of them one strategy beats another."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from asal.errors import UserError, unknown
from asal.experiments.pairwise import over_benchmarks, pairwise
from asal.experiments.results import BASELINE, FACTS, Results, load
from asal.reports import csv_files, plots, sentences, tables, theme
from asal.reports.page import Paths, compose, publish, render_all
from asal.runtime.progress import Progress, no_progress

SHADED = ("beats more", "even", "loses more")  # the shades of a matrix over benchmarks


def compare(
    folders: Sequence[Path | str], out: Path | str, *, baseline: str | None = None, progress: Progress = no_progress
) -> Paths:
    """Write `compare.html`, the matrix (SVG, PNG and CSV) and every pair's numbers (CSV) into a folder.

    Args:
        folders: what several `asal run` wrote, one a benchmark; unfinished runs are left out.
        out: the folder of the page; it is created where it does not exist.
        baseline: the strategy that differences are taken to; by default "random", else the one on most benchmarks.
        progress: is called after each picture.

    Raises:
        UserError: a folder holds no experiment or is named twice, shares no strategy with another, or is `out`.
    """
    benchmarks = _titled(_opened(folders, Path(out)))
    compared = {title: pairwise(results) for title, results in benchmarks.items()}
    matrix = over_benchmarks(list(compared.values()))
    if not matrix.cells:
        raise UserError(
            "no two strategies have two finished seeds in common on any of these benchmarks",
            rule="strategies are compared over at least two seeds that both have finished",
            hint="let `asal run` finish more seeds",
        )
    compared_with = _baseline(benchmarks, baseline)
    pictures = render_all({"matrix": plots.draw_matrix(matrix, SHADED)}, progress, "compare")
    csvs = {"matrix.csv": csv_files.matrix_csv(matrix), "pairs.csv": csv_files.pairwise_csv(compared)}
    page = compose(
        "compare.html.j2",
        pictures,
        {"matrix": f"Benchmarks on which a strategy beats, ties with and loses to another. {sentences.totals(matrix)}"},
        title="asal compare",
        names=list(benchmarks),
        verdict=sentences.standing(matrix, compared_with, len(benchmarks)),
        swatches={name: pen.swatch() for name, pen in theme.pens(matrix.strategies, compared_with).items()},
        differences=tables.difference_table(compared, matrix.strategies, compared_with),
        benchmarks=tables.benchmark_table(benchmarks),
        compared=matrix.pairs,
        unfinished=sum(len(results.unfinished) for results in benchmarks.values()),
    )
    return publish(Path(out), "compare.html", page, pictures, csvs)


def _opened(folders: Sequence[Path | str], out: Path) -> list[Results]:
    """Load the folders; refuse those that cannot be compared."""
    places = [Path(folder) for folder in folders]
    if len(places) < 2:
        raise UserError(
            f"{places[0]} is the only run folder named" if places else "no run folder is named",
            rule="a comparison takes two run folders or more",
            hint="name more folders; `asal report` compares the strategies within one",
        )
    twice = [place for place, count in Counter(place.resolve() for place in places).items() if count > 1]
    if twice:
        raise UserError(
            f"{twice[0]} is named twice", rule="every benchmark counts once", hint="name each run folder once"
        )
    if inside := next((place for place in (out, *out.resolve().parents) if (place / FACTS).exists()), None):
        raise UserError(
            f"{inside} is a run folder",
            rule="a comparison lies beside the run folders, not in one of them",
            hint="choose another folder with --out",
        )
    opened = [load(place) for place in places]
    _check_once(opened)
    holders = Counter(name for results in opened for name in results.strategies)
    for results in opened:
        if not any(holders[name] > 1 for name in results.strategies):
            raise UserError(
                f"{results.folder} shares no strategy with another folder: it has {', '.join(results.strategies)}",
                rule="benchmarks are compared by the strategies that have the same name on two or more of them",
                hint="leave it out, or run it with strategies of the others",
            )
    return opened


def _check_once(opened: Sequence[Results]) -> None:
    """Refuse two folders of one benchmark: a copy, or another budget."""
    checked: dict[tuple[str, str], Results] = {}
    for results in opened:
        benchmark = (str(results.facts["name"]), str(results.facts.get("pool")))
        if "pool" in results.facts and benchmark in checked:
            raise UserError(
                f"{checked[benchmark].folder} and {results.folder} are both {benchmark[0]}, with the same images",
                rule="every benchmark counts once",
                hint="leave one of them out",
            )
        checked[benchmark] = results


def _titled(opened: Sequence[Results]) -> dict[str, Results]:
    """Give each benchmark its spec's name, and its folder beside it where two have one name."""
    names = [str(results.facts["name"]) for results in opened]
    counts = Counter(names)
    titles = [
        name if counts[name] == 1 else f"{name} ({results.folder})" for name, results in zip(names, opened, strict=True)
    ]
    return dict(zip(titles, opened, strict=True))


def _baseline(benchmarks: Mapping[str, Results], wanted: str | None) -> str:
    holders = Counter(name for results in benchmarks.values() for name in results.strategies)
    if wanted is not None and wanted not in holders:
        raise unknown("strategy of these experiments", wanted, holders)
    return wanted or (BASELINE if BASELINE in holders else holders.most_common(1)[0][0])
