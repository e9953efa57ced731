"""From the words of a command to an engine."""

from __future__ import annotations

import os

from asal.devices import here
from asal.engine import Engine, Here
from asal.engine.local import Local
from asal.engine.ray import Ray
from asal.errors import unknown

CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def chosen(name: str, workers: int = 0, address: str = "auto", cpus: float = 1, gpus: float = 0) -> Engine:
    """Return the engine of this name.

    Args:
        workers: pieces in hand at a time; 0 takes a core each, one beside a GPU, and with ray what there is room for.

    Raises:
        UserError: there is no such engine.
    """
    if name == "ray":
        return Ray(address, workers, cpus, gpus)
    if name != "local":
        raise unknown("engine", name, ["local", "ray"])
    workers = workers or (CORES if here().type == "cpu" else 1)
    return Local(workers) if workers > 1 else Here()
