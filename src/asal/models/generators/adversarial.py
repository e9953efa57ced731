"""The adversarial training that all generators share: resumable, on one device or several.

The file of each generator has its settings, its networks and its two losses (`GeneratorDefinition`); the rest is here.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Protocol, TypeAlias, cast

import torch
from annotated_types import Ge
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from asal.core import Pool
from asal.errors import UserError
from asal.models.checkpoints import Stateful, due, load_state, load_weights, save_state, save_weights
from asal.models.generators import TrainedGenerator
from asal.models.networks import Critic, move_to
from asal.models.tensors import to_batch
from asal.runtime import artifacts
from asal.runtime.devices import Device, Precision, here
from asal.runtime.progress import Pace, Progress, across_processes
from asal.runtime.rng import stream, torch_stream

Count: TypeAlias = Annotated[int, Ge(1)]
Shape: TypeAlias = tuple[int, int, int]  # (h, w, c)
LossTerms: TypeAlias = dict[str, Tensor]  # of a critic's loss: one column each of losses.csv


@dataclass(frozen=True)
class AdversarialTraining:
    """The two networks, their optimizers, and the random stream that everything is drawn from."""

    generator: nn.Module
    critic: Critic
    averaged: AveragedModel  # running average of the generator
    generator_adam: torch.optim.Optimizer
    critic_adam: torch.optim.Optimizer
    draws: torch.Generator
    latents: tuple[int, int]  # (n, z): a batch of them
    device: torch.device

    def fake(self) -> Tensor:
        """Return a batch of synthetic images (n, c, h, w), from latents of N(0, I)."""
        images: Tensor = self.generator(torch.randn(self.latents, generator=self.draws).to(self.device))
        return images

    def parts(self, rank: int) -> dict[str, Stateful]:
        """Return everything that a checkpoint holds, by name; the stream under the rank of its process."""
        return {
            "generator": self.generator,
            "critic": self.critic,
            "averaged": self.averaged,
            "generator_adam": self.generator_adam,
            "critic_adam": self.critic_adam,
            f"draws-{rank}": self.draws,
        }


class GeneratorDefinition(Protocol):
    """What the file of each generator defines. The settings are options of its spec."""

    @property
    def steps(self) -> int: ...  # of the generator
    @property
    def critic_steps(self) -> int: ...  # before each of the generator's
    @property
    def batch(self) -> int: ...
    @property
    def latent_dim(self) -> int: ...
    @property
    def average(self) -> float: ...  # decay of the running average of the generator's weights; 0: no average
    @property
    def precision(self) -> Precision: ...

    def networks(self, shape: Shape) -> tuple[nn.Module, Critic]:
        """Return an untrained generator and critic for images of this shape."""

    def initialise(self, net: nn.Module, draws: torch.Generator) -> None:
        """Draw the initial weights of either network."""

    def betas(self, shape: Shape) -> tuple[float, float]:
        """Return Adam's β."""

    def rate(self, step: int) -> float:
        """Return the learning rate of a step."""

    def critic_loss(self, training: AdversarialTraining, real: Tensor) -> tuple[Tensor, LossTerms]:
        """Return the critic's loss on a batch of real images, and its terms for losses.csv."""

    def generator_loss(self, training: AdversarialTraining) -> Tensor:
        """Return the generator's loss."""


def train_adversarial(
    definition: GeneratorDefinition, pool: Pool, folder: Path, seed: int, device: Device, progress: Progress
) -> None:
    """Train on the pool's images and write `weights.safetensors` and `losses.csv` into the folder.

    Interrupted at any moment and called again, it resumes from its last checkpoint and ends with the same weights: all
    random numbers come from one stream whose state is part of the checkpoint.
    """
    fabric = device.fabric(definition.precision)
    with across_processes(progress, needed=device.count > 1) as relay:
        # Bound to the function, because Fabric looks into arguments and refuses frozen dataclasses among them.
        fabric.launch(partial(_train, definition=definition, pool=pool, folder=folder, seed=seed, progress=relay))


def load_generator(definition: GeneratorDefinition, folder: Path, shape: Shape) -> TrainedGenerator:
    """Open a trained pair; the generator is the averaged one."""
    generator, critic = definition.networks(shape)
    load_weights(folder / "weights.safetensors", generator=generator, critic=critic)
    for net in (generator, critic):
        move_to(net, here())
        net.eval().requires_grad_(False)
    return TrainedGenerator(definition.latent_dim, generator, critic.hidden, critic.trunk.dim, here())


def start_training(fabric: Fabric, definition: GeneratorDefinition, shape: Shape, seed: int) -> AdversarialTraining:
    """Return the state of a training that has not begun."""
    generator, critic = definition.networks(shape)
    weights = torch_stream(stream(seed, "generator", "weights"))
    for net in (generator, critic):
        definition.initialise(net, weights)
        move_to(net, fabric.device)
    return AdversarialTraining(
        generator, critic,
        AveragedModel(generator, multi_avg_fn=get_ema_multi_avg_fn(definition.average), use_buffers=True),
        torch.optim.Adam(generator.parameters(), definition.rate(0), definition.betas(shape)),
        torch.optim.Adam(critic.parameters(), definition.rate(0), definition.betas(shape)),
        # Each process draws different images and latents; the weights, drawn above, are the same in all.
        torch_stream(stream(seed, "generator", "draws", fabric.global_rank)),
        (definition.batch, definition.latent_dim),
        fabric.device,
    )  # fmt: skip


