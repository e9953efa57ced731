"""The tables of the pages."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import TypeAlias

from asal.experiments.metrics import Cost, Needed, Paired, Summary, Within
from asal.experiments.pairwise import Pairwise
from asal.experiments.results import Results
from asal.experiments.statistics import Estimate, smallest_p
from asal.reports.sentences import hopeless, joined
from asal.runtime.meter import Meter

MANY_CLASSES = 20  # a table with more columns than this says nothing
MINUS = "\N{MINUS SIGN}"


Bar: TypeAlias = tuple[float, float, float, float]  # low, mean, high, zero: places on a column's scale, 0 … 1


@dataclass(frozen=True)
class Cell:
    """One cell of a table: what it says, a note beneath, and an interval to be drawn."""

    text: str
    note: str = ""  # may have several lines
    bar: Bar | None = None


@dataclass(frozen=True)
class Table:
    """A table of the page; the first cell of a row is its heading."""

    title: str
    caption: str
    heads: Sequence[str]
    rows: Sequence[tuple[str, Sequence[Cell]]]
    first: str = "strategy"  # heads the headings of the rows


def with_unit(score: str) -> str:
    """Return the score's name with its unit."""
    return "entropy (nats)" if score == "entropy" else score


def _percent(x: float) -> str:
    return f"{100 * x:.2f}%"


def _signed(x: float, scale: float = 1.0, digits: int = 4) -> str:
    return f"{scale * x:+z.{digits}f}".replace("-", MINUS)


def _number(x: float) -> str:
    """Write a cost with three digits, and thousands apart."""
    return "–" if math.isnan(x) else f"{x:,.0f}" if x >= 100 or x == round(x) else f"{x:#.3g}"


def _interval(estimate: Estimate, scale: float = 1.0, digits: int = 4, *, signed: bool = False) -> str:
    if math.isnan(estimate.low):
        return estimate.method.removeprefix("none: ")
    form = f"{'+' if signed else ''}z.{digits}f"  # z: what rounds to zero has no minus
    return f"{scale * estimate.low:{form}} … {scale * estimate.high:{form}}".replace("-", MINUS)


def summary_table(summaries: Sequence[Summary]) -> Table:
    """Return accuracy and cost, one row a strategy."""
    budgets = list(summaries[0].accuracy)
    rows = [
        (
            s.strategy,
            [
                Cell(str(s.aubc.seeds)),
                Cell(f"{s.aubc.mean:.4f}", _interval(s.aubc)),
                *(Cell(_percent(e.mean), _interval(e, 100, 2)) for e in s.accuracy.values()),
                Cell(_number(s.cost.images), _split(s.cost)),
                Cell(_number(sum(s.cost.seconds.values()))),
            ],
        )
        for s in summaries
    ]
    heads = ["seeds", "area", *(f"at {n:,} labels" for n in budgets), "evaluations a round", "seconds a round"]
    caption = (
        f"Means over finished seeds, 95% confidence intervals beneath{_methods([s.aubc for s in summaries])}. Area is "
        "that under the budget curve divided by the range of budgets: the mean accuracy on the way, between 0 and 1. "
        "Accuracies between two trainings are interpolated linearly. Evaluations are images put through the classifier "
        "to choose what is asked; costs are means over the rounds that asked for labels."
    )
    return Table("Results", caption, heads, rows)


def _split(cost: Cost) -> str:
    return f"{_number(cost.evaluations)} pool\n{_number(cost.generated)} made up" if cost.generated else ""


