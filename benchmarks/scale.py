"""What selecting ten images costs as the pool grows to sixteen million: the paper's figure 6 and table 2, and beyond.

    asal prepare specs/mnist-ten.toml --project projects/mnist-ten
    python benchmarks/scale.py projects/mnist-ten --spec specs/mnist-ten.toml --out scale

Pools are the project's images, shifted by up to two pixels (`asal.data.augmented_pool`), as the paper enlarges CelebA:
image i is the same in a pool of any size, so that the features of the largest serve them all. Every case runs in a
process of its own, which tells its seconds, the peak of its memory and what it read from the disk: `cold` is the first
selection after the files have been let go of, the others are warm and their median counts. What would take longer than
--patience is predicted from the largest pool that was measured, and marked so. OUT keeps features and indexes: called
again, only what is missing is made. Features of 16 million images take 3.3 GB, an index of each kind 0.5 to 1 GB.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from asal.cli.progress import show_progress
from asal.core import Features, Ids, Index, Round
from asal.data.augmented_pool import AugmentedPool
from asal.features.store import StoredVectors, shard_path, write_vectors
from asal.index import indexes
from asal.paper.plots import draw_crossings, draw_scaling
from asal.paper.timings import (
    LABELLED,
    PAPER_SIZES,
    PICKS,
    Measurements,
    SelectionTools,
    Timing,
    exponent,
    preparation,
    timed_strategies,
)
from asal.project.project import Project
from asal.project.spec import load
from asal.runtime import artifacts, environment
from asal.runtime.meter import Meter
from asal.runtime.rng import stream
from asal.strategies.asal import asal
from asal.strategies.seals import seals

REPEATS = 5
PAYING = ("asal, ivf", "asal, exact", "asal, k-d tree")
LARGEST_TREE = 1_600_000  # its tree takes twice the memory of the vectors, and minutes to grow
THEIRS = "maximum entropy"
NAMES = ("asal, k-d tree", "asal, exact", "asal, ivf", "asal re-ranked, ivf", "subset of 1,000", "seals, ivf", THEIRS,
         "core-set")  # fmt: skip


@dataclass(frozen=True)
class First:
    """The first vectors of a store: those of a smaller pool."""

    vectors: StoredVectors
    n: int

    @property
    def dim(self) -> int:
        return self.vectors.dim

    def __len__(self) -> int:
        return self.n

    def read(self, ids: Ids) -> Features:
        return self.vectors.read(ids)

    def expect(self) -> None:
        for shard in range(-(-self.n // self.vectors.rows)):
            artifacts.preload(shard_path(self.vectors.folder, shard))

    def shards(self) -> Iterator[tuple[Ids, Features]]:
        for ids, x in self.vectors.shards():
            if ids[0] >= self.n:
                return
            left = self.n - int(ids[0])
            yield ids[:left], x[:left]


def strategy(name: str, n: int) -> Any:
    """Return the chooser of a case."""
    kind = name.partition(",")[0]
    if kind == "asal":
        return partial(asal, paper=True)
    return {"asal re-ranked": asal, "seals": seals}.get(kind) or timed_strategies(n)[name].strategy


def index_of(name: str) -> str:
    """Return the index that a case searches, if any."""
    return {"k-d tree": "kdtree"}.get(name.partition(", ")[2], name.partition(", ")[2])


def opened(given: argparse.Namespace) -> tuple[Project, StoredVectors]:
    """Return the project, and the features of the largest pool: computed where they are not there."""
    project = Project(given.project, load(given.spec))
    space, n = project.space(given.space), max(given.sizes)
    home = given.out / f"{given.space}-{n}"
    if not (home / "vectors.json").exists():
        pool, start = AugmentedPool(project.pool, n), time.perf_counter()
        with show_progress(Console()) as progress:
            write_vectors(home, lambda ids: space.extractor(pool.read(ids)), n, progress=progress)
        (home / "seconds.txt").write_text(f"{time.perf_counter() - start}")
    return project, StoredVectors.open(home)


def home_of(given: argparse.Namespace, kind: str, n: int) -> Path:
    """Return where an index lies."""
    return Path(given.out) / f"{given.space}-{kind}-{n}"


def build(given: argparse.Namespace) -> dict[str, Any]:
    """Build one index in this process, and tell what it took."""
    _, vectors = opened(given)
    start = time.perf_counter()
    indexes[given.build].bind({}).build(First(vectors, given.images), home_of(given, given.build, given.images))
    return {"seconds": time.perf_counter() - start, **usage()}


def usage() -> dict[str, Any]:
    """Return this process's peak of memory in GiB, and the GB that it has read from the disk so far."""
    told = dict(
        line.split(":", 1) for name in ("io", "status") for line in Path("/proc/self", name).read_text().splitlines()
    )
    # Of all that stood in memory, mapped files included; `ru_maxrss` would begin with the parent's.
    peak = int(told["VmHWM"].split()[0]) / 2**20
    return {"peak_gib": round(peak, 2), "disk_gb": round(int(told["read_bytes"]) / 1e9, 2)}


