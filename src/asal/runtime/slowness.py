"""Why computing takes longer here than it could: other processes on the cores, or more threads than cores."""

from __future__ import annotations

import multiprocessing
import os
import sys

from asal.runtime.environment import cores

MARGIN = 0.5  # of a process: less is the system's own work


def causes() -> dict[str, str]:
    """Return what slows this process and those that it started down: by a short name, in words."""
    workers = len(multiprocessing.active_children())
    threads = _threads()
    found = {}
    if (busy := _others(workers or threads)) is not None:
        found["others"] = busy
    if not workers and threads > cores():
        found["threads"] = f"{threads} threads share {_cores()}, and wait for each other: set OMP_NUM_THREADS={cores()}"
    if workers > cores():
        found["workers"] = f"{workers} processes share {_cores()}: start as many with --workers {cores()}"
    return found


def _others(ours: int) -> str | None:
    """Return how busy other processes keep the machine, if they leave too little for so many threads of ours."""
    try:
        load = os.getloadavg()[0]  # runnable processes, a mean over about a minute
    except (AttributeError, OSError):  # a system without it
        return None
    all_cores = os.cpu_count() or 1
    others = load - ours
    if load < all_cores + MARGIN or others < MARGIN:
        return None
    count = max(1, round(others))
    noun = "other process wants" if count == 1 else "other processes want"
    cores_ = "the only core" if all_cores == 1 else f"the {all_cores} cores"
    return f"about {count} {noun} {cores_} of this machine, too (load {load:.1f})"


def _threads() -> int:
    """Return how many threads computations in this process take."""
    torch = sys.modules.get("torch")
    return int(torch.get_num_threads()) if torch is not None else 1


def _cores() -> str:
    return "one core" if cores() == 1 else f"{cores()} cores"
