"""Nobody waits for a classifier that takes long to train: images are handed out meanwhile, and the record says so."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.commands import merged
from support.http_clients import Bot, Served
from support.label_project import STRICT, events, settings, truth

from asal.labelling.worker import TRAINING
from asal.project.project import Project
from asal.project.spec import load
from asal.session.events import Record
from asal.session.state import State, fold

SECONDS = 2.5  # that a training takes
SLOW = {
    "generator": None,
    "features": None,
    "learner": {
        "kind": "sklearn", "factory": "support.slow_classifiers:NearestMean", "options": {"seconds": SECONDS},
        "l2": None, "iterations": None,
    },
    "protocol": {"initial": 10, "batch": 10, "budget": 80},
    "strategies": {"subset": None, "asal": None},
}  # fmt: skip


@pytest.fixture
def slow(tmp_path: Path, write_spec: Callable[..., Path]) -> Path:
    """Return a prepared project whose classifier is slow."""
    root = tmp_path / "slow"
    root.mkdir()
    write_spec(root, **SLOW)
    Project.open(root).prepare()
    return root


def answered(bot: Bot, label: Callable[[int], int | None], pause: float) -> list[dict[str, Any]]:
    """Answer at a steady pace until all is done; return what was done at each answer, and whether images were there."""
    seen: list[dict[str, Any]] = []
    while True:
        reply = bot.post("/api/next", {"tab": bot.tab, "n": 1, "have": []})
        assert reply["doing"]["error"] is None
        if not reply["tasks"]:
            if reply["doing"]["stage"] == "finished":
                return seen
            time.sleep(0.02)
            continue
        (task,) = reply["tasks"]
        bot.answer((task["image"], label(task["image"])))
        seen.append({**reply["doing"], "image": task["image"]})
        time.sleep(pause)


def test_images_are_handed_out_while_a_classifier_is_trained(slow: Path) -> None:
    with Served(slow, ["--strategy", "uncertainty"]) as served:
        seen = answered(Bot(served.url, served.token), truth(slow), pause=0.15)
    written = events(slow)
    state = fold(State(), written)
    assert len(state.answers) == 80 == len(set(state.answers)), "each image once, and no more than the budget"
    drawn = [asked for asked in state.rounds if asked.fallback_reason == TRAINING]
    topped = [asked for asked in state.rounds if asked.topped]
    chosen = [asked for asked in state.rounds if asked.fallback_reason is None and not asked.topped]
    assert drawn and all(asked.strategy == "random" for asked in drawn), "the first training has no classifier before"
    assert drawn[-1].round < chosen[0].round
    assert topped and all(asked.strategy == "uncertainty" for asked in topped)
    assert all(asked.trained_up_to in {each.trained_up_to for each in chosen} for asked in topped)
    assert len(chosen) > 1 and any(asked.trained_in is not None for asked in chosen)
    assert all(asked.classifier <= asked.round for asked in chosen)
    during = [each for each in seen if each["stage"] == "training"]
    assert during, "it trains while people answer"
    assert during[0]["left"] is None and any(each["left"] is not None for each in during), "known once it was timed"
    assert all(each["total"] in (0, 100) for each in during), "never an estimate of a sub-step"


def test_a_row_is_of_the_classifier_that_chose_also_after_others_were_asked(slow: Path) -> None:
    """Each one, trained again as the record says, chooses among images as it did."""
    with Served(slow, ["--strategy", "uncertainty", "--budget", "50"]) as served:
        answered(Bot(served.url, served.token), truth(slow), pause=0.15)
        bot = Bot(served.url, served.token)
        curve = bot.get("/api/stopping")["curve"]
    state = fold(State(), events(slow))
    chosen = [asked for asked in state.rounds if asked.fallback_reason is None and not asked.topped]
    with_rows = [point["round"] for point in curve]
    assert with_rows[:-1] == [asked.round for asked in chosen] and len(curve) > 1
    settings(slow, {"learner": {"options": {"seconds": 0.0}}})
    session = Project.open(slow).session("uncertainty")
    assert isinstance(session.record, Record)
    for point, asked in zip(curve, chosen, strict=False):
        past = session.as_of(asked.trained_up_to)
        assert point["labels"] == past.state.spent == asked.labelled
    session.record.close()


def test_strict_is_as_before_everybody_waits(slow: Path) -> None:
    settings(slow, merged(STRICT, {"protocol": {"budget": 30}}))
    with Served(slow, ["--strategy", "uncertainty"]) as served:
        answered(Bot(served.url, served.token), truth(slow), pause=0.0)
    rounds = fold(State(), events(slow)).rounds
    assert [len(asked.ids) for asked in rounds] == [10, 10, 10]
    assert [asked.fallback_reason for asked in rounds] == ["nothing is labelled yet", None, None]
    assert not any(asked.topped or asked.ahead or asked.trained_in is not None for asked in rounds)
    assert load(slow).labelling.pace == "strict"
