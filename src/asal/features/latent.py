"""The latent from which the generator draws an image: an inversion of the generator."""

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

BATCH = 256  # images inverted together


@features.register("latent", needs=("generator",), provides=("latents",))
@dataclass(frozen=True)
class Latent:
    """arg min over z of ‖G(z) − x‖² / pixels + prior · ‖z‖² / dim z, by Adam from a point near the origin.

    The generator is inverted as by Zhu et al. 2016 (arXiv 1609.03552); ADBA works in this space. Adam's steps, their
    size, which falls to zero, and the prior are our choice. Keep all dimensions with `dimensions = 0`: the generator
    cannot draw from what PCA leaves.
    """

    steps: Annotated[int, Ge(1)] = 200
    step_size: Annotated[float, Gt(0)] = 0.1
    prior: Annotated[float, Ge(0)] = 1e-3

    def train(self, pool: Pool, folder: Path, seed: int, device: Device, progress: Progress) -> None:
        """Do nothing: the generator is trained already."""

    def load(self, folder: Path, shape: tuple[int, int, int], inputs: ExtractorInputs) -> Inversion:
        """Return the extractor over a trained generator."""
        if inputs.generator is None:
            raise UserError(
                "latent features need a generator, and the spec has none",
                rule="they invert a generator",
                hint="add a [generator] section",
            )
        return Inversion(inputs.generator, self)


@dataclass(frozen=True)
class Inversion:
    """(n, h, w, c) → (n, z)."""

    generator: GeneratorWithCritic
    settings: Latent

    @property
    def dim(self) -> int:
        """Latent dimensions."""
        return self.generator.latent_dim

    def __call__(self, images: Images) -> Features:
        starts = range(0, max(len(images), 1), BATCH)
        return np.concatenate([self._invert(images[at : at + BATCH]) for at in track(starts, len(starts), "latents")])

    def _invert(self, images: Images) -> Features:
        target, settings = to_batch(images).to(here()), self.settings
        # The same start for all, near the origin: at the origin, ReLUs of an untrained network pass no gradient.
        start = 0.1 * torch.randn(self.dim, generator=torch_stream(stream(0, "inversion")))
        latents = start.repeat(len(images), 1).to(here()).requires_grad_()
        adam = torch.optim.Adam([latents], settings.step_size)
        for step in range(settings.steps):
            for group in adam.param_groups:
                group["lr"] = settings.step_size * (1 - step / settings.steps)
            error = F.mse_loss(self.generator.decode(latents), target, reduction="none").flatten(1).mean(1)
            penalty = settings.prior * latents.square().mean(1)
            adam.zero_grad()
            (error + penalty).sum().backward()
            adam.step()
        return latents.detach().float().cpu().numpy()
