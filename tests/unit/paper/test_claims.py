"""Each way to check a claim, on runs whose verdict can be worked out by hand: three seeds, level curves."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.toy_results import level, world

from asal.experiments.metrics import at
from asal.experiments.results import Reference, Results
from asal.paper import claims
from asal.paper.claims import Check, Finding, Verdict, alike, all_of, beats, combined, equal, evaluate, no_better

LUCK = (0.5, 0.6, 0.7)  # what random sampling gets under three seeds: it cancels in every paired difference
# Student's t for three seeds is 4.303: differences of 0.02, 0.03, 0.04 lie in 0.03 ± 0.0248, and ± 0.01 about a mean in
# ± 0.0248 of it. "uncertainty" is 0.04 ahead of "random", so half the gap is 0.02.
GAP = 0.04


def above(*differences: float) -> list[list[float]]:
    """Return level curves so far above random's."""
    return level([luck + more for luck, more in zip(LUCK, differences, strict=True)])


def beside_the_bounds(**differences: tuple[float, float, float]) -> Results:
    """Return random, uncertainty and these."""
    others = {name: above(*more) for name, more in differences.items()}
    return world({"random": level(LUCK), "uncertainty": above(GAP, GAP - 1e-3, GAP + 1e-3), **others})


def verdict(check: Check, results: Results) -> Verdict:
    return evaluate(check, results).verdict


# Differences

DIFFERENCES: dict[Verdict, tuple[float, float, float]] = {
    "agrees": (0.02, 0.03, 0.04), "disagrees": (-0.02, -0.03, -0.04), "undecided": (0.0, 0.02, 0.04),
}  # fmt: skip


@pytest.mark.parametrize("expected", DIFFERENCES)
def test_beats_means_ahead_by_the_interval(expected: Verdict) -> None:
    of = beats("a", "random")(beside_the_bounds(a=DIFFERENCES[expected]))
    assert of.verdict == expected
    assert of.measured.startswith("a minus random: ")
    assert of.measured.endswith("3 seeds) in area")


def test_the_text_holds_the_interval() -> None:
    of = beats("a", "random")(beside_the_bounds(a=(0.02, 0.03, 0.04)))
    assert of.measured == "a minus random: +0.0300 (+0.0052 … +0.0548, 3 seeds) in area"
    back = beats("random", "a")(beside_the_bounds(a=(0.02, 0.03, 0.04)))
    assert back.measured == "random minus a: −0.0300 (−0.0548 … −0.0052, 3 seeds) in area"


def test_one_seed_decides_nothing() -> None:
    of = beats("a", "random")(world({"random": level(LUCK[:1]), "a": level([0.9])}))
    assert of == Finding("a minus random: +0.4000 (none: one seed) in area", "undecided")
    results = world({"random": level(LUCK[:1]), "uncertainty": level([0.9]), "a": level([0.5])})
    assert verdict(alike("a", "random"), results) == "undecided"
    assert verdict(claims.reaches(["a"], 0.1, 30), results) == "undecided"
    assert verdict(claims.highest("uncertainty", ["a"]), results) == "undecided"
    assert verdict(claims.drops("a", 10, 30), results) == "undecided"


@pytest.mark.parametrize("check", [beats("a", "random"), alike("a", "random"), no_better("a", "random")])
def test_without_a_seed_in_common_nothing_is_measured(check: Check) -> None:
    assert verdict(check, world({"random": level(LUCK), "uncertainty": level(LUCK)})) == "not measured"
    cut = world(
        {"random": level(LUCK), "uncertainty": level(LUCK), "a": level(LUCK)}, unfinished=[("a", s) for s in (0, 1, 2)]
    )
    of = check(cut)
    assert of.verdict == "not measured" and "no finished seed in common" in of.measured


def test_what_is_unfinished_is_left_out() -> None:
    results = world({"random": level(LUCK), "a": above(0.02, 0.03, -0.5)}, unfinished=[("a", 2)])
    of = beats("a", "random")(results)
    assert "2 seeds" in of.measured and "+0.0250" in of.measured


