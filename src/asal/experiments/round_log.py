"""The rows of a run: one a round, which every curve and table is made of."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from asal.experiments.evaluation import Evaluation
from asal.experiments.round_row import NOT_A_ROW, RoundRow
from asal.project.spec import Spec
from asal.runtime import artifacts
from asal.runtime.meter import Meter
from asal.session.session import Batch, Session
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
        model = session.model(number if batch is None else batch.asked.classifier)
    mean_score, seconds, evaluations, generated, index = None, meter.split(), 0, 0, {}
    if batch is not None:
        asked = batch.asked
        seconds, evaluations, generated = dict(asked.seconds), asked.evaluations, asked.generated
        index = dict(asked.index)
    if batch is not None and not session.plan.from_lines:  # ADBA's classifier would first have to find their latents
        measure = scores[job.spec.protocol.score].make
        mean_score = round(float(measure(model.predict(session.inputs(batch.ids))).mean()), 6)
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
    """The rows of one run, one JSON object a line, by ascending round.

    Lines that were cut short, are damaged or do not belong are dropped: a run makes them again from its record.
    """

    def __init__(self, path: Path, belongs: Callable[[RoundRow], bool] = lambda row: True) -> None:
        """Read what is there.

        Args:
            belongs: says whether a row is one of this run.

        Raises:
            DamageError: a folder lies where the file belongs.
        """
        if path.is_dir():
            hint = f"move that folder away, and run the same command again: it makes {path.name} again"
            raise artifacts.damaged(path, "it is a folder, not a file", hint=hint)
        self.path = path
        self._rows: dict[int, RoundRow] = {}
        self._lines: dict[int, bytes] = {}
        content = path.read_bytes() if path.exists() else None
        for line in (content or b"").split(b"\n")[:-1]:
            row = _parsed(line)
            if row is not None and belongs(row):
                self._keep(row, line)
        if content != self._content():
            artifacts.write(path, self._content())

    def _keep(self, row: RoundRow, line: bytes) -> None:
        self._rows[row.round], self._lines[row.round] = row, line

    def _content(self) -> bytes:
        return b"".join(self._lines[number] + b"\n" for number in sorted(self._lines))

    def has(self, number: int) -> bool:
        """Say whether this round's row is written."""
        return number in self._rows

    def add(self, row: RoundRow) -> None:
        """Write a row in its place; when this returns it is on the disk."""
        appends, line = row.round > max(self._rows, default=-1), json.dumps(row.to_json()).encode()
        self._keep(row, line)
        with artifacts.explain_disk_errors(self.path):
            if not appends:
                artifacts.write(self.path, self._content())
                return
            with self.path.open("ab") as file:
                file.write(line + b"\n")
                file.flush()
                os.fsync(file.fileno())

    @property
    def note(self) -> str:
        """The latest accuracy, in words."""
        return f"accuracy {self._rows[max(self._rows)].accuracy:.3f}" if self._rows else ""


def _parsed(line: bytes) -> RoundRow | None:
    try:
        return RoundRow.from_json(json.loads(line))
    except NOT_A_ROW:
        return None
