"""Seconds of one search by each exact index, as the pool grows: `python benchmarks/index.py [--largest 1000000]`.

Vectors are a mixture of 200 clusters whose spread falls as after PCA; queries lie half-way between stored vectors,
where synthetic images lie; 500 images are left out. Set OMP_NUM_THREADS for the threads of the matrix product.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from asal.core import Features, Ids
from asal.index import indexes
from asal.vectors import StoredVectors, write_vectors

D, QUERIES, REMOVED = 50, 10, 500
SIZES = (10_000, 50_000, 400_000, 1_000_000)


def mixture(ids: Ids) -> Features:
    """Draw a batch of vectors, the same for the same ids."""
    spread = np.arange(1, D + 1) ** -0.55
    centres = np.random.default_rng(0).standard_normal((200, D))
    rng = np.random.default_rng(int(ids[0]) + 1)
    drawn = centres[rng.integers(200, size=len(ids))] + rng.standard_normal((len(ids), D))
    return np.asarray(drawn * spread, np.float32)


def seconds(work: Callable[..., object], repeats: int) -> float:
    """Return the least of several times, the first of which warms up."""
    times = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times[1:])


def measure(vectors: StoredVectors) -> None:
    """Print one line an index: preparation, opening, and a search for k = 1, 20, 30."""
    rng = np.random.default_rng(1)
    a, b = (vectors.read(rng.integers(len(vectors), size=QUERIES)) for _ in range(2))
    gone = rng.integers(len(vectors), size=REMOVED)
    exact: list[float] = []
    for name in ("exact", "kdtree"):
        indexer = indexes[name].make()
        start = time.perf_counter()
        indexer.build(vectors, vectors.folder / name)
        built = time.perf_counter()
        index = indexer.load(vectors, vectors.folder / name)
        opened = time.perf_counter()
        repeats = 15 if name == "exact" else 2
        searches = [partial(index.search, (a + b) / 2, k, without=gone) for k in (1, 20, 30)]
        took = [seconds(search, repeats) for search in searches]
        exact = exact or took
        times = "".join(f"{1000 * t:10.1f}" for t in took)
        ratios = "".join(f"{t / e:8.1f}" for t, e in zip(took, exact, strict=True))
        print(f"{len(vectors):>9,}  {name:<7}{built - start:9.2f}{opened - built:9.2f}{times}   {ratios}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--largest", type=int, default=400_000, help="the largest pool")
    largest = parser.parse_args().largest
    print(f"{QUERIES} queries, {D} dimensions, {REMOVED} images left out; build and open in s, searches in ms")
    print("   images  index      build     open       k=1      k=20      k=30      × exact: k=1, 20, 30")
    for n in (n for n in SIZES if n <= largest):
        with tempfile.TemporaryDirectory() as home:
            measure(write_vectors(Path(home), mixture, n))


if __name__ == "__main__":
    main()
