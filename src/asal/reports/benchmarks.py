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
        folders: what several `asal run` wrote, one a benchmark; unfinished runs count in nothing.
        out: where the page goes; made where it is not there.
        baseline: the strategy that differences are taken to; by default "random", else the one on most benchmarks.
        watch: is told of each picture.

    Raises:
        UserError: a folder holds no experiment or is named twice, shares no strategy with another, or is `out`.
    """
    benchmarks = _titled(_opened(folders, Path(out)))
    fought = {title: pairwise(results) for title, results in benchmarks.items()}
    matrix = over_benchmarks(list(fought.values()))
    if not matrix.cells:
        raise UserError(
            "no pair of them has two on any of these benchmarks",
            rule="strategies are compared over two seeds or more that both have finished",
            hint="let `asal run` finish more seeds",
        )
    compared_with = _baseline(benchmarks, baseline)
    pictures = render_all({"matrix": plots.draw_matrix(matrix, SHADED)}, progress, "compare")
    csvs = {"matrix.csv": csv_files.matrix_csv(matrix), "pairs.csv": csv_files.pairwise_csv(fought)}
    page = compose(
        "compare.html.j2",
        pictures,
        {
            "matrix": "Benchmarks on which a strategy beats, ties with and loses to another. "
            f"{sentences.tallied(matrix)}"
        },
        title="asal compare",
        names=list(benchmarks),
        verdict=sentences.standing(matrix, compared_with, len(benchmarks)),
        swatches={name: pen.swatch() for name, pen in theme.pens(matrix.strategies, compared_with).items()},
        differences=tables.difference_table(fought, matrix.strategies, compared_with),
        benchmarks=tables.benchmark_table(benchmarks),
        compared=matrix.pairs,
        unfinished=sum(len(results.unfinished) for results in benchmarks.values()),
    )
    return publish(Path(out), "compare.html", page, pictures, csvs)


def _opened(folders: Sequence[Path | str], out: Path) -> list[Results]:
    """Load the folders; refuse what makes no comparison."""
    places = [Path(folder) for folder in folders]
    if len(places) < 2:
        raise UserError(
            f"{places[0]} alone" if places else "none",
            rule="a comparison over benchmarks takes two run folders or more",
            hint="name the others too; `asal report` compares within one",
        )
    twice = [place for place, count in Counter(place.resolve() for place in places).items() if count > 1]
    if twice:
        raise UserError(
            f"{twice[0]} is named twice", rule="every benchmark counts once", hint="name each run folder once"
        )
    if inside := next((it for it in (out, *out.resolve().parents) if (it / FACTS).exists()), None):
        raise UserError(
            f"{inside} is a run folder",
            rule="a comparison lies beside the run folders, not in one of them",
            hint="choose another folder with --out",
        )
    found = [load(place) for place in places]
    _check_once(found)
    holders = Counter(name for results in found for name in results.strategies)
    for results in found:
        if not any(holders[name] > 1 for name in results.strategies):
            raise UserError(
                f"{results.folder} has {', '.join(results.strategies)}, and no other folder has one of these",
                rule="benchmarks are compared by strategies that go by one name on two of them or more",
                hint="leave it out, or run it with strategies that another one has",
            )
    return found


def _check_once(found: Sequence[Results]) -> None:
    """Refuse two folders of one benchmark: a copy, or another budget."""
    seen: dict[tuple[str, str], Results] = {}
    for results in found:
        benchmark = (str(results.facts["name"]), str(results.facts.get("pool")))
        if "pool" in results.facts and benchmark in seen:
            raise UserError(
                f"{seen[benchmark].folder} and {results.folder} are both {benchmark[0]}, of the same images",
                rule="every benchmark counts once",
                hint="leave one of them out",
            )
        seen[benchmark] = results


def _titled(found: Sequence[Results]) -> dict[str, Results]:
    """Give each benchmark its spec's name, and its folder beside it where two have one name."""
    names = [str(results.facts["name"]) for results in found]
    once = Counter(names)
    titles = [
        name if once[name] == 1 else f"{name} ({results.folder})" for name, results in zip(names, found, strict=True)
    ]
    return dict(zip(titles, found, strict=True))


def _baseline(benchmarks: Mapping[str, Results], wanted: str | None) -> str:
    holders = Counter(name for results in benchmarks.values() for name in results.strategies)
    if wanted is not None and wanted not in holders:
        raise unknown("strategy of these experiments", wanted, holders)
    return wanted or (BASELINE if BASELINE in holders else holders.most_common(1)[0][0])
