"""The worker: a process beside the server that trains, chooses the next images, and reports its progress.

It talks to the server's process through a pipe, and writes what it chooses into the record. Killed at any moment, it is
started again and goes on.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING

from asal.errors import BusyError, UserError
from asal.labelling.messages import Activity, CaughtUp, Failed, RecordChanged
from asal.labelling.scheduling import BatchRequest, Throughput, due_batch
from asal.project.spec import Spec
from asal.runtime import artifacts

if TYPE_CHECKING:  # the server's process, which starts the worker, needs no torch
    from asal.labelling.worker_session import WorkerSession

GATHER = 0.1  # seconds in which answers come together: each read of a large record costs milliseconds
POLL = 1.0  # seconds after which the record is read although no message came


@dataclass(frozen=True)
class WorkerConfig:
    """What a worker works on. It is pickled and sent to the worker's process."""

    root: Path
    spec: Spec
    strategy: str
    seed: int = 0
    threads: int | None = None

    @property
    def commit(self) -> str | None:
        """Of asal's source tree; goes into every row."""
        from asal.runtime import environment

        commit: str | None = environment.facts()["commit"]
        return commit


def work(config: WorkerConfig, connection: Connection) -> None:
    """Choose the next images whenever they are due, until the other end of the connection is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that serves people
    try:
        _work(config, connection)
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return  # the server is gone
    except UserError as error:
        connection.send(Failed(error))
    except Exception as error:
        got = f"the worker failed: {type(error).__name__}: {error}"
        connection.send(Failed(UserError(got, hint="see where with `asal --debug label …`, and report it")))
        raise


def _work(config: WorkerConfig, connection: Connection) -> None:
    from asal.labelling.worker_session import WorkerSession

    if config.threads:
        import torch

        torch.set_num_threads(config.threads)
    with _only_worker(config.root / "labelling", connection):
        worker = WorkerSession(config, connection)
        throughput = Throughput(config.spec.labelling.pace == "strict")
        worker.report_start()
        while True:
            state = worker.session.refresh()
            due = due_batch(state, config.spec.protocol, throughput, worker.session.left)
            if due is None:
                worker.idle(state)
                throughput.rate = _wait_for_changes(connection, throughput.rate)
            else:
                _choose(worker, due, throughput)


def _choose(worker: WorkerSession, due: BatchRequest, throughput: Throughput) -> None:
    """Train and choose, and time both; where another process has written in between, return without a batch."""
    session, started = worker.session, time.monotonic()
    try:
        worker.train(due)
        if due.ahead:
            session.ask_ahead(due.n, topped=due.topped)
        else:
            session.ask(due.n)
    except BusyError:
        return
    # A first batch, chosen without a classifier, does not show how long training takes.
    if not due.topped and session.state.rounds[-1].fallback_reason is None:
        throughput.seconds = time.monotonic() - started
    worker.report_batch()


@contextmanager
def _only_worker(folder: Path, connection: Connection) -> Iterator[None]:
    """Wait until no other worker is at work in the project: one whose server was killed finishes its step first."""
    with ExitStack() as held:
        while True:
            try:
                held.enter_context(artifacts.exclusive(folder))
                break
            except BusyError:
                connection.send(Activity("waiting", note="another process trains for this project"))
                _wait_for_changes(connection, 0.0)
        yield  # outside the try: a busy record is not another worker


def _wait_for_changes(connection: Connection, rate: float) -> float:
    """Wait until something was written, or for `POLL`; return how many answers come in a second by now."""
    until = time.monotonic() + POLL
    received = False
    while connection.poll(max(0.0, until - time.monotonic())):
        message: RecordChanged = connection.recv()
        if not received:
            time.sleep(GATHER)
        rate, until, received = message.rate, 0.0, True  # read all that was sent, then look at the record
    if received:
        connection.send(CaughtUp())
    return rate