def test_beyond_the_curves_nothing_is_measured() -> None:
    results = beside_the_bounds(a=(0.02, 0.03, 0.04))
    of = evaluate(beats("a", "random", at(40), "accuracy at 40 labels"), results)
    assert of.verdict == "not measured" and "40" in of.measured and "10 to 30 labels" in of.measured
    assert verdict(beats("a", "random", at(20), "accuracy at 20 labels"), results) == "agrees"


# Similarities: half the gap is 0.02

SIMILARITIES: dict[str, tuple[tuple[float, float, float], Verdict, Verdict, Verdict]] = {  # alike, equal, no better
    "clearly within": ((-0.001, 0.0, 0.001), "agrees", "agrees", "agrees"),
    "different, and clearly within": ((0.011, 0.012, 0.013), "agrees", "disagrees", "agrees"),
    "not different, and perhaps far": ((0.0, 0.01, 0.02), "undecided", "undecided", "undecided"),
    "different, and perhaps within": ((0.018, 0.019, 0.0195), "undecided", "disagrees", "undecided"),
    "clearly ahead, and far": ((0.03, 0.031, 0.032), "disagrees", "disagrees", "disagrees"),
    "clearly behind, and far": ((-0.03, -0.031, -0.032), "disagrees", "disagrees", "agrees"),
    "the same in every seed": ((0.0, 0.0, 0.0), "agrees", "agrees", "agrees"),
}


@pytest.mark.parametrize("name", SIMILARITIES)
def test_similar_is_more_than_not_significantly_different(name: str) -> None:
    differences, near, same, one = SIMILARITIES[name]
    results = beside_the_bounds(a=differences)
    assert verdict(alike("a", "random"), results) == verdict(alike("random", "a"), results) == near
    assert verdict(equal("a", "random"), results) == verdict(equal("random", "a"), results) == same
    assert verdict(no_better("a", "random"), results) == one


def test_the_text_holds_the_margin() -> None:
    of = alike("a", "random")(beside_the_bounds(a=(-0.001, 0.0, 0.001)))
    assert of.measured.endswith("in area; half of uncertainty minus random: 0.0200")


def test_bounds_that_do_not_differ_give_no_scale() -> None:
    worlds = {"random": level(LUCK), "uncertainty": above(0.04, -0.02, 0.01), "a": above(0.001, 0.0, -0.001)}
    of = alike("a", "random")(world(worlds))
    assert of.verdict == "undecided"
    assert "do not differ significantly" in of.measured


def test_without_the_bounds_there_is_no_scale() -> None:
    of = alike("a", "b")(world({"random": level(LUCK), "a": level(LUCK), "b": level(LUCK)}))
    assert of.verdict == "not measured" and "uncertainty" in of.measured


def test_without_a_gap_nothing_but_the_same_is_alike() -> None:
    none = {"random": level(LUCK), "uncertainty": level(LUCK)}
    assert verdict(alike("a", "random"), world({**none, "a": above(-0.001, 0.0, 0.001)})) == "undecided"
    assert verdict(alike("a", "random"), world({**none, "a": level(LUCK)})) == "agrees"


@st.composite
def worlds(draw: st.DrawFn) -> Results:
    """Return two to six seeds of four strategies of any accuracy."""
    seeds = draw(st.integers(2, 6))
    accuracy = st.integers(0, 1_000).map(lambda n: n / 1_000)
    names = ("random", "uncertainty", "a", "b")
    return world({name: level(draw(st.lists(accuracy, min_size=seeds, max_size=seeds))) for name in names})


OPPOSITE: dict[Verdict, Verdict] = {"agrees": "disagrees", "disagrees": "agrees", "undecided": "undecided"}


