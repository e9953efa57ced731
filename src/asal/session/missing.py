"""Placeholders for what a session does not have; using one is an error that says so."""

from __future__ import annotations

from typing import Any

from asal.errors import UserError


class Missing:
    """Something that a session does not have: using any attribute raises a UserError."""

    def __init__(self, got: str, *, rule: str, hint: str) -> None:
        self._rule, self._got, self._hint = rule, got, hint

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # what Python and its tools look for in every object
            raise AttributeError(name)
        raise UserError(f"{self._got} (`{name}`)", rule=self._rule, hint=self._hint)


NO_TOOLS = Missing(
    "the strategy needs a tool of a prepared project, and the session has none",
    rule="",
    hint="pass `tools=` to the session, from a prepared project",
)
NO_MODEL = Missing(
    "the strategy of the first batch needs a classifier, and none can be trained yet",
    rule="a first batch is chosen without a classifier",
    hint="choose a strategy that needs none, such as 'random'",
)
