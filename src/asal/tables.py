"""What the numbers say: the verdict in one sentence, the tables of the page, and the CSV files."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from asal.evaluate import Cost, Estimate, Paired, Results, Summary
from asal.meter import Meter

MANY_CLASSES = 20  # a table with more columns than this says nothing
MINUS = "\N{MINUS SIGN}"


@dataclass(frozen=True)
class Cell:
    """One cell of a table: what it says, a note beneath, and an interval to be drawn."""

    text: str
    note: str = ""
    bar: tuple[float, float, float, float] | None = None  # low, mean, high, zero: places on the column's scale, 0 … 1


@dataclass(frozen=True)
class Table:
    """A table of the page; the first cell of a row is its heading."""

    title: str
    caption: str
    heads: Sequence[str]
    rows: Sequence[tuple[str, Sequence[Cell]]]


def verdict(summaries: Sequence[Summary], baseline: str) -> str:
    """Say in one sentence which strategies differ from the baseline, and claim no more than the intervals do."""
    compared = [(summary.strategy, summary.gain) for summary in summaries if summary.gain]
    if not compared:
        return f"There is nothing to compare yet: no other strategy has finished a seed that {baseline} has finished."
    ranked = sorted(compared, key=lambda pair: -pair[1].estimate.mean)
    better = [name for name, gain in ranked if gain.estimate.sign > 0]
    worse = [name for name, gain in ranked if gain.estimate.sign < 0]
    undecided = [name for name, gain in ranked if gain.estimate.sign == 0]
    parts = []
    if better:
        parts.append(f"{_and(better)} {_s(better, 'beats', 'beat')} {baseline}")
    if worse:
        parts.append(f"{_and(worse)} {_s(worse, 'does', 'do')} worse than {baseline}")
    if undecided:
        parts.append(f"{_and(undecided)} cannot be told apart from {baseline}")
    seeds = sorted({len(gain.seeds) for _, gain in compared})
    if seeds == [1]:
        return f"One paired seed allows no interval, so nothing is said to differ from {baseline}: run more seeds."
    span = f"{seeds[0]}" if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]}"
    measure = "in area under the budget curve, by the 95% intervals of the paired differences"
    return f"Over {span} paired seeds, {'; '.join(parts)} ({measure})."


def with_unit(score: str) -> str:
    """Return the score's name with its unit."""
    return "entropy (nats)" if score == "entropy" else score


def _and(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _s(names: Sequence[str], one: str, many: str) -> str:
    return one if len(names) == 1 else many


def _percent(x: float) -> str:
    return f"{100 * x:.2f}%"


def _signed(x: float, scale: float = 1.0, digits: int = 4) -> str:
    return f"{scale * x:+.{digits}f}".replace("-", MINUS)


def _number(x: float) -> str:
    """Write a cost with three digits, and thousands apart."""
    return "–" if math.isnan(x) else f"{x:,.0f}" if x >= 100 or x == round(x) else f"{x:#.3g}"


def _interval(estimate: Estimate, scale: float = 1.0, digits: int = 4, *, signed: bool = False) -> str:
    if math.isnan(estimate.low):
        return estimate.method.removeprefix("none: ")
    form = f"{'+' if signed else ''}.{digits}f"
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
                Cell(_number(s.cost.evaluations)),
                Cell(_number(sum(s.cost.seconds.values()))),
            ],
        )
        for s in summaries
    ]
    heads = ["seeds", "area", *(f"at {n:,} labels" for n in budgets), "evaluations a round", "seconds a round"]
    caption = (
        f"Means over finished seeds, 95% confidence intervals beneath{_methods([s.aubc for s in summaries])}. Area is "
        "that under the budget curve divided by the range of budgets: the mean accuracy on the way, between 0 and 1. "
        "Accuracies between two trainings are interpolated linearly. Evaluations are pool images put through the "
        "classifier; costs are means over the rounds that asked for labels."
    )
    return Table("Results", caption, heads, rows)


def paired_table(summaries: Sequence[Summary], baseline: str) -> Table | None:
    """Return each strategy less the baseline, seed by seed; None where nothing can be paired."""
    gains = [(s, s.gain) for s in summaries if s.gain]
    if not gains:
        return None
    limits = [x for _, g in gains for x in (g.estimate.low, g.estimate.high, g.estimate.mean, 0.0) if not math.isnan(x)]
    low, span = min(limits), max(max(limits) - min(limits), 1e-9)

    def bar(e: Estimate) -> tuple[float, float, float, float]:
        ends = [e.mean if math.isnan(x) else x for x in (e.low, e.mean, e.high)]
        a, b, c, zero = ((x - low) / span for x in (*ends, 0.0))
        return a, b, c, zero

    rows = [
        (
            s.strategy,
            [
                Cell(f"{g.wins} – {g.ties} – {g.losses}"),
                Cell(_signed(g.estimate.mean), _interval(g.estimate, signed=True), bar(g.estimate)),
                *(_points(pair) for pair in s.gain_at.values()),
            ],
        )
        for s, g in gains
    ]
    heads = ["win – tie – loss", "area", *(f"at {n:,} labels" for n in gains[0][0].gain_at)]
    return Table(f"Difference to {baseline}", _paired_caption([g.estimate for _, g in gains], baseline), heads, rows)


