"""A classifier that foretells its own loss (Yoo & Kweon, CVPR 2019, "Learning Loss for Active Learning")."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from asal.core import Features, Images, Labels, Probs, Scores
from asal.models.learners.neural import NeuralModel, TrainingRecipe, augmented, batches, blocks_of, shaped
from asal.models.networks import move_to
from asal.models.tensors import to_batch
from asal.runtime.devices import here
from asal.runtime.progress import track

Network = Callable[[Sequence[int], int], nn.Sequential]  # of an image's (h, w, c) and the number of classes

WIDTH = 128  # of the module's layers (section 3.2)
MARGIN = 1.0  # ξ (eq. 2)
CUT = 0.6  # of the steps: after them the module's gradient ends where it meets the classifier (120 of 200 epochs)


@dataclass(frozen=True)
class LossPredictingLearner:
    """Trains a network and, beside it, a module that foretells its loss, in one go: λ = 1 (eq. 3)."""

    network: Network
    recipe: TrainingRecipe

    def fit(self, images: Images, labels: Labels, classes: int, rng: np.random.Generator) -> LossPredictingModel:
        """Fit to uint8 images (n, h, w, c) and labels (n,) in 0 … classes − 1.

        The network's initial weights and the order of its batches are those that it has without the module.
        """
        y = torch.tensor(labels).to(here())
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(rng.integers(2**63 - 1)))
            net = self.network(images.shape[1:], classes).train()
            move_to(net, here())
            with torch.random.fork_rng(devices=[]):  # so that what the module draws moves nothing of the network's
                module = LossModule(
                    [part.shape[1] for part in forward_with_hidden(net, to_batch(images[:1]).to(here()))[1]]
                )
            move_to(module, here())
            parameters = [*net.parameters(), *module.parameters()]
            adam = torch.optim.Adam(parameters, self.recipe.learning_rate, weight_decay=self.recipe.weight_decay)
            schedule = torch.optim.lr_scheduler.CosineAnnealingLR(adam, self.recipe.steps)
            for step, rows in enumerate(track(batches(len(images), self.recipe), self.recipe.steps, "steps")):
                logits, seen = forward_with_hidden(
                    net, augmented(to_batch(images[rows]), self.recipe.augment).to(here())
                )
                losses = F.cross_entropy(shaped(logits, classes), y[rows], reduction="none")
                foretold = module([part.detach() for part in seen] if step >= CUT * self.recipe.steps else seen)
                adam.zero_grad()
                (losses.mean() + pair_loss(foretold, losses)).backward()
                adam.step()
                schedule.step()
        return LossPredictingModel(net.eval().requires_grad_(False), module.eval().requires_grad_(False))


class LossModule(nn.Module):
    """Hidden layers → a loss (n,): each averaged over space, then a layer of its own, all joined (their figure 2)."""

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(width, WIDTH) for width in widths)
        self.last = nn.Linear(WIDTH * len(widths), 1)

    def forward(self, seen: Sequence[Tensor]) -> Tensor:
        averaged = [part.mean((2, 3)) if part.ndim == 4 else part for part in seen]
        joined = torch.cat([F.relu(layer(part)) for layer, part in zip(self.layers, averaged, strict=True)], dim=1)
        told: Tensor = self.last(joined)
        return told.flatten()


def forward_with_hidden(net: nn.Sequential, batch: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Return the network's output for a batch (n, c, h, w), and what leaves each of its ReLUs: the hidden layers."""
    seen = []
    for layer in net:
        batch = layer(batch)
        if isinstance(layer, nn.ReLU):
            seen.append(batch)
    return batch, seen


def pair_loss(told: Tensor, losses: Tensor) -> Tensor:
    """Return the mean over pairs of max(0, −sgn(l_i − l_j) · (l̂_i − l̂_j) + ξ) (their eq. 2).

    Pairs are the first and the last of the batch, the second and the last but one, …; true losses take no gradient.

    Args:
        told: (n,) the losses foretold, l̂.
        losses: (n,) the true ones, l.
    """
    half = len(told) // 2
    if half == 0:
        return told.sum() * 0
    apart = (told - told.flip(0))[:half]
    truth = (losses - losses.flip(0))[:half].detach().sign()
    return (MARGIN - truth * apart).clamp(min=0).mean()


@dataclass(frozen=True)
class LossPredictingModel:
    """A trained network and its module."""

    net: nn.Sequential
    module: LossModule

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
        """Map (n, c, h, w), wherever it is, to the loss foretold (n,), differentiably; its scale means nothing."""
        told: Tensor = self.module(forward_with_hidden(self.net, batch.to(here()))[1])
        return told

    @torch.inference_mode()
    def losses(self, images: Images) -> Scores:
        """Return the losses foretold (n,)."""
        return np.concatenate([self.loss(to_batch(block)).double().cpu().numpy() for block in blocks_of(images)])
