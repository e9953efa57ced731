"""A worker whose classifier reads stored features: what it asks, guesses and measures."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
from support.commands import TINY, merged

from asal.labelling.messages import FromWorker, Guesses, Rows
from asal.labelling.worker import WorkerConfig
from asal.labelling.worker_session import WorkerSession
from asal.project.project import Project
from asal.project.spec import load, to_toml
from asal.session.oracles.stored import Stored

HEAD = {
    "generator": None,
    "features": {"pixels": {"dimensions": 30}, "autoencoder": None},
    "learner": {"kind": "head", "l2": None, "iterations": None},
    "pool": {"split": {"validation": 100}},
    "strategies": {"asal": None, "subset": {"size": 50, "score": "margin"}},
}


class Line:
    """Keeps the last message of each class."""

    def __init__(self) -> None:
        self.last: dict[type, Any] = {}

    def send(self, message: FromWorker) -> None:
        self.last[type(message)] = pickle.loads(pickle.dumps(message))


def test_it_learns_guesses_and_measures_from_stored_vectors(tmp_path: Path) -> None:
    (tmp_path / "asal.toml").write_text(to_toml(merged(TINY, HEAD)))
    Project.open(tmp_path).prepare(["subset"])
    (tmp_path / "labelling").mkdir()
    line = Line()
    at = WorkerSession(WorkerConfig(tmp_path, load(tmp_path), "subset", threads=1), line)
    at.open_tools()
    at.report_start()
    truth = Stored.open(tmp_path / "pool").answer(np.arange(len(at.project.pool)))
    for n in (30, 10):
        batch = at.session.ask(n)
        at.session.tell({image: int(truth[image]) for image in batch.ids.tolist()}, by="Ada")
    batch = at.session.ask(10)
    at.report_asked()
    at.evaluate(batch)
    row = line.last[Rows].rows[-1]
    assert row.accuracy > 0.6 and row.validation > 0.5, "ten digits, forty labels"
    guesses = np.array([line.last[Guesses].probs[image] for image in batch.ids.tolist()])
    model = at.session.model(batch.asked.classifier)
    np.testing.assert_allclose(guesses, model.predict(at.session.inputs(batch.ids)), atol=1e-4)
