"""The cost of selecting ten images as the pool grows to sixteen million: the paper's figure 6 and table 2, and more.

    asal prepare specs/mnist-ten.toml --project projects/mnist-ten
    python benchmarks/scale.py projects/mnist-ten --spec specs/mnist-ten.toml --out scale

Pools are the project's images, shifted by up to two pixels (`asal.data.augmented_pool`), as the paper enlarges CelebA:
image i is the same in pools of all sizes, so the features of the largest serve them all. Every case runs in its own
process, which reports its seconds, its peak memory and what it read from disk: `cold` is the first selection after the
files were dropped from the system's cache; the others are warm, and their median counts. A case that would take longer
than --patience is predicted from the largest pool that was measured, and marked so. OUT keeps features and indexes, so
a second call makes only what is missing. Features of 16 million images take 3.3 GB, each index 0.5 to 1 GB.
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
LARGEST_TREE = 1_600_000  # a larger tree takes twice the memory of the vectors, and minutes to build
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

    def read_ahead(self) -> None:
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
        return partial(asal, paper=True, score="entropy")
    by_entropy = {"asal re-ranked": partial(asal, score="entropy"), "seals": partial(seals, score="entropy")}
    return by_entropy.get(kind) or timed_strategies(n)[name].strategy


def index_of(name: str) -> str:
    """Return the index that a case searches, if any."""
    return {"k-d tree": "kdtree"}.get(name.partition(", ")[2], name.partition(", ")[2])


def opened(args: argparse.Namespace) -> tuple[Project, StoredVectors]:
    """Return the project and the features of the largest pool, which are computed where they are missing."""
    project = Project(args.project, load(args.spec))
    space, n = project.space(args.space), max(args.sizes)
    home = args.out / f"{args.space}-{n}"
    if not (home / "vectors.json").exists():
        pool, start = AugmentedPool(project.pool, n), time.perf_counter()
        with show_progress(Console()) as progress:
            write_vectors(home, lambda ids: space.extractor(pool.read(ids)), n, progress=progress)
        (home / "seconds.txt").write_text(f"{time.perf_counter() - start}")
    return project, StoredVectors.open(home)


def home_of(args: argparse.Namespace, kind: str, n: int) -> Path:
    """Return the folder of an index."""
    return Path(args.out) / f"{args.space}-{kind}-{n}"


def build(args: argparse.Namespace) -> dict[str, Any]:
    """Build one index in this process, and return its cost."""
    _, vectors = opened(args)
    start = time.perf_counter()
    indexes[args.build].bind({}).build(First(vectors, args.images), home_of(args, args.build, args.images))
    return {"seconds": time.perf_counter() - start, **usage()}


def usage() -> dict[str, Any]:
    """Return this process's peak of memory in GiB, and the GB that it has read from the disk so far."""
    facts = dict(
        line.split(":", 1) for name in ("io", "status") for line in Path("/proc/self", name).read_text().splitlines()
    )
    # Mapped files are included; `ru_maxrss` would begin with the parent's peak.
    peak = int(facts["VmHWM"].split()[0]) / 2**20
    return {"peak_gib": round(peak, 2), "disk_gb": round(int(facts["read_bytes"]) / 1e9, 2)}


def drop_cache(folder: Path) -> None:
    """Drop a folder's files from the system's cache, so that the next read comes from disk."""
    os.sync()
    for path in folder.rglob("*"):
        if path.is_file():
            handle = os.open(path, os.O_RDONLY)
            os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(handle)


def select(args: argparse.Namespace) -> dict[str, Any]:
    """Time one case in this process."""
    project, vectors = opened(args)
    pool, store = AugmentedPool(project.pool, args.images), First(vectors, args.images)
    space, kind = project.space(args.space), index_of(args.case)
    ids, oracle = np.arange(LABELLED), project.oracle("pool")
    labels = oracle.answer(ids)
    model = project.learner().fit(project.pool.read(ids), labels, len(oracle.classes), stream(0, "learner"))
    generator, index, start = project.generator, None, time.perf_counter()
    before = usage()
    drop_cache(project.root / "pool")
    if kind:
        folder = home_of(args, kind, args.images)
        for place in (vectors.folder, folder):
            drop_cache(place)
        index = indexes[kind].bind({}).load(store, folder)
    loaded = time.perf_counter() - start
    tools = SelectionTools(generator, space.extractor, store, index if index is not None else _none(), None)
    splits, checks, meter = [], {}, Meter()
    for number in range(REPEATS + 1):
        meter = Meter()
        now = Round(number, pool, ids, labels, model, tools, meter=meter)
        with meter.part("score"):
            strategy(args.case, args.images)(now, PICKS, stream(0, "scale", number))
        splits.append(meter.split())
        checks = meter.index or checks
        if sum(meter.split().values()) > args.patience / REPEATS:
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
        "watched": checks,
        "peak_gib": after["peak_gib"],
        "disk_gb": round(after["disk_gb"] - before["disk_gb"], 2),
    }


