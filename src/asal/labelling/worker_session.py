"""A worker's session with reports: its progress, why images were chosen, how good the classifier is by now."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from asal.core import Ids, Model
from asal.data.png import png
from asal.errors import DamageError, UserError, counted
from asal.experiments.evaluation import Evaluation
from asal.experiments.round_log import round_row
from asal.experiments.round_row import NOT_A_ROW, RoundRow
from asal.labelling.messages import Activity, FromWorker, Guesses, Reason, Reasons, Rows, Stopping
from asal.labelling.scheduling import SHORT, BatchRequest, trainable
from asal.labelling.stopping import Look, advice, look, stop_set, verdicts
from asal.project.kept_model import KeptModel
from asal.project.preparer import Preparer
from asal.project.project import Project
from asal.runtime import artifacts
from asal.runtime.progress import report_to
from asal.session.classes import ClassList
from asal.session.proposals import Meanwhile, Proposal
from asal.session.session import Batch, Session
from asal.session.state import State
from asal.strategies import strategies

if TYPE_CHECKING:
    from asal.labelling.worker import WorkerConfig


class Line(Protocol):
    """Takes messages for the process that serves people."""

    def send(self, message: FromWorker, /) -> None: ...


class WorkerSession:
    """A worker's session, its rows on disk, and the line to the server's process.

    One thread may train and evaluate while another one asks.
    """

    def __init__(self, config: WorkerConfig, line: Line) -> None:
        self._config, self._line, self._stage = config, line, ""
        self._report("starting", 0, 0)
        self.project = Project(config.root, config.spec)
        self.session: Session = self.project.session(config.strategy, seed=config.seed)
        self._choosing = 0.0  # seconds that it took to choose

    def _report(self, stage: str, done: int = 0, total: int = 0, note: str = "") -> None:
        self._send_activity(Activity(stage, done, total, note))

    @property
    def missing(self) -> bool:
        """Whether something that the strategy needs is not prepared."""
        return bool(Preparer(self.project).missing([self._config.strategy]))

    def open_tools(self) -> None:
        """Open what the strategy needs, so that no round is charged for it."""
        with report_to(self._report, "starting"):
            self.project.tools(self._config.strategy).open()

    def report_start(self) -> None:
        """Report all that is there already."""
        state = self.session.refresh()
        # The name of the file of rows depends on when the record was begun.
        self._send_rows(self._rows if state.opened else [])
        self._send_reasons(state.open)

    def remember(self) -> None:
        """Take the classifier that is kept on the disk, and report its guesses."""
        if self.session.trained is None:
            self.session.trained = self._kept.load(self.session)
        self._send_guesses(self.session.state.open)

    @cached_property
    def _kept(self) -> KeptModel:
        return KeptModel(self.project, self._config.strategy, self._config.seed)

    def unevaluated(self) -> Batch | None:
        """Return the newest batch that a new classifier has chosen, if its row is missing since a worker was killed."""
        state = self.session.state
        chosen = [asked for asked in state.rounds if asked.fallback_reason is None and not asked.topped]
        if not chosen or not state.waiting or self._has_row(chosen[-1].round):
            return None
        return self.session.batch_of(chosen[-1].round)

    def _has_row(self, number: int) -> bool:
        return any(row.round == number and not row.last for row in self._rows)

    # Asking -----------------------------------------------------------------------------------------------------------

    def train(self, due: BatchRequest) -> None:
        """Train, where that is possible, before a batch is chosen."""
        state = self.session.state
        if trainable(state):
            self._report("training", note=_on(state))
            with report_to(self._report, "training"):
                self.session.model(len(state.rounds))
        self._report("generating and matching", note=f"{due.n} more")

    def proposed(self, seq: int, n: int, expected: float | None) -> Proposal:
        """Train on what the record says up to an event, and choose n images; ask none of them yet.

        Args:
            expected: seconds that both take, where that is known.
        """
        past, begun = self.session.as_of(seq), time.time()
        now = Activity("training", note=_on(past.state), since=begun, ends=expected and begun + expected)

        def progress(stage: str, done: int, total: int, note: str = "") -> None:
            self._send_activity(replace(now, note=f"{now.note}: {done:,} of {total:,} {note}".rstrip()))

        self._send_activity(now)
        with report_to(progress, "training"):
            past.model(len(past.state.rounds))
            chosen = time.monotonic()
            now = replace(now, stage="generating and matching", note=f"{n} more")
            self._send_activity(now)
            proposal = past.propose(min(n, past.left))
        self._choosing = time.monotonic() - chosen
        return proposal

    def _send_activity(self, activity: Activity) -> None:
        self._stage = activity.stage
        self._line.send(activity)

    def ask_proposed(self, proposal: Proposal, most: int) -> Batch:
        """Ask what was chosen, and return that batch."""
        self.session.ask_proposed(proposal, most)
        return self.report_asked()

    def ask_meanwhile(self, n: int, why: str, chooser: Meanwhile | None = None) -> None:
        """Hand out n images while the present classifier cannot choose: by the last one, where that is quick."""
        topped = chooser is None and self._can_choose_again
        meanwhile = None if topped else chooser or Meanwhile(why)
        self.session.ask_ahead(n, topped=topped, meanwhile=meanwhile)
        self._send_guesses(self.report_asked().ids)

    def _send_guesses(self, ids: Ids) -> None:
        """Report what the newest classifier says of images, if there is one."""
        if (last := self.session.trained) is not None and len(ids):
            self._line.send(Guesses(self._guesses(last.state.classes, last.model, ids)))

    @property
    def _can_choose_again(self) -> bool:
        state, last = self.session.state, self.session.trained
        if last is None or state.synthetic or self._choosing > SHORT:
            return False
        return last.state.classes.live.keys() == state.classes.live.keys()

    def report_asked(self) -> Batch:
        """Report why each image of the newest batch was chosen, and return the batch."""
        batch = self.session.batch_of(len(self.session.state.rounds) - 1)
        self._send_reasons(batch.ids)
        return batch

    def report_batch(self) -> None:
        """Report why each image of the newest batch was chosen; then evaluate the classifier."""
        batch = self.report_asked()
        self._report("waiting")
        if batch.asked.fallback_reason is None and not batch.asked.topped:
            self.evaluate(batch)

    # Idling -----------------------------------------------------------------------------------------------------------

    def idle(self, state: State) -> None:
        """Report that there is nothing to do now; at the end, make the last row."""
        if self.lacks_last_row(state):
            self.make_last_row(state)
        self.report_idle(state)

    def _is_over(self, state: State) -> bool:
        budget = self._config.spec.protocol.budget
        return not state.waiting and (state.spent >= budget or self.session.left == 0)

    def lacks_last_row(self, state: State) -> bool:
        """Whether all is answered, and the classifier of all answers has no row yet."""
        known = any(row.last and (row.look or {}).get("answers") == _digest(state) for row in self._rows)
        return self._is_over(state) and not known and trainable(state)

    def make_last_row(self, state: State) -> None:
        """Train and evaluate the classifier of all answers."""
        past = self.session.as_of(state.seq)
        self._report("training", note=f"{_on(state)}, for the last time")
        with report_to(self._report, "training"):
            past.model()
        self._add(self._row(past, None), past.model(), past.state)
        self._kept.keep(past.trained)

    def report_idle(self, state: State) -> None:
        """Report that there is nothing to do now, and at the end what comes next."""
        if self._is_over(state):
            spent = state.spent >= self._config.spec.protocol.budget
            note = f"the budget of {counted(state.spent, 'label')} is spent" if spent else "the pool is labelled"
            if self._stage != "finished":
                command = f"asal export {quote(str(self._config.root))} labels"
                self._send_activity(Activity("finished", note=note, next=command))
        elif self._stage != "waiting":
            self._report("waiting")

    # Rows -------------------------------------------------------------------------------------------------------------

    def evaluate(self, batch: Batch) -> None:
        """Add the row of a round whose batch was just chosen, by the classifier that chose it."""
        if self._has_row(batch.round):
            return
        past = self.session.as_of(batch.asked.trained_up_to)
        with report_to(self._report, "evaluating"):
            model = past.model(batch.asked.classifier)
            open_ = np.union1d(batch.ids, self.session.state.open)
            self._line.send(Guesses(self._guesses(past.class_list, model, open_)))
            self._add(self._row(past, batch), model, past.state)
        self._kept.keep(past.trained)

    def _row(self, session: Session, batch: Batch | None) -> RoundRow:
        sets = self._test_sets(session)
        row = round_row(self._config, session, batch, sets.get("test"))
        number = session.state.number if batch is None else batch.asked.classifier
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
        self._line.send(Rows(tuple(rows)))
        classes = self.session.class_list
        looks = [Look.from_json(row.look or {}) for row in rows]
        now = [replace(each, predicted=classes.present_labels(each.predicted)) for each in looks]
        results = verdicts(now)
        self._line.send(Stopping(tuple(results), advice(results)))

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
        oracle = self.project.oracle
        sets = {part: one.in_classes_of(session, oracle(part).classes) for part, one in self._held_out.items()}
        return {part: one for part, one in sets.items() if one is not None}

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
                reasons[image] = Reason(facts, self._synthetic(note), self._score)
        self._line.send(Reasons(reasons))

    @cached_property
    def _score(self) -> str:
        """The name of what the strategy ranks images by; "" where it has none."""
        table = self.project.validate([self._config.strategy]).strategies[self._config.strategy].table
        return strategies[table.kind].value_of("score", table.options) or ""

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


def _on(state: State) -> str:
    return f"on {counted(len(state.answers), 'label')}"


def _digest(state: State) -> str:
    """Return what changes as soon as any label does, or the number of classes."""
    columns = b"" if len(state.classes.live) == len((state.opened or {}).get("classes", ())) else state.classes.columns
    return hashlib.sha256(state.labelled.tobytes() + state.labels.tobytes() + bytes(columns)).hexdigest()[:16]
