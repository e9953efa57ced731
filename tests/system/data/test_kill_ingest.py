"""Images taken in by two processes that are killed at any moment: the same bytes in the end, and little done twice."""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from support.kills import KILLS, bytes_of, gone, moments

from asal.data import pool
from asal.data.ingest import IngestContext, ingest
from asal.data.sources.folder import Folder
from asal.data.splits import Split
from asal.errors import UserError
from asal.runtime.engine.local import Local

IMAGES, SHARD, WORKERS = 1500, 32, 2
# Takes images in with two workers and writes down, at once, each shard that one of them begins. Workers are forks.
FIRST = f"""
import os, sys
from pathlib import Path
import asal.cli.main, asal.data.ingest_shard, asal.data.pool
from asal.data.splits import Split
from asal.runtime.engine.local import Local
from asal.data.ingest import IngestContext, ingest
from asal.data.sources.folder import Folder

images, project, log, limit = sys.argv[1:5]
asal.data.pool.SHARD_IMAGES = 2048 if limit == "memory" else {SHARD}
take = asal.data.ingest_shard.IngestShardTask._take

def noted(self, progress):
    with open(log, "a") as file:
        file.write(self.name + chr(10))
    if limit == "memory":  # for all but a shard of 2 MB
        import resource
        used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + 2**20, used + 2**20))
    return take(self, progress)

def app(**_):
    ingest(Folder(images), Path(project), Split(None, 0, 100), context=IngestContext(Local({WORKERS})))

asal.data.ingest_shard.IngestShardTask._take, asal.cli.main.app = noted, app
"""


@dataclass(frozen=True)
class Taken:
    """A pool that was taken in without a cut."""

    images: Path
    bytes: dict[str, bytes]
    seconds: float
    shards: int


@pytest.fixture(scope="module")
def whole(start: Any, tmp_path_factory: pytest.TempPathFactory) -> Taken:
    root = tmp_path_factory.mktemp("whole")
    rng = np.random.default_rng(0)
    for number in range(IMAGES):
        path = root / "images" / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (24, 24, 3), np.uint8)).save(path)
        if number % 50 == 3:
            path.write_bytes(b"rubbish")
    begun = time.monotonic()
    said = start(root / "images", root / "project", root / "log", "none", first=FIRST).wait()
    assert said.code == 0, said.err
    shards = len(list(root.glob("project/*/images/*.npy")))
    assert shards == 48 and len((root / "log").read_text().splitlines()) == shards
    return Taken(root / "images", made_of(root / "project"), time.monotonic() - begun, shards)


def made_of(project: Path) -> dict[str, bytes]:
    """Return a project's files, but for the place of its images: it is relative to the project."""
    files = bytes_of(project)
    manifests = {name for name in files if name.endswith("part.json")}
    assert manifests
    return {
        name: re.sub(rb'"path": "[^"]*"', b'"path": ""', data) if name in manifests else data
        for name, data in files.items()
    }


def twice(log: Path) -> int:
    """Return how many shards were begun again."""
    begun = log.read_text().splitlines() if log.exists() else []
    return len(begun) - len(set(begun))


@pytest.mark.parametrize("whom", ["the command alone", "the whole group", "a worker"])
def test_it_ends_in_the_same_bytes_and_little_is_lost(whom: str, start: Any, whole: Taken, tmp_path: Path) -> None:
    unfinished = 0
    for number, moment in enumerate(moments(whole.seconds, seed=len(whom))):
        words = (whole.images, tmp_path / f"{number}/project", tmp_path / f"{number}.log", "none")
        running = start(*words, first=FIRST)
        time.sleep(moment)
        stop(running, whom)
        said = running.wait()
        assert gone(running), "a worker lives on"
        if said.code == 2:
            said.refused("a process was killed", "images/0", "it resumes")
        unfinished += said.code != 0
        assert start(*words, first=FIRST).wait().code == 0
        assert made_of(words[1]) == whole.bytes, f"killed after {moment:.3f} s"
        assert twice(words[2]) <= WORKERS, "more was lost than the shards in hand"
    assert unfinished, "no kill hit the work"


