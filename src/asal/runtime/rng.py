"""Named streams of random numbers: the same seed and path give the same numbers, on any machine."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch


def stream(seed: int, *path: str | int) -> np.random.Generator:
    """Return the stream that belongs to this path, e.g. `stream(seed, "strategy", round)`.

    Streams of different paths are independent; drawing from one never changes another. So two runs
    of one seed are paired: their initial labels come from `stream(seed, "initial")` in both.
    """
    name = "/".join(map(str, path)).encode()
    words = np.frombuffer(hashlib.sha256(name).digest(), np.uint32)
    return np.random.default_rng(np.random.SeedSequence([seed, *map(int, words)]))


def torch_stream(rng: np.random.Generator) -> torch.Generator:
    """Return a torch generator (CPU) seeded from `rng`, so that torch's draws depend on the same path."""
    import torch

    return torch.Generator().manual_seed(int(rng.integers(2**63 - 1)))
