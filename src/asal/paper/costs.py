"""Figure 6 and table 2: seconds to select a batch, on a page with the paper's claims."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from asal.errors import UserError
from asal.experiments.statistics import Estimate
from asal.paper import plots, timings
from asal.paper.claims import MINUS, Finding, Verdict
from asal.paper.context import CheckedClaim, ExhibitContext, ExhibitResult, PagePart, table_of
from asal.paper.exhibits import Exhibit
from asal.paper.timings import PAPER_SIZES, PICKS, Preparation, Timing
from asal.project.project import Project
from asal.runtime import environment

TIMED = "mnist-ten"  # the benchmark of figures 2 and 6 and of table 2
LARGEST = 160_000  # images in the largest pool of figure 6 by default
LSUN = 10_000_000  # images in table 2 of the paper, approximately
HALVINGS = 4  # smaller pools: each half of the next
SMALLEST = 250  # images that a pool of figure 6 must have: a hundred are labelled
COMPARED = ("maximum entropy", "asal, k-d tree", "asal, exact scan", "subset of 1,000")
RATIO = 53 * 60 / 44  # maximum entropy's seconds to asal's, at 16 million images (section 5.5)
HEADS = ("strategy", "images", "seconds", "matching", "io", "evaluations", "predicted")

COMPLEXITY = {  # of feature extraction in a round, and of the selection; n images in the pool, k labelled, b wanted
    "random": ("–", "O(b)"),
    "maximum entropy": ("O(n)", "O(n)"),
    "learning loss": ("O(n)", "O(n)"),
    "core-set": ("O(n)", "O(n · (k + b))"),
    "asal, k-d tree": ("O(b)", "O(b log n) in the paper; near O(b · n) in 50 dimensions"),
    "asal, exact scan": ("O(b)", "O(b · n), 50 numbers per image"),
    "subset of 1,000": ("O(1)", "O(1)"),
}


def opened(context: ExhibitContext, chosen: Sequence[str]) -> Project:
    """Return the timed benchmark's project with what these strategies need, prepared."""
    project = Project(context.project(TIMED), context.spec(TIMED), progress=context.progress)
    project.prepare(chosen)
    return project


def sizes(largest: int | None) -> list[int]:
    """Return the sizes of figure 6's pools, ascending: halves of the largest, and the paper's as far as it reaches.

    >>> sizes(None)
    [10000, 20000, 40000, 80000, 160000]
    >>> sizes(500_000)[-2:]
    [160000, 500000]

    Raises:
        UserError: the smallest pool would be smaller than what is labelled and selected.
    """
    top = largest or LARGEST
    pools = sorted({min(top, LARGEST) >> halving for halving in range(HALVINGS + 1)} | {
        n for n in (*PAPER_SIZES, top) if n <= top
    })  # fmt: skip
    if pools[0] < SMALLEST:
        raise UserError(
            f"--budget {top} is too small for figure 6",
            rule=f"the smallest pool of figure 6, a {2**HALVINGS}th of the largest, holds {SMALLEST} images or more",
            hint=f"take {SMALLEST << HALVINGS:,} or more",
        )
    return pools


def scaling(exhibit: Exhibit, context: ExhibitContext) -> ExhibitResult:
    """Reproduce figure 6: seconds of a selection, and the round from which the preparation pays off, by pool size."""
    pools = sizes(context.budget)
    project = opened(context, ["asal-autoencoder"])
    measured = timings.measure(project, pools, COMPARED, context.progress)
    prepared, taken = timings.preparation(project, measured), measured.timings
    rounds = {name: timings.crossings(taken, prepared, name, "maximum entropy") for name in COMPARED if "asal" in name}
    note = (
        f"Seconds to select {PICKS} images without reading them from the disk, as in the paper. Medians of "
        f"{timings.REPEATS} selections. Pools hold {project.spec.name}'s images, shifted by up to two pixels; dashed "
        "lines are predicted."
    )
    once = (
        "Seconds to prepare generator, auto-encoder (steps × the rate of a few), features and index, divided by the "
        "seconds saved in a round. A line ends where nothing is saved."
    )
    growth = grows(taken)
    paid = pays(rounds, pools[-1])
    parts = [
        PagePart("picture", "(a) Seconds to select ten", plots.draw_scaling(taken, "seconds"),
             growth.finding.measured, [growth, at_16m(taken)], note),
        PagePart("transition", "(b) Transition point", plots.draw_crossings(rounds, COMPARED),
             paid.finding.measured, [paid], once),
    ]  # fmt: skip
    rows = [vars(one) for one in taken] + _prepared_rows(prepared, pools)
    return ExhibitResult(parts, HEADS, rows, _settings(project, pools))


