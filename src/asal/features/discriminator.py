"""The critic's last hidden layer."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from asal.core import Features, Images, Pool
from asal.errors import UserError
from asal.features import ExtractorInputs, GeneratorWithCritic, features
from asal.models.tensors import to_batch
from asal.runtime.devices import Device
from asal.runtime.progress import Progress


@features.register("discriminator", needs=("generator",), provides=("gradient",))
@dataclass(frozen=True)
class Discriminator:
    """The last hidden layer of the critic that the generator was trained against (the paper's F_disc, D_{j−1}(x))."""

    def train(self, pool: Pool, folder: Path, seed: int, device: Device, progress: Progress) -> None:
        """Do nothing: the critic is trained already."""

    def load(self, folder: Path, shape: tuple[int, int, int], inputs: ExtractorInputs) -> HiddenLayer:
        """Return the extractor over a trained critic."""
        if inputs.generator is None:
            raise UserError(
                "discriminator features need a generator, and the spec has none",
                rule="they are the last hidden layer of a generator's critic",
                hint="add a [generator] section",
            )
        return HiddenLayer(inputs.generator)


@dataclass(frozen=True)
class HiddenLayer:
    """(n, h, w, c) → (n, hidden_dim)."""

    generator: GeneratorWithCritic

    @property
    def dim(self) -> int:
        return self.generator.hidden_dim

    @torch.inference_mode()
    def __call__(self, images: Images) -> Features:
        return self.differentiable(to_batch(images)).cpu().numpy()

    def differentiable(self, batch: Tensor) -> Tensor:
        """Map (n, c, h, w) in [−1, 1] to (n, hidden_dim)."""
        return self.generator.hidden(batch).float()
