"""Many people at once: a project whose images cost nothing to choose, and clients that answer as fast as they can."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import numpy as np
from people import Served

from asal.events import Record
from asal.labelling.people import People

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
    from asal.build import Project
    from asal.report import toml
    from asal.spec import load

    root.mkdir()
    rng, file, there = np.random.default_rng(0), root / "images.npz", images + 10
    pixels, labels = rng.integers(256, size=(there, 4, 4), dtype=np.uint8), rng.integers(CLASSES, size=there)
    np.savez(file, images=pixels, labels=labels)
    (root / "asal.toml").write_text(SPEC.format(path=file, images=images) + toml(labelling))
    made = Project(root, load(root))
    made.prepare()
    session = made.session("random")
    session.ask(images)
    session.record.close()
    return root


def tokens(root: Path, names: list[str], role: str = "annotator") -> dict[str, str]:
    """Add people; return their tokens."""
    from asal.spec import load

    with Record.open(load(root).labelling.place(root)) as record:
        people = People(record)
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
        self.line = HTTPConnection("127.0.0.1", self.served.port, timeout=60)  # an eighth of httpx's time

    def post(self, path: str, body: dict[str, Any]) -> Any:
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        self.line.request("POST", path, json.dumps(body), headers)
        reply = self.line.getresponse()
        text = reply.read()
        assert reply.status == 200, text
        return json.loads(text)

    def work(self, most: int) -> Member:
        """Answer until there is nothing more to be had, or so many are answered."""
        tab, queue = uuid.uuid4().hex, []
        while len(self.told) < most:
            if not queue:
                came = self.post("/api/next", {"tab": tab, "n": min(HELD, most - len(self.told)), "have": queue})
                queue = [task["image"] for task in came["tasks"]]
                self.given += queue
                if not queue and came["waiting"]["open"] == came["waiting"]["others"] == 0:
                    break
                if not queue and self.idle(came):
                    break
                continue
            self.answer(tab, queue.pop(0))
        self.line.close()
        return self

    def idle(self, came: dict[str, Any]) -> bool:
        """Say whether what is open is closed to this person for good: they have answered it."""
        return bool(came["waiting"]["open"]) and self.post("/api/next", {"tab": "idle", "n": 1})["tasks"] == []

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


def together(members: list[Member], most: int) -> list[Member]:
    """Let everybody work at once."""
    with ThreadPoolExecutor(len(members)) as threads:
        return list(threads.map(lambda one: one.work(most), members))