def let_go(folder: Path) -> None:
    """Ask the system to forget what it has cached of a folder's files, so that the next reading is a cold one."""
    os.sync()
    for path in folder.rglob("*"):
        if path.is_file():
            handle = os.open(path, os.O_RDONLY)
            os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(handle)


def select(given: argparse.Namespace) -> dict[str, Any]:
    """Time one case in this process."""
    project, vectors = opened(given)
    pool, store = AugmentedPool(project.pool, given.images), First(vectors, given.images)
    space, kind = project.space(given.space), index_of(given.case)
    ids, oracle = np.arange(LABELLED), project.oracle("pool")
    labels = oracle.answer(ids)
    model = project.learner().fit(project.pool.read(ids), labels, len(oracle.classes), stream(0, "learner"))
    generator, index, start = project.generator, None, time.perf_counter()
    before = usage()
    let_go(project.root / "pool")
    if kind:
        folder = home_of(given, kind, given.images)
        for place in (vectors.folder, folder):
            let_go(place)
        index = indexes[kind].bind({}).load(store, folder)
    loaded = time.perf_counter() - start
    tools = SelectionTools(generator, space.extractor, store, index if index is not None else _none(), None)
    splits, watched, meter = [], {}, Meter()
    for number in range(REPEATS + 1):
        meter = Meter()
        now = Round(number, pool, ids, labels, model, tools, meter=meter)
        with meter.part("score"):
            strategy(given.case, given.images)(now, PICKS, stream(0, "scale", number))
        splits.append(meter.split())
        watched = meter.index or watched
        if sum(meter.split().values()) > given.patience / REPEATS:
            break
    warm = splits[1:] or splits
    means = {part: median(split[part] for split in warm) for part in Meter.PARTS}
    after = usage()
    return {
        "load": loaded,
        "cold": sum(splits[0].values()),
        "seconds": median(sum(split.values()) - split["io"] for split in warm),
        **means,
        "evaluations": meter.evaluations + meter.generated,
        "watched": watched,
        "peak_gib": after["peak_gib"],
        "disk_gb": round(after["disk_gb"] - before["disk_gb"], 2),
    }


def _none() -> Index:
    raise_: Any = None
    return raise_  # type: ignore[no-any-return]  # a case without an index touches none


def elsewhere(given: argparse.Namespace, *words: str) -> dict[str, Any]:
    """Do a case in a process of its own, once: what it told is kept in OUT."""
    named = "-".join([*words[1::2], given.space, f"{given.threads}-threads"]).replace(" ", "_").replace(",", "")
    kept = Path(given.out) / f"{named}.json"
    if not kept.exists():
        same = ["--spec", str(given.spec), "--out", str(given.out), "--space", given.space, "--threads",
                str(given.threads), "--patience", str(given.patience), "--sizes", *map(str, given.sizes)]  # fmt: skip
        done = subprocess.run(
            [sys.executable, __file__, str(given.project), *same, *words], check=True, stdout=subprocess.PIPE, text=True
        )
        kept.write_text(done.stdout.splitlines()[-1])
    found: dict[str, Any] = json.loads(kept.read_text())
    return found


def measure(given: argparse.Namespace, console: Console) -> tuple[list[Timing], list[dict[str, Any]], Measurements]:
    """Measure every case on every pool, smallest first, and predict what would take too long."""
    timings: list[Timing] = []
    rows: list[dict[str, Any]] = []
    largest, measured = max(given.sizes), Measurements([], {}, {})
    whole = float((given.out / f"{given.space}-{largest}" / "seconds.txt").read_text())
    for n in sorted(given.sizes):
        measured.features[n] = whole * n / largest
        built = {
            kind: elsewhere(given, "--build", kind, "--images", str(n))
            for kind in ("exact", "ivf", "kdtree")
            if kind != "kdtree" or n <= LARGEST_TREE
        }
        for kind, found in built.items():
            console.print(f"{n:,}: {kind} built in {found['seconds']:.1f} s, {found['peak_gib']} GiB at the most")
            rows.append({"index": kind, "images": n, **found})
        for name in NAMES:
            before = [timing for timing in timings if timing.strategy == name]
            if ("k-d" in name and n > LARGEST_TREE) or _too_long(before, n, given.patience):
                timings.append(_predicted(before[-1], n))
                continue
            found = elsewhere(given, "--case", name, "--images", str(n))
            console.print(f"{n:,}: {name} {found['seconds']:.3f} s, cold {found['cold']:.2f} s")
            rows.append({"strategy": name, "images": n, **found})
            parts = (found["seconds"], found["match"], found["io"], found["evaluations"])
            timings.append(Timing(name, n, *parts))
    return timings, rows, measured


def _too_long(before: Sequence[Timing], n: int, patience: float) -> bool:
    if not before:
        return False
    last = before[-1]
    return last.predicted or (last.seconds + last.io) * n / last.images > patience