def paired_table(
    summaries: Sequence[Summary], baseline: str, unlike: Mapping[str, Sequence[str]] | None = None
) -> Table | None:
    """Return each strategy less the baseline, seed by seed; None where nothing can be paired.

    Args:
        unlike: strategies that differ from the others in more than their choice, by what they have of their own.
    """
    gains = [(s, s.gain) for s in summaries if s.gain]
    if not gains:
        return None
    bar = _bars([g.estimate for _, g in gains])
    rows = [
        (
            s.strategy,
            [
                Cell(f"{g.wins} – {g.ties} – {g.losses}"),
                Cell(_signed(g.estimate.mean), _interval(g.estimate, signed=True), bar(g.estimate)),
                Cell(_p(s.holm), f"alone {_p(g.p)}"),
                *(_points(pair) for pair in s.gain_at.values()),
            ],
        )
        for s, g in gains
    ]
    heads = ["win – tie – loss", "area", "p (Holm)", *(f"at {n:,} labels" for n in gains[0][0].gain_at)]
    caption = _paired_caption([s for s, _ in gains], baseline) + _own({s.strategy for s, _ in gains}, unlike or {})
    return Table(f"Difference to {baseline}", caption, heads, rows)


def _bars(estimates: Sequence[Estimate]) -> Callable[[Estimate], Bar]:
    """Return what places an interval on the common scale of these, zero included."""
    ends = [x for e in estimates for x in (e.low, e.high, e.mean) if not math.isnan(x)]
    low, high = min([*ends, 0.0]), max([*ends, 0.0])
    span = max(high - low, 1e-9)

    def bar(e: Estimate) -> Bar:
        left, right = (e.mean if math.isnan(x) else x for x in (e.low, e.high))
        return (left - low) / span, (e.mean - low) / span, (right - low) / span, -low / span

    return bar


def _p(p: float) -> str:
    return "< 0.0001" if p < 1e-4 else f"{p:.3g}"


def _points(pair: Paired) -> Cell:
    return Cell(_signed(pair.estimate.mean, 100, 2), _interval(pair.estimate, 100, 2, signed=True))


def _methods(estimates: Sequence[Estimate]) -> str:
    made = sorted({e.method for e in estimates if not math.isnan(e.low)})
    return f" ({' or '.join(made)})" if made else ""


def _paired_caption(compared: Sequence[Summary], baseline: str) -> str:
    gains = [s.gain for s in compared if s.gain]
    methods = _methods([gain.estimate for gain in gains])
    corrected = "corrected by Holm’s method for all rows" if len(gains) > 1 else "and there is one row to correct for"
    return (
        f"Each strategy minus {baseline} under the same seed: same initial labels, same initial weights. Area as "
        f"above, accuracies in percentage points, 95% confidence intervals beneath{methods}; "
        "seeds won, tied and lost by area. Each interval stands for itself: it is not widened for the number of "
        f"comparisons. p is that of Wilcoxon’s signed-rank test over the seeds’ areas, two-sided, {corrected} "
        f"(uncorrected beneath).{_floor(compared)}"
    )


def _own(names: Set[str], unlike: Mapping[str, Sequence[str]]) -> str:
    """Say which rows differ from the others in more than their choice."""
    told = [(what, [name for name in some if name in names]) for what, some in unlike.items()]
    return "".join(
        f" With a {what} of their own, and so not paired in all: {joined(some)}." for what, some in told if some
    )


def _floor(compared: Sequence[Summary]) -> str:
    """Say how small p can be with so few seeds, where that makes significance impossible."""
    seeds = max(len(s.gain.seeds) for s in compared if s.gain)
    if not hopeless(compared):
        return ""
    rows = f", and the correction for {len(compared)} rows multiplies it" if len(compared) > 1 else ""
    return (
        f" With {seeds} seeds it is {_p(smallest_p(seeds))} or more even where all of them agree{rows}: no difference "
        "can come out below 0.05 here. Run more seeds."
    )


def needed_table(summaries: Sequence[Summary], baseline: str) -> Table | None:
    """Return the labels needed to reach each target; None without targets."""
    targets = list(summaries[0].needed) if summaries else []
    if not targets:
        return None
    theirs = next((s.needed for s in summaries if s.strategy == baseline), {})
    rows = [
        (
            s.strategy,
            [_needed(s.needed[t], None if s.strategy == baseline else theirs.get(t), baseline) for t in targets],
        )
        for s in summaries
    ]
    heads = [f"{100 * t.accuracy:.2f}%{f' ({t.origin})' if t.origin else ''}" for t in targets]
    caption = (
        "Median over finished seeds of the labels at which a run first reaches the accuracy, linear between trainings. "
        "A run that ends before counts as needing more than any that got there, so that a median beyond the budget is "
        "only known to be larger; beneath, how many seeds got there, and the mean over those alone, which is too small "
        f"where some did not. The last line compares the medians with {baseline}’s. “≤” stands where the first "
        "training was there already. A curve that goes up and down arrives a little earlier for it."
    )
    return Table("Labels needed", caption, heads, rows)


