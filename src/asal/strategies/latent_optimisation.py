"""Latent optimisation: how gradients through the generator are computed, and when a latent stops."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from asal.errors import UserError
from asal.runtime.devices import Precision, here

Backend: TypeAlias = Literal["eager", "compiled", "captured"]
Value: TypeAlias = Callable[[Tensor], Tensor]  # latents (b, z) → their objective (b,), differentiably
Step: TypeAlias = Callable[[Tensor], tuple[Tensor, Tensor]]  # latents (b, z) → objective (b,) and its gradient (b, z)

AT_ONCE = (
    32  # latents a pass on a CPU: what they need stays in its caches, and large blocks of memory are not asked for
)
RISE = 1e-3  # of the objective: a smaller rise is none


@dataclass(frozen=True)
class LatentOptimisation:
    """How latents are moved towards a high objective. What has a default does nothing unless it is set."""

    steps: int  # of Adam
    step_size: float  # Adam's, in units of the latents
    prior: float = 0.0  # weight of ‖z‖²/2z, which holds the latents where the generator was trained
    num_restarts: int = 1  # latents optimised for each image wanted; the best are kept
    raw_samples: int = 1  # latents drawn for each one optimised: one forward pass keeps those of the highest objective
    enough: float = float("inf")  # of the objective: a latent that has reached it stops there
    patience: int = 0  # steps without a rise, after which a latent stops at its best point; 0 is never
    keep_best: bool = False  # of each path the best point, not the last
    precision: Precision = "float32"  # of the networks; latents and Adam are always in float32
    backend: Backend = "eager"


class ValueAndGrad:
    """The objective of latents, and its gradient, block by block.

    Args:
        value: the objective of latents.
        most: the largest number of latents at once.
    """

    def __init__(self, value: Value, most: int, latent_dim: int, settings: LatentOptimisation) -> None:
        self._value, self._precision = value, settings.precision
        self._block = min(most, AT_ONCE) if here().type == "cpu" else most
        self._fixed_shape = settings.backend != "eager"  # such a step is built for one shape only
        self._step = _backend(value, (self._block, latent_dim), settings)

    def __call__(self, latents: Tensor) -> tuple[Tensor, Tensor]:
        """Return the objective of latents (n,) and its gradient (n, z)."""
        with cast_to(self._precision):
            parts = [self._one(block) for block in latents.split(self._block)]
        return torch.cat([values for values, _ in parts]), torch.cat([gradients for _, gradients in parts])

    @torch.inference_mode()
    def values(self, latents: Tensor) -> Tensor:
        """Return the objective of latents (n,): a forward pass and nothing else."""
        with cast_to(self._precision):
            return torch.cat([self._value(block).float() for block in latents.split(self._block)])

    def _one(self, block: Tensor) -> tuple[Tensor, Tensor]:
        size = len(block)
        if self._fixed_shape and size < self._block:
            block = torch.cat([block, block[:1].expand(self._block - size, -1)])
        values, gradients = self._step(block)
        return values[:size], gradients[:size]


def optimised(value_and_grad: ValueAndGrad, latents: Tensor, settings: LatentOptimisation) -> tuple[Tensor, int]:
    """Return where latents (n, z) end, and how many network evaluations that took.

    Adam moves all latents in every step, stopped ones without effect: what costs time is the gradient, which they skip.
    """
    at, ends = latents.clone(), latents.clone()
    best = torch.full((len(at),), -torch.inf, device=at.device)  # the highest objective on each path
    since = torch.zeros(len(at), dtype=torch.int64, device=at.device)  # the step at which it last rose
    moving, evaluations = torch.arange(len(at), device=at.device), 0
    adam = torch.optim.Adam([at], settings.step_size, fused=True)
    tracked = settings.patience > 0 or settings.keep_best or settings.enough < float("inf")
    for step in range(settings.steps):
        values, gradients = value_and_grad(at[moving])
        evaluations += len(moving)
        if tracked:
            since[moving[values > best[moving] + RISE]] = step
            higher = values > best[moving]
            best[moving[higher]], ends[moving[higher]] = values[higher], at[moving[higher]]
            stops = best[moving] >= settings.enough  # an earlier one has left `moving` already
            if settings.patience:
                stops |= step - since[moving] >= settings.patience
            moving, gradients = moving[~stops], gradients[~stops]
            if not len(moving):
                return ends, evaluations
        at.grad = torch.zeros_like(at)
        at.grad[moving] = settings.prior / at.shape[1] * at[moving] - gradients
        adam.step()
    if settings.keep_best:  # the last points have not been looked at
        values = value_and_grad.values(at[moving])
        evaluations += len(moving)
        moving = moving[values > best[moving]]
    ends[moving] = at[moving]
    return ends, evaluations


def cast_to(precision: Precision) -> AbstractContextManager[None]:
    """Return what lets networks compute in a precision."""
    # The cache of cast weights would be emptied by every block, and may not be filled while a graph is captured.
    return torch.autocast(here().type, torch.bfloat16, enabled=precision == "bf16", cache_enabled=False)


def _backend(value: Value, shape: tuple[int, int], settings: LatentOptimisation) -> Step:
    if settings.backend == "compiled":
        return _compiled(value)
    if settings.backend == "captured":
        with cast_to(settings.precision):
            return _captured(value, shape)
    return _eager(value)


def _eager(value: Value) -> Step:
    def step(latents: Tensor) -> tuple[Tensor, Tensor]:
        latents = latents.detach().requires_grad_()
        values = value(latents)
        (gradients,) = torch.autograd.grad(values.sum(), latents)
        return values.detach().float(), gradients

    return step


def _compiled(value: Value) -> Step:
    """Return a step of fused kernels.

    They are compiled at the first call, in tens of seconds, and serve every later classifier of the same layers.
    """
    from torch._dynamo.exc import TorchDynamoException

    def compiling(latents: Tensor) -> tuple[Tensor, Tensor]:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # torch warns of what torch itself imports, and of caches it sees past
                return _eager(torch.compile(value, dynamic=False))(latents)
        except TorchDynamoException as error:
            raise UserError(
                f"torch.compile failed with {type(error).__name__}: {str(error).partition(chr(10))[0]}",
                rule="backend = 'compiled' needs a C++ compiler, and Triton on a GPU",
                hint="install one (g++ or clang++), or leave `backend` out",
            ) from error

    return compiling


def _captured(value: Value, shape: tuple[int, int]) -> Step:
    """Return a step that is launched as one CUDA graph: a hundred kernels at the price of one.

    Raises:
        UserError: the networks are not on a CUDA device.
    """
    if here().type != "cuda":
        raise UserError(
            f"backend = 'captured' needs CUDA graphs, and the networks are on '{here()}'",
            hint="leave `backend` out",
        )
    step, static = _eager(value), torch.zeros(shape, device=here())
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):  # what libraries do once, at their first calls, must not be captured
        for _ in range(3):
            step(static)
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        values, gradients = step(static)

    def replayed(latents: Tensor) -> tuple[Tensor, Tensor]:
        static.copy_(latents)
        graph.replay()
        return values.clone(), gradients.clone()  # the next replay writes over them

    return replayed
