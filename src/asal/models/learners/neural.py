"""What all learners that train a torch module share: the trained model and the training loop."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, TypeVar

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from asal.core import Features, Images, Labels, Probs
from asal.errors import UserError
from asal.models.learners.dropout import Dropout
from asal.models.linear_map import LinearMap
from asal.models.networks import move_to
from asal.models.tensors import to_batch
from asal.runtime.devices import here
from asal.runtime.progress import track

BATCH_ON_CPU = 256  # images per forward pass: activations stay in the caches
BATCH_ON_GPU = 4096  # images per forward pass: a GPU needs large batches

Network = TypeVar("Network", bound=nn.Module)


@dataclass(frozen=True)
class NeuralModel:
    """A trained torch module that maps float images in [−1, 1] to logits.

    Args:
        linear_in: (h, w, c) of the images, where the module is one linear layer on the flat batch.
        shape: (h, w, c) of the images that it was trained on, where that is known.
    """

    net: nn.Module
    linear_in: tuple[int, int, int] | None = None
    shape: tuple[int, ...] = ()

    reads: ClassVar[Literal["images"]] = "images"

    def logits(self, batch: Tensor) -> Tensor:
        """Map (n, c, h, w), wherever it is, to (n, k), differentiably."""
        logits: Tensor = self.net(batch.to(here()))
        return logits

    @torch.inference_mode()
    def predict(self, images: Images) -> Probs:
        """Return the softmax of the logits.

        Raises:
            UserError: the images have another shape than those that it was trained on, and it cannot read them.
        """
        # (k, n) in memory: the softmax over a few classes is several times faster along the images.
        try:
            rows = [self.logits(to_batch(block)).cpu().T.contiguous() for block in in_batches(images)]
        except (RuntimeError, ValueError) as error:
            if not self.shape or images.shape[1:] == self.shape:
                raise
            raise UserError(
                f"this classifier reads images of the shape {self.shape}, not {images.shape[1:]}",
                rule="images come to the size of the pool's before they are classified",
                hint="let the project do it: `project.predict(images)`",
            ) from error
        return np.concatenate([block.double().softmax(0).numpy() for block in rows], axis=1).T

    @torch.inference_mode()
    def embed(self, images: Images) -> Features:
        """Return what goes into the last linear layer, flat."""
        inputs: list[Tensor] = []
        last = [m for m in self.net.modules() if isinstance(m, nn.Linear)][-1]
        hook = last.register_forward_pre_hook(lambda _, args: inputs.append(args[0].flatten(1)))
        try:
            for block in in_batches(images):
                self.logits(to_batch(block))
        finally:
            hook.remove()
        return torch.cat(inputs).float().cpu().numpy()

    @torch.inference_mode()
    def predict_with_dropout(self, images: Images, times: int, rate: float, rng: np.random.Generator) -> Probs:
        """Return probabilities (times, n, k) with a share `rate` of the last linear layer's inputs dropped at random.

        This is what the dropout of the learner `cnn` does while it trains. Dropout layers elsewhere in a network of
        one's own stay off. Cost: the layers before the last one once, and it and what follows `times`.
        """
        dropout = Dropout(self.net, times, rate, rng)
        return dropout.predict(to_batch(block).to(here()) for block in in_batches(images, dropout.block))

    def head(self) -> tuple[Features, Features]:
        """Return the last linear layer's weights (k, d) and biases (k,)."""
        last = [m for m in self.net.modules() if isinstance(m, nn.Linear)][-1]
        bias = torch.zeros(last.out_features) if last.bias is None else last.bias
        return last.weight.detach().cpu().numpy(), bias.detach().cpu().numpy()

    def linear_map(self) -> LinearMap | None:
        """Return the map from stored images (n, h, w, c) to logits; None where the module is not linear."""
        if self.linear_in is None:
            return None
        height, width, channels = self.linear_in
        weights, biases = (part.astype(np.float64) for part in self.head())
        # A batch is flat channel by channel, and holds b / 127.5 − 1 for each byte b (`to_batch`).
        by_pixel = weights.reshape(-1, channels, height, width).transpose(0, 2, 3, 1).reshape(len(weights), -1)
        return LinearMap(by_pixel / 127.5, biases - weights.sum(axis=1))

    def tensors(self) -> dict[str, npt.NDArray[Any]]:
        """Return the weights, as a learner's `restored` takes them."""
        return {name: tensor.cpu().numpy() for name, tensor in self.net.state_dict().items()}