def _predicted(last: Timing, n: int) -> Timing:
    """Scale what is linear: the search of a tree, or all of what looks at every image."""
    scale = n / last.images
    if last.matching:
        seconds = last.seconds + (scale - 1) * last.matching
        return Timing(last.strategy, n, seconds, last.matching * scale, last.io, last.evaluations, True)
    seconds, io = (scale * part for part in (last.seconds, last.io))
    return Timing(last.strategy, n, seconds, 0.0, io, round(last.evaluations * scale), True)


def show(console: Console, timings: Sequence[Timing], rows: Sequence[dict[str, Any]]) -> None:
    """Print one table, and what the lines grow like."""
    heads = ("strategy", "images", "seconds", "with reading", "× smallest", "matching", "cold", "peak GiB", "disk GB")
    table = Table(*heads, title=f"to select {PICKS}", box=None)
    by = {(row.get("strategy"), row["images"]): row for row in rows}
    for name in NAMES:
        lines = [timing for timing in timings if timing.strategy == name]
        for it in lines:
            row = by.get((name, it.images))
            rest = (f"{row['cold']:.2f}", f"{row['peak_gib']:.2f}", f"{row['disk_gb']:.2f}") if row else ("–",) * 3
            told = f"{it.images:,}" + (" (predicted)" if it.predicted else "")
            table.add_row(name, told, f"{it.seconds:.3f}", f"{it.seconds + it.io:.3f}",
                          f"{it.seconds / lines[0].seconds:.2f}", f"{it.matching:.4f}", *rest)  # fmt: skip
    console.print(table)
    for name in NAMES:
        lines = [timing for timing in timings if timing.strategy == name]
        all_of, search = exponent(lines), exponent(lines, matching=True)
        console.print(f"{name}: seconds grow as n^{all_of.mean:.2f}, those of matching as n^{search.mean:.2f}")
    n = max(it.images for it in timings)
    last = {it.strategy: it for it in timings if it.images == n}
    for name in NAMES:
        told = last[THEIRS].seconds / last[name].seconds
        console.print(f"at {n:,}: {name} is {told:,.0f} × faster than {THEIRS} (reading left out)")


def paid(
    timings: Sequence[Timing], rows: Sequence[dict[str, Any]], features: dict[int, float], trainings: float
) -> dict[str, dict[int, float]]:
    """Return for each pool the round from which a strategy, preparation included, has taken less time than theirs."""
    seconds = {(it.strategy, it.images): it.seconds for it in timings}
    built = {(row.get("index"), row["images"]): row["seconds"] for row in rows}
    opened = {(row.get("strategy"), row["images"]): row.get("load", 0.0) for row in rows}  # a k-d tree grows then
    found: dict[str, dict[int, float]] = {}
    for name in PAYING:
        for n in sorted(features):
            saved = seconds[THEIRS, n] - seconds[name, n]
            once = trainings + features[n] + built.get((index_of(name), n), 0.0) + opened.get((name, n), 0.0)
            if (name, n) in opened:
                found.setdefault(name, {})[n] = once / saved if saved > 0 else float("inf")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("project", type=Path, help="a prepared project with a generator and the space")
    parser.add_argument("--spec", type=Path, default=Path("specs/mnist-ten.toml"))
    parser.add_argument("--space", default="autoencoder")
    parser.add_argument("--sizes", type=int, nargs="+", default=list(PAPER_SIZES))
    parser.add_argument("--out", type=Path, default=Path("scale"))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--patience", type=float, default=600.0, help="seconds of one selection")
    parser.add_argument("--case", help="measure this one alone, in this process")
    parser.add_argument("--build", help="build this index alone, in this process")
    parser.add_argument("--images", type=int)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    if given.case or given.build:
        print(json.dumps(build(given) if given.build else select(given)))
        return
    given.out.mkdir(parents=True, exist_ok=True)
    console = Console(width=140)
    project, _ = opened(given)
    timings, rows, measured = measure(given, console)
    show(console, timings, rows)
    prepared = preparation(project, measured)
    encoder = prepared.encoder if given.space == "autoencoder" else 0.0
    rounds = paid(timings, rows, measured.features, prepared.generator + encoder)
    for name, line in rounds.items():
        console.print(f"{name}: paid after {', '.join(f'{r:,.0f} rounds at {n:,}' for n, r in line.items())}")
    drawn = [timing for timing in timings if timing.strategy != "asal re-ranked, ivf"]  # there are seven colours
    draw_scaling(drawn, "seconds to select ten, without reading")(False).savefig(given.out / "scale.png", dpi=150)
    draw_crossings(rounds, NAMES)(False).savefig(given.out / "transition.png", dpi=150)
    facts = {**environment.hardware(), "threads": given.threads, "commit": environment.commit(), "space": given.space}
    console.print({**facts, "once": {"generator": prepared.generator, "encoder": prepared.encoder}})
    told = {"facts": facts, "timings": [vars(it) for it in timings], "rows": rows, "features": measured.features}
    (given.out / "scale.json").write_text(json.dumps(told, indent=1))


if __name__ == "__main__":
    main()
