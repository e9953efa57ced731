"""Stands in the place of what a session does not have, and says so when it is touched."""

from __future__ import annotations

from typing import Any

from asal.errors import UserError


class Missing:
    """Something that is not there: whatever is looked for in it is an error that a user can mend."""

    def __init__(self, got: str, *, rule: str, hint: str) -> None:
        self._rule, self._got, self._hint = rule, got, hint

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # what Python and its tools look for in every object
            raise AttributeError(name)
        raise UserError(f"{self._got} (`{name}`)", rule=self._rule, hint=self._hint)


NO_TOOLS = Missing(
    "it wants one of a session that has none",
    rule="a strategy is given the tools that it needs",
    hint="pass `tools=` to the session, from a prepared project",
)
NO_MODEL = Missing(
    "the strategy for such batches wants one",
    rule="a batch is chosen without a classifier while none can be trained",
    hint="choose one that needs none, such as 'random'",
)
