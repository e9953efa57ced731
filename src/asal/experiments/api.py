"""An experiment in one call, as `asal run` makes it: `asal.run`."""

from __future__ import annotations

import multiprocessing
import operator
from collections.abc import Sequence
from pathlib import Path

from asal.errors import UserError
from asal.experiments.results import Results, load
from asal.experiments.sweep import compare
from asal.project import spec as specs
from asal.project.project import Project
from asal.runtime.progress import Progress, no_progress


def run(
    project: Project | Path | str,
    strategies: Sequence[str] | str | None,
    seeds: int | Sequence[int],
    out: Path | str,
    jobs: int = 1,
    *,
    threads: int = 1,
    progress: Progress = no_progress,
) -> Results:
    """Compare strategies over paired seeds, with answers that are already known, and return all that was measured.

    What the project needs is prepared first. Called again with the same folder, it goes on where it stopped; what is
    done costs a second.

    Args:
        project: a project folder, a spec (TOML; the project is then a folder named as the spec), or an open project.
        strategies: names of the spec's strategies, or of registered ones; None takes all of the spec.
        seeds: how many, 0 … n − 1, or which.
        out: the run folder, which `asal.report` and `asal.load` read.
        jobs: runs side by side. One runs in this process; more start processes, which import the script that calls
            this: there the call belongs under `if __name__ == "__main__":`.
        threads: of each run; part of the run's settings, because sums are split by it.
        progress: called with every step, unless the project has its own.

    Raises:
        UserError: whatever is wrong with the spec or the folder, before anything is trained.

    For example, in a notebook: `asal.run("mnist", ["random", "asal"], 3, "runs/first").table()`
    """
    jobs, threads = _checked_count("jobs", jobs), _checked_count("threads", threads)
    _check_main_guard(jobs)
    opened = project if isinstance(project, Project) else open_project(Path(project), progress)
    names = opened.spec.strategies if strategies is None else strategies
    chosen = [names] if isinstance(names, str) else list(names)
    if not chosen:
        raise UserError("strategies = [] names no strategy", hint="name one or more, or pass None for all of the spec")
    compare(opened, chosen, _checked_seeds(seeds), Path(out), jobs, threads, in_process=jobs == 1)
    return load(out)


def open_project(place: Path, progress: Progress = no_progress) -> Project:
    """Open a project by its folder or its spec; that of a spec elsewhere is a folder named as the spec."""
    spec = specs.load(place)
    root = place if place.is_dir() else place.parent if place.name == specs.FILE else Path(spec.name)
    return Project(root, spec, progress=progress)


def _checked_seeds(seeds: int | Sequence[int]) -> list[int]:
    number = _whole(seeds)
    try:
        numbers = [_whole(seed) for seed in (seeds if number is None else range(number))]  # type: ignore[union-attr]
    except TypeError:
        numbers = []
    known = [seed for seed in numbers if seed is not None and seed >= 0]
    if not known or len(known) < len(numbers):
        raise UserError(
            f"seeds = {seeds!r} names no seeds",
            rule="seeds are a number of them, 1 or more, or a list of whole numbers, each 0 or more",
            hint="pass, say, 5 or [0, 1, 2]",
        )
    return list(dict.fromkeys(known))


def _whole(value: object) -> int | None:
    """Return a whole number of Python's or numpy's as an int, and None for anything else, True and False among it."""
    if isinstance(value, bool):
        return None
    try:
        return operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        return None


def _checked_count(name: str, value: object) -> int:
    if (number := _whole(value)) is None or number < 1:
        raise UserError(f"{name} = {value!r} is not a number of {name}", hint="pass a whole number, 1 or more")
    return number


def _check_main_guard(jobs: int) -> None:
    if jobs > 1 and getattr(multiprocessing.current_process(), "_inheriting", False):
        raise UserError(
            f"asal.run(…, jobs={jobs}) was called while one of its processes imported your script",
            rule="a process that runs beside others first imports the script that started it",
            hint='put the call under `if __name__ == "__main__":`, or pass jobs=1',
        )