@given(worlds())
@settings(max_examples=80, deadline=None)
def test_verdicts_do_not_contradict_each_other(results: Results) -> None:
    ahead, behind = verdict(beats("a", "b"), results), verdict(beats("b", "a"), results)
    assert behind == OPPOSITE[ahead]
    same = verdict(alike("a", "b"), results)
    assert same == verdict(alike("b", "a"), results)
    if verdict(equal("a", "b"), results) == "agrees":
        assert same == "agrees" and ahead == "undecided"
    not_above, not_below = verdict(no_better("a", "b"), results), verdict(no_better("b", "a"), results)
    if same == "agrees":
        assert not_above == not_below == "agrees"
    if not_above == "disagrees":
        assert ahead == "agrees" and same == "disagrees"
    if same == "disagrees":
        assert "disagrees" in (not_above, not_below) and ahead != "undecided"
    assert verdict(claims.highest("a", ["b"]), results) == ahead
    assert verdict(claims.lowest("a", ["b"]), results) == behind


# Of several


def finding(verdict: Verdict) -> Check:
    return lambda _: Finding(f"says {verdict}", verdict)


@given(st.lists(st.sampled_from(["agrees", "disagrees", "undecided", "not measured"]), min_size=1))
def test_all_must_agree_and_one_that_disagrees_decides(verdicts: list[Verdict]) -> None:
    of = all_of(*map(finding, verdicts))(world({"random": level(LUCK)})).verdict
    assert (of == "agrees") == (set(verdicts) == {"agrees"})
    assert (of == "disagrees") == ("disagrees" in verdicts)
    assert of == combined(verdicts) and of in verdicts


def test_what_one_of_several_cannot_measure_hides_no_disagreement() -> None:
    results = beside_the_bounds(a=(-0.02, -0.03, -0.04))
    beyond, behind = beats("a", "random", at(40)), beats("a", "random")
    of = all_of(beyond, behind)(results)
    assert of.verdict == "disagrees" and "40" in of.measured and "; a minus random" in of.measured


def test_a_part_that_several_findings_share_stands_once() -> None:
    results = beside_the_bounds(a=(-0.001, 0.0, 0.001), b=(0.0, 0.001, 0.002))
    parts = all_of(alike("a", "random"), alike("b", "random"))(results).measured.split("; ")
    assert [part.split(":")[0] for part in parts] == [
        "a minus random",
        "b minus random",
        "half of uncertainty minus random",
    ]


# The highest and the lowest


def test_the_highest_is_ahead_of_every_one() -> None:
    results = beside_the_bounds(a=(0.05, 0.051, 0.052), b=(0.0, 0.05, 0.08), c=(0.07, 0.072, 0.071))
    assert verdict(claims.highest("a", ["random"]), results) == "agrees"
    assert verdict(claims.highest("a", ["random", "c"]), results) == "disagrees"
    of = claims.highest("a", ["random", "b"])(results)
    assert of.verdict == "undecided", "its mean is the highest, but the seeds do not decide"
    assert of.measured == "mean area: a 0.6510, b 0.6433, random 0.6000; a does not differ significantly from b"
    assert verdict(claims.lowest("random", ["a", "c"]), results) == "agrees"
    assert verdict(claims.lowest("a", ["random", "c"]), results) == "disagrees"


def test_the_highest_is_not_measured_without_all_others() -> None:
    results = beside_the_bounds(a=(0.05, 0.051, 0.052))
    of = claims.highest("a", ["random", "z"])(results)
    assert of == Finding("mean area: a 0.6510, random 0.6000; not finished: z", "not measured")
    assert verdict(claims.highest("random", ["a", "z"]), results) == "disagrees", "whatever z may be"
    assert verdict(claims.highest("y", ["z"]), results) == "not measured"
    assert "none of them is finished" in claims.highest("y", ["z"])(results).measured


# Falls


def test_an_accuracy_that_drops() -> None:
    falling = [[0.7, 0.8, 0.75 + luck] for luck in (-0.001, 0.0, 0.001)]
    results = world(
        {"a": falling, "b": [line[::-1] for line in falling], "c": [[0.5, 0.6 + x, 0.6] for x in (-0.1, 0, 0.1)]}
    )
    of = claims.drops("a", 20, 30)(results)
    assert of == Finding("a from 20 to 30 labels: −0.0500 (−0.0525 … −0.0475, 3 seeds)", "agrees")
    assert verdict(claims.drops("a", 10, 20), world({"a": [[0.5 + x, 0.8] for x in (0, 0.01, 0.02)]})) == "disagrees"
    assert verdict(claims.drops("c", 20, 30), results) == "undecided"
    assert verdict(claims.drops("z", 20, 30), results) == "not measured"
    assert verdict(claims.drops("a", 20, 50), results) == "not measured"


