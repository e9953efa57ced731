"""When the next images are chosen, so that nobody has to wait for them.

>>> from asal.project.spec import ProtocolTable
>>> from asal.session.state import State
>>> due_batch(State(), ProtocolTable(initial=20), Throughput(strict=True), left=1000)
BatchRequest(n=20, ahead=False)
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from asal.project.spec import ProtocolTable
from asal.session.state import State

MARGIN = 1.5  # a choice starts this many times earlier than its duration needs
FIRST = 3.0  # seconds that a choice is expected to take before one was timed
SHORT = 1.0  # seconds that people need not be kept busy for
REACH = 2.0  # seconds for which images are handed out at a time, while a choice is under way
FEW = 3  # images open: more are handed out, since each page holds some ready


@dataclass
class Throughput:
    """How fast people and the worker are.

    Args:
        strict: the next batch is chosen when every answer to the one before is in, as `asal run` does.
        rate: answers a second.
        seconds: what the last training and choice took.
        timed: whether that was measured.
    """

    strict: bool = False
    rate: float = 0.0
    seconds: float = FIRST
    timed: bool = False

    @property
    def meanwhile(self) -> int:
        """How many answers come in while the next batch is trained for and chosen, with a margin."""
        return math.ceil(self.rate * self.seconds * MARGIN)

    def took(self, seconds: float) -> None:
        """Take how long a training and a choice were."""
        self.seconds, self.timed = seconds, True

    def is_long(self, elapsed: float) -> bool:
        """Whether what has been under way for so many seconds takes so long that people are to be kept busy."""
        return elapsed > SHORT or (self.timed and self.seconds > SHORT)


@dataclass(frozen=True)
class BatchRequest:
    """A batch that is due.

    Args:
        n: images, or annotations of synthetic ones.
        ahead: it is chosen while images of earlier batches are open.
    """

    n: int
    ahead: bool = False


def possible(state: State, protocol: ProtocolTable, left: int) -> int:
    """Return how many more annotations may be asked for: of the budget, less what is open, and of the pool.

    Args:
        left: images that were never asked.
    """
    committed = state.spent + sum(1 / state.rounds[pick.round].group for pick in state.waiting.values())
    return min(protocol.budget - math.ceil(round(committed, 6)), left)  # a group's shares add up to a little more


def due_batch(state: State, protocol: ProtocolTable, throughput: Throughput, left: int) -> BatchRequest | None:
    """Return the batch that is due, or None where it can wait, or the budget is spent.

    Args:
        left: images that were never asked.
    """
    size, most = protocol.batch if state.rounds else protocol.initial, possible(state, protocol, left)
    if most < 1:
        return None
    if not state.waiting:
        return BatchRequest(min(size, most))
    if throughput.strict or not trainable(state) or untouched(state) > max(1, throughput.meanwhile):
        return None
    return BatchRequest(min(size, most), True)


def due_meanwhile(state: State, protocol: ProtocolTable, throughput: Throughput, left: int) -> int:
    """Return how many images to hand out at once, while the classifier cannot choose yet: 0 where enough are open.

    Few at a time: those that it chooses, when it can, are asked behind them.
    """
    most = possible(state, protocol, left)
    if throughput.strict or most < 1:
        return 0
    if not state.rounds:
        return min(protocol.initial, most)
    needed = max(FEW, min(math.ceil(throughput.rate * REACH * MARGIN), protocol.batch))
    return min(max(needed, 2 * FEW), most) if untouched(state) <= needed else 0


def untouched(state: State) -> int:
    """Return how many open images nobody has answered.

    One with one vote may wait for a second one for hours; whoever gave the first goes on meanwhile.
    """
    return sum(not state.votes.get(image) for image in state.waiting)


def trainable(state: State) -> bool:
    """Whether a classifier can be trained."""
    return bool((state.labels != state.labels[0]).any()) if len(state.labels) else False