def resume_training(
    fabric: Fabric,
    definition: GeneratorDefinition,
    training: AdversarialTraining,
    pool: Pool,
    folder: Path,
    progress: Progress,
) -> None:
    """Train from the last checkpoint to the end, and write the weights."""
    checkpoint = folder / artifacts.SCRATCH / "checkpoint.safetensors"
    start, saved = load_state(checkpoint, training.parts(fabric.global_rank)), time.monotonic()
    losses, pace = Losses(folder / "losses.csv", start), Pace()

    for step in range(start, definition.steps):
        set_rate(training, definition.rate(step))
        terms = training_step(fabric, definition, training, pool)
        final = step + 1 == definition.steps
        if step % 10 == 0 or final:
            losses.add(step, {name: term.item() for name, term in terms.items()})
        if fabric.global_rank == 0 and pace.due(always=final or step % 10 == 0):
            progress("generator", step + 1, definition.steps, losses.note)
        if fabric.broadcast(due(saved)):  # all processes follow the clock of the first
            _save(fabric, checkpoint, step + 1, training, losses)
            saved = time.monotonic()

    if fabric.global_rank == 0:
        losses.flush()
        save_weights(folder / "weights.safetensors", generator=training.averaged.module, critic=training.critic)
    fabric.barrier()


def _train(
    fabric: Fabric, definition: GeneratorDefinition, pool: Pool, folder: Path, seed: int, progress: Progress
) -> None:
    resume_training(fabric, definition, start_training(fabric, definition, pool.shape, seed), pool, folder, progress)


def training_step(
    fabric: Fabric, definition: GeneratorDefinition, training: AdversarialTraining, pool: Pool
) -> LossTerms:
    """Take the critic's steps and then one of the generator's, and return the terms of the critic's last loss."""
    for _ in range(definition.critic_steps):
        terms = _critic_step(fabric, definition, training, _real_batch(fabric, pool, training))
    _generator_step(fabric, definition, training)
    training.averaged.update_parameters(training.generator)
    return terms


def _critic_step(
    fabric: Fabric, definition: GeneratorDefinition, training: AdversarialTraining, real: Tensor
) -> LossTerms:
    with frozen(training.generator), fabric.autocast():
        loss, terms = definition.critic_loss(training, real)
    optimizer_step(fabric, training.critic_adam, loss)
    return {name: term.detach() for name, term in terms.items()}


def _generator_step(fabric: Fabric, definition: GeneratorDefinition, training: AdversarialTraining) -> None:
    with frozen(training.critic):
        with fabric.autocast():
            loss = definition.generator_loss(training)
        optimizer_step(fabric, training.generator_adam, loss)


def _real_batch(fabric: Fabric, pool: Pool, training: AdversarialTraining) -> Tensor:
    ids = torch.randint(len(pool), training.latents[:1], generator=training.draws)
    real: Tensor = fabric.to_device(to_batch(pool.read(ids.numpy())))
    return real.contiguous(memory_format=torch.channels_last)


def _save(fabric: Fabric, path: Path, step: int, training: AdversarialTraining, losses: Losses) -> None:
    """Write one checkpoint: the networks, which are the same in all processes, and the stream of each process."""
    streams = cast(Tensor, fabric.all_gather(training.draws.get_state()))
    if fabric.global_rank == 0:
        losses.flush()
        parts = training.parts(0)
        for rank, state in enumerate(streams.reshape(fabric.world_size, -1).cpu()):
            parts[f"draws-{rank}"] = torch.Generator().set_state(state.clone())  # torch 2.13 crashes on a view
        save_state(path, step, parts)


@contextmanager
def frozen(net: nn.Module) -> Iterator[None]:
    """Freeze a network: gradients pass through it, and none reach its weights, while the other one is trained."""
    net.requires_grad_(False)
    try:
        yield
    finally:
        net.requires_grad_(True)


def set_rate(training: AdversarialTraining, rate: float) -> None:
    """Set the learning rate of both networks."""
    for adam in (training.generator_adam, training.critic_adam):
        for group in adam.param_groups:
            group["lr"] = rate


def optimizer_step(fabric: Fabric, optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    """Take one optimizer step, on gradients averaged over all processes.

    DDP's wrapper cannot be used: its reducer expects one forward pass per backward pass, and a critic with a gradient
    penalty has three.
    """
    optimizer.zero_grad()
    loss.backward()
    if fabric.world_size > 1:
        for group in optimizer.param_groups:
            for weight in group["params"]:
                weight.grad = fabric.all_reduce(weight.grad)
    optimizer.step()


class Losses:
    """The losses so far, in a CSV file that is the same whether or not the training was interrupted."""

    def __init__(self, path: Path, start: int) -> None:
        before = path.read_text().splitlines() if start and path.exists() else []
        self.path = path
        self.header = before[:1]
        self.lines = [line for line in before[1:] if int(line.partition(",")[0]) < start]
        self.note = ""  # the latest losses, for the progress display

    def add(self, step: int, terms: Mapping[str, float]) -> None:
        """Add the terms of a step's loss.

        Raises:
            UserError: one of them is not finite.
        """
        if not all(map(math.isfinite, terms.values())):
            losses = ", ".join(f"{name} = {value}" for name, value in terms.items())
            raise UserError(
                f"the generator's training diverged at step {step}: {losses}",
                rule="the losses must stay finite",
                hint="lower `learning_rate`, or set precision = 'float32', under [generator]",
            )
        self.header = [",".join(["step", *terms])]
        self.lines.append(",".join([f"{step}", *(f"{value:.6g}" for value in terms.values())]))
        self.note = ", ".join(f"{name} {value:.3f}" for name, value in terms.items())

    def flush(self) -> None:
        """Write the file."""
        artifacts.write(self.path, "\n".join([*self.header, *self.lines, ""]).encode())