RISES: dict[str, tuple[tuple[float, float, float], Verdict]] = {  # a's lead over random at 10, 20 and 30 labels
    "rises, drops and falls back": ((0.1, 0.1, -0.2), "agrees"),
    "rises, drops, and keeps some of its lead": ((0.3, 0.3, 0.1), "agrees"),
    "is behind from the beginning": ((-0.1, 0.1, -0.2), "disagrees"),
    "keeps its lead": ((0.1, 0.1, 0.1), "disagrees"),
    "falls back and does not drop": ((0.2, 0.15, 0.1), "disagrees"),
}


@pytest.mark.parametrize("name", RISES)
def test_rising_and_falling_back(name: str) -> None:
    lead, expected = RISES[name]
    random = [0.3, 0.4, 0.5]
    ours = [[base + more + luck * i for i, (base, more) in enumerate(zip(random, lead, strict=True), start=1)]
            for luck in (-0.001, 0.0, 0.001)]  # fmt: skip
    results = world({"random": [random] * 3, "a": ours})
    assert verdict(claims.rises_and_falls_back("a", "random", 10, 20, 30), results) == expected


def test_a_fall_that_ends_too_soon_to_be_seen() -> None:
    results = world({"random": level(LUCK), "a": above(0.02, 0.03, 0.04)})
    assert verdict(claims.rises_and_falls_back("a", "random", 10, 20, 50), results) == "not measured"
    wobbling = world(
        {"random": level(LUCK), "a": [[0.6 + x, 0.6, 0.6 + y] for x, y in ((0.2, 0.1), (0.3, -0.2), (0.4, 0.1))]}
    )
    assert verdict(claims.rises_and_falls_back("a", "random", 10, 20, 30), wobbling) == "undecided"


# Accuracies: half a tenth of a percent is rounding


def test_reaching_an_accuracy() -> None:
    results = world({
        "a": level((0.990, 0.991, 0.992)), "b": level((0.97, 0.985, 0.995)), "c": level((0.970, 0.971, 0.972)),
        "d": level((0.98465, 0.9847, 0.98475)),
    })  # fmt: skip
    assert verdict(claims.reaches(["a"], 0.985, 30), results) == "agrees"
    assert verdict(claims.reaches(["d"], 0.985, 30), results) == "agrees", "98.5% as the paper gives it, with one digit"
    assert verdict(claims.reaches(["a", "b"], 0.985, 30), results) == "undecided"
    assert verdict(claims.reaches(["a", "b", "c"], 0.985, 30), results) == "disagrees"
    lacking = claims.reaches(["a", "z"], 0.985, 30)(results)
    assert lacking.verdict == "not measured" and lacking.measured.endswith("; not finished: z"), "all are claimed to"
    assert verdict(claims.reaches(["z"], 0.985, 30), results) == "not measured"
    assert claims.reaches(["a"], 0.985, 40)(results) == Finding("the runs end at 30 labels", "not measured")
    assert claims.reaches(["a"], 0.985, 30)(results).measured == "at 30 labels a 99.10% (98.85% … 99.35%)"


def rising(*reached: float, spread: float = 0.001) -> list[list[float]]:
    """Return three seeds of one curve, at 10, 20, 30 and 40 labels."""
    return [[value + luck for value in reached] for luck in (-spread, 0.0, spread)]


@pytest.mark.parametrize(
    ("curve", "expected"),
    [
        (rising(0.5, 0.6, 0.7, 0.8), "agrees"),
        (rising(0.5, 0.8, 0.9, 0.9), "disagrees"),  # three quarters of the labels are enough
        (rising(0.5, 0.6, 0.7, 0.75), "disagrees"),  # as many are not
        (rising(0.5, 0.6, 0.79, 0.8, spread=0.01), "undecided"),
    ],
)
def test_needing_so_many_labels(curve: list[list[float]], expected: Verdict) -> None:
    assert verdict(claims.needs("a", 0.79, 40), world({"a": curve})) == expected


