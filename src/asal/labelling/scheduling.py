"""When the next images are chosen, so that nobody has to wait for them.

>>> from asal.project.spec import ProtocolTable
>>> from asal.session.state import State
>>> wanted(State(), ProtocolTable(initial=20), Pace(strict=True), left=1000)
Wanted(n=20, ahead=False, topped=False)
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from asal.project.spec import ProtocolTable
from asal.session.state import State

MARGIN = 1.5  # so much earlier than needed a choice begins
FIRST = 3.0  # seconds that a choice is taken to last before one was timed
MOST = 4  # batches in one, where people are that fast


@dataclass
class Throughput:
    """How fast people and the worker are.

    Args:
        strict: the next batch is chosen when every answer to the one before is in, as `asal run` does.
        rate: answers a second.
        seconds: that the last training and choice took.
    """

    strict: bool = False
    rate: float = 0.0
    seconds: float = FIRST

    @property
    def meanwhile(self) -> int:
        """How many answers come in while the next batch is trained for and chosen, with a margin."""
        return math.ceil(self.rate * self.seconds * MARGIN)


@dataclass(frozen=True)
class BatchRequest:
    """A batch that is due.

    Args:
        n: images, or annotations of made-up ones.
        ahead: images are open still.
        topped: by the last classifier once more: training would take longer than what is open lasts.
    """

    n: int
    ahead: bool = False
    topped: bool = False


def wanted(state: State, protocol: ProtocolTable, pace: Throughput, left: int) -> BatchRequest | None:
    """Return the batch that is due, or None where there is time, or the budget is spent.

    Args:
        left: images that nobody has been asked about.
    """
    committed = state.spent + sum(1 / state.rounds[pick.round].group for pick in state.waiting.values())
    size = protocol.batch if state.rounds else protocol.initial
    room = min(protocol.budget - math.ceil(round(committed, 6)), left)  # a group's shares add up to a little more
    if room < 1:
        return None
    if not state.waiting:
        return BatchRequest(min(size, room))
    # What somebody has looked at may wait for a second opinion for hours: whoever gave the first one goes on.
    untouched = sum(not state.votes.get(image) for image in state.waiting)
    if pace.strict or not _trainable(state) or untouched > max(1, pace.meanwhile):
        return None
    # After a batch by the last classifier comes one by a new one, or fast people would never see it trained.
    dry = untouched < pace.rate * pace.seconds and pace.rate > 0
    topped = dry and not state.rounds[-1].topped and state.rounds[-1].because is None
    n = max(size, min(MOST * size, pace.meanwhile)) if topped else size
    return BatchRequest(min(n, room), True, topped)


def _trainable(state: State) -> bool:
    return len(np.unique(state.labels)) > 1
