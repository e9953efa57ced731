"""From a folder of photographs to a classifier: seconds to the first question, and accuracy against labels.

    python benchmarks/first_hour.py PHOTOS --out hour            # all parts
    python benchmarks/first_hour.py PHOTOS --out hour --only curve --seeds 10

PHOTOS is a folder of labelled photographs: class folders, or such in `train` and `test`. Nothing is written there.

start    `asal label PHOTOS`, nothing prepared: seconds to the page, to the first question, to all features; then
         somebody answers once a second by the stored labels: seconds until the next image is there.
curve    accuracy on the test set against labels, stored labels, paired seeds: random, the most uncertain of 1,000
         random images by margin and by entropy, and the template's strategy; beside them the classifier of all labels.
million  the features of the same photographs, a million of them, each moved by noise (`--noise`, in standard
         deviations of the features), without pictures: seconds from opening to the first batch, and memory.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w
from rich.console import Console

import asal
from asal.core import Features, Ids
from asal.experiments.metrics import accuracy_at, aubc, paired
from asal.experiments.statistics import Estimate, estimate, holm
from asal.features.pca import Pca
from asal.features.store import write_vectors
from asal.project.project import Project
from asal.project.spec import load
from asal.runtime import artifacts
from asal.session.oracles.stored import Stored

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from support.http_clients import Bot, Process, free_port

console = Console(highlight=False, soft_wrap=True)
PARTS = ("start", "curve", "million")
CONTROLS = {  # beside the template's own strategy
    "random": {},
    "subset-margin": {"kind": "subset", "size": 1000, "score": "margin"},
    "subset-entropy": {"kind": "subset", "size": 1000, "score": "entropy"},
}


def start(photos: Path, project: Path, batches: int) -> None:
    """Time `asal label` on a folder of photographs without a project."""
    port, begun = free_port(), time.perf_counter()
    options = ["--project", str(project), "--no-browser", "--port", str(port)]
    process = Process.fresh(["label", str(photos), *options])
    try:
        bot = _signed_in(process, port)
        console.print(f"the page answers after {time.perf_counter() - begun:.1f} s")
        task = _next(bot)
        console.print(f"the first question after {time.perf_counter() - begun:.1f} s")
        oracle, waits, features = Stored.open(project / "pool"), list[float](), 0.0
        for _ in range(10 * batches):
            if not features and not _computing(project):
                features = time.perf_counter() - begun
                console.print(f"all features after {features:.1f} s, with {len(waits)} answers by then")
            time.sleep(1.0)  # a person looks
            label = int(oracle.answer(np.array([task["image"]]))[0])
            asked = time.perf_counter()
            bot.answer((task["image"], label))
            task = _next(bot)
            waits.append(time.perf_counter() - asked)
        console.print(
            f"{len(waits)} answers, one a second: the next image within {np.percentile(waits, 50):.2f} s (median), "
            f"{np.percentile(waits, 95):.2f} s (95%), at most {max(waits):.2f} s"
        )
        while _computing(project):
            time.sleep(0.5)
        if not features:
            console.print(f"all features after {time.perf_counter() - begun:.1f} s")
    finally:
        os.kill(process.pid, signal.SIGINT)
        process.wait()


def _signed_in(process: Process, port: int) -> Bot:
    while "#token=" not in process.output():
        assert process.running(), process.output()
        time.sleep(0.05)
    token = process.output().split("#token=")[1].split()[0]
    return Bot(f"http://127.0.0.1:{port}", token)


def _next(bot: Bot) -> dict[str, Any]:
    while True:
        try:
            tasks: list[dict[str, Any]] = bot.next(1)
        except Exception:  # the images are being taken in
            tasks = []
        if tasks:
            return tasks[0]
        time.sleep(0.02)


def _computing(project: Path) -> bool:
    return not any(artifacts.is_complete(folder) for folder in (project / "features").glob("*"))


def prepared(photos: Path, project: Path) -> Project:
    """Return the project that `asal init` makes of the photographs, prepared."""
    if not (project / "asal.toml").exists():
        subprocess.run([sys.executable, "-m", "asal", "init", str(project), "--images", str(photos)], check=True)
    spec = load(project)
    tables = spec.model_dump(mode="json", exclude_none=True)
    tables["strategies"] |= {name: table for name, table in CONTROLS.items() if name not in tables["strategies"]}
    tables["reference"] = {"seeds": 1}
    (project / "compared.toml").write_text(tomli_w.dumps(tables))
    opened = Project(project, load(project / "compared.toml"))
    begun = time.perf_counter()
    opened.prepare()
    console.print(f"prepared in {time.perf_counter() - begun:.0f} s (what was there already costs nothing)")
    return opened


def curve(project: Project, out: Path, seeds: int, labels: int) -> None:
    """Compare the strategies over paired seeds, and print the table."""
    default = next(iter(project.spec.strategies))
    names = list(dict.fromkeys([*CONTROLS, default]))
    begun = time.perf_counter()
    results = asal.run(project, names, seeds, out, jobs=2)
    console.print(f"{len(names)} strategies × {seeds} seeds in {time.perf_counter() - begun:.0f} s")
    marks = [mark for mark in (50, 100, 200, 300, 500, 1000) if mark <= labels]
    for name in names:
        runs = results.of(name)
        cells = [estimate([accuracy_at(run.labels, run.accuracy, mark) for run in runs]) for mark in marks]
        row = "  ".join(
            f"{mark}: {cell.mean:.1%} ({cell.low:.1%} … {cell.high:.1%})"
            for mark, cell in zip(marks, cells, strict=True)
        )
        area = np.mean([aubc(run.labels, run.accuracy) for run in runs])
        console.print(f"{name:16} area {area:.4f}   {row}")
    for baseline in ("random", "subset-margin"):
        others = [name for name in names if name != baseline]
        gains = {name: gain for name in others if (gain := paired(results, name, baseline)) is not None}
        for (name, gain), p in zip(gains.items(), holm([gain.p for gain in gains.values()]), strict=True):
            console.print(
                f"{name} − {baseline}: {_interval(gain.estimate)}, {gain.wins}–{gain.losses} (Holm: p = {p:.3g})"
            )
    if results.reference:
        console.print(f"trained on every label: {results.reference.accuracy:.1%}")


def _interval(estimate_: Estimate) -> str:
    return f"{estimate_.mean:+.4f} ({estimate_.low:+.4f} … {estimate_.high:+.4f})"


def million(small: Project, root: Path, images: int, noise: float, labels: int) -> None:
    """Make a project of a million photographs' features, and time its first batch in a process of its own."""
    space = next(iter(small.spec.features))
    tables = small.spec.model_dump(mode="json", exclude_none=True)
    tables["source"] = {"kind": "augmented", "base": tables["source"], "images": images}
    root.mkdir(parents=True, exist_ok=True)
    (root / "asal.toml").write_text(tomli_w.dumps(tables))
    large = Project(root, load(root))
    large.ingest()
    table = large.spec.features[space]
    large.parts.extractor(table).make()
    step, origin = large.parts.features(space), small.parts.features(space)
    if step.status != "there":
        stored = small.space(space).stored
        every = stored.read(np.arange(len(small.pool)))
        spread = np.float32(noise * every.std())

        def vectors(ids: Ids) -> Features:
            rng = np.random.default_rng(int(ids[0]))
            moved = every[ids % len(every)] + spread * rng.standard_normal((len(ids), every.shape[1]), np.float32)
            return moved.astype(np.float16) if table.storage == "float16" else moved.astype(np.float32)

        begun = time.perf_counter()
        with artifacts.building(step.folder, step.facts) as partial:
            if (origin.folder / Pca.FILE).exists():
                shutil.copy(origin.folder / Pca.FILE, partial / Pca.FILE)
            write_vectors(partial / "vectors", vectors, images)
        console.print(f"{images:,} vectors written in {time.perf_counter() - begun:.0f} s")
    words = [sys.executable, __file__, str(root), "--out", str(labels), "--only", "ask"]
    console.print(subprocess.run(words, check=True, capture_output=True, text=True).stdout.strip())


