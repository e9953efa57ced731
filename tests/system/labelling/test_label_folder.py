"""`asal label` of a folder of images: a project beside it, images taken in behind the page, kills in every phase."""

from __future__ import annotations

import random
import re
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from PIL import Image
from sklearn.datasets import load_digits
from support.commands import Command, merged
from support.http_clients import PATIENCE, Bot, Served, is_preparing
from support.kills import moments
from support.label_project import events, truth

from asal.data.ingest import IngestContext
from asal.labelling.preparation import SAMPLES
from asal.labelling.worker import COMPUTING
from asal.project.images import take_in
from asal.project.labelled_folder import project_of
from asal.project.preparer import Preparer
from asal.project.project import Project
from asal.project.spec import load
from asal.project.status import damage
from asal.runtime import artifacts
from asal.runtime.engine import InProcess
from asal.runtime.progress import no_progress
from asal.session.state import Asked, State, fold

DIGITS = ("3", "8")


def digits(folder: Path, *, flat: bool = False, times: int = 1) -> Path:
    """Write the threes and eights of scikit-learn as PNG files, in a folder for each class or in one."""
    images, labels = load_digits(return_X_y=True)
    for number, (pixels, label) in enumerate(zip(images, labels, strict=True)):
        if str(label) in DIGITS:
            for copy in range(times):
                home = folder if flat else folder / str(label)
                home.mkdir(parents=True, exist_ok=True)
                shade = np.minimum(255, pixels.reshape(8, 8) * 15 + copy).astype(np.uint8)
                Image.fromarray(shade).resize((24, 24)).save(home / f"{label}-{number:04}-{copy}.png")
    return folder


def know(bot: Bot) -> Callable[[Mapping[str, Any]], int]:
    """Return who reads the label in an image's file name."""
    numbers = {each["name"]: each["number"] for each in bot.get("/api/project")["classes"]}
    return lambda task: numbers[Path(task["key"]).name[0]]


def label(bot: Bot, n: int = 10_000) -> int:
    """Answer so many images, or all until the budget is spent; return how many that were."""
    right, done = know(bot), 0
    while done < n:
        if tasks := bot.next(1):
            bot.answer(*((task["image"], right(task)) for task in tasks))
            done += len(tasks)
        elif (doing := bot.get("/api/status")["doing"])["stage"] == "finished":
            break
        else:
            assert doing["error"] is None, doing
            time.sleep(0.02)
    return done


def test_from_a_folder_of_images_to_labels(tmp_path: Path) -> None:
    photos = digits(tmp_path / "photos")
    spec = project_of(photos).root / "asal.toml"
    spec.write_text(spec.read_text().replace('kind = "cnn"', 'kind = "linear"'))  # which is trained at once
    with Served(photos, ["--budget", "30"]) as served:
        bot = Bot(served.url, served.token)
        assert label(bot) == 30
        doing = bot.get("/api/status")["doing"]
        assert doing["note"] == "the budget of 30 labels is spent"
        assert doing["next"] == f"asal export {tmp_path / 'photos-asal'} labels"
        assert bot.next(1) == [], "and asks no more"
        said = served.stop()
    assert f"Done: the budget of 30 labels is spent. Next: asal export {tmp_path / 'photos-asal'} labels" in said
    assert f"30 labels are saved in {tmp_path / 'photos-asal' / 'labels.db'}; the same command goes on." in said
    assert "Traceback" not in said
    root = tmp_path / "photos-asal"
    state = fold(State(), events(root))
    assert len(state.answers) == 30 and set(state.classes.live.values()) == set(DIGITS)
    with Served(photos, ["--budget", "35"]) as served:  # the same command goes on
        assert served.process is not None and f"Going on with the project {root}" in served.process.output()
        assert label(Bot(served.url, served.token)) == 5