def test_needs_in_words() -> None:
    of = claims.needs("a", 0.79, 40)(world({"a": rising(0.5, 0.6, 0.7, 0.8)}))
    assert of.measured == (
        "a 70.00% (69.75% … 70.25%) at 30 labels, 80.00% (79.75% … 80.25%) at 40; "
        "the median seed needs 39 labels for 79.0%, and 3 of 3 seeds reach it"
    )
    never = claims.needs("a", 0.95, 40)(world({"a": rising(0.5, 0.6, 0.7, 0.8)}))
    assert "more than 40 labels for 95.0%, and 0 of 3 seeds" in never.measured
    assert verdict(claims.needs("a", 0.7, 80), world({"a": rising(0.5, 0.6, 0.7, 0.8)})) == "not measured"
    assert verdict(claims.needs("z", 0.7, 40), world({"a": rising(0.5, 0.6, 0.7, 0.8)})) == "not measured"


@pytest.mark.parametrize(
    ("accuracies", "expected"),
    [((0.8945, 0.896), "agrees"), ((0.80, 0.81), "disagrees"), ((0.85, 0.895), "undecided"), ((0.93,), "disagrees")],
)
def test_the_fully_supervised_accuracy(accuracies: tuple[float, ...], expected: Verdict) -> None:
    full = Reference(float(np.mean(accuracies)), accuracies, 100, {})
    assert (
        verdict(claims.accuracy_of_all_labels(0.8941, 0.8963), world({"random": level(LUCK)}, reference=full))
        == expected
    )


def test_without_a_supervised_training_it_is_not_measured() -> None:
    assert verdict(claims.accuracy_of_all_labels(0.1, 0.9), world({"random": level(LUCK)})) == "not measured"


# Scores of the picks


def scored(**scores: tuple[float, float, float]) -> Results:
    """Return runs of two rounds, whose picks score so much under three seeds."""
    return world(
        {name: level(LUCK, 2) for name in scores}, scores={name: [[x] for x in of] for name, of in scores.items()}
    )


def test_the_ratio_of_scores() -> None:
    results = scored(random=(0.1, 0.2, 0.3), a=(0.2, 0.4, 0.603), b=(0.15, 0.31, 0.44), c=(0.1, 0.4, 0.45))
    of = claims.score_ratio(["a"], "random", 1.63)(results)
    assert of == Finding("mean score of picks, to random’s: a 2.00 (1.99 … 2.02) ×", "agrees")
    assert verdict(claims.score_ratio(["b"], "random", 1.63), results) == "disagrees"
    assert verdict(claims.score_ratio(["c"], "random", 1.40), results) == "undecided", "1.5 ×, and the seeds differ"
    assert verdict(claims.score_ratio(["a", "b"], "random", 1.63), results) == "disagrees"
    lacking = claims.score_ratio(["a", "z"], "random", 1.63)(results)
    assert lacking.verdict == "not measured" and lacking.measured.endswith("; not finished: z")
    assert verdict(claims.score_ratio(["z"], "random", 1.63), results) == "not measured"
    assert verdict(claims.score_ratio(["a"], "z", 1.63), results) == "not measured"


def test_a_ratio_is_compared_with_two_digits() -> None:
    results = scored(random=(0.10, 0.20, 0.30), a=(0.1627, 0.3252, 0.4879))  # 1.626, on the average
    assert verdict(claims.score_ratio(["a"], "random", 1.63), results) == "agrees"
    assert verdict(claims.score_ratio(["a"], "random", 1.64), results) == "disagrees"


def test_picks_that_score_nothing_have_no_ratio() -> None:
    results = scored(random=(0.0, 0.0, 0.0), a=(0.2, 0.4, 0.6))
    assert claims.score_ratio(["a"], "random", 1.63)(results) == Finding("no picks were scored", "not measured")