def grows(taken: Sequence[Timing]) -> CheckedClaim:
    """Check that the seconds of the k-d tree's search, the only part of asal that grows, grow more slowly than n.

    A selection's total seconds would not show it: they are nearly constant until the search outweighs the rest. An
    exact scan is the control: it is linear, so where it too seems to grow more slowly, the pools are too small.
    """
    return CheckedClaim("ASAL has a sub-linear run-time complexity to select new samples", "5.5", _growth(taken))


def _growth(taken: Sequence[Timing]) -> Finding:
    names = list(dict.fromkeys(one.strategy for one in taken))
    total = {name: timings.exponent([t for t in taken if t.strategy == name]) for name in names}
    search = {
        name: timings.exponent([t for t in taken if t.strategy == name], matching=True)
        for name in names if name.startswith("asal")
    }  # fmt: skip
    tree, control = search["asal, k-d tree"], search["asal, exact scan"]
    if math.isnan(tree.mean):
        return Finding("pools of one size show no growth", "not measured")
    totals = ", ".join(f"{name} {_power(slope.mean)}" for name, slope in total.items())
    alone = ", ".join(f"{name} {_slope(slope)}" for name, slope in search.items())
    growth = f"over these sizes {totals}; the matching alone: {alone}"
    if tree.low > 1:
        return Finding(growth, "disagrees")
    if control.high < 1:
        return Finding(f"{growth}; an exact scan is linear and does not seem so: these pools are too small",
                       "undecided")  # fmt: skip
    return Finding(growth, "agrees" if tree.high < 1 else "undecided")


def _slope(slope: Estimate) -> str:
    span = "" if math.isnan(slope.low) else f" ({slope.low:z.2f} … {slope.high:z.2f})".replace("-", MINUS)
    return f"{_power(slope.mean)}{span}"


def _power(exponent: float) -> str:
    return f"n^{exponent:z.2f}".replace("-", MINUS)


def at_16m(taken: Sequence[Timing]) -> CheckedClaim:
    """Compare the ratio of the two selections' seconds with the paper's, at the largest pool."""
    n = max(one.images for one in taken)
    last = {one.strategy: one for one in taken if one.images == n}
    entropy, tree = last["maximum entropy"], last["asal, k-d tree"]
    ratio, predicted = entropy.seconds / tree.seconds, "by prediction " if entropy.predicted or tree.predicted else ""
    verdict: Verdict = "not measured"
    if n >= PAPER_SIZES[-1]:
        verdict = "agrees" if ratio >= RATIO / 2 else "disagrees"  # machines differ: compare the magnitude
    return CheckedClaim(
        "The sample selection time is ∼44s for 16M. … maximum entropy sampling … ∼53min for 16M",
        "5.5",
        Finding(
            f"at {n:,} images maximum entropy takes {predicted}{ratio:.1f} × the seconds of asal with a k-d tree; in "
            f"the paper, at 16 million, {RATIO:.0f} ×",
            verdict,
        ),
    )


def pays(rounds: Mapping[str, Mapping[int, float]], n: int) -> CheckedClaim:
    """Check that there is a round from which the preparation pays off, at the largest pool.

    The larger a pool, the more is saved: one smaller than the paper's can only support the claim.
    """
    never: Verdict = "disagrees" if n >= PAPER_SIZES[0] else "not measured"
    after = {name: line[n] for name, line in rounds.items()}
    ends = (f"{name} {'never' if math.isinf(r) else f'after {max(r, 1):,.0f} rounds'}" for name, r in after.items())
    return CheckedClaim(
        "the time savings for ASAL in each AL cycle is large and allows to compensate for the initial pre-computation "
        "time when running ASAL for sufficiently many AL cycles",
        "5.5",
        Finding(
            f"at {n:,} images it pays off: {', '.join(ends)}",
            never if all(map(math.isinf, after.values())) else "agrees",
        ),
    )


