"""The engine that the options of a command name."""

from __future__ import annotations

from asal.errors import unknown
from asal.runtime.devices import here
from asal.runtime.engine import Engine, InProcess
from asal.runtime.engine.local import Local
from asal.runtime.engine.ray import Ray
from asal.runtime.environment import cores


def chosen(
    name: str, workers: int = 0, address: str = "auto", cpus: float = 1, gpus: float = 0, option: str = "--workers"
) -> Engine:
    """Return the engine of this name, connected to its cluster: before hours of training, not after them.

    Args:
        workers: tasks at a time; 0 takes one for each core, one beside a GPU, with ray as many as there is room for.
        option: of the command, which the user lowers where memory is short.

    Raises:
        UserError: there is no such engine, or its cluster does not answer.
    """
    if name == "ray":
        cluster = Ray(address, workers, cpus, gpus)
        cluster.connect()
        return cluster
    if name != "local":
        raise unknown("engine", name, ["local", "ray"])
    workers = workers or (cores() if here().type == "cpu" else 1)
    return Local(workers, option=option) if workers > 1 else InProcess()
