"""The server and its worker are killed at random moments while people answer: what was acknowledged is there, once.

ASAL_KILLS says how often; the suite kills a dozen times, and `ASAL_KILLS=100` takes some minutes.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import threading
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
from support.commands import TINY, merged
from support.databases import fresh
from support.http_clients import PATIENCE, Bot, Label, Served
from support.label_project import events, settings, truth

from asal.project.project import Project
from asal.project.spec import parse, to_toml
from asal.session.state import State, fold

KILLS = int(os.environ.get("ASAL_KILLS", "12"))
ROOMY = {
    "pool": {"split": {"train": 1500, "test": 100}},
    "protocol": {"initial": 1400, "batch": 50, "budget": 1500},
    "labelling": {"lease": 3600.0},  # that a lease ends is not what is tried here
}
CROWD = 4


@pytest.fixture(scope="module")
def roomy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a project with images enough to be killed over. To be copied, not written."""
    root = tmp_path_factory.mktemp("roomy")
    only = {"generator": None, "features": None, "strategies": {"subset": None, "asal": None, "uncertainty": None}}
    (root / "asal.toml").write_text(
        to_toml(parse(merged(merged(TINY, ROOMY), only)).model_dump(mode="json", exclude_none=True))
    )
    Project.open(root).prepare()
    return root


@dataclass
class Worker(threading.Thread):
    """Somebody who answers until told to stop, and remembers what was acknowledged."""

    bot: Bot
    know: Label
    seed: int
    over: threading.Event
    acknowledged: list[tuple[str, int, int | None]] = field(default_factory=list)  # key, image, label
    failed: list[BaseException] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(daemon=True)

    def run(self) -> None:
        rng = random.Random(self.seed)
        try:
            while not self.over.is_set():
                for task in self.bot.next(2):
                    label = None if rng.random() < 0.1 else self.know(task["image"])
                    key = f"{rng.getrandbits(64):016x}"
                    self.bot.answer((task["image"], label), key=key)
                    self.acknowledged.append((key, task["image"], label))
                    time.sleep(rng.random() * 0.4)
                time.sleep(0.02)
        except BaseException as error:
            self.failed.append(error)

    __hash__ = threading.Thread.__hash__


def kill_one(served: Served, rng: random.Random) -> str:
    """Kill the worker, or the server, which is then started again; say which."""
    workers = served.workers()
    if workers and rng.random() < 0.5:
        with suppress(ProcessLookupError):
            os.kill(workers[-1], signal.SIGKILL)
        return "worker"
    served.kill()
    served.start()
    return "server"


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_whatever_is_killed_what_was_acknowledged_is_there_once(
    database: str, roomy: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    root, rng = Path(shutil.copytree(roomy, tmp_path / "roomy")), random.Random(database)
    if database == "postgresql":
        settings(root, {"labelling": {"record": fresh(request.getfixturevalue("postgres"))}})
    over, killed = threading.Event(), Counter[str]()
    with Served(root, ["--strategy", "random"]) as served:
        first = served.token
        crowd = [Worker(Bot(served.url, first), truth(root), seed, over) for seed in range(CROWD)]
        for one in crowd:
            one.start()
        while not all(one.acknowledged for one in crowd):
            time.sleep(0.05)
        for _ in range(KILLS if database == "sqlite" else max(2, KILLS // 4)):
            time.sleep(rng.random() * 2.0)
            killed[kill_one(served, rng)] += 1
        over.set()
        for one in crowd:
            one.join(2 * PATIENCE)
            assert not one.failed and not one.is_alive(), one.failed
    told = [entry for one in crowd for entry in one.acknowledged]
    written = events(root)
    fold(State(), written)  # they tell one story
    found = Counter((event.body["key"].partition(": ")[2], event.image, event.label) for event in written if event.by)
    print(f"{len(told)} answers, killed: {dict(killed)}")
    assert len(told) > 50 and found == Counter(told), "lost, doubled or changed"
    images = [event.image for event in written if event.by]
    assert len(set(images)) == len(images), "an image was given twice"
    assert {event.kind for event in written} <= {"opened", "asked", "answered", "skipped"}


def test_what_was_not_acknowledged_may_be_sent_again(roomy: Path, tmp_path: Path) -> None:
    """The server is killed between taking an answer and saying so, as often as it takes to hit that moment."""
    root = Path(shutil.copytree(roomy, tmp_path / "roomy"))
    with Served(root, ["--strategy", "random"]) as served:
        bot = Bot(served.url, served.token)
        while not (tasks := bot.next(1)):
            time.sleep(0.05)
        image = tasks[0]["image"]
        killer = threading.Timer(0.002, served.kill)
        killer.start()
        body = {"key": "sent-twice", "tab": bot.tab, "answers": [{"image": image, "label": 3, "seconds": 1.0}]}
        with suppress(httpx.TransportError):
            bot.http.post("/api/answers", json=body)
        killer.join()
        served.start()
        assert bot.post("/api/answers", body)["accepted"] == [{"image": image, "outcome": "answered"}]
    assert [event.image for event in events(root) if event.kind == "answered"] == [image]
