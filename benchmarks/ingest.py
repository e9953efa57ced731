"""Images ingested per second: MNIST (PNG) and CIFAR-10 from the hub, and a folder of 100,000 small JPEG files.

    ASAL_DATA_DIR=data python benchmarks/ingest.py [--images 100000] [--workers 1 2]

The folder is made from CIFAR-10, in a temporary place. Each row is a separate process. "Total" counts from the call to
the complete pool, with checksums and the start of the workers; "running" from the first images on. The bare rate is
Pillow's alone in one thread: opening bytes in memory, decoding, and converting the pixels. It is measured in the same
process just before; compare the ratio. Peak memory is the command's, and its largest worker's.
"""

from __future__ import annotations

import argparse
import io
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from asal.data.ingest import IngestContext, ingest
from asal.data.sources import Source
from asal.data.sources.decode import decode
from asal.data.sources.folder import Folder
from asal.data.sources.hub import Hub
from asal.runtime import environment
from asal.runtime.engine import InProcess
from asal.runtime.engine.local import Local

MNIST, CIFAR = "ylecun/mnist", "uoft-cs/cifar10"
BARE = 5_000  # images


def write_folder(root: Path, images: int) -> None:
    """Fill ten class folders with JPEG files."""
    source = Hub(CIFAR)
    labels, n = source.labels("train"), source.splits["train"]
    assert labels is not None
    for name in source.classes:
        (root / name).mkdir(parents=True)
    for turn in range(-(-images // n)):
        rows = np.arange(min(n, images - turn * n))
        for row, record in zip(rows.tolist(), source.records("train", rows), strict=True):
            picture = Image.fromarray(decode(record.raw, size=None, gray=False)).rotate(90 * turn)
            picture.save(root / source.classes[labels[row]] / f"{turn * n + row}.jpg", quality=90)


def opened(kind: str, folder: Path) -> tuple[Source, bool]:
    """Return a source, and whether its images are gray."""
    return {"mnist": (Hub(MNIST), True), "cifar10": (Hub(CIFAR), False), "folder": (Folder(str(folder)), False)}[kind]


def bare(source: Source) -> float:
    """Return the images per second that Pillow alone decodes."""
    records = source.records("train", np.arange(min(BARE, source.splits["train"])))
    files = [raw.read_bytes() if isinstance(raw, Path) else raw for raw in (record.raw for record in records)]
    start = time.perf_counter()
    for data in files:
        with Image.open(io.BytesIO(data)) as image:
            np.asarray(image)
    return len(files) / (time.perf_counter() - start)


def measure(kind: str, folder: Path, workers: int) -> dict[str, Any]:
    """Ingest one source and return its cost."""
    source, gray = opened(kind, folder)
    decoded, marks = bare(source), []

    def progress(stage: str, done: int, total: int, note: str = "") -> None:
        marks.append((time.perf_counter(), done))

    with tempfile.TemporaryDirectory(dir=folder.parent) as project:
        start = time.perf_counter()
        ingest(
            source,
            Path(project),
            gray=gray,
            context=IngestContext(Local(workers) if workers > 1 else InProcess(), progress),
        )
        ended = time.perf_counter()
    n = source.splits["train"]
    first, last = marks[0], marks[-1]
    own, children = (resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return {
        "images": n,
        "bare": decoded,
        "all": n / (ended - start),
        "running": (last[1] - first[1]) / (last[0] - first[0]),
        "MiB": [own // 1024, children // 1024],
    }


def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=100_000, help="files in the folder")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--one", nargs=3, metavar=("KIND", "FOLDER", "WORKERS"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        kind, folder, workers = args.one
        print(json.dumps(measure(kind, Path(folder), int(workers))))
        return
    print("source      images  workers   bare/s       total    running  ÷ bare  peak MiB")
    with tempfile.TemporaryDirectory() as home:
        write_folder(Path(home) / "images", args.images)
        for kind in ("mnist", "cifar10", "folder"):
            for workers in args.workers:
                command = [sys.executable, __file__, "--one", kind, f"{home}/images", str(workers)]
                result = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
                own, largest = result["MiB"]
                print(
                    f"{kind:<9}{result['images']:>9,}{workers:>9}{result['bare']:>9,.0f}{result['all']:>12,.0f}"
                    f"{result['running']:>11,.0f}{result['running'] / result['bare']:>8.2f}  {own} + {largest}",
                    flush=True,
                )
    print({**environment.hardware(), "commit": environment.commit()})


if __name__ == "__main__":
    main()
