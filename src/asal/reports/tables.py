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
from asal.reports.sentences import joined, underpowered
from asal.runtime.meter import Meter

MANY_CLASSES = 20  # a table with more columns than this cannot be read
MINUS = "\N{MINUS SIGN}"


Bar: TypeAlias = tuple[float, float, float, float]  # low, mean, high, zero: places on a column's scale, 0 … 1


@dataclass(frozen=True)
class Cell:
    """One cell of a table: its text, a note beneath, and an interval to draw."""

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
    """Write a cost with three digits, and a comma after the thousands."""
    return "–" if math.isnan(x) else f"{x:,.0f}" if x >= 100 or x == round(x) else f"{x:#.3g}"


def _interval(estimate: Estimate, scale: float = 1.0, digits: int = 4, *, signed: bool = False) -> str:
    if math.isnan(estimate.low):
        return estimate.method.removeprefix("none: ")
    form = f"{'+' if signed else ''}z.{digits}f"  # z: what rounds to zero has no minus
    return f"{scale * estimate.low:{form}} … {scale * estimate.high:{form}}".replace("-", MINUS)


def summary_table(summaries: Sequence[Summary]) -> Table:
    """Return accuracy and cost, one row per strategy."""
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
    heads = ["seeds", "area", *(f"at {n:,} labels" for n in budgets), "evaluations per round", "seconds per round"]
    caption = (
        f"Means over finished seeds, 95% confidence intervals beneath{_methods([s.aubc for s in summaries])}. Area is "
        "the area under the budget curve divided by the range of budgets: the mean accuracy along it, between 0 and 1. "
        "Accuracies between two trainings are interpolated linearly. Evaluations are images put through the classifier "
        "to choose what to label; costs are means over the rounds that asked for labels."
    )
    return Table("Results", caption, heads, rows)


def _split(cost: Cost) -> str:
    return f"{_number(cost.evaluations)} pool\n{_number(cost.generated)} synthetic" if cost.generated else ""


