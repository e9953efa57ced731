"""What every learner made of a torch module shares: the trained model, and one training loop."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from asal.core import Features, Images, Labels, Probs
from asal.errors import UserError
from asal.models.networks import move_to
from asal.models.tensors import to_batch
from asal.runtime.devices import here
from asal.runtime.progress import track

AT_ONCE = 256  # images a forward pass on a CPU: what it needs stays in the caches
AT_ONCE_ON_A_GPU = 4096  # which wants to be filled


@dataclass(frozen=True)
class NeuralModel:
    """A trained torch module that maps float images in [−1, 1] to logits."""

    net: nn.Module

    def logits(self, batch: Tensor) -> Tensor:
        """Map (n, c, h, w), wherever it is, to (n, k), differentiably."""
        logits: Tensor = self.net(batch.to(here()))
        return logits

    @torch.inference_mode()
    def predict(self, images: Images) -> Probs:
        """Return the softmax of the logits."""
        # (k, n) in memory: a pass over ten classes image by image takes several times as long as one along the images.
        rows = [self.logits(to_batch(block)).cpu().T.contiguous() for block in blocks_of(images)]
        return np.concatenate([block.double().softmax(0).numpy() for block in rows], axis=1).T

    @torch.inference_mode()
    def embed(self, images: Images) -> Features:
        """Return what goes into the last linear layer, flat."""
        caught: list[Tensor] = []
        last = [m for m in self.net.modules() if isinstance(m, nn.Linear)][-1]
        hook = last.register_forward_pre_hook(lambda _, inputs: caught.append(inputs[0].flatten(1)))
        try:
            for block in blocks_of(images):
                self.logits(to_batch(block))
        finally:
            hook.remove()
        return torch.cat(caught).float().cpu().numpy()

    def head(self) -> tuple[Features, Features]:
        """Return the last linear layer's weights (k, d) and biases (k,)."""
        last = [m for m in self.net.modules() if isinstance(m, nn.Linear)][-1]
        bias = torch.zeros(last.out_features) if last.bias is None else last.bias
        return last.weight.detach().cpu().numpy(), bias.detach().cpu().numpy()


def blocks_of(images: Images) -> list[Images]:
    """Cut images into as many as a forward pass takes, one block at the least."""
    size = AT_ONCE if here().type == "cpu" else AT_ONCE_ON_A_GPU
    return [images[start : start + size] for start in range(0, max(len(images), 1), size)]


@dataclass(frozen=True)
class TrainingRecipe:
    """How a module is trained."""

    steps: int
    batch: int
    learning_rate: float
    weight_decay: float
    augment: int = 0  # pixels that an image is shifted by at most, beside being turned left to right; 0 leaves it alone


def train(
    make: Callable[[], nn.Module],
    recipe: TrainingRecipe,
    images: Images,
    labels: Labels,
    classes: int,
    rng: np.random.Generator,
) -> NeuralModel:
    """Make a fresh module and train it by Adam on the cross entropy, with a cosine-shaped learning rate.

    Modules and dropout draw from torch's global stream; it is seeded from `rng` for the time of the training and
    put back as it was, so that nothing outside is moved and nothing outside moves the result.
    """
    y = torch.tensor(labels).to(here())
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(rng.integers(2**63 - 1)))
        net = make().train()
        move_to(net, here())
        optimizer = torch.optim.Adam(net.parameters(), recipe.learning_rate, weight_decay=recipe.weight_decay)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, recipe.steps)
        for rows in track(batches(len(images), recipe), recipe.steps, "steps"):
            batch = augmented(to_batch(images[rows]), recipe.augment).to(here())
            loss = F.cross_entropy(shaped(net(batch), classes), y[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return NeuralModel(net.eval().requires_grad_(False))


def augmented(batch: Tensor, pixels: int) -> Tensor:
    """Return the batch (n, c, h, w), each image shifted by up to so many pixels, half of them mirrored; itself for 0.

    Draws from torch's global stream. Edges are mirrored into what a shift uncovers.
    """
    if pixels == 0:
        return batch
    height, width = batch.shape[2:]
    padded = F.pad(batch, (pixels,) * 4, mode="reflect")
    places = torch.randint(2 * pixels + 1, (len(batch), 2)).tolist()
    moved = [image[:, y : y + height, x : x + width] for image, (y, x) in zip(padded, places, strict=True)]
    mirrored = torch.rand(len(batch), 1, 1, 1) < 0.5
    return torch.where(mirrored, torch.stack(moved).flip(3), torch.stack(moved))


def batches(n: int, recipe: TrainingRecipe) -> Iterator[Tensor]:
    """Yield the rows of every step's batch: every image once before any twice. Draws from torch's global stream."""
    order = torch.empty(0, dtype=torch.int64)
    for _ in range(recipe.steps):
        if len(order) < min(recipe.batch, n):
            order = torch.cat([order, torch.randperm(n)])
        rows, order = order[: recipe.batch], order[recipe.batch :]
        yield rows


def shaped(logits: Tensor, classes: int) -> Tensor:
    """Return logits (n, classes).

    Raises:
        UserError: they have another shape.
    """
    if logits.ndim != 2 or logits.shape[1] != classes:
        raise UserError(
            f"an output of shape {tuple(logits.shape)}",
            rule=f"a classifier gives one logit for each of {classes} classes",
            hint="let the factory use its argument `classes`",
        )
    return logits
