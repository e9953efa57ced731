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
from asal.errors import UserError
from asal.models.generators import TrainedGenerator, generators
from asal.models.generators.adversarial import (
    AdversarialTraining,
    Count,
    Shape,
    Terms,
    load_generator,
    train_adversarial,
)
from asal.models.generators.wgan_gp import gradient_penalty
from asal.models.networks import Critic, check_square, generator_and_critic, initialise
from asal.runtime.devices import Device, Precision
from asal.runtime.progress import Progress

Share: TypeAlias = Annotated[float, Gt(0), Le(1)]
Pass: TypeAlias = tuple[Tensor, Tensor]  # through the critic: D (n,), and D₋, its last hidden layer (n, d)


@generators.register("ct-gan")
@dataclass(frozen=True)
class CtGan:
    """WGAN-GP whose critic, under dropout, also has to say the same twice of a real image.

    λ = 10, λ₂ = 2, M′ = 0, 0.1 before the hidden layer, what dropout keeps, five critic steps, and Adam at 2e-4 with
    β = (0, 0.9), falling to zero along a line, are those of the authors' residual network for CIFAR-10
    (`CT_gan_cifar_resnet.py` in github.com/biuyq/CT-GAN). That script is followed in these as well:
    - every pass through the critic has dropout, each its own: also those of the generator's loss and of the penalty;
    - x′ stands for the real images in E D(x), too, so that a critic's step has four passes and not five;
    - squares are summed and cut at M′ image by image, then averaged over the batch; λ₂ is inside the maximum.

    In the script, and not here: it is *conditional* by default (its generator is given labels, and its critic learns
    them), and here no label is ever seen. It adds noise of one gray level to real images, and trains the generator
    on batches twice the critic's. Its critic has four blocks and pools the last one; ours are those of
    `asal.models.networks`. The authors' other scripts keep 0.5 three times with β = (0.5, 0.9) (plain convolutions), or
    have β = (0, 0.9) (64 pixels), both at a constant 1e-4.

    `net`: plain convolutions up to 32 pixels and residual blocks above, as `wgan-gp`, where it is not said. "residual"
    is nearer to the authors' at 32 pixels, but a step there takes 9 to 18 times as long (one CPU thread).
    With plain convolutions do not expect to beat `wgan-gp`: the authors did not on all of CIFAR-10, and found that
    keeping more helps (issue 1 of their repository). So did we on digits of 8 × 8: narrow critics want `keep` near 1.
    """

    steps: Count = 20_000  # of the generator; our choice
    width: Count = 64
    latent_dim: Count = 128
    batch: Count = 64
    critic_steps: Count = 5
    penalty: Annotated[float, Ge(0)] = 10.0  # λ
    consistency: Annotated[float, Ge(0)] = 2.0  # λ₂
    margin: Annotated[float, Ge(0)] = 0.0  # M′
    keep: tuple[Share, ...] = (0.8, 0.5, 0.5)  # of the numbers after each of the critic's last blocks
    learning_rate: Annotated[float, Gt(0)] = 2e-4  # of the first step; it falls to zero
    average: Annotated[float, Ge(0), Lt(1)] = 0.999  # decay of the running average of the weights; our choice
    net: Literal["auto", "plain", "residual"] = "auto"
    precision: Precision = "bf16"

    def train(self, pool: Pool, folder: Path, seed: int, device: Device, progress: Progress) -> None:
        """Train on the pool's images; see `train_duel`."""
        check_square(pool.shape, "ct-gan")
        if self.net == "residual":
            check_doubling(pool.shape)
        train_adversarial(self, pool, folder, seed, device, progress)

    def load(self, folder: Path, shape: Shape) -> TrainedGenerator:
        """Open a trained pair; its critic has no dropout."""
        return load_generator(self, folder, shape)

    def networks(self, shape: Shape) -> tuple[nn.Module, Critic]:
        """Return an untrained pair."""
        residual = None if self.net == "auto" else self.net == "residual"
        return generator_and_critic(shape[0], shape[2], self.width, self.latent_dim, residual=residual, keep=self.keep)

    def initialise(self, net: nn.Module, draws: torch.Generator) -> None:
        """Draw the first weights (He et al. 2015)."""
        initialise(net, draws)

    def betas(self, shape: Shape) -> tuple[float, float]:
        """Return Adam's."""
        return (0.0, 0.9)

    def rate(self, step: int) -> float:
        """Return the learning rate: a line that reaches zero where the training ends."""
        return self.learning_rate * (1 - step / self.steps)

    def critic_loss(self, training: AdversarialTraining, real: Tensor) -> tuple[Tensor, Terms]:
        """L_D = E D(x̃) − E D(x′) + λ E (‖∇D(x̂)‖₂ − 1)² + E CT(x′, x″) (Wei et al. 2018)."""
        critic = partial(training.critic, draws=training.draws)  # with dropout, another one each time
        share = torch.rand(self.batch, generator=training.draws)
        fake = training.fake()
        one, other = through(training, real), through(training, real)
        gap = critic(fake).mean() - one[0].mean()
        penalty = gradient_penalty(critic, real, fake, share)
        consistency = consistency_term(one, other, self.consistency, self.margin)
        terms = {"wasserstein": -gap, "penalty": penalty, "consistency": consistency}
        return gap + self.penalty * penalty + consistency, terms

    def generator_loss(self, training: AdversarialTraining) -> Tensor:
        """L_G = −E D(x̃), with dropout as well."""
        worth: Tensor = training.critic(training.fake(), training.draws).mean()
        return -worth


def check_doubling(shape: Shape) -> None:
    """Refuse images (h, w, c) that residual blocks cannot draw by doubling 4 × 4.

    Raises:
        UserError: they do not have 16, 32, 64 … pixels.
    """
    size = shape[0]
    if size < 16 or size & (size - 1):
        raise UserError(
            f"a pool of {shape[0]} × {shape[1]}",
            rule="residual blocks draw images of 16, 32, 64 … pixels",
            hint="set net = 'plain' under [generator], or `size` under [pool] in a new project folder",
        )


def through(training: AdversarialTraining, batch: Tensor) -> Pass:
    """Send a batch through the critic, with dropout of its own."""
    hidden = training.critic.hidden(batch, training.draws)
    return training.critic.judge(hidden), hidden


def consistency_term(one: Pass, other: Pass, weight: float, margin: float) -> Tensor:
    """Return E max(0, λ₂ [(D(x′) − D(x″))² + 0.1 · mean (D₋(x′) − D₋(x″))²] − M′): the maximum is each image's own."""
    (verdict, hidden), (verdict_2, hidden_2) = one, other
    apart = (verdict.float() - verdict_2.float()).square()  # (n,)
    apart = apart + 0.1 * (hidden.float() - hidden_2.float()).square().mean(1)
    return (weight * apart - margin).relu().mean()
