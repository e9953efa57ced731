"""Which images of the whole pool may be among the n best: those that a float32 product with a bound cannot rule out.

A classifier that is linear in what it reads needs no network: z = W x + b for a block of images at a time, a softmax
and the score, all in float32, cost little more than reading. If each logit is wrong by at most ε, a score that declares
its Lipschitz constant L (`asal.strategies.scores.lipschitz`) is wrong by at most L·ε. Whatever may then be among the n
best is computed again in float64, so that the best are those of float64, whatever the blocks and the machine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from asal.core import Ids, Probs, Round
from asal.models.linear_map import ROUNDING, LinearMap, linear_map_of

BLOCK = 4096  # images that a network evaluates at a time
NUMBERS = 1 << 20  # float32 numbers that are laid out at a time (4 MB): they should stay in the cache
FEWEST, MOST = 64, 16_384  # images in a block, however many numbers each has

Block: TypeAlias = npt.NDArray[np.float32]
Rows: TypeAlias = npt.NDArray[np.intp]


@dataclass(frozen=True)
class Value:
    """What images are ranked by.

    Args:
        of: maps probabilities (n, k), float64 or float32, to values (n,).
        constant: its Lipschitz constant in the logits, by the number of classes; None where it is not known.
    """

    of: Callable[[Any], Any]
    constant: Callable[[int], float | None]


def candidate_blocks(now: Round) -> Iterator[Ids]:
    """Yield all open ids in ascending order, in blocks that suit the classifier."""
    linear = linear_map_of(now.model)
    return now.candidates.blocks(BLOCK if linear is None else _rows(linear))


def contenders(now: Round, blocks: Iterable[Ids], n: int, value: Value) -> Iterator[tuple[Ids, Probs]]:
    """Yield, block by block, the images that may be among the n of highest value, and their probabilities.

    Each image of the blocks counts as one evaluation. Where the classifier is not linear in what it reads, or the value
    has no known constant, these are all images. Memory: one block.
    """
    linear = linear_map_of(now.model)
    constant = None if linear is None else value.constant(linear.classes)
    if linear is None or constant is None:
        for ids in blocks:
            yield ids, now.predict(ids)
        return
    bar = _Bar(n)
    for block in blocks:
        for ids in np.split(block, range(_rows(linear), len(block), _rows(linear))):
            inputs = now.inputs(ids)
            with now.meter.part("score"):
                now.meter.evaluations += len(ids)
                rows = bar.passed(*_estimated(linear, inputs, value, constant))
                probs = linear.predict(inputs[rows])
            if len(rows):
                yield ids[rows], probs


def _rows(linear: LinearMap) -> int:
    return min(max(NUMBERS // max(linear.dim, linear.classes), FEWEST), MOST)


def _estimated(linear: LinearMap, inputs: Any, value: Value, constant: float) -> tuple[Block, Block]:
    """Return estimates of the values (n,), and bounds (n,) on their errors."""
    with np.errstate(all="ignore"):  # what is not finite is not ruled out
        z, errors = linear.logits(inputs)  # (k, n), (n,)
        z -= z.max(axis=0)
        np.exp(z, out=z)
        z /= z.sum(axis=0)
        errors += np.float32(ROUNDING * (linear.classes + 16))
        errors *= np.float32(constant)
        return np.asarray(value.of(z.T), np.float32), errors


class _Bar:
    """The value that n images are known to reach: what cannot reach it is not among the n highest."""

    def __init__(self, n: int) -> None:
        self._n, self._limit = n, np.float32(-np.inf)
        self._reached: Block = np.empty(0, np.float32)  # the highest values that images surely have

    def passed(self, estimates: Block, errors: Block) -> Rows:
        """Return the rows that may reach the bar, after these images have raised it."""
        with np.errstate(invalid="ignore"):
            surely = estimates - errors
            higher = surely[surely > self._limit]
            if len(higher):
                self._reached = np.concatenate([self._reached, higher])
            if len(self._reached) >= 2 * self._n or (self._limit == -np.inf and len(self._reached) >= self._n):
                self._reached = np.partition(self._reached, len(self._reached) - self._n)[-self._n :]
                self._limit = self._reached.min()
            return np.flatnonzero(~(estimates + errors < self._limit))
