"""The worker as the desk sees it: killed, it is started again; failing, it says why; busy, it holds nobody up."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from asal.errors import UserError
from asal.labelling.annotators import Person
from asal.labelling.service import Answer, Desk
from asal.labelling.supervisor import UNHEARD, Office
from asal.labelling.worker import Order
from asal.project.spec import load
from asal.session.events import Record
from asal.session.oracles.stored import Stored

ADA = Person("Ada")


@contextmanager
def opened(root: Path, complain: Callable[[UserError], object] = lambda error: None) -> Iterator[tuple[Office, Desk]]:
    """Run a worker on a project, with the desk that it serves."""
    office = Office(Order(root, load(root), "uncertainty", threads=1), complain)
    with Record.open(root / "labels.db") as record:
        office.start()
        try:
            yield office, Desk(record, Stored.open(root / "pool").classes)
        finally:
            office.close()


def until(what: Callable[[], Any], seconds: float = 60) -> Any:
    """Return what is found, as soon as it is."""
    end = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < end
        time.sleep(0.02)
    return found


def answer(desk: Desk, root: Path, n: int) -> None:
    """Answer n of the open images, as they come."""
    know = Stored.open(root / "pool")
    for number in range(n):
        (task,) = until(lambda: desk.next(ADA, "tab", 1).tasks)
        label = int(know.answer(np.array([task.image]))[0])
        desk.tell(ADA, [Answer(task.image, label, 1.0)], f"{len(desk.state.keys)}-{number}-{task.image}")


def test_a_worker_that_is_killed_is_started_again_and_its_rows_come_once(tiny: Path) -> None:
    with opened(tiny) as (office, desk):
        answer(desk, tiny, 20)
        until(lambda: office.rows)
        first = office.pid
        assert first is not None
        os.kill(first, signal.SIGKILL)
        until(lambda: office.pid not in (None, first))
        answer(desk, tiny, 20)
        until(lambda: office.doing["stage"] == "finished")
        assert [row["labels"] for row in office.rows] == sorted({row["labels"] for row in office.rows})
        assert office.rows[-1]["last"] and office.rows[-1]["labels"] == 40
        assert len(office.stopping["criteria"]) >= 2 and office.stopping["advice"]
        open_once = desk.state.rounds[-1].ids[0]
        assert sum(office.guess(open_once) or [0.0]) > 0.99 and office.reason(open_once) is not None


def test_a_worker_that_cannot_work_says_so_and_tries_again(tiny: Path) -> None:
    heard: list[UserError] = []
    hidden = (tiny / "pool").rename(tiny / "hidden")
    (tiny / "pool").mkdir()
    office = Office(Order(tiny, load(tiny), "uncertainty", threads=1), heard.append)
    office.start()
    try:
        until(lambda: office.doing["stage"] == "failed")
        assert set(office.doing["error"]) == {"rule", "came", "remedy"} and "prepare" in heard[0].remedy
        (tiny / "pool").rmdir()
        hidden.rename(tiny / "pool")
        until(lambda: office.doing["stage"] == "waiting")
    finally:
        office.close()


def test_a_worker_that_does_not_listen_holds_nobody_up(tiny: Path) -> None:
    """A pipe holds some 60 kB: without a limit, whoever answers would be stopped by a long training."""
    with opened(tiny) as (office, desk):
        until(lambda: desk.next(ADA, "tab", 1).tasks)
        assert office.pid is not None
        os.kill(office.pid, signal.SIGSTOP)
        try:
            for _ in range(100 * UNHEARD):
                office.nudge(1.0)
        finally:
            os.kill(office.pid, signal.SIGCONT)
        answer(desk, tiny, 20)
        until(lambda: len(desk.refresh().rounds) > 1)