def _prepared_rows(prepared: Preparation, pools: Sequence[int]) -> list[dict[str, Any]]:
    once = {"generator (once, by its rate)": prepared.generator, "auto-encoder (once, by its rate)": prepared.encoder}
    rows: list[dict[str, Any]] = [{"strategy": name, "seconds": seconds} for name, seconds in once.items()]
    for name, taken in (("features (once)", prepared.features), ("k-d tree (once)", prepared.index)):
        rows += [{"strategy": name, "images": n, "seconds": taken[n]} for n in pools]
    return rows


def _settings(project: Project, images: Any) -> dict[str, Any]:
    sizes = ", ".join(f"{n:,}" for n in images)
    return {project.spec.name: {"images": sizes, **environment.hardware(), "commit": environment.commit()}}


def seconds_of_a_round(exhibit: Exhibit, context: ExhibitContext) -> ExhibitResult:
    """Reproduce table 2: complexity and seconds of every method's round, on one pool."""
    n = context.budget or LARGEST
    if n < SMALLEST:
        hint = f"take {SMALLEST} or more"
        raise UserError(
            f"--budget {n} is too small for table 2",
            rule=f"the pool of table 2 holds {SMALLEST} images or more",
            hint=hint,
        )
    project = opened(context, ["asal-autoencoder"])
    taken = timings.measure(project, [n], list(COMPLEXITY), context.progress).timings
    heads = ("method", "features, per round", "selection", "seconds", "with reading", "evaluations")
    lines = [
        (t.strategy, *COMPLEXITY[t.strategy], _short(t.seconds), _short(t.seconds + t.io), f"{t.evaluations:,}")
        for t in taken
    ]
    note = (
        f"The images are {project.spec.name}'s, shifted by up to two pixels; the paper has LSUN's ~10 million. "
        "Classifiers are trained beforehand. Evaluations count synthetic images at every step."
    )
    draw = plots.draw_table(heads, lines)
    alt = ", ".join(f"{t.strategy} {_short(t.seconds + t.io)} s" for t in taken)
    shown = table_of(f"{n:,} images, {PICKS} of them selected", note, heads, lines)
    part = PagePart("picture", exhibit.title, draw, alt, against_maximum_entropy(taken), table=shown)
    return ExhibitResult([part], HEADS, [vars(t) for t in taken], _settings(project, [n]))


def _short(x: float) -> str:
    return f"{x:,.0f}" if x >= 100 else f"{x:.3g}" if x >= 1e-3 else "< 0.001"


def against_maximum_entropy(taken: Sequence[Timing]) -> list[CheckedClaim]:
    """Check the paper's claims on the methods' seconds, reading included, by their ratios to maximum entropy's.

    The paper's claim that asal is faster is for ten million images: its lead grows with the pool, so a smaller one can
    only support it.
    """
    by, n = {one.strategy: one.seconds + one.io for one in taken}, max(one.images for one in taken)
    share = {name: seconds / by["maximum entropy"] for name, seconds in by.items()}

    def checked(says: str, name: str, agrees: bool, otherwise: Verdict = "disagrees") -> CheckedClaim:
        less = f"{_short(share[name])} × the {_short(by['maximum entropy'])} s of maximum entropy"
        measured = f"at {n:,} images {name} takes {_short(by[name])} s, {less}"
        return CheckedClaim(says, "5.5", Finding(measured, "agrees" if agrees else otherwise))

    asal, loss, core = "asal, k-d tree", "learning loss", "core-set"
    return [
        checked("ASAL is much faster than uncertainty sampling", asal, share[asal] < 0.5,
                "disagrees" if n >= LSUN else "not measured"),
        checked("[Learning-Loss:] the run time is similar to maximal entropy sampling", loss, 0.5 <= share[loss] <= 2),
        checked("Core-Set based AL requires extracting the features for each sample every AL cycle", core,
                share[core] >= 0.5),
    ]  # fmt: skip
