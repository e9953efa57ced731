"""Stands in the place of what a session does not have, and says so when it is touched."""

from __future__ import annotations

from typing import Any

from asal.errors import UserError


class Absent:
    """Something that is not there: whatever is looked for in it is an error that a user can mend."""

    def __init__(self, rule: str, *, came: str, remedy: str) -> None:
        self._rule, self._came, self._remedy = rule, came, remedy

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # what Python and its tools look for in every object
            raise AttributeError(name)
        raise UserError(self._rule, came=f"{self._came} (`{name}`)", remedy=self._remedy)


NO_TOOLS = Absent(
    "a strategy is given the tools that it needs",
    came="it wants one of a session that has none",
    remedy="pass `tools=` to the session, from a prepared project",
)
NO_MODEL = Absent(
    "a batch is chosen without a classifier while none can be trained",
    came="the strategy for such batches wants one",
    remedy="choose one that needs none, such as 'random'",
)
