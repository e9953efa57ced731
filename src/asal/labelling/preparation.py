"""Preparing a project while people label: a process beside the worker, which makes what the strategy needs.

Killed at any moment, the next one goes on where it was, as `asal prepare` does. It ends with the worker.
"""

from __future__ import annotations

import importlib
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from typing import TYPE_CHECKING, Any

import numpy as np

from asal.core import Features, Round, Selection
from asal.data.ingest import IngestContext
from asal.errors import BusyError, UserError
from asal.labelling.background import Background
from asal.labelling.messages import Activity, Failed, FromPreparation, Prepared, Sampled, TakenIn
from asal.project.folder import ProjectFolder
from asal.project.images import source_of, take_in
from asal.runtime import artifacts
from asal.runtime.engine import InProcess
from asal.runtime.engine.local import Local
from asal.runtime.environment import cores
from asal.runtime.progress import Progress
from asal.runtime.rng import stream
from asal.session.proposals import Meanwhile
from asal.strategies.typiclust import typical_of

if TYPE_CHECKING:
    from asal.labelling.worker import WorkerConfig
    from asal.project.project import Project
    from asal.session.session import Session

# Images drawn at random, of which the first ones to label are typical: a few seconds of a small backbone.
SAMPLES = (128, 256)
MANY = 20_000  # images, from which on starting several processes pays
PAUSE = 1.0  # seconds until a folder that another process holds is tried again
PATIENCE = 5.0  # seconds in which it ends by itself
BEHIND = 5  # steps of priority
OFTEN = 0.2  # seconds between two reports


def prepare(config: WorkerConfig, connection: Connection) -> None:
    """Take the images in, extract features of a few at random, then make all that the strategy needs."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that serves people
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that it ends its own processes, too
    threading.Thread(target=_end_with_worker, daemon=True).start()
    try:
        _prepare(config, connection)
    except (BrokenPipeError, ConnectionResetError, KeyboardInterrupt):
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
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(PATIENCE)
        os._exit(1)


def _prepare(config: WorkerConfig, connection: Connection) -> None:
    reporter, imports = _Reporter(connection), Background(_import)
    if not ProjectFolder(config.root, config.spec).has("pool"):  # torch, which takes seconds to import, is not needed
        _while_held(lambda: _take_in(config, reporter), connection)
    connection.send(TakenIn())
    imports.result()
    from asal.project import contact_sheet
    from asal.project.preparer import Preparer
    from asal.project.project import Project
    from asal.runtime.engine.choice import chosen

    if config.threads:
        import torch

        torch.set_num_threads(config.threads)
    project = Project(config.root, config.spec, progress=reporter)
    for sampled in samples(project, config.strategy):
        connection.send(sampled)
    project = Project(config.root, config.spec, progress=reporter, engine=chosen("local", config.threads or 0))
    if hasattr(os, "nice"):
        os.nice(BEHIND)  # what people wait for comes first
    preparer = Preparer(project)
    reporter.stage, reporter.left = "computing features", preparer.left
    _while_held(lambda: preparer.run([config.strategy]), connection)
    connection.send(Prepared())
    with suppress(UserError):
        contact_sheet.write(project)  # nobody waits for it


def _take_in(config: WorkerConfig, progress: Progress) -> None:
    images = sum(source_of(config.root, config.spec.source).splits.values())
    engine = Local(cores(), threads=1) if images > MANY else InProcess()
    with artifacts.exclusive(config.root):
        take_in(config.root, config.spec, IngestContext(engine, progress))


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
        self.left: Callable[[], float | None] | None = None  # seconds until all is done, of all steps
        self._begun: tuple[str, int, float] = ("", 0, time.time())  # a step's name, what was done then, and when

    def __call__(self, stage: str, done: int, total: int, note: str = "") -> None:
        now = time.time()
        if stage != self._begun[0] or done < self._begun[1]:
            self._begun, self._last = (stage, done, now), 0.0
        if now - self._last < OFTEN and done < total:
            return
        self._last = now
        left = self._left_of_stage(now, done, total) if self.left is None else self.left()
        text = "; ".join(filter(None, (stage, note)))
        ends = None if left is None else now + left
        self._connection.send(Activity(self.stage, done, total, text, self._begun[2], ends=ends))

    def _left_of_stage(self, now: float, done: int, total: int) -> float | None:
        _, first, begun = self._begun
        if done <= first or now - begun < 2 * OFTEN:
            return None
        return (now - begun) / (done - first) * (total - done)


def samples(project: Project, strategy: str) -> Iterator[Sampled]:
    """Yield features of images drawn at random, in the space that the strategy or the classifier works in: ever more.

    One without images where there is no such space, or its extractor has to be trained first, which takes minutes.
    """
    name = space_of(project, strategy)
    table = project.spec.features.get(name)
    step = None if table is None else project.parts.extractor(table)
    if table is None or step is None or (step.status != "there" and step.work.passes):
        yield Sampled()
        return
    step.make()
    extractor, images = project.extractor(table), project.images_for(table)
    ids = stream(project.spec.seed, "typical sample").permutation(len(images))[: SAMPLES[-1]].astype(np.int64)
    vectors = np.empty((0, extractor.dim), np.float32)
    for size in SAMPLES:
        if len(vectors) < len(ids):
            more: Features = extractor(images.read(ids[len(vectors) : size]))
            vectors = np.concatenate([vectors, more])
            yield Sampled(ids[: len(vectors)], vectors)


def _import() -> None:
    """Import what computes features, while images are decoded."""
    for module in ("asal.project.preparer", "asal.project.project", "asal.runtime.engine.choice"):
        importlib.import_module(module)


def space_of(project: Project, strategy: str) -> str:
    """Return the space of stored features that a strategy chooses in; "" where it needs none."""
    from asal.project.parts import needs_generator, of_classifier
    from asal.project.validate import learner_space

    strategy_ = project.validate([strategy]).strategies[strategy]
    for name in (strategy_.first_space, strategy_.space, learner_space(project.spec)):
        table = project.spec.features.get(name)
        if table is not None and not of_classifier(table) and not needs_generator(table):
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

    def __enter__(self) -> Preparation:
        return self

    def __exit__(self, *_: object) -> None:
        """End the process, whatever it does: what it has written stays."""
        if self._process is not None and self._process.is_alive():
            self._process.terminate()
            self._process.join(PATIENCE)
            self._process.kill()

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

    @property
    def connections(self) -> list[Connection]:
        """What has something to read when it has said something."""
        return [] if self._connection is None else [self._connection]

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


def typical(sampled: Sampled, session: Session, n: int, why: str) -> Meanwhile | None:
    """Return what chooses typical images of a sample; None where fewer than n of it were never asked."""
    touched = session.state.touched
    copies = session.copies.excluded(touched[touched < len(session.pool)])
    candidates = sampled.ids[~np.isin(sampled.ids, np.concatenate([touched, copies]))]
    if len(candidates) < n:
        return None
    known = np.intersect1d(sampled.ids, session.labelled)
    rows = {int(image): row for row, image in enumerate(sampled.ids)}
    vectors = sampled.vectors[[rows[int(image)] for image in (*known, *candidates)]]

    def chooser(now: Round, n: int, rng: np.random.Generator) -> Selection:
        return typical_of(candidates, vectors, n, rng)

    return Meanwhile(f"{why}; these are typical of {len(sampled.ids)} random ones", chooser, "typiclust")
