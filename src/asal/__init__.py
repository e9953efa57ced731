"""asal: choose the few images that are worth a label, without scoring the whole pool.

    import asal

    session = asal.Project.open("my-project").session()           # ask and tell
    results = asal.load("runs/mnist-two")                         # an experiment, for a notebook
    asal.report("runs/mnist-two")                                 # its page, tables and pictures

| name | what it is |
|---|---|
| `Project`, `Session`, `Record`, `Plan` | a project folder, and asking and telling over it |
| `Round`, `Selection`, `Candidates` | what a strategy is given and returns |
| `strategies`, `learners`, `scores` | the parts by name: `asal.strategies["coreset"]` |
| `run` | compares strategies over seeds, with labels that are already known |
| `load` | reads the results of a run folder, finished or not |
| `report` | writes the page, tables and pictures of a run folder |
| `UserError` | what asal raises when the user can put something right |

Everything is imported when it is first used: `import asal` itself takes milliseconds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from asal.core import Candidates as Candidates
    from asal.core import Round as Round
    from asal.core import Selection as Selection
    from asal.errors import UserError as UserError
    from asal.experiments.api import run as run
    from asal.experiments.results import load as load
    from asal.models.learners import learners as learners
    from asal.project.project import Project as Project
    from asal.reports.experiment import report as report
    from asal.session.events import Record as Record
    from asal.session.plan import Plan as Plan
    from asal.session.session import Session as Session
    from asal.strategies import strategies as strategies
    from asal.strategies.scores import scores as scores

    __version__: str

_HOMES = {
    "Candidates": "core",
    "Plan": "session.plan",
    "Project": "project.project",
    "Record": "session.events",
    "Round": "core",
    "Selection": "core",
    "Session": "session.session",
    "UserError": "errors",
    "learners": "models.learners",
    "load": "experiments.results",
    "report": "reports.experiment",
    "run": "experiments.api",
    "scores": "strategies.scores",
}

__all__ = [
    "Candidates",
    "Plan",
    "Project",
    "Record",
    "Round",
    "Selection",
    "Session",
    "UserError",
    "__version__",
    "learners",
    "load",
    "report",
    "run",
    "scores",
    "strategies",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return _version()
    import importlib

    if name == "strategies":  # the package itself, which reads as its registry: importing it sets this very name
        return importlib.import_module("asal.strategies")
    if name not in _HOMES:
        raise AttributeError(f"module 'asal' has no attribute '{name}'")
    return getattr(importlib.import_module(f"asal.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)


def _version() -> str:
    """Return the version of the installed package, or of the source tree that this is."""
    from importlib import metadata

    try:
        return metadata.version("asal")
    except metadata.PackageNotFoundError:
        import tomllib
        from pathlib import Path

        file = Path(__file__).parents[2] / "pyproject.toml"
        return str(tomllib.loads(file.read_text())["project"]["version"]) if file.exists() else "0+unknown"
