"""The shipped checks over every registered score, each check's broken twin, and values solved by hand."""

from __future__ import annotations

from math import log
from typing import Any

import numpy as np
import pytest
import torch
from array_api_compat import array_namespace
from hypothesis import given, settings
from hypothesis import strategies as st

from asal.strategies.scores import constant_of, lipschitz, scores
from asal.testing.score import CHECKS, Make, toy_probs


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("name", [name for name in scores if not scores[name].needs])
def test_score(name: str, check: str) -> None:
    CHECKS[check](lambda: scores[name].make)


def naive_entropy(probs: Any) -> Any:
    xp = array_namespace(probs)
    return -xp.sum(probs * xp.log(probs), axis=-1)


def doubts_class_zero(probs: Any) -> Any:
    return 1 - probs[..., 0]


def scales_to_the_batch(probs: Any) -> Any:
    values = scores["entropy"].make(probs)
    return values / values.max() if len(values) else values


def lower_is_better(probs: Any) -> Any:
    return -scores["margin"].make(probs)


def second_likeliest(probs: Any) -> Any:
    return array_namespace(probs).sort(probs, axis=-1)[..., -2]


def in_numpy_only(probs: Any) -> Any:
    return 1.0 - np.asarray(probs).max(axis=-1)


def hides_its_zeros(probs: Any) -> Any:
    xp = array_namespace(probs)
    # The score is right; the gradient is not a number, for torch differentiates the branch that was not taken too.
    return -xp.sum(xp.where(probs > 0, probs * xp.log(probs), 0 * probs), axis=-1)


@lipschitz(lambda classes: 0.3)  # of an entropy of ten classes it is 0.9
def rises_faster_than_declared(probs: Any) -> Any:
    return scores["entropy"].make(probs)


def pads_in_place(probs: Any) -> Any:
    probs += 1e-12
    return naive_entropy(probs)


TWINS: dict[str, Make] = {
    "finite": lambda: naive_entropy,
    "does not depend on class order": lambda: doubts_class_zero,
    "scores each image alone": lambda: scales_to_the_batch,
    "higher is less certain": lambda: lower_is_better,
    "highest when uniform": lambda: second_likeliest,
    "same in torch": lambda: in_numpy_only,
    "has a usable gradient": lambda: hides_its_zeros,
    "changes no faster than it declares": lambda: rises_faster_than_declared,
    "does not modify probabilities": lambda: pads_in_place,
}


@pytest.mark.filterwarnings("ignore:divide by zero", "ignore:invalid value")  # the twins' own
@pytest.mark.parametrize("check", CHECKS)
def test_check_catches_its_twin(check: str) -> None:
    with pytest.raises(AssertionError):
        CHECKS[check](TWINS[check])


@pytest.mark.parametrize(
    ("name", "probs", "expected"),
    [
        ("entropy", [1 / 2, 1 / 4, 1 / 4], 1.5 * log(2)),
        ("entropy", [1 / 3, 1 / 3, 1 / 3], log(3)),
        ("entropy", [0, 1, 0], 0),
        ("entropy", [0.9, 0.1, 0], 0.9 * log(1 / 0.9) + 0.1 * log(10)),
        ("margin", [1 / 2, 1 / 4, 1 / 4], -1 / 4),
        ("margin", [0.2, 0.3, 0.5], -0.2),
        ("margin", [1 / 3, 1 / 3, 1 / 3], 0),
        ("margin", [0, 0, 1], -1),
        ("least-confidence", [1 / 2, 1 / 4, 1 / 4], 1 / 2),
        ("least-confidence", [0.2, 0.3, 0.5], 1 / 2),
        ("least-confidence", [0, 0, 1], 0),
        ("least-confidence", [0.25, 0.25, 0.5], 0.5),
    ],
)
def test_values_solved_by_hand(name: str, probs: list[float], expected: float) -> None:
    score = scores[name].make
    assert score(np.array([probs], np.float64)) == pytest.approx([expected], abs=1e-12)
    assert score(torch.tensor([probs], dtype=torch.float64)).tolist() == pytest.approx([expected], abs=1e-12)


def test_a_gradient_solved_by_hand() -> None:
    """With p = softmax(l), the gradient of the entropy is dH/dl = −p (log p + H)."""
    logits = torch.tensor([[0.3, -1.2, 2.0]], dtype=torch.float64, requires_grad=True)
    probs = logits.softmax(1)
    entropy = scores["entropy"].make(probs)
    entropy.sum().backward()
    expected = -probs * (probs.log() + entropy)
    assert logits.grad is not None
    torch.testing.assert_close(logits.grad, expected.detach())


def test_of_two_classes_all_scores_rank_alike() -> None:
    probs = toy_probs(classes=2)
    orders = {
        name: np.argsort(np.asarray(scores[name].make(probs)).round(12), kind="stable").tolist()
        for name in scores
        if not scores[name].needs
    }
    for name, order in orders.items():
        assert order == orders["entropy"], f"{name} ranks two classes otherwise than entropy"


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 30).flatmap(lambda k: st.lists(st.floats(0, 1), min_size=k, max_size=k)))
def test_scores_stay_in_their_range(weights: list[float]) -> None:
    probs = np.array([weights]) + 1e-9
    probs /= probs.sum()
    k = len(weights)
    for name, low, high in (("entropy", 0, log(k)), ("margin", -1, 0), ("least-confidence", 0, 1 - 1 / k)):
        assert low - 1e-9 <= scores[name].make(probs)[0] <= high + 1e-9


def test_every_shipped_score_of_probabilities_declares_how_fast_it_changes() -> None:
    for name in scores:
        assert (constant_of(scores[name].make, 10) is None) == bool(scores[name].needs)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.lists(st.integers(0, 4), min_size=2, max_size=6).filter(any), min_size=1, max_size=5))
def test_the_margin_is_that_of_sorted_probabilities(rows: list[list[int]]) -> None:
    for row in rows:
        for kind in (np.float64, np.float32):
            probs = (np.array([row]) / sum(row)).astype(kind)
            second, first = np.sort(probs[0])[-2:]
            assert scores["margin"].make(probs).tolist() == [second - first], "ties, too, to the last bit"
            assert scores["margin"].make(torch.from_numpy(probs)).tolist() == [float(second - first)]
