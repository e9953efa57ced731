"""The paper's claims beside what was measured: each claim is a sentence and a way to check it.

A verdict says no more than the seeds support. A claim of:

    a difference   agrees where the 95% interval of the paired differences lies above zero, disagrees where below
    similarity     agrees where that interval lies within half the gap between random and maximum entropy sampling,
                   disagrees where it excludes zero and the mean lies outside: "not significantly different" is not
                   enough to be similar
    equality       as similarity, but disagrees wherever the interval excludes zero
    an accuracy    agrees where the 95% interval of the mean lies at or above it, disagrees where below

Everything else is undecided, and so is a claim with one seed alone, and similarity where maximum entropy sampling and
random do not differ significantly. A claim is not measured where runs are not finished or their curves end before it.
The half gap is our choice; that random and maximum entropy sampling are the bounds is the paper's.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from asal.errors import UserError
from asal.experiments.metrics import Measure, Target, area, at, needed, paired
from asal.experiments.results import Results, Run
from asal.experiments.statistics import SAME, Estimate, estimate
from asal.reports.sentences import joined

Verdict: TypeAlias = Literal["agrees", "disagrees", "undecided", "not measured"]
MINUS = "\N{MINUS SIGN}"
LOWER, UPPER = "random", "uncertainty"  # the paper's bounds (section 4.2)
ROUNDED = 5e-4  # the paper gives accuracies in tenths of a percent


@dataclass(frozen=True)
class Finding:
    """What was measured for a claim, and whether it supports the claim."""

    measured: str
    verdict: Verdict


Check: TypeAlias = Callable[[Results], Finding]


@dataclass(frozen=True)
class Claim:
    """A sentence of the paper, its section, and how it is checked; `where` is "ours" if the claim is ours."""

    says: str
    where: str
    check: Check


def evaluate(check: Check, results: Results) -> Finding:
    """Check a claim; it is not measured where the curves end before it."""
    try:
        return check(results)
    except UserError as error:
        return Finding(f"{error.got}: {error.rule}" if error.rule else error.got, "not measured")


def all_of(*checks: Check) -> Check:
    """Join checks: all must agree; one that disagrees decides."""

    def check(results: Results) -> Finding:
        findings = [evaluate(part, results) for part in checks]
        parts = [part for finding in findings for part in finding.measured.split("; ")]
        unique = reversed(dict.fromkeys(reversed(parts)))  # each part once, where it is last
        return Finding("; ".join(unique), combined([finding.verdict for finding in findings]))

    return check


def combined(verdicts: Sequence[Verdict]) -> Verdict:
    """Return the verdict of several together."""
    order: Sequence[Verdict] = ("disagrees", "not measured", "undecided", "agrees")
    return next(verdict for verdict in order if verdict in verdicts)


def _verdict(sign: int) -> Verdict:
    return "agrees" if sign > 0 else "disagrees" if sign < 0 else "undecided"


def of_signs(signs: Sequence[int], wanted: int = 0) -> Verdict:
    """Return the verdict of signs: 1 supports a claim, −1 contradicts it, and 0 decides nothing.

    Where there are fewer than `wanted`, as when a strategy is not finished, the rest are not measured.
    """
    missing: list[Verdict] = ["not measured"] * (wanted - len(signs))
    return combined([*map(_verdict, signs), *missing])


def _none(names: Sequence[str]) -> str:
    return f"no run of {joined(names)} is finished"


def _lacking(names: Sequence[str], have: Container[str]) -> str:
    missing = [name for name in names if name not in have]
    return f"; not finished: {joined(missing)}" if missing else ""


def _unfinished(*names: str) -> Finding:
    return Finding(f"{joined(names)} have no finished seed in common", "not measured")


# Differences and similarities


def beats(one: str, other: str, measure: Measure = area, what: str = "area") -> Check:
    """Check that a strategy is ahead of another."""

    def check(results: Results) -> Finding:
        pair = paired(results, one, other, measure)
        if pair is None:
            return _unfinished(one, other)
        return Finding(f"{one} minus {other}: {_difference(pair.estimate)} in {what}", _verdict(pair.estimate.sign))

    return check


def alike(one: str, other: str, measure: Measure = area, what: str = "area") -> Check:
    """Check that two strategies differ by less than half the gap between the bounds, whichever is ahead."""
    return _near(one, other, measure, what, _alike)


def equal(one: str, other: str, measure: Measure = area, what: str = "area") -> Check:
    """Check that two strategies are similar and not significantly different."""
    return _near(one, other, measure, what, _equal)


def no_better(one: str, other: str, measure: Measure = area, what: str = "area") -> Check:
    """Check that a strategy is not ahead of another by half the gap between the bounds; it may lie behind."""
    return _near(one, other, measure, what, _no_better)


def _near(one: str, other: str, measure: Measure, what: str, rule: Callable[[Estimate, float], Verdict]) -> Check:
    def check(results: Results) -> Finding:
        pair, gap = paired(results, one, other, measure), paired(results, UPPER, LOWER, measure)
        if pair is None or gap is None:
            return _unfinished(one, other, *({UPPER, LOWER} - {one, other}))
        margin = (
            abs(gap.estimate.mean) / 2 if gap.estimate.sign else math.nan
        )  # bounds that do not differ give no scale
        near = f"half of {UPPER} minus {LOWER}: {margin:.4f}"
        if math.isnan(margin):
            near = f"{UPPER} and {LOWER} do not differ significantly, so there is no scale for what is similar"
        measured = f"{one} minus {other}: {_difference(pair.estimate)} in {what}; {near}"
        same = len(pair.seeds) > 1 and np.abs(pair.differences).max() <= SAME  # there is no interval then
        return Finding(measured, "agrees" if same else rule(pair.estimate, margin))

    return check


def _alike(difference: Estimate, margin: float) -> Verdict:
    beyond = difference.sign * difference.mean > margin
    return "agrees" if -margin < difference.low <= difference.high < margin else "disagrees" if beyond else "undecided"


def _equal(difference: Estimate, margin: float) -> Verdict:
    return "disagrees" if difference.sign else _alike(difference, margin)


def _no_better(difference: Estimate, margin: float) -> Verdict:
    beyond = difference.sign > 0 and difference.mean > margin
    return "agrees" if difference.high < margin else "disagrees" if beyond else "undecided"


def highest(strategy: str, among: Sequence[str]) -> Check:
    """Check that a strategy is ahead of every one of these."""
    return _extreme(strategy, among, 1)


def lowest(strategy: str, among: Sequence[str]) -> Check:
    """Check that a strategy is behind every one of these."""
    return _extreme(strategy, among, -1)


def _extreme(strategy: str, among: Sequence[str], sign: int) -> Check:
    def check(results: Results) -> Finding:
        means = {name: _mean(results, name, area) for name in (strategy, *among) if results.of(name)}
        pairs = {name: paired(results, strategy, name) for name in among}
        ahead = {name: sign * pair.estimate.sign for name, pair in pairs.items() if pair}
        areas = ", ".join(f"{name} {means[name]:.4f}" for name in sorted(means, key=lambda name: -sign * means[name]))
        measured = f"mean area: {areas}{_lacking((strategy, *among), means)}" if areas else "none of them is finished"
        if close := [name for name, sign in ahead.items() if sign == 0]:
            measured += f"; {strategy} does not differ significantly from {joined(close)}"
        return Finding(measured, of_signs(list(ahead.values()), len(among)))

    return check


def drops(strategy: str, early: int, late: int) -> Check:
    """Check that a strategy's accuracy is lower with more labels."""

    def check(results: Results) -> Finding:
        lost = [lost_between(early, late)(run) for run in results.of(strategy)]
        if not lost:
            return Finding(_none([strategy]), "not measured")
        change = -estimate(lost)
        return Finding(f"{strategy} from {early:,} to {late:,} labels: {_difference(change)}", _verdict(-change.sign))

    return check


