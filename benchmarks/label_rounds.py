"""The time that people wait for the next image within a batch, and for the first image of the next batch.

    python benchmarks/label_rounds.py PROJECT --spec SPEC --strategy asal-rerank --rounds 10

Starts `asal label` on a copy of a project, answers over HTTP with the stored labels, `--seconds` after each image
arrived, and prints the waiting times: for `strict`, where the next batch is chosen when every answer is in, and for
`ahead`, where it is chosen meanwhile. The project is not changed.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from asal.session.oracles.stored import Stored

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from support.http_clients import Bot, Served


def linked(project: Path, spec: Path, place: Path, settings: str) -> Path:
    """Return a project folder with the same derived folders and a new record."""
    for entry in project.iterdir():
        if entry.is_dir() and entry.name != "labelling":
            (place / entry.name).symlink_to(entry.resolve())
    shutil.copy(spec, place / "asal.toml")
    with (place / "asal.toml").open("a") as file:
        file.write(settings)
    return place


def waits(root: Path, options: Sequence[str], answers: int, seconds: float) -> tuple[list[float], list[float]]:
    """Answer so many images; return the seconds of each answer within a batch, and between two batches."""
    oracle = Stored.open(root / "pool")
    within, between = [], []
    with Served(root, options, threads=None) as served:
        bot = Bot(served.url, served.token)
        task, number = None, -1
        while task is None:
            task = next(iter(bot.next(1)), None)
            assert bot.get("/api/status")["doing"]["error"] is None, "see the message above"
            time.sleep(0.05)
        for _ in range(answers):
            label = int(oracle.answer(np.array([task["image"]]))[0])
            time.sleep(seconds)
            start = time.perf_counter()
            bot.answer((task["image"], label))
            before, tasks = task["round"], bot.next(1)
            while not tasks:
                time.sleep(0.005)
                tasks = bot.next(1)
            task, number = tasks[0], tasks[0]["round"]
            (within if number == before else between).append(time.perf_counter() - start)
    return within, between


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("project", type=Path)
    parser.add_argument("--spec", type=Path, help="needed where the project has no asal.toml")
    parser.add_argument("--strategy", default="asal")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--batch", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=0.5, help="that a person takes per image")
    args = parser.parse_args()
    table = Table("pace", "answers", "within a batch: median", "95%", "next batch: median", "95%", "maximum")
    for pace in ("strict", "ahead"):
        with tempfile.TemporaryDirectory() as place:
            root = linked(
                args.project, args.spec or args.project / "asal.toml", Path(place), f'\n[labelling]\npace = "{pace}"\n'
            )
            options = ["--strategy", args.strategy, "--budget", "100000"]
            within, between = waits(root, options, args.batch * (args.rounds + 1), args.seconds)
        cells = [
            f"{1000 * np.quantile(times, q):.0f} ms"
            for times, q in ((within, 0.5), (within, 0.95), (between, 0.5), (between, 0.95), (between, 1.0))
        ]
        table.add_row(pace, str(len(within) + len(between)), *cells)
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