def _points(pair: Paired) -> Cell:
    return Cell(_signed(pair.estimate.mean, 100, 2), _interval(pair.estimate, 100, 2, signed=True))


def _methods(estimates: Sequence[Estimate]) -> str:
    made = sorted({e.method for e in estimates if not math.isnan(e.low)})
    return f" ({' or '.join(made)})" if made else ""


def _paired_caption(estimates: Sequence[Estimate], baseline: str) -> str:
    return (
        f"Each strategy minus {baseline} under the same seed: same initial labels, same initial weights. Area as "
        f"above, accuracies in percentage points, 95% confidence intervals beneath{_methods(estimates)}; seeds won, "
        "tied and lost by area. Each interval stands for itself: it is not widened for the number of comparisons."
    )


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


def class_table(summaries: Sequence[Summary], classes: Sequence[str]) -> Table:
    """Return how many labels of each class a run ended with."""
    caption = "Images labelled at the end of a run, in the mean over finished seeds."
    if len(classes) <= MANY_CLASSES:
        rows = [(s.strategy, [Cell(f"{x:,.1f}") for x in s.class_counts.tolist()]) for s in summaries]
        return Table("Labels by class", caption, classes, rows)
    ends = [(s, s.class_counts.argsort(kind="stable")[[0, -1]].tolist()) for s in summaries]
    rows = [(s.strategy, [Cell(f"{s.class_counts[i]:,.1f}", classes[i]) for i in both]) for s, both in ends]
    return Table("Labels by class", caption, ["fewest", "most"], rows)


def _csv(rows: Iterable[Sequence[object]]) -> bytes:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(rows)
    return out.getvalue().encode()


def rows_csv(results: Results) -> bytes:
    """Return every row of every run, one a line; an empty mean score where no picks followed."""
    heads = ["strategy", "seed", "round", "labels", "accuracy", "mean_score", "evaluations"]
    heads += [f"seconds_{part}" for part in Meter.PARTS] + [f"labelled_{name}" for name in results.facts["classes"]]
    lines: list[Sequence[object]] = [heads]
    for run in results.runs:
        for i in range(len(run.labels)):
            score = "" if math.isnan(run.mean_score[i]) else run.mean_score[i]
            known = [run.strategy, run.seed, run.rounds[i], run.labels[i], run.accuracy[i], score, run.evaluations[i]]
            lines.append([*known, *run.seconds[i], *run.class_counts[i]])
    return _csv(lines)


def summary_csv(summaries: Sequence[Summary]) -> bytes:
    """Return the tables' numbers, one a line: its mean, limits and how they were made, and seeds won, tied, lost."""
    heads = ["strategy", "measure", "mean", "low", "high", "interval", "seeds", "wins", "ties", "losses"]
    return _csv([heads, *(line for summary in summaries for line in _told(summary))])


def _told(s: Summary) -> Iterator[Sequence[object]]:
    estimates = {"area": s.aubc} | {f"accuracy_at_{n}": e for n, e in s.accuracy.items()}
    for measure, e in estimates.items():
        yield [s.strategy, measure, *_limits(e), "", "", ""]
    pairs = {"area_difference": s.gain} | {f"accuracy_at_{n}_difference": pair for n, pair in s.gain_at.items()}
    for measure, pair in pairs.items():
        if pair:
            yield [s.strategy, measure, *_limits(pair.estimate), pair.wins, pair.ties, pair.losses]
    plain = {"evaluations_a_round": s.cost.evaluations, "score_of_picks": s.score, "score_ratio": s.score_ratio}
    for measure, x in {**plain, **{f"seconds_{part}": x for part, x in s.cost.seconds.items()}}.items():
        if x is not None and not math.isnan(x):
            yield [s.strategy, measure, x, "", "", "", s.aubc.seeds, "", "", ""]


def _limits(e: Estimate) -> list[object]:
    return [e.mean, *("" if math.isnan(x) else x for x in (e.low, e.high)), e.method, e.seeds]
