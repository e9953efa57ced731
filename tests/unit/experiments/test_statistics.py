"""How sure one may be: checked against numbers that can be worked out on paper."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asal.experiments.statistics import estimate, holm, signed_rank, smallest_p


def test_the_interval_of_few_seeds_is_students() -> None:
    found = estimate([0.1, 0.2, 0.3])
    half = 4.302653 * 0.1 / np.sqrt(3)  # t with 2 degrees of freedom
    assert (found.low, found.high) == pytest.approx((0.2 - half, 0.2 + half), abs=1e-6)
    assert (found.method, found.seeds, found.sign) == ("t-interval", 3, 0)


def test_the_interval_of_many_seeds_is_a_bootstrap_that_never_changes() -> None:
    values = [0.011, 0.018, 0.025, 0.016, 0.021] * 4
    found = estimate(values)
    assert found.method == "BCa bootstrap"
    assert min(values) < found.low < found.mean < found.high < max(values)
    assert found.sign == 1
    assert estimate([-x for x in values]).sign == -1
    assert estimate(values) == found


@pytest.mark.parametrize(("values", "why"), [([0.1], "one seed"), ([0.1] * 6, "alike"), ([0.0] * 3, "alike")])
def test_where_seeds_allow_no_interval_none_is_given(values: list[float], why: str) -> None:
    found = estimate(values)
    assert np.isnan([found.low, found.high]).all()
    assert why in found.method
    assert found.sign == 0


def test_intervals_cover_no_difference_about_as_often_as_they_say() -> None:
    rng = np.random.default_rng(0)
    zero = [estimate(rng.normal(0, 1, 4)).sign == 0 for _ in range(200)]  # Student's t
    assert 0.9 <= np.mean(zero) <= 0.99


def by_enumeration(differences: list[int]) -> float:
    """Wilcoxon's two-sided p from all 2ⁿ ways that signs can fall on the ranks."""
    x = np.array([d for d in differences if d])
    size = np.abs(x)
    ranks = np.array([(size < a).sum() + ((size == a).sum() + 1) / 2 for a in size])  # ties share their middle
    sums = np.array([ranks[list(signs)].sum() for signs in itertools.product([False, True], repeat=len(x))])
    here = ranks[x > 0].sum()
    return min(1.0, 2 * min((sums <= here + 1e-9).mean(), (sums >= here - 1e-9).mean()))


@pytest.mark.slow
@given(st.lists(st.integers(-6, 6), min_size=1, max_size=8))
@settings(deadline=None)
def test_the_signed_rank_test_counts_the_ways_that_signs_can_fall(differences: list[int]) -> None:
    wanted = by_enumeration(differences) if any(differences) else 1.0
    assert signed_rank(differences) == pytest.approx(wanted)
    assert signed_rank([-d for d in differences]) == pytest.approx(wanted)


def test_the_signed_rank_test_on_darwins_maize() -> None:
    # 15 pairs of plants, crossed less self-fertilised; p as in the manual of scipy.stats.wilcoxon
    eighths = [6, 8, 14, 16, 23, 24, 28, 29, 41, -48, 49, 56, 60, -67, 75]
    assert signed_rank(eighths) == pytest.approx(0.041259765625)


def test_what_differs_by_rounding_alone_is_no_difference() -> None:
    assert signed_rank([0.1 + 0.2 - 0.3] * 9) == 1.0
    assert signed_rank([0.3 - 0.2, 0.1, 0.2]) == signed_rank([1, 1, 2])


@given(st.lists(st.floats(-1, 1), min_size=1, max_size=5))
@settings(deadline=None)
def test_five_seeds_are_never_significant(differences: list[float]) -> None:
    assert signed_rank(differences) >= 0.0625
    assert holm([signed_rank(differences)] * 2)[0] >= 0.125


@pytest.mark.parametrize("seeds", [1, 2, 5, 6, 10, 20])
def test_the_smallest_p_is_that_of_seeds_that_all_agree(seeds: int) -> None:
    assert signed_rank(np.arange(seeds) + 1.0) == pytest.approx(smallest_p(seeds))


def test_holms_correction_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])  # × 3, × 2 of 0.03, × 2, × 4
    assert holm([0.6, 0.9]) == [1.0, 1.0]
    assert holm([0.02]) == [0.02]
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
@settings(deadline=None)
def test_holms_correction_keeps_the_order_and_never_helps(ps: list[float]) -> None:
    corrected = holm(ps)
    assert all(p - 1e-12 <= q <= min(1.0, len(ps) * p) + 1e-12 for p, q in zip(ps, corrected, strict=True))
    in_order = [corrected[i] for i in np.argsort(ps, kind="stable")]
    assert (np.diff(in_order) >= -1e-12).all()


def test_an_estimate_turned_round_is_that_of_the_turned_values() -> None:
    values = [0.1, 0.3, 0.2, -0.1]
    one, other = -estimate(values), estimate([-x for x in values])
    assert (one.mean, one.low, one.high) == pytest.approx((other.mean, other.low, other.high))
    assert one.method == other.method


def test_of_no_seed_there_is_no_mean_and_no_interval() -> None:
    with np.errstate(all="raise"):
        found = estimate([])
    assert np.isnan([found.mean, found.low, found.high]).all()
    assert (found.method, found.seeds, found.sign) == ("none: no seed", 0, 0)


def test_of_one_seed_and_of_seeds_alike_there_is_a_mean_and_no_interval() -> None:
    with np.errstate(all="raise"):
        one, alike = estimate([0.7]), estimate([0.7] * 30)
    assert (one.mean, one.method, one.sign) == (0.7, "none: one seed", 0)
    assert (alike.mean, alike.method) == (pytest.approx(0.7), "none: all seeds alike")
    assert np.isnan([one.low, one.high, alike.low, alike.high]).all()
    assert signed_rank([0.0, 0.0]) == 1.0
    assert holm([]) == []