def _none() -> Index:
    raise_: Any = None
    return raise_  # type: ignore[no-any-return]  # a case without an index uses none


def elsewhere(args: argparse.Namespace, *words: str) -> dict[str, Any]:
    """Run a case in its own process, once: OUT keeps its result."""
    named = "-".join([*words[1::2], args.space, f"{args.threads}-threads"]).replace(" ", "_").replace(",", "")
    kept = Path(args.out) / f"{named}.json"
    if not kept.exists():
        same = ["--spec", str(args.spec), "--out", str(args.out), "--space", args.space, "--threads",
                str(args.threads), "--patience", str(args.patience), "--sizes", *map(str, args.sizes)]  # fmt: skip
        child = subprocess.run(
            [sys.executable, __file__, str(args.project), *same, *words], check=True, stdout=subprocess.PIPE, text=True
        )
        kept.write_text(child.stdout.splitlines()[-1])
    result: dict[str, Any] = json.loads(kept.read_text())
    return result


def measure(args: argparse.Namespace, console: Console) -> tuple[list[Timing], list[dict[str, Any]], Measurements]:
    """Measure every case on every pool, smallest first, and predict what would take too long."""
    timings: list[Timing] = []
    rows: list[dict[str, Any]] = []
    largest, measured = max(args.sizes), Measurements([], {}, {})
    seconds = float((args.out / f"{args.space}-{largest}" / "seconds.txt").read_text())
    for n in sorted(args.sizes):
        measured.features[n] = seconds * n / largest
        built = {
            kind: elsewhere(args, "--build", kind, "--images", str(n))
            for kind in ("exact", "ivf", "kdtree")
            if kind != "kdtree" or n <= LARGEST_TREE
        }
        for kind, result in built.items():
            console.print(f"{n:,}: {kind} built in {result['seconds']:.1f} s, peak {result['peak_gib']} GiB")
            rows.append({"index": kind, "images": n, **result})
        for name in NAMES:
            before = [timing for timing in timings if timing.strategy == name]
            if ("k-d" in name and n > LARGEST_TREE) or _too_long(before, n, args.patience):
                timings.append(_predicted(before[-1], n))
                continue
            result = elsewhere(args, "--case", name, "--images", str(n))
            console.print(f"{n:,}: {name} {result['seconds']:.3f} s, cold {result['cold']:.2f} s")
            rows.append({"strategy": name, "images": n, **result})
            parts = (result["seconds"], result["match"], result["io"], result["evaluations"])
            timings.append(Timing(name, n, *parts))
    return timings, rows, measured


def _too_long(before: Sequence[Timing], n: int, patience: float) -> bool:
    if not before:
        return False
    last = before[-1]
    return last.predicted or (last.seconds + last.io) * n / last.images > patience


def _predicted(last: Timing, n: int) -> Timing:
    """Scale the part that is linear: the matching, or everything where every image is scored."""
    scale = n / last.images
    if last.matching:
        seconds = last.seconds + (scale - 1) * last.matching
        return Timing(last.strategy, n, seconds, last.matching * scale, last.io, last.evaluations, True)
    seconds, io = (scale * part for part in (last.seconds, last.io))
    return Timing(last.strategy, n, seconds, 0.0, io, round(last.evaluations * scale), True)


