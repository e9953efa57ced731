"""Generators: trained once on the pool's images, never on a label or a test image.

A generator is a frozen dataclass: its fields are the options of a spec, `train` fills a folder and can be
interrupted at any moment, `load` opens that folder.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from asal.core import Pool
from asal.registry import Registry
from asal.runtime.progress import Progress

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from asal.runtime.devices import Device

generators = Registry("generator", "asal.models.generators", group="asal.generators")


@dataclass(frozen=True)
class TrainedGenerator:
    """A trained generator, with the last hidden layer of the critic that it was trained against."""

    latent_dim: int
    generator: Callable[[Tensor], Tensor]  # (n, z) → (n, c, h, w) in [−1, 1]
    critic: Callable[[Tensor], Tensor]  # (n, c, h, w) → (n, hidden_dim)
    hidden_dim: int
    device: torch.device

    def decode(self, latents: Tensor) -> Tensor:
        """Map latents (n, z), wherever they are, to images (n, c, h, w) in [−1, 1] on this device."""
        return self.generator(latents.to(self.device))

    def hidden(self, batch: Tensor) -> Tensor:
        """Map images (n, c, h, w) to the critic's last hidden layer, (n, hidden_dim)."""
        return self.critic(batch.to(self.device))


class TrainableGenerator(Protocol):
    """What every registered generator can do."""

    def train(self, pool: Pool, folder: Path, seed: int, device: Device, progress: Progress) -> None: ...
    def load(self, folder: Path, shape: tuple[int, int, int]) -> TrainedGenerator: ...
