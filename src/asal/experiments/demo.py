"""A complete experiment, on the digits of scikit-learn."""

from __future__ import annotations

from collections.abc import Callable
from importlib import resources
from pathlib import Path

from asal.experiments.sweep import compare
from asal.project.project import Project
from asal.project.spec import FILE
from asal.runtime import artifacts
from asal.runtime.progress import Progress

SEEDS = range(5)


def demo(folder: Path, at_once: int, progress: Progress, say: Callable[[str], None]) -> None:
    """Prepare, run every strategy of `demo.toml` over five seeds, and leave all of it in the folder."""
    root = folder / "project"
    with artifacts.explain_disk_errors(folder):
        root.mkdir(parents=True, exist_ok=True)
        artifacts.write(root / FILE, resources.files("asal.experiments").joinpath("demo.toml").read_bytes())
    project = Project.open(root, progress)
    names = list(project.spec.strategies)
    say(f"Prepares a generator, an auto-encoder and an index on 1,297 digits; then runs {', '.join(names)},")
    say(f"each over {len(SEEDS)} seeds to {project.spec.protocol.budget} labels. Stopped, and run again, it goes on.")
    compare(project, names, SEEDS, folder, at_once)