def paired_table(
    summaries: Sequence[Summary], baseline: str, unlike: Mapping[str, Sequence[str]] | None = None
) -> Table | None:
    """Return each strategy minus the baseline, seed by seed; None where nothing can be paired.

    Args:
        unlike: strategies with a part of their own, such as another learner, by the name of that part.
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
                Cell(_p(s.holm), f"uncorrected {_p(g.p)}"),
                *(_points(pair) for pair in s.gain_at.values()),
            ],
        )
        for s, g in gains
    ]
    heads = ["win – tie – loss", "area", "p (Holm)", *(f"at {n:,} labels" for n in gains[0][0].gain_at)]
    caption = _paired_caption([s for s, _ in gains], baseline) + _own({s.strategy for s, _ in gains}, unlike or {})
    return Table(f"Difference to {baseline}", caption, heads, rows)


def _bars(estimates: Sequence[Estimate]) -> Callable[[Estimate], Bar]:
    """Return a function that places an interval on the common scale of these, which includes zero."""
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
    methods = sorted({e.method for e in estimates if not math.isnan(e.low)})
    return f" ({' or '.join(methods)})" if methods else ""


def _paired_caption(compared: Sequence[Summary], baseline: str) -> str:
    gains = [s.gain for s in compared if s.gain]
    methods = _methods([gain.estimate for gain in gains])
    corrected = (
        "corrected by Holm’s method for all rows" if len(gains) > 1 else "with one row there is nothing to correct"
    )
    return (
        f"Each strategy minus {baseline} under the same seed: same initial labels, same initial weights. Area as "
        f"above, accuracies in percentage points, 95% confidence intervals beneath{methods}; "
        "seeds won, tied and lost by area. Intervals are not widened for the number of comparisons. p is from a "
        f"two-sided Wilcoxon signed-rank test over the seeds’ areas, {corrected} (uncorrected beneath)."
        f"{_floor(compared)}"
    )


def _own(names: Set[str], unlike: Mapping[str, Sequence[str]]) -> str:
    """Say which strategies differ from the others in more than what they select."""
    shown = [(part, [name for name in holders if name in names]) for part, holders in unlike.items()]
    return "".join(
        f" Not only the selection differs: {joined(holders)} {'has' if len(holders) == 1 else 'have'} another {part}."
        for part, holders in shown
        if holders
    )


def _floor(compared: Sequence[Summary]) -> str:
    """Say how small p can be with so few seeds, if that makes significance impossible."""
    seeds = max(len(s.gain.seeds) for s in compared if s.gain)
    if not underpowered(compared):
        return ""
    rows = f", and the correction for {len(compared)} rows multiplies it" if len(compared) > 1 else ""
    return (
        f" With {seeds} seeds p is at least {_p(smallest_p(seeds))}, even if all of them agree{rows}: no difference "
        "can be significant at 0.05 here. Run more seeds."
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
        "Median over finished seeds of the labels at which a run first reaches the accuracy, interpolated linearly "
        "between trainings. A run that does not reach it counts as needing more labels than all that do, so a median "
        "beyond the budget is only known to be larger. Beneath stand the seeds that reached it and the mean over "
        f"those, which is too small where some did not. The last line compares the median with {baseline}’s. “≤” "
        "means that the first training reached it already. A noisy curve reaches an accuracy a little earlier."
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
    """Return accuracies at equal numbers of evaluations; None where no strategy used the classifier."""
    steps = list(summaries[0].within) if summaries else []
    if not steps:
        return None
    rows = [(s.strategy, [_spent(s), *(_within(s.within[step]) for step in steps)]) for s in summaries]
    caption = (
        "Accuracy of the last classifier whose labels could be chosen with so many evaluations, and its number of "
        "labels. Nothing is interpolated: half of a round’s evaluations choose nothing. An evaluation is one image, of "
        "the pool or synthetic, put through the classifier to choose what to label; a synthetic image counts once per "
        "optimisation step, without the backward pass. Training and the test set are not counted."
    )
    if hiding := [s.strategy for s in summaries if s.hides_generated]:
        caption += (
            f" The synthetic images of {joined(hiding)} were not counted when these runs were made: the true number "
            "of evaluations is higher."
        )
    heads = ["total", *(f"within {step:,}" for step in steps)]
    return Table("Accuracy at equal evaluations", caption, heads, rows)


def _spent(s: Summary) -> Cell:
    return Cell(f"{'> ' if s.hides_generated else ''}{_number(s.spent.mean)}")


def _within(within: Within) -> Cell:
    return Cell(_percent(within.accuracy.mean), f"{within.labels:,.0f} labels{' (all)' if within.ended else ''}")


def difference_table(compared: Mapping[str, Pairwise], strategies: Sequence[str], baseline: str) -> Table:
    """Return the differences in area to the baseline, one column per benchmark; strategies in the order of a matrix."""
    others = [name for name in strategies if name != baseline]
    columns = {
        title: {name: pairs[name, baseline].estimate for name in others if (name, baseline) in pairs}
        for title, pairs in compared.items()
    }
    bars = {title: _bars(list(estimates.values())) for title, estimates in columns.items()}

    def cell(title: str, name: str) -> Cell:
        e = columns[title].get(name)
        return Cell(_signed(e.mean), _interval(e, signed=True), bars[title](e)) if e else Cell("–")

    rows = [(name, [cell(title, name) for title in columns]) for name in others]
    shown = [e for estimates in columns.values() for e in estimates.values()]
    caption = (
        f"Area under the budget curve, each strategy minus {baseline} over their common seeds; 95% confidence "
        f"intervals beneath{_methods(shown)}, drawn to the scale of each column with a line at zero. Areas of two "
        "benchmarks are not comparable, their signs are. A dash stands for fewer than two common finished seeds."
    )
    return Table(f"Difference to {baseline}", caption, list(columns), rows)


def benchmark_table(benchmarks: Mapping[str, Results]) -> Table:
    """Return the set-up of each benchmark."""

    def cells(results: Results) -> list[Cell]:
        protocol, full = results.facts["protocol"], results.reference
        missing = len(results.unfinished)
        return [
            Cell(f"{protocol['initial']:,} … {protocol['budget']:,}", f"{protocol['batch']:,} per round"),
            Cell(
                str(len(results.facts["seeds"])),
                f"{missing} unfinished {'run' if missing == 1 else 'runs'}" if missing else "",
            ),
            Cell(str(len(results.strategies))),
            Cell(str(len(results.facts["classes"]))),
            Cell(_percent(full.accuracy) if full else "–"),
            Cell(str(results.folder)),
        ]

    rows = [(title, cells(results)) for title, results in benchmarks.items()]
    heads = ["labels", "seeds", "strategies", "classes", "fully supervised", "folder"]
    return Table("Set-ups", "The report in each folder has the details.", heads, rows, "benchmark")


def score_table(summaries: Sequence[Summary], baseline: str, score: str) -> Table:
    """Return the mean score of the picks, and its ratio to the baseline's."""

    def ratio(s: Summary) -> str:
        return "1" if s.strategy == baseline else "–" if s.score_ratio is None else f"{s.score_ratio:.2f} ×"

    rows = [(s.strategy, [Cell("–" if math.isnan(s.score) else f"{s.score:.4f}"), Cell(ratio(s))]) for s in summaries]
    caption = "Mean over rounds and finished seeds; the ratio is over the seeds that both have finished."
    return Table(f"Mean {with_unit(score)} of new picks", caption, ["mean", f"ratio to {baseline}’s"], rows)


