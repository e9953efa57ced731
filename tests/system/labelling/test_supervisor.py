"""The worker as the desk sees it: killed, it is started again; failing, it says why; busy, it holds nobody up."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from support.http_clients import PATIENCE

from asal.errors import UserError
from asal.labelling.annotators import Annotator
from asal.labelling.service import AnnotationService, Answer
from asal.labelling.supervisor import MAX_UNREAD, WorkerSupervisor
from asal.labelling.worker import WorkerConfig
from asal.project.spec import load
from asal.session.events import Record
from asal.session.oracles.stored import Stored

ADA = Annotator("Ada")


@contextmanager
def opened(
    root: Path, on_error: Callable[[UserError], object] = lambda error: None
) -> Iterator[tuple[WorkerSupervisor, AnnotationService]]:
    """Run a worker on a project, with the desk that it serves."""
    supervisor = WorkerSupervisor(WorkerConfig(root, load(root), "uncertainty", threads=1), on_error)
    with Record.open(root / "labels.db") as record:
        supervisor.start()
        try:
            yield supervisor, AnnotationService(record, Stored.open(root / "pool").classes)
        finally:
            supervisor.close()


def until(what: Callable[[], Any], seconds: float = PATIENCE) -> Any:
    """Return what is found, as soon as it is."""
    end = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < end
        time.sleep(0.02)
    return found


def answer(service: AnnotationService, root: Path, n: int) -> None:
    """Answer n of the open images, as they come."""
    know = Stored.open(root / "pool")
    for number in range(n):
        (task,) = until(lambda: service.next(ADA, "tab", 1).tasks)
        label = int(know.answer(np.array([task.image]))[0])
        service.tell(ADA, [Answer(task.image, label, 1.0)], f"{len(service.state.keys)}-{number}-{task.image}")


def test_a_worker_that_is_killed_is_started_again_and_its_rows_come_once(tiny: Path) -> None:
    with opened(tiny) as (supervisor, service):
        answer(service, tiny, 20)
        until(lambda: supervisor.rows)
        first = supervisor.pid
        assert first is not None
        os.kill(first, signal.SIGKILL)
        until(lambda: supervisor.pid not in (None, first))
        answer(service, tiny, 20)
        until(lambda: supervisor.activity.stage == "finished")
        assert [row.labels for row in supervisor.rows] == sorted({row.labels for row in supervisor.rows})
        assert supervisor.rows[-1].last and supervisor.rows[-1].labels == 40
        assert len(supervisor.stopping.verdicts) >= 2 and supervisor.stopping.advice
        open_once = service.state.rounds[-1].ids[0]
        assert sum(supervisor.guess(open_once) or [0.0]) > 0.99 and supervisor.reason(open_once) is not None


def test_a_worker_that_cannot_work_says_so_and_tries_again(tiny: Path) -> None:
    heard: list[UserError] = []
    hidden = (tiny / "pool").rename(tiny / "hidden")
    (tiny / "pool").mkdir()
    (tiny / "pool" / "mine.txt").write_text("not asal's")
    supervisor = WorkerSupervisor(WorkerConfig(tiny, load(tiny), "uncertainty", threads=1), heard.append)
    supervisor.start()
    try:
        until(lambda: supervisor.activity.stage == "failed")
        assert set(supervisor.activity.to_json()["error"]) == {"rule", "got", "hint"}
        assert "move it away" in heard[0].hint
        shutil.rmtree(tiny / "pool")
        hidden.rename(tiny / "pool")
        until(lambda: supervisor.activity.stage == "waiting")
    finally:
        supervisor.close()


def test_a_worker_that_does_not_listen_holds_nobody_up(tiny: Path) -> None:
    """A pipe holds some 60 kB: without a limit, whoever answers would be stopped by a long training."""
    with opened(tiny) as (supervisor, service):
        until(lambda: service.next(ADA, "tab", 1).tasks)
        assert supervisor.pid is not None
        os.kill(supervisor.pid, signal.SIGSTOP)
        try:
            for _ in range(100 * MAX_UNREAD):
                supervisor.notify(1.0)
        finally:
            os.kill(supervisor.pid, signal.SIGCONT)
        answer(service, tiny, 20)
        until(lambda: len(service.refresh().rounds) > 1)
