"""asal: choose the few images that are worth a label, without scoring the whole pool.

    from asal import Session, Plan, Record, Project

Everything here is imported when it is first touched: `import asal` itself takes milliseconds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from asal.core import Candidates as Candidates
    from asal.core import Round as Round
    from asal.core import Selection as Selection
    from asal.errors import UserError as UserError
    from asal.project.project import Project as Project
    from asal.session.events import Record as Record
    from asal.session.plan import Plan as Plan
    from asal.session.session import Session as Session

_HOMES = {
    "Candidates": "core",
    "Plan": "session.plan",
    "Project": "project.project",
    "Record": "session.events",
    "Round": "core",
    "Selection": "core",
    "Session": "session.session",
    "UserError": "errors",
}

__all__ = ["Candidates", "Plan", "Project", "Record", "Round", "Selection", "Session", "UserError"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'asal' has no attribute '{name}'")
    import importlib

    return getattr(importlib.import_module(f"asal.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(_HOMES)