def _needed(needed: Needed, theirs: Needed | None, baseline: str) -> Cell:
    reached, seeds = needed.reached, len(needed.labels)
    whose = "mean" if reached == seeds else "their mean"
    note = f"{reached} of {seeds} seeds" + (f", {whose} {needed.mean:,.0f}" if reached else "")
    if needed.median <= needed.first:
        return Cell(f"≤ {needed.first:,.0f}", note)
    if math.isinf(needed.median):
        return Cell(f"> {needed.budget:,.0f}", note)
    if theirs and theirs.median > theirs.first:
        least = "< " if math.isinf(theirs.median) else ""
        note += f"\n{least}{needed.median / min(theirs.median, theirs.budget):.2f} × {baseline}’s"
    return Cell(f"{needed.median:,.0f}", note)


def spent_table(summaries: Sequence[Summary]) -> Table | None:
    """Return accuracies at equal numbers of evaluations; None where no strategy asked the classifier."""
    steps = list(summaries[0].within) if summaries else []
    if not steps:
        return None
    rows = [(s.strategy, [_spent(s), *(_within(s.within[step]) for step in steps)]) for s in summaries]
    caption = (
        "Accuracy of the last classifier whose labels so many evaluations had paid for, and how many labels it had. "
        "Nothing is interpolated: half of a round’s evaluations choose nothing. An evaluation is one image put through "
        "the classifier to choose what is asked, of the pool or made up; a made-up one counts once a step, without the "
        "way back of its gradient. Training and the test set are not counted."
    )
    if hiding := [s.strategy for s in summaries if s.hides_generated]:
        caption += (
            f" The made-up images of {joined(hiding)} were not counted when these runs were made: there were more "
            "evaluations than are told."
        )
    heads = ["in all", *(f"within {step:,}" for step in steps)]
    return Table("Accuracy at equal evaluations", caption, heads, rows)


def _spent(s: Summary) -> Cell:
    return Cell(f"{'> ' if s.hides_generated else ''}{_number(s.spent.mean)}")


def _within(there: Within) -> Cell:
    return Cell(_percent(there.accuracy.mean), f"{there.labels:,.0f} labels{', the end' if there.ended else ''}")


def difference_table(fought: Mapping[str, Pairwise], strategies: Sequence[str], baseline: str) -> Table:
    """Return the differences in area to the baseline, one column a benchmark; strategies in the order of a matrix."""
    others = [name for name in strategies if name != baseline]
    found = {
        title: {name: pairs[name, baseline].estimate for name in others if (name, baseline) in pairs}
        for title, pairs in fought.items()
    }
    bars = {title: _bars(list(estimates.values())) for title, estimates in found.items()}

    def cell(title: str, name: str) -> Cell:
        e = found[title].get(name)
        return Cell(_signed(e.mean), _interval(e, signed=True), bars[title](e)) if e else Cell("–")

    rows = [(name, [cell(title, name) for title in found]) for name in others]
    made = [e for estimates in found.values() for e in estimates.values()]
    caption = (
        f"Area under the budget curve, each strategy minus {baseline} over their common seeds; 95% confidence "
        f"intervals beneath{_methods(made)}, drawn to the scale of each column with a line at zero. Areas of two "
        "benchmarks are not comparable, their signs are. A dash: fewer than two common finished seeds there."
    )
    return Table(f"Difference to {baseline}", caption, list(found), rows)


