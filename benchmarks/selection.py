"""Seconds to select 10 images, step by step, from pools of growing size.

    asal prepare specs/mnist-two.toml --project projects/mnist-two
    python benchmarks/selection.py projects/mnist-two

The pools hold small random shifts of the project's own images, so that one generator and one encoder serve all sizes.
Every figure is the median of a few rounds in one process; judge by the ratios, which are taken in one run.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from asal import machine
from asal.build import Project
from asal.core import Extractor, Generator, Ids, Images, Index, Learner, Model, Pool, Round, Vectors
from asal.index.exact import Exact
from asal.ingest import Split, ingest
from asal.learners.linear import Linear
from asal.meter import Meter
from asal.pool import StoredPool
from asal.rng import stream
from asal.session import Chooser
from asal.sources.arrays import Arrays
from asal.spec import load
from asal.strategies.asal import asal
from asal.strategies.uncertainty import subset, uncertainty
from asal.vectors import write_vectors

PICKS = 10
LABELLED = 100


@dataclass(frozen=True)
class Bench:
    """The tools of a round, over an enlarged pool."""

    generator: Generator
    extractor: Extractor
    vectors: Vectors
    index: Index


def enlarged(base: Pool, n: int, folder: Path) -> StoredPool:
    """Write a pool of n images, each a random image of the base shifted by up to two pixels, and open it."""
    rng = stream(0, "enlarged", n)
    images: Images = np.empty((n, *base.shape), np.uint8)
    for start in range(0, n, 4096):
        ids = rng.integers(len(base), size=min(4096, n - start))
        shifts = rng.integers(-2, 3, size=(len(ids), 2))
        images[start : start + len(ids)] = [
            np.roll(image, shift, (0, 1)) for image, shift in zip(base.read(ids), shifts.tolist(), strict=True)
        ]
    (folder / "source").mkdir()
    np.save(folder / "source" / "images.npy", images)
    ingest(Arrays(str(folder / "source" / "images.npy")), folder, Split(), gray=base.shape[2] == 1)
    return StoredPool.open(folder / "pool")


def measure(strategy: Chooser, pool: Pool, tools: Bench, model: Model, labelled: Ids, rounds: int) -> dict[str, float]:
    """Return the median seconds of each part of a selection, and of their sum; the first round only warms up."""
    splits = []
    for number in range(rounds + 1):
        meter = Meter()
        labels = np.zeros(len(labelled), np.int64)
        now = Round(number, pool, labelled, labels, model, tools, meter=meter)
        with meter.part("score"):
            strategy(now, PICKS, stream(0, "selection", number))
        splits.append({**meter.split(), "total": sum(meter.split().values())})
    return {part: median(split[part] for split in splits[1:]) for part in splits[0]}


def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("project", type=Path, help="a prepared project with generator and auto-encoder")
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 50_000, 400_000])
    parser.add_argument("--spec", type=Path, default=Path("specs/mnist-two.toml"))
    parser.add_argument("--features", default="autoencoder")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    project = Project(args.project, load(args.spec))
    learner: Learner = Linear()
    ids = stream(0, "labelled").choice(len(project.pool), LABELLED, replace=False)
    answers = project.oracle("pool")
    model = learner.fit(project.pool.read(ids), answers.answer(ids), len(answers.classes), stream(0, "learner"))
    strategies: dict[str, Chooser] = {
        "asal (paper)": partial(asal, paper=True),
        "asal (re-ranked)": asal,
        "subset, M = 1000": partial(subset, size=1000),
        "uncertainty": uncertainty,
    }
    parts = ("generate", "match", "score", "io", "total")
    table = Table("strategy", "pool", *parts, "total, × the smallest pool's", title=f"seconds to select {PICKS}")
    first: dict[str, float] = {}
    for n in sorted(args.sizes):
        with tempfile.TemporaryDirectory() as scratch:
            pool = enlarged(project.pool, n, Path(scratch))
            space = project.space(args.features)
            vectors = write_vectors(Path(scratch) / "vectors", lambda ids, p=pool, s=space: s.extractor(p.read(ids)), n)
            exact = Exact()
            (Path(scratch) / "index").mkdir()
            exact.build(vectors, Path(scratch) / "index")
            tools = Bench(project.generator, space.extractor, vectors, exact.load(vectors, Path(scratch) / "index"))
            for name, strategy in strategies.items():
                split = measure(strategy, pool, tools, model, np.arange(LABELLED), args.rounds)
                base = first.setdefault(name, split["total"])
                table.add_row(name, f"{n:,}", *(f"{split[p]:.4f}" for p in parts), f"{split['total'] / base:.2f}")
    console = Console(width=120)
    console.print(table)
    console.print({**machine.hardware(), "threads": args.threads, "commit": machine.commit()})


if __name__ == "__main__":
    main()
