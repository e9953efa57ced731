"""Numbers from runs: curves, areas under them, labels and evaluations that an accuracy cost, and paired differences.

Runs are paired by their seed, which gave both the same initial labels and weights. Only finished
runs enter a table: an area or a difference over half a curve means something else.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from asal.errors import UserError
from asal.experiments.results import Floats, Results, Run
from asal.experiments.statistics import SAME, Estimate, estimate, holm, signed_rank
from asal.runtime.meter import Meter

SHARES = (0.9, 0.95, 0.99)  # of the fully supervised accuracy: targets that nobody had to choose
STEPS = 4  # at most so many numbers of evaluations at which accuracies are reported


def aubc(labels: npt.ArrayLike, accuracy: npt.ArrayLike) -> float:
    """Return the area under the budget curve, divided by the range of budgets: the mean accuracy, 0 … 1.

    >>> round(aubc([10, 20, 30], [0.5, 0.7, 0.9]), 6)
    0.7
    """
    from scipy import integrate

    x, y = np.asarray(labels, np.float64), np.asarray(accuracy, np.float64)
    if len(x) < 2 or x[-1] <= x[0]:
        raise UserError(
            f"a curve with the labels {x.tolist()} has no area",
            rule="an area needs accuracies at two budgets or more",
            hint="raise the protocol's budget, or lower its batch",
        )
    return float(integrate.trapezoid(y, x) / (x[-1] - x[0]))


def accuracy_at(labels: npt.ArrayLike, accuracy: npt.ArrayLike, budget: float) -> float:
    """Return the accuracy at a budget, linear between the two numbers of labels on either side of it.

    >>> round(accuracy_at([10, 20, 30], [0.5, 0.7, 0.9], 25), 6)
    0.8

    Raises:
        UserError: the budget lies outside of the curve.
    """
    x = np.asarray(labels, np.float64)
    if not x[0] <= budget <= x[-1]:
        raise UserError(
            f"a budget of {budget:,} lies outside of the curve",
            rule=f"the curve runs from {x[0]:,.0f} to {x[-1]:,.0f} labels",
            hint="choose budgets on the curve",
        )
    return float(np.interp(budget, x, np.asarray(accuracy, np.float64)))


def labels_needed(labels: npt.ArrayLike, accuracy: npt.ArrayLike, target: float) -> float:
    """Return how many labels the curve first reaches an accuracy with, linear between trainings; NaN where it does not.

    A curve that begins there needed its first labels or fewer, and gets those. That it may dip afterwards is not
    looked at: a noisy curve arrives a little earlier for its noise.

    >>> round(labels_needed([10, 20, 30], [0.5, 0.7, 0.9], 0.8), 6)
    25.0
    """
    x, y = np.asarray(labels, np.float64), np.asarray(accuracy, np.float64)
    there = np.flatnonzero(y >= target - SAME)
    if not there.size:
        return math.nan
    first = there[0]
    return float(np.interp(target, y[first - 1 : first + 1], x[first - 1 : first + 1]) if first else x[0])


def within(run: Run, evaluations: float) -> int:
    """Return which of a run's trainings is the last that so many evaluations had paid for.

    Nothing is interpolated: with half of its evaluations a strategy has picked nothing.
    """
    return int(np.searchsorted(run.spent, evaluations, side="right")) - 1


Measure: TypeAlias = Callable[[Run], float]


def area(run: Run) -> float:
    """Return a run's area under the budget curve."""
    return aubc(run.labels, run.accuracy)


def at(budget: int) -> Measure:
    """Return the measure "accuracy at this budget"."""
    return lambda run: accuracy_at(run.labels, run.accuracy, budget)


@dataclass(frozen=True)
class Paired:
    """A strategy minus the baseline, seed by seed."""

    seeds: tuple[int, ...]
    differences: Floats  # (n,)
    estimate: Estimate
    wins: int
    ties: int
    losses: int

    @property
    def p(self) -> float:
        """The p of Wilcoxon's signed-rank test over the seeds; no correction."""
        return signed_rank(self.differences)

    def __neg__(self) -> Paired:
        """Return the same pairs, taken the other way round."""
        return Paired(self.seeds, -self.differences, -self.estimate, self.losses, self.ties, self.wins)


def paired(results: Results, strategy: str, baseline: str, measure: Measure = area) -> Paired | None:
    """Compare a strategy's finished runs with the baseline's of the same seeds; None where there are none.

    Two curves of one seed are compared from where both have begun: a first batch that a strategy chose may hold one
    class alone, and its curve then begins a batch later.
    """
    theirs = {run.seed: run for run in results.of(baseline)}
    pairs = [(run, theirs[run.seed]) for run in results.of(strategy) if run.seed in theirs]
    if not pairs:
        return None
    starts = [max(one.labels[0], other.labels[0]) for one, other in pairs]
    pairs = [(one.since(start), other.since(start)) for (one, other), start in zip(pairs, starts, strict=True)]
    differences = np.array([measure(one) - measure(other) for one, other in pairs])
    wins, losses = int((differences > SAME).sum()), int((differences < -SAME).sum())
    seeds = tuple(one.seed for one, _ in pairs)
    return Paired(seeds, differences, estimate(differences), wins, len(pairs) - wins - losses, losses)


