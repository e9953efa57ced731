"""Class balance: of any strategy's picks, those of the classes with the fewest labels are asked about first."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from asal.core import Labels, Round, Selection, not_enough

Chooser: TypeAlias = Callable[[Round, int, np.random.Generator], Selection]


def balanced(chooser: Chooser, times: int) -> Chooser:
    """Wrap a strategy with its options bound, so that rare classes are asked about sooner.

    The strategy is asked for `times` as many images, or for all there are. The present classifier predicts their
    classes, and images are taken one by one, each from the predicted class that has the fewest labels and picks so
    far; among equal classes, and within a class, the one that the strategy ranks higher. A rule of our own.

    Cost: the strategy's for `times` as many picks, and a network evaluation for each of these. A larger `times`
    balances more, and follows the strategy less.

    Args:
        times: 1 only puts the picks in another order; 0 leaves the strategy as it is.
    """
    if not times:
        return chooser

    def choose(now: Round, n: int, rng: np.random.Generator) -> Selection:
        if n > len(now.candidates):
            raise not_enough(n, len(now.candidates))
        picks = chooser(now, min(n * times, len(now.candidates)), rng)
        probs = now.predict(picks.ids)
        rows = rarest_first(probs.argmax(axis=1), np.bincount(now.labels, minlength=probs.shape[1]), n)
        notes = [picks.notes[row] for row in rows] if picks.notes else ()
        return Selection(picks.ids[rows], picks.scores[rows], notes)

    return choose


def rarest_first(predicted: Labels, counts: npt.NDArray[np.int64], n: int) -> npt.NDArray[np.int64]:
    """Return n rows of `predicted`, sooner first, each of a class with fewest labels so far, those rows among them.

    Args:
        predicted: (m,) classes of what there is to take, sooner first; m is at least n.
        counts: (k,) labels of each class.

    >>> rarest_first(np.array([0, 0, 0, 1, 1, 2]), np.array([3, 2, 2]), 4).tolist()
    [3, 5, 0, 4]
    """
    queues = [np.flatnonzero(predicted == label) for label in range(len(counts))]
    return fewest_first(queues, counts, n, lambda label, row: row)


def fewest_first(
    queues: Sequence[npt.NDArray[np.int64]],
    counts: npt.NDArray[np.int64],
    n: int,
    tie: Callable[[int, int], int],
) -> npt.NDArray[np.int64]:
    """Return n rows, or all there are, one after the other: each the next of the group with the fewest so far.

    Args:
        queues: the rows of each group, in the order in which they are taken.
        counts: (groups,) how many each group has before.
        tie: of a group and its next row: among groups of equal counts the smallest goes first, then the first group.
    """
    heap = [
        (int(counts[group]), tie(group, int(queue[0])), group, 0) for group, queue in enumerate(queues) if len(queue)
    ]
    heapq.heapify(heap)
    rows: list[int] = []
    while heap and len(rows) < n:
        count, _, group, place = heap[0]
        queue = queues[group]
        rows.append(int(queue[place]))
        if place + 1 < len(queue):
            heapq.heapreplace(heap, (count + 1, tie(group, int(queue[place + 1])), group, place + 1))
        else:
            heapq.heappop(heap)
    return np.array(rows, np.int64)
