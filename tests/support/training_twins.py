"""Trained parts with one thing wrong in how they train, made of right ones."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from asal.runtime.artifacts import SCRATCH


def training_twins(base: type, options: dict[str, Any]) -> dict[str, Callable[[], Any]]:
    """Return a broken twin for every check of `asal.testing.training`, and two more."""

    def spoilt(train: Callable[..., None]) -> Callable[[], Any]:
        return lambda: type(f"Twin{base.__name__}", (base,), {"train": train})(**options)

    def looks_for_labels(self: Any, pool: Any, *rest: Any) -> None:
        getattr(pool, "labels", None)
        base.train(self, pool, *rest)  # type: ignore[attr-defined]

    def salts(self: Any, pool: Any, folder: Path, *rest: Any) -> None:
        base.train(self, pool, folder, *rest)  # type: ignore[attr-defined]
        (folder / "salt.txt").write_text(uuid.uuid4().hex)

    def draws_globally(self: Any, pool: Any, folder: Path, *rest: Any) -> None:
        base.train(self, pool, folder, *rest)  # type: ignore[attr-defined]
        (folder / "drawn.txt").write_text(str(torch.rand(3)))

    def begins_again(self: Any, pool: Any, folder: Path, *rest: Any) -> None:
        for path in (folder / SCRATCH).glob("*"):
            path.unlink()
        base.train(self, pool, folder, *rest)  # type: ignore[attr-defined]

    def ignores_its_seed(self: Any, pool: Any, folder: Path, seed: int, *rest: Any) -> None:
        base.train(self, pool, folder, 0, *rest)  # type: ignore[attr-defined]

    def counts_attempts(self: Any, pool: Any, folder: Path, *rest: Any) -> None:
        path = folder / "attempts.txt"
        path.write_text(path.read_text() + "I" if path.exists() else "I")
        base.train(self, pool, folder, *rest)  # type: ignore[attr-defined]

    return {
        "reads images only": spoilt(looks_for_labels),
        "same seed, same files": spoilt(salts),
        "does not depend on global random state": spoilt(draws_globally),
        "resumes after an interruption": spoilt(begins_again),
        "ignores its seed": spoilt(ignores_its_seed),
        "counts attempts": spoilt(counts_attempts),
    }
