"""Agreement of people, against published values and values solved on paper."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asal.errors import UserError
from asal.labelling.agreement import Pair, agreement_with_others, alpha, disputed, kappas

# Krippendorff, "Computing Krippendorff's Alpha-Reliability" (2011), section C: 4 observers, 12 units, values missing.
OBSERVERS = {
    "A": "1 2 3 3 2 1 4 1 2 . . .",
    "B": "1 2 3 3 2 2 4 1 2 5 . 3",
    "C": ". 3 3 3 2 3 4 2 2 5 1 .",
    "D": "1 2 3 3 2 4 4 1 2 5 1 .",
}


def krippendorffs() -> dict[int, dict[str, int | None]]:
    rows = {who: line.split() for who, line in OBSERVERS.items()}
    return {unit: {who: int(row[unit]) for who, row in rows.items() if row[unit] != "."} for unit in range(12)}


def two(a: str, b: str) -> dict[int, dict[str, int | None]]:
    pairs = enumerate(zip(a, b, strict=True))
    return {image: {"Ada": None if x == "?" else int(x), "Bo": None if y == "?" else int(y)} for image, (x, y) in pairs}


def test_alpha_of_krippendorffs_example() -> None:
    assert alpha(krippendorffs()) == pytest.approx(0.743, abs=5e-4)


def test_alpha_of_krippendorffs_two_observers() -> None:
    # The same paper, section A: two observers, ten units, 14 zeros of 20 values and four disagreements; 0.095.
    assert alpha(two("0100000010", "1110010000")) == pytest.approx(0.095, abs=5e-4)


def test_kappa_is_solved_on_paper() -> None:
    # 20 both yes, 15 both no, 5 and 10 otherwise: 0.7 agree, 0.5 by chance.
    a, b = "1" * 20 + "1" * 5 + "0" * 10 + "0" * 15, "1" * 20 + "0" * 5 + "1" * 10 + "0" * 15
    assert kappas(two(a, b)) == [Pair("Ada", "Bo", pytest.approx(0.4), 50)]


def test_cant_tell_is_a_category_of_its_own() -> None:
    assert kappas(two("01??", "01??"))[0].kappa == pytest.approx(1)
    assert alpha(two("01??", "01??")) == pytest.approx(1)
    # Three of four agree; chance: both 0 in 1/4, 1/4 · 1/2 for 1, 1/2 · 1/4 for ?: 5/16.
    assert kappas(two("01??", "01?1"))[0].kappa == pytest.approx((3 / 4 - 5 / 16) / (1 - 5 / 16))
    assert disputed(two("01?1?", "01?01")) == [3, 4]


def test_every_two_people_are_compared_on_what_both_answered() -> None:
    votes = {1: {"Bo": 0, "Ada": 0, "Cy": 1}, 2: {"Bo": 1, "Cy": 1}, 3: {"Ada": 1}, 4: {"Bo": 0, "Ada": 1}}
    assert [(pair.a, pair.b, pair.images) for pair in kappas(votes)] == [
        ("Ada", "Bo", 2), ("Ada", "Cy", 1), ("Bo", "Cy", 2),
    ]  # fmt: skip


def test_each_ones_share_with_the_others() -> None:
    votes = {1: {"Bo": 0, "Ada": 0, "Cy": 1}, 2: {"Bo": 1, "Cy": 1}, 3: {"Dee": 1}, 4: {"Bo": None, "Ada": None}}
    assert agreement_with_others(votes) == {"Ada": 2 / 3, "Bo": 3 / 4, "Cy": 1 / 3, "Dee": None}


@pytest.mark.parametrize(
    "votes", [{}, {1: {}}, {1: {"Ada": 0}}, two("0000", "0000"), two("?", "?"), {1: {"Ada": 0}, 2: {"Bo": 1}}]
)
def test_too_little_has_no_number(votes: Mapping[int, Mapping[str, int | None]]) -> None:
    assert alpha(votes) is None
    assert all(pair.kappa is None for pair in kappas(votes))


def test_one_disagreement_is_no_chance_agreement() -> None:
    assert kappas(two("0", "1"))[0].kappa == 0
    assert alpha(two("0", "1")) == pytest.approx(0)


PEOPLE = st.dictionaries(st.sampled_from("ABCD"), st.one_of(st.none(), st.integers(0, 2)), max_size=4)


@pytest.mark.slow
@settings(deadline=None)
@given(st.dictionaries(st.integers(0, 9), PEOPLE, max_size=8))
def test_there_is_a_finite_number_or_none(votes: dict[int, dict[str, int | None]]) -> None:
    numbers = [alpha(votes), *(pair.kappa for pair in kappas(votes)), *agreement_with_others(votes).values()]
    assert all(number is None or (math.isfinite(number) and -1 <= number <= 1) for number in numbers)
    relabelled = {
        image: {who: None if v is None else 2 - v for who, v in told.items()} for image, told in votes.items()
    }
    again = [alpha(relabelled), *(pair.kappa for pair in kappas(relabelled))]
    assert again == pytest.approx(numbers[: len(again)])  # names of classes do not matter
    assert bool(disputed(votes)) == any(
        share is not None and share < 1 for share in agreement_with_others(votes).values()
    )


def test_without_nltk_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nltk.metrics.agreement", None)
    with pytest.raises(UserError, match=r"asal\[web\]"):
        alpha(two("01", "10"))
