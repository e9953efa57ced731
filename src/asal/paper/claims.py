"""What the paper says of an exhibit, beside what was measured: each claim is a sentence and a way to check it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from asal.evaluate import Measure, Paired, area, at, paired, summarise
from asal.results import Results
from asal.words import joined

Verdict: TypeAlias = Literal["agrees", "disagrees", "undecided", "not measured"]
MINUS = "\N{MINUS SIGN}"


@dataclass(frozen=True)
class Finding:
    """What was measured of a claim, and whether it bears the claim out."""

    measured: str
    verdict: Verdict


Check: TypeAlias = Callable[[Results], Finding]


@dataclass(frozen=True)
class Claim:
    """A sentence of the paper, where it stands, and how it is checked."""

    says: str
    where: str
    check: Check


def all_of(*checks: Check) -> Check:
    """Join checks: all must agree; one that disagrees decides."""

    def check(results: Results) -> Finding:
        found = [one(results) for one in checks]
        verdicts = {one.verdict for one in found}
        order: Sequence[Verdict] = ("disagrees", "not measured", "undecided", "agrees")
        return Finding("; ".join(one.measured for one in found), next(v for v in order if v in verdicts))

    return check


def beats(one: str, other: str, measure: Measure = area, what: str = "area") -> Check:
    """Check that a strategy is ahead of another: the 95% interval of the paired differences lies above zero."""
    return _compared(one, other, {1: "agrees", 0: "undecided", -1: "disagrees"}, measure, what)


def alike(one: str, other: str, measure: Measure = area, what: str = "area") -> Check:
    """Check that two strategies are not told apart: the 95% interval of the paired differences holds zero."""
    return _compared(one, other, {1: "disagrees", 0: "agrees", -1: "disagrees"}, measure, what)


def _compared(one: str, other: str, verdicts: dict[int, Verdict], measure: Measure, what: str) -> Check:
    def check(results: Results) -> Finding:
        pair = paired(results, one, other, measure)
        if pair is None:
            return Finding(f"{one} and {other} have no finished seed in common", "not measured")
        verdict = verdicts[pair.estimate.sign] if not math.isnan(pair.estimate.low) else "undecided"
        return Finding(f"{one} less {other}: {_told(pair)} in {what}", verdict)

    return check


def reaches(strategies: Sequence[str], accuracy: float, budget: int) -> Check:
    """Check that the mean accuracies of all these strategies are at least so high with so many labels."""

    def check(results: Results) -> Finding:
        if results.budget < budget:
            return Finding(f"the runs end at {results.budget:,} labels", "not measured")
        means = {name: _mean_at(results, name, budget) for name in strategies if results.of(name)}
        if not means:
            return Finding(f"no run of {joined(strategies)} is finished", "not measured")
        short = [mean for mean in means.values() if mean < accuracy - 5e-4]  # as many digits as the paper has
        told = ", ".join(f"{name} {mean:.2%}" for name, mean in means.items())
        return Finding(f"at {budget:,} labels {told}", "disagrees" if short else "agrees")

    return check


def needs(strategy: str, accuracy: float, labels: float, tolerance: float = 0.25) -> Check:
    """Check that a strategy's median run first reaches an accuracy with about so many labels."""
    from asal.evaluate import Target, needed

    def check(results: Results) -> Finding:
        runs = results.of(strategy)
        if not runs:
            return Finding(f"no run of {strategy} is finished", "not measured")
        found = needed(runs, Target(accuracy))
        middle = found.median
        told = f"more than {found.budget:,.0f}" if math.isinf(middle) else f"{middle:,.0f}"
        verdict: Verdict = "agrees" if abs(middle - labels) <= tolerance * labels else "disagrees"
        if math.isinf(middle) and found.budget < labels:
            verdict = "not measured"
        seeds = f"{found.reached} of {len(runs)} seeds got there"
        return Finding(f"{strategy} needs {told} labels for {accuracy:.1%} in the median; {seeds}", verdict)

    return check


def highest(strategy: str, among: Sequence[str]) -> Check:
    """Check that a strategy's mean area is the highest of these, or the lowest where it is checked by `lowest`."""
    return _extreme(strategy, among, 1)


def lowest(strategy: str, among: Sequence[str]) -> Check:
    """Check that a strategy's mean area is the lowest of these."""
    return _extreme(strategy, among, -1)


