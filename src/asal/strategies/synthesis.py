"""What strategies that make images up share: climbing an objective through the generator."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from asal.core import Features, Images, LossModel, Model, Round, Scores
from asal.rng import torch_stream
from asal.scores import scores
from asal.tensors import to_images

Objective: TypeAlias = Callable[[Tensor], Tensor]  # float images (n, c, h, w) in [−1, 1] → (n,), higher = better


@dataclass(frozen=True)
class Climb:
    """How latents are moved towards a high objective."""

    steps: int  # of Adam
    step_size: float  # Adam's, in units of the latents
    prior: float = 0.0  # weight of ‖z‖²/2z, which holds the latents where the generator was trained
    restarts: int = 1  # latents for each image wanted; the best are kept


@dataclass(frozen=True)
class Synthetic:
    """Images that were made up, best first."""

    latents: Features  # (n, z)
    images: Images
    scores: Scores


def of_score(model: Model, name: str) -> Objective:
    """Return the objective that is a score of the classifier's probabilities, or of the loss that it foretells."""
    part = scores[name]
    if "loss" in part.needs:
        return lambda batch: part.make(cast(LossModel, model).loss(batch))
    return lambda batch: part.make(model.logits(batch).softmax(1))


def synthesise(now: Round, n: int, objective: Objective, climb: Climb, rng: np.random.Generator) -> Synthetic:
    """Return the n best of n · restarts images whose objective was climbed through the generator (eq. 1).

    max over z of objective(G(z)), from z ~ N(0, I), by Adam, all latents in one batch. Cost: constant in the pool.
    """
    generator, many = now.tools.generator, n * climb.restarts
    with now.meter.part("generate"):
        latents = torch.randn(many, generator.latent_dim, generator=torch_stream(rng)).requires_grad_()
        adam = torch.optim.Adam([latents], climb.step_size, fused=True)
        for _ in range(climb.steps):
            wanted = objective(generator.decode(latents)).sum()
            held = climb.prior * latents.square().sum() / (2 * generator.latent_dim)
            adam.zero_grad()
            (held - wanted).backward()
            adam.step()
        with torch.inference_mode():
            images = generator.decode(latents)
            reached = objective(images).cpu().double().numpy()
    now.meter.generated += (climb.steps + 1) * many
    best = np.argsort(-reached, kind="stable")[:n]
    return Synthetic(latents.detach().numpy()[best], to_images(images)[best], reached[best])


def rounded(latent: npt.NDArray[Any]) -> list[float]:
    """Return a latent (z,) as it is noted: four digits draw the same picture."""
    return [round(float(z), 4) for z in latent]
