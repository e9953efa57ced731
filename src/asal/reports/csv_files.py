"""The CSV files: every row of the runs and every number of the tables; and a summary in Markdown."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from asal.errors import counted
from asal.experiments.metrics import Needed, Paired, Summary
from asal.experiments.pairwise import Matrix, Pairwise
from asal.experiments.results import Reference, Results
from asal.experiments.statistics import Estimate, estimate
from asal.runtime.csv_rows import csv_bytes
from asal.runtime.meter import Meter

Line: TypeAlias = dict[str, Any]  # by column; what a line lacks stays empty

MEASURES = (
    "strategy", "measure", "mean", "low", "high", "interval", "seeds", "wins", "ties", "losses",
    "p", "p_holm", "median", "reached",
)  # fmt: skip
PAIRS = (
    "benchmark", "row", "column", "seeds", "wins", "ties", "losses", "mean", "low", "high", "interval", "verdict", "p",
)  # fmt: skip
VERDICTS = {1: "beats", 0: "ties", -1: "loses"}  # by the sign of an interval


def rows_csv(results: Results) -> bytes:
    """Return every row of every run, one per line; cells without a value stay empty."""
    heads = ["strategy", "seed", "round", "labels", "accuracy", "mean_score", "evaluations", "generated"]
    heads += [f"seconds_{part}" for part in Meter.PARTS] + [f"labelled_{name}" for name in results.facts["classes"]]
    lines: list[Sequence[object]] = []
    for run in results.runs:
        for i in range(len(run.labels)):
            score = "" if math.isnan(run.mean_score[i]) else run.mean_score[i]
            generated = run.generated[i] if run.counts_generated else ""
            known = [run.strategy, run.seed, run.rounds[i], run.labels[i], run.accuracy[i], score]
            lines.append([*known, run.evaluations[i], generated, *run.seconds[i], *run.class_counts[i]])
    return csv_bytes(heads, lines)


def summary_csv(summaries: Sequence[Summary], reference: Reference | None = None) -> bytes:
    """Return the tables' numbers, one per line.

    A mean, its limits and how they were computed; seeds won, tied and lost; p of Wilcoxon's test, before and after
    Holm's correction. Of labels needed: the mean over the seeds that `reached` the accuracy, and the median over all,
    which is empty where it lies beyond the budget. Shares are of the fully supervised accuracy, where it is known.
    """
    lines = ({"strategy": s.strategy} | line for s in summaries for line in _lines(s, reference))
    return csv_bytes(MEASURES, lines)


def _lines(s: Summary, reference: Reference | None) -> Iterator[Line]:
    estimates = {"area": s.aubc} | {f"accuracy_at_{n}": e for n, e in s.accuracy.items()}
    estimates |= {f"accuracy_within_{n}_evaluations": within.accuracy for n, within in s.within.items()}
    for measure, e in estimates.items():
        yield {"measure": measure} | _limits(e)
    if s.gain:
        yield {"measure": "area_difference"} | _pair(s.gain) | {"p": s.gain.p, "p_holm": s.holm}
    for n, pair in s.gain_at.items():
        yield {"measure": f"accuracy_at_{n}_difference"} | _pair(pair)
    for target, needed in s.needed.items():
        yield {"measure": f"labels_to_{target.accuracy:.4f}"} | _needed(needed)
    plain: dict[str, float | None] = {
        "evaluations": s.spent.mean, "evaluations_a_round": s.cost.evaluations, "generated_a_round": s.cost.generated,
        "score_of_picks": s.score, "score_ratio": s.score_ratio,
    }  # fmt: skip
    if reference and reference.accuracy > 0:
        plain |= {f"share_of_reference_at_{n}": e.mean / reference.accuracy for n, e in s.accuracy.items()}
    for measure, x in (plain | {f"seconds_{part}": x for part, x in s.cost.seconds.items()}).items():
        if x is not None and not math.isnan(x):
            yield {"measure": measure, "mean": x, "seeds": s.aubc.seeds}


def _limits(e: Estimate) -> Line:
    limits = {key: x for key, x in (("low", e.low), ("high", e.high)) if not math.isnan(x)}
    return {"mean": e.mean, **limits, "interval": e.method, "seeds": e.seeds}


def _pair(pair: Paired) -> Line:
    return _limits(pair.estimate) | {"wins": pair.wins, "ties": pair.ties, "losses": pair.losses}


def _needed(needed: Needed) -> Line:
    seeds = len(needed.labels)
    line: Line = {"reached": needed.reached, "seeds": seeds}
    if math.isfinite(needed.median):
        line["median"] = needed.median
    if needed.reached == seeds:
        return _limits(estimate(needed.labels)) | line
    return line | {"interval": "none: some seeds did not reach it"} | ({"mean": needed.mean} if needed.reached else {})


def summary_md(summaries: Sequence[Summary], baseline: str) -> bytes:
    """Return the main numbers as a table in Markdown, one row per strategy, to paste into a document.

    Where strategies have different numbers of seeds, each name has its own behind it: their means are not of the same.
    """
    budgets, targets = list(summaries[0].accuracy), list(summaries[0].needed)
    heads = ["strategy", "area", f"minus {baseline} (95% CI)", "p, Holm", "won–tied–lost"]
    heads += [f"at {n:,}" for n in budgets] + [f"labels to {target.accuracy:.1%}" for target in targets]
    heads += ["score of picks", f"× {baseline}", "evaluations per round", "seconds per round"]
    seeds = {s.aubc.seeds for s in summaries}
    names = [s.strategy + (f" ({counted(s.aubc.seeds, 'seed')})" if len(seeds) > 1 else "") for s in summaries]
    lines = [
        [name, f"{s.aubc.mean:.4f}", *_gain_md(s), *_costs_md(s)] for name, s in zip(names, summaries, strict=True)
    ]
    rows = ["| " + " | ".join(line) + " |" for line in (heads, *lines)]
    return "\n".join([rows[0], "|---" * len(heads) + "|", *rows[1:], ""]).encode()


def _gain_md(s: Summary) -> list[str]:
    if s.gain is None:
        return ["–", "–", "–"]
    e = s.gain.estimate
    interval = "" if math.isnan(e.low) else f" ({e.low:+.4f} … {e.high:+.4f})"
    p = "–" if math.isnan(s.holm) else f"{s.holm:.3f}"
    return [f"{e.mean:+.4f}{interval}".replace("-", "−"), p, f"{s.gain.wins}–{s.gain.ties}–{s.gain.losses}"]


def _costs_md(s: Summary) -> list[str]:
    labels = [f"> {it.budget:,.0f}" if math.isinf(it.median) else f"{it.median:,.0f}" for it in s.needed.values()]
    score = ["–" if math.isnan(s.score) else f"{s.score:.3f}", "–" if s.score_ratio is None else f"{s.score_ratio:.2f}"]
    spent = f"{s.cost.evaluations:,.0f}" + (f" + {s.cost.generated:,.0f} synthetic" if s.cost.generated else "")
    return [
        *(f"{e.mean:.2%}" for e in s.accuracy.values()),
        *labels,
        *score,
        spent,
        f"{sum(s.cost.seconds.values()):.3f}",
    ]


def pairwise_csv(compared: Mapping[str, Pairwise]) -> bytes:
    """Return every pair of strategies on every benchmark, in both directions: the row's area minus the column's."""
    return csv_bytes(
        PAIRS,
        (
            {"benchmark": title, "row": row, "column": column, "verdict": VERDICTS[pair.estimate.sign], "p": pair.p}
            | _pair(pair)
            for title, pairs in compared.items()
            for (row, column), pair in pairs.items()
        ),
    )


def matrix_csv(matrix: Matrix) -> bytes:
    """Return on how many benchmarks the row's strategy beats, ties with and loses to the column's."""
    heads = ("row", "column", "benchmarks", "beats", "ties", "loses")
    return csv_bytes(
        heads, ([*pair, cell.count, cell.wins, cell.ties, cell.losses] for pair, cell in matrix.cells.items())
    )
