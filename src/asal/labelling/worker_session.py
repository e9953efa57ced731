"""A worker's session with reports: its progress, why images were chosen, how good the classifier is by now."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from functools import cached_property
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from asal.core import Ids, Model
from asal.data.png import png
from asal.errors import DamageError, UserError, counted
from asal.experiments.evaluation import Evaluation
from asal.experiments.round_log import round_row
from asal.experiments.round_row import NOT_A_ROW, RoundRow
from asal.labelling.messages import Activity, Guesses, Reason, Reasons, Rows, Stopping
from asal.labelling.scheduling import BatchRequest
from asal.labelling.stopping import Look, advice, look, stop_set, verdicts
from asal.project.project import Project
from asal.runtime import artifacts
from asal.runtime.progress import report_to
from asal.session.classes import ClassList
from asal.session.session import Batch, Session
from asal.session.state import State

if TYPE_CHECKING:
    from asal.labelling.worker import WorkerConfig


class WorkerSession:
    """A worker's session, its rows on disk, and the connection to the server's process."""

    def __init__(self, config: WorkerConfig, connection: Connection) -> None:
        self._config, self._connection, self._stage = config, connection, ""
        self._report("starting", 0, 0)
        self.project = Project(config.root, config.spec)
        self.session: Session = self.project.session(config.strategy, seed=config.seed)
        with report_to(self._report, "starting"):
            self.project.tools(config.strategy).open()

    def _report(self, stage: str, done: int = 0, total: int = 0, note: str = "") -> None:
        self._stage = stage
        self._connection.send(Activity(stage, done, total, note))

    def report_start(self) -> None:
        """Report all that is there already, and make the rows that are missing since a worker was killed."""
        state = self.session.refresh()
        # The name of the file of rows depends on when the record was begun.
        self._send_rows(self._rows if state.opened else [])
        self._send_reasons(state.open)
        if state.waiting and state.rounds[-1].fallback_reason is None:
            self._evaluate(self.session.batch_of(len(state.rounds) - 1))

    def train(self, due: BatchRequest) -> None:
        """Train, where that is due, before a batch is chosen."""
        state = self.session.state
        if not due.topped and len(np.unique(state.labels)) > 1:
            self._report("training", note=f"on {len(state.answers):,} labels")
            with report_to(self._report, "training"):
                self.session.model(len(state.rounds))
        self._report("generating and matching", note=f"{due.n} more")

    def report_batch(self) -> None:
        """Report why each image of the newest batch was chosen; then evaluate the classifier."""
        batch = self.session.batch_of(len(self.session.state.rounds) - 1)
        self._send_reasons(batch.ids)
        self._report("waiting")
        if batch.asked.fallback_reason is None and not batch.asked.topped:
            self._evaluate(batch)

    def idle(self, state: State) -> None:
        """Report that there is nothing to do now; at the budget's end, make the last row."""
        budget, all_answered = self._config.spec.protocol.budget, not state.waiting
        if all_answered and (state.spent >= budget or self.session.left == 0):
            known = any(row.last and (row.look or {}).get("answers") == _digest(state) for row in self._rows)
            if not known and len(np.unique(state.labels)) > 1:
                self._make_last_row(state)
            self._report("finished", note="the budget is spent" if state.spent >= budget else "the pool is labelled")
        elif self._stage != "waiting":
            self._report("waiting")

    def _make_last_row(self, state: State) -> None:
        self._report("training", note=f"on {len(state.answers):,} labels, for the last time")
        with report_to(self._report, "training"):
            self.session.model()
        self._add(self._row(self.session, None), self.session.model(), state)

    def _evaluate(self, batch: Batch) -> None:
        """Add the row of a round whose batch was just chosen, by the classifier that chose it."""
        if any(row.round == batch.round and not row.last for row in self._rows):
            return
        past = self.session.as_of(batch.asked.trained_up_to)
        with report_to(self._report, "evaluating"):
            model = past.model(batch.round)
            self._connection.send(Guesses(self._guesses(past.class_list, model, batch.ids)))
            self._add(self._row(past, batch), model, past.state)

    def _row(self, session: Session, batch: Batch | None) -> RoundRow:
        sets = self._test_sets(session)
        row = round_row(self._config, session, batch, sets.get("test"))
        number = session.state.number if batch is None else batch.round
        if "validation" not in sets:
            return row
        return replace(row, validation=round(sets["validation"].accuracy(session.model(number)), 6))

    def _add(self, row: RoundRow, model: Model, state: State) -> None:
        predictions = look(model.predict(self.session.inputs(self._stop_set)), len(state.answers))
        numbers = np.array(list(state.classes.live))  # which stay, as a classifier's columns do not
        predictions = replace(predictions, predicted=numbers[predictions.predicted])
        row = replace(row, look={**predictions.to_json(), "answers": _digest(state)})
        # A last row goes when labels change or the budget grows: two classifiers of the same labels would agree.
        self._rows[:] = [*(past for past in self._rows if not past.last), row]
        with artifacts.explain_disk_errors(self._path):
            artifacts.write(self._path, b"".join(json.dumps(past.to_json()).encode() + b"\n" for past in self._rows))
        self._send_rows(self._rows)

    def _send_rows(self, rows: list[RoundRow]) -> None:
        self._connection.send(Rows(tuple(rows)))
        classes = self.session.class_list
        looks = [Look.from_json(row.look or {}) for row in rows]
        now = [replace(each, predicted=classes.present_labels(each.predicted)) for each in looks]
        results = verdicts(now)
        self._connection.send(Stopping(tuple(results), advice(results)))

    @cached_property
    def _held_out(self) -> dict[str, Evaluation]:
        """The validation and the test set, where they have labels."""
        evaluations = {}
        for part in ("validation", "test"):
            if artifacts.is_complete(self._config.root / part):
                with suppress(UserError):  # it has no labels
                    evaluations[part] = Evaluation.of(self.project, part)
        return evaluations

    def _test_sets(self, session: Session) -> dict[str, Evaluation]:
        """What accuracy is measured on: the validation and the test set, if their classes are the session's."""
        classes, state, sets = session.class_list, session.state, {}
        began_with = tuple((state.opened or {}).get("classes", session.plan.classes))
        for part, evaluation in self._held_out.items():
            numbers = classes.numbers_of(self.project.oracle(part).classes, began_with)
            if numbers is not None:
                sets[part] = evaluation.relabelled([-1 if n is None else int(classes.columns[n]) for n in numbers])
        return {part: one for part, one in sets.items() if (one.labels >= 0).any()}

    @cached_property
    def _stop_set(self) -> Ids:
        return stop_set(len(self.project.original), self._config.seed)

    @cached_property
    def _path(self) -> Path:
        """Where the rows are kept: beside others of the same project that belong to another record."""
        opened = [event for event in self.session.record.read() if event.kind == "opened"]
        name = artifacts.fingerprint({"at": opened[0].at if opened else "", "strategy": self._config.strategy})
        return self._config.root / "labelling" / f"rows-{name}.jsonl"

    @cached_property
    def _rows(self) -> list[RoundRow]:
        """The rows so far. A damaged one is left out: labelling goes on, and the curve lacks one point."""
        if not self._path.exists():
            return []
        rows = []
        with artifacts.explain_disk_errors(self._path):
            lines = self._path.read_bytes().splitlines()
        for line in lines:
            with suppress(*NOT_A_ROW, DamageError):
                row = RoundRow.from_json(json.loads(line))
                Look.from_json(row.look or {})
                rows.append(row)
        if lost := len(lines) - len(rows):
            self._report(self._stage, note=f"{counted(lost, 'damaged row')} of {self._path.name} left out")
        return rows

    def _send_reasons(self, ids: Ids) -> None:
        """Report why each image was chosen, with the synthetic image that led to it."""
        state, reasons = self.session.state, {}
        for image in ids.tolist():
            note = state.notes.get(image, {})
            if state.pick(image) is not None:
                facts = {key: value for key, value in note.items() if isinstance(value, int | float | str)}
                reasons[image] = Reason(facts, self._synthetic(note))
        self._connection.send(Reasons(reasons))

    def _synthetic(self, note: Mapping[str, Any]) -> bytes | None:
        """Return the synthetic image whose latent a note holds, as a PNG file."""
        if "latent" not in note or self._config.spec.generator is None:
            return None
        import torch

        from asal.models.tensors import to_images

        with torch.inference_mode():
            images = to_images(self.project.generator.decode(torch.tensor([note["latent"]])))
        return png(images[0])

    def _guesses(self, classes: ClassList, model: Model, ids: Ids) -> dict[int, list[float]]:
        """Return the probabilities by the classes' numbers: a hidden class has none."""
        probs = np.zeros((len(ids), len(classes.names)))
        probs[:, list(classes.live)] = model.predict(self.session.inputs(ids))
        return {int(image): [round(float(p), 4) for p in row] for image, row in zip(ids, probs, strict=True)}


def _digest(state: State) -> str:
    """Return what changes as soon as any label does, or the number of classes."""
    columns = b"" if len(state.classes.live) == len((state.opened or {}).get("classes", ())) else state.classes.columns
    return hashlib.sha256(state.labelled.tobytes() + state.labels.tobytes() + bytes(columns)).hexdigest()[:16]
