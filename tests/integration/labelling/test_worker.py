"""What a worker keeps and tells: its rows outlive it, and are of the labels that there are."""

from __future__ import annotations

import pickle
import time
from multiprocessing import Pipe
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.commands import TINY, merged

from asal.core import Labels
from asal.errors import BusyError
from asal.experiments.round_row import RoundRow
from asal.labelling import worker
from asal.labelling.messages import Failed, FromWorker, Guesses, Rows, Stopping, TakenIn
from asal.labelling.scheduling import FIRST, BatchRequest, Throughput, due_batch
from asal.labelling.stopping import Look
from asal.labelling.worker import WorkerConfig
from asal.labelling.worker_session import WorkerSession
from asal.project.folder import ProjectFolder
from asal.project.spec import load, to_toml
from asal.session.class_changes import ClassChange
from asal.session.oracles.stored import Stored
from asal.web.project_info import ProjectInfo


class Outbox:
    """The worker's end of a pipe; keeps the last message of each class."""

    def __init__(self) -> None:
        self.last: dict[type, Any] = {}

    def send(self, message: FromWorker) -> None:
        self.last[type(message)] = pickle.loads(pickle.dumps(message))

    @property
    def rows(self) -> list[RoundRow]:
        return list(self.last[Rows].rows)


def started(root: Path) -> tuple[WorkerSession, Outbox]:
    outbox = Outbox()
    (root / "labelling").mkdir(exist_ok=True)
    session = WorkerSession(WorkerConfig(root, load(root), "uncertainty", threads=1), outbox)  # type: ignore[arg-type]
    session.report_start()
    return session, outbox


def work(at: WorkerSession, truth: Labels, *, rounds: int = 99) -> None:
    """Ask, and answer all of it, until the budget is spent, or for so many rounds."""
    protocol = at.project.spec.protocol
    for _ in range(rounds):
        due = due_batch(at.session.refresh(), protocol, Throughput(strict=True), at.session.left)
        if due is None:
            break
        batch = at.session.ask(due.n)
        at.report_batch()
        at.session.tell({image: int(truth[image]) for image in batch.ids.tolist()}, by="Ada")
    at.idle(at.session.refresh())


def labels(root: Path) -> Labels:
    stored = Stored.open(root / "pool")
    return stored.answer(np.arange(400))


def test_a_first_batch_says_nothing_of_how_long_training_takes(tiny: Path) -> None:
    at, _ = started(tiny)
    throughput = Throughput()
    worker.choose_now(at, BatchRequest(20), throughput)
    assert throughput.seconds == FIRST, "else the second one begins too late"
    at.session.tell({image: int(labels(tiny)[image]) for image in at.session.state.open.tolist()}, by="Ada")
    worker.choose_now(at, BatchRequest(10), throughput)
    assert throughput.seconds != FIRST


def test_the_curve_of_a_record_that_was_just_begun_outlives_its_worker(tiny: Path) -> None:
    """The name of its file depends on when the record was begun, which is after the first worker has started."""
    first, line = started(tiny)
    work(first, labels(tiny))
    assert [row.labels for row in line.rows] == [20, 30, 40]
    _, again = started(tiny)
    assert again.rows == line.rows
    assert again.last[Stopping] == line.last[Stopping]


def test_a_new_record_begins_a_curve_of_its_own(tiny: Path) -> None:
    first, _ = started(tiny)
    work(first, labels(tiny))
    first.session.record.close()
    for file in tiny.glob("labels.db*"):
        file.unlink()
    time.sleep(0.01)
    second, fresh = started(tiny)
    assert fresh.rows == []
    work(second, labels(tiny), rounds=2)
    assert [row.labels for row in fresh.rows] == [20]
    assert len(list((tiny / "labelling").glob("rows-*.jsonl"))) == 2


@pytest.mark.parametrize("damaged", [b"{", b"[" * 100_000, b"\xff\xfe", b"null", b"{}", b'{"look": null}'])
def test_a_damaged_row_is_left_out_and_labelling_goes_on(tiny: Path, damaged: bytes) -> None:
    first, line = started(tiny)
    work(first, labels(tiny), rounds=2)
    first.session.record.close()
    (file,) = (tiny / "labelling").glob("rows-*.jsonl")
    rows = file.read_bytes()
    file.write_bytes(damaged + b"\n" + rows)
    second, again = started(tiny)
    assert again.rows == line.rows
    work(second, labels(tiny))
    assert [row.labels for row in again.rows] == [20, 30, 40]
    assert damaged not in file.read_bytes().splitlines()


