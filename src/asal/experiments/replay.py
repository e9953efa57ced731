"""A run's record, played again: it tells which rows belong to the run, and lost rows are made again from it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from asal.experiments.evaluation import Evaluation
from asal.experiments.round_log import RoundLog, RunIdentity, round_row
from asal.experiments.round_row import RoundRow
from asal.session.events import Event
from asal.session.session import Session
from asal.session.state import Asked, State, fold


@dataclass(frozen=True)
class RecordedRound:
    """A round whose batch a classifier chose; k classes."""

    asked: Asked
    seq: int  # of the event that asked
    labels: int
    class_counts: tuple[int, ...]  # (k,)

    def agrees(self, row: RoundRow) -> bool:
        """Say whether a row agrees with the record."""
        same_labels = (row.labels, row.class_counts) == (self.labels, self.class_counts)
        same_cost = row.evaluations == self.asked.evaluations and row.generated in (None, self.asked.generated)
        return same_labels and same_cost and not row.last


def recorded_rounds(events: Sequence[Event], classes: int) -> dict[int, RecordedRound]:
    """Return the rounds that have a row, by number: all but those whose batch was chosen without a classifier.

    Cost: linear in the events, plus the state's size for each round.
    """
    rounds, state, pending = {}, State(), []
    for event in events:
        pending.append(event)
        if event.kind == "asked":
            state, pending = fold(state, pending), []
            asked = state.rounds[-1]
            if asked.fallback_reason is None:
                rounds[asked.round] = RecordedRound(asked, event.seq, state.spent, _class_counts(state, classes))
    return rounds


def _class_counts(state: State, classes: int) -> tuple[int, ...]:
    return tuple(np.bincount(state.labels, minlength=classes).tolist())


class Replay:
    """The rounds of a session's record."""

    def __init__(self, job: RunIdentity, session: Session) -> None:
        self._job, self._session, self._classes = job, session, len(session.plan.classes)
        self._rounds = recorded_rounds(session.record.read(), self._classes)

    def belongs(self, row: RoundRow) -> bool:
        """Say whether a row is one of this run, and agrees with its record."""
        if (row.strategy, row.seed) != (self._job.strategy, self._job.seed) or row.accuracy is None:
            return False
        if row.round in self._rounds:
            return self._rounds[row.round].agrees(row)
        state = self._session.state
        if row.round != state.number or state.waiting or row.last is False:
            return False
        return (row.labels, row.class_counts) == (state.spent, _class_counts(state, self._classes))

    def rebuild(self, rows: RoundLog, test_set: Evaluation, progress: Callable[[int, str], None]) -> None:
        """Make missing rows again: train each round's classifier as it was trained then, and measure it.

        Cost: for each missing row one training, one evaluation and one reading of the record.

        Args:
            progress: called with the labels of each such round, and a note.
        """
        for number, recorded in self._rounds.items():
            if not rows.has(number):
                progress(recorded.labels, f"making the row of round {number} again")
                past = self._session.as_of(recorded.seq)
                rows.add(round_row(self._job, past, past.batch_of(number), test_set))
