"""The whole way with people: `asal label` as a process, answered over HTTP."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from support.commands import TINY, Command, merged
from support.http_clients import PATIENCE, Bot, Served
from support.label_project import STRICT, events, rows, settings, truth

from asal.experiments.run import RunTask, begin, run_one
from asal.project.project import Project
from asal.project.spec import load, parse, to_toml
from asal.runtime.progress import no_progress
from asal.session.events import Record
from asal.session.state import State, fold

TWO = {
    "pool": {"keep": ["3", "8"], "split": {"train": None, "test": 100, "validation": 50}},
    "protocol": {"initial": 10},
}


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a prepared project of two digits. To be copied, not written."""
    root = tmp_path_factory.mktemp("two")
    made(root, merged(TINY, TWO))
    return root


@pytest.fixture
def root(two: Path, tmp_path: Path) -> Path:
    """Return a prepared project of two digits of one's own."""
    return Path(shutil.copytree(two, tmp_path / "two"))


def made(root: Path, given: Mapping[str, Any]) -> None:
    """Make a project of a plain spec."""
    (root / "asal.toml").write_text(to_toml(parse(given).model_dump(mode="json", exclude_none=True)))
    Project.open(root).prepare()


@pytest.mark.parametrize("strategy", ["asal", "uncertainty"])
def test_a_script_that_answers_over_http_reaches_the_rows_of_a_run(root: Path, tmp_path: Path, strategy: str) -> None:
    settings(root, STRICT)
    out = tmp_path / "run"
    begin(Project.open(root), [strategy], [0], out)
    run_one(RunTask(root, load(root), strategy, 0, out), no_progress)
    with Served(root, ["--strategy", strategy]) as served:
        bot = Bot(served.url, served.token)
        assert bot.label(truth(root), each=3) == 40
    (path,) = (root / "labelling").glob("rows-*.jsonl")
    assert rows(path) == rows(out / strategy / "seed-0" / "rows.jsonl")
    with Record.open(out / strategy / "seed-0" / "labels.db") as record:
        mine, theirs = fold(State(), events(root)), fold(State(), record.read())
    assert dict(mine.answers) == dict(theirs.answers) and list(mine.answers) == list(theirs.answers)
    asked = [event.body for event in events(root) if event.kind == "asked"]
    assert all("ahead" not in body and "topped" not in body for body in asked)


def test_every_label_knows_who_when_how_long_which_round_and_which_model(root: Path) -> None:
    with Served(root, ["--strategy", "uncertainty", "--name", "Ada", "--budget", "20"]) as served:
        Bot(served.url, served.token).label(truth(root))
    written = events(root)
    seen = {event.round: event.body["seen"] for event in written if event.kind == "asked"}
    for event in written:
        if event.kind == "answered":
            assert event.by == "Ada" and event.at.endswith("+00:00") and event.body["seconds"] == 0.5
            assert seen[event.round] < event.seq and event.body["key"].startswith("Ada: ")
    assert written[-1].seq == 1 + len(seen) + 20


def test_nobody_waits_where_people_are_faster_than_training(root: Path) -> None:
    """The worker chooses while others are open, from the last classifier if need be; the record says so."""
    settings(root, {"protocol": {"budget": 150, "batch": 5}})
    with Served(root, ["--strategy", "uncertainty"]) as served:
        assert Bot(served.url, served.token).label(truth(root)) == 150
    asked = [event.body for event in events(root) if event.kind == "asked"]
    assert any(body.get("ahead") for body in asked), "no batch was chosen while another was open"
    trained = [body["seen"] for body in asked if body["because"] is None and not body.get("topped")]
    assert trained == sorted(set(trained)) and len(trained) > 1, "each classifier is of more answers than the last"
    topped = [at for at, body in enumerate(asked) if body.get("topped")]
    assert all(asked[at]["seen"] in trained for at in topped), "asked by a classifier that there was"
    state = fold(State(), events(root))
    assert len(state.answers) == 150 == len({image for body in asked for image in body["ids"]})


def test_a_page_that_comes_back_goes_on_where_it_was(root: Path) -> None:
    """The server is killed between two answers: the same images, the same tab, and no answer twice."""
    know = truth(root)
    served = Served(root, ["--strategy", "asal", "--budget", "30"])
    with served:
        bot = Bot(served.url, served.token)
        held = [task["image"] for task in wait_for(bot, 3)]
        told = bot.answer((held[0], know(held[0])), key="the-first-answer")
        served.kill()
        served.start()
        assert bot.answer((held[0], know(held[0])), key="the-first-answer")["accepted"] == told["accepted"]
        again = [task["image"] for task in bot.next(1, have=held[1:])]
        assert not set(again) & set(held)
        for image in held[1:] + again:
            bot.answer((image, know(image)))
        bot.label(know)
    state = fold(State(), events(root))
    assert len(state.answers) == 30 and all(know(image) == label for image, label in state.answers.items())


def wait_for(bot: Bot, n: int) -> list[dict[str, Any]]:
    """Return images as soon as there are any."""
    while not (tasks := bot.next(n)):
        assert bot.get("/api/status")["doing"]["error"] is None
        time.sleep(0.05)
    return tasks


