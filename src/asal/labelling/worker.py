"""The worker: a process beside the server that prepares, trains, chooses the next images, and reports its progress.

It talks to the server's process through a pipe, and writes what it chooses into the record. Killed at any moment, it is
started again and goes on. Long work is done beside the loop that hands images out: preparing by another process,
training and choosing by a thread.
"""

from __future__ import annotations

import importlib
import os
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING

from asal.errors import BusyError, UserError
from asal.labelling.background import Background
from asal.labelling.line import Line
from asal.labelling.messages import Activity, Failed, Sampled, TakenIn
from asal.labelling.preparation import Preparation, typical
from asal.labelling.scheduling import FEW, BatchRequest, Throughput, due_batch, due_meanwhile, possible, trainable
from asal.project.folder import ProjectFolder
from asal.project.spec import Spec
from asal.runtime import artifacts
from asal.session.proposals import Meanwhile

if TYPE_CHECKING:  # the server's process, which starts the worker, needs no torch
    from asal.labelling.worker_session import WorkerSession
    from asal.session.proposals import Proposal
    from asal.session.state import State

SAMPLE_WAIT = 8.0  # seconds that the first images wait for a sample of features, of which typical ones are taken
TRAINING = "the classifier is being trained"
COMPUTING = "features are still being computed"


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
        _work(config, Line(connection))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        os._exit(0)  # the server is gone: a training that is under way in a thread is not waited for
    except UserError as error:
        connection.send(Failed(error))
    except Exception as error:
        got = f"the worker failed: {type(error).__name__}: {error}"
        connection.send(Failed(UserError(got, hint="see where with `asal --debug label …`, and report it")))
        raise


def _work(config: WorkerConfig, line: Line) -> None:
    if config.threads:
        import torch

        torch.set_num_threads(config.threads)
    with _only_worker(config.root / "labelling", line), Preparation(config) as preparation:
        if not ProjectFolder(config.root, config.spec).has("pool"):
            preparation.start()
            imports = Background(_import)
            while not (preparation.taken_in and imports.over):
                line.wait(*preparation.connections, *([] if imports.over else [imports.connection]))
                line.pass_on(preparation.read())
            imports.result()
        line.send(TakenIn())
        from asal.labelling.worker_session import WorkerSession

        loop = Loop(WorkerSession(config, line), line, preparation, Throughput(config.spec.labelling.pace == "strict"))
        loop.begin()
        while True:
            if not loop.step():
                loop.wait()


def _import() -> None:
    """Import what the session needs, which takes seconds, and what typical images are found with."""
    for module in ("asal.labelling.worker_session", "sklearn.cluster", "sklearn.neighbors"):
        importlib.import_module(module)


@dataclass
class Loop:
    """Hands images out, again and again: chosen by the classifier, or while that is not possible without it."""

    at: WorkerSession
    line: Line
    preparation: Preparation
    throughput: Throughput
    began: float = field(default_factory=time.monotonic)
    job: Background | None = None
    ready: bool = False  # whether all that the strategy needs is there

    def begin(self) -> None:
        """Report what is there already, and start what is to be done first."""
        if not self.preparation.under_way and self.at.missing:
            self.preparation.start()
        self.at.report_start()
        self._get_ready()

    def _get_ready(self) -> None:
        """Open what the strategy needs, once it is there."""
        if self.preparation.under_way:
            return
        self.at.open_tools()
        self.at.remember()
        self.ready = True
        if (batch := self.at.unevaluated()) is not None:
            self.job = Background(lambda: self.at.evaluate(batch))

    def step(self) -> bool:
        """Do what is due; return whether anything was."""
        state = self.at.session.refresh()
        if not self.ready:
            self.line.pass_on(self.preparation.read())
            if self.preparation.over:
                self._get_ready()
                return True
            return self._ask_without_features(state)
        if self.job is not None:
            return self._finish(self.job) if self.job.over else self._keep_busy(state, self.job)
        due = due_batch(state, self.at.project.spec.protocol, self.throughput, self.at.session.left)
        if due is not None:
            self._choose(due, state)
            return True
        if self.at.lacks_last_row(state):
            self.job = Background(lambda: self.at.make_last_row(state))
            return True
        self.at.report_idle(state)
        return False

    def _choose(self, due: BatchRequest, state: State) -> None:
        """Choose a batch: in a thread, where a classifier is trained for it."""
        if self.throughput.strict or not trainable(state):
            choose_now(self.at, due, self.throughput)
            return
        expected = self.throughput.seconds if self.throughput.timed else None
        self.job = Background(lambda: self.at.proposed(state.seq, due.n, expected))

    def _finish(self, job: Background) -> bool:
        """Ask what was chosen in the thread, and have its classifier evaluated there."""
        self.job, proposal = None, job.result()
        if proposal is None:
            return True
        self.throughput.took(job.seconds)
        self._ask(proposal)
        return True

    def _ask(self, proposal: Proposal) -> None:
        session = self.at.session
        most = possible(session.refresh(), self.at.project.spec.protocol, session.left)
        try:
            batch = self.at.ask_proposed(proposal, most) if most > 0 else None
        except BusyError:
            return
        if batch is not None:
            self.job = Background(lambda: self.at.evaluate(batch))

    def _keep_busy(self, state: State, job: Background) -> bool:
        """Hand images out while something takes long in the thread."""
        if not self.throughput.is_long(job.elapsed):
            return False
        return self._ask_meanwhile(state, None)

    def _ask_without_features(self, state: State) -> bool:
        """Hand images out while features are computed: typical ones of a sample, as long as there are enough."""
        preparation = self.preparation
        if self.throughput.strict:
            return False
        if preparation.sampled is None and not state.rounds and time.monotonic() - self.began < SAMPLE_WAIT:
            return False
        return self._ask_meanwhile(state, preparation.sampled)

    def _ask_meanwhile(self, state: State, sampled: Sampled | None) -> bool:
        session = self.at.session
        n = due_meanwhile(state, self.at.project.spec.protocol, self.throughput, session.left)
        if not n:
            return False
        if not self.ready and sampled is None:
            n = min(n, 2 * FEW)  # typical ones come soon
        chooser = Meanwhile(COMPUTING) if not self.ready else None
        if sampled is not None:
            chooser = typical(sampled, session, n, COMPUTING) or chooser
        try:
            self.at.ask_meanwhile(n, TRAINING, chooser)
        except BusyError:
            return False
        return True

    def wait(self) -> None:
        """Wait until there may be something to do."""
        connections = [*self.preparation.connections, *([self.job.connection] if self.job else [])]
        self.throughput.rate = self.line.wait_for_changes(self.throughput.rate, *connections)


def choose_now(at: WorkerSession, due: BatchRequest, throughput: Throughput) -> None:
    """Train and choose, and time both; where another process has written in between, return without a batch."""
    session, started = at.session, time.monotonic()
    try:
        at.train(due)
        if due.ahead:
            session.ask_ahead(due.n)
        else:
            session.ask(due.n)
    except BusyError:
        return
    # A first batch, chosen without a classifier, does not show how long training takes.
    if session.state.rounds[-1].fallback_reason is None:
        throughput.took(time.monotonic() - started)
    at.report_batch()


@contextmanager
def _only_worker(folder: Path, line: Line) -> Iterator[None]:
    """Wait until no other worker is at work in the project: one whose server was killed finishes its step first."""
    with ExitStack() as held:
        while True:
            try:
                held.enter_context(artifacts.exclusive(folder))
                break
            except BusyError:
                line.send(Activity("waiting", note="another process trains for this project"))
                line.wait_for_changes(0.0)
        yield  # outside the try: a busy record is not another worker