def show(console: Console, timings: Sequence[Timing], rows: Sequence[dict[str, Any]]) -> None:
    """Print one table, and the growth of each line."""
    heads = ("strategy", "images", "seconds", "with reading", "× smallest", "matching", "cold", "peak GiB", "disk GB")
    table = Table(*heads, title=f"to select {PICKS}", box=None)
    by = {(row.get("strategy"), row["images"]): row for row in rows}
    for name in NAMES:
        lines = [timing for timing in timings if timing.strategy == name]
        for it in lines:
            row = by.get((name, it.images))
            rest = (f"{row['cold']:.2f}", f"{row['peak_gib']:.2f}", f"{row['disk_gb']:.2f}") if row else ("–",) * 3
            images = f"{it.images:,}" + (" (predicted)" if it.predicted else "")
            table.add_row(name, images, f"{it.seconds:.3f}", f"{it.seconds + it.io:.3f}",
                          f"{it.seconds / lines[0].seconds:.2f}", f"{it.matching:.4f}", *rest)  # fmt: skip
    console.print(table)
    for name in NAMES:
        lines = [timing for timing in timings if timing.strategy == name]
        all_of, search = exponent(lines), exponent(lines, matching=True)
        console.print(f"{name}: seconds grow as n^{all_of.mean:.2f}, those of matching as n^{search.mean:.2f}")
    n = max(it.images for it in timings)
    last = {it.strategy: it for it in timings if it.images == n}
    for name in NAMES:
        ratio = last[THEIRS].seconds / last[name].seconds
        console.print(f"at {n:,}: {name} is {ratio:,.0f} × faster than {THEIRS} (without reading)")


def paid(
    timings: Sequence[Timing], rows: Sequence[dict[str, Any]], features: dict[int, float], trainings: float
) -> dict[str, dict[int, float]]:
    """Return for each pool the round from which a strategy and its preparation take less time than THEIRS."""
    seconds = {(it.strategy, it.images): it.seconds for it in timings}
    built = {(row.get("index"), row["images"]): row["seconds"] for row in rows}
    opened = {(row.get("strategy"), row["images"]): row.get("load", 0.0) for row in rows}  # a k-d tree is built then
    rounds: dict[str, dict[int, float]] = {}
    for name in PAYING:
        for n in sorted(features):
            saved = seconds[THEIRS, n] - seconds[name, n]
            once = trainings + features[n] + built.get((index_of(name), n), 0.0) + opened.get((name, n), 0.0)
            if (name, n) in opened:
                rounds.setdefault(name, {})[n] = once / saved if saved > 0 else float("inf")
    return rounds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("project", type=Path, help="a prepared project with a generator and the space")
    parser.add_argument("--spec", type=Path, default=Path("specs/mnist-ten.toml"))
    parser.add_argument("--space", default="autoencoder")
    parser.add_argument("--sizes", type=int, nargs="+", default=list(PAPER_SIZES))
    parser.add_argument("--out", type=Path, default=Path("scale"))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--patience", type=float, default=600.0, help="seconds of one selection")
    parser.add_argument("--case", help="measure only this case, in this process")
    parser.add_argument("--build", help="build only this index, in this process")
    parser.add_argument("--images", type=int)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if args.case or args.build:
        print(json.dumps(build(args) if args.build else select(args)))
        return
    args.out.mkdir(parents=True, exist_ok=True)
    console = Console(width=140)
    project, _ = opened(args)
    timings, rows, measured = measure(args, console)
    show(console, timings, rows)
    prepared = preparation(project, measured)
    encoder = prepared.encoder if args.space == "autoencoder" else 0.0
    rounds = paid(timings, rows, measured.features, prepared.generator + encoder)
    for name, line in rounds.items():
        console.print(f"{name}: pays off after {', '.join(f'{r:,.0f} rounds at {n:,}' for n, r in line.items())}")
    drawn = [timing for timing in timings if timing.strategy != "asal re-ranked, ivf"]  # there are seven colours
    draw_scaling(drawn, "seconds to select ten, without reading")(False).savefig(args.out / "scale.png", dpi=150)
    draw_crossings(rounds, NAMES)(False).savefig(args.out / "transition.png", dpi=150)
    facts = {**environment.hardware(), "threads": args.threads, "commit": environment.commit(), "space": args.space}
    console.print({**facts, "once": {"generator": prepared.generator, "encoder": prepared.encoder}})
    report = {"facts": facts, "timings": [vars(it) for it in timings], "rows": rows, "features": measured.features}
    (args.out / "scale.json").write_text(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
