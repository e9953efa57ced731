"""What every score must do: turn probabilities into how useful a label is, in numpy and in torch alike.

`CHECKS[name](make)` raises AssertionError where the score fails. `make` is called without arguments and returns the
score: e.g. `CHECKS["finite"](lambda: scores["entropy"].make)`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch

from asal.core import Probs, Score
from asal.runtime.rng import stream
from asal.strategies.scores import constant_of

Make: TypeAlias = Callable[[], Score]


def toy_probs(n: int = 200, classes: int = 5, seed: int = 0) -> Probs:
    """Return probabilities (n, k), from near certain to near uniform."""
    rng = stream(seed, "toy probabilities", classes)
    return np.concatenate([rng.dirichlet(np.full(classes, a), n // 4 + 1) for a in (0.05, 0.5, 1, 20)])[:n]


def extremes(classes: int) -> Probs:
    """Return certain, uniform and nearly certain probabilities, down to the smallest that there are."""
    rows = [*np.eye(classes), np.full(classes, 1 / classes)]
    for tiny in (1e-8, 1e-30, 1e-45, 1e-320):
        row = np.full(classes, tiny)
        row[1] = 1 - tiny * (classes - 1)
        rows.append(row)
    return np.stack(rows)


def _sets() -> Iterator[Probs]:
    for classes in (2, 3, 10):
        yield toy_probs(classes=classes)
        yield extremes(classes)


def _close(found: object, expected: object, what: str) -> None:
    apart = float(np.abs(np.asarray(found, np.float64) - np.asarray(expected, np.float64)).max())
    assert apart < 1e-5, f"{what}: scores differ by {apart:.3g}"


def finite(make: Make) -> None:
    """Probabilities (n, k) become finite numbers (n,), down to zeros and the smallest floats; none become none."""
    score = make()
    for probs in (*_sets(), np.empty((0, 3))):
        for given in (probs, probs.astype(np.float32)):
            with np.errstate(all="ignore"):
                found = np.asarray(score(given))
            assert found.shape == (len(probs),), f"probabilities {probs.shape} became {found.shape}"
            assert np.isfinite(found).all(), f"a score of {given.dtype} is not finite, of {given[~np.isfinite(found)]}"


def does_not_depend_on_class_order(make: Make) -> None:
    """A class's number makes no difference."""
    score = make()
    for probs in _sets():
        turned = stream(0, "order").permuted(probs, axis=1)
        _close(score(turned), score(probs), "with the classes in another order")


def scores_each_image_alone(make: Make) -> None:
    """An image's score does not depend on the other images of the batch."""
    score = make()
    probs = toy_probs()
    _close([np.asarray(score(row[None]))[0] for row in probs], score(probs), "scored one by one")


def higher_is_less_certain(make: Make) -> None:
    """On the straight way from any probabilities to the uniform ones, the score never falls, and it rises."""
    score = make()
    for classes in (2, 3, 10):
        probs = toy_probs(classes=classes)
        steps = np.stack([np.asarray(score((1 - t) * probs + t / classes)) for t in np.linspace(0, 1, 12)])  # (12, n)
        falls = float(np.diff(steps, axis=0).min())
        assert falls > -1e-9, f"a score falls by {-falls:.3g} as probabilities of {classes} classes grow more even"
        assert (steps[-1] > steps[0]).all(), "even probabilities score no higher: higher means sooner, everywhere"


def highest_when_uniform(make: Make) -> None:
    """No probabilities score higher than uniform ones, and none lower than certain ones."""
    score = make()
    for probs in _sets():
        classes = probs.shape[1]
        found = np.asarray(score(probs))
        top = float(np.asarray(score(np.full((1, classes), 1 / classes)))[0])
        low = float(np.asarray(score(np.eye(classes)[:1]))[0])
        assert found.max() <= top + 1e-9, f"{found.max():.6g} is higher than {top:.6g}, of uniform probabilities"
        assert found.min() >= low - 1e-9, f"{found.min():.6g} is lower than {low:.6g}, of certain probabilities"


def same_in_torch(make: Make) -> None:
    """A tensor in, a tensor out, with the scores that numpy gives, in both precisions."""
    score = make()
    for probs in _sets():
        for given in (probs, probs.astype(np.float32)):
            found = score(torch.tensor(given))
            assert isinstance(found, torch.Tensor), f"a tensor became a {type(found).__name__}"
            _close(found.numpy(), score(given), f"in torch, of {given.dtype}")


def has_a_usable_gradient(make: Make) -> None:
    """The gradient through a softmax is finite, even for a certain classifier, and a step along it raises the score."""
    score = make()
    for scale in (0.0, 1.0, 30.0, 200.0, 1e4):
        logits = scale * torch.randn(50, 4, generator=torch.Generator().manual_seed(0))
        slope = _slope(score, logits)
        assert bool(slope.isfinite().all()), f"the gradient is not finite at logits around {scale:g}"
    logits = torch.tensor([[3.0, 1.0, 0.0, -2.0]])
    optimised = logits + 1e-2 * _slope(score, logits)
    assert float(score(optimised.softmax(1))) > float(score(logits.softmax(1))), (
        "a step along the gradient gains nothing"
    )


def _slope(score: Score, logits: torch.Tensor) -> torch.Tensor:
    start = logits.clone().requires_grad_()
    (slope,) = torch.autograd.grad(score(start.softmax(1)).sum(), start)
    return slope


def changes_no_faster_than_it_declares(make: Make) -> None:
    """A declared Lipschitz constant bounds how much scores change with logits, and the rounding of float32."""
    score = make()
    for classes in (2, 3, 10, 100):
        constant, rng = constant_of(score, classes), stream(0, "logits", classes)
        if constant is None:
            return
        for scale in (0.0, 0.1, 1.0, 5.0, 30.0, 1e3):
            logits = scale * rng.normal(size=(300, classes))
            steepest = np.sign(_slope(score, torch.tensor(logits)).numpy())
            for step in (0.0, 1e-4, 0.1, 2.0):
                near = logits + step * np.concatenate([rng.choice([-1.0, 1.0], (200, classes)), steepest[200:]])
                change = np.abs(score(_softmax(near.astype(np.float32))) - score(_softmax(logits)))
                rounding = 2.0**-23 * (classes + 16 + np.abs(near).max(axis=1))
                most = constant * (np.abs(near - logits).max(axis=1) + rounding)
                row = int((change - most).argmax())
                assert change[row] <= most[row], (
                    f"one of {classes} logits changed by {step:.3g}, and the score by {change[row]:.3g}: "
                    f"more than {constant:.3g} times as much"
                )


def _softmax(logits: npt.NDArray[Any]) -> npt.NDArray[Any]:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def does_not_modify_probabilities(make: Make) -> None:
    """It does not write into the probabilities."""
    probs = extremes(4)
    before = probs.copy()
    make()(probs)
    assert np.array_equal(probs, before), "it wrote into the probabilities"


CHECKS: dict[str, Callable[[Make], None]] = {
    "finite": finite,
    "does not depend on class order": does_not_depend_on_class_order,
    "scores each image alone": scores_each_image_alone,
    "higher is less certain": higher_is_less_certain,
    "highest when uniform": highest_when_uniform,
    "same in torch": same_in_torch,
    "has a usable gradient": has_a_usable_gradient,
    "changes no faster than it declares": changes_no_faster_than_it_declares,
    "does not modify probabilities": does_not_modify_probabilities,
}
