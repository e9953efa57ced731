"""DCGAN (Radford et al. 2016), without labels."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
import torch.nn.functional as F
from annotated_types import Ge, Gt, Lt
from torch import Tensor, nn

from asal.core import Pool
from asal.models.generators import TrainedGenerator, generators
from asal.models.generators.adversarial import (
    AdversarialTraining,
    Count,
    LossTerms,
    Shape,
    load_generator,
    train_adversarial,
)
from asal.models.networks import ConvDown, ConvUp, Critic, check_square
from asal.runtime.devices import Device, Precision
from asal.runtime.progress import Progress


@generators.register("dcgan")
@dataclass(frozen=True)
class Dcgan:
    """The generator that GAAL was published with (Zhu & Bento 2017): cross entropy, and batch norm in both networks.

    One step each, Adam at 2e-4 with β = (0.5, 0.999), batches of 128, 100 latents, first weights from N(0, 0.02²), and
    no batch norm in the generator's last layer and the critic's first are those of Radford et al. 2016 (sections 3
    and 4); kernels of 4 × 4, the scales of batch norm from N(1, 0.02²), and a generator step that draws new
    images are those of their public code in torch (github.com/soumith/dcgan.torch). Plain convolutions at every size.

    Latents are N(0, I), where Radford et al. and GAAL use uniform ones: latent optimisation starts from N(0, I), and a
    prior on ‖z‖ assumes N(0, I) too.

    The last hidden layer is computed with batch norm's running statistics, which come from one batch of real images per
    two of synthetic ones: a critic step uses one of each, and a generator step a synthetic one.
    """

    steps: Count = 20_000  # of the generator; our choice
    width: Count = 64
    latent_dim: Count = 100
    batch: Count = 128
    learning_rate: Annotated[float, Gt(0)] = 2e-4
    average: Annotated[float, Ge(0), Lt(1)] = 0.999  # decay of the running average of the weights; our choice
    precision: Precision = "bf16"

    def train(self, pool: Pool, folder: Path, seed: int, device: Device, progress: Progress) -> None:
        """Train on the pool's images; see `train_adversarial`."""
        check_square(pool.shape, "dcgan")
        train_adversarial(self, pool, folder, seed, device, progress)

    def load(self, folder: Path, shape: Shape) -> TrainedGenerator:
        """Open a trained pair, both with the running statistics of the training."""
        return load_generator(self, folder, shape)

    @property
    def critic_steps(self) -> int:
        """One, as in the paper."""
        return 1

    def networks(self, shape: Shape) -> tuple[nn.Module, Critic]:
        """Return an untrained pair."""
        size, _, channels = shape
        return (
            ConvUp(self.latent_dim, size, channels, self.width, norm=True),
            Critic(ConvDown(size, channels, self.width, norm=True)),
        )

    def initialise(self, net: nn.Module, draws: torch.Generator) -> None:
        """Draw weights from N(0, 0.02²) (section 4), and batch norm's from N(1, 0.02²), as the public code does."""
        for name, weight in net.named_parameters():
            centre = 1.0 if ".norms." in f".{name}" else 0.0
            if name.endswith("bias"):
                nn.init.zeros_(weight)
            else:
                nn.init.normal_(weight, centre, 0.02, generator=draws)

    def betas(self, shape: Shape) -> tuple[float, float]:
        """Return Adam's β."""
        return (0.5, 0.999)

    def rate(self, step: int) -> float:
        """Return the learning rate, the same in every step."""
        return self.learning_rate

    def critic_loss(self, training: AdversarialTraining, real: Tensor) -> tuple[Tensor, LossTerms]:
        """L_D = −E log σ(D(x)) − E log(1 − σ(D(x̃))) (Goodfellow et al. 2014, eq. 1), each batch normalised alone."""
        terms = {
            "real": F.softplus(-training.critic(real).float()).mean(),
            "made": F.softplus(training.critic(training.fake()).float()).mean(),
        }
        return terms["real"] + terms["made"], terms

    def generator_loss(self, training: AdversarialTraining) -> Tensor:
        """L_G = −E log σ(D(x̃)), which does not saturate (Goodfellow et al. 2014, section 3)."""
        return F.softplus(-training.critic(training.fake()).float()).mean()