def test_while_images_are_taken_in_the_page_says_how_far(tmp_path: Path) -> None:
    photos = digits(tmp_path / "photos", times=8)
    with Served(photos, threads=None) as served, httpx.Client(base_url=served.url) as http:
        assert http.get("/api/project").status_code == 401, "to those who have signed in"
        assert "main.js" in http.get("/").text
        token = http.post("/api/enter", json={"token": served.token})
        assert token.status_code == 200
        found: list[dict[str, Any]] = []
        while is_preparing(reply := http.get("/api/project")):
            found.append(reply.json()["error"])
            time.sleep(0.02)
        assert reply.status_code == 200 and reply.json()["me"]["role"] == "adjudicator", "the same cookie"
        counted = [error for error in found if error["doing"]["total"]]
        assert counted and all(error["hint"] for error in found)
        assert re.fullmatch(r"Taking in your photographs: [\d,]+ of [\d,]+(, about .+ left)?", counted[0]["got"])
        assert wait_for(Bot(served.url, served.token))


def test_images_that_another_server_takes_in_are_shown_here_too(tmp_path: Path) -> None:
    images = digits(tmp_path / "digits")
    root = project_of(images).root
    with artifacts.exclusive(root / "labelling"), Served(images) as served:  # as the other server's worker does
        bot = Bot(served.url, served.token, patience=30.0)
        assert is_preparing(bot.http.get("/api/project"))
        take_in(root, load(root), IngestContext(InProcess(), no_progress))
        assert {each["name"] for each in bot.get("/api/project")["classes"]} == set(DIGITS)


def wait_for(bot: Bot) -> dict[str, Any]:
    """Return an image as soon as there is one."""
    end = time.monotonic() + PATIENCE
    while not (tasks := bot.next(1)):
        assert time.monotonic() < end
        time.sleep(0.05)
    return tasks[0]


FEATURES: Mapping[str, Any] = {
    "generator": None,
    "features": {"autoencoder": None, "pixels": {"dimensions": 8}},
    "learner": {"kind": "head", "features": "pixels", "l2": None, "iterations": None},
    "protocol": {"initial": 12, "batch": 6, "budget": 60},
    "strategies": {"subset": {"size": 50}, "asal": None, "uncertainty": None, "random": None},
}


def test_the_first_images_are_typical_while_features_are_computed(
    tmp_path: Path, write_spec: Callable[..., Path]
) -> None:
    """Another process holds the project's folder, so that it cannot be prepared before that ends."""
    root = tmp_path / "unprepared"
    root.mkdir()
    write_spec(root, **FEATURES)
    Project.open(root).ingest()
    right = truth(root)
    with Served(root) as served:
        bot = Bot(served.url, served.token)
        with artifacts.exclusive(root):
            typical = None
            while typical is None:
                task = wait_for(bot)
                typical = next((each for each in rounds(root) if each.strategy == "typiclust"), None)
                bot.answer((task["image"], right(task["image"])))
                time.sleep(0.7)  # as people do: the features of a sample take some seconds
            assert (root / "features").exists() is False or not any((root / "features").glob("*/part.json"))
            why = bot.get(f"/api/why/{typical.ids[0]}")
            assert "features are still being computed" in why["chosen_from"] and why["trained_on"] is None
        wait_until_prepared(root, bot)
        bot.label(right)
    found = rounds(root)
    assert all((asked.fallback_reason or "").startswith(COMPUTING) for asked in found[: typical.round + 1])
    reasons = {f"{COMPUTING}; these are typical of {number} random ones" for number in SAMPLES}
    assert typical.fallback_reason in reasons
    assert found[-1].strategy == "subset" and found[-1].fallback_reason is None
    assert len(fold(State(), events(root)).answers) == 60