def benchmark_table(benchmarks: Mapping[str, Results]) -> Table:
    """Return what each benchmark was."""

    def cells(results: Results) -> list[Cell]:
        protocol, full = results.facts["protocol"], results.reference
        missing = len(results.unfinished)
        return [
            Cell(f"{protocol['initial']:,} … {protocol['budget']:,}", f"{protocol['batch']:,} a round"),
            Cell(str(len(results.facts["seeds"])), f"runs unfinished: {missing}" if missing else ""),
            Cell(str(len(results.strategies))),
            Cell(str(len(results.facts["classes"]))),
            Cell(_percent(full.accuracy) if full else "–"),
            Cell(str(results.folder)),
        ]

    rows = [(title, cells(results)) for title, results in benchmarks.items()]
    heads = ["labels", "seeds", "strategies", "classes", "fully supervised", "folder"]
    return Table("What was run", "The report of each folder tells the rest.", heads, rows, "benchmark")


def score_table(summaries: Sequence[Summary], baseline: str, score: str) -> Table:
    """Return how unsure the classifier was of the picks."""

    def ratio(s: Summary) -> str:
        return "1" if s.strategy == baseline else "–" if s.score_ratio is None else f"{s.score_ratio:.2f} ×"

    rows = [(s.strategy, [Cell("–" if math.isnan(s.score) else f"{s.score:.4f}"), Cell(ratio(s))]) for s in summaries]
    caption = "Mean over rounds and finished seeds; the ratio is over the seeds that both have finished."
    return Table(f"Mean {with_unit(score)} of new picks", caption, ["mean", f"to {baseline}’s"], rows)


def time_table(costs: Mapping[str, Cost]) -> Table:
    """Return the mean seconds of a round, by kind of work."""
    rows = [
        (name, [*(Cell(_number(c.seconds[part])) for part in Meter.PARTS), Cell(_number(sum(c.seconds.values())))])
        for name, c in costs.items()
    ]
    return Table("Seconds a round", "Means over the rounds that asked for labels.", [*Meter.PARTS, "total"], rows)


def watch_table(results: Results) -> Table | None:
    """Return how well approximate indexes kept their promise; None where none was searched."""
    rows = []
    for name in results.strategies:
        told = [round_ for run in results.begun(name) for round_ in run.watched]
        if told:
            total = {key: sum(round_[key] for round_ in told) for key in told[0]}
            checked, missed = total["checked"], total["missed"]
            recall = f"{1 - missed / checked:.3f}" if checked else "–"
            cells = (len(told), total["queries"], checked, missed, recall, total["exact"],
                     max(round_["probes"] for round_ in told), f"{total['seconds'] / len(told):.3f}")  # fmt: skip
            rows.append((name, [Cell(cell if isinstance(cell, str) else f"{cell:,.0f}") for cell in cells]))
    if not rows:
        return None
    heads = ["rounds", "queries", "checked", "missed", "recall", "answered exactly", "most lists", "seconds a round"]
    caption = (
        "In each search some queries, drawn anew, are looked up by the exact scan as well: their recall of the nearest "
        "image stands here as the approximate index had it at first. With one miss the search is done again in four "
        "times as many lists, and in the end by the exact scan, so that what was asked is better than this. Queries "
        "whose near images had been removed are answered exactly at once. The seconds are those of checking and of "
        "searching again."
    )
    return Table("How the index was watched", caption, heads, rows)


def class_table(summaries: Sequence[Summary], classes: Sequence[str]) -> Table:
    """Return how many labels of each class a run ended with."""
    caption = "Images labelled at the end of a run, in the mean over finished seeds."
    if len(classes) <= MANY_CLASSES:
        rows = [(s.strategy, [Cell(f"{x:,.1f}") for x in s.class_counts.tolist()]) for s in summaries]
        return Table("Labels by class", caption, classes, rows)
    ends = [(s, s.class_counts.argsort(kind="stable")[[0, -1]].tolist()) for s in summaries]
    rows = [(s.strategy, [Cell(f"{s.class_counts[i]:,.1f}", classes[i]) for i in both]) for s, both in ends]
    return Table("Labels by class", caption, ["fewest", "most"], rows)