def test_the_last_row_is_of_the_labels_that_there_are(tiny: Path) -> None:
    """Undone, corrected, or with a larger budget: none of two last rows stays, and no old one does."""
    at, line = started(tiny)
    work(at, labels(tiny))
    before = line.rows
    at.idle(at.session.refresh())
    assert line.rows == before, "nothing has changed"
    image = int(at.session.labelled[-1])
    at.session.correct({image: (int(labels(tiny)[image]) + 1) % 10}, by="Ada")
    at.idle(at.session.refresh())
    after = line.rows
    assert [row.labels for row in after] == [20, 30, 40] and after[-1].class_counts == tuple(at.session.counts.values())
    assert after[-1].class_counts != before[-1].class_counts
    more = merged(TINY, {"protocol": {"budget": 60}})
    (tiny / "asal.toml").write_text(to_toml(more))
    later, outbox = started(tiny)
    work(later, labels(tiny))
    assert [(row.labels, row.last) for row in outbox.rows] == [
        (20, False), (30, False), (40, False), (50, False), (60, True),
    ]  # fmt: skip


@pytest.mark.parametrize(("classes", "measured"), [([str(n) for n in range(10)], True), (list("abcdefghij"), False)])
def test_accuracy_is_measured_on_labels_of_the_same_classes(tiny: Path, classes: list[str], measured: bool) -> None:
    """Where people have classes of their own, those that came with the test set are others under the same numbers."""
    (tiny / "asal.toml").write_text(to_toml(merged(TINY, {"labelling": {"classes": classes}})))
    at, line = started(tiny)
    work(at, labels(tiny))
    assert [row.accuracy is not None for row in line.rows] == [measured] * 3
    assert (ProjectInfo.of(ProjectFolder.open(tiny), "uncertainty").test_set is not None) == measured


def test_a_record_that_is_busy_is_not_taken_for_another_worker(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here, there = Pipe()

    def busy(*_: object) -> WorkerSession:
        raise BusyError("the record is held", rule="one at a time", hint="again")

    monkeypatch.setattr("asal.labelling.worker_session.WorkerSession", busy)
    monkeypatch.setattr("signal.signal", lambda *_: None)
    worker.work(WorkerConfig(tiny, load(tiny), "uncertainty"), there)
    assert isinstance(here.recv(), TakenIn)
    message = here.recv()
    assert isinstance(message, Failed) and message.error.got == "the record is held"


def test_after_a_change_of_the_classes_the_curve_and_the_guesses_go_on(tiny: Path) -> None:
    """The test set has the ten digits: 9 counts as 4 from now on, and a class without test images is added."""
    at, line = started(tiny)
    work(at, labels(tiny), rounds=2)
    assert [row.labels for row in line.rows] == [20]
    at.session.change_classes(ClassChange("merge", ("9",), "4"))
    at.session.change_classes(ClassChange("add", ("blank",)))
    work(at, labels(tiny))
    assert [row.labels for row in line.rows] == [20, 30, 40]
    assert all(row.accuracy is not None and row.accuracy > 0.3 for row in line.rows)
    last = line.rows[-1]
    assert last.class_counts == tuple(at.session.counts.values()) and len(last.class_counts) == 10
    truth = np.where(labels(tiny)[at.session.labelled] == 9, 4, labels(tiny)[at.session.labelled])
    assert (at.session.labels == truth).all()
    model, evaluation = at.session.model(), Stored.open(tiny / "test").answer(np.arange(200))
    predicted = np.array(list(at.session.classes))[model.predict(at.project.test.read(np.arange(200))).argmax(1)]
    assert last.accuracy == pytest.approx(
        float((predicted == np.where(evaluation == 9, 4, evaluation)).mean()), abs=1e-6
    )
    looked = Look.from_json(last.look or {}).predicted
    assert 9 not in looked and set(looked.tolist()) <= set(at.session.classes)
    (probs, *_) = line.last[Guesses].probs.values()
    assert len(probs) == 11 and probs[9] == 0 and sum(probs) == pytest.approx(1, abs=1e-3)
