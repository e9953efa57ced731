"""Probabilities (n, k) → how badly each image's label is wanted (n,): higher = ask sooner.

A score is written once, against the array API, so that one definition ranks the pool in numpy and is
optimised by gradient in torch. One that needs "loss" takes the losses (n,) that a classifier predicts instead.

A score that declares how fast it changes (`lipschitz`) lets a linear classifier score the whole pool in float32 first:
what rounding cannot have kept from the best is not looked at again (`asal.strategies.contenders`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias, TypeVar

from asal.registry import Registry

Constant: TypeAlias = Callable[[int], float]  # of the number of classes
F = TypeVar("F", bound=Callable[..., Any])

scores = Registry("score", "asal.strategies.scores", group="asal.scores", dotted=True)
_constants: dict[Callable[..., Any], Constant] = {}


def lipschitz(constant: Constant) -> Callable[[F], F]:
    """Declare that a score changes by at most `constant(k)` times as much as the logit that changes most.

    The score is that of the softmax of k logits. The same factor has to cover its own rounding: computed from float32
    probabilities, each with a relative error of (k + 8) · 2⁻²⁴, it is wrong by at most `constant(k)` · (k + 16) · 2⁻²³.
    `asal.testing.score` tries both.
    """

    def declare(score: F) -> F:
        _constants[score] = constant
        return score

    return declare


def constant_of(score: Callable[..., Any], classes: int) -> float | None:
    """Return the declared constant of a score of so many classes; None where none is declared."""
    return _constants[score](classes) if score in _constants else None
