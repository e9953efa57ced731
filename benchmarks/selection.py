"""Which selection is better, measured on frozen features: curves of every strategy in every regime, paired by seed.

    python benchmarks/selection_features.py --out FEATURES
    python benchmarks/selection.py --features FEATURES --out OUT --regimes bal10,tail --strategies spread,subset-margin
    python benchmarks/selection.py --features FEATURES --out OUT --shown
    python benchmarks/selection.py --out OUT --report

Seeds 0–19 are for showing. Whoever chooses an option, or tries an idea, takes seeds from 100 on, and no Fashion-MNIST.

A run labels images round by round, as a session does: the head is fitted to the stored features, the strategy gets a
`Round` with the pool's stored features and an exact index, and its picks get their true labels. Each run is one line of
OUT/rows.jsonl: the metric and the finds of rare classes after every round, and the evaluations and processor seconds of
selection. A run that is there is not made again; strategies that share a regime and a seed share the pool and the first
labels.

Strategies are those of STRATEGIES; `name@5000` sets its `size`. Others are tried with `--try LABEL=NAME JSON`, where
NAME is a strategy's or `package.module:function`: `--try 'wide=spread {"width": 1}'`.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from importlib.util import find_spec
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from selection_regimes import REGIMES, Regime, World, world
from selection_shown import SHOWN

from asal.core import Model, Round
from asal.features.store import VectorPool
from asal.models.learners.head import Head
from asal.runtime import environment
from asal.runtime.rng import stream
from asal.runtime.threads import limited_threads
from asal.strategies import strategies

COMMIT = environment.commit()
GRID = (1e-1, 3e-2, 1e-2, 3e-3, 1e-3, 3e-4, 1e-4, 3e-5, 1e-5)  # of l2, for --tune
STRATEGIES: dict[str, tuple[str, dict[str, Any]]] = {
    "random": ("random", {}),
    "subset-entropy": ("subset", {"score": "entropy", "batch": "top"}),
    "subset-margin": ("subset", {"score": "margin", "batch": "top"}),
    "spread": ("spread", {}),
    "pool-entropy": ("uncertainty", {"score": "entropy", "batch": "top"}),
    "pool-margin": ("uncertainty", {"score": "margin", "batch": "top"}),
    "pool-spread": ("uncertainty", {"score": "margin", "batch": "spread"}),
    "climb": ("asal", {"search": "climb"}),
    "badge": ("badge", {}),
    "coreset": ("coreset", {}),
    "typiclust": ("typiclust", {}),
    "seals-margin": ("seals", {"score": "margin"}),
    "anchoral": ("anchoral", {}),
    "dropquery": ("dropquery", {}),
    "bald": ("bald", {}),
    "cluster-margin": ("cluster-margin", {}),
    "max-herding": ("max-herding", {}),
    "uherding": ("uherding", {}),
    "prob-cover": ("prob-cover", {}),
    "tcm": ("tcm", {}),
}


@dataclass(frozen=True)
class Way:
    """A strategy with its options, under the name that rows and tables have."""

    label: str
    name: str
    options: Mapping[str, Any]


@dataclass(frozen=True)
class Job:
    """All runs of one regime and one seed that are to be made."""

    regime: Regime
    seed: int
    ways: Sequence[Way]
    features: Path
    l2: float | str


def way(label: str) -> Way:
    """Return the strategy that a name stands for.

    >>> way("spread@5000")
    Way(label='spread@5000', name='spread', options={'size': 5000})
    """
    name, _, size = label.partition("@")
    if name not in STRATEGIES:
        raise SystemExit(f"no strategy is called '{name}'; there are {', '.join(STRATEGIES)}; or use --try")
    part, options = STRATEGIES[name]
    return Way(label, part, options | ({"size": int(size)} if size else {}))


def tried(text: str) -> Way:
    """Return the strategy of `--try LABEL=NAME JSON`."""
    label, _, rest = text.partition("=")
    name, _, options = rest.partition(" ")
    return Way(label, name, json.loads(options or "{}"))


def run(world: World, way: Way, seed: int, l2: float | str) -> dict[str, Any]:
    """Label up to the budget, and return the run's row."""
    regime, drawn = world.regime, world.drawn
    choose, learner = strategies[way.name].bind(way.options), Head(l2=l2)
    pool = VectorPool("benchmark", len(drawn.labels), (1, 1, drawn.features.shape[1]), lambda: world.vectors)
    labelled, started = drawn.first.astype(np.int64), time.process_time()
    curve, rare, evaluations, seconds, memory = [], [], 0, [], [0.0]
    for number in range((regime.budget - regime.initial) // regime.batch + 1):
        labels = drawn.labels[labelled]
        model: Model = learner.fit(world.reader.read(labelled), labels, drawn.classes, stream(seed, "learner", number))
        curve.append(world.measure(model))
        rare.append(int(np.isin(labels, drawn.rare).sum()))
        if len(labelled) >= regime.budget:
            break
        now = Round(number, pool, labelled, labels, model, world, reader=world.reader)
        with Peak() as peak:
            begin = time.process_time()
            picks = choose(now, regime.batch, stream(seed, "strategy", number))
            seconds.append(time.process_time() - begin)
        if number:  # the first round loads libraries
            memory.append(peak.extra)
        assert now.candidates.has(picks.ids).all() and len(picks.ids) == regime.batch
        labelled, evaluations = np.concatenate([labelled, picks.ids]), evaluations + now.meter.evaluations
    rounded = [round(value, 6) for value in curve]
    return {
        "regime": regime.name,
        "strategy": way.label,
        "seed": seed,
        "name": way.name,
        "options": dict(way.options),
        "l2": l2,
        "curve": rounded,
        "rare": rare,
        "evaluations": evaluations / len(seconds),
        "seconds": sorted(seconds)[len(seconds) // 2],  # of a round, the median
        "extra_mib": round(max(memory), 1),  # of a round, the most
        "run_seconds": round(time.process_time() - started, 2),
        "commit": COMMIT,
    }


class Peak:
    """The most memory that a block takes beyond what the process has, in MiB; 0 where the system does not say."""

    extra = 0.0

    def __enter__(self) -> Peak:
        try:
            Path("/proc/self/clear_refs").write_text("5")  # resets the peak
            self.before = self._read("VmRSS")
        except OSError:
            self.before = float("nan")
        return self

    def __exit__(self, *_: object) -> None:
        self.extra = self._read("VmHWM") - self.before if self.before == self.before else 0.0

    @staticmethod
    def _read(name: str) -> float:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(name)) / 1024


def done(job: Job) -> list[dict[str, Any]]:
    """Make the runs of a job."""
    return list(rows_of(job))


def rows_of(job: Job) -> Iterator[dict[str, Any]]:
    """Make the runs of a job, one after the other."""
    with limited_threads(1), world(job.regime, job.features, job.seed) as made:
        for way in job.ways:
            yield run(made, way, job.seed, job.l2)


def numbers(text: str) -> list[int]:
    """Return the numbers that a text lists.

    >>> numbers("0-2,7")
    [0, 1, 2, 7]
    """
    ends = [part.partition("-") for part in text.split(",")]
    return [number for first, _, last in ends for number in range(int(first), int(last or first) + 1)]


def read_rows(out: Path) -> list[dict[str, Any]]:
    """Return the rows of a folder; a line that a killed process left half written is none."""
    path, rows = out / "rows.jsonl", []
    for line in path.read_text().splitlines() if path.exists() else []:
        try:
            rows.append(json.loads(line))
        except ValueError:
            continue
    return rows


def jobs(args: argparse.Namespace) -> Iterator[Job]:
    """Yield what is missing, seed by seed, so that what is there is paired."""
    ways = [way(label) for label in args.strategies.split(",") if label] + [tried(text) for text in args.tried]
    there = {(row["regime"], row["strategy"], row["seed"], row["l2"]) for row in read_rows(args.out)}
    for name in args.regimes.split(","):
        regime = REGIMES[name]
        l2 = regime.l2 if args.l2 is None else args.l2 if args.l2 == "auto" else float(args.l2)
        for seed in numbers(args.seeds):
            missing = [way for way in ways if (name, way.label, seed, l2) not in there]
            if missing:
                yield Job(regime, seed, missing, args.features, l2)


def shown(args: argparse.Namespace) -> None:
    """Make all runs behind the page; those of scikit-activeml where it is installed."""
    for regimes, names, seeds, l2, others in SHOWN:
        if others and find_spec("skactiveml") is None:
            print("scikit-activeml is not installed: its strategies are left out")
            continue
        given = {"regimes": regimes, "strategies": names, "seeds": seeds, "l2": l2, "tried": others}
        make(argparse.Namespace(**{**vars(args), **given}))


def make(args: argparse.Namespace) -> None:
    """Make the runs that are missing, and write each when it is there."""
    args.out.mkdir(parents=True, exist_ok=True)
    work, started, made = list(jobs(args)), time.perf_counter(), 0
    total = sum(len(job.ways) for job in work)
    with (args.out / "rows.jsonl").open("a") as file:
        for row in _each(work, args.jobs):
            file.write(json.dumps(row) + "\n")
            file.flush()
            made += 1
            left = (time.perf_counter() - started) / made * (total - made)
            facts = f"area {np.mean(row['curve']):.4f}  final {row['curve'][-1]:.4f}  {row['run_seconds']:.1f} s"
            print(f"{made}/{total}  {row['regime']:<14}{row['strategy']:<20}{row['seed']:>4}  {facts}", end="")
            print(f"  {left / 60:.0f} min to go", flush=True)


def _each(work: Sequence[Job], processes: int) -> Iterable[dict[str, Any]]:
    if processes == 1:
        for job in work:
            yield from rows_of(job)
        return
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        for rows in pool.map(done, work):
            yield from rows


def tune(args: argparse.Namespace) -> None:
    """Print the mean area of random labels for each l2: what selection_regimes.json is chosen by."""
    for name in args.regimes.split(","):
        areas = []
        for seed in numbers(args.seeds):
            with limited_threads(1), world(REGIMES[name], args.features, seed) as made:
                curves = [run(made, way("random"), seed, l2)["curve"] for l2 in (*GRID, "auto")]
                areas.append([[np.mean(curve), curve[-1]] for curve in curves])
        for l2, (area, final) in zip((*GRID, "auto"), np.mean(areas, axis=0), strict=True):
            print(f"{name:<14}l2 {l2!s:<8}area {area:.4f}  final {final:.4f}", flush=True)


def main() -> None:
    """Make runs, or write the report of those that are there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="a folder for the runs")
    parser.add_argument("--features", type=Path, help="what selection_features.py wrote")
    parser.add_argument("--regimes", default="bal10,bal50,dup,tail,bal10:mnist,tail:mnist,bal10R")
    parser.add_argument("--strategies", default="spread,subset-margin,subset-entropy,random")
    parser.add_argument("--try", dest="tried", action="append", default=[], metavar="LABEL=NAME JSON")
    parser.add_argument("--seeds", default="0-19")
    parser.add_argument("--l2", help="of the head: a number, or auto; by default that of selection_regimes.json")
    parser.add_argument("--jobs", type=int, default=1, help="processes, with one thread each")
    parser.add_argument("--shown", action="store_true", help="make the runs behind docs/results/selection.md")
    parser.add_argument("--tune", action="store_true", help="print what each l2 gives random labels; makes no rows")
    parser.add_argument("--report", action="store_true", help="write the tables and pictures; makes no runs")
    parser.add_argument("--page", type=Path, help="with --report: a page whose tables are written again")
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.report:
        from selection_report import report

        report(read_rows(args.out), args.out, args.page)
    elif args.features is None:
        parser.error("runs need --features")
    elif args.tune:
        tune(args)
    elif args.shown:
        shown(args)
    else:
        make(args)


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
