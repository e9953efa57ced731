"""How long people wait: for the next image within a batch, and for the first image of the next batch.

    python benchmarks/label_rounds.py PROJECT --spec SPEC --strategy asal-rerank --rounds 10

Starts `asal label` beside a project, answers over HTTP with the stored labels, `--seconds` after each image
was there, and prints what a page waited: `strict`, where the next batch is chosen when every answer is in; and
`ahead`, where it is chosen meanwhile. Nothing of the project is changed.
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
from support import ROOT

from asal.session.oracles.stored import Stored

sys.path.insert(0, str(ROOT / "tests"))
from support.http_clients import Bot, Served


def linked(project: Path, spec: Path, place: Path, settings: str) -> Path:
    """Return a project folder with the same derived folders, and a record of its own."""
    for entry in project.iterdir():
        if entry.is_dir() and entry.name != "labelling":
            (place / entry.name).symlink_to(entry.resolve())
    shutil.copy(spec, place / "asal.toml")
    with (place / "asal.toml").open("a") as file:
        file.write(settings)
    return place


def waits(root: Path, options: Sequence[str], answers: int, seconds: float) -> tuple[list[float], list[float]]:
    """Answer so many images; return what each answer took within a batch, and between two batches."""
    know = Stored.open(root / "pool")
    within, between = [], []
    with Served(root, options, threads=None) as served:
        bot = Bot(served.url, served.token)
        task, number = None, -1
        while task is None:
            task = next(iter(bot.next(1)), None)
            assert bot.get("/api/status")["doing"]["error"] is None, "see what it says above"
            time.sleep(0.05)
        for _ in range(answers):
            label = int(know.answer(np.array([task["image"]]))[0])
            time.sleep(seconds)
            begun = time.perf_counter()
            bot.answer((task["image"], label))
            before, found = task["round"], bot.next(1)
            while not found:
                time.sleep(0.005)
                found = bot.next(1)
            task, number = found[0], found[0]["round"]
            (within if number == before else between).append(time.perf_counter() - begun)
    return within, between


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("project", type=Path)
    parser.add_argument("--spec", type=Path, help="of a project that was prepared by a spec elsewhere")
    parser.add_argument("--strategy", default="asal")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--batch", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=0.5, help="that a person takes for an image")
    args = parser.parse_args()
    table = Table("pace", "answers", "within a batch: median", "95%", "next batch: median", "95%", "most")
    for pace in ("strict", "ahead"):
        with tempfile.TemporaryDirectory() as place:
            root = linked(
                args.project, args.spec or args.project / "asal.toml", Path(place), f'\n[labelling]\npace = "{pace}"\n'
            )
            options = ["--strategy", args.strategy, "--budget", "100000"]
            within, between = waits(root, options, args.batch * (args.rounds + 1), args.seconds)
        told = [
            f"{1000 * np.quantile(times, q):.0f} ms"
            for times, q in ((within, 0.5), (within, 0.95), (between, 0.5), (between, 0.95), (between, 1.0))
        ]
        table.add_row(pace, str(len(within) + len(between)), *told)
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
