"""The report of an experiment: one self-contained page, with its pictures and tables beside it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from asal.errors import UserError
from asal.experiments.metrics import Cost, Curve, Summary, Target, cost, curve, quarters, summarise
from asal.experiments.pairwise import Matrix, Pairwise, over_seeds, pairwise
from asal.experiments.results import Results, load
from asal.project.spec import to_toml
from asal.reports import csv_files, plots, sentences, tables, theme
from asal.reports.page import Paths, compose, publish, render_all
from asal.reports.theme import Draw, Picture
from asal.runtime.progress import Progress, no_progress

SHADED = ("better", "undecided", "worse")  # the shades of a matrix over seeds


def report(
    folder: Path | str,
    *,
    budgets: Sequence[int] | None = None,
    targets: Sequence[float] | None = None,
    baseline: str | None = None,
    progress: Progress = no_progress,
    out: Path | None = None,
) -> Paths:
    """Write `report.html`, the pictures (SVG and PNG) and the tables (CSV) into an experiment's folder.

    Args:
        folder: what `asal run` wrote, finished or not.
        budgets: numbers of labels at which accuracies are reported; by default the quarter points of the budget.
        targets: accuracies, 0 … 1, for which the labels needed are reported; by default 90, 95 and 99% of the fully
            supervised accuracy, where it is known, and what the baseline ends with.
        baseline: the strategy that the others are compared with; by default "random", else the first one.
        progress: is called after each picture.
        out: the folder to write to instead, such as one for which writing is permitted.

    Raises:
        UserError: there is no row yet, a budget lies outside of a curve, or a target is not an accuracy.
    """
    results = load(folder)
    if not results.runs:
        raise UserError(
            f"{folder} holds no complete row yet",
            rule="a report needs at least one trained classifier",
            hint="let `asal run` finish its first round",
        )
    if out is None and not os.access(results.folder, os.W_OK):
        raise UserError(
            f"{results.folder} is read-only, or somebody else's",
            rule="a report is written into the folder of its run, unless another one is named",
            hint="add --out FOLDER",
        )
    findings = _findings(results, budgets, _checked(targets), results.baseline(baseline))
    pictures = render_all(_drawings(findings), progress, "report")
    csvs = {
        "rows.csv": csv_files.rows_csv(results),
        "summary.csv": csv_files.summary_csv(findings.summaries, results.reference),
        "matrix.csv": csv_files.pairwise_csv({str(results.facts["name"]): findings.pairwise}),
    }
    if findings.summaries:
        csvs["summary.md"] = csv_files.summary_md(findings.summaries, findings.baseline)
    return publish(out or results.folder, "report.html", _page(findings, pictures), pictures, csvs)


def _checked(targets: Sequence[float] | None) -> list[Target] | None:
    if not targets:
        return None
    if wrong := [target for target in targets if not 0 < target <= 1]:
        raise UserError(
            f"the target {wrong[0]:g} is not an accuracy",
            rule="a target is an accuracy above 0 and up to 1",
            hint=f"write {wrong[0] / 100:g} for {wrong[0]:g}%" if 1 < wrong[0] <= 100 else "write, for example, 0.95",
        )
    return [Target(target) for target in sorted(set(targets))]


@dataclass(frozen=True)
class _Findings:
    """All that the page shows, computed once."""

    results: Results
    baseline: str
    summaries: list[Summary]
    costs: dict[str, Cost]
    accuracy: list[Curve]
    scores: list[Curve]
    pairs: list[plots.MatchedPairs]
    pairwise: Pairwise
    matrix: Matrix

    @property
    def score(self) -> str:
        return str(self.results.facts["protocol"].get("score", "score"))

    @property
    def pens(self) -> dict[str, theme.Pen]:
        return theme.pens(self.results.strategies, self.baseline)


def _findings(
    results: Results, budgets: Sequence[int] | None, targets: Sequence[Target] | None, baseline: str
) -> _Findings:
    names, compared = results.strategies, pairwise(results)
    return _Findings(
        results,
        baseline,
        summaries=summarise(results, sorted(set(budgets)) if budgets else quarters(results), baseline, targets),
        costs={name: cost(results.begun(name)) for name in names if results.begun(name)},
        accuracy=[line for name in names if (line := curve(results, name))],
        scores=[line for name in names if (line := curve(results, name, scores=True))],
        pairs=[block for name in names if (block := _pairs(results, name))],
        pairwise=compared,
        matrix=over_seeds(compared),
    )


def _pairs(results: Results, strategy: str) -> plots.MatchedPairs | None:
    for run in results.begun(strategy):
        path = results.folder / strategy / f"seed-{run.seed}" / "pairs.npz"
        if path.is_file():
            return plots.read_pairs(path, strategy, results.facts["classes"])
    return None


def _drawings(findings: _Findings) -> dict[str, Draw]:
    picked, reference = f"mean {tables.with_unit(findings.score)} of new picks", findings.results.reference
    drawings = {"curves": plots.draw_curves(findings.accuracy, findings.pens, "test accuracy", reference=reference)}
    if any(line.spent[-1] > 0 for line in findings.accuracy):
        drawings["evaluations"] = plots.draw_spent(findings.accuracy, findings.pens, reference)
    if findings.matrix.cells:
        drawings["matrix"] = plots.draw_matrix(findings.matrix, SHADED)
    if findings.scores:
        drawings["entropy"] = plots.draw_curves(findings.scores, findings.pens, picked, percent=False)
    drawings["times"] = plots.draw_times(findings.costs)
    if findings.pairs:
        drawings["pairs"] = plots.draw_pairs(findings.pairs, findings.score)
    return drawings


def _page(findings: _Findings, pictures: Mapping[str, Picture]) -> str:
    results, summaries = findings.results, findings.summaries
    return compose(
        "report.html.j2",
        pictures,
        _alts(findings),
        title=f"{results.facts['name']} · asal report",
        results=results,
        facts=results.facts,
        verdict=sentences.verdict(summaries, findings.baseline),
        unfinished=results.unfinished,
        floor=plots.axis_floor(findings.accuracy),
        swatches={name: pen.swatch() for name, pen in findings.pens.items()},
        summary=tables.summary_table(summaries) if summaries else None,
        paired=tables.paired_table(summaries, findings.baseline, results.facts.get("unlike")),
        needed=tables.needed_table(summaries, findings.baseline),
        spent=tables.spent_table(summaries),
        compared=findings.matrix.pairs,
        scores=tables.score_table(summaries, findings.baseline, findings.score) if summaries else None,
        score=findings.score,
        times=tables.time_table(findings.costs),
        index=tables.index_table(results),
        classes=tables.class_table(summaries, results.facts["classes"]) if summaries else None,
        spec=to_toml(results.facts.get("spec") or {}),
    )


def _alts(findings: _Findings) -> dict[str, str]:
    """Describe each picture in words, for those who do not see it."""
    ends = [f"{line.strategy} {100 * line.mean[-1]:.1f}% at {line.labels[-1]:,.0f}" for line in findings.accuracy]
    spent = [f"{line.strategy} {100 * line.mean[-1]:.1f}% at {line.spent[-1]:,.0f}" for line in findings.accuracy]
    means = [f"{line.strategy} {line.mean.mean():.3g}" for line in findings.scores]
    generators = ", ".join(block.strategy for block in findings.pairs)
    totals = [f"{name} {sum(cost.seconds.values()):.3g}" for name, cost in findings.costs.items()]
    return {
        "curves": f"Test accuracy against labelled images. Ends: {', '.join(ends)}.",
        "evaluations": f"Test accuracy against images put through the classifier. Ends: {', '.join(spent)}.",
        "matrix": f"Seeds won, tied and lost by each pair of strategies. {sentences.totals(findings.matrix)}",
        "entropy": f"Mean {findings.score} of new picks against labelled images. Means: {', '.join(means)}.",
        "times": f"Seconds per round by kind of work. Totals: {', '.join(totals)}.",
        "pairs": f"Synthetic images, each above its match, for {generators}.",
    }