def _extreme(strategy: str, among: Sequence[str], sign: int) -> Check:
    def check(results: Results) -> Finding:
        names = [name for name in (strategy, *among) if results.of(name)]
        means = {name: float(np.mean([area(run) for run in results.of(name)])) for name in names}
        if strategy not in means or len(means) < 2:
            return Finding(f"{strategy} and what it is held against are not finished", "not measured")
        ranked = sorted(means, key=lambda name: -sign * means[name])
        told = ", ".join(f"{name} {means[name]:.4f}" for name in ranked)
        return Finding(f"mean area: {told}", "agrees" if ranked[0] == strategy else "disagrees")

    return check


def rises_and_falls_back(strategy: str, baseline: str, early: int, late: int) -> Check:
    """Check that a strategy is ahead of a baseline early, and late no longer so far."""

    def check(results: Results) -> Finding:
        if results.budget < late:
            return Finding(f"the runs end at {results.budget:,} labels", "not measured")
        pairs = [paired(results, strategy, baseline, at(budget)) for budget in (early, late)]
        first, last = pairs
        if first is None or last is None:
            return Finding(f"{strategy} and {baseline} have no finished seed in common", "not measured")
        fall = first.estimate.mean - last.estimate.mean
        risen, fallen = first.estimate.mean > 0, fall > 0 and last.estimate.sign <= 0
        told = f"{_told(first, 100)} points at {early:,} labels, {_told(last, 100)} at {late:,}"
        return Finding(f"{strategy} less {baseline}: {told}", "agrees" if risen and fallen else "disagrees")

    return check


def score_ratio(strategies: Sequence[str], baseline: str, ratio: float) -> Check:
    """Check that the picks' mean score is at least so many times a baseline's, for each of these strategies."""

    def check(results: Results) -> Finding:
        lines = {line.strategy: line.score_ratio for line in summarise(results, [], baseline)}
        found = {name: value for name in strategies if (value := lines.get(name)) is not None}
        if not found:
            return Finding("no picks were scored", "not measured")
        told = ", ".join(f"{name} {value:.2f} ×" for name, value in found.items())
        short = min(found.values()) < ratio - 0.005
        return Finding(f"mean score of picks, to {baseline}’s: {told}", "disagrees" if short else "agrees")

    return check


def closes_the_gap(strategy: str, fixed: Sequence[str], bound: str) -> Check:
    """Check that a strategy is nearer in area to an upper bound than every one of the fixed ones is."""

    def check(results: Results) -> Finding:
        names = [name for name in (strategy, *fixed, bound) if results.of(name)]
        if strategy not in names or bound not in names or len(names) < 3:
            return Finding("not all of them are finished", "not measured")
        means = {name: float(np.mean([area(run) for run in results.of(name)])) for name in names}
        gaps = {name: means[bound] - means[name] for name in names if name != bound}
        told = ", ".join(f"{name} {_signed(-gap)}" for name, gap in gaps.items())
        nearest = min(gaps, key=lambda name: abs(gaps[name]) if gaps[name] > 0 else 0.0)
        return Finding(f"area, to {bound}’s: {told}", "agrees" if nearest == strategy else "disagrees")

    return check


def accuracy_of_all_labels(low: float, high: float) -> Check:
    """Check that the fully supervised accuracy lies where the paper's does."""

    def check(results: Results) -> Finding:
        full = results.reference
        if full is None:
            return Finding("the classifier was not trained on every label", "not measured")
        inside = low <= full.accuracy <= high
        return Finding(f"fully supervised: {full.accuracy:.2%}", "agrees" if inside else "disagrees")

    return check


def _mean_at(results: Results, strategy: str, budget: int) -> float:
    return float(np.mean([at(budget)(run) for run in results.of(strategy)]))


def _told(pair: Paired, scale: float = 1.0) -> str:
    estimate, digits = pair.estimate, 4 if scale == 1 else 2
    mean = f"{scale * estimate.mean:+.{digits}f}"
    if math.isnan(estimate.low):
        return f"{mean} ({estimate.method})".replace("-", MINUS)
    low, high = (f"{scale * limit:+.{digits}f}" for limit in (estimate.low, estimate.high))
    return f"{mean} ({low} … {high}, {estimate.seeds} seeds)".replace("-", MINUS)


def _signed(x: float) -> str:
    return f"{x:+.4f}".replace("-", MINUS)
