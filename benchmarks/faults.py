"""Preparing a large pool, killed again and again: the same bytes as without a kill, and little done twice.

    python benchmarks/faults.py [--images 1000000] [--kills 20]

Images of 28 × 28 are made up, in a temporary place. Two processes take them in and compute features, their pixels
compressed by PCA to 50 dimensions; an index is built. This is done once to the end, and once with SIGKILL at random
moments, one in each of as many equal parts of what is to be written, to the command alone or to it and its workers in
turn. Every file's sha256 is compared. A shard counts as done twice when its file is put in its place a second time.
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


def note(event: str, given: Any) -> None:
    """Write down, at once, each file that is put in its place: which, and when."""
    if event == "os.rename" and str(given[1]).endswith((".npy", ".json", ".parquet", ".safetensors")):
        line = f"{time.monotonic()} {'/'.join(Path(given[1]).parts[-3:])}\n"
        log = os.open(os.environ[LOG], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(log, line.encode())
        os.close(log)


if LOG in os.environ:  # here, for workers read this file too
    sys.addaudithook(note)


def write_images(path: Path, images: int) -> None:
    """Make images up: blobs whose places and widths are drawn, under noise."""
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
    """Prepare a project: this is what is killed."""
    Project(project, load(project), engine=Local(WORKERS)).prepare()


def begun(project: Path, log: Path) -> subprocess.Popen[bytes]:
    """Start to prepare a project in a process of its own, which leads a group."""
    command = [sys.executable, __file__, "--work", str(project)]
    return subprocess.Popen(command, env=os.environ | {LOG: str(log)}, start_new_session=True)


def events(log: Path) -> list[tuple[float, str]]:
    """Return when each file was put in its place."""
    lines = log.read_text().splitlines() if log.exists() else []
    return [(float(line.split(" ", 1)[0]), line.split(" ", 1)[1]) for line in lines]


def sums(project: Path) -> dict[str, str]:
    """Return every file's sha256."""
    files = (path for path in project.rglob("*") if path.is_file() and path.name != ".lock")
    return {str(path.relative_to(project)): sha256(path) for path in sorted(files)}


def twice(log: Path) -> int:
    """Return how many shards were put in their places again."""
    shards = [name for _, name in events(log) if "images/" in name or "vectors/" in name]
    return len(shards) - len(set(shards))


def alive(group: int) -> bool:
    """Say whether a process of a group is still there."""
    told = subprocess.run(["ps", "-A", "-o", "pgid=,stat="], capture_output=True, text=True, check=True).stdout
    rows = [line.split() for line in told.splitlines()]
    return any(int(row[0]) == group and not row[1].startswith("Z") for row in rows)


def kill(running: subprocess.Popen[bytes], log: Path, after: int, delay: float, *, group: bool) -> str:
    """Kill it so many seconds after so many files are in their places, one by this process; return the last one."""
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
    return f"{'ended before' if code == 0 else 'killed'} after {done[-1][1] if done else 'nothing'}"


def main() -> int:
    """Print one table; return 1 where a byte differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=1_000_000)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--index", default="exact")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="where all is put meanwhile: some 2.5 kB an image")
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.work:
        work(given.work)
        return 0
    with tempfile.TemporaryDirectory(dir=given.folder) as home:
        return compare(Path(home), given)


def compare(home: Path, given: argparse.Namespace) -> int:
    """Prepare one project without a kill and another with many."""
    write_images(home / "images.npy", given.images)
    for name in ("uncut", "killed"):
        (home / name).mkdir()
        (home / name / "asal.toml").write_text(SPEC.format(path=home / "images.npy", index=given.index))
    start = time.monotonic()
    assert begun(home / "uncut", home / "uncut.log").wait() == 0
    uncut = events(home / "uncut.log")
    print(f"{given.images:,} images, without a kill: {time.monotonic() - start:.0f} s, {len(uncut)} files written")
    gaps = [later - earlier for (earlier, _), (later, _) in pairwise(uncut)] + [1.0]
    rng, before = random.Random(given.seed), 0
    for number in range(given.kills):
        at = int(len(uncut) * (number + rng.random()) / given.kills)
        running = begun(home / "killed", home / "killed.log")
        said = kill(running, home / "killed.log", at, rng.uniform(0, gaps[at]), group=bool(number % 2))
        again = twice(home / "killed.log")
        print(
            f"kill {number + 1:>3}  {'group' if number % 2 else 'alone'}  {again - before} done twice  {said}",
            flush=True,
        )
        before = again
    assert begun(home / "killed", home / "killed.log").wait() == 0
    one, other = sums(home / "uncut"), sums(home / "killed")
    differing = sorted(name for name in one.keys() | other.keys() if one.get(name) != other.get(name))
    print(f"{len(one)} files, {len(differing)} of them differ {differing[:5]}")
    bound = given.kills * WORKERS
    print(f"shards done twice: {twice(home / 'killed.log')}; one a worker and kill would be {bound}")
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024
    print({**environment.hardware(), "peak_mib": peak, "commit": environment.commit()})
    return 1 if differing or twice(home / "killed.log") > bound else 0


if __name__ == "__main__":
    sys.exit(main())
