"""Seconds to select 10 images, step by step, from pools of growing size.

    asal prepare specs/mnist-ten.toml --project projects/mnist-ten
    python benchmarks/selection.py projects/mnist-ten --spec specs/mnist-ten.toml

The pools hold small shifts of the project's own images, so that one generator and one encoder serve all sizes. Every
figure is the median of a few rounds in one process; judge by the ratios, which are taken in one run.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from asal import machine
from asal.build import Project
from asal.paper.timings import PICKS, measure
from asal.spec import load
from asal.terminal import watching

NAMES = ("asal, k-d tree", "asal, exact scan", "subset of 1,000", "maximum entropy")


def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("project", type=Path, help="a prepared project with a generator and an auto-encoder")
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 50_000, 400_000])
    parser.add_argument("--spec", type=Path, default=Path("specs/mnist-two.toml"))
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    console = Console(width=120)
    with watching(console) as watch:
        timings = measure(Project(args.project, load(args.spec)), args.sizes, NAMES, watch).timings
    heads = ("strategy", "images", "matching", "reading", "all but reading", "× the smallest pool's")
    table = Table(*heads, title=f"seconds to select {PICKS}")
    for name in NAMES:
        lines = [timing for timing in timings if timing.strategy == name]
        for line in lines:
            parts = (f"{seconds:.4f}" for seconds in (line.matching, line.io, line.seconds))
            how = " (predicted)" if line.predicted else ""
            table.add_row(name, f"{line.images:,}{how}", *parts, f"{line.seconds / lines[0].seconds:.2f}")
    console.print(table)
    console.print({**machine.hardware(), "threads": args.threads, "commit": machine.commit()})


if __name__ == "__main__":
    main()
