"""The whole way through, on the digits that come with scikit-learn."""

from __future__ import annotations

from collections.abc import Callable
from importlib import resources
from pathlib import Path

from asal.build import Project
from asal.experiment import Job, begin
from asal.fleet import run_all
from asal.progress import Watch
from asal.spec import FILE, load

SEEDS = range(5)


def demo(folder: Path, at_once: int, watch: Watch, say: Callable[[str], None]) -> None:
    """Prepare, run every strategy of `demo.toml` over five seeds, and leave all of it in the folder."""
    root = folder / "project"
    root.mkdir(parents=True, exist_ok=True)
    (root / FILE).write_text(resources.files("asal").joinpath("demo.toml").read_text())
    spec = load(root)
    project = Project(root, spec, watch=watch)
    say("Preparing: 1,297 digits, a generator, an auto-encoder, an index")
    project.prepare()
    names = list(spec.strategies)
    begin(project, names, SEEDS, folder)
    say(f"Running: {', '.join(names)}, each over {len(SEEDS)} seeds, to {spec.protocol.budget} labels")
    run_all([Job(root, spec, name, seed, folder) for seed in SEEDS for name in names], at_once, watch)
