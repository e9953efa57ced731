"""Many runs at once: one process each, with a fixed number of threads of its own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

from asal.errors import UserError
from asal.experiments.evaluation import Supervised, add_reference, references
from asal.experiments.run import RunTask, begin
from asal.project.project import Project
from asal.project.validate import check
from asal.runtime import artifacts, environment
from asal.runtime.engine.local import Local
from asal.runtime.progress import Progress

SweepTask: TypeAlias = RunTask | Supervised


def compare(
    project: Project, strategies: Sequence[str], seeds: Sequence[int], out: Path, at_once: int, threads: int = 1
) -> None:
    """Do every run of strategies × seeds into `out`, preparing what they need; called again, it goes on.

    Whatever can be refused is refused before anything is trained. Two comparisons do not share a folder.
    """
    names = list(dict.fromkeys(strategies))
    check(project.spec, names)
    if out.resolve() == project.root.resolve():  # both are locked: this process would wait for itself
        raise UserError(
            f"{out} for both", rule="a run's folder is not its project's", hint="choose another folder with --out"
        )
    with artifacts.alone(out):
        project.ingest()
        begin(project, names, seeds, out, threads)
        project.prepare(names)
        commit = environment.commit()
        jobs = [RunTask(project.root, project.spec, name, seed, out, commit) for seed in seeds for name in names]
        run_all(references(project, out), at_once, project.progress, threads)
        add_reference(out)
        run_all(jobs, at_once, project.progress, threads)


def run_all(jobs: Sequence[SweepTask], at_once: int, progress: Progress, threads: int = 1) -> None:
    """Do every run, `at_once` of them side by side; what is done already costs a second.

    Args:
        threads: of each run. Sums are split by it, so it bears on the last bit of a result; `at_once` does not.

    Raises:
        UserError: the first one that a run raised, when the runs beside it have ended.
    """
    for job, said in Local(at_once, threads, "--jobs").map_unordered(jobs, progress):
        progress(job.name, job.size, job.size, said)  # its own last words may still be on their way
