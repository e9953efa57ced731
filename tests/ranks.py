"""What the processes of a training on several devices run in the tests: they import it by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from asal.artifacts import SCRATCH
from asal.checkpoint import save_state
from asal.core import Pool
from asal.generators import wgan_gp
from asal.generators.wgan_gp import Duel, WganGp
from asal.progress import unwatched


def train_uncut_and_cut(fabric: Any, options: dict[str, Any], pool: Pool, folder: Path) -> None:
    """Train four steps, and again two and two in another folder; keep what each process ends with."""
    wgan_gp.CHECKPOINT_SECONDS = 0.0
    for name, ends in (("uncut", [4]), ("cut", [2, 4])):
        (folder / name / SCRATCH).mkdir(parents=True, exist_ok=True)
        for end in ends:
            duel = _trained(fabric, WganGp(**{**options, "steps": end}), pool, folder / name)
            fabric.barrier()
        save_state(folder / name / f"rank-{fabric.global_rank}.safetensors", 4, duel.parts(0))


def _trained(fabric: Any, part: WganGp, pool: Pool, folder: Path) -> Duel:
    kept: list[Duel] = []

    class Keeping(WganGp):
        def _begin(self, *arguments: Any) -> Duel:
            kept.append(super()._begin(*arguments))
            return kept[0]

    Keeping(**vars(part))._train(fabric, pool, folder, 0, unwatched)
    return kept[0]
