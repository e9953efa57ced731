"""WGAN-GP (Gulrajani et al. 2017), without labels."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Literal, cast

import torch
from annotated_types import Ge, Gt, Lt
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from asal import artifacts
from asal.checkpoint import Part, load_state, load_weights, save_state, save_weights
from asal.core import Pool
from asal.devices import Device, here
from asal.errors import UserError
from asal.generators import Adversary, generators
from asal.nets import Critic, check_square, generator_and_critic, initialise, placed
from asal.progress import Watch, relayed
from asal.rng import stream, torch_stream
from asal.tensors import to_batch

Count = Annotated[int, Ge(1)]
CHECKPOINT_SECONDS = 30.0  # what a kill may cost


@generators.register("wgan-gp")
@dataclass(frozen=True)
class WganGp:
    """Wasserstein generator with a gradient penalty; plain convolutions up to 32 pixels, residual above.

    λ = 10, five critic steps, Adam with β = (0.5, 0.9) for plain convolutions and (0, 0.9) for residual ones,
    128 latents and the layers are Gulrajani's. The number of steps, the running average of the weights and
    a width that fits the machine are our choice: the paper's supplement, which has its own, is not public.
    """

    steps: Count = 20_000  # of the generator; our choice
    width: Count = 64
    latent_dim: Count = 128
    batch: Count = 64
    critic_steps: Count = 5
    penalty: Annotated[float, Ge(0)] = 10.0
    learning_rate: Annotated[float, Gt(0)] = 1e-4
    average: Annotated[float, Ge(0), Lt(1)] = 0.999  # decay of the running average of the weights; our choice
    precision: Literal["bf16", "float32"] = "bf16"

    def train(self, pool: Pool, folder: Path, seed: int, device: Device, watch: Watch) -> None:
        """Train on the pool's images and write `weights.safetensors` and `losses.csv` into the folder.

        Cut at any moment and called again, it goes on from its last checkpoint, and the weights are the very
        same: every draw comes from one stream whose state is part of the checkpoint.
        """
        check_square(pool.shape, "wgan-gp")
        fabric = device.fabric(self.precision)
        with relayed(watch, across=device.count > 1) as near:
            fabric.launch(self._train, pool, folder, seed, near)  # type: ignore[arg-type]  # its hint knows no arguments

    def load(self, folder: Path, shape: tuple[int, int, int]) -> Adversary:
        """Open a trained pair; the generator is the averaged one."""
        drawer, critic = self._networks(shape)
        load_weights(folder / "weights.safetensors", generator=drawer, critic=critic)
        for net in (drawer, critic):
            placed(net, here())
            net.eval().requires_grad_(False)
        return Adversary(self.latent_dim, drawer, critic.hidden, critic.trunk.dim, here())

    def _networks(self, shape: tuple[int, int, int]) -> tuple[nn.Module, Critic]:
        return generator_and_critic(shape[0], shape[2], self.width, self.latent_dim)

    def _train(self, fabric: Fabric, pool: Pool, folder: Path, seed: int, watch: Watch) -> None:
        duel = self._begin(fabric, pool.shape, seed)
        checkpoint = folder / artifacts.SCRATCH / "checkpoint.safetensors"
        start, saved = load_state(checkpoint, duel.parts(fabric.global_rank)), time.monotonic()
        losses = Losses(folder / "losses.csv", start)

        for step in range(start, self.steps):
            for _ in range(self.critic_steps):
                gap, penalty = self._critic_step(fabric, duel, self._reals(fabric, pool, duel))
            self._generator_step(fabric, duel)
            duel.averaged.update_parameters(duel.generator)

            if step % 10 == 0 or step + 1 == self.steps:
                losses.add(step, -gap.item(), penalty.item())
                if fabric.global_rank == 0:
                    watch("generator", step + 1, self.steps, losses.note)
            if fabric.broadcast(time.monotonic() - saved > CHECKPOINT_SECONDS):  # one clock for all processes
                self._save(fabric, checkpoint, step + 1, duel, losses)
                saved = time.monotonic()

        if fabric.global_rank == 0:
            losses.flush()
            save_weights(folder / "weights.safetensors", generator=duel.averaged.module, critic=duel.critic)
        fabric.barrier()

    def _save(self, fabric: Fabric, path: Path, step: int, duel: Duel, losses: Losses) -> None:
        """Write one checkpoint: the networks, which all processes share, and the stream of each process."""
        streams = cast(Tensor, fabric.all_gather(duel.draws.get_state()))
        if fabric.global_rank == 0:
            losses.flush()
            parts = duel.parts(0)
            for rank, state in enumerate(streams.reshape(fabric.world_size, -1).cpu()):
                parts[f"draws-{rank}"] = torch.Generator().set_state(state.clone())  # torch 2.13 crashes on a view
            save_state(path, step, parts)

    def _begin(self, fabric: Fabric, shape: tuple[int, int, int], seed: int) -> Duel:
        generator, critic = self._networks(shape)
        weights = torch_stream(stream(seed, "generator", "weights"))
        for net in (generator, critic):
            initialise(net, weights)
            placed(net, fabric.device)
        betas = (0.5 if shape[0] <= 32 else 0.0, 0.9)
        return Duel(
            generator, critic,
            AveragedModel(generator, multi_avg_fn=get_ema_multi_avg_fn(self.average), use_buffers=True),
            torch.optim.Adam(generator.parameters(), self.learning_rate, betas),
            torch.optim.Adam(critic.parameters(), self.learning_rate, betas),
            # Each process draws images and latents of its own; the weights, drawn above, are the same in all.
            torch_stream(stream(seed, "generator", "draws", fabric.global_rank)),
        )  # fmt: skip

    def _critic_step(self, fabric: Fabric, duel: Duel, real: Tensor) -> tuple[Tensor, Tensor]:
        """L_D = E D(x̃) − E D(x) + λ E (‖∇D(x̂)‖₂ − 1)² (Gulrajani et al. 2017, eq. 3)."""
        share = torch.rand(self.batch, generator=duel.draws)
        with fabric.autocast():
            with torch.no_grad():
                fake = duel.generator(self._latents(fabric, duel))
            gap = duel.critic(fake).mean() - duel.critic(real).mean()
            penalty = gradient_penalty(duel.critic, real, fake, share)
        descend(fabric, duel.critic_adam, gap + self.penalty * penalty)
        return gap.detach(), penalty.detach()

    def _generator_step(self, fabric: Fabric, duel: Duel) -> None:
        """L_G = −E D(x̃)."""
        duel.critic.requires_grad_(False)  # its weights need no gradient here
        with fabric.autocast():
            cost = -duel.critic(duel.generator(self._latents(fabric, duel))).mean()
        descend(fabric, duel.generator_adam, cost)
        duel.critic.requires_grad_(True)

    def _reals(self, fabric: Fabric, pool: Pool, duel: Duel) -> Tensor:
        ids = torch.randint(len(pool), (self.batch,), generator=duel.draws)
        real: Tensor = fabric.to_device(to_batch(pool.read(ids.numpy())))
        return real.contiguous(memory_format=torch.channels_last)

    def _latents(self, fabric: Fabric, duel: Duel) -> Tensor:
        latents: Tensor = fabric.to_device(torch.randn(self.batch, self.latent_dim, generator=duel.draws))
        return latents


@dataclass(frozen=True)
class Duel:
    """The two networks, what trains them, and the stream of their draws: all that a checkpoint holds."""

    generator: nn.Module
    critic: Critic
    averaged: AveragedModel  # of the generator
    generator_adam: torch.optim.Optimizer
    critic_adam: torch.optim.Optimizer
    draws: torch.Generator

    def parts(self, rank: int) -> dict[str, Part]:
        """Return them by name, the stream under the name of its process."""
        parts = {field.name: getattr(self, field.name) for field in fields(self)}
        return {f"draws-{rank}" if name == "draws" else name: part for name, part in parts.items()}


def gradient_penalty(critic: nn.Module, real: Tensor, fake: Tensor, share: Tensor) -> Tensor:
    """Return E (‖∇D(x̂)‖₂ − 1)², x̂ = share · real + (1 − share) · fake (Gulrajani et al. 2017, eq. 3).

    Args:
        share: (n,) uniform in [0, 1], one for each image.
    """
    share = share.to(real).view(-1, 1, 1, 1)
    between = (share * real + (1 - share) * fake).requires_grad_()
    (slope,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
    steepness: Tensor = slope.float().flatten(1).norm(dim=1)
    return (steepness - 1).square().mean()


def descend(fabric: Fabric, optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    """Take one step, on gradients averaged over all processes.

    Not through DDP's wrapper: its reducer expects one forward pass to a backward one, and a penalised critic has three.
    """
    optimizer.zero_grad()
    loss.backward()
    if fabric.world_size > 1:
        for group in optimizer.param_groups:
            for weight in group["params"]:
                weight.grad = fabric.all_reduce(weight.grad)
    optimizer.step()


class Losses:
    """The losses up to now, in a CSV file that a cut and resumed training leaves as an uncut one does."""

    HEADER = "step,wasserstein,penalty"

    def __init__(self, path: Path, start: int) -> None:
        before = path.read_text().splitlines()[1:] if path.exists() else []
        self.path = path
        self.lines = [line for line in before if int(line.partition(",")[0]) < start]
        self.note = ""  # the latest ones, for people

    def add(self, step: int, wasserstein: float, penalty: float) -> None:
        """Remember the losses of a step.

        Raises:
            UserError: they are not finite.
        """
        if not math.isfinite(wasserstein + penalty):
            raise UserError(
                "a generator's losses stay finite", came=f"a critic's loss of {wasserstein} at step {step}",
                remedy="lower `learning_rate`, or set precision = 'float32', under [generator]",
            )  # fmt: skip
        self.lines.append(f"{step},{wasserstein:.6g},{penalty:.6g}")
        self.note = f"Wasserstein {wasserstein:.2f}, penalty {penalty:.3f}"

    def flush(self) -> None:
        """Write what is remembered."""
        artifacts.write(self.path, "\n".join([self.HEADER, *self.lines, ""]).encode())
