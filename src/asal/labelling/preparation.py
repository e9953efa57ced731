"""Preparing a project while people label: a process beside the worker, which makes what the strategy needs.

Killed at any moment, the next one goes on where it was, as `asal prepare` does. It ends with the worker.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import TYPE_CHECKING, Any

from asal.core import Features, Ids
from asal.errors import BusyError, UserError
from asal.labelling.messages import Activity, Failed, FromPreparation, Prepared, Sampled, TakenIn
from asal.runtime.rng import stream

if TYPE_CHECKING:
    from asal.labelling.worker import WorkerConfig
    from asal.project.project import Project

SAMPLE = 256  # images drawn at random, of which the first ones to label are typical: a few seconds of a small backbone
PAUSE = 1.0  # seconds until a folder that another process holds is tried again
OFTEN = 0.2  # seconds between two reports


def prepare(config: WorkerConfig, connection: Connection) -> None:
    """Take the images in, extract features of a few at random, then make all that the strategy needs."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that serves people
    threading.Thread(target=_end_with_worker, daemon=True).start()
    try:
        _prepare(config, connection)
    except (BrokenPipeError, ConnectionResetError):
        return  # the worker is gone
    except UserError as error:
        connection.send(Failed(error))
    except Exception as error:
        got = f"preparing failed: {type(error).__name__}: {error}"
        connection.send(Failed(UserError(got, hint="see where with `asal --debug prepare …`, and report it")))
        raise


def _end_with_worker() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _prepare(config: WorkerConfig, connection: Connection) -> None:
    from asal.project.preparer import Preparer
    from asal.project.project import Project
    from asal.runtime.engine.choice import chosen

    if config.threads:
        import torch

        torch.set_num_threads(config.threads)
    reporter = _Reporter(connection)
    project = Project(config.root, config.spec, progress=reporter)
    if not project.folder.has("pool"):
        _while_held(Preparer(project).ingest, connection)
    connection.send(TakenIn())
    connection.send(_while_held(lambda: sample(project, config.strategy), connection))
    reporter.stage = "computing features"
    project = Project(config.root, config.spec, progress=reporter, engine=chosen("local", config.threads or 0))
    _while_held(lambda: Preparer(project).run([config.strategy]), connection)
    connection.send(Prepared())


def _while_held(do: Any, connection: Connection) -> Any:
    """Do something in the project's folder as soon as no other process works there."""
    while True:
        try:
            return do()
        except BusyError:
            connection.send(Activity("waiting", note="another process prepares this project"))
            time.sleep(PAUSE)


class _Reporter:
    """Sends the progress of a project's steps as activities: at most a few a second."""

    def __init__(self, connection: Connection) -> None:
        self._connection, self.stage, self._last = connection, "taking in images", 0.0
        self._begun: tuple[str, int, float] = ("", 0, time.time())  # a step's name, what was done then, and when

    def __call__(self, stage: str, done: int, total: int, note: str = "") -> None:
        now = time.time()
        if stage != self._begun[0] or done < self._begun[1]:
            self._begun, self._last = (stage, done, now), 0.0
        if now - self._last < OFTEN and done < total:
            return
        self._last = now
        _, first, begun = self._begun
        left = (now - begun) / (done - first) * (total - done) if done > first else None
        ends = None if left is None or now - begun < 2 * OFTEN else now + left
        text = f"{stage}; {note}" if note else stage
        self._connection.send(Activity(self.stage, done, total, text, begun, ends=ends))


def sample(project: Project, strategy: str) -> Sampled:
    """Return features of images drawn at random, in the space that the strategy or the classifier works in.

    None where there is no such space, or its extractor has to be trained first, which takes minutes.
    """
    name = space_of(project, strategy)
    if not name:
        return Sampled()
    table = project.spec.features[name]
    step = project.parts.extractor(table)
    if step.status != "there":
        if step.work.units:
            return Sampled()
        step.make()
    extractor = project.extractor(table)
    pool = project.original
    rng = stream(project.spec.seed, "typical sample")
    ids = rng.permutation(len(pool))[:SAMPLE].astype("int64")
    vectors: Features = extractor(pool.read(ids))
    return Sampled(ids, vectors)


def space_of(project: Project, strategy: str) -> str:
    """Return the space of stored features that a strategy chooses in; "" where it needs none."""
    from asal.project.parts import needs_generator, of_classifier

    validated = project.validate([strategy]).strategies[strategy]
    for name in (validated.first_space, validated.space):
        if name and not of_classifier(project.spec.features[name]) and not needs_generator(project.spec.features[name]):
            return name
    return ""


class Preparation:
    """The process as its worker sees it: started where something is missing, and listened to."""

    def __init__(self, config: WorkerConfig) -> None:
        self._config = config
        self._process: SpawnProcess | None = None
        self._connection: Connection | None = None
        self.taken_in = self.over = False
        self.sampled: Sampled | None = None  # None as long as it may come
        self.activity: Activity | None = None

    def start(self) -> None:
        """Start the process."""
        context = multiprocessing.get_context("spawn")
        here, there = context.Pipe()
        self._process = context.Process(target=prepare, args=(self._config, there), name="asal preparation")
        self._process.start()
        there.close()
        self._connection = here

    @property
    def under_way(self) -> bool:
        """Whether it was started and is not over."""
        return self._connection is not None and not self.over

    def wait(self, *others: Connection, seconds: float) -> None:
        """Wait until it has said something, or one of the other connections has."""
        wait([*others, *filter(None, [self._connection])], seconds)

    def read(self) -> Activity | None:
        """Take what it has said; return its newest activity, if there is one.

        Raises:
            UserError: it failed, or was killed.
        """
        newest, connection = None, self._connection
        while connection is not None and connection.poll():
            try:
                message: FromPreparation = connection.recv()
            except (EOFError, OSError):
                self._ended()
                return None
            match message:
                case Activity():
                    newest = self.activity = message
                case Failed(error):
                    raise error
                case TakenIn():
                    self.taken_in = True
                case Sampled():
                    self.sampled = message
                case Prepared():
                    self.over = True
        return newest

    def _ended(self) -> None:
        assert self._connection is not None and self._process is not None
        self._connection.close()
        self._connection = None
        self._process.join(5)
        if not self.over:
            raise UserError(
                "the process that prepares the project was killed, perhaps because memory ran out",
                hint="it is started again by itself, and goes on where it was; close other programs",
            )

    def sample_of(self, ids: Ids) -> Features:
        """Return the features (n, d) of images of the sample, by their ids."""
        assert self.sampled is not None
        order = self.sampled.ids.argsort()
        return self.sampled.vectors[order[self.sampled.ids[order].searchsorted(ids)]]
