"""A classifier on stored features: softmax regression, or a network with one hidden layer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
import torch
from annotated_types import Ge, Gt, Le
from torch import Tensor, nn

from asal.core import DifferentiableExtractor, Features, Labels, Probs
from asal.errors import UserError
from asal.models.learners import learners
from asal.models.learners.dropout import Dropout
from asal.models.learners.neural import TrainingRecipe, fit_network
from asal.models.learners.softmax import chosen_l2, softmax_regression
from asal.models.linear_map import LinearMap
from asal.runtime.devices import here
from asal.runtime.threads import limited_threads, one_blas_thread

BLOCK = 8192  # vectors per forward pass
BATCH = 64  # vectors per step of Adam
ROUNDING = 1e-6  # of float32


@learners.register("head", needs=("features",), provides=("gradient", "linear", "dropout"), roles={"hidden": "hidden"})
@dataclass(frozen=True)
class Head:
    """Softmax regression on stored features, fitted in well under a second; or a network with one hidden layer.

    `features = "X"` under [learner] names the space; by default it is the spec's first. The vectors are centred and
    divided by one number, the root mean square of their lengths. Dividing each dimension by its own deviation would
    make the last principal components, which are noise, as large as the first (measured: docs/results/head.md).

    Args:
        l2: the objective of the regression is the mean cross entropy + l2/2 (‖W‖² + ‖b‖²); "auto" takes what predicts
            held-out labels best, in a cross-validation on the labels at hand.
        hidden: units of a hidden layer; 0 is softmax regression, which strategies for linear classifiers need.
        steps: of Adam, for a network; it also has a learning rate and a weight decay.
    """

    l2: Annotated[float, Ge(0), Le(1e6)] | Literal["auto"] = "auto"
    hidden: Annotated[int, Ge(0)] = 0
    steps: Annotated[int, Ge(1)] = 300
    learning_rate: Annotated[float, Gt(0)] = 1e-3
    weight_decay: Annotated[float, Ge(0)] = 1e-2

    def fit(self, inputs: Features, labels: Labels, classes: int, rng: np.random.Generator) -> HeadModel:
        """Fit to features (n, d) and labels (n,) in 0 … classes − 1; with one thread, which is the same on any machine.

        More threads would wait for each other: the matrices are small.
        """
        mean = inputs.mean(axis=0, dtype=np.float64).astype(np.float32)
        x = inputs - mean
        scale = _length(x)
        if scale <= ROUNDING * np.linalg.norm(mean):  # the same vector again and again
            scale = 1.0
        x /= np.float32(scale)
        if self.hidden:
            spread = x.shape[1] ** 0.5  # torch's initial weights and Adam's steps are for deviations of 1
            with limited_threads(1):
                return HeadModel(_on_raw(self._network(x * spread, labels, classes, rng), mean, scale / spread))
        with one_blas_thread():
            l2 = chosen_l2(x, labels, classes, rng) if self.l2 == "auto" else self.l2
            weights, biases = softmax_regression(x, labels, classes, l2)
        return HeadModel(_on_raw(nn.Sequential(_layer(weights, biases)), mean, scale))

    def _network(self, x: Features, labels: Labels, classes: int, rng: np.random.Generator) -> nn.Sequential:
        batch, width = torch.from_numpy(x), x.shape[1]
        recipe = TrainingRecipe(self.steps, BATCH, self.learning_rate, self.weight_decay)

        def make() -> nn.Sequential:
            return nn.Sequential(nn.Linear(width, self.hidden), nn.ReLU(), nn.Linear(self.hidden, classes))

        return fit_network(make, recipe, lambda rows: batch[rows], labels, classes, rng)

    def through(self, extractor: Callable[[], DifferentiableExtractor]) -> HeadThroughExtractor:
        """Return what trains the same models, and gives them the logits of images."""
        return HeadThroughExtractor(self, extractor)

    def restored(self, tensors: Mapping[str, npt.NDArray[Any]], shape: Sequence[int], classes: int) -> HeadModel:
        """Return the model whose `tensors` these are."""
        layers: list[nn.Module] = []
        for name in sorted({key.partition(".")[0] for key in tensors}, key=int):
            layers += [nn.ReLU()] if layers else []
            layers.append(_layer(tensors[f"{name}.weight"], tensors[f"{name}.bias"]))
        return HeadModel(nn.Sequential(*layers).to(here()).eval().requires_grad_(False))


@dataclass(frozen=True)
class HeadThroughExtractor:
    """A head whose models' logits are those of images: for strategies that follow a gradient through a generator."""

    head: Head
    extractor: Callable[[], DifferentiableExtractor]  # opens it, at its first use

    def fit(self, inputs: Features, labels: Labels, classes: int, rng: np.random.Generator) -> HeadModel:
        """Fit as the head does."""
        return self.head.fit(inputs, labels, classes, rng).through(self.extractor)

    def restored(self, tensors: Mapping[str, npt.NDArray[Any]], shape: Sequence[int], classes: int) -> HeadModel:
        """Return the model whose `tensors` these are."""
        return self.head.restored(tensors, shape, classes).through(self.extractor)


