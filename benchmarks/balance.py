"""The effect of `balance` on an uneven pool: labels of the rare classes, and accuracy.

    asal prepare specs/mnist-ten.toml --project projects/mnist-ten
    python benchmarks/balance.py projects/mnist-ten --spec specs/mnist-ten.toml

Each seed draws its own pool from the project's: half of the classes keep `--common` images each, the rest
`--rare`. Strategies of one seed begin with the same images. Accuracy is over the classes of the project's test set,
with equal weights (balanced accuracy), and over the rare classes alone. Differences are paired by seed, ± half their
95% interval.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from sklearn.metrics import recall_score

from asal.core import Ids, Images, Labels, as_ids
from asal.experiments.statistics import estimate
from asal.models.learners import learners
from asal.project.project import Project
from asal.project.spec import load
from asal.runtime import environment
from asal.runtime.rng import stream
from asal.session.events import Record
from asal.session.plan import Chooser, Plan
from asal.session.session import Session
from asal.strategies import strategies
from asal.strategies.class_balance import balanced


@dataclass(frozen=True)
class SubPool:
    """Some images of a pool, with new ids."""

    pool: Any
    among: Ids
    fingerprint: str = "some"

    @property
    def shape(self) -> tuple[int, int, int]:
        shape: tuple[int, int, int] = self.pool.shape
        return shape

    def __len__(self) -> int:
        return len(self.among)

    def read(self, ids: Ids) -> Images:
        return self.pool.read(self.among[as_ids(ids)])


@dataclass(frozen=True)
class Outcome:
    """The outcome of one run."""

    rare: float  # share of the labels that are of rare classes
    least: int  # labels of the class with the fewest
    accuracy: float  # balanced
    of_rare: float  # balanced, over the rare classes


def uneven(labels: Labels, common: int, rare: int, rng: np.random.Generator) -> tuple[Ids, list[int]]:
    """Return ids of an uneven pool, in random order, and its rare classes."""
    classes = rng.permutation(int(labels.max()) + 1).tolist()
    few = sorted(classes[: len(classes) // 2])
    drawn = [rng.choice(np.flatnonzero(labels == c), rare if c in few else common, replace=False) for c in classes]
    return as_ids(rng.permutation(np.concatenate(drawn))), few


def run(project: Project, chooser: Chooser, seed: int, args: argparse.Namespace) -> Outcome:
    """Label up to the budget and measure."""
    truth = project.oracle("pool").answer(np.arange(len(project.pool)))
    among, few = uneven(truth, args.common, args.rare, stream(seed, "uneven"))
    test = project.oracle("test").answer(np.arange(len(project.test)))
    classes = project.oracle("pool").classes
    with Record.open("sqlite://") as record:
        plan = Plan(classes, learners["linear"].bind({"l2": 0.01}), chooser, seed=seed)
        session = Session(SubPool(project.pool, among), record, plan)
        while (labelled := len(session.labelled)) < args.budget:
            batch = session.ask(args.batch if labelled else args.initial)
            session.tell(zip(batch.ids.tolist(), truth[among[batch.ids]].tolist(), strict=True))
        predicted = session.model().predict(project.test.read(np.arange(len(test)))).argmax(1)
        counts = np.bincount(session.labels, minlength=len(classes))
    recalls = recall_score(test, predicted, average=None)
    return Outcome(
        float(counts[few].sum() / counts.sum()), int(counts.min()), float(recalls.mean()), float(recalls[few].mean())
    )


def table(runs: Mapping[str, Sequence[Outcome]]) -> Table:
    """Return one line per variant; one with `balance` is compared with the plain one before it."""
    lines = Table(
        "variant", "labels of rare classes", "of the rarest", "balanced accuracy", "Δ", "rare classes alone", "Δ"
    )
    plain: Sequence[Outcome] = []
    for name, its in runs.items():
        cells = [f"{np.mean([it.rare for it in its]):.1%}", f"{np.mean([it.least for it in its]):.1f}"]
        compared = "balance" in name
        plain = plain if compared else its
        for fact in ("accuracy", "of_rare"):
            cells.append(f"{np.mean([getattr(it, fact) for it in its]):.4f}")
            gaps = np.array([getattr(a, fact) - getattr(b, fact) for a, b in zip(its, plain, strict=True)])
            known = estimate(gaps)
            cells.append(f"{known.mean:+.4f} ± {known.high - known.mean:.4f}" if compared else "")
        lines.add_row(name, *cells)
    return lines


def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("project", type=Path, help="a project with labels and a test set; only its images are used")
    parser.add_argument("--spec", type=Path, default=Path("specs/mnist-ten.toml"))
    parser.add_argument("--common", type=int, default=2000)
    parser.add_argument("--rare", type=int, default=200)
    parser.add_argument("--initial", type=int, default=20)
    parser.add_argument("--batch", type=int, default=10)
    parser.add_argument("--budget", type=int, default=300)
    parser.add_argument("--times", type=int, nargs="+", default=[2, 4, 10])
    parser.add_argument("--seeds", type=int, default=10)
    args = parser.parse_args()
    torch.set_num_threads(1)
    project = Project(args.project, load(args.spec))
    ways: dict[str, Chooser] = {}
    for name, options in (("random", {}), ("subset", {"size": 1000, "score": "entropy"})):
        chooser = strategies[name].bind(options)
        ways |= {name: chooser} | {f"{name}, balance = {times}": balanced(chooser, times) for times in args.times}
    runs = {name: [run(project, way, seed, args) for seed in range(args.seeds)] for name, way in ways.items()}
    console = Console(width=140)
    console.print(table(runs))
    console.print({**environment.hardware(), "threads": 1, "commit": environment.commit()})


if __name__ == "__main__":
    main()
