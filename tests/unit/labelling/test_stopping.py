"""When to stop: each criterion against values solved on paper, and what is said of them."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asal.errors import DamageError
from asal.labelling.stopping import Look, Verdict, advice, look, stop_set, verdicts

HALF = np.repeat([0, 1], 50)


def looks(predicted: Sequence[np.ndarray], confidence: Sequence[float] = (), entropy: float = 0.5) -> list[Look]:
    sure = list(confidence) or [0.9] * len(predicted)
    return [Look(10 * (place + 1), one, entropy, sure[place]) for place, one in enumerate(predicted)]


def by_name(seen: Sequence[Look]) -> dict[str, Verdict]:
    return {verdict.name: verdict for verdict in verdicts(seen)}


def flipped(*places: int) -> np.ndarray:
    changed = HALF.copy()
    changed[list(places)] = 1 - changed[list(places)]
    return changed


def test_a_look_is_solved_on_paper() -> None:
    seen = look(np.array([[0.5, 0.5], [1.0, 0.0], [0.0, 1.0], [0.25, 0.75]]), 12)
    assert seen.labels == 12
    assert seen.predicted.tolist() == [0, 0, 1, 1]
    quarter = -(0.25 * np.log2(0.25) + 0.75 * np.log2(0.75))
    assert seen.entropy == pytest.approx((1 + 0 + 0 + quarter) / 4, abs=1e-6)
    assert seen.confidence == pytest.approx(3.25 / 4, abs=1e-6)


def test_entropy_is_a_share_of_the_largest_whatever_the_classes() -> None:
    for classes in (2, 10, 300):
        assert look(np.full((5, classes), 1 / classes), 1).entropy == pytest.approx(1)


@settings(deadline=None)
@given(st.lists(st.integers(0, 999), max_size=50))
def test_a_look_comes_back_from_json(predicted: list[int]) -> None:
    seen = Look(7, np.array(predicted, np.int64), 0.25, 0.75)
    back = Look.from_json(json.loads(json.dumps(seen.to_json())))
    assert back.predicted.dtype == np.int64
    assert (back.labels, back.predicted.tolist(), back.entropy, back.confidence) == (7, predicted, 0.25, 0.75)


def test_a_look_is_short() -> None:
    rng = np.random.default_rng(0)
    text = json.dumps(Look(7, rng.integers(10, size=1000), 0.25, 0.75).to_json())
    assert len(text) < 1000


def test_a_damaged_look_is_told() -> None:
    facts = Look(7, HALF, 0.25, 0.75).to_json()
    for wrong in ({}, {**facts, "predicted": "1:###"}, {**facts, "predicted": "1:AAAA"}, {**facts, "entropy": None}):
        with pytest.raises(DamageError):
            Look.from_json(wrong)


def test_the_stop_set_is_drawn_once() -> None:
    ids = stop_set(16_000_000, seed=3)
    assert len(np.unique(ids)) == 1000 and (np.diff(ids) > 0).all()
    assert np.array_equal(ids, stop_set(16_000_000, seed=3))
    assert not np.array_equal(ids, stop_set(16_000_000, seed=4))
    assert stop_set(5, seed=0).tolist() == [0, 1, 2, 3, 4]


def test_kappa_is_the_mean_of_the_last_three() -> None:
    # One of each class moves over: 98 of 100 agree, half by chance: kappa = (0.98 − 0.5) / 0.5 = 0.96.
    moved = flipped(0, 99)
    seen = looks([HALF, moved, HALF, HALF, HALF, HALF])
    verdict = by_name(seen)["stability"]
    expected = [(40, (0.96 + 0.96 + 1) / 3), (50, (0.96 + 1 + 1) / 3), (60, 1.0)]
    assert [labels for labels, _ in verdict.history] == [40, 50, 60]
    assert [value for _, value in verdict.history] == pytest.approx([value for _, value in expected])
    assert verdict.value == pytest.approx(1) and verdict.met
    assert not by_name(seen[:5])["stability"].met  # 0.987


def test_a_classifier_that_says_one_class_of_everything_has_not_settled() -> None:
    verdict = by_name(looks([np.zeros(100, np.int64)] * 8))["stability"]
    assert verdict.value is None and not verdict.met and verdict.history == ()


def test_a_gap_in_the_values_is_no_old_value() -> None:
    verdict = by_name(looks([HALF] * 4 + [np.zeros(100, np.int64)] * 2))["stability"]
    assert [labels for labels, _ in verdict.history] == [40, 50]
    assert verdict.value is None and not verdict.met


def test_uncertainty_is_met_from_its_threshold_down() -> None:
    for entropy, met in ((0.2, False), (0.051, False), (0.05, True), (0.0, True)):
        verdict = by_name(looks([HALF], entropy=entropy))["uncertainty"]
        assert (verdict.value, verdict.met) == (entropy, met)


def test_convergence_is_a_gradient_for_a_hundred_labels() -> None:
    # Medians 0.8 after the third look and 0.86 after the sixth, 30 labels later: 0.2 for a hundred.
    seen = looks([HALF] * 6, [0.7, 0.8, 0.9, 0.85, 0.86, 0.99])
    verdict = by_name(seen)["convergence"]
    assert verdict.history == ((60, pytest.approx(0.2)),)
    assert not verdict.met
    assert by_name(looks([HALF] * 6, [0.9, 0.9, 0.9, 0.902, 0.902, 0.902]))["convergence"].met
    assert not by_name(looks([HALF] * 6, [0.9, 0.9, 0.9, 0.8, 0.8, 0.8]))["convergence"].met  # falling is not flat


def test_looks_without_new_labels_have_no_gradient() -> None:
    same = [Look(10, HALF, 0.5, 0.9)] * 6
    assert by_name(same)["convergence"].value is None


def test_nothing_is_said_of_nothing() -> None:
    for seen in ([], looks([HALF])):
        assert not any(verdict.met for verdict in verdicts(seen))
        assert "too early" in advice(verdicts(seen))


def test_one_criterion_alone_stops_nobody() -> None:
    moving = [0.5, 0.6, 0.7, 0.8, 0.9, 0.95]
    none = verdicts(looks([HALF, flipped(0), HALF, flipped(1), HALF, flipped(2)], moving))
    assert [verdict.met for verdict in none] == [False] * 3
    assert "still pay" in advice(none)
    one = verdicts(looks([HALF] * 6, moving))
    assert [verdict.met for verdict in one] == [True, False, False]
    assert advice(one).startswith("Go on") and "predictions have settled" in advice(one)
    two = verdicts(looks([HALF] * 6))
    assert [verdict.met for verdict in two] == [True, False, True]
    assert "may be able to stop" in advice(two) and "not how accurate" in advice(two)


def test_what_was_met_before_does_not_count() -> None:
    seen = [*looks([HALF] * 6), Look(70, flipped(*range(25)), 0.9, 0.3)]
    assert [verdict.met for verdict in verdicts(seen)] == [False, False, True]  # the median is not moved by one look
    assert advice(verdicts(seen)).startswith("Go on")


def test_every_criterion_says_where_it_comes_from() -> None:
    for verdict in verdicts([]):
        assert "20" in verdict.source and "our choice" in verdict.explain and verdict.title


def test_a_classifier_of_one_class_has_no_entropy() -> None:
    with np.errstate(all="raise"):
        of_one = look(np.ones((4, 1)), 10)
    assert (of_one.entropy, of_one.confidence) == (0.0, 1.0)
    assert look(np.full((4, 2), 0.5), 10).entropy == 1.0
