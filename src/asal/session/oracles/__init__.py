"""Who answers: something that is given ids and gives labels back."""

from __future__ import annotations

from typing import Protocol

from asal.core import Ids, Labels
from asal.registry import Registry

oracles = Registry("oracle", "asal.session.oracles", group="asal.oracles")


class Oracle(Protocol):
    """Answers for pool images."""

    @property
    def classes(self) -> tuple[str, ...]: ...
    def answer(self, ids: Ids) -> Labels:
        """Return the label of each id, −1 where it cannot tell."""
        ...
