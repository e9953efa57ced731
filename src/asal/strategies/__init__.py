"""A round and a number → the images to ask about. Functions without state; their options are keyword-only.

`needs` says what has to be prepared before a strategy can run (generator, features, index) and what the classifier
must provide (gradient); `cost` says how its work grows with the pool.
"""

from __future__ import annotations

import sys
from collections.abc import ItemsView, Iterator, KeysView, ValuesView
from types import ModuleType
from typing import Any

from asal.registry import FailedPlugin, Part, Registry

strategies = Registry("strategy", "asal.strategies", group="asal.strategies", dotted=True)


class _RegistryPackage(ModuleType):
    """This package, which reads as its registry: `asal.strategies["random"]`, `list(asal.strategies)`.

    The import system sets `asal.strategies` to the package, so the public name has to be both.
    """

    def __getitem__(self, name: str) -> Part:
        return strategies[name]

    def __iter__(self) -> Iterator[str]:
        return iter(strategies)

    def __len__(self) -> int:
        return len(strategies)

    def __contains__(self, name: object) -> bool:
        return name in strategies

    def keys(self) -> KeysView[str]:
        return strategies.keys()

    def values(self) -> ValuesView[Part]:
        return strategies.values()

    def items(self) -> ItemsView[str, Part]:
        return strategies.items()

    def get(self, name: str, default: Any = None) -> Any:
        return strategies.get(name, default)

    @property
    def failed(self) -> tuple[FailedPlugin, ...]:
        return strategies.failed


register = strategies.register
sys.modules[__name__].__class__ = _RegistryPackage
