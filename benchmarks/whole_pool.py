"""Seconds and memory to score the whole of a large pool by a linear head: `python benchmarks/whole_pool.py --folder F`.

Features are drawn: 16 million × 64 float32 (4 GB, below F, deleted at the end), whose spread falls as after PCA. The
head has ten classes; 1,000 images are labelled. Each case runs in a process of its own and is repeated. What it is
compared with:

- `bare product`: the same rows times the head's weights, and nothing else: what no way of scoring can do without;
- `by predict`: the same strategy with a classifier that does not declare its linear map, so that every block of 4,096
  is copied, goes through the head's `predict`, and is scored in float64.

Memory is the peak beyond that after a selection from 20,000 images, which loads the libraries, without mapped pages of
the file, which the system drops when it needs them. The first selection of a process also maps the file; the median is
that of the others.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import nn

from asal.core import Features, Ids, Inputs, Probs, Round, as_ids
from asal.features.store import StoredVectors, write_vectors
from asal.models.learners.head import HeadModel
from asal.models.linear_map import linear_map_of
from asal.runtime import environment
from asal.runtime.rng import stream
from asal.runtime.threads import map_in_threads
from asal.strategies import strategies

LABELLED, WARM = 1000, 20_000
PRODUCT, SLOW = "bare product", "by predict: "
CASES: dict[str, dict[str, Any]] = {
    PRODUCT: {},
    "margin": {"score": "margin"},
    "entropy": {"score": "entropy"},
    "least confidence": {"score": "least-confidence"},
    "margin, spread": {"score": "margin", "batch": "spread"},
    f"{SLOW}margin": {"score": "margin"},
    f"{SLOW}entropy": {"score": "entropy"},
    f"{SLOW}margin, spread": {"score": "margin", "batch": "spread"},
}


class ByPredict:
    """A head that does not say that it is linear."""

    reads = "features"

    def __init__(self, head: HeadModel) -> None:
        self._head = head

    def predict(self, inputs: Inputs) -> Probs:
        """Return the head's probabilities."""
        return self._head.predict(inputs)


class Rows:
    """A pool of which there are only features, or the first so many."""

    fingerprint, shape = "drawn", (1, 1, 1)

    def __init__(self, vectors: StoredVectors, size: int) -> None:
        self._vectors, self._size = vectors, size

    def __len__(self) -> int:
        return self._size

    def read(self, ids: Ids) -> Features:
        """Return the features of some images."""
        return self._vectors.read(ids)


def write(folder: Path, images: int, dim: int) -> None:
    """Draw the features."""
    spread = np.arange(1, dim + 1, dtype=np.float32) ** -0.55

    def drawn(ids: Ids) -> Features:
        return stream(0, "whole pool", int(ids[0])).standard_normal((len(ids), dim), np.float32) * spread

    write_vectors(folder, drawn, images, batch=65_536)


def round_of(vectors: StoredVectors, size: int, classes: int, case: str) -> Round:
    """Return a round with random labels and a head with random weights, of the first so many images."""
    rng = stream(1, "whole pool")
    layer = nn.utils.skip_init(nn.Linear, vectors.dim, classes)
    layer.weight.data, layer.bias.data = (
        torch.from_numpy(rng.standard_normal(shape, np.float32)) for shape in ((classes, vectors.dim), (classes,))
    )
    head = HeadModel(nn.Sequential(layer).eval().requires_grad_(False))
    known, labels = as_ids(rng.choice(size, LABELLED, replace=False)), rng.integers(classes, size=LABELLED)
    model: Any = ByPredict(head) if case.startswith(SLOW) else head
    tools: Any = SimpleNamespace(vectors=vectors)
    return Round(1, Rows(vectors, size), known, labels, model, tools, reader=vectors)


def product(now: Round, rows: int = 8192) -> None:
    """Multiply all rows with the head's weights."""
    linear, vectors = linear_map_of(now.model), now.tools.vectors
    assert linear is not None
    columns = np.ascontiguousarray(linear.weights.T, np.float32)

    def multiply(start: int) -> None:
        view = vectors.view(start, min(start + rows, len(now.pool)))  # type: ignore[attr-defined]
        np.matmul(view, columns)

    for _ in map_in_threads(multiply, range(0, len(now.pool), rows)):
        pass


