"""CT-GAN (Wei et al. 2018), without labels."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

import torch
from annotated_types import Ge, Gt, Le, Lt
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
from asal.models.generators.wgan_gp import gradient_penalty
from asal.models.networks import Critic, check_doubling, check_square, generator_and_critic, initialise
from asal.runtime.devices import Device, Precision
from asal.runtime.progress import Progress

Share: TypeAlias = Annotated[float, Gt(0), Le(1)]
Pass: TypeAlias = tuple[Tensor, Tensor]  # through the critic: D (n,), and D₋, its last hidden layer (n, d)


@generators.register("ct-gan")
@dataclass(frozen=True)
class CtGan:
    """WGAN-GP whose critic, under dropout, has to give the same score twice to a real image.

    λ = 10, λ₂ = 2, M′ = 0, 0.1 before the hidden layer, what dropout keeps, five critic steps, and Adam at 2e-4 with
    β = (0, 0.9), falling linearly to zero, are those of the authors' residual network for CIFAR-10
    (`CT_gan_cifar_resnet.py` in github.com/biuyq/CT-GAN). That script is followed in these as well:
    - every pass through the critic has a dropout mask of its own, also in the generator's loss and in the penalty;
    - x′ also serves as the real images in E D(x), so that a critic step has four passes instead of five;
    - squares are summed and cut off at M′ image by image, then averaged over the batch; λ₂ is inside the maximum.

    Not followed: the script is *conditional* by default (its generator gets labels, and its critic learns
    them), and here no label is ever used. It adds noise of one gray level to real images, and trains the generator
    on batches twice the critic's. Its critic has four blocks and pools the last one; ours are those of
    `asal.models.networks`. The authors' other scripts keep 0.5 three times with β = (0.5, 0.9) (plain convolutions), or
    have β = (0, 0.9) (64 pixels), both at a constant 1e-4.

    `net`: "auto" has strided convolutions up to 32 pixels and residual blocks above, as `wgan-gp`. "strided": at
    every size; "plain" is its former name. "residual" is nearer to the authors' at 32 pixels, but a step there takes 9
    to 18 times as long (one CPU thread). With strided convolutions do not expect to beat `wgan-gp`: the authors did not
    on all of CIFAR-10, and found that keeping more helps (issue 1 of their repository). So did we on digits of 8 × 8:
    narrow critics need `keep` near 1.
    """

    steps: Count = 20_000  # of the generator; our choice
    width: Count = 64
    latent_dim: Count = 128
    batch: Count = 64
    critic_steps: Count = 5
    penalty: Annotated[float, Ge(0)] = 10.0  # λ
    consistency: Annotated[float, Ge(0)] = 2.0  # λ₂
    margin: Annotated[float, Ge(0)] = 0.0  # M′
    keep: tuple[Share, ...] = (0.8, 0.5, 0.5)  # share kept by dropout after each of the critic's last blocks
    learning_rate: Annotated[float, Gt(0)] = 2e-4  # at the first step; falls to zero
    average: Annotated[float, Ge(0), Lt(1)] = 0.999  # decay of the running average of the weights; our choice
    net: Literal["auto", "strided", "plain", "residual"] = "auto"
    precision: Precision = "bf16"

    def train(self, pool: Pool, folder: Path, seed: int, device: Device, progress: Progress) -> None:
        """Train on the pool's images; see `train_adversarial`."""
        check_square(pool.shape, "ct-gan")
        if self.net == "residual":
            check_doubling(pool.shape)
        train_adversarial(self, pool, folder, seed, device, progress)

    def load(self, folder: Path, shape: Shape) -> TrainedGenerator:
        """Open a trained pair; its critic has no dropout."""
        return load_generator(self, folder, shape)

    def networks(self, shape: Shape) -> tuple[nn.Module, Critic]:
        """Return an untrained pair."""
        residual = self.is_residual(shape)
        return generator_and_critic(shape[0], shape[2], self.width, self.latent_dim, residual=residual, keep=self.keep)

    def is_residual(self, shape: Shape) -> bool:
        """Whether the networks for images of this shape consist of residual blocks."""
        return shape[0] > 32 if self.net == "auto" else self.net == "residual"

    def initialise(self, net: nn.Module, draws: torch.Generator) -> None:
        """Draw the initial weights (He et al. 2015)."""
        initialise(net, draws)

    def betas(self, shape: Shape) -> tuple[float, float]:
        """Return Adam's β."""
        return (0.0, 0.9)

    def rate(self, step: int) -> float:
        """Return the learning rate, which falls linearly to zero at the end of the training."""
        return self.learning_rate * (1 - step / self.steps)

    def critic_loss(self, training: AdversarialTraining, real: Tensor) -> tuple[Tensor, LossTerms]:
        """L_D = E D(x̃) − E D(x′) + λ E (‖∇D(x̂)‖₂ − 1)² + E CT(x′, x″) (Wei et al. 2018)."""
        critic = partial(training.critic, draws=training.draws)  # with dropout, a new mask in each pass
        share = torch.rand(self.batch, generator=training.draws)
        fake = training.fake()
        first, second = critic_pass(training, real), critic_pass(training, real)
        gap = critic(fake).mean() - first[0].mean()
        penalty = gradient_penalty(critic, real, fake, share)
        consistency = consistency_term(first, second, self.consistency, self.margin)
        terms = {"wasserstein": -gap, "penalty": penalty, "consistency": consistency}
        return gap + self.penalty * penalty + consistency, terms

    def generator_loss(self, training: AdversarialTraining) -> Tensor:
        """L_G = −E D(x̃), with dropout as well."""
        score: Tensor = training.critic(training.fake(), training.draws).mean()
        return -score


def critic_pass(training: AdversarialTraining, batch: Tensor) -> Pass:
    """Pass a batch through the critic, with a new dropout mask."""
    hidden = training.critic.hidden(batch, training.draws)
    return training.critic.score(hidden), hidden


def consistency_term(first: Pass, second: Pass, weight: float, margin: float) -> Tensor:
    """Return E max(0, λ₂ [(D(x′) − D(x″))² + 0.1 · mean (D₋(x′) − D₋(x″))²] − M′): the maximum is taken per image."""
    (score, hidden), (score_2, hidden_2) = first, second
    difference = (score.float() - score_2.float()).square()  # (n,)
    difference = difference + 0.1 * (hidden.float() - hidden_2.float()).square().mean(1)
    return (weight * difference - margin).relu().mean()
