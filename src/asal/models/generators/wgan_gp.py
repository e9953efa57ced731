"""WGAN-GP (Gulrajani et al. 2017), without labels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import torch
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
from asal.models.networks import Critic, check_doubling, check_square, generator_and_critic, initialise
from asal.runtime.devices import Device, Precision
from asal.runtime.progress import Progress


@generators.register("wgan-gp", added={"net": "auto"})
@dataclass(frozen=True)
class WganGp:
    """Wasserstein GAN with a gradient penalty; strided convolutions up to 32 pixels, residual blocks above.

    λ = 10, five critic steps, Adam with β = (0.5, 0.9) for strided convolutions and (0, 0.9) for residual ones,
    128 latents and the layers are Gulrajani's. The number of steps, the running average of the weights and
    a width that fits the machine are our choice: the values in the supplement of the ASAL paper are not public.

    `net`: "auto" is as above. "strided" has strided convolutions at every size, as DCGAN (Radford et al. 2016) without
    its batch norm: at 64 pixels a step takes 4.5 to 5 times as long as at 32, and one of residual blocks 70 to 90
    times as long (one CPU thread, width 32; `benchmarks/generator_steps.py`). "residual" has residual blocks at 16, 32,
    64 … pixels.
    """

    steps: Count = 20_000  # of the generator; our choice
    width: Count = 64
    latent_dim: Count = 128
    batch: Count = 64
    critic_steps: Count = 5
    penalty: Annotated[float, Ge(0)] = 10.0
    learning_rate: Annotated[float, Gt(0)] = 1e-4
    average: Annotated[float, Ge(0), Lt(1)] = 0.999  # decay of the running average of the weights; our choice
    precision: Precision = "bf16"
    net: Literal["auto", "strided", "residual"] = "auto"

    def train(self, pool: Pool, folder: Path, seed: int, device: Device, progress: Progress) -> None:
        """Train on the pool's images; see `train_adversarial`."""
        check_square(pool.shape, "wgan-gp")
        if self.net == "residual":
            check_doubling(pool.shape)
        train_adversarial(self, pool, folder, seed, device, progress)

    def load(self, folder: Path, shape: Shape) -> TrainedGenerator:
        """Open a trained pair."""
        return load_generator(self, folder, shape)

    def networks(self, shape: Shape) -> tuple[nn.Module, Critic]:
        """Return an untrained pair."""
        residual = self.is_residual(shape)
        return generator_and_critic(shape[0], shape[2], self.width, self.latent_dim, residual=residual)

    def is_residual(self, shape: Shape) -> bool:
        """Whether the networks for images of this shape consist of residual blocks."""
        return shape[0] > 32 if self.net == "auto" else self.net == "residual"

    def initialise(self, net: nn.Module, draws: torch.Generator) -> None:
        """Draw the initial weights (He et al. 2015)."""
        initialise(net, draws)

    def betas(self, shape: Shape) -> tuple[float, float]:
        """Return Adam's β."""
        return (0.0 if self.is_residual(shape) else 0.5, 0.9)

    def rate(self, step: int) -> float:
        """Return the learning rate, the same in every step."""
        return self.learning_rate

    def critic_loss(self, training: AdversarialTraining, real: Tensor) -> tuple[Tensor, LossTerms]:
        """L_D = E D(x̃) − E D(x) + λ E (‖∇D(x̂)‖₂ − 1)² (Gulrajani et al. 2017, eq. 3)."""
        share = torch.rand(self.batch, generator=training.draws)
        fake = training.fake()
        gap = training.critic(fake).mean() - training.critic(real).mean()
        penalty = gradient_penalty(training.critic, real, fake, share)
        return gap + self.penalty * penalty, {"wasserstein": -gap, "penalty": penalty}

    def generator_loss(self, training: AdversarialTraining) -> Tensor:
        """L_G = −E D(x̃)."""
        score: Tensor = training.critic(training.fake()).mean()
        return -score


def gradient_penalty(critic: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor, share: Tensor) -> Tensor:
    """Return E (‖∇D(x̂)‖₂ − 1)², x̂ = share · real + (1 − share) · fake (Gulrajani et al. 2017, eq. 3).

    Args:
        share: (n,) uniform in [0, 1], one per image.
    """
    share = share.to(real).view(-1, 1, 1, 1)
    between = (share * real + (1 - share) * fake).requires_grad_()
    (gradient,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
    norms: Tensor = gradient.float().flatten(1).norm(dim=1)
    return (norms - 1).square().mean()