def with_weights(
    make: Callable[[], nn.Module], tensors: Mapping[str, npt.NDArray[Any]], shape: Sequence[int]
) -> NeuralModel:
    """Return the model whose weights these are.

    Args:
        make: makes a module of the same form, whose own weights do not matter.
        shape: (h, w, c) of its images.

    Raises:
        RuntimeError: the weights are those of another form.
    """
    with torch.random.fork_rng(devices=[]):
        net = make()
    net.load_state_dict({name: torch.from_numpy(np.array(tensor)) for name, tensor in tensors.items()})
    move_to(net, here())
    return NeuralModel(net.eval().requires_grad_(False), shape=tuple(shape))


def in_batches(images: Images, at_most: int = BATCH_ON_GPU) -> list[Images]:
    """Split images into batches for a forward pass; there is at least one, which may be empty."""
    size = min(BATCH_ON_CPU if here().type == "cpu" else BATCH_ON_GPU, at_most)
    return [images[start : start + size] for start in range(0, max(len(images), 1), size)]


@dataclass(frozen=True)
class TrainingRecipe:
    """How a module is trained."""

    steps: int
    batch: int
    learning_rate: float
    weight_decay: float
    augment: int = 0  # images are mirrored at random and shifted by up to this many pixels; 0: neither


def train(
    make: Callable[[], nn.Module],
    recipe: TrainingRecipe,
    images: Images,
    labels: Labels,
    classes: int,
    rng: np.random.Generator,
) -> NeuralModel:
    """Create a module and train it by Adam on the cross entropy, with a cosine schedule of the learning rate.

    Modules and dropout draw from torch's global stream: it is seeded from `rng` for the time of the training and
    restored afterwards, so that the training and the rest of the program do not influence each other.
    """

    def batch(rows: Tensor) -> Tensor:
        return augment(to_batch(images[rows]), recipe.augment)

    return NeuralModel(fit_network(make, recipe, batch, labels, classes, rng), shape=images.shape[1:])


def fit_network(
    make: Callable[[], Network],
    recipe: TrainingRecipe,
    batch_of: Callable[[Tensor], Tensor],
    labels: Labels,
    classes: int,
    rng: np.random.Generator,
) -> Network:
    """Train as `train` does, whatever the module reads: `batch_of` returns its input for some rows."""
    y = torch.tensor(labels).to(here())
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(rng.integers(2**63 - 1)))
        net = make().train()
        move_to(net, here())
        optimizer = torch.optim.Adam(net.parameters(), recipe.learning_rate, weight_decay=recipe.weight_decay)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, recipe.steps)
        for rows in track(batch_rows(len(y), recipe), recipe.steps, "steps"):
            loss = F.cross_entropy(check_logits(net(batch_of(rows).to(here())), classes), y[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return net.eval().requires_grad_(False)


def augment(batch: Tensor, pixels: int) -> Tensor:
    """Return the batch (n, c, h, w), each image shifted by up to `pixels`, half of them mirrored; unchanged for 0.

    Draws from torch's global stream. What a shift uncovers is filled by reflection at the edge.
    """
    if pixels == 0:
        return batch
    height, width = batch.shape[2:]
    padded = F.pad(batch, (pixels,) * 4, mode="reflect")
    offsets = torch.randint(2 * pixels + 1, (len(batch), 2)).tolist()
    shifted = [image[:, y : y + height, x : x + width] for image, (y, x) in zip(padded, offsets, strict=True)]
    mirrored = torch.rand(len(batch), 1, 1, 1) < 0.5
    return torch.where(mirrored, torch.stack(shifted).flip(3), torch.stack(shifted))


def batch_rows(n: int, recipe: TrainingRecipe) -> Iterator[Tensor]:
    """Yield the rows of each step's batch, epoch by epoch. Draws from torch's global stream."""
    order = torch.empty(0, dtype=torch.int64)
    for _ in range(recipe.steps):
        if len(order) < min(recipe.batch, n):
            order = torch.cat([order, torch.randperm(n)])
        rows, order = order[: recipe.batch], order[recipe.batch :]
        yield rows


def check_logits(logits: Tensor, classes: int) -> Tensor:
    """Return the logits unchanged.

    Raises:
        UserError: their shape is not (n, classes).
    """
    if logits.ndim != 2 or logits.shape[1] != classes:
        raise UserError(
            f"the classifier's output has shape {tuple(logits.shape)}, not (n, {classes})",
            rule=f"a classifier returns one logit for each of {classes} classes",
            hint="use the argument `classes` in the factory",
        )
    return logits
