"""Preparing a large pool under many kills gives the same bytes as without a kill, and repeats little work.

    python benchmarks/faults.py [--images 1000000] [--kills 20]

The script writes synthetic images of 28 × 28 into a temporary folder. Two processes ingest them and compute features,
their pixels compressed by PCA to 50 dimensions; an index is built. This happens once without a kill, and once with
SIGKILL at random moments spread evenly over the work, in turn to the command alone and to its workers as well. Every
file's sha256 is compared. A shard counts as repeated when its file is renamed into place a second time.
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from asal.project.project import Project
from asal.project.spec import load
from asal.runtime import environment
from asal.runtime.artifacts import sha256
from asal.runtime.engine.local import Local

WORKERS, BLOCK, LOG = 2, 50_000, "ASAL_FAULTS_LOG"
SPEC = """
name = "faults"
source = {{kind = "arrays", path = "{path}"}}
pool = {{gray = true}}
index = {{kind = "{index}"}}
features = {{pixels = {{dimensions = 50}}}}
"""


def note(event: str, args: Any) -> None:
    """Log each file that is renamed into place, with the time."""
    if event == "os.rename" and str(args[1]).endswith((".npy", ".json", ".parquet", ".safetensors")):
        line = f"{time.monotonic()} {'/'.join(Path(args[1]).parts[-3:])}\n"
        log = os.open(os.environ[LOG], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(log, line.encode())
        os.close(log)


if LOG in os.environ:  # at import, since workers import this file too
    sys.addaudithook(note)


def write_images(path: Path, images: int) -> None:
    """Write synthetic images: blobs with random places and widths, under noise."""
    rng = np.random.default_rng(0)
    array = np.lib.format.open_memmap(path, "w+", np.uint8, (images, 28, 28))
    y, x = np.mgrid[:28, :28]
    blobs = [np.exp(-((y - a) ** 2 + (x - b) ** 2) / c) for a, b, c in rng.uniform(5, 23, (200, 3))]
    pictures = np.stack([200 * blob for blob in blobs])
    for start in range(0, images, BLOCK):
        some = array[start : start + BLOCK]
        some[:] = pictures[rng.integers(200, size=len(some))] + rng.integers(0, 55, some.shape)
    array.flush()


def work(project: Path) -> None:
    """Prepare a project: the process that is killed."""
    Project(project, load(project), engine=Local(WORKERS)).prepare()


def started(project: Path, log: Path) -> subprocess.Popen[bytes]:
    """Start to prepare a project in its own process, which leads a group."""
    command = [sys.executable, __file__, "--work", str(project)]
    return subprocess.Popen(command, env=os.environ | {LOG: str(log)}, start_new_session=True)


def events(log: Path) -> list[tuple[float, str]]:
    """Return when each file was renamed into place."""
    lines = log.read_text().splitlines() if log.exists() else []
    return [(float(line.split(" ", 1)[0]), line.split(" ", 1)[1]) for line in lines]


def sums(project: Path) -> dict[str, str]:
    """Return every file's sha256."""
    files = (path for path in project.rglob("*") if path.is_file() and path.name != ".lock")
    return {str(path.relative_to(project)): sha256(path) for path in sorted(files)}


def repeated(log: Path) -> int:
    """Return how many shards were written a second time."""
    shards = [name for _, name in events(log) if "images/" in name or "vectors/" in name]
    return len(shards) - len(set(shards))


def alive(group: int) -> bool:
    """Say whether a process of a group is still running."""
    output = subprocess.run(["ps", "-A", "-o", "pgid=,stat="], capture_output=True, text=True, check=True).stdout
    rows = [line.split() for line in output.splitlines()]
    return any(int(row[0]) == group and not row[1].startswith("Z") for row in rows)


def kill(running: subprocess.Popen[bytes], log: Path, after: int, delay: float, *, group: bool) -> str:
    """Kill a process after `after` files are in place, at least one by itself, and `delay`; describe what happened."""
    before = len(events(log))
    while running.poll() is None:
        done = events(log)
        if len(done) > before and len({name for _, name in done}) >= after:
            break
        time.sleep(0.02)
    time.sleep(delay)
    if running.poll() is None:
        (os.killpg if group else os.kill)(running.pid, signal.SIGKILL)
    code = running.wait()
    while alive(running.pid):
        time.sleep(0.02)
    done = events(log)
    return f"{'had ended' if code == 0 else 'killed'} after {done[-1][1] if done else 'nothing'}"


def main() -> int:
    """Print one table; return 1 where a byte differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=1_000_000)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--index", default="exact")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="a temporary place: some 2.5 kB per image")
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.work:
        work(args.work)
        return 0
    with tempfile.TemporaryDirectory(dir=args.folder) as home:
        return compare(Path(home), args)


def compare(home: Path, args: argparse.Namespace) -> int:
    """Prepare one project without a kill and another with many."""
    write_images(home / "images.npy", args.images)
    for name in ("uncut", "killed"):
        (home / name).mkdir()
        (home / name / "asal.toml").write_text(SPEC.format(path=home / "images.npy", index=args.index))
    start = time.monotonic()
    assert started(home / "uncut", home / "uncut.log").wait() == 0
    uncut = events(home / "uncut.log")
    print(f"{args.images:,} images, without a kill: {time.monotonic() - start:.0f} s, {len(uncut)} files written")
    gaps = [later - earlier for (earlier, _), (later, _) in pairwise(uncut)] + [1.0]
    rng, before = random.Random(args.seed), 0
    for number in range(args.kills):
        at = int(len(uncut) * (number + rng.random()) / args.kills)
        running = started(home / "killed", home / "killed.log")
        outcome = kill(running, home / "killed.log", at, rng.uniform(0, gaps[at]), group=bool(number % 2))
        again = repeated(home / "killed.log")
        print(
            f"kill {number + 1:>3}  {'group' if number % 2 else 'alone'}  {again - before} repeated  {outcome}",
            flush=True,
        )
        before = again
    assert started(home / "killed", home / "killed.log").wait() == 0
    one, other = sums(home / "uncut"), sums(home / "killed")
    differing = sorted(name for name in one.keys() | other.keys() if one.get(name) != other.get(name))
    print(f"{len(one)} files, {len(differing)} of them differ {differing[:5]}")
    bound = args.kills * WORKERS
    print(f"repeated shards: {repeated(home / 'killed.log')}; one per worker and kill would be {bound}")
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024
    print({**environment.hardware(), "peak_mib": peak, "commit": environment.commit()})
    return 1 if differing or repeated(home / "killed.log") > bound else 0


if __name__ == "__main__":
    sys.exit(main())
