"""Many runs at once: one process each, with a fixed number of threads of its own."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import traceback
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.queues import Queue
from pathlib import Path
from typing import Any, TypeAlias

from asal import artifacts, machine
from asal.build import Project
from asal.check import check
from asal.errors import UserError
from asal.exam import Supervised, add_reference, references
from asal.experiment import Job, begin
from asal.progress import Watch

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")

Task: TypeAlias = Job | Supervised

_told: Queue[Any] | None = None  # in a worker: where its progress goes


def compare(
    project: Project, strategies: Sequence[str], seeds: Sequence[int], out: Path, at_once: int, threads: int = 1
) -> None:
    """Do every run of strategies × seeds into `out`, preparing what they need; called again, it goes on.

    Whatever can be refused is refused before anything is trained. Two comparisons do not share a folder.
    """
    names = list(dict.fromkeys(strategies))
    check(project.spec, names)
    if out.resolve() == project.root.resolve():  # both are locked: this process would wait for itself
        raise UserError(
            "a run's folder is not its project's",
            came=f"{out} for both",
            remedy="choose another folder with --out",
        )
    with artifacts.alone(out):
        project.ingest()
        begin(project, names, seeds, out, threads)
        project.prepare(names)
        commit = machine.commit()
        jobs = [Job(project.root, project.spec, name, seed, out, commit) for seed in seeds for name in names]
        run_all(references(project, out), at_once, project.watch, threads)
        add_reference(out)
        run_all(jobs, at_once, project.watch, threads)


def run_all(jobs: Sequence[Task], at_once: int, watch: Watch, threads: int = 1) -> None:
    """Do every run, `at_once` of them side by side; what is done already costs a second.

    Args:
        threads: of each run. Sums are split by it, so it bears on the last bit of a result; `at_once` does not.

    Raises:
        UserError: the first one that a run raised, when the runs beside it have ended.
    """
    context = multiprocessing.get_context("spawn")
    told: Queue[Any] = context.Queue()
    before = {name: os.environ.get(name) for name in THREAD_VARIABLES}
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, str(threads)))  # read by a library when a worker loads it
    try:
        with ProcessPoolExecutor(at_once, context, _settle, (threads, told)) as workers, _listening(told, watch):
            others = multiprocessing.active_children()
            with _deaf():
                futures = {workers.submit(_work, job): job for job in jobs}
            try:
                _follow(futures, watch)
            except KeyboardInterrupt:  # a run resumes from its record: ending it here loses a round at most
                for worker in set(multiprocessing.active_children()) - set(others):
                    worker.kill()
                raise
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


@contextmanager
def _deaf() -> Iterator[None]:
    """Make processes that are started in here ignore Ctrl-C, which reaches a whole terminal: their parent ends them."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread can be interrupted, and only there may it be changed
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def _listening(told: Queue[Any], watch: Watch) -> Iterator[None]:
    """Pass on what workers tell, in a thread of its own: one killed in the middle of a word must not hold us up."""

    def listen() -> None:
        while (said := told.get()) is not None:
            watch(*said)

    listener = threading.Thread(target=listen, daemon=True)
    listener.start()
    try:
        yield
    finally:
        told.put(None)
        listener.join(timeout=1)
        told.cancel_join_thread()


def _follow(futures: dict[Future[str], Task], watch: Watch) -> None:
    failed: BaseException | None = None
    pending = set(futures)
    while pending:
        done, pending = wait(pending, return_when=FIRST_COMPLETED)
        for future in done:
            if future.cancelled():
                continue
            if error := future.exception():
                failed = failed or error
            else:  # its own last words may still be on their way
                task = futures[future]
                watch(task.name, task.size, task.size, future.result())
        if failed:
            for future in pending:
                future.cancel()
    if isinstance(failed, BrokenProcessPool):
        raise UserError(
            "a run's process lives until the run ends",
            came="one was killed, perhaps for want of memory",
            remedy="run the same command again, with fewer --jobs if memory is short: it resumes",
        ) from None
    if failed:
        raise failed


def _settle(threads: int, told: Queue[Any]) -> None:
    """Make a worker ready: its threads, its way to tell, and its end when its parent ends."""
    global _told  # noqa: PLW0603  the one way to hand a pool's worker something
    import torch

    _told = told
    torch.set_num_threads(threads)
    torch.set_num_interop_threads(1)
    threading.Thread(target=_die_with_parent, daemon=True).start()


def _die_with_parent() -> None:
    """Without this, runs would outlive a killed command and hold their folders against the next one."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _work(job: Task) -> str:
    def tell(stage: str, done: int, total: int, note: str = "") -> None:
        if _told is not None:
            _told.put((stage, done, total, note))

    try:
        return job.do(tell)
    except UserError:
        raise
    except Exception as error:  # its traceback does not travel otherwise
        raise RuntimeError(f"run '{job.name}' failed:\n{traceback.format_exc()}") from error
