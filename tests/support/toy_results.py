"""Synthetic results and showcases in memory, whose verdicts can be worked out by hand."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from asal.experiments.results import Reference, Results, Run
from asal.paper.showcase import SYNTHETIC, Matches, Showcase
from asal.runtime.meter import Meter
from asal.strategies.synthesis import Synthetic

Curves = dict[str, Sequence[Sequence[float]]]  # strategy → seeds → accuracies
FIXED_SPACES = {"pixels": True, "classifier": False}


def run_of(strategy: str, seed: int, accuracy: Sequence[float], scores: Sequence[float], finished: bool) -> Run:
    """Return a run of 10, 20, 30 … labels."""
    n = len(accuracy)
    nothing = np.zeros(n, np.int64)
    return Run(
        strategy, seed, np.arange(1, n + 1), 10 * np.arange(1, n + 1), np.array(accuracy, np.float64),
        np.array([*scores, np.nan][:n], np.float64), np.zeros((n, 2), np.int64), nothing, nothing,
        np.zeros((n, len(Meter.PARTS))), finished, True,
    )  # fmt: skip


def world(
    curves: Curves,
    *,
    scores: Curves | None = None,
    unfinished: Sequence[tuple[str, int]] = (),
    reference: Reference | None = None,
) -> Results:
    """Return the results of these curves; scores are of the picks, one fewer than trainings."""
    runs = [
        run_of(name, seed, line, (scores or {}).get(name, [[]] * (seed + 1))[seed], (name, seed) not in unfinished)
        for name, lines in curves.items()
        for seed, line in enumerate(lines)
    ]
    rounds = max(len(run.labels) for run in runs)
    facts = {"strategies": list(curves), "protocol": {"budget": 10 * rounds}, "seeds": list(range(9))}
    return Results(Path(), facts, tuple(runs), reference)


def level(values: Sequence[float], rounds: int = 3) -> list[list[float]]:
    """Return level curves, so that area and every accuracy are the value itself."""
    return [[value] * rounds for value in values]


def showcase_of(**changes: Any) -> Showcase:
    """Return a hundred synthetic images of rising entropy, each matched by one of its class with half its entropy."""
    nothing: Any = None
    rising = np.linspace(0.5, 1.0, SYNTHETIC)
    synthetic = Synthetic(nothing, nothing, changes.get("synthetic", rising))
    labels = np.arange(SYNTHETIC) % 2
    teacher = np.full((SYNTHETIC, 2), 0.04)
    teacher[np.arange(SYNTHETIC), changes.get("predicted", labels)] = 0.96
    distances, scores = changes.get("distances", rising), changes.get("scores", rising / 2)
    spaces = tuple(
        Matches(space, np.arange(SYNTHETIC), labels, distances, scores, fixed) for space, fixed in FIXED_SPACES.items()
    )
    return Showcase(synthetic, changes.get("teacher", teacher), spaces, 0.1, ("5", "7"), nothing)
