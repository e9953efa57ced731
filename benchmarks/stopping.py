"""When each stopping criterion is met, and the accuracy at that point.

    asal prepare specs/mnist-two.toml --project projects/mnist-two
    python benchmarks/stopping.py projects/mnist-two --spec specs/mnist-two.toml --strategies subset-1000 asal-rerank

The runs are those of `asal run`, with predictions on the stop set after each round. For each criterion the table shows
in how many seeds it was met within the budget, the labels at which it first was (median, minimum and maximum), the
accuracy there and at the budget (means over the same seeds), and the share of later rounds in which it was met too.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from asal.experiments.evaluation import Evaluation
from asal.experiments.run import Initial
from asal.labelling.stopping import CRITERIA, ENOUGH, Look, look, stop_set, verdicts
from asal.project.project import Project
from asal.project.spec import load
from asal.runtime import environment
from asal.session.events import Record
from asal.session.session import Session

HEADS = ("criterion", "seeds", "labels", "least–most", "accuracy", "at the budget", "met later")


@dataclass(frozen=True)
class RoundOutcome:
    """One round: the predictions on the stop set, and the accuracy on the test set."""

    look: Look
    accuracy: float


def rounds(project: Project, strategy: str, seed: int, size: int) -> Iterator[RoundOutcome]:
    """Yield the rounds of one run, up to the budget."""
    protocol, oracle, test_set = project.spec.protocol, project.oracle("pool"), Evaluation.of(project)
    plan = project.plan(strategy, oracle.classes, seed, first=Initial(oracle, protocol.draw, seed))
    ids = stop_set(len(project.pool), seed, size)
    with Record.open("sqlite://") as record:
        session = Session(project.pool, record, plan, project.tools(strategy))
        while (labels := len(session.labelled)) < protocol.budget:
            batch = session.ask(min(protocol.batch if labels else protocol.initial, protocol.budget - labels))
            answers = oracle.answer(batch.ids).tolist()
            session.tell(
                {image: label if label >= 0 else None for image, label in zip(batch.ids, answers, strict=True)}
            )
            model = session.model()
            yield RoundOutcome(
                look(model.predict(project.pool.read(ids)), len(session.labelled)), test_set.accuracy(model)
            )


@dataclass(frozen=True)
class Stop:
    """Where one criterion was first met in one run."""

    labels: int
    accuracy: float
    final: float  # accuracy at the budget
    kept: float | None  # share of the later rounds in which it was met too


def stops(outcomes: Sequence[RoundOutcome]) -> dict[str, Stop | None]:
    """Return for each criterion, and for two of them in one round, where it was first met."""
    looks = [outcome.look for outcome in outcomes]
    met = np.array([[verdict.met for verdict in verdicts(looks[:end])] for end in range(1, len(looks) + 1)])
    columns = {criterion.name: met[:, place] for place, criterion in enumerate(CRITERIA)}
    columns[f"{ENOUGH} of {len(CRITERIA)}"] = met.sum(axis=1) >= ENOUGH
    first_met: dict[str, Stop | None] = {}
    for name, column in columns.items():
        if not column.any():
            first_met[name] = None
            continue
        first = int(column.argmax())
        kept = float(column[first + 1 :].mean()) if first + 1 < len(column) else None
        first_met[name] = Stop(looks[first].labels, outcomes[first].accuracy, outcomes[-1].accuracy, kept)
    return first_met


def table(strategy: str, runs: Sequence[Sequence[RoundOutcome]]) -> Table:
    """Return one line per criterion."""
    lines = Table(*HEADS, title=strategy)
    every = [stops(outcomes) for outcomes in runs]
    for name in every[0]:
        its = [stop for first_met in every if (stop := first_met[name])]
        if not its:
            lines.add_row(name, f"0 of {len(runs)}", *["–"] * 5)
            continue
        labels, later = [stop.labels for stop in its], [stop.kept for stop in its if stop.kept is not None]
        lines.add_row(
            name,
            f"{len(its)} of {len(runs)}",
            f"{np.median(labels):.0f}",
            f"{min(labels)}–{max(labels)}",
            f"{np.mean([stop.accuracy for stop in its]):.4f}",
            f"{np.mean([stop.final for stop in its]):.4f}",
            f"{np.mean(later):.0%}" if later else "–",
        )
    return lines


def main() -> None:
    """Print a table for each strategy."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("project", type=Path, help="a prepared project with a test set")
    parser.add_argument("--spec", type=Path, default=Path("specs/mnist-two.toml"))
    parser.add_argument("--strategies", nargs="+", default=["subset-1000", "asal-rerank"])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--size", type=int, default=1000, help="images in the stop set")
    parser.add_argument("--out", type=Path, help="a file for every round's numbers, as JSON lines")
    args = parser.parse_args()
    torch.set_num_threads(1)
    console, project = Console(width=140), Project(args.project, load(args.spec))
    for strategy in args.strategies:
        runs = []
        for seed in range(args.seeds):
            runs.append(list(rounds(project, strategy, seed, args.size)))
            if args.out:
                facts = (
                    {"strategy": strategy, "seed": seed, "accuracy": s.accuracy, **s.look.to_json()} for s in runs[-1]
                )
                with args.out.open("a") as file:
                    file.writelines(json.dumps(fact) + "\n" for fact in facts)
        console.print(table(strategy, runs))
    console.print({**environment.hardware(), "threads": 1, "commit": environment.commit()})


if __name__ == "__main__":
    main()