def rises_and_falls_back(strategy: str, baseline: str, early: int, peak: int, late: int) -> Check:
    """Check that a strategy is ahead of a baseline early, and falls from its peak and back towards the baseline."""
    return all_of(
        beats(strategy, baseline, at(early), f"accuracy at {early:,} labels"),
        drops(strategy, peak, late),
        beats(baseline, strategy, lambda run: -lost_between(peak, late)(run), f"gain from {peak:,} to {late:,} labels"),
    )


def lost_between(early: int, late: int) -> Measure:
    """Return the measure "accuracy at the first budget minus that at the second"."""
    return lambda run: at(early)(run) - at(late)(run)


# Accuracies


def reaches(strategies: Sequence[str], accuracy: float, budget: int) -> Check:
    """Check that all these strategies reach an accuracy with so many labels."""

    def check(results: Results) -> Finding:
        if results.budget < budget:
            return Finding(f"the runs end at {results.budget:,} labels", "not measured")
        means = {name: _accuracy(results, name, budget) for name in strategies if results.of(name)}
        shares = ", ".join(f"{name} {_share(mean)}" for name, mean in means.items())
        measured = f"at {budget:,} labels {shares}{_lacking(strategies, means)}" if means else _none(strategies)
        return Finding(measured, of_signs([_level(mean, accuracy) for mean in means.values()], len(strategies)))

    return check