def memory(name: str) -> float:
    """Return a line of the kernel's account of this process, in MiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) / 1024


def select(args: argparse.Namespace, now: Round, case: str) -> list[int]:
    """Do what is timed, and return the picks."""
    if case == PRODUCT:
        product(now)
        return []
    chosen = strategies["uncertainty"].make(now, args.picks, stream(2, "whole pool"), **CASES[case])
    return [int(image) for image in chosen.ids]


def measure(args: argparse.Namespace, folder: Path, case: str) -> dict[str, Any]:
    """Time a case in this process."""
    vectors = StoredVectors.open(folder)
    select(args, round_of(vectors, WARM, args.classes, case), case)  # loads libraries
    now = round_of(vectors, len(vectors), args.classes, case)
    walls, cpus, extra, picked = [], [], 0.0, list[int]()
    for _ in range(args.repeats + 1):
        Path("/proc/self/clear_refs").write_text("5")  # resets the peak
        before, files = memory("VmRSS"), memory("RssFile")
        start, cpu = time.perf_counter(), time.process_time()
        picked = select(args, now, case)
        walls.append(time.perf_counter() - start)
        cpus.append(time.process_time() - cpu)
        extra = max(extra, memory("VmHWM") - before - max(memory("RssFile") - files, 0.0))
    warm = {"seconds": median(walls[1:]), "cpu": median(cpus[1:])}
    return {"first": walls[0], **warm, "extra": extra, "picked": picked}


def elsewhere(args: argparse.Namespace, folder: Path, case: str) -> dict[str, Any]:
    """Time a case in a process of its own."""
    same = ["--classes", args.classes, "--picks", args.picks, "--repeats", args.repeats, "--threads", args.threads]
    words = [sys.executable, __file__, "--folder", folder, *same, "--case", case]
    threads = {f"{name}_NUM_THREADS": str(args.threads) for name in ("OMP", "OPENBLAS", "MKL")}
    child = subprocess.run(
        [str(word) for word in words], env={**os.environ, **threads}, stdout=subprocess.PIPE, text=True, check=True
    )
    result: dict[str, Any] = json.loads(child.stdout.splitlines()[-1])
    return result


def table(args: argparse.Namespace, folder: Path) -> Table:
    """Return a line for each case."""
    heads = ("", "seconds", "CPU s", "first, s", "× bare product", "× by predict", "extra MiB", "same picks")
    task = f"{args.picks} of {args.images:,} × {args.dim} by a linear head of {args.classes} classes"
    shown = Table(*heads, title=f"{task}, {args.threads} threads")
    found = {case: elsewhere(args, folder, case) for case in args.cases}
    for case, it in found.items():
        slow, bare = found.get(f"{SLOW}{case}"), found.get(PRODUCT)
        shown.add_row(
            case,
            *(f"{it[name]:.2f}" for name in ("seconds", "cpu", "first")),
            f"{it['seconds'] / bare['seconds']:.2f}" if bare else "",
            f"1 / {slow['seconds'] / it['seconds']:.1f}" if slow else "",
            f"{it['extra']:.0f}",
            f"{len(set(it['picked']) & set(slow['picked']))} of {args.picks}" if slow else "",
        )
    return shown


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help="a place for the features: 4 GB for 16 million")
    parser.add_argument("--images", type=int, default=16_000_000)
    parser.add_argument("--dim", type=int, default=64)
    parser.add_argument("--classes", type=int, default=10)
    parser.add_argument("--picks", type=int, default=10)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--case", choices=CASES, help="measure only this case, in this process, on features in FOLDER")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if args.case:
        print(json.dumps(measure(args, args.folder, args.case)))
        return
    args.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=args.folder) as home:
        write(Path(home), args.images, args.dim)
        shown = table(args, Path(home))
    console = Console(width=140)
    console.print(shown)
    console.print({**environment.hardware(), "load": os.getloadavg(), "commit": environment.commit()})


if __name__ == "__main__":
    main()
