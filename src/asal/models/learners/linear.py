"""Softmax regression on raw pixels: the paper's linear model, h(x) = W x + b (section 4.2)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from annotated_types import Ge, Le
from torch import Tensor, nn

from asal.core import Images, Labels
from asal.models.learners import learners
from asal.models.learners.neural import NeuralModel, with_weights
from asal.models.tensors import to_batch
from asal.runtime.devices import here


@learners.register("linear", provides=("gradient", "linear", "dropout"))
@dataclass(frozen=True)
class Linear:
    """Softmax regression on raw pixels, fitted to convergence by L-BFGS.

    The objective is the mean cross entropy + l2/2 ‖W‖² (b is free). With l2 > 0 it has one minimum, so that the
    result does not depend on initial weights. How the paper regularises is unknown: l2 is our choice.
    """

    l2: Annotated[float, Ge(0), Le(1e6)] = 0.1
    iterations: Annotated[int, Ge(1)] = 200

    def fit(self, images: Images, labels: Labels, classes: int, rng: np.random.Generator) -> NeuralModel:
        """Fit to uint8 images (n, h, w, c) and labels (n,) in 0 … classes − 1; `rng` is not used."""
        x = to_batch(images).flatten(1)  # on the CPU: a few hundred rows are fitted before a GPU has started
        y = torch.tensor(labels)
        weight = torch.zeros(classes, x.shape[1], requires_grad=True)
        bias = torch.zeros(classes, requires_grad=True)
        optimizer = torch.optim.LBFGS(
            [weight, bias], max_iter=self.iterations, tolerance_grad=1e-5, line_search_fn="strong_wolfe"
        )

        def objective() -> Tensor:
            optimizer.zero_grad()
            loss = F.cross_entropy(F.linear(x, weight, bias), y) + 0.5 * self.l2 * weight.square().sum()
            loss.backward()
            return loss.detach()

        optimizer.step(objective)
        head = nn.utils.skip_init(nn.Linear, x.shape[1], classes)  # torch draws weights from its global stream
        head.weight.data, head.bias.data = weight.detach(), bias.detach()
        height, width, channels = images.shape[1:]
        net = nn.Sequential(nn.Flatten(), head).to(here()).eval().requires_grad_(False)
        return NeuralModel(net, (height, width, channels), (height, width, channels))

    def restored(self, tensors: Mapping[str, npt.NDArray[Any]], shape: Sequence[int], classes: int) -> NeuralModel:
        """Return the model whose `tensors` these are."""
        model = with_weights(lambda: nn.Sequential(nn.Flatten(), nn.Linear(prod(shape), classes)), tensors, shape)
        height, width, channels = shape
        return replace(model, linear_in=(height, width, channels))
