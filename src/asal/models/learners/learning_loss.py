"""A classifier that predicts its own loss (Yoo & Kweon, CVPR 2019, "Learning Loss for Active Learning")."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from asal.core import Features, Images, Labels, Probs, Scores
from asal.models.learners.neural import NeuralModel, TrainingRecipe, augment, batch_rows, check_logits, in_batches
from asal.models.networks import move_to
from asal.models.tensors import to_batch
from asal.runtime.devices import here
from asal.runtime.progress import track

NetworkFactory = Callable[[Sequence[int], int], nn.Sequential]  # of an image's (h, w, c) and the number of classes

MODULE_WIDTH = 128  # of the module's layers (section 3.2)
MARGIN = 1.0  # ξ (eq. 2)
JOINT_SHARE = 0.6  # of the steps in which the module's gradient also reaches the classifier (120 of 200 epochs)


@dataclass(frozen=True)
class LossPredictingLearner:
    """Trains a network together with a module that predicts its loss: λ = 1 (eq. 3)."""

    network: NetworkFactory
    recipe: TrainingRecipe

    def fit(self, images: Images, labels: Labels, classes: int, rng: np.random.Generator) -> LossPredictingModel:
        """Fit to uint8 images (n, h, w, c) and labels (n,) in 0 … classes − 1.

        The network's initial weights and the order of its batches are the same as without the module.
        """
        y = torch.tensor(labels).to(here())
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(rng.integers(2**63 - 1)))
            net = self.network(images.shape[1:], classes).train()
            move_to(net, here())
            with torch.random.fork_rng(devices=[]):  # the module's draws must not change the network's
                hidden = forward_with_hidden(net, to_batch(images[:1]).to(here()))[1]
                module = LossModule([layer.shape[1] for layer in hidden])
            move_to(module, here())
            parameters = [*net.parameters(), *module.parameters()]
            adam = torch.optim.Adam(parameters, self.recipe.learning_rate, weight_decay=self.recipe.weight_decay)
            schedule = torch.optim.lr_scheduler.CosineAnnealingLR(adam, self.recipe.steps)
            for step, rows in enumerate(track(batch_rows(len(images), self.recipe), self.recipe.steps, "steps")):
                batch = augment(to_batch(images[rows]), self.recipe.augment).to(here())
                logits, hidden = forward_with_hidden(net, batch)
                losses = F.cross_entropy(check_logits(logits, classes), y[rows], reduction="none")
                if step >= JOINT_SHARE * self.recipe.steps:
                    hidden = [layer.detach() for layer in hidden]
                predicted = module(hidden)
                adam.zero_grad()
                (losses.mean() + pair_loss(predicted, losses)).backward()
                adam.step()
                schedule.step()
        return LossPredictingModel(net.eval().requires_grad_(False), module.eval().requires_grad_(False))


class LossModule(nn.Module):
    """Hidden layers → a loss (n,): each averaged over space, then linear, all concatenated (their figure 2)."""

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(width, MODULE_WIDTH) for width in widths)
        self.last = nn.Linear(MODULE_WIDTH * len(widths), 1)

    def forward(self, hidden: Sequence[Tensor]) -> Tensor:
        averaged = [part.mean((2, 3)) if part.ndim == 4 else part for part in hidden]
        joined = torch.cat([F.relu(layer(part)) for layer, part in zip(self.layers, averaged, strict=True)], dim=1)
        predicted: Tensor = self.last(joined)
        return predicted.flatten()


def forward_with_hidden(net: nn.Sequential, batch: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Return the network's output for a batch (n, c, h, w), and its hidden layers: the output of each ReLU."""
    hidden = []
    for layer in net:
        batch = layer(batch)
        if isinstance(layer, nn.ReLU):
            hidden.append(batch)
    return batch, hidden


def pair_loss(predicted: Tensor, losses: Tensor) -> Tensor:
    """Return the mean over pairs of max(0, −sgn(l_i − l_j) · (l̂_i − l̂_j) + ξ) (their eq. 2).

    Pairs are the first and the last of the batch, the second and the last but one, …; true losses get no gradient.

    Args:
        predicted: (n,) the predicted losses, l̂.
        losses: (n,) the true losses, l.
    """
    half = len(predicted) // 2
    if half == 0:
        return predicted.sum() * 0
    difference = (predicted - predicted.flip(0))[:half]
    sign = (losses - losses.flip(0))[:half].detach().sign()
    return (MARGIN - sign * difference).clamp(min=0).mean()


@dataclass(frozen=True)
class LossPredictingModel:
    """A trained network and its module."""

    net: nn.Sequential
    module: LossModule

    reads: ClassVar[Literal["images"]] = "images"

    @property
    def _plain(self) -> NeuralModel:
        return NeuralModel(self.net)

    def logits(self, batch: Tensor) -> Tensor:
        """Map (n, c, h, w), wherever it is, to (n, k), differentiably."""
        return self._plain.logits(batch)

    def predict(self, images: Images) -> Probs:
        """Return the softmax of the logits."""
        return self._plain.predict(images)

    def embed(self, images: Images) -> Features:
        """Return what goes into the last linear layer, flat."""
        return self._plain.embed(images)

    def loss(self, batch: Tensor) -> Tensor:
        """Map (n, c, h, w), wherever it is, to the predicted loss (n,), differentiably; its scale has no meaning."""
        predicted: Tensor = self.module(forward_with_hidden(self.net, batch.to(here()))[1])
        return predicted

    @torch.inference_mode()
    def losses(self, images: Images) -> Scores:
        """Return the predicted losses (n,)."""
        return np.concatenate([self.loss(to_batch(block)).double().cpu().numpy() for block in in_batches(images)])
