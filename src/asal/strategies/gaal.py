"""GAAL (Zhu & Bento 2017, arXiv 1702.07956): label synthetic images at the boundary, and train on them."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from annotated_types import Ge, Gt
from torch import Tensor

from asal.core import Model, Round, Selection
from asal.strategies import strategies
from asal.strategies.latent_optimisation import LatentOptimisation
from asal.strategies.synthesis import Objective, rounded, synthesise


@strategies.register("gaal", needs=("generator", "gradient"), provides=("images",))
def gaal(
    now: Round,
    n: int,
    rng: np.random.Generator,
    *,
    steps: Annotated[int, Ge(0)] = 100,
    step_size: Annotated[float, Gt(0)] = 0.05,
) -> Selection:
    """Synthetic images at the classifier's boundary, to be labelled themselves. Cost: constant in the pool's size.

    min over z of |w·φ(G(z)) + b| (their eq. 2), which for a softmax over two classes is the gap between its logits, and
    for more the gap between the two largest. Adam's steps and their size are those of `asal` with `paper = true`, so
    that the two differ only in what they do with the images (our choice; the paper does not give its own).
    """
    synthetic = synthesise(now, n, at_the_boundary(now.model), LatentOptimisation(steps, step_size), rng)
    notes = [
        {"latent": rounded(latent), "gap": float(-score)}
        for latent, score in zip(synthetic.latents, synthetic.scores, strict=True)
    ]
    return Selection.of_synthetic(now, synthetic.images, synthetic.scores, notes)


def at_the_boundary(model: Model) -> Objective:
    """Return minus the gap between the two largest logits (n,)."""

    def closeness(batch: Tensor) -> Tensor:
        first, second = model.logits(batch).topk(2, dim=1).values.unbind(1)
        return second - first

    return closeness
