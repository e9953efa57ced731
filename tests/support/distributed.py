"""What the processes of a training on several devices run in the tests: they import it by name."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from asal.core import Pool
from asal.models import checkpoints
from asal.models.checkpoints import save_state
from asal.models.generators.adversarial import resume_training, start_training
from asal.runtime.artifacts import SCRATCH
from asal.runtime.progress import no_progress
from asal.testing.training import Cut


def train_each(fabric: Any, parts: Mapping[str, Any], pool: Pool, folder: Path) -> None:
    """Train several generators in the same processes, each in its own folder: starting processes takes seconds."""
    for name, part in parts.items():
        train_uncut_and_cut(fabric, part, pool, folder / name)


def train_uncut_and_cut(fabric: Any, part: Any, pool: Pool, folder: Path) -> None:
    """Train four steps, and again two and two in another folder; keep what each process ends with."""
    checkpoints.CHECKPOINT_SECONDS = 0.0
    for name, attempts in (("uncut", [part]), ("cut", [cut_before(2, part), part])):
        (folder / name / SCRATCH).mkdir(parents=True, exist_ok=True)
        for definition in attempts:
            training = start_training(fabric, definition, pool.shape, seed=0)
            with suppress(Cut):
                resume_training(fabric, definition, training, pool, folder / name, no_progress)
            fabric.barrier()  # the first process may still be writing what all go on from
        save_state(folder / name / f"rank-{fabric.global_rank}.safetensors", 4, training.parts(0))


def cut_before(place: int, part: Any) -> Any:
    """Return a generator whose training ends before a step, in all processes at once."""
    kind = type(part)

    def rate(self: Any, step: int) -> float:
        if step == place:
            raise Cut
        return float(kind.rate(self, step))

    return type("Twin", (kind,), {"rate": rate})(**vars(part))
