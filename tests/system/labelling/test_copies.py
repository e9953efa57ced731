"""`labels.db` alone is a backup: copied every 50 ms while eight people answer and the server is killed."""

from __future__ import annotations

import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from support.http_clients import Bot, Served
from support.many_clients import CLASSES, project, tokens

from asal.labelling.exchange.export import records_of
from asal.project.folder import ProjectFolder
from asal.session.events import Record

NAMES = [f"Person {number}" for number in range(8)]
BEHIND = 2.0  # seconds that a copy may be behind
EVERY = 0.05
KILLS = 3


@dataclass
class Crowd:
    """Eight people who answer until they are told to stop, and when each answer was acknowledged."""

    served: Served
    keys: dict[str, str]
    over: threading.Event = field(default_factory=threading.Event)
    acknowledged: dict[int, tuple[str, int, float]] = field(default_factory=dict)

    def work(self, name: str) -> None:
        person = Bot(self.served.url, self.keys[name])
        while not self.over.is_set():
            for task in person.next(5):
                image = task["image"]
                person.answer((image, image % CLASSES))
                self.acknowledged[image] = (name, image % CLASSES, time.time())
                if self.over.is_set():
                    break

    def copy(self, root: Path, folder: Path) -> list[tuple[float, Path]]:
        """Copy the file alone, over and over; return when each copy was begun."""
        copies = []
        while not self.over.is_set():
            begun, path = time.time(), folder / f"{len(copies):05}.db"
            shutil.copyfile(root / "labels.db", path)
            copies.append((begun, path))
            time.sleep(EVERY)
        return copies


def test_a_copy_of_the_file_alone_is_never_empty_and_never_two_seconds_behind(tmp_path: Path) -> None:
    root, folder = project(tmp_path / "p", 8_000), tmp_path / "copies"
    folder.mkdir()
    keys = tokens(root, NAMES)
    with Served(root) as served, ThreadPoolExecutor(len(NAMES) + 1) as threads:
        crowd = Crowd(served, keys)
        copying = threads.submit(crowd.copy, root, folder)
        working = [threads.submit(crowd.work, name) for name in NAMES]
        for _ in range(KILLS):
            time.sleep(1.5)
            served.kill()
            time.sleep(BEHIND + 0.5)  # what the file lacks now, nobody takes into it
            served.start()
        time.sleep(1.5)
        crowd.over.set()
        copies = copying.result()
        for each in working:
            each.result()
    worst, sizes = 0.0, []
    for begun, path in copies:
        with Record.open(path) as record:
            events = record.read()
        answers = {event.image: (event.by, event.label) for event in events if event.kind == "answered"}
        sizes.append(len(answers))
        assert events[0].kind == "opened", "an empty copy"
        for image, (who, label, at) in crowd.acknowledged.items():
            if at < begun:
                assert answers.get(image, (who, label)) == (who, label)
                worst = worst if image in answers else max(worst, begun - at)
    print(f"{len(copies)} copies of {len(crowd.acknowledged):,} answers; the worst is {worst:.3f} s behind")
    assert len(copies) > 100 and sizes[-1] > 50
    assert sizes == sorted(sizes)
    assert worst < BEHIND
    check_project(root, copies[-1][1], sizes[-1])


def check_project(root: Path, copy: Path, answers: int) -> None:
    """Open a copy as the record of a project, as somebody who restores it does."""
    restored = root.with_name("restored")
    shutil.copytree(root, restored, ignore=shutil.ignore_patterns("labels.db*", ".lock"))
    shutil.copy(copy, restored / "labels.db")
    assert len(records_of(ProjectFolder.open(restored)).entries) == answers
