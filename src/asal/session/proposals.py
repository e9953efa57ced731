"""What was chosen in a state of a session, before it is asked: others may answer, and ask, in between."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np

from asal.core import Ids, Inputs, Learner, Model, OriginLearner, Selection
from asal.errors import BusyError
from asal.runtime.meter import Meter
from asal.runtime.rng import stream
from asal.session.classes import ClassList
from asal.session.events import NOTHING
from asal.session.plan import Chooser, Plan, draw
from asal.session.state import State
from asal.session.synthetic_pool import encoded


@dataclass(frozen=True)
class Trained:
    """A classifier, with what it was trained on and the meter that ran meanwhile."""

    state: State
    number: int  # the round that it was trained in
    model: Model
    meter: Meter

    def fits(self, state: State, number: int) -> bool:
        """Say whether training again now would give the same classifier."""
        same = self.number == number and self.state.classes.live.keys() == state.classes.live.keys()
        same = same and np.array_equal(self.state.labelled, state.labelled)
        return same and np.array_equal(self.state.labels, state.labels)


@dataclass(frozen=True)
class Meanwhile:
    """A choice without the present classifier, so that nobody waits for it.

    Args:
        reason: why, as the record says it.
        chooser: chooses; `name` is what the record calls it.
    """

    reason: str
    chooser: Chooser = draw
    name: str = "random"


@dataclass(frozen=True)
class Proposal:
    """Images that were chosen, and what the record is to say of the choice.

    Args:
        number: the round that they were chosen in, on which random draws depend.
        synthetic: how many synthetic images there were: the ids of new ones follow them.
        trained: the classifier that chose; None where none did.
    """

    number: int
    synthetic: int
    chosen: Selection
    facts: Mapping[str, Any]
    meter: Meter
    trained: Trained | None

    def open_in(self, state: State, excluded: Ids, most: int) -> Proposal:
        """Return what of it can still be asked in a later state, at most so many annotations.

        Args:
            excluded: ids that are not to be asked beside those that the state has: copies of others.

        Raises:
            BusyError: nothing of it can.
        """
        chosen, group = self.chosen, self.chosen.group
        if chosen.images is not None:
            rows = np.arange(len(chosen.ids) if len(state.synthetic) == self.synthetic else 0)[: most * group]
        else:
            taken = np.concatenate([state.touched, excluded])
            rows = np.flatnonzero(~np.isin(chosen.ids, taken))[:most]
        if not len(rows):
            raise BusyError("all that was chosen has been asked meanwhile", hint="choose again")
        notes = [chosen.notes[row] for row in rows] if chosen.notes else ()
        images = None if chosen.images is None else chosen.images[rows]
        return replace(self, chosen=Selection(chosen.ids[rows], chosen.scores[rows], notes, images, group))

    def is_current(self, state: State) -> bool:
        """Say whether all of it may be asked in a later state, in the round that it was chosen in."""
        gone = any(image in state.answers or image in state.skips or image in state.waiting for image in self.ids)
        return len(state.rounds) == self.number and not gone

    @property
    def ids(self) -> list[int]:
        """The ids that were chosen."""
        return [int(image) for image in self.chosen.ids]

    def body(self, number: int) -> dict[str, Any]:
        """Return the body of the event that asks it in a round."""
        chosen, meter = self.chosen, self.meter
        earlier = {} if self.trained is None or self.trained.number == number else {"trained_in": self.trained.number}
        cost = {"seconds": meter.split(), "evaluations": meter.evaluations, "generated": meter.generated}
        picks = {"ids": chosen.ids.tolist(), "scores": chosen.scores.tolist(), "notes": list(chosen.notes)}
        checks = {"index": meter.index} if meter.index else {}
        synthetic = {} if chosen.images is None else {"images": encoded(chosen.images), "group": chosen.group}
        return {**self.facts, **earlier, **cost, **checks, **picks, **synthetic}


def fitted(plan: Plan, state: State, classes: ClassList, inputs: Inputs, number: int) -> Model:
    """Train a plan's classifier on what it reads of the labelled images, in the order of `state.labelled`."""
    rng, k = stream(plan.seed, "learner", number), len(classes.live)
    labels = classes.column_labels(state.labels).copy()
    if not plan.from_lines:
        return cast(Learner, plan.learner).fit(inputs, labels, k, rng)
    origins = [state.synthetic[image].note if image in state.synthetic else NOTHING for image in state.answers]
    return cast(OriginLearner, plan.learner).fit_with_origins(inputs, labels, origins, k, rng)
