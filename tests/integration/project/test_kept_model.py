"""The newest classifier on the disk: the same predictions after a restart, and none from a file that does not fit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.commands import TINY, merged

from asal.project.kept_model import FACTS, KeptModel
from asal.project.project import Project
from asal.project.spec import load, to_toml
from asal.session.oracles.stored import Stored
from asal.session.session import Session

LEARNERS: dict[str, dict[str, Any]] = {
    "linear": {},
    "cnn": {"learner": {"kind": "cnn", "steps": 3, "width": 4, "hidden": 8, "l2": None, "iterations": None}},
    "torch": {
        "learner": {
            "kind": "torch", "factory": "support.classifiers:small_net", "steps": 3, "l2": None, "iterations": None,
        }
    },
    "head": {"learner": {"kind": "head", "features": "autoencoder", "l2": None, "iterations": None}},
}  # fmt: skip


def labelled(root: Path, rounds: int = 2) -> Session:
    """Return a session with so many rounds, whose classifier is kept."""
    session, know = Project.open(root).session("uncertainty"), Stored.open(root / "pool")
    for n in [20, *[10] * rounds][:rounds]:
        session.tell({int(image): int(know.answer(np.array([image]))[0]) for image in session.ask(n).ids}, by="Ada")
    session.model(len(session.state.rounds))
    kept(root).keep(session.trained)
    return session


def kept(root: Path) -> KeptModel:
    return KeptModel(Project.open(root), "uncertainty", 0)


def again(root: Path) -> Session:
    return Project.open(root).session("uncertainty")


@pytest.mark.parametrize("learner", LEARNERS)
def test_after_a_restart_it_predicts_the_same_without_being_trained(
    tiny: Path, learner: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tiny / "asal.toml").write_text(to_toml(merged(TINY, LEARNERS[learner])))
    before = labelled(tiny)
    later = again(tiny)
    trained = kept(tiny).load(later)
    assert trained is not None and before.trained is not None
    inputs = later.inputs(np.arange(50))
    assert (trained.model.predict(inputs) == before.trained.model.predict(inputs)).all()
    assert trained.fits(later.state, len(later.state.rounds)), "the next batch needs no training, either"
    later.trained = trained
    monkeypatch.setattr("asal.session.session.fitted", None)
    later.model(len(later.state.rounds))


def test_it_is_of_the_labels_that_there_were(tiny: Path) -> None:
    session = labelled(tiny)
    image = int(session.ask(1).ids[0])
    session.tell({image: 1}, by="Ada")
    trained = kept(tiny).load(again(tiny))
    assert trained is not None and len(trained.state.answers) == 30, "also after more answers"
    session.correct({image: 2}, by="Ada")
    assert kept(tiny).load(again(tiny)) is not None


def test_only_the_newest_one_is_kept(tiny: Path) -> None:
    session = labelled(tiny)
    session.ask(3)
    session.tell(dict.fromkeys(map(int, session.state.open), 1), by="Ada")
    session.model(len(session.state.rounds))
    kept(tiny).keep(session.trained)
    assert len(list((tiny / "labelling" / "model").iterdir())) == 2


@pytest.mark.parametrize("damage", ["cut", "changed", "none", "not json", "other facts", "foreign"])
def test_a_file_that_is_damaged_or_foreign_is_not_used(tiny: Path, damage: str) -> None:
    labelled(tiny)
    folder = tiny / "labelling" / "model"
    (weights,) = folder.glob("*.safetensors")
    facts = json.loads((folder / FACTS).read_text())
    match damage:
        case "cut":
            weights.write_bytes(weights.read_bytes()[:-4])
        case "changed":
            weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")
        case "none":
            weights.unlink()
        case "not json":
            (folder / FACTS).write_text("{")
        case "other facts":
            (folder / FACTS).write_text(json.dumps({**facts, "round": facts["round"] + 1}))
        case "foreign":
            (folder / FACTS).write_text(json.dumps({**facts, "file": "../../asal.toml"}))
    assert kept(tiny).load(again(tiny)) is None


@pytest.mark.parametrize("changes", [{"learner": {"l2": 0.5}}, {"labelling": {"record": "other.db"}}])
def test_a_classifier_of_another_learner_or_record_is_not_used(tiny: Path, changes: dict[str, Any]) -> None:
    labelled(tiny)
    (tiny / "asal.toml").write_text(to_toml(merged(load(tiny).model_dump(mode="json", exclude_none=True), changes)))
    assert kept(tiny).load(again(tiny)) is None


def test_a_classifier_that_cannot_be_stored_is_trained_again(tiny: Path) -> None:
    changes = {
        "learner": {"kind": "sklearn", "factory": "sklearn.naive_bayes:GaussianNB", "l2": None, "iterations": None}
    }
    (tiny / "asal.toml").write_text(to_toml(merged(TINY, changes)))
    labelled(tiny)
    assert not (tiny / "labelling" / "model").exists()
    assert kept(tiny).load(again(tiny)) is None
