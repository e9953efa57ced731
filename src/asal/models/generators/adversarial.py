"""What every generator that is trained against a critic shares: one duel that can be cut, on one device or several.

A generator's own file says its settings, its networks and its two losses (`Rules`); everything else is here.
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
from asal.models.checkpoints import Part, due, load_state, load_weights, save_state, save_weights
from asal.models.generators import TrainedGenerator
from asal.models.networks import Critic, move_to
from asal.models.tensors import to_batch
from asal.runtime import artifacts
from asal.runtime.devices import Device, Precision, here
from asal.runtime.progress import Progress, across_processes
from asal.runtime.rng import stream, torch_stream

Count: TypeAlias = Annotated[int, Ge(1)]
Shape: TypeAlias = tuple[int, int, int]  # (h, w, c)
Terms: TypeAlias = dict[str, Tensor]  # what is written down of a critic's loss: one column each


@dataclass(frozen=True)
class AdversarialTraining:
    """The two networks, what trains them, and the stream that all their draws come from."""

    generator: nn.Module
    critic: Critic
    averaged: AveragedModel  # of the generator
    generator_adam: torch.optim.Optimizer
    critic_adam: torch.optim.Optimizer
    draws: torch.Generator
    latents: tuple[int, int]  # (n, z): a batch of them
    device: torch.device

    def fake(self) -> Tensor:
        """Return a batch of made images (n, c, h, w), from latents of N(0, I)."""
        images: Tensor = self.generator(torch.randn(self.latents, generator=self.draws).to(self.device))
        return images

    def parts(self, rank: int) -> dict[str, Part]:
        """Return all that a checkpoint holds, by name; the stream under the name of its process."""
        return {
            "generator": self.generator,
            "critic": self.critic,
            "averaged": self.averaged,
            "generator_adam": self.generator_adam,
            "critic_adam": self.critic_adam,
            f"draws-{rank}": self.draws,
        }


class GeneratorDefinition(Protocol):
    """What a generator's own file says. The settings are options of its spec."""

    @property
    def steps(self) -> int: ...  # of the generator
    @property
    def critic_steps(self) -> int: ...  # before each of the generator's
    @property
    def batch(self) -> int: ...
    @property
    def latent_dim(self) -> int: ...
    @property
    def average(self) -> float: ...  # decay of the running average of the generator's weights; 0 keeps the last ones
    @property
    def precision(self) -> Precision: ...

    def networks(self, shape: Shape) -> tuple[nn.Module, Critic]:
        """Return an untrained pair for images of this shape."""

    def initialise(self, net: nn.Module, draws: torch.Generator) -> None:
        """Draw the first weights of one of the two."""

    def betas(self, shape: Shape) -> tuple[float, float]:
        """Return Adam's."""

    def rate(self, step: int) -> float:
        """Return the learning rate of a step."""

    def critic_loss(self, training: AdversarialTraining, real: Tensor) -> tuple[Tensor, Terms]:
        """Return what the critic descends on a batch of real images, and the terms that are written down."""

    def generator_loss(self, training: AdversarialTraining) -> Tensor:
        """Return what the generator descends."""


def train_adversarial(
    rules: GeneratorDefinition, pool: Pool, folder: Path, seed: int, device: Device, progress: Progress
) -> None:
    """Train on the pool's images and write `weights.safetensors` and `losses.csv` into the folder.

    Cut at any moment and called again, it goes on from its last checkpoint, and the weights are the very
    same: every draw comes from one stream whose state is part of the checkpoint.
    """
    fabric = device.fabric(rules.precision)
    with across_processes(progress, needed=device.count > 1) as near:
        # Bound to the function, because Fabric looks into arguments and refuses frozen dataclasses among them.
        fabric.launch(partial(_train, rules=rules, pool=pool, folder=folder, seed=seed, progress=near))


def load_generator(rules: GeneratorDefinition, folder: Path, shape: Shape) -> TrainedGenerator:
    """Open a trained pair; the generator is the averaged one."""
    drawer, critic = rules.networks(shape)
    load_weights(folder / "weights.safetensors", generator=drawer, critic=critic)
    for net in (drawer, critic):
        move_to(net, here())
        net.eval().requires_grad_(False)
    return TrainedGenerator(rules.latent_dim, drawer, critic.hidden, critic.trunk.dim, here())


def begin(fabric: Fabric, rules: GeneratorDefinition, shape: Shape, seed: int) -> AdversarialTraining:
    """Return an untrained pair, with all that its training needs."""
    generator, critic = rules.networks(shape)
    weights = torch_stream(stream(seed, "generator", "weights"))
    for net in (generator, critic):
        rules.initialise(net, weights)
        move_to(net, fabric.device)
    return AdversarialTraining(
        generator, critic,
        AveragedModel(generator, multi_avg_fn=get_ema_multi_avg_fn(rules.average), use_buffers=True),
        torch.optim.Adam(generator.parameters(), rules.rate(0), rules.betas(shape)),
        torch.optim.Adam(critic.parameters(), rules.rate(0), rules.betas(shape)),
        # Each process draws images and latents of its own; the weights, drawn above, are the same in all.
        torch_stream(stream(seed, "generator", "draws", fabric.global_rank)),
        (rules.batch, rules.latent_dim),
        fabric.device,
    )  # fmt: skip