def wait_until_prepared(root: Path, bot: Bot) -> None:
    """Wait until all is there and the worker has noticed: a quick hand would spend the budget before that."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        doing = bot.get("/api/status")["doing"]
        if not Preparer(Project.open(root)).missing(["subset"]) and (doing["stage"], doing["note"]) == ("waiting", ""):
            return
        time.sleep(0.2)
    raise AssertionError(f"it is not prepared: {doing}")


def rounds(root: Path) -> tuple[Asked, ...]:
    return fold(State(), events(root)).rounds


def test_killed_in_every_phase_it_goes_on_with_the_same_command(
    tmp_path: Path, write_spec: Callable[..., Path]
) -> None:
    photos, root, rng = digits(tmp_path / "photos", times=6), tmp_path / "photos-asal", random.Random(3)
    root.mkdir()
    source = {"kind": "folder", "path": "../photos"}
    write_spec(root, **merged(FEATURES, {"source": source, "pool": {"size": 8, "split": {"train": None}}}))
    acknowledged: dict[int, int] = {}
    served = Served(photos)
    for moment in moments(16.0, seed=3):
        served.start()
        killer = threading.Timer(moment * rng.random(), served.kill)
        killer.start()
        with suppress(AssertionError, httpx.TransportError):
            answer_until_killed(served, acknowledged)
        killer.join()
    with served:
        bot = Bot(served.url, served.token)
        label(bot)
    state = fold(State(), events(root))
    assert len(state.answers) == 60 and acknowledged.items() <= dict(state.answers).items()
    assert damage(root) == [] and (root / "pool" / "part.json").exists()


def answer_until_killed(served: Served, acknowledged: dict[int, int]) -> None:
    bot = Bot(served.url, served.token, patience=0.0)
    while True:
        reply = bot.http.get("/api/project")
        if reply.status_code == 200:
            break
        time.sleep(0.02)
    right = know(bot)
    while True:
        for task in bot.next(1):
            bot.answer((task["image"], right(task)))
            acknowledged[task["image"]] = right(task)
        time.sleep(0.2)


# Refusals ------------------------------------------------------------------------------------------------------------


def test_a_folder_without_classes_needs_their_names(tmp_path: Path, asal: Command) -> None:
    photos = digits(tmp_path / "flat", flat=True)
    asal("label", photos, "--no-browser").refused("name no classes", '--classes "cat,dog"')
    asal("label", photos, "--no-browser", "--classes", "3").refused("two or more classes")
    assert not (tmp_path / "flat-asal").exists(), "nothing is left of it"
    root = tmp_path / "flat-asal"
    with Served(photos, ["--classes", "3, 8"]) as served:
        assert served.process is not None and f"Made the project {root}" in served.process.output()
        assert label(Bot(served.url, served.token), 5) == 5
    assert load(root).labelling.classes == DIGITS
    state = fold(State(), events(root))
    assert set(state.classes.live.values()) == set(DIGITS)
    asal("label", photos, "--no-browser", "--classes", "cat,dog").refused("asal classes", "--classes names")


def test_other_classes_than_those_of_the_folders_are_refused_and_nothing_is_written(
    tmp_path: Path, asal: Command
) -> None:
    images = digits(tmp_path / "digits")
    root = project_of(images).root
    take_in(root, load(root), IngestContext(InProcess(), no_progress))
    before = (root / "asal.toml").read_text()
    asal("label", images, "--no-browser", "--classes", "cat,dog").refused("asal classes", "--classes names")
    assert (root / "asal.toml").read_text() == before
    project_of(images, classes=DIGITS)
    assert (root / "asal.toml").read_text() == before


def test_a_project_of_other_images_is_not_taken_for_that_of_a_folder(tmp_path: Path, asal: Command) -> None:
    photos, others = digits(tmp_path / "photos"), digits(tmp_path / "others")
    root = tmp_path / "photos-asal"
    asal("init", root, "--images", others)
    asal("label", photos, "--no-browser").refused("a project of other images", "--project")
    asal("label", root, "--no-browser", "--classes", "cat,dog").refused("--classes are for a folder of images")
    (tmp_path / "empty").mkdir()
    asal("label", tmp_path / "empty", "--no-browser").refused("no images")
    assert not (tmp_path / "empty-asal").exists()


def test_a_folder_that_can_be_read_in_two_ways_is_refused_and_says_how_to_decide(tmp_path: Path, asal: Command) -> None:
    photos = tmp_path / "photos"
    for name in ("train", "cat"):
        digits(photos / name, flat=True)
    said = asal("label", photos, "--no-browser")
    said.refused("--layout")
    assert not (tmp_path / "photos-asal").exists()
