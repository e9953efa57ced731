"""A small convolutional network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
from annotated_types import Ge, Gt
from torch import nn

from asal.core import Images, Labels
from asal.models.learners import learners
from asal.models.learners.learning_loss import LossPredictingLearner
from asal.models.learners.neural import NeuralModel, TrainingRecipe, train, with_weights

Count = Annotated[int, Ge(1)]


@learners.register("cnn", provides=("gradient", "loss", "dropout"))
@dataclass(frozen=True)
class Cnn:
    """Two 3 × 3 convolutions with pooling and one hidden layer; trained from scratch in a fixed number of steps.

    All values are our choice: the paper's networks are in its supplement, which is not public.
    """

    width: Count = 32
    hidden: Count = 128
    dropout: Annotated[float, Ge(0)] = 0.25
    steps: Count = 400
    batch: Count = 64
    learning_rate: Annotated[float, Gt(0)] = 3e-3
    weight_decay: Annotated[float, Ge(0)] = 0.0
    augment: Annotated[int, Ge(0)] = 0  # pixels; see `asal.models.learners.neural.augment`

    def fit(self, images: Images, labels: Labels, classes: int, rng: np.random.Generator) -> NeuralModel:
        """Fit to uint8 images (n, h, w, c) and labels (n,) in 0 … classes − 1."""
        return train(partial(self.network, images.shape[1:], classes), self._recipe, images, labels, classes, rng)

    def restored(self, tensors: Mapping[str, npt.NDArray[Any]], shape: Sequence[int], classes: int) -> NeuralModel:
        """Return the model whose `tensors` these are."""
        return with_weights(partial(self.network, shape, classes), tensors, shape)

    def loss_predicting(self) -> LossPredictingLearner:
        """Return the learner that trains the same network together with a module that predicts its loss."""
        return LossPredictingLearner(self.network, self._recipe)

    @property
    def _recipe(self) -> TrainingRecipe:
        return TrainingRecipe(self.steps, self.batch, self.learning_rate, self.weight_decay, self.augment)

    def network(self, shape: Sequence[int], classes: int) -> nn.Sequential:
        """Return an untrained network for images (h, w, c), its weights drawn from torch's global stream."""
        height, width, channels = shape
        flat = 2 * self.width * (height // 4) * (width // 4)
        return nn.Sequential(
            *(nn.Conv2d(channels, self.width, 3, padding=1), nn.MaxPool2d(2), nn.ReLU()),
            *(nn.Conv2d(self.width, 2 * self.width, 3, padding=1), nn.MaxPool2d(2), nn.ReLU()),
            *(nn.Flatten(), nn.Linear(flat, self.hidden), nn.ReLU(), nn.Dropout(self.dropout)),
            nn.Linear(self.hidden, classes),
        )