@dataclass(frozen=True)
class Curve:
    """A strategy's mean over seeds with the seeds' extremes; g numbers of labels."""

    strategy: str
    labels: Floats  # (g,)
    spent: Floats  # (g,)  images through the classifier until then, in the mean over seeds
    mean: Floats  # (g,)
    low: Floats  # (g,)
    high: Floats  # (g,)
    seeds: int
    finished: bool


def curve(results: Results, strategy: str, *, scores: bool = False) -> Curve | None:
    """Return the curve of accuracy, or of the new picks' mean score; None before there is a point.

    It is made of the finished runs, or of the begun ones, as far as all have come, while none is finished.
    """
    runs = results.of(strategy) or results.begun(strategy)
    lines = [(run.labels, run.mean_score if scores else run.accuracy) for run in runs]
    lines = [(x[~np.isnan(y)], y[~np.isnan(y)]) for x, y in lines]
    if not lines or any(len(x) == 0 for x, _ in lines):
        return None
    first, last = max(x[0] for x, _ in lines), min(x[-1] for x, _ in lines)
    grid = next(x for x, _ in lines if x[-1] == last)
    grid = grid[grid >= first].astype(np.float64)
    if not len(grid):  # no number of labels at which all of them have a point
        return None
    values = np.array([np.interp(grid, x, y) for x, y in lines])  # (seeds, g)
    spent = np.mean([np.interp(grid, run.labels, run.spent) for run in runs], axis=0)
    done = bool(results.of(strategy))
    return Curve(strategy, grid, spent, values.mean(0), values.min(0), values.max(0), len(runs), done)


@dataclass(frozen=True)
class Cost:
    """What a round with picks cost, in the mean over rounds and seeds."""

    evaluations: float  # pool images that went through the classifier
    generated: float  # synthetic images that did
    seconds: dict[str, float]  # by Meter.PARTS

    @property
    def images(self) -> float:
        """All images that went through the classifier."""
        return self.evaluations + self.generated


def cost(runs: Sequence[Run]) -> Cost:
    """Average the rounds that made picks: the last one only trains."""
    picking = [~np.isnan(run.mean_score) if (~np.isnan(run.mean_score)).any() else run.labels > 0 for run in runs]

    def mean(name: str) -> Floats:
        blocks = [getattr(run, name)[some] for run, some in zip(runs, picking, strict=True)]
        return np.asarray(np.concatenate(blocks).mean(axis=0))

    seconds = dict(zip(Meter.PARTS, mean("seconds").tolist(), strict=True))
    return Cost(float(mean("evaluations")), float(mean("generated")), seconds)


@dataclass(frozen=True)
class Target:
    """An accuracy to be reached, and where it comes from."""

    accuracy: float
    origin: str = ""


def usual_targets(results: Results, baseline: str) -> list[Target]:
    """Return shares of the fully supervised accuracy, where it is known, and what the baseline ends with."""
    full, runs = results.reference, results.of(baseline)
    shares = [Target(share * full.accuracy, f"{share:.0%} of fully supervised") for share in SHARES] if full else []
    ends = [Target(float(np.mean([run.accuracy[-1] for run in runs])), f"{baseline}’s end")] if runs else []
    return shares + ends


@dataclass(frozen=True)
class Needed:
    """The labels that a strategy's runs needed to reach an accuracy; n seeds."""

    labels: Floats  # (n,)  NaN where a run ended before
    first: float  # labels of the first training
    budget: float  # labels of the last one

    @property
    def reached(self) -> int:
        """How many runs reached it."""
        return int(np.isfinite(self.labels).sum())

    @property
    def mean(self) -> float:
        """Mean over the runs that reached it: too small where some did not, NaN where none did."""
        return float(np.nanmean(self.labels)) if self.reached else math.nan

    @property
    def median(self) -> float:
        """Over all runs, infinite where that lies beyond the budget: a run that ended before needs more than any."""
        return float(np.median(np.where(np.isnan(self.labels), np.inf, self.labels)))


def needed(runs: Sequence[Run], target: Target) -> Needed:
    """Return the labels that these runs needed to reach an accuracy."""
    labels = np.array([labels_needed(run.labels, run.accuracy, target.accuracy) for run in runs])
    return Needed(labels, float(min(run.labels[0] for run in runs)), float(max(run.labels[-1] for run in runs)))


@dataclass(frozen=True)
class Within:
    """Where a strategy's runs stood when they had put so many images through the classifier."""

    accuracy: Estimate
    labels: float  # in the mean over seeds
    ended: bool  # they had asked for all of their labels, and needed no more evaluations


