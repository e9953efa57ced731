"""The latent that the generator draws an image from: the generator turned round."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import torch.nn.functional as F
from annotated_types import Ge, Gt

from asal.core import Features, Images, Pool
from asal.errors import UserError
from asal.features import ExtractorInputs, GeneratorWithCritic, features
from asal.models.tensors import to_batch
from asal.runtime.devices import Device, here
from asal.runtime.progress import Progress, track
from asal.runtime.rng import stream, torch_stream

AT_ONCE = 256  # images inverted together


@features.register("latent", needs=("generator",), provides=("latents",))
@dataclass(frozen=True)
class Latent:
    """arg min over z of ‖G(z) − x‖² / pixels + prior · ‖z‖² / dim z, by Adam from a point near the origin.

    The generator is turned round as by Zhu et al. 2016 (arXiv 1609.03552); it is what ADBA works in. Adam's steps,
    their size, which falls to nothing, and the prior are our choice. Keep it whole with `dimensions = 0`: what PCA
    drops cannot be drawn again.
    """

    steps: Annotated[int, Ge(1)] = 200
    step_size: Annotated[float, Gt(0)] = 0.1
    prior: Annotated[float, Ge(0)] = 1e-3

    def train(self, pool: Pool, folder: Path, seed: int, device: Device, progress: Progress) -> None:
        """Learn nothing: the generator is trained already."""

    def load(self, folder: Path, shape: tuple[int, int, int], given: ExtractorInputs) -> Inversion:
        """Return the extractor over a trained generator."""
        if given.adversary is None:
            raise UserError(
                "a spec without a generator",
                rule="latent features turn a generator round",
                hint="add a [generator] section",
            )
        return Inversion(given.adversary, self)


@dataclass(frozen=True)
class Inversion:
    """(n, h, w, c) → (n, z)."""

    adversary: GeneratorWithCritic
    settings: Latent

    @property
    def dim(self) -> int:
        """Latent dimensions."""
        return self.adversary.latent_dim

    def __call__(self, images: Images) -> Features:
        starts = range(0, max(len(images), 1), AT_ONCE)
        return np.concatenate(
            [self._inverted(images[at : at + AT_ONCE]) for at in track(starts, len(starts), "latents")]
        )

    def _inverted(self, images: Images) -> Features:
        wanted, how = to_batch(images).to(here()), self.settings
        # The same start for all; not the origin itself, where rectified units of a fresh network pass no gradient.
        start = 0.1 * torch.randn(self.dim, generator=torch_stream(stream(0, "inversion")))
        latents = start.repeat(len(images), 1).to(here()).requires_grad_()
        adam = torch.optim.Adam([latents], how.step_size)
        for step in range(how.steps):
            for group in adam.param_groups:
                group["lr"] = how.step_size * (1 - step / how.steps)
            apart = F.mse_loss(self.adversary.decode(latents), wanted, reduction="none").flatten(1).mean(1)
            held = how.prior * latents.square().mean(1)
            adam.zero_grad()
            (apart + held).sum().backward()
            adam.step()
        return latents.detach().float().cpu().numpy()
