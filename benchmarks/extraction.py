"""Images per second through `prepare`, against the bare forward pass: `python benchmarks/extraction.py PROJECT`.

The project's pool and trained parts are linked into a separate folder, and the features of a space are computed again
there: reading, forward pass, projection, checks, writing and syncing. The bare pass is the same extractor over one
batch in memory, with one thread, as each worker has. Both run in one process; compare the ratio.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
import time
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from asal.core import Extractor, Pool
from asal.features.pca import Reduced
from asal.features.store import BATCH
from asal.project.project import Project
from asal.project.spec import load
from asal.runtime import environment
from asal.runtime.engine import Engine, InProcess
from asal.runtime.engine.local import Local
from asal.runtime.threads import limited_threads

REPEATS = 8


def bare(extractor: Extractor, pool: Pool) -> float:
    """Return the images per second of the extractor alone, without a projection."""
    raw = extractor.extractor if isinstance(extractor, Reduced) else extractor
    images = pool.read(np.arange(BATCH))
    with limited_threads(1):
        raw(images)
        start = time.perf_counter()
        for _ in range(REPEATS):
            raw(images)
        return REPEATS * BATCH / (time.perf_counter() - start)


def through_prepare(args: argparse.Namespace, space: str, engine: Engine) -> float:
    """Return the images per second from the first finished batch to the last written shard."""
    with tempfile.TemporaryDirectory(prefix="asal-", dir=args.folder) as home:
        root = Path(home) / "project"
        for name in ("pool", "parts"):
            shutil.copytree(args.project / name, root / name, copy_function=os.link)
        marks: list[tuple[float, int]] = []

        def progress(stage: str, done: int, total: int, note: str = "") -> None:
            if stage.endswith(f"compute the features '{space}'") and total and done:
                marks.append((time.perf_counter(), done))

        spec = load(args.spec)
        alone = {"features": {space: spec.features[space]}, "strategies": {}, "reference": None}
        Project(root, spec.model_copy(update=alone), progress=progress, engine=engine).prepare()
        (start, first), (_, last) = marks[0], marks[-1]
        return (last - first) / (time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("project", type=Path, help="a prepared project")
    parser.add_argument("--spec", type=Path, default=Path("specs/mnist-ten.toml"))
    parser.add_argument("--spaces", nargs="+", default=["autoencoder", "pixels"])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--folder", type=Path, help="a temporary place for features, on the project's disk")
    args = parser.parse_args()
    args.folder = args.folder or args.project.parent
    table = Table("space", "bare pass", "one worker", "of bare", f"{args.workers} workers", "of bare", box=None)
    for space in args.spaces:
        project = Project(args.project, load(args.spec))
        alone = bare(project.space(space).extractor, project.pool)
        one, many = through_prepare(args, space, InProcess()), through_prepare(args, space, Local(args.workers))
        rest = (f"{one:,.0f}", f"{one / alone:.2f}", f"{many:,.0f}", f"{many / alone / args.workers:.2f}")
        table.add_row(space, f"{alone:,.0f}", *rest)
    console = Console(width=120)
    console.print(table)
    console.print({**environment.hardware(), "commit": environment.commit()})


if __name__ == "__main__":
    main()
