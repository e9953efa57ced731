"""The worker: a process beside the desk that trains, chooses the next images, and tells how far it is.

It speaks with the desk's process through a pipe, and through the record, where what it chooses goes. Killed at any
moment, it is started again and goes on.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asal.errors import BusyError, UserError
from asal.labelling.scheduling import BatchRequest, Throughput, wanted
from asal.project.spec import Spec
from asal.runtime import artifacts

if TYPE_CHECKING:  # the desk's process, which starts the worker, needs no torch
    from asal.labelling.worker_session import WorkerSession

RUSH = 0.1  # seconds in which answers come together: each look at a large record costs milliseconds
LOOK = 1.0  # seconds after which the record is looked at, should nobody have said that something was written


@dataclass(frozen=True)
class WorkerConfig:
    """What a worker is to work on. Everything in it travels between processes."""

    root: Path
    spec: Spec
    strategy: str
    seed: int = 0
    threads: int | None = None

    @property
    def commit(self) -> str | None:
        """Of asal's source tree; goes into every row."""
        from asal.runtime import environment

        found: str | None = environment.facts()["commit"]
        return found


def work(order: WorkerConfig, line: Connection) -> None:
    """Keep the next images coming until the other end of the line is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that serves people
    try:
        _work(order, line)
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return  # nobody listens any more
    except UserError as error:
        line.send(("failed", {"rule": error.rule, "got": error.got, "hint": error.hint}))
    except Exception as error:
        got = f"{type(error).__name__}: {error}"
        rule, hint = "the worker chooses what comes next", "see where with `asal --debug label …`, and report it"
        line.send(("failed", {"rule": rule, "got": got, "hint": hint}))
        raise


def _work(order: WorkerConfig, line: Connection) -> None:
    from asal.labelling.worker_session import WorkerSession

    if order.threads:
        import torch

        torch.set_num_threads(order.threads)
    with _alone(order.root / "labelling", line):
        telling = WorkerSession(order, line)
        pace = Throughput(order.spec.labelling.pace == "strict")
        telling.began()
        while True:
            state = telling.session.refresh()
            due = wanted(state, order.spec.protocol, pace, telling.session.left)
            if due is None:
                telling.resting(state)
                pace.rate = _heard(line, pace.rate)
            else:
                _ask(telling, due, pace)


def _ask(telling: WorkerSession, due: BatchRequest, pace: Throughput) -> None:
    """Choose and train, and time both; where another process was faster, look again."""
    session, begun = telling.session, time.monotonic()
    try:
        telling.choosing(due)
        if due.ahead:
            session.ask_ahead(due.n, topped=due.topped)
        else:
            session.ask(due.n)
    except BusyError:
        return  # answers came, or were taken back, in between
    if not due.topped and session.state.rounds[-1].because is None:  # a first batch, chosen untrained, says nothing
        pace.seconds = time.monotonic() - begun
    telling.chosen()


@contextmanager
def _alone(folder: Path, line: Connection) -> Iterator[None]:
    """Wait until no other worker is at work in the project: one that lost its desk still ends what it began."""
    with ExitStack() as held:
        while True:
            try:
                held.enter_context(artifacts.exclusive(folder))
                break
            except BusyError:
                line.send(("doing", {"stage": "waiting", "note": "another process trains for this project"}))
                _heard(line, 0.0)
        yield  # outside: a busy record is another thing


def _heard(line: Connection, rate: float) -> float:
    """Wait for a sign that something was written; return how many answers come in a second by now."""
    until = time.monotonic() + LOOK
    heard = False
    while line.poll(max(0.0, until - time.monotonic())):
        said: Any = line.recv()
        if not heard:
            time.sleep(RUSH)
        rate, until, heard = float(said), 0.0, True  # take in whatever else was said, then look
    if heard:
        line.send(("heard", None))
    return rate