@dataclass(frozen=True)
class HeadModel:
    """A trained head: layers from features (n, d), as they are stored, to logits (n, k)."""

    net: nn.Sequential
    extractor: Callable[[], DifferentiableExtractor] | None = None

    reads: ClassVar[Literal["features"]] = "features"

    def through(self, extractor: Callable[[], DifferentiableExtractor]) -> HeadModel:
        """Return the same classifier, with the logits of images; `extractor` opens what extracts the features."""
        return replace(self, extractor=extractor)

    @torch.inference_mode()
    def predict(self, inputs: Features) -> Probs:
        """Return the softmax of the logits. Cost: a matrix product.

        Raises:
            UserError: these are no features of the space that it was trained on.
        """
        self._check(inputs)
        blocks = [self.net(block).cpu().T.contiguous() for block in _blocks(inputs)]
        return np.concatenate([block.double().softmax(0).numpy() for block in blocks], axis=1).T

    @torch.inference_mode()
    def embed(self, inputs: Features) -> Features:
        """Return the input of the last layer: the features themselves where there is no hidden layer."""
        self._check(inputs)
        if len(self.net) == 1:
            return np.asarray(inputs, np.float32)
        return torch.cat([self.net[:-1](block) for block in _blocks(inputs)]).cpu().numpy()

    @torch.inference_mode()
    def predict_with_dropout(self, inputs: Features, times: int, rate: float, rng: np.random.Generator) -> Probs:
        """Return probabilities (times, n, k) with a share `rate` of the last layer's inputs dropped at random.

        Without a hidden layer these are the features. Cost: the layers before once, and `times` matrix products.
        """
        dropout = Dropout(self.net, times, rate, rng)
        return dropout.predict(_blocks(inputs, min(BLOCK, dropout.block)))

    def head(self) -> tuple[Features, Features]:
        """Return the last layer's weights (k, d) and biases (k,)."""
        last: Any = self.net[-1]
        return last.weight.cpu().numpy(), last.bias.cpu().numpy()

    def linear_map(self) -> LinearMap | None:
        """Return the map from stored features to logits; None where there is a hidden layer."""
        if len(self.net) > 1:
            return None
        weights, biases = self.head()
        return LinearMap(weights.astype(np.float64), biases.astype(np.float64))

    def logits(self, batch: Tensor) -> Tensor:
        """Map float images (n, c, h, w) in [−1, 1] to (n, k), differentiably, through the extractor.

        Raises:
            UserError: the learner was not given one. Validation refuses a strategy that needs what is not there.
        """
        if self.extractor is None:
            raise UserError(
                "this classifier reads stored features, and was trained without their extractor",
                rule="the logits of an image go through the extractor of its features",
                hint="train it with `learner.through(lambda: extractor)`",
            )
        logits: Tensor = self.net(self.extractor().differentiable(batch))
        return logits

    def _check(self, inputs: Features) -> None:
        first: Any = self.net[0]
        if inputs.ndim != 2 or inputs.shape[1] != first.in_features:
            raise UserError(
                f"this classifier reads stored features (n, {first.in_features}), not {inputs.dtype} {inputs.shape}",
                rule="a head classifies features, which a network extracts from images",
                hint="let the project do both, `project.predict(images)`; or read the features of images of the pool, "
                "`session.inputs(ids)`",
            )

    def tensors(self) -> dict[str, npt.NDArray[Any]]:
        """Return the weights, as `Head.restored` takes them."""
        return {name: tensor.cpu().numpy() for name, tensor in self.net.state_dict().items()}


def _length(x: Features) -> float:
    """Return the root mean square of the lengths of rows (n, d)."""
    return float(np.sqrt(np.einsum("nd,nd->", x, x, dtype=np.float64) / len(x)))


def _layer(weight: Features, bias: Features) -> nn.Linear:
    layer: nn.Linear = nn.utils.skip_init(
        nn.Linear, weight.shape[1], weight.shape[0]
    )  # torch draws from its global stream
    layer.weight.data, layer.bias.data = (torch.tensor(np.ascontiguousarray(part)) for part in (weight, bias))
    return layer


def _on_raw(net: nn.Sequential, mean: Features, scale: float) -> nn.Sequential:
    """Let a network that was fitted to centred and scaled features take them as they are stored."""
    first: Any = net[0]
    first.weight.data /= scale
    first.bias.data -= first.weight.data @ torch.from_numpy(mean).to(first.weight.device)
    return net.to(here()).eval().requires_grad_(False)


def _blocks(inputs: Features, size: int = BLOCK) -> list[Tensor]:
    """Split features for forward passes; there is at least one block, which may be empty."""
    parts = (inputs[at : at + size] for at in range(0, max(len(inputs), 1), size))
    return [torch.from_numpy(np.require(part, np.float32, ["C", "W"])).to(here()) for part in parts]