def test_after_a_restart_the_guesses_are_there_before_anything_is_trained(root: Path) -> None:
    with Served(root, ["--strategy", "uncertainty"]) as served:
        bot, know = Bot(served.url, served.token), truth(root)
        for task in wait_for(bot, 10):
            bot.answer((task["image"], know(task["image"])))
        (task,) = wait_for(bot, 1)
        guess = guessed(bot, task["image"])
        until((root / "labelling" / "model" / "model.json").exists)
        served.kill()
        before = events(root)
        served.start()
        assert guessed(bot, task["image"]) == guess and events(root) == before


def guessed(bot: Bot, image: int) -> list[float]:
    """Return the guess at an image, as soon as there is one."""
    found: list[float] = until(lambda: bot.get(f"/api/guess/{image}")["probs"])
    return found


def until(what: Callable[[], Any]) -> Any:
    """Return what is found, as soon as it is."""
    end = time.monotonic() + PATIENCE
    while not (found := what()):
        assert time.monotonic() < end
        time.sleep(0.05)
    return found


def test_undo_correction_and_cannot_tell_end_as_they_were_pressed(root: Path) -> None:
    settings(root, STRICT)  # else the next batch may be chosen in the middle of it
    with Served(root, ["--strategy", "uncertainty"]) as served:
        bot = Bot(served.url, served.token)
        a, b, c = (task["image"] for task in wait_for(bot, 3))
        bot.answer((a, 0))
        bot.answer((b, None))
        back = bot.post("/api/withdrawals", {"key": "undo-1-of-one", "tab": bot.tab, "image": b})["task"]
        assert back["image"] == b and back["round"] == 0
        bot.answer((b, 1), (c, None))
        correction = {"image": a, "label": 1, "seconds": 2.0}
        bot.post("/api/corrections", {"key": "correction", "tab": bot.tab, "answers": [correction]})
        history = bot.get("/api/history")["answers"]
        assert [(entry["image"], entry["label"]) for entry in history] == [(c, None), (b, 1), (a, 1)]
        assert bot.get("/api/status")["progress"] == {
            "answers": 2, "skipped": 1, "spent": 2, "budget": 40, "open": 7, "round": 0,
        }  # fmt: skip
    state = fold(State(), events(root))
    assert dict(state.answers) == {a: 1, b: 1} and list(state.skips) == [c]


def test_the_page_tells_why_and_guesses_only_when_asked(root: Path) -> None:
    with Served(root, ["--strategy", "asal"]) as served:
        bot, know = Bot(served.url, served.token), truth(root)
        for task in wait_for(bot, 10):
            assert "first batch" in bot.get(f"/api/why/{task['image']}")["chosen_from"]
            bot.answer((task["image"], know(task["image"])))
        task = wait_for(bot, 1)[0]
        while (why := bot.get(f"/api/why/{task['image']}"))["synthetic"] is None:
            time.sleep(0.05)  # the worker tells of it when it has asked
        assert task["why"] and why["synthetic"] == f"/why/{task['image']}.png" and why["distance"] > 0
        assert "The generator made an image" in why["chosen_from"] and why["score_name"] == "margin"
        assert {"its two likeliest classes", "distance to the synthetic image"} <= dict(why["facts"]).keys()
        assert bot.http.get(why["synthetic"]).content.startswith(b"\x89PNG")
        assert bot.http.get(task["src"]).content.startswith(b"\x89PNG")
        assert "probs" not in json.dumps(task)


def test_images_that_were_made_up_are_put_to_people_too(root: Path) -> None:
    settings(root, merged(STRICT, {"strategies": {"gaal": {"steps": 3}}, "protocol": {"batch": 4, "budget": 18}}))
    with Served(root, ["--strategy", "gaal"]) as served:
        bot, know, images = Bot(served.url, served.token), truth(root), len(Project.open(root).pool)

        def judge(image: int) -> int | None:
            assert bot.http.get(f"/images/{image}.png").status_code == 200
            return know(image) if image < images else None if image % 3 == 0 else image % 2

        bot.label(judge)
    state = fold(State(), events(root))
    assert state.synthetic and state.spent == 18
    assert all(image in state.skips for image in state.synthetic if image % 3 == 0 and image not in state.waiting)


def test_what_is_wrong_is_said_before_anything_is_served(root: Path, asal: Command, tmp_path: Path) -> None:
    asal("label", tmp_path / "nowhere", "--no-browser").refused("asal.toml")
    asal("label", root, "--no-browser", "--strategy", "asall").refused("did you mean 'asal'?")
    asal("label", root, "--no-browser", "--host", "0.0.0.0").refused("asal annotator add")
    asal("annotator", "remove", root, "Nobody").refused("Nobody")
    (root / "bare").mkdir()
    shutil.copy(root / "asal.toml", root / "bare")
    asal("label", root / "bare", "--no-browser", "--strategy", "asal").refused("asal prepare", "hours", "--prepare")


def test_without_the_extra_it_says_what_to_install(tiny: Path, shell: Command, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import importlib.util, sys\n"
        "real = importlib.util.find_spec\n"
        "importlib.util.find_spec = lambda name, *more: None if name == 'uvicorn' else real(name, *more)\n"
    )
    places = os.pathsep.join([str(tmp_path), os.environ["PYTHONPATH"]])
    said = shell("label", tiny, "--no-browser", env={**os.environ, "PYTHONPATH": places})
    said.refused("uvicorn is not installed", "pip install 'asal[web]'")
