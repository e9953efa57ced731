"""What a head on stored features reaches: how features are scaled, the l2 that it chooses, a hidden layer, seconds.

    asal prepare --project projects/photos
    python benchmarks/head.py projects/photos --space photos

For each number of labels, heads are fitted to random labels of the pool, the same ones for every variant, and measured
on the test set: accuracy, cross entropy in nats, the mean of the largest probability, which equals the accuracy where
probabilities are calibrated, and processor seconds of a fit. "The best l2" is chosen on the test set: it is a bound.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from asal.core import Features, Labels, Model
from asal.models.learners.head import Head
from asal.models.learners.softmax import GRID
from asal.project.project import Project
from asal.project.resources import LearnerFeatures
from asal.runtime import environment
from asal.runtime.rng import stream

BEST = "the best l2, by the test set"


@dataclass(frozen=True)
class Part:
    """Vectors (n, d) and labels (n,) of a part of the project's images; those without a label are left out."""

    x: Features
    labels: Labels

    @classmethod
    def of(cls, project: Project, space: str, part: str) -> Part:
        """Read them."""
        labels = project.oracle(part).answer(np.arange(len(project.images(part))))
        known = np.flatnonzero(labels >= 0)
        return cls(LearnerFeatures(project, space, part).read(known), labels[known])


@dataclass(frozen=True)
class Measured:
    """A model on the test set."""

    accuracy: float
    loss: float
    confidence: float
    seconds: float

    @classmethod
    def of(cls, fit: Callable[[], Model], test: Part, change: Callable[[Features], Features]) -> Measured:
        """Fit, and measure on the test set, whose vectors are changed first."""
        began = time.process_time()
        model = fit()
        seconds = time.process_time() - began
        probs = model.predict(change(test.x))
        right = float((probs.argmax(axis=1) == test.labels).mean())
        true = np.maximum(probs[np.arange(len(probs)), test.labels], 1e-12)
        return cls(right, float(-np.log(true).mean()), float(probs.max(axis=1).mean()), seconds)


def variants(known: Part, test: Part, classes: int, seed: int) -> dict[str, Measured]:
    """Fit every variant to the same labels."""
    deviations = known.x.std(axis=0)
    deviations = np.maximum(deviations, 1e-6 * deviations.max())

    def measured(head: Head, change: Callable[[Features], Features] = lambda x: x) -> Measured:
        x = change(known.x)
        return Measured.of(lambda: head.fit(x, known.labels, classes, stream(seed, "learner")), test, change)

    fixed = [measured(Head(l2=float(l2))) for l2 in GRID]
    return {
        "one scale, l2 by cross-validation": measured(Head()),
        BEST: min(fixed, key=lambda one: one.loss),
        "each dimension by its own deviation": measured(Head(), lambda x: x / deviations),
        "128 hidden units": measured(Head(hidden=128)),
    }


def main() -> None:
    """Print one table for each number of labels."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("project", type=Path)
    parser.add_argument("--space", required=True)
    parser.add_argument("--labels", type=int, nargs="+", default=[20, 50, 100, 300, 1000])
    parser.add_argument("--seeds", type=int, default=5)
    options = parser.parse_args()
    project, console = Project.open(options.project), Console(width=120)
    pool, test = (Part.of(project, options.space, part) for part in ("pool", "test"))
    classes = len(project.oracle("pool").classes)
    console.print(
        f"{len(pool.x):,} × {pool.x.shape[1]} vectors, {len(test.x):,} of the test set; {environment.facts()}"
    )
    for n in options.labels:
        table = Table("variant", "accuracy", "cross entropy", "confidence", "seconds", title=f"{n:,} labels")
        found: dict[str, list[Measured]] = {}
        for seed in range(options.seeds):
            rows = stream(seed, "labels").permutation(len(pool.x))[:n]
            for name, one in variants(Part(pool.x[rows], pool.labels[rows]), test, classes, seed).items():
                found.setdefault(name, []).append(one)
        for name, some in found.items():
            means = np.mean([(it.accuracy, it.loss, it.confidence, it.seconds) for it in some], axis=0)
            table.add_row(name, f"{means[0]:.1%}", f"{means[1]:.2f}", f"{means[2]:.1%}", f"{means[3]:.2f}")
        console.print(table)


if __name__ == "__main__":
    main()
