"""Synthetic images that maximise an objective, by gradient through the generator; shared by several strategies."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from asal.core import Features, Images, LossPredictingModel, Model, Round, Scores
from asal.models.tensors import to_images
from asal.runtime.devices import here
from asal.runtime.rng import torch_stream
from asal.strategies.latent_optimisation import AT_ONCE, LatentOptimisation, ValueAndGrad, optimised
from asal.strategies.scores import scores

Objective: TypeAlias = Callable[[Tensor], Tensor]  # float images (n, c, h, w) in [−1, 1] → (n,), higher = better


@dataclass(frozen=True)
class Synthetic:
    """Synthetic images, best first."""

    latents: Features  # (n, z)
    images: Images
    scores: Scores


def of_score(model: Model, name: str) -> Objective:
    """Return the objective that is a score of the classifier's probabilities, or of the loss that it predicts."""
    part = scores[name]
    if "loss" in part.needs:
        return lambda batch: part.make(cast(LossPredictingModel, model).loss(batch).float())
    return lambda batch: part.make(model.logits(batch).float().softmax(1))


def enough_of(now: Round, name: str, score_tolerance: float) -> float:
    """Return the score that lies below its ceiling by a share of its range; infinity for a share of 0.

    The ceiling is the score where all classes are equally likely, and the range reaches from there down to certainty.
    A predicted loss has no ceiling.
    """
    part = scores[name]
    if score_tolerance == 0 or "loss" in part.needs:
        return float("inf")
    classes = now.predict(np.zeros(1, np.int64)).shape[1]  # some modules take no empty batch
    ends = np.stack([np.full(classes, 1 / classes), np.eye(classes)[0]])
    ceiling, floor = part.make(ends)
    return float(ceiling - score_tolerance * (ceiling - floor))


def synthesise(
    now: Round, n: int, objective: Objective, settings: LatentOptimisation, rng: np.random.Generator
) -> Synthetic:
    """Return the n best of n · `num_restarts` images, optimised through the generator (eq. 1).

    max over z of objective(G(z)), from z ~ N(0, I), by Adam. Cost: constant in the pool.
    """
    generator, many = now.tools.generator, n * settings.num_restarts
    with now.meter.part("generate"):
        value_and_grad = ValueAndGrad(
            lambda latents: objective(generator.decode(latents)), many, generator.latent_dim, settings
        )
        latents = torch.randn(many * settings.raw_samples, generator.latent_dim, generator=torch_stream(rng)).to(here())
        if settings.raw_samples > 1:
            now.meter.generated += len(latents)
            latents = latents[value_and_grad.values(latents).argsort(descending=True, stable=True)[:many]]
        latents, evaluations = optimised(value_and_grad, latents, settings)
        with torch.inference_mode():
            images = torch.cat([generator.decode(block) for block in latents.split(AT_ONCE)])
            reached = torch.cat([objective(block) for block in images.split(AT_ONCE)]).cpu().double().numpy()
    now.meter.generated += evaluations + many
    best = np.argsort(-reached, kind="stable")[:n]
    return Synthetic(latents.cpu().numpy()[best], to_images(images)[best], reached[best])


def rounded(latent: npt.NDArray[Any]) -> list[float]:
    """Return a latent (z,) as notes hold it: four digits draw the same picture."""
    return [round(float(z), 4) for z in latent]