def ask(root: Path, labels: int) -> None:
    """Open a project, label some images by the stored labels, and print what the next batches cost."""
    (root / "labels.db").unlink(missing_ok=True)
    begun = time.perf_counter()
    project = Project.open(root)
    session = project.session(next(iter(project.spec.strategies)))
    batch, seconds = session.ask(project.spec.protocol.initial), [time.perf_counter() - begun]
    oracle = project.oracle("pool")
    while len(session.labelled) < labels:
        session.tell(dict(zip(batch.ids.tolist(), oracle.answer(batch.ids).tolist(), strict=True)))
        begun = time.perf_counter()
        batch = session.ask(10)
        seconds.append(time.perf_counter() - begun)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    usual, most = np.median(seconds[1:]), max(seconds[1:])
    print(
        f"{len(project.pool):,} images: the first batch after {seconds[0]:.1f} s, the others within {usual:.2f} s "
        f"(median), {most:.2f} s (at most); memory {peak:.2f} GiB"
    )


def main() -> None:
    """Run the parts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", choices=[*PARTS, "ask"], action="append")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--labels", type=int, default=300)
    parser.add_argument("--batches", type=int, default=12)
    parser.add_argument("--images", type=int, default=1_000_000)
    parser.add_argument("--noise", type=float, default=0.2, help="standard deviations of the features")
    given = parser.parse_args()
    wanted = given.only or PARTS
    if "ask" in wanted:
        return ask(given.photos, int(str(given.out)))
    given.out.mkdir(parents=True, exist_ok=True)
    console.print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, {time.strftime('%Y-%m-%d %H:%M')}")
    if "start" in wanted:
        project = given.out / "started"
        shutil.rmtree(project, ignore_errors=True)
        start(given.photos, project, given.batches)
    if {"curve", "million"} & {*wanted}:
        small = prepared(given.photos, given.out / "project")
        if "curve" in wanted:
            curve(small, given.out / "runs", given.seeds, given.labels)
        if "million" in wanted:
            million(small, given.out / "million", given.images, given.noise, 100)
    return None


if __name__ == "__main__":
    main()
