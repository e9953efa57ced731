"""Processes of this machine, each with a fixed number of threads of its own."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
import traceback
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.queues import Queue
from typing import Any

from asal.errors import UserError
from asal.runtime.engine import Task, W
from asal.runtime.progress import Progress, Sender, no_progress, relay

LOOK = 10.0  # seconds between looks at whether all processes live, while none of them ends a piece
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")

_progress: Progress = no_progress  # in a worker: where its tasks report
_threads = 0  # in a worker, until torch is held to them


@dataclass(frozen=True)
class Local:
    """Does pieces of work side by side, in processes that are started afresh.

    Args:
        workers: processes.
        threads: of each. Sums are split by it, so it bears on the last bit of a result; `workers` does not.
        option: what a user lowers where memory is short.
    """

    workers: int
    threads: int = 1
    option: str = "--workers"

    def map_unordered(self, works: Sequence[W], progress: Progress = no_progress) -> Iterator[tuple[W, Any]]:
        """Do every piece, and yield each as it ends.

        Raises:
            UserError: the first one that a piece raised, or that a process was killed, with the pieces in hand.
        """
        context = multiprocessing.get_context("spawn")
        queue: Queue[Any] = context.Queue()
        before = {name: os.environ.get(name) for name in THREAD_VARIABLES}
        os.environ.update(dict.fromkeys(THREAD_VARIABLES, str(self.threads)))  # read when a worker loads a library
        others = multiprocessing.active_children()
        try:
            with (
                ProcessPoolExecutor(self.workers, context, _settle, (self.threads, queue)) as pool,
                relay(queue, progress, patience=1),
            ):
                try:
                    with _deaf():
                        futures = {pool.submit(_work, work): work for work in works}
                except BrokenProcessPool:
                    raise self._killed(works) from None
                born = set(multiprocessing.active_children()) - set(others)
                try:
                    yield from self._follow(futures, born)
                except (KeyboardInterrupt, GeneratorExit):  # work resumes: ending it here loses little
                    for worker in born:
                        worker.kill()
                    raise
                finally:
                    pool.shutdown(wait=False)
                    _see_off(born)
        finally:
            queue.cancel_join_thread()  # nothing reads it any more
            for name, value in before.items():
                os.environ.pop(name) if value is None else os.environ.update({name: value})

    def _follow(self, futures: dict[Future[Any], W], born: Collection[Any]) -> Iterator[tuple[W, Any]]:
        failed: BaseException | None = None
        pending, lost = set(futures), []
        while pending:
            done, pending = wait(pending, LOOK, FIRST_COMPLETED)
            if not done:
                _end_stragglers(born)
            for future in done:
                if future.cancelled():
                    continue
                if error := future.exception():
                    failed = failed or error
                    lost.append(futures[future])
                else:
                    yield futures[future], future.result()
            if failed:
                for future in pending:
                    future.cancel()
        if isinstance(failed, BrokenProcessPool):
            raise self._killed(lost)
        if failed:
            raise failed

    def _killed(self, lost: Sequence[Task]) -> UserError:
        """Return the error for a process that died: a dead pool fails all that was left, in the order of works."""
        names = ", ".join(work.name for work in lost[: self.workers])
        return UserError(
            f"one was killed, perhaps for want of memory; in hand or next were {names}",
            rule="a process lives until its work is done",
            hint=f"run the same command again, with fewer {self.option} if memory is short: it resumes",
        )


def _see_off(workers: Collection[Any]) -> None:
    """Wait for processes that have nothing left to do, and end those that do not end by themselves.

    One that was killed as it said good-bye may hold the lock by which the others say it.
    """
    until = time.monotonic() + LOOK
    for worker in workers:
        worker.join(max(0.0, until - time.monotonic()))
        if worker.is_alive():
            worker.kill()
            worker.join(LOOK)


def _end_stragglers(workers: Collection[Any]) -> None:
    """Where one process has died, end the others: it may hold a lock that they wait for, for ever."""
    if not all(worker.is_alive() for worker in workers):
        for worker in workers:
            worker.kill()


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


def _settle(threads: int, queue: Queue[Any]) -> None:
    """Make a worker ready: its threads, where it reports, and its end when its parent ends."""
    global _progress, _threads
    _progress, _threads = Sender(queue), threads
    threading.Thread(target=_die_with_parent, daemon=True).start()


def settle_threads(threads: int) -> None:
    """Hold torch to so many threads; what reads `THREAD_VARIABLES` was told by them."""
    import torch

    torch.set_num_threads(threads)
    torch.set_num_interop_threads(1)


def _die_with_parent() -> None:
    """Without this, work would outlive a killed command and hold its folders against the next one."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _work(work: Task) -> Any:
    global _threads  # noqa: PLW0603
    if _threads and work.needs_torch:
        settle_threads(_threads)
        _threads = 0
    try:
        return work.run(_progress)
    except UserError:
        raise
    except Exception as error:  # its traceback does not travel otherwise
        raise RuntimeError(f"'{work.name}' failed:\n{traceback.format_exc()}") from error