def evaluation_steps(results: Results) -> list[int]:
    """Return powers of ten up to the most evaluations that a strategy spent, from just below the fewest."""
    spent = [float(np.mean([run.spent[-1] for run in results.of(name)])) for name in _finished(results)]
    totals = [total for total in spent if total > 0]
    if not totals:
        return []
    low, high = (math.floor(math.log10(total) + SAME) for total in (min(totals), max(totals)))
    return [10**power for power in range(low, high + 1)][-STEPS:]


def _finished(results: Results) -> list[str]:
    return [name for name in results.strategies if results.of(name)]


def _within(runs: Sequence[Run], evaluations: int) -> Within:
    places = [within(run, evaluations) for run in runs]
    standing = list(zip(runs, places, strict=True))
    return Within(
        estimate([run.accuracy[place] for run, place in standing]),
        float(np.mean([run.labels[place] for run, place in standing])),
        all(place == len(run.labels) - 1 for run, place in standing),
    )


@dataclass(frozen=True)
class Summary:
    """A strategy's line in the tables, over its finished runs."""

    strategy: str
    aubc: Estimate
    accuracy: dict[int, Estimate]  # by budget
    gain: Paired | None  # in area; None for the baseline, or where no seed is common
    gain_at: dict[int, Paired]  # in accuracy, by budget
    holm: float  # the gain's p, corrected for all strategies compared; NaN without a gain
    needed: dict[Target, Needed]
    spent: Estimate  # images through the classifier until the end
    within: dict[int, Within]  # by images through the classifier
    hides_generated: bool  # synthetic images are missing in `spent`
    cost: Cost
    score: float  # of the picks
    score_ratio: float | None  # to the baseline's over the common seeds, where both are positive
    class_counts: Floats  # (k,)  at the end


def summarise(
    results: Results, budgets: Sequence[int], baseline: str, targets: Sequence[Target] | None = None
) -> list[Summary]:
    """Return a summary of every strategy with a finished run, in the spec's order.

    Args:
        results: what `load` read.
        budgets: numbers of labels at which accuracies are reported.
        baseline: the strategy that the others are compared with.
        targets: accuracies to be reached; `usual_targets` unless given.

    Raises:
        UserError: a budget lies outside of a curve.
    """
    aims = usual_targets(results, baseline) if targets is None else targets
    lines = [_summary(results, name, budgets, baseline, aims) for name in _finished(results)]
    ps = {line.strategy: line.gain.p for line in lines if line.gain}
    corrected = dict(zip(ps, holm(list(ps.values())), strict=True))
    return [replace(line, holm=corrected.get(line.strategy, math.nan)) for line in lines]


def _summary(
    results: Results, strategy: str, budgets: Sequence[int], baseline: str, targets: Sequence[Target]
) -> Summary:
    runs = results.of(strategy)
    gain = None if strategy == baseline else paired(results, strategy, baseline)
    gains = {budget: paired(results, strategy, baseline, at(budget)) for budget in budgets} if gain else {}
    score, ratio = _scores(results, strategy, baseline, gain)
    return Summary(
        strategy=strategy,
        aubc=estimate([area(run) for run in runs]),
        accuracy={budget: estimate([at(budget)(run) for run in runs]) for budget in budgets},
        gain=gain,
        gain_at={budget: pair for budget, pair in gains.items() if pair},
        holm=math.nan,
        needed={target: needed(runs, target) for target in targets},
        spent=estimate([run.spent[-1] for run in runs]),
        within={step: _within(runs, step) for step in evaluation_steps(results)},
        hides_generated=any(run.hides_generated for run in runs),
        cost=cost(runs),
        score=score,
        score_ratio=ratio,
        class_counts=np.mean([run.class_counts[-1] for run in runs], axis=0),
    )


def _scores(results: Results, strategy: str, baseline: str, gain: Paired | None) -> tuple[float, float | None]:
    """Return the mean score of a strategy's picks, and its ratio to the baseline's over the common seeds."""
    common = gain.seeds if gain else ()
    ours = _mean_score([run for run in results.of(strategy) if run.seed in common])
    theirs = _mean_score([run for run in results.of(baseline) if run.seed in common])
    return _mean_score(results.of(strategy)), ours / theirs if ours > 0 and theirs > 0 else None


def _mean_score(runs: Sequence[Run]) -> float:
    picked = [run.mean_score[~np.isnan(run.mean_score)] for run in runs]
    return float(np.mean([scores.mean() for scores in picked if scores.size] or [math.nan]))


def quarters(results: Results) -> list[int]:
    """Return the quarter points of the budget and its end, as far as every finished run's curve reaches."""
    runs = [run for run in results.runs if run.finished]
    if not runs:
        return []
    first, last = max(int(run.labels[0]) for run in runs), min(int(run.labels[-1]) for run in runs)
    return sorted({round(last * part / 4) for part in (1, 2, 3, 4) if last * part / 4 >= first})
