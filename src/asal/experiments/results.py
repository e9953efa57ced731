"""What a folder of runs holds, finished or not: every run's rows, and the facts that they share."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from shlex import quote
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from asal.errors import DamageError, UserError, reason, unknown
from asal.experiments.round_row import NOT_A_ROW, RoundRow
from asal.experiments.table import table
from asal.runtime.artifacts import damaged, read_json
from asal.runtime.meter import Meter

Floats: TypeAlias = npt.NDArray[np.float64]
Ints: TypeAlias = npt.NDArray[np.int64]

BASELINE = "random"
FACTS = "run.json"


@dataclass(frozen=True)
class Run:
    """One strategy under one seed; r rounds, k classes."""

    strategy: str
    seed: int
    rounds: Ints  # (r,)          one after another
    labels: Ints  # (r,)          how many were labelled when the classifier was trained, ascending
    accuracy: Floats  # (r,)      on the test set, 0 … 1
    mean_score: Floats  # (r,)    of the picks made after this training; NaN where none were made
    class_counts: Ints  # (r, k)
    evaluations: Ints  # (r,)     pool images that went through the classifier for those picks
    generated: Ints  # (r,)       synthetic images that went through it, once a step; 0 in rows without a count
    seconds: Floats  # (r, 5)     in the order of Meter.PARTS
    finished: bool
    counts_generated: bool  # whether every row counts synthetic images
    index_checks: tuple[Mapping[str, float], ...] = ()  # of an approximate index, by round

    @property
    def spent(self) -> Ints:
        """Images that had gone through the classifier by the time of each training, of either kind  # (r,)."""
        return np.concatenate([[0], np.cumsum(self.evaluations + self.generated)[:-1]])

    def since(self, labels: int) -> Run:
        """Return the run from the first training with at least so many labels on."""
        first = int(np.searchsorted(self.labels, labels))
        if first == 0:
            return self
        arrays = {
            f.name: getattr(self, f.name)[first:] for f in fields(self) if isinstance(getattr(self, f.name), np.ndarray)
        }
        return replace(self, **arrays)

    @property
    def hides_generated(self) -> bool:
        """Whether it generated images without counting them, as an older asal did."""
        return not self.counts_generated and bool(self.seconds[:, Meter.PARTS.index("generate")].any())


@dataclass(frozen=True)
class Reference:
    """The classifier that was trained on every label; accuracies are on the test set, 0 … 1."""

    accuracy: float  # mean over the seeds
    accuracies: tuple[float, ...]  # by seed; empty where only the mean was kept
    labels: int | None
    settings: Mapping[str, Any]

    @property
    def low(self) -> float:
        """The worst seed's."""
        return min(self.accuracies, default=self.accuracy)

    @property
    def high(self) -> float:
        """The best seed's."""
        return max(self.accuracies, default=self.accuracy)


def _reference(facts: Mapping[str, Any], path: Path) -> Reference | None:
    entry = facts.get("reference")
    if not entry:
        return None
    try:
        accuracy, accuracies = float(entry["accuracy"]), tuple(map(float, entry.get("accuracies") or ()))
        labels = None if entry.get("labels") is None else int(entry["labels"])
        known = all(0 <= x <= 1 for x in (accuracy, *accuracies))
    except (KeyError, TypeError, ValueError, AttributeError):
        known = False
    if not known:
        raise UserError(
            f"{path} has the reference {entry}, which is not an accuracy",
            rule='a reference is {"accuracy": …, "accuracies": […]}, between 0 and 1 and measured on the test set',
            hint="fix that entry, or remove it: no run depends on it",
        )
    return Reference(accuracy, accuracies, labels, entry.get("settings") or {})


@dataclass(frozen=True)
class Results:
    """All that a folder of runs holds, in the order of the spec."""

    folder: Path
    facts: Mapping[str, Any]  # run.json
    runs: tuple[Run, ...]  # those with at least one round
    reference: Reference | None = None  # where it is known

    @property
    def strategies(self) -> list[str]:
        return list(self.facts["strategies"])

    @property
    def budget(self) -> int:
        return int(self.facts["protocol"]["budget"])

    @property
    def unfinished(self) -> list[tuple[str, int, int]]:
        """Strategy, seed and labels reached of every run that is not done; 0 where it has not begun."""
        reached = {(run.strategy, run.seed): run for run in self.runs}
        pairs = [(strategy, int(seed)) for strategy in self.strategies for seed in self.facts["seeds"]]
        undone = [pair for pair in pairs if pair not in reached or not reached[pair].finished]
        return [(*pair, int(reached[pair].labels[-1]) if pair in reached else 0) for pair in undone]

    def of(self, strategy: str) -> list[Run]:
        """Return a strategy's finished runs, by seed."""
        return [run for run in self.begun(strategy) if run.finished]

    def begun(self, strategy: str) -> list[Run]:
        """Return a strategy's runs with at least one round, by seed."""
        return [run for run in self.runs if run.strategy == strategy]

    def table(self) -> Any:
        """Return every round of every run, a row each: a pandas.DataFrame where pandas is installed, else a `Table`."""
        return table(
            {
                "strategy": run.strategy,
                "seed": run.seed,
                "round": int(run.rounds[place]),
                "labels": int(run.labels[place]),
                "accuracy": float(run.accuracy[place]),
                "mean_score": None if np.isnan(run.mean_score[place]) else float(run.mean_score[place]),
                "evaluations": int(run.evaluations[place]),
                "generated": int(run.generated[place]),
                "seconds": float(run.seconds[place].sum()),
            }
            for run in self.runs
            for place in range(len(run.rounds))
        )

    def baseline(self, wanted: str | None = None) -> str:
        """Return the strategy that the others are compared with: `wanted`, else "random", else the first one."""
        if wanted is not None and wanted not in self.strategies:
            raise unknown("strategy of this experiment", wanted, self.strategies)
        return wanted or (BASELINE if BASELINE in self.strategies else self.strategies[0])


