"""What a worker tells: how far it is, why an image was chosen, what the classifier is worth by now."""

from __future__ import annotations

import base64
import hashlib
import json
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, replace
from functools import cached_property
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from asal.core import Ids, Model
from asal.data.png import png
from asal.errors import UserError
from asal.experiments.evaluation import Evaluation
from asal.experiments.round_log import round_row
from asal.experiments.round_row import RoundRow
from asal.labelling.scheduling import BatchRequest
from asal.labelling.stopping import Look, advice, look, stop_set, verdicts
from asal.project.project import Project
from asal.runtime import artifacts
from asal.runtime.progress import report_to
from asal.session.session import Batch, Session
from asal.session.state import State

if TYPE_CHECKING:
    from asal.labelling.worker import WorkerConfig


class WorkerSession:
    """A worker's session, its rows on disk, and the line on which it tells of them."""

    def __init__(self, order: WorkerConfig, line: Connection) -> None:
        self._order, self._line, self._since = order, line, time.monotonic()
        self._stage = ""
        self.doing("starting")
        self.project = Project(order.root, order.spec)
        self.session: Session = self.project.session(order.strategy, seed=order.seed)
        with report_to(self._progress, "starting"):
            self.project.tools(order.strategy).open()

    def _progress(self, stage: str, done: int, total: int, note: str = "") -> None:
        self.doing(stage, done, total, note)

    def doing(self, stage: str, done: int = 0, total: int = 0, note: str = "") -> None:
        """Tell what is being done."""
        if stage != self._stage:
            self._stage, self._since = stage, time.monotonic()
        said = {"stage": stage, "done": done, "total": total, "note": note, "since": time.time()}
        self._line.send(("doing", said))

    def began(self) -> None:
        """Tell of all that is there already, and make the rows that a kill left out."""
        state = self.session.refresh()
        self._tell(self._rows if state.opened else [])  # where the rows lie is told by when the record was begun
        self._explain(state.open)
        if state.waiting and state.rounds[-1].because is None:
            self._look_back(self.session.asked(len(state.rounds) - 1))

    def choosing(self, due: BatchRequest) -> None:
        """Train, where that is due, and tell of it."""
        state = self.session.state
        if not due.topped and len(np.unique(state.labels)) > 1:
            self.doing("training", note=f"on {len(state.answers):,} labels")
            with report_to(self._progress, "training"):
                self.session.model(len(state.rounds))
        self.doing("generating and matching", note=f"{due.n} more")

    def chosen(self) -> None:
        """Tell why each image was chosen; then look at what the classifier is worth."""
        batch = self.session.asked(len(self.session.state.rounds) - 1)
        self._explain(batch.ids)
        self.doing("waiting", note="")
        if batch.asked.because is None and not batch.asked.topped:
            self._look_back(batch)

    def resting(self, state: State) -> None:
        """Tell that there is nothing to do now; at the budget's end, do the last row."""
        budget, over = self._order.spec.protocol.budget, not state.waiting
        if over and (state.spent >= budget or self.session.left == 0):
            known = any(row.last and (row.look or {}).get("answers") == _digest(state) for row in self._rows)
            if not known and len(np.unique(state.labels)) > 1:
                self._last(state)
            self.doing("finished", note="the budget is spent" if state.spent >= budget else "the pool is labelled")
        elif self._stage != "waiting":
            self.doing("waiting")

    def _last(self, state: State) -> None:
        self.doing("training", note=f"on {len(state.answers):,} labels, for the last time")
        with report_to(self._progress, "training"):
            self.session.model()
        self._add(self._row(self.session, None), self.session.model(), state)

    def _look_back(self, batch: Batch) -> None:
        """Add the row of a round whose batch was just chosen, by the classifier that chose it."""
        if any(row.round == batch.round and not row.last for row in self._rows):
            return
        past = self.session.then(batch.asked.seen)
        with report_to(self._progress, "evaluating"):
            model = past.model(batch.round)
            self._line.send(("guesses", self._guesses(model, batch.ids)))
            self._add(self._row(past, batch), model, past.state)

    def _row(self, session: Session, batch: Batch | None) -> RoundRow:
        row = round_row(self._order, session, batch, self._test_sets.get("test"))
        number = session.state.number if batch is None else batch.round
        if "validation" not in self._test_sets:
            return row
        return replace(row, validation=round(self._test_sets["validation"].accuracy(session.model(number)), 6))

    def _add(self, row: RoundRow, model: Model, state: State) -> None:
        seen = look(model.predict(self.project.pool.read(self._stop_set)), len(state.answers))
        row = replace(row, look={**seen.told(), "answers": _digest(state)})
        # A last row goes when labels change or the budget grows: two classifiers of the same labels would agree.
        self._rows[:] = [*(past for past in self._rows if not past.last), row]
        with artifacts.explain_disk_errors(self._path):
            artifacts.write(self._path, b"".join(json.dumps(past.to_json()).encode() + b"\n" for past in self._rows))
        self._tell(self._rows)

    def _tell(self, rows: list[RoundRow]) -> None:
        self._line.send(("rows", rows))
        found = verdicts([Look.of(row.look or {}) for row in rows])
        self._line.send(("stopping", {"criteria": [asdict(one) for one in found], "advice": advice(found)}))

    @cached_property
    def _test_sets(self) -> dict[str, Evaluation]:
        """What accuracy is measured on: of the validation and the test set those with labels of the same classes."""
        found = {}
        for part in ("validation", "test"):
            if artifacts.is_complete(self._order.root / part):
                with suppress(UserError):  # it came without labels
                    if self.project.oracle(part).classes == self.session.plan.classes:
                        found[part] = Evaluation.of(self.project, part)
        return found

    @cached_property
    def _stop_set(self) -> Ids:
        return stop_set(len(self.project.original), self._order.seed)

    @cached_property
    def _path(self) -> Path:
        """Where the rows are kept: beside others of the same project that belong to another record."""
        begun = [event for event in self.session.record.read() if event.kind == "opened"]
        name = artifacts.fingerprint({"at": begun[0].at if begun else "", "strategy": self._order.strategy})
        return self._order.root / "labelling" / f"rows-{name}.jsonl"

    @cached_property
    def _rows(self) -> list[RoundRow]:
        if not self._path.exists():
            return []
        return [RoundRow.from_json(json.loads(line)) for line in self._path.read_text().splitlines()]

    def _explain(self, ids: Ids) -> None:
        """Tell of each image why it was chosen, with the synthetic image that led to it."""
        state, told = self.session.state, {}
        for image in ids.tolist():
            note, pick = state.notes.get(image, {}), state.pick(image)
            if pick is not None:
                why = {key: value for key, value in note.items() if isinstance(value, int | float | str)}
                told[image] = {"why": why, "synthetic": self._synthetic(note), "round": pick.round}
        self._line.send(("reasons", told))

    def _synthetic(self, note: Mapping[str, Any]) -> str | None:
        """Return the made-up image that a note tells of, as PNG in base64."""
        if "latent" not in note or self._order.spec.generator is None:
            return None
        import torch

        from asal.models.tensors import to_images

        with torch.inference_mode():
            made = to_images(self.project.generator.decode(torch.tensor([note["latent"]])))
        return base64.b64encode(png(made[0])).decode()

    def _guesses(self, model: Model, ids: Ids) -> dict[int, list[float]]:
        probs = model.predict(self.session.images(ids))
        return {int(image): [round(float(p), 4) for p in given] for image, given in zip(ids, probs, strict=True)}


def _digest(state: State) -> str:
    """Return what is another one as soon as any label is."""
    return hashlib.sha256(state.labelled.tobytes() + state.labels.tobytes()).hexdigest()[:16]