def needs(strategy: str, accuracy: float, labels: int) -> Check:
    """Check that a strategy reaches an accuracy with so many labels, but not with three quarters of them."""
    before = round(0.75 * labels)

    def check(results: Results) -> Finding:
        runs = results.of(strategy)
        if not runs or results.budget < labels:
            missing = f"the runs end at {results.budget:,} labels" if runs else _none([strategy])
            return Finding(missing, "not measured")
        first, last = (_accuracy(results, strategy, budget) for budget in (before, labels))
        shares = f"{strategy} {_share(first)} at {before:,} labels, {_share(last)} at {labels:,}"
        verdict = of_signs([-_level(first, accuracy), _level(last, accuracy)], 2)
        return Finding(f"{shares}; {_needed(runs, accuracy)}", verdict)

    return check


def _needed(runs: Sequence[Run], accuracy: float) -> str:
    of = needed(runs, Target(accuracy))
    labels = f"more than {of.budget:,.0f}" if math.isinf(of.median) else f"{of.median:,.0f}"
    return f"the median seed needs {labels} labels for {accuracy:.1%}, and {of.reached} of {len(runs)} seeds reach it"


def accuracy_of_all_labels(low: float, high: float) -> Check:
    """Check that the fully supervised accuracy lies in the paper's range, or that some of its seeds do."""

    def check(results: Results) -> Finding:
        full = results.reference
        if full is None:
            return Finding("the classifier was not trained on every label", "not measured")
        near = full.low <= high and full.high >= low
        verdict: Verdict = "agrees" if low <= full.accuracy <= high else "undecided" if near else "disagrees"
        return Finding(f"fully supervised: {full.accuracy:.2%}", verdict)

    return check


def _accuracy(results: Results, strategy: str, budget: int) -> Estimate:
    return estimate([at(budget)(run) for run in results.of(strategy)])


def _level(mean: Estimate, accuracy: float) -> int:
    """Return 1 where an accuracy is reached, −1 where it is not, and 0 where the seeds do not decide."""
    wanted = accuracy - ROUNDED
    return int(mean.low >= wanted) - int(mean.high < wanted)


# Scores of the picks


def score_ratio(strategies: Sequence[str], baseline: str, ratio: float) -> Check:
    """Check that the picks' mean score is at least so many times a baseline's, seed by seed, for all of these."""

    def check(results: Results) -> Finding:
        ratios = {name: _score_ratios(results, name, baseline) for name in strategies}
        times = {name: estimate(of) for name, of in ratios.items() if of}
        ratios_of = ", ".join(f"{name} {_span(of, '.2f')} ×" for name, of in times.items())
        missing = _lacking((baseline, *strategies), [name for name in results.strategies if results.of(name)])
        measured = f"mean score of picks, to {baseline}’s: {ratios_of}{missing}" if times else "no picks were scored"
        least = ratio - 0.005  # as many digits as the paper has
        signs = [int(of.low >= least) - int(of.high < least) for of in times.values()]
        return Finding(measured, of_signs(signs, len(strategies)))

    return check


def _score_ratios(results: Results, strategy: str, baseline: str) -> list[float]:
    """Return the ratio of the picks' mean score to the baseline's, for each seed that both have finished."""
    ours, theirs = (
        {run.seed: float(np.nanmean(run.mean_score)) for run in results.of(name) if np.isfinite(run.mean_score).any()}
        for name in (strategy, baseline)
    )
    return [score / theirs[seed] for seed, score in ours.items() if theirs.get(seed, 0) > 0]


def _mean(results: Results, strategy: str, measure: Measure) -> float:
    return float(np.mean([measure(run) for run in results.of(strategy)]))


def _difference(of: Estimate) -> str:
    """Describe a difference: its mean, and the interval or why there is none."""
    if math.isnan(of.low):
        return f"{of.mean:+.4f} ({of.method})".replace("-", MINUS)
    return f"{of.mean:+.4f} ({of.low:+.4f} … {of.high:+.4f}, {of.seeds} seeds)".replace("-", MINUS)


def _span(of: Estimate, form: str) -> str:
    """Describe a mean, with its interval where there is one."""
    span = "" if math.isnan(of.low) else f" ({of.low:{form}} … {of.high:{form}})"
    return f"{of.mean:{form}}{span}"


def _share(of: Estimate) -> str:
    return _span(of, ".2%")