def stop(running: Any, whom: str) -> None:
    with contextlib.suppress(ProcessLookupError):
        if whom == "the whole group":
            os.killpg(running.pid, signal.SIGKILL)
        elif whom == "a worker" and len(alive := running.alive()) > 1:
            os.kill(next(pid for pid in alive if pid != running.pid), signal.SIGKILL)
        else:
            os.kill(running.pid, signal.SIGKILL)


def test_it_ends_in_the_same_bytes_after_many_kills(start: Any, whole: Taken, tmp_path: Path) -> None:
    words, rng, kills = (whole.images, tmp_path / "project", tmp_path / "log", "none"), random.Random(7), max(5, KILLS)
    for _ in range(kills):
        running = start(*words, first=FIRST)
        time.sleep(rng.uniform(0.1, 0.5) * whole.seconds)
        stop(running, rng.choice(["the command alone", "the whole group", "a worker"]))
        running.wait()
        assert gone(running), "a worker lives on"
    assert start(*words, first=FIRST).wait().code == 0
    assert made_of(tmp_path / "project") == whole.bytes
    assert twice(tmp_path / "log") <= WORKERS * kills


def test_a_worker_without_memory_is_told_by_its_shard(start: Any, whole: Taken, tmp_path: Path) -> None:
    words = (whole.images, tmp_path / "project", tmp_path / "log")
    said = start(*words, "memory", first=FIRST).wait()
    said.refused("the memory was too small", "images/00000.npy", "fewer --workers", "it resumes")
    assert start(*words, "none", first=FIRST).wait().code == 0
    assert made_of(tmp_path / "project") == whole.bytes


@contextlib.contextmanager
def small_disk(place: Path) -> Iterator[None]:
    """Mount a disk that 500 images of 24 × 24 × 3 fill."""
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)]
    if os.geteuid() or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("no small disk can be mounted here")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", place], check=True)


def test_a_disk_that_a_worker_fills_is_told_with_the_file(
    whole: Taken, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "SHARD_IMAGES", SHARD)
    source, split, context = Folder(str(whole.images)), Split(None, 0, 100), IngestContext(Local(WORKERS))
    with small_disk(tmp_path / "disk"):
        project = tmp_path / "disk" / "project"
        with pytest.raises(UserError, match=r"disk/project/.*the disk is full.*it resumes"):
            ingest(source, project, split, context=context)
        kept = {path: path.stat().st_ino for path in project.glob("pool.partial/images/*.npy")}
        assert len(kept) > 5
        subprocess.run(["mount", "-o", "remount,size=16m", tmp_path / "disk"], check=True)
        ingest(source, project, split, context=context)
        assert made_of(project) == whole.bytes
        made = {path.name: path.stat().st_ino for path in project.glob("pool/images/*.npy")}
        assert all(made[path.name] == inode for path, inode in kept.items()), "what was whole was made again"


def test_the_real_command_takes_its_workers_with_it(whole: Taken, start: Any, tmp_path: Path) -> None:
    script = tmp_path / "take.py"
    script.write_text(f"{FIRST}\nif __name__ == '__main__':\n    asal.cli.main.app()\n")
    command = [sys.executable, script, whole.images, tmp_path / "project", tmp_path / "log", "none"]
    quiet: Any = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "start_new_session": True}
    with subprocess.Popen(list(map(str, command)), **quiet) as running:
        while not list(tmp_path.glob("project/*.partial/receipts/[0-9]*")):
            assert running.poll() is None
            time.sleep(0.01)
        running.kill()
    assert gone(type(start("--help"))(start, running.pid, tmp_path, tmp_path)), "a worker lives on"
    assert json.loads(next(tmp_path.glob("project/*.partial/receipts/[0-9]*")).read_text())["keys"]
    subprocess.run(list(map(str, command)), check=True)
    assert made_of(tmp_path / "project") == whole.bytes
    assert twice(tmp_path / "log") <= WORKERS
