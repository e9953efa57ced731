"""Which images of the whole pool may be among the n best: those that a float32 product with a bound cannot rule out.

A classifier that is linear in what it reads needs no network: z = W x + b for a block of images at a time, a softmax
and the score, all in float32, cost little more than reading. If each logit is wrong by at most ε, a score that declares
its Lipschitz constant L (`asal.strategies.scores.lipschitz`) is wrong by at most L·ε. Whatever may then be among the n
best is computed again in float64, so that the best are those of float64, whatever the blocks and the machine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from asal.core import Ids, Inputs, Probs, Round
from asal.models.linear_map import ROUNDING, LinearMap, linear_map_of
from asal.runtime.threads import map_in_threads

BLOCK = 4096  # images that a network evaluates at a time
TOGETHER = 1024  # images that are computed in float64 together: the bar has risen in the meantime
NUMBERS = 1 << 19  # float32 numbers of a block (2 MB): they should stay in the cache
FEWEST, MOST = 64, 8192  # images of a block, however many numbers each has

INFINITE = np.float32(np.inf)

Block: TypeAlias = npt.NDArray[np.float32]


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
    has no known constant, these are all images. Memory: a few blocks.
    """
    linear = linear_map_of(now.model)
    constant = None if linear is None else value.constant(linear.classes)
    if linear is None or constant is None:
        for ids in blocks:
            yield ids, now.predict(ids)
        return
    error = partial(_error, constant, linear.classes)
    estimated = map_in_threads(partial(_estimated, linear, value, error), _read(now, blocks, _rows(linear)))
    found = _found(now, estimated, n, lambda inputs: error(linear.bounds(inputs)))
    while True:
        with now.meter.part("score"):
            some = next(found, None)
            probs = None if some is None else linear.predict(some[1])
        if some is None or probs is None:
            return
        yield some[0], probs


def _found(
    now: Round, estimated: Iterable[_Estimated], n: int, errors: Callable[[Inputs], Block]
) -> Iterator[tuple[Ids, Inputs]]:
    """Yield what passes the bar, once there is enough to be computed together."""
    bar = _Bar(n, errors)
    for block in estimated:
        now.meter.evaluations += len(block.ids)
        bar.meet(block)
        if bar.waiting >= TOGETHER:
            yield bar.passed()
    if bar.waiting:
        yield bar.passed()


def _rows(linear: LinearMap) -> int:
    """Return a number of images to a block: a power of two, as are shards, so that few blocks lie in two of them."""
    fitting = min(max(NUMBERS // max(linear.dim, linear.classes), FEWEST), MOST)
    return int(1 << (fitting.bit_length() - 1))


def _read(now: Round, blocks: Iterable[Ids], rows: int) -> Iterator[tuple[Ids, Inputs, Ids]]:
    """Yield ids, inputs and the places of the ids' own in these: stored rows are not copied where nearly all count."""
    view = getattr(now.reader or now.pool, "view", None)
    for block in blocks:
        for ids in np.split(block, range(rows, len(block), rows)):
            places, inputs = ids - ids[:1], None
            if view is not None and len(ids) and int(places[-1]) < 2 * len(ids) and (ids[1:] > ids[:-1]).all():
                inputs = view(int(ids[0]), int(ids[-1]) + 1)
            yield (ids, now.inputs(ids), np.arange(len(ids))) if inputs is None else (ids, inputs, places)


@dataclass(frozen=True)
class _Estimated:
    ids: Ids  # (n,)
    inputs: Inputs  # (m, …)
    places: Ids  # (n,) of the ids' inputs
    estimates: Block  # (n,) of their values
    error: float  # a loose bound, for all of them


def _error(constant: float, classes: int, of_logits: Any) -> Any:
    """Return how wrong a value may be whose logits may be so wrong: rounding comes on top."""
    return constant * (of_logits + 2 * ROUNDING * (classes + 16))


def _estimated(
    linear: LinearMap, value: Value, error: Callable[[float], float], read: tuple[Ids, Inputs, Ids]
) -> _Estimated:
    ids, inputs, places = read
    with np.errstate(all="ignore"):  # what is not finite is not ruled out
        z, loose = linear.logits(inputs)  # (k, m)
        z -= z.max(axis=0)
        np.exp(z, out=z)
        z /= z.sum(axis=0)
        estimates = np.asarray(value.of(z.T), np.float32)
    return _Estimated(ids, inputs, places, estimates[places] if len(ids) < len(inputs) else estimates, error(loose))


class _Bar:
    """The value that n images are known to reach: what cannot reach it is not among the n highest."""

    def __init__(self, n: int, errors: Callable[[Inputs], Block]) -> None:
        self._n, self._errors, self._limit = n, errors, np.float32(-np.inf)
        self._reached: Block = np.empty(0, np.float32)  # the highest values that images surely have
        self._waiting: list[tuple[Ids, Inputs, Block]] = []  # and the values that they may have
        self.waiting = 0

    def meet(self, block: _Estimated) -> None:
        """Raise the bar by a block of images, and keep those that may reach it."""
        with np.errstate(all="ignore"):  # what is not a number is not ruled out
            rows = np.flatnonzero(~(block.estimates < np.nextafter(self._limit - np.float32(block.error), -INFINITE)))
            if not len(rows):
                return
            inputs, estimates = block.inputs[block.places[rows]], block.estimates[rows]
            errors = self._errors(inputs)
            self._raise(estimates - errors)
            highest = estimates + errors
            kept = np.flatnonzero(~(highest < self._limit))
        if len(kept):
            self._waiting.append((block.ids[rows[kept]], inputs[kept], highest[kept]))
            self.waiting += len(kept)

    def _raise(self, surely: Block) -> None:
        higher = surely[surely > self._limit]
        if len(higher):
            self._reached = np.concatenate([self._reached, higher])
        if len(self._reached) >= 2 * self._n or (self._limit == -np.inf and len(self._reached) >= self._n):
            self._reached = np.partition(self._reached, len(self._reached) - self._n)[-self._n :]
            self._limit = self._reached.min()

    def passed(self) -> tuple[Ids, Inputs]:
        """Return the ids and the inputs that were kept and may still reach the bar."""
        ids, inputs, highest = (np.concatenate(parts) for parts in zip(*self._waiting, strict=True))
        self._waiting, self.waiting = [], 0
        rows = np.flatnonzero(~(highest < self._limit))
        return ids[rows], inputs[rows]