def time_table(costs: Mapping[str, Cost]) -> Table:
    """Return the mean seconds of a round, by kind of work."""
    rows = [
        (name, [*(Cell(_number(c.seconds[part])) for part in Meter.PARTS), Cell(_number(sum(c.seconds.values())))])
        for name, c in costs.items()
    ]
    return Table("Seconds per round", "Means over the rounds that asked for labels.", [*Meter.PARTS, "total"], rows)


def index_table(results: Results) -> Table | None:
    """Return the measured recall of approximate indexes; None where none was searched."""
    rows = []
    for name in results.strategies:
        rounds = [checks for run in results.begun(name) for checks in run.index_checks]
        if rounds:
            total = {key: sum(checks[key] for checks in rounds) for key in rounds[0]}
            checked, missed = total["checked"], total["missed"]
            recall = f"{1 - missed / checked:.3f}" if checked else "–"
            cells = (len(rounds), total["queries"], checked, missed, recall, total["exact"],
                     max(checks["probes"] for checks in rounds), f"{total['seconds'] / len(rounds):.3f}")  # fmt: skip
            rows.append((name, [Cell(cell if isinstance(cell, str) else f"{cell:,.0f}") for cell in cells]))
    if not rows:
        return None
    heads = ["rounds", "queries", "checked", "missed", "recall", "answered exactly", "most lists", "seconds per round"]
    caption = (
        "In each search some queries, drawn at random, are answered by the exact scan as well. Recall is the share of "
        "them for which the approximate index had found the nearest image at first. After one miss the search is "
        "repeated in four times as many lists, and finally by the exact scan: the picks are better than that. Queries "
        "whose near images had been removed are answered exactly at once. Seconds are those of checking and of "
        "searching again."
    )
    return Table("Recall of the approximate index", caption, heads, rows)


def class_table(summaries: Sequence[Summary], classes: Sequence[str]) -> Table:
    """Return the number of labels of each class at the end of a run."""
    caption = "Images labelled at the end of a run, mean over finished seeds."
    if len(classes) <= MANY_CLASSES:
        rows = [(s.strategy, [Cell(f"{x:,.1f}") for x in s.class_counts.tolist()]) for s in summaries]
        return Table("Labels by class", caption, classes, rows)
    ends = [(s, s.class_counts.argsort(kind="stable")[[0, -1]].tolist()) for s in summaries]
    rows = [(s.strategy, [Cell(f"{s.class_counts[i]:,.1f}", classes[i]) for i in both]) for s, both in ends]
    return Table("Labels by class", caption, ["fewest", "most"], rows)