def load(folder: Path | str) -> Results:
    """Read an experiment's folder, finished or not.

    A last line that a kill cut off is left out; so are runs that have no complete line yet.

    Raises:
        UserError: the folder holds no experiment, or its reference is no accuracy.
        DamageError: names the file, the line and what is wrong with it. `asal run` makes such a file again.
    """
    folder = Path(folder)
    if not (folder / FACTS).is_file():
        raise UserError(
            f"{folder} has no run.json",
            rule="a folder of runs holds a run.json",
            hint="name the folder that `asal run … --out` wrote",
        )
    facts = read_facts(folder)
    missing = {"name", "strategies", "seeds", "classes", "protocol"} - facts.keys()
    if missing or not facts["strategies"]:
        raise damaged(folder / FACTS, f"it lacks {', '.join(sorted(missing)) or 'any strategy'}", hint=_hint(folder))
    places = [
        (strategy, int(seed), folder / strategy / f"seed-{seed}" / "rows.jsonl")
        for strategy in facts["strategies"]
        for seed in sorted(facts["seeds"])
    ]
    runs = [_run(strategy, seed, path, facts) for strategy, seed, path in places if path.is_file()]
    return Results(folder, facts, tuple(run for run in runs if run), _reference(facts, folder / FACTS))


def read_facts(folder: Path) -> dict[str, Any]:
    """Return what a folder of runs says of itself.

    Raises:
        DamageError: it is not readable; the runs beside it are not affected.
    """
    return read_json(folder / FACTS, hint=_hint(folder))


def rebuild_hint(path: Path) -> str:
    """Return what to do about a damaged file beside a run's record, DIR/<strategy>/seed-<s>/labels.db."""
    out = quote(str(path.parents[2]))
    return f"delete nothing; run the `asal run … --out {out}` that made it again: it makes {path.name} from labels.db"


def _hint(folder: Path) -> str:
    return f"delete {folder / FACTS} alone, and call the `asal run` that filled {folder} again: its runs are kept"


def _run(strategy: str, seed: int, path: Path, facts: Mapping[str, Any]) -> Run | None:
    rows = _rows(path)
    if not rows:
        return None
    try:
        run = Run(
            strategy=strategy,
            seed=seed,
            rounds=np.array([row.round for row in rows], np.int64),
            labels=np.array([row.labels for row in rows], np.int64),
            accuracy=np.array([row.accuracy for row in rows], np.float64),
            mean_score=np.array([row.mean_score for row in rows], np.float64),  # None becomes NaN
            class_counts=np.array([row.class_counts for row in rows], np.int64),
            evaluations=np.array([row.evaluations for row in rows], np.int64),
            generated=np.array([row.generated or 0 for row in rows], np.int64),
            seconds=np.array([[row.seconds[part] for part in Meter.PARTS] for row in rows], np.float64),
            index_checks=tuple(row.index for row in rows if row.index),
            finished=_finished(rows, facts["protocol"]),
            counts_generated=all(row.generated is not None for row in rows),
        )
    except NOT_A_ROW as error:
        raise _damaged(path, f"a row is not as it was written ({reason(error)})") from None
    if (np.diff(run.rounds) != 1).any() or (np.diff(run.labels) < 0).any():
        raise _damaged(path, "its rounds do not follow one another")
    if not ((run.accuracy >= 0) & (run.accuracy <= 1)).all():
        raise _damaged(path, "an accuracy is not between 0 and 1")
    return run


def _rows(path: Path) -> list[RoundRow]:
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    rows = []
    for number, line in enumerate(lines, start=1):
        try:
            rows.append(RoundRow.from_json(json.loads(line)))
        except json.JSONDecodeError:
            if number < len(lines):  # only the last line can have been cut off by a kill
                raise _damaged(path, f"line {number} is not readable JSON") from None
        except NOT_A_ROW as error:
            raise _damaged(path, f"line {number} is not a row ({reason(error)})") from None
    return rows


def _finished(rows: Sequence[RoundRow], protocol: Mapping[str, Any]) -> bool:
    labels, budget = rows[-1].labels, protocol["budget"]
    out_of_room = rows[-1].mean_score is None and labels + protocol["batch"] > budget  # a whole batch no longer fits
    return bool(rows[-1].last or labels >= budget or out_of_room)


def _damaged(path: Path, what: str) -> DamageError:
    return damaged(path, what, hint=rebuild_hint(path))
