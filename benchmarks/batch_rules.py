"""Milliseconds and memory to choose a batch by "top" and by "spread": `python benchmarks/batch_rules.py`.

Features are drawn, 64 dimensions whose spread falls as after PCA, and the classifier is one linear layer on them, so
that scoring costs next to nothing and the rule is what is measured. 1,000 images are labelled. Where other processes
want the cores, CPU milliseconds are the ones to compare. Set OMP_NUM_THREADS for the threads.
"""

from __future__ import annotations

import argparse
import time
import tracemalloc
from statistics import median
from types import SimpleNamespace
from typing import Any

import numpy as np

from asal.core import Features, Ids, Inputs, Probs, Round, as_ids
from asal.models.linear_map import LinearMap
from asal.runtime.rng import stream
from asal.strategies import strategies

DIMENSIONS, CLASSES, LABELLED, REPEATS = 64, 10, 1000, 9
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "subset, top": ("subset", {"score": "margin"}),
    "spread": ("spread", {}),
    "spread, penultimate layer": ("spread", {"space": "penultimate"}),
    "uncertainty, top": ("uncertainty", {"score": "margin"}),
    "uncertainty, spread": ("uncertainty", {"score": "margin", "batch": "spread"}),
}


class Drawn:
    """A pool of features, and a linear classifier that reads them."""

    fingerprint, shape = "drawn", (1, 1, 1)
    reads: Any = "features"

    def __init__(self, images: int) -> None:
        rng = stream(0, "benchmark", images)
        self.features = rng.standard_normal((images, DIMENSIONS), np.float32)
        self.features *= np.arange(1, DIMENSIONS + 1, dtype=np.float32) ** -0.55
        self.weights = rng.standard_normal((DIMENSIONS, CLASSES), np.float32)

    def __len__(self) -> int:
        return len(self.features)

    def read(self, ids: Ids) -> Features:
        return self.features[ids]

    def predict(self, inputs: Inputs) -> Probs:
        powers = np.exp((inputs @ self.weights).astype(np.float64))
        return np.asarray(powers / powers.sum(axis=1, keepdims=True))

    def linear_map(self) -> LinearMap:
        return LinearMap(self.weights.T.astype(np.float64), np.zeros(CLASSES))

    def view(self, first: int, end: int) -> Features:
        return self.features[first:end]

    def embed(self, inputs: Inputs) -> Features:
        return inputs

    def round(self) -> Round:
        """Return a round with random labels."""
        rng = stream(1, "benchmark")
        known, labels = as_ids(rng.choice(len(self), LABELLED, replace=False)), rng.integers(CLASSES, size=LABELLED)
        tools: Any = SimpleNamespace(vectors=self)
        model: Any = self
        return Round(1, self, known, labels, model, tools, reader=self)


def measure(name: str, options: dict[str, Any], now: Round, n: int) -> tuple[float, float, float]:
    """Return median milliseconds and CPU milliseconds of a choice, and the most memory that it takes in MB."""
    choose, times = strategies[name].bind(options), []
    for number in range(REPEATS):
        start, cpu = time.perf_counter(), time.process_time()
        choose(now, n, stream(2, "benchmark", number))
        times.append((time.perf_counter() - start, time.process_time() - cpu))
    tracemalloc.start()
    choose(now, n, stream(2, "benchmark"))
    largest = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    wall, cpu = (1000 * median(column) for column in zip(*times, strict=True))
    return wall, cpu, largest / 2**20


def main() -> None:
    """Print one line for each case and size of a batch."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--images", type=int, nargs="+", default=[50_000, 1_000_000], help="sizes of the pools")
    parser.add_argument("--batches", type=int, nargs="+", default=[10, 50])
    args = parser.parse_args()
    print(f"{'images':>10}  {'case':<26}{'batch':>6}{'ms':>10}{'CPU ms':>10}{'MB':>8}")
    for images in args.images:
        now = Drawn(images).round()
        for case, (name, options) in CASES.items():
            for n in args.batches:
                ms, cpu, mb = measure(name, options, now, n)
                print(f"{images:>10,}  {case:<26}{n:>6}{ms:>10.1f}{cpu:>10.1f}{mb:>8.1f}", flush=True)


if __name__ == "__main__":
    main()
