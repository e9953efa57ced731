"""Actors for the parts of one index after another. Of its own, each index would start processes that import torch."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from asal.index.sharded import _PartActor
from asal.runtime.engine.ray import Ray


class Lasting:
    """An actor that holds a part of each index that is opened in it."""

    def __init__(self) -> None:
        self.held: dict[Path, Any] = {}

    def call(self, task: Any, method: str, *args: Any) -> Any:
        if method == "open":
            self.held[task.folder] = _PartActor(task)
        return self.held[task.folder].call(method, *args)


@dataclass(frozen=True)
class Part:
    """What an index gets in place of an actor of its own: its calls go to one that lasts."""

    actor: Any
    task: Any

    @property
    def call(self) -> Any:
        return SimpleNamespace(remote=lambda *args: self.actor.call.remote(self.task, *args))


@dataclass(frozen=True)
class Reusing(Ray):
    """The engine, but for the actors of an index, which last."""

    actors: tuple[Any, ...] = ()

    def connect(self) -> Any:
        library, actors = super().connect(), itertools.cycle(self.actors)
        start = SimpleNamespace(remote=lambda task: Part(next(actors), task))

        def remote(what: Any) -> Any:
            return SimpleNamespace(options=lambda **_: start) if what is _PartActor else library.remote(what)

        return SimpleNamespace(**{**vars(library), "remote": remote})
