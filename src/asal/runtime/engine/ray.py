"""Machines that Ray holds together: it starts the workers, tries again what was lost, and counts what is free."""

from __future__ import annotations

import logging
import os
import socket
import time
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from asal.errors import UserError
from asal.runtime.engine import Task, W
from asal.runtime.progress import Progress, no_progress

LOOK = 5.0  # seconds between looks at whether there is a machine at all


@dataclass(frozen=True)
class Ray:
    """Does pieces of work as Ray tasks, on whatever machines of the cluster have room for them.

    Args:
        address: of a running cluster, such as "10.0.0.1:6379"; "auto" finds the one that this machine is in, and
            "local" starts one of this machine alone, which ends with this process.
        workers: pieces in hand at a time; 0 takes as many as the cluster has room for.
        cpus: that a piece asks for. It computes with one thread, so 1 is right, or fewer beside a GPU.
        gpus: that a piece asks for; 0.25 lets four share one.
        memory: bytes that a piece asks for; Ray counts them, and does not put more on a machine than it has.
        retries: of a piece whose process or machine died.
        patience: seconds to wait for a machine that has what a piece asks for; some clusters start them on demand.
    """

    address: str = "local"
    workers: int = 0
    cpus: float = 1
    gpus: float = 0
    memory: int | None = None
    retries: int = 3
    patience: float = 300

    def map_unordered(self, works: Sequence[W], progress: Progress = no_progress) -> Iterator[tuple[W, Any]]:
        """Do every piece, and yield each as it ends. Of a piece's own progress nothing is told.

        Raises:
            UserError: the first one that a piece raised, or that a piece was lost too often, when those in hand
                beside it have ended; or no machine has what a piece asks for.
        """
        ray = self.connect()
        task = ray.remote(_do).options(
            num_cpus=self.cpus, num_gpus=self.gpus, memory=self.memory, max_retries=self.retries
        )
        waiting, hand = list(reversed(works)), dict[Any, W]()
        failed: Exception | None = None
        seen = time.monotonic()  # a machine that is fit
        try:
            while hand or (waiting and not failed):
                while waiting and not failed and len(hand) < self.room():
                    work = waiting.pop()
                    hand[task.remote(work)] = work
                done, _ = ray.wait(list(hand), timeout=min(LOOK, self.patience))
                seen = time.monotonic() if done or self._fitting() else seen
                if time.monotonic() - seen > self.patience:
                    raise self._unfit()
                for future in done:
                    work = hand.pop(future)
                    try:
                        yield work, self._told(ray, future, work)
                    except Exception as error:
                        failed = failed or error
        except BaseException:  # Ctrl-C, say. Work resumes: ending it here loses little
            for future in hand:
                ray.cancel(future, force=True)
            raise
        if failed:
            raise failed

    def _told(self, ray: Any, future: Any, work: Task) -> Any:
        try:
            value, refused, broken = ray.get(future)
        except ray.exceptions.RayTaskError as error:  # it never began: what it is made of was not understood there
            last = [line for line in str(error).splitlines() if line.strip()][-1].strip()
            raise UserError(
                f"'{work.name}' could not begin: {last}",
                rule="every machine of a cluster has the same asal, and what it needs",
                hint="install the same versions of everything on every machine, then run the same command",
            ) from None
        except ray.exceptions.RayError as error:
            raise UserError(
                f"'{work.name}' was lost each time: {_reason(error)}",
                rule=f"a piece of work ends on one of {self.retries + 1} machines",
                hint="see whether the machines are up and have the memory; then run the same command: it resumes",
            ) from None
        if refused:
            raise refused
        if broken:
            raise RuntimeError(f"'{work.name}' failed:\n{broken}")
        return value

    def room(self) -> int:
        """Return how many pieces are in hand at a time; a cluster grows and shrinks."""
        return self.workers or max(1, self._fitting())

    def _wants(self) -> dict[str, float]:
        wants = {"CPU": self.cpus, "GPU": self.gpus, "memory": self.memory or 0}
        return {what: amount for what, amount in wants.items() if amount}

    def _fitting(self) -> int:
        """Return how many pieces the cluster's machines have room for, were they idle."""
        machines = [node["Resources"] for node in self.connect().nodes() if node["Alive"]]
        wants = self._wants().items()
        return sum(
            min((int(machine.get(what, 0) / amount) for what, amount in wants), default=1) for machine in machines
        )

    def _unfit(self) -> UserError:
        asked = " and ".join(f"{amount:g} {what}" for what, amount in self._wants().items())
        return UserError(
            f"none has {asked}, for {self.patience:g} seconds",
            rule="some machine of a cluster has what a piece of work asks for",
            hint="ask for less (--cpus, --gpus), or add such a machine; then run the same command: it resumes",
        )

    def _knock(self) -> None:
        """Ask whether anything answers at the address: ray itself tries for ten minutes, and says so all the while."""
        host, colon, port = self.address.rpartition(":")
        if colon and port.isdigit():
            socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()

    def _check_same(self, ray: Any) -> None:
        """Refuse another cluster than the one that this process is in: it can be in one alone."""
        there = ray.get_runtime_context().gcs_address
        if ":" in self.address and self.address != there:
            raise UserError(
                f"{self.address}, and this one is in that of {there}",
                rule="a process is in one cluster",
                hint="use a process of its own for the other one, or call `ray.shutdown()` first",
            )

    def connect(self) -> Any:
        """Return ray, connected to the cluster; quiet, and telling nobody of its use.

        Raises:
            UserError: ray is not installed, or the cluster does not answer.
        """
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # as it will be; it warns of the change
        try:
            import ray
        except ImportError:
            raise UserError(
                "it is not installed", rule="`--engine ray` wants ray", hint="pip install 'asal[ray]', on every machine"
            ) from None
        if ray.is_initialized():
            self._check_same(ray)
            return ray
        options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR, "include_dashboard": False}
        if self.address == "local" and self.workers:
            options |= {"num_cpus": max(1, round(self.workers * self.cpus))}
        try:
            self._knock()
            ray.init(self.address, **options)
        except (OSError, RuntimeError, ValueError) as error:
            raise UserError(
                f"{self.address}: {_reason(error)}",
                rule="a cluster is running before work is given to it",
                hint="start it with `ray start --head`, and say its --address, or --address local",
            ) from None
        return ray


def _do(work: Task) -> tuple[Any, UserError | None, str]:
    """Do a piece in a worker, and return what it returned, or refused, or the traceback of what else it raised."""
    try:
        return work.run(no_progress), None, ""
    except UserError as error:
        return None, error, ""
    except Exception:
        return None, None, traceback.format_exc()


def _reason(error: Exception) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0].strip()}" if lines else type(error).__name__
