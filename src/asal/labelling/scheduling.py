"""When the next images are chosen, so that nobody has to wait for them.

>>> from asal.project.spec import ProtocolTable
>>> from asal.session.state import State
>>> due_batch(State(), ProtocolTable(initial=20), Throughput(strict=True), left=1000)
BatchRequest(n=20, ahead=False, topped=False)
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from asal.project.spec import ProtocolTable
from asal.session.state import State

MARGIN = 1.5  # a choice starts this many times earlier than its duration needs
FIRST = 3.0  # seconds that a choice is expected to take before one was timed
MOST = 4  # batches in one, where people are that fast


@dataclass
class Throughput:
    """How fast people and the worker are.

    Args:
        strict: the next batch is chosen when every answer to the one before is in, as `asal run` does.
        rate: answers a second.
        seconds: what the last training and choice took.
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
        n: images, or annotations of synthetic ones.
        ahead: it is chosen while images of earlier batches are open.
        topped: the last classifier chooses once more, since training takes longer than the open images last.
    """

    n: int
    ahead: bool = False
    topped: bool = False


def due_batch(state: State, protocol: ProtocolTable, throughput: Throughput, left: int) -> BatchRequest | None:
    """Return the batch that is due, or None where it can wait, or the budget is spent.

    Args:
        left: images that were never asked.
    """
    committed = state.spent + sum(1 / state.rounds[pick.round].group for pick in state.waiting.values())
    size = protocol.batch if state.rounds else protocol.initial
    possible = min(protocol.budget - math.ceil(round(committed, 6)), left)  # a group's shares add up to a little more
    if possible < 1:
        return None
    if not state.waiting:
        return BatchRequest(min(size, possible))
    # An image with one vote may wait for a second one for hours; whoever gave the first goes on meanwhile.
    untouched = sum(not state.votes.get(image) for image in state.waiting)
    if throughput.strict or not _trainable(state) or untouched > max(1, throughput.meanwhile):
        return None
    # After such a batch comes one of a new classifier, or where people are fast none would ever be trained.
    runs_out = untouched < throughput.rate * throughput.seconds and throughput.rate > 0
    topped = runs_out and not state.rounds[-1].topped and state.rounds[-1].fallback_reason is None
    n = max(size, min(MOST * size, throughput.meanwhile)) if topped else size
    return BatchRequest(min(n, possible), True, topped)


def _trainable(state: State) -> bool:
    return len(np.unique(state.labels)) > 1
