"""The engine of a Ray cluster: Ray starts the workers, runs lost tasks again, and counts what is free."""

from __future__ import annotations

import logging
import os
import socket
import time
import traceback
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from asal.errors import PluginWarning, UserError
from asal.runtime.engine import T, Task
from asal.runtime.optional import require
from asal.runtime.progress import Progress, no_progress

LOOK = 5.0  # seconds between checks that the cluster has a machine that fits


@dataclass(frozen=True)
class Ray:
    """Runs tasks as Ray tasks, on the machines of the cluster that have room for them.

    Args:
        address: of a running cluster, such as "10.0.0.1:6379"; "auto" finds the cluster that this machine is in, and
            "local" starts a cluster of this machine alone, which ends with this process.
        workers: tasks at a time; 0 takes as many as the cluster has room for.
        cpus: that a task asks for. It computes with one thread, so 1 is right, or fewer beside a GPU.
        gpus: that a task asks for; 0.25 lets four share one.
        memory: bytes that a task asks for; Ray adds them up, and gives a machine no more than it has.
        retries: of a task whose process or machine died.
        patience: seconds to wait for a machine that has what a task asks for; some clusters start them on demand.
    """

    address: str = "local"
    workers: int = 0
    cpus: float = 1
    gpus: float = 0
    memory: int | None = None
    retries: int = 3
    patience: float = 300

    def map_unordered(self, tasks: Sequence[T], progress: Progress = no_progress) -> Iterator[tuple[T, Any]]:
        """Run every task, and yield each as it ends. The progress within a task is not reported.

        Raises:
            UserError: the first one that a task raised, or that a task was lost too often, when the tasks that run
                beside it have ended; or no machine has what a task asks for.
        """
        ray = self.connect()
        remote = ray.remote(_run).options(
            num_cpus=self.cpus, num_gpus=self.gpus, memory=self.memory, max_retries=self.retries
        )
        waiting, running = list(reversed(tasks)), dict[Any, T]()
        failed: Exception | None = None
        last_fit = time.monotonic()  # when the cluster had a machine that fits
        try:
            while running or (waiting and not failed):
                while waiting and not failed and len(running) < self.capacity():
                    task = waiting.pop()
                    running[remote.remote(task)] = task
                done, _ = ray.wait(list(running), timeout=min(LOOK, self.patience))
                last_fit = time.monotonic() if done or self._fitting() else last_fit
                if time.monotonic() - last_fit > self.patience:
                    raise self._unfit()
                for future in done:
                    task = running.pop(future)
                    try:
                        yield task, self._result(ray, future, task)
                    except Exception as error:
                        failed = failed or error
        except BaseException:  # such as Ctrl-C. Tasks resume, so that cancelling them loses little
            for future in running:
                ray.cancel(future, force=True)
            raise
        if failed:
            raise failed

    def _result(self, ray: Any, future: Any, task: Task) -> Any:
        try:
            value, refused, broken = ray.get(future)
        except ray.exceptions.RayTaskError as error:  # it did not begin: the machine could not unpickle it
            last = [line for line in str(error).splitlines() if line.strip()][-1].strip()
            raise UserError(
                f"'{task.name}' could not begin: {last}",
                rule="every machine of a cluster has the same version of asal and of its libraries",
                hint="install the same versions of everything on every machine, then run the same command",
            ) from None
        except ray.exceptions.RayError as error:
            raise UserError(
                f"'{task.name}' was lost {self.retries + 1} times: {_reason(error)}",
                hint="check that the machines are up and have the memory; then run the same command: it resumes",
            ) from None
        if refused:
            raise refused
        if broken:
            raise RuntimeError(f"'{task.name}' failed:\n{broken}")
        return value

    def capacity(self) -> int:
        """Return how many tasks run at a time; a cluster grows and shrinks."""
        return self.workers or max(1, self._fitting())

    def _wants(self) -> dict[str, float]:
        wants = {"CPU": self.cpus, "GPU": self.gpus, "memory": self.memory or 0}
        return {what: amount for what, amount in wants.items() if amount}

    def _fitting(self) -> int:
        """Return how many tasks the machines of the cluster have room for when they are idle."""
        machines = [node["Resources"] for node in self.connect().nodes() if node["Alive"]]
        wants = self._wants().items()
        return sum(
            min((int(machine.get(what, 0) / amount) for what, amount in wants), default=1) for machine in machines
        )

    def _unfit(self) -> UserError:
        wanted = " and ".join(f"{amount:g} {what}" for what, amount in self._wants().items())
        return UserError(
            f"no machine of the cluster had {wanted} for {self.patience:g} seconds",
            hint="ask for less (--cpus, --gpus), or add such a machine; then run the same command: it resumes",
        )

    def _check_reachable(self) -> None:
        """Check that something answers at the address: ray itself tries for ten minutes, and prints that it does."""
        host, colon, port = self.address.rpartition(":")
        if colon and port.isdigit():
            socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()

    def _check_same(self, ray: Any) -> None:
        """Refuse another cluster than the one that this process is connected to: it can be connected to one only."""
        connected = ray.get_runtime_context().gcs_address
        if ":" in self.address and self.address != connected:
            raise UserError(
                f"this process is connected to the cluster {connected}, not to {self.address}",
                hint="use another process, or call `ray.shutdown()` first",
            )

    def connect(self) -> Any:
        """Return ray, connected to the cluster; it prints little, and sends no usage statistics.

        Raises:
            UserError: ray is not installed, or the cluster does not answer.
        """
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # a coming default, of which it warns
        ray = require("ray", extra="ray", why="`--engine ray` runs tasks with ray", hint="on every machine")
        if ray.is_initialized():
            self._check_same(ray)
            return ray
        options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR, "include_dashboard": False}
        if self.address == "local" and self.workers:
            options |= {"num_cpus": max(1, round(self.workers * self.cpus))}
        try:
            self._check_reachable()
            ray.init(self.address, **options)
        except (OSError, RuntimeError, ValueError) as error:
            raise UserError(
                f"no Ray cluster answers at {self.address}: {_reason(error)}",
                hint="start one with `ray start --head`, and give its --address, or --address local",
            ) from None
        return ray


def _run(task: Task) -> tuple[Any, UserError | None, str]:
    """Run a task in a worker; return its result, or its UserError, or the traceback of any other error."""
    warnings.simplefilter("ignore", PluginWarning)  # the command has shown it
    try:
        return task.run(no_progress), None, ""
    except UserError as error:
        return None, error, ""
    except Exception:
        return None, None, traceback.format_exc()


def _reason(error: Exception) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0].strip()}" if lines else type(error).__name__
