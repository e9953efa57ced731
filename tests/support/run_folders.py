"""Run folders with synthetic rows, as `asal run` writes them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from asal.experiments.results import Results, load
from asal.runtime.meter import Meter
from asal.runtime.rng import stream

INITIAL, BATCH = 10, 10


def write_run(folder: Path, strategy: str, seed: int, accuracy: Sequence[float], **more: Any) -> Path:
    """Write one run's rows: one per value of `accuracy`, the last without picks unless `finished` says otherwise."""
    rng = stream(seed, "made up", strategy)  # the path decides what is drawn
    classes, initial = more.get("classes", 2), more.get("initial", INITIAL)
    counts = np.full(classes, initial // classes)
    lines = []
    for number, value in enumerate(accuracy):
        last = number == len(accuracy) - 1 and more.get("finished", True)
        score = float(more.get("score", 0.3) * rng.uniform(0.9, 1.1) * (1.2 - 0.4 * number / len(accuracy)))
        seconds = dict(zip(Meter.PARTS, more.get("seconds", (0.5, 0, 0, 0.1, 0.05)), strict=True))
        row = {
            "strategy": strategy,
            "seed": seed,
            "round": number + 1,
            "labels": initial + BATCH * number,
            "accuracy": float(value),
            "mean_score": None if last else score,
            "class_counts": counts.tolist(),
            "evaluations": 0 if last else more.get("evaluations", 100),
            "seconds": {part: 0.5 * s if last else float(s * rng.uniform(0.9, 1.1)) for part, s in seconds.items()},
        }
        if "index" in more and not last:
            row["index"] = more["index"]
        if "generated" in more:
            row["generated"] = 0 if last else more["generated"]
        lines.append(json.dumps(row))
        counts = counts + rng.multinomial(BATCH, more.get("skew", [1 / classes] * classes))
    path = folder / strategy / f"seed-{seed}" / "rows.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")
    return path


def write_facts(folder: Path, strategies: Sequence[str], seeds: int, rounds: int, **facts: Any) -> None:
    description = {
        "name": "synthetic",
        "spec": {"name": "synthetic", "pool": {"source": "digits", "keep": [5, 7]}, "protocol": {"batch": BATCH}},
        "spec_hash": "0123456789ab",
        "versions": {"asal": "0.1.0", "torch": "2.13.0"},
        "commit": "0" * 40,
        "hardware": {"cpu": "two cores", "memory": "23 GiB"},
        "classes": ["5", "7"],
        "strategies": list(strategies),
        "seeds": list(range(seeds)),
        "protocol": {"initial": INITIAL, "batch": BATCH, "budget": INITIAL + BATCH * (rounds - 1), "score": "entropy"},
        "reference": {"accuracy": 0.989},
        "project": "synthetic",
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "run.json").write_text(json.dumps(description | facts))


def write_experiment(
    folder: Path, saved: Mapping[str, float], *, seeds: int = 5, rounds: int = 20, counted: bool = False, **facts: Any
) -> Path:
    """Write an experiment of synthetic curves: `saved` says what share of the labels each strategy saves.

    `counted` says whether the rows hold the number of synthetic images.
    """
    write_facts(folder, list(saved), seeds, rounds, **facts)
    classes = len(facts.get("classes", "57"))
    labels = INITIAL + BATCH * np.arange(rounds)
    for rank, (strategy, share) in enumerate(saved.items()):
        generates = "asal" in strategy
        more: dict[str, Any] = {"generated": 1_000 * generates} if counted else {}
        for seed in range(seeds):
            luck = stream(seed, "luck").normal(0, 0.15) + stream(seed, strategy).normal(0, 0.05)
            noise = stream(seed, strategy, "noise").normal(0, 0.002, rounds)
            steps = (1 + share) * labels / (35 * np.exp(luck))
            write_run(
                folder, strategy, seed, np.clip(0.988 - 0.43 * np.exp(-np.sqrt(3 * steps)) + noise, 0, 1).tolist(),
                classes=classes, score=0.2 + 0.25 * share, evaluations=(0, 10_000, 100, 210)[rank % 4],
                seconds=(0.8, 0.31, 0.04, 0.02, 0.01) if generates else (0.8, 0, 0, 0.4 * rank, 0.1 * rank), **more,
            )  # fmt: skip
            if generates:
                write_pairs(folder / strategy / f"seed-{seed}", seed, classes)
    return folder


def write_pairs(folder: Path, seed: int, classes: int, shape: tuple[int, int, int] = (28, 28, 1)) -> None:
    rng = stream(seed, "pairs")
    y, x = np.mgrid[: shape[0], : shape[1]]
    turns = rng.uniform(0, 3, (12, 1, 1, 1))
    waves = 127 + 120 * np.sin((x + y * np.cos(turns[..., 0]))[..., None] / 4 + turns)
    synthetic = np.broadcast_to(waves, (12, *shape)).astype(np.uint8)
    np.savez(
        folder / "pairs.npz",
        synthetic=synthetic,
        matched=np.where(synthetic > 127, 255 - synthetic // 3, synthetic // 2).astype(np.uint8),
        ids=rng.integers(0, 60_000, 12),
        labels=rng.integers(0, classes, 12),
        scores=rng.uniform(0.6, 0.69, 12),
        match_scores=rng.uniform(0.2, 0.6, 12),
    )


def results_of(folder: Path, runs: Mapping[str, Sequence[Sequence[float]]], **more: Any) -> Results:
    """Write and load an experiment whose accuracies are given, strategy by strategy and seed by seed."""
    rounds = max(len(accuracy) for of_seed in runs.values() for accuracy in of_seed)
    write_facts(folder, list(runs), max(map(len, runs.values())), rounds)
    for strategy, of_seed in runs.items():
        for seed, accuracy in enumerate(of_seed):
            write_run(folder, strategy, seed, accuracy, finished=len(accuracy) == rounds, **more)
    return load(folder)
