"""Commands that are killed: at which moments, and what is compared afterwards."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

KILLS = int(os.environ.get("ASAL_KILLS", "4"))
# Checkpoints and shards so small that a second of work has many of them.
OFTEN = """
import asal.models.checkpoints, asal.data.pool, asal.project.extraction
asal.models.checkpoints.CHECKPOINT_SECONDS = 0.05
asal.data.pool.SHARD_IMAGES = asal.project.extraction.SHARD = 64
"""


def moments(seconds: float, seed: int) -> Iterator[float]:
    """Yield KILLS random moments, one in each of KILLS equal parts of the time."""
    rng = random.Random(seed)
    for part in range(KILLS):
        yield seconds * (part + rng.random()) / KILLS


def bytes_of(root: Path) -> dict[str, bytes]:
    """Return every file of a project, hidden ones too, but the lock and the picture that the command draws of it."""
    files = (path for path in root.rglob("*") if path.is_file() and path.name not in (".lock", "sample.png"))
    return {str(path.relative_to(root)): path.read_bytes() for path in files}


def gone(running: Any, within: float = 5) -> bool:
    """Say whether all processes of a command end within so many seconds."""
    end = time.monotonic() + within
    while running.alive():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True
