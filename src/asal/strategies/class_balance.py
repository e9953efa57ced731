"""Class balance: any strategy's picks, of which those of the classes with the fewest labels are asked about."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from asal.core import Labels, Round, Selection, not_enough

Chooser: TypeAlias = Callable[[Round, int, np.random.Generator], Selection]


def balanced(chooser: Chooser, times: int) -> Chooser:
    """Wrap a strategy with its options bound, so that rare classes are asked about sooner.

    The strategy is asked for `times` as many images, or for all there are. The present classifier predicts their
    classes, and images are taken one by one, each from the predicted class that has the fewest labels and picks by
    then; among equal classes, and within a class, the one that the strategy would ask sooner. A rule of our own.

    Cost: the strategy's for `times` as many picks, and a network evaluation for each of these. A larger `times`
    balances more, and listens less to the strategy.

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
    counts, places, rows = counts.copy(), np.zeros(len(counts), np.int64), np.empty(n, np.int64)
    for pick in range(n):
        left = [label for label, queue in enumerate(queues) if places[label] < len(queue)]
        label = min(left, key=lambda label: (counts[label], queues[label][places[label]]))
        rows[pick] = queues[label][places[label]]
        places[label] += 1
        counts[label] += 1
    return rows
