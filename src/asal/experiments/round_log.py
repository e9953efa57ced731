"""The rows of a run: one a round, which every curve and table is made of."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Protocol

from asal.experiments.evaluation import Evaluation
from asal.experiments.round_row import RoundRow
from asal.project.spec import Spec
from asal.runtime import artifacts
from asal.runtime.meter import Meter
from asal.session.session import Batch, Session
from asal.session.state import State
from asal.strategies.scores import scores


class RunIdentity(Protocol):
    """What a row says of its run: a `RunTask`."""

    @property
    def strategy(self) -> str: ...
    @property
    def seed(self) -> int: ...
    @property
    def spec(self) -> Spec: ...
    @property
    def commit(self) -> str | None: ...


def round_row(job: RunIdentity, session: Session, batch: Batch | None, test_set: Evaluation | None) -> RoundRow:
    """Measure a round's classifier and return its row; without a batch it is the last one, which asks nothing."""
    meter, number = Meter(), session.state.number if batch is None else batch.round
    with meter.part("train"):
        model = session.model(number)
    mean_score, seconds, evaluations, generated, index = None, meter.split(), 0, 0, {}
    if batch is not None:
        asked = batch.asked
        seconds, evaluations, generated = dict(asked.seconds), asked.evaluations, asked.generated
        index = dict(asked.index)
    if batch is not None and not session.plan.from_lines:  # ADBA's classifier would first have to find their latents
        measure = scores[job.spec.protocol.score].make
        mean_score = round(float(measure(model.predict(session.images(batch.ids))).mean()), 6)
    return RoundRow(
        strategy=job.strategy,
        seed=job.seed,
        round=number,
        labels=session.state.spent,
        accuracy=None if test_set is None else round(test_set.accuracy(model), 6),
        mean_score=mean_score,
        class_counts=tuple(session.counts.values()),
        evaluations=evaluations,
        generated=generated,
        seconds=seconds,
        index=index,
        last=batch is None,
        spec_hash=job.spec.hash,
        commit=job.commit,
    )


class RoundLog:
    """The rows of one run, one JSON object a line; a line that a crash cut short is dropped."""

    def __init__(self, path: Path) -> None:
        self.path = path
        whole = path.read_bytes().split(b"\n")[:-1] if path.exists() else []
        try:
            self._rows = {row.round: row for row in map(RoundRow.from_json, map(json.loads, whole))}
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise artifacts.damaged(path, f"it holds a line that is no row ({error})") from None
        artifacts.write(path, b"".join(line + b"\n" for line in whole))

    def has(self, number: int) -> bool:
        """Say whether this round's row is written."""
        return number in self._rows

    def check(self, state: State) -> None:
        """Refuse rows with gaps: every round before this one has its row, but those that no classifier chose.

        Raises:
            DamageError: one is missing; a row is written before its round's answers are, so it was there.
        """
        chosen = [asked.round for asked in state.rounds if asked.because is None and asked.round < state.number]
        if missing := [past for past in chosen if not self.has(past)]:
            raise artifacts.damaged(self.path, f"the rows of rounds {missing} are missing")

    def add(self, row: RoundRow) -> None:
        """Append a row; when this returns it is on the disk."""
        with artifacts.telling_of_disk(self.path), self.path.open("ab") as file:
            file.write(json.dumps(row.to_json()).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        self._rows[row.round] = row

    @property
    def note(self) -> str:
        """The latest accuracy, in words."""
        return f"accuracy {self._rows[max(self._rows)].accuracy:.3f}" if self._rows else ""
