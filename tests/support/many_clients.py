"""Many people at once: a project whose images cost nothing to choose, and clients that answer as fast as they can."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import numpy as np

from asal.labelling.annotators import Annotators
from asal.session.events import Record
from support.http_clients import PATIENCE, Served

HELD = 20  # images that a tab has before it, as the page's queue
CLASSES = 4
SPEC = """
name = "crowd"

[source]
kind = "arrays"
path = "{path}"

[pool]
gray = true

[learner]
kind = "linear"
iterations = 5

[protocol]
initial = 20
batch = {images}
budget = {images}

[strategies.random]

[labelling]
"""
Label = Callable[[str, int], int | None]  # (name, image) → what they say


def project(root: Path, images: int, **labelling: object) -> Path:
    """Prepare a project, and ask about that many of its images in one round."""
    from asal.project.project import Project
    from asal.project.spec import load, to_toml

    root.mkdir()
    rng, file, there = np.random.default_rng(0), root / "images.npz", images + 10
    pixels, labels = rng.integers(256, size=(there, 4, 4), dtype=np.uint8), rng.integers(CLASSES, size=there)
    np.savez(file, images=pixels, labels=labels)
    (root / "asal.toml").write_text(SPEC.format(path=file, images=images) + to_toml(labelling))
    made = Project(root, load(root))
    made.prepare()
    session = made.session("random")
    session.ask(images)
    session.record.close()
    return root


def tokens(root: Path, names: list[str], role: str = "annotator") -> dict[str, str]:
    """Add people; return their tokens."""
    from asal.project.spec import load

    with Record.open(load(root).labelling.place(root)) as record:
        people = Annotators(record)
        return {name: people.add(name, role) for name in names}


@dataclass
class Member:
    """One of many: keeps a queue of images as the page does, and sends every answer by itself."""

    served: Served
    name: str
    token: str
    label: Label
    told: dict[int, int | None] = field(default_factory=dict)  # what was acknowledged
    given: list[int] = field(default_factory=list)  # every image that came, in the order of coming
    outcomes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.line = HTTPConnection("127.0.0.1", self.served.port, timeout=PATIENCE)  # an eighth of httpx's time

    def post(self, path: str, body: dict[str, Any]) -> Any:
        return self.ask("POST", path, json.dumps(body))

    def ask(self, method: str, path: str, body: str = "") -> Any:
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        self.line.request(method, path, body, headers)
        reply = self.line.getresponse()
        text = reply.read()
        assert reply.status == 200, text
        return json.loads(text)

    def work(self, most: int | None = None) -> Member:
        """Answer so many, or until nothing is open any more."""
        tab, queue = uuid.uuid4().hex, []
        while most is None or len(self.told) < most:
            if not queue:
                n = HELD if most is None else min(HELD, most - len(self.told))
                got = self.post("/api/next", {"tab": tab, "n": n})
                queue = [task["image"] for task in got["tasks"]]
                self.given += queue
                if not got["waiting"]["open"]:
                    break
                if not queue:
                    time.sleep(0.05)  # others have them
                continue
            self.answer(tab, queue.pop(0))
        self.line.close()
        return self

    def settle(self) -> Member:
        """Settle what others disagree about, until nothing is open any more."""
        while self.ask("GET", "/api/status")["progress"]["open"]:
            for task in self.ask("GET", "/api/team")["disputed"]:
                assert len(task["votes"]) > 1
                self.answer("judge", task["image"])
            time.sleep(0.1)
        self.line.close()
        return self

    def answer(self, tab: str, image: int) -> None:
        label = self.label(self.name, image)
        told = [{"image": image, "label": label, "seconds": 0.1}]
        body = {"key": uuid.uuid4().hex, "tab": tab, "answers": told}
        reply = self.post("/api/answers", body)
        (accepted,) = reply["accepted"]
        assert accepted["image"] == image
        if len(self.told) % 10 == 0:  # as if the reply had been lost
            assert self.post("/api/answers", body)["accepted"] == [accepted]
        self.told[image] = label
        self.outcomes.append(accepted["outcome"])


def together(*works: Callable[[], Member]) -> list[Member]:
    """Let everybody work at once."""
    with ThreadPoolExecutor(len(works)) as threads:
        return [work.result() for work in [threads.submit(work) for work in works]]
