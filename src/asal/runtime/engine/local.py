"""The engine of this machine: processes, each with a fixed number of threads."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
import traceback
import warnings
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.queues import Queue
from typing import Any

from asal.errors import PluginWarning, UserError
from asal.runtime.engine import T, Task
from asal.runtime.progress import Progress, Sender, no_progress, relay

LOOK = 10.0  # seconds between checks that all processes are alive, while no task ends
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")

_progress: Progress = no_progress  # in a worker: where its tasks report
_threads = 0  # in a worker, until torch is limited to them


@dataclass(frozen=True)
class Local:
    """Runs tasks side by side, in processes that are started for it.

    Args:
        workers: processes.
        threads: of each. Sums are split by it, so the last bit of a result depends on it, and not on `workers`.
        option: of the command, which the user lowers where memory is short.
    """

    workers: int
    threads: int = 1
    option: str = "--workers"

    def map_unordered(self, tasks: Sequence[T], progress: Progress = no_progress) -> Iterator[tuple[T, Any]]:
        """Run every task, and yield each as it ends.

        Raises:
            UserError: the first one that a task raised, or that a process was killed, and the tasks it may have run.
        """
        context = multiprocessing.get_context("spawn")
        queue: Queue[Any] = context.Queue()
        before = {name: os.environ.get(name) for name in THREAD_VARIABLES}
        os.environ.update(dict.fromkeys(THREAD_VARIABLES, str(self.threads)))  # read when a worker loads a library
        running = multiprocessing.active_children()
        try:
            with (
                ProcessPoolExecutor(self.workers, context, _set_up, (self.threads, queue)) as pool,
                relay(queue, progress, patience=1),
            ):
                try:
                    with _ignoring_ctrl_c():
                        futures = {pool.submit(_run, task): task for task in tasks}
                except BrokenProcessPool:
                    raise self._killed(tasks) from None
                workers = set(multiprocessing.active_children()) - set(running)
                try:
                    yield from self._results(futures, workers)
                except (KeyboardInterrupt, GeneratorExit):  # tasks resume, so that killing them loses little
                    for worker in workers:
                        worker.kill()
                    raise
                finally:
                    pool.shutdown(wait=False)
                    _join(workers)
        finally:
            queue.cancel_join_thread()  # nothing reads it any more
            for name, value in before.items():
                os.environ.pop(name) if value is None else os.environ.update({name: value})

    def _results(self, futures: dict[Future[Any], T], workers: Collection[Any]) -> Iterator[tuple[T, Any]]:
        failed: BaseException | None = None
        pending, lost = set(futures), []
        while pending:
            done, pending = wait(pending, LOOK, FIRST_COMPLETED)
            if not done:
                _kill_all_if_one_died(workers)
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
        """Return the error for a process that died: all tasks that were left have failed, in their order."""
        names = ", ".join(task.name for task in lost[: self.workers])
        return UserError(
            f"a process was killed, perhaps because memory ran out; it worked on one of {names}",
            hint=f"run the same command again, with fewer {self.option} if memory is short: it resumes",
        )


def _join(workers: Collection[Any]) -> None:
    """Wait for processes that have nothing left to do, and kill those that do not end by themselves.

    A process that was killed as it ended may hold the lock that the others need to end.
    """
    until = time.monotonic() + LOOK
    for worker in workers:
        worker.join(max(0.0, until - time.monotonic()))
        if worker.is_alive():
            worker.kill()
            worker.join(LOOK)


def _kill_all_if_one_died(workers: Collection[Any]) -> None:
    """Kill all processes where one has died: it may hold a lock that the others would wait for endlessly."""
    if not all(worker.is_alive() for worker in workers):
        for worker in workers:
            worker.kill()


@contextmanager
def _ignoring_ctrl_c() -> Iterator[None]:
    """Let processes that are started in here ignore Ctrl-C, which reaches all of a terminal: their parent ends them."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread is interrupted, and only it may change that
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _set_up(threads: int, queue: Queue[Any]) -> None:
    """Prepare a worker: its threads, where it reports, and that it ends with its parent."""
    global _progress, _threads
    _progress, _threads = Sender(queue), threads
    warnings.simplefilter("ignore", PluginWarning)  # the command has shown it
    threading.Thread(target=_die_with_parent, daemon=True).start()


def limit_torch_threads(threads: int) -> None:
    """Limit torch to so many threads; other libraries read `THREAD_VARIABLES`."""
    import torch

    torch.set_num_threads(threads)
    torch.set_num_interop_threads(1)


def _die_with_parent() -> None:
    """End with the parent: else a task would outlive a killed command, and lock its folders against the next one."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _run(task: Task) -> Any:
    global _threads  # noqa: PLW0603
    if _threads and task.needs_torch:
        limit_torch_threads(_threads)
        _threads = 0
    try:
        return task.run(_progress)
    except UserError:
        raise
    except Exception as error:  # its traceback is not sent otherwise
        raise RuntimeError(f"'{task.name}' failed:\n{traceback.format_exc()}") from error