def finish(
    fabric: Fabric,
    rules: GeneratorDefinition,
    training: AdversarialTraining,
    pool: Pool,
    folder: Path,
    progress: Progress,
) -> None:
    """Train a pair from its last checkpoint to the end, and write the weights."""
    checkpoint = folder / artifacts.SCRATCH / "checkpoint.safetensors"
    start, saved = load_state(checkpoint, training.parts(fabric.global_rank)), time.monotonic()
    losses = Losses(folder / "losses.csv", start)

    for step in range(start, rules.steps):
        set_rate(training, rules.rate(step))
        for _ in range(rules.critic_steps):
            terms = _critic_step(fabric, rules, training, _reals(fabric, pool, training))
        _generator_step(fabric, rules, training)
        training.averaged.update_parameters(training.generator)

        if step % 10 == 0 or step + 1 == rules.steps:
            losses.add(step, {name: term.item() for name, term in terms.items()})
            if fabric.global_rank == 0:
                progress("generator", step + 1, rules.steps, losses.note)
        if fabric.broadcast(due(saved)):  # one clock for all processes
            _save(fabric, checkpoint, step + 1, training, losses)
            saved = time.monotonic()

    if fabric.global_rank == 0:
        losses.flush()
        save_weights(folder / "weights.safetensors", generator=training.averaged.module, critic=training.critic)
    fabric.barrier()


def _train(fabric: Fabric, rules: GeneratorDefinition, pool: Pool, folder: Path, seed: int, progress: Progress) -> None:
    finish(fabric, rules, begin(fabric, rules, pool.shape, seed), pool, folder, progress)


def _critic_step(fabric: Fabric, rules: GeneratorDefinition, training: AdversarialTraining, real: Tensor) -> Terms:
    with still(training.generator), fabric.autocast():
        loss, terms = rules.critic_loss(training, real)
    descend(fabric, training.critic_adam, loss)
    return {name: term.detach() for name, term in terms.items()}


def _generator_step(fabric: Fabric, rules: GeneratorDefinition, training: AdversarialTraining) -> None:
    with still(training.critic):
        with fabric.autocast():
            loss = rules.generator_loss(training)
        descend(fabric, training.generator_adam, loss)


def _reals(fabric: Fabric, pool: Pool, training: AdversarialTraining) -> Tensor:
    ids = torch.randint(len(pool), training.latents[:1], generator=training.draws)
    real: Tensor = fabric.to_device(to_batch(pool.read(ids.numpy())))
    return real.contiguous(memory_format=torch.channels_last)


def _save(fabric: Fabric, path: Path, step: int, training: AdversarialTraining, losses: Losses) -> None:
    """Write one checkpoint: the networks, which all processes share, and the stream of each process."""
    streams = cast(Tensor, fabric.all_gather(training.draws.get_state()))
    if fabric.global_rank == 0:
        losses.flush()
        parts = training.parts(0)
        for rank, state in enumerate(streams.reshape(fabric.world_size, -1).cpu()):
            parts[f"draws-{rank}"] = torch.Generator().set_state(state.clone())  # torch 2.13 crashes on a view
        save_state(path, step, parts)


@contextmanager
def still(net: nn.Module) -> Iterator[None]:
    """Let gradients pass through a network and none reach its weights: it stands still while the other one moves."""
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

    def __init__(self, path: Path, start: int) -> None:
        before = path.read_text().splitlines() if start and path.exists() else []
        self.path = path
        self.header = before[:1]
        self.lines = [line for line in before[1:] if int(line.partition(",")[0]) < start]
        self.note = ""  # the latest ones, for people

    def add(self, step: int, terms: Mapping[str, float]) -> None:
        """Remember the terms of a step's loss.

        Raises:
            UserError: one of them is not finite.
        """
        if not all(map(math.isfinite, terms.values())):
            raise UserError(
                f"{', '.join(f'{name} = {value}' for name, value in terms.items())} at step {step}",
                rule="a generator's losses stay finite",
                hint="lower `learning_rate`, or set precision = 'float32', under [generator]",
            )
        self.header = [",".join(["step", *terms])]
        self.lines.append(",".join([f"{step}", *(f"{value:.6g}" for value in terms.values())]))
        self.note = ", ".join(f"{name} {value:.3f}" for name, value in terms.items())

    def flush(self) -> None:
        """Write what is remembered."""
        artifacts.write(self.path, "\n".join([*self.header, *self.lines, ""]).encode())
