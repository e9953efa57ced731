"""Strategies × seeds: runs side by side in processes, or one after another, each with a fixed number of threads."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

from asal.errors import UserError
from asal.experiments.evaluation import Supervised, add_reference, references
from asal.experiments.run import RunTask, begin
from asal.project.preparer import Preparer
from asal.project.project import Project
from asal.runtime import artifacts, environment
from asal.runtime.engine import InProcess
from asal.runtime.engine.local import Local
from asal.runtime.progress import Progress
from asal.runtime.threads import limited_threads

SweepTask: TypeAlias = RunTask | Supervised


def compare(
    project: Project,
    strategies: Sequence[str],
    seeds: Sequence[int],
    out: Path,
    jobs: int,
    threads: int = 1,
    *,
    in_process: bool = False,
) -> None:
    """Do every run of strategies × seeds into `out`, preparing what they need; called again, it goes on.

    Whatever can be refused is refused before anything is trained. Two comparisons do not share a folder.

    Args:
        jobs: runs side by side, in a process each.
        in_process: do one run after another in this process instead.
    """
    names = list(dict.fromkeys(strategies))
    validated = project.validate(names)
    if out.resolve() == project.root.resolve():  # both are locked: this process would wait for itself
        raise UserError(
            f"{out} is the project's folder",
            rule="a run's folder is not its project's",
            hint="choose another folder with --out",
        )
    with artifacts.exclusive(out):
        project.ingest()
        begin(project, names, seeds, out, threads)
        project.prepare(names)
        for warning in Preparer(project).warnings(names):
            project.progress("warning", 0, 0, warning)
        commit = environment.commit()
        tasks = [
            RunTask(project.root, project.spec, name, seed, out, commit, validated) for seed in seeds for name in names
        ]

        def finish(part: Sequence[SweepTask]) -> None:
            if in_process:
                run_in_process(part, project.progress, threads)
            else:
                run_all(part, jobs, project.progress, threads)

        finish(references(project, out))
        add_reference(out)
        finish(tasks)


def run_all(tasks: Sequence[SweepTask], jobs: int, progress: Progress, threads: int = 1) -> None:
    """Do every run, `jobs` of them side by side; what is done already costs a second.

    Args:
        threads: of each run. Sums are split by it, so it bears on the last bit of a result; `jobs` does not.

    Raises:
        UserError: the first one that a run raised, when the runs beside it have ended.
    """
    for task, note in Local(jobs, threads, "--jobs").map_unordered(tasks, progress):
        progress(task.name, task.size, task.size, note)  # what the process itself reported last may come later


def run_in_process(tasks: Sequence[SweepTask], progress: Progress, threads: int = 1) -> None:
    """Do one run after another in this process, with the rows that `run_all` gives."""
    with limited_threads(threads):
        for task, note in InProcess().map_unordered(tasks, progress):
            progress(task.name, task.size, task.size, note)
