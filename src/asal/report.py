"""The report of an experiment: one page that needs no other file, the pictures and the tables beside it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from asal import plots, tables
from asal.artifacts import telling_of_disk, write
from asal.errors import UserError
from asal.evaluate import Cost, Curve, Results, Summary, cost, curve, load, quarters, summarise
from asal.plots import Picture
from asal.progress import Watch, unwatched


@dataclass(frozen=True)
class Paths:
    """Where the report lies; iterating yields every file, the page first."""

    page: Path
    curves: Path  # PNG
    files: tuple[Path, ...]  # these two and all the others

    def __iter__(self) -> Iterator[Path]:
        return iter(self.files)


def report(
    folder: Path | str,
    *,
    budgets: Sequence[int] | None = None,
    baseline: str | None = None,
    watch: Watch = unwatched,
) -> Paths:
    """Write `report.html`, the pictures (SVG and PNG) and the tables (CSV) into an experiment's folder.

    Args:
        folder: what `asal run` wrote, finished or not.
        budgets: numbers of labels at which accuracies are told; by default the quarter points of the budget.
        baseline: the strategy that the others are compared with; by default "random", else the first one.
        watch: is told of each picture.

    Raises:
        UserError: no round is there yet, or a budget that the curves do not reach.
    """
    results = load(folder)
    if not results.runs:
        raise UserError(
            "a report needs at least one trained classifier",
            came=f"{folder} holds no whole row yet",
            remedy="let `asal run` finish its first round",
        )
    found = _findings(results, budgets, results.baseline(baseline))
    csvs = {"rows.csv": tables.rows_csv(results), "summary.csv": tables.summary_csv(found.summaries)}
    drawings = _drawings(found)
    pictures: dict[str, Picture] = {}
    for done, (name, draw) in enumerate(drawings.items(), start=1):
        pictures[name] = plots.render(name, draw)
        watch("report", done, len(drawings), name)
    images = {f"{name}.{form}": data for name, it in pictures.items() for form, data in it.files().items()}
    files = {"report.html": _page(found, pictures).encode()} | images | csvs
    with telling_of_disk(results.folder):
        for name, data in files.items():
            write(results.folder / name, data)
    places = {name: results.folder / name for name in files}
    return Paths(places["report.html"], places["curves.png"], tuple(places.values()))


@dataclass(frozen=True)
class _Findings:
    """All that the page tells of, computed once."""

    results: Results
    baseline: str
    summaries: list[Summary]
    costs: dict[str, Cost]
    accuracy: list[Curve]
    scores: list[Curve]
    pairs: list[plots.Pairs]

    @property
    def score(self) -> str:
        return str(self.results.facts["protocol"].get("score", "score"))

    @property
    def pens(self) -> dict[str, plots.Pen]:
        return plots.pens(self.results.strategies, self.baseline)


def _findings(results: Results, budgets: Sequence[int] | None, baseline: str) -> _Findings:
    names = results.strategies
    return _Findings(
        results,
        baseline,
        summaries=summarise(results, sorted(set(budgets)) if budgets else quarters(results), baseline),
        costs={name: cost(results.begun(name)) for name in names if results.begun(name)},
        accuracy=[line for name in names if (line := curve(results, name))],
        scores=[line for name in names if (line := curve(results, name, scores=True))],
        pairs=[block for name in names if (block := _pairs(results, name))],
    )


def _pairs(results: Results, strategy: str) -> plots.Pairs | None:
    for run in results.begun(strategy):
        path = results.folder / strategy / f"seed-{run.seed}" / "pairs.npz"
        if path.is_file():
            return plots.read_pairs(path, strategy, results.facts["classes"])
    return None


def _drawings(found: _Findings) -> dict[str, plots.Draw]:
    picked = f"mean {tables.with_unit(found.score)} of new picks"
    drawings = {
        "curves": plots.draw_curves(found.accuracy, found.pens, "test accuracy", reference=found.results.reference),
        "times": plots.draw_times(found.costs),
    }
    if found.scores:
        drawings["entropy"] = plots.draw_curves(found.scores, found.pens, picked, percent=False)
    if found.pairs:
        drawings["pairs"] = plots.draw_pairs(found.pairs, found.score)
    return drawings


def toml(table: Mapping[str, Any], path: str = "") -> str:
    """Write a spec as it would stand in a TOML file; entries that are None are left out.

    >>> print(toml({"name": "two", "pool": {"keep": [5, 7], "side": None}}))
    name = "two"
    <BLANKLINE>
    [pool]
    keep = [5, 7]
    """
    plain = {key: value for key, value in table.items() if not isinstance(value, Mapping) and value is not None}
    lines = [f"{key} = {json.dumps(value, ensure_ascii=False, default=str)}" for key, value in plain.items()]
    parts = ["\n".join(lines)] if lines else []
    for key, value in table.items():
        if isinstance(value, Mapping):
            inner = toml(value, f"{path}{key}.")
            own_lines = any(not isinstance(v, Mapping) for v in value.values()) or not value
            parts.append(f"[{path}{key}]\n{inner}".rstrip() if own_lines else inner)
    return "\n\n".join(parts)


def _page(found: _Findings, pictures: Mapping[str, Picture]) -> str:
    import jinja2

    house = jinja2.Environment(
        loader=jinja2.PackageLoader("asal"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    house.filters["thousands"] = "{:,}".format
    alts, results, summaries = _alts(found), found.results, found.summaries
    return house.get_template("report.html.j2").render(
        dark_sheet=plots.dark_sheet(),
        paper=plots.PAPER,
        night=plots.NIGHT,
        results=results,
        facts=results.facts,
        verdict=tables.verdict(summaries, found.baseline),
        unfinished=results.unfinished,
        floor=plots.axis_floor(found.accuracy),
        pictures={
            name: [
                ("wide", plots.inline(it.wide, f"{name}-wide", alts[name])),
                ("narrow", plots.inline(it.narrow, f"{name}-narrow", alts[name])),
            ]
            for name, it in pictures.items()
        },
        swatches={name: pen.swatch() for name, pen in found.pens.items()},
        summary=tables.summary_table(summaries) if summaries else None,
        paired=tables.paired_table(summaries, found.baseline),
        scores=tables.score_table(summaries, found.baseline, found.score) if summaries else None,
        score=found.score,
        times=tables.time_table(found.costs),
        classes=tables.class_table(summaries, results.facts["classes"]) if summaries else None,
        spec=toml(results.facts.get("spec") or {}),
    )


def _alts(found: _Findings) -> dict[str, str]:
    """Put each picture into words, for those who do not see it."""
    ends = [f"{line.strategy} {100 * line.mean[-1]:.1f}% at {line.labels[-1]:,.0f}" for line in found.accuracy]
    means = [f"{line.strategy} {line.mean.mean():.3g}" for line in found.scores]
    totals = [f"{name} {sum(it.seconds.values()):.3g}" for name, it in found.costs.items()]
    return {
        "curves": f"Test accuracy against labelled images. Ends: {', '.join(ends)}.",
        "entropy": f"Mean {found.score} of new picks against labelled images. Means: {', '.join(means)}.",
        "times": f"Seconds a round by kind of work. Totals: {', '.join(totals)}.",
        "pairs": f"Made-up images, each above its match, for {', '.join(block.strategy for block in found.pairs)}.",
    }
