"""Answers for synthetic images, which have no stored label: a classifier in place of a person."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from annotated_types import Ge, Gt

from asal.core import Images, Labels, Model, Pool
from asal.models.checkpoints import load_weights, save_weights
from asal.models.learners.cnn import Cnn
from asal.models.learners.neural import NeuralModel
from asal.models.networks import move_to
from asal.runtime.devices import here
from asal.runtime.rng import stream
from asal.session.oracles import oracles

Count = Annotated[int, Ge(1)]


@oracles.register("teacher", provides=("images",))
@dataclass(frozen=True)
class Teacher:
    """A convolutional network trained on every label of the pool; unsure, it may give no answer.

    The paper's authors labelled GAAL's images themselves. A network of another kind than the classifier under test is
    nearest to that (our choice): a linear teacher of a linear classifier would give away the very plane it seeks.
    """

    steps: Count = 2_000
    width: Count = 32
    hidden: Count = 128
    dropout: Annotated[float, Ge(0)] = 0.25
    batch: Count = 64
    learning_rate: Annotated[float, Gt(0)] = 2e-3

    def train(self, pool: Pool, labels: Labels, classes: int, folder: Path, seed: int) -> None:
        """Train on the labelled images of the pool and write `weights.safetensors`. Memory: all of them, as bytes."""
        known = np.flatnonzero(labels >= 0)
        model = self._cnn.fit(pool.read(known), labels[known], classes, stream(seed, "teacher"))
        save_weights(folder / "weights.safetensors", net=model.net)

    def load(self, folder: Path, shape: Sequence[int], classes: int) -> TeacherModel:
        """Open what `train` wrote."""
        import torch

        with torch.random.fork_rng(devices=[]):  # the weights that it draws are thrown away
            net = self._cnn.network(shape, classes)
        load_weights(folder / "weights.safetensors", net=net)
        move_to(net, here())
        return TeacherModel(NeuralModel(net.eval().requires_grad_(False)))

    @property
    def _cnn(self) -> Cnn:
        return Cnn(self.width, self.hidden, self.dropout, self.steps, self.batch, self.learning_rate)


@dataclass(frozen=True)
class TeacherModel:
    """A trained teacher."""

    model: Model

    def answer(self, images: Images, min_confidence: float = 0.0) -> Labels:
        """Return the likeliest class of each image (n,), −1 where its probability is below `min_confidence`."""
        probs = self.model.predict(images)
        return np.where(probs.max(axis=1) >= min_confidence, probs.argmax(axis=1), -1).astype(np.int64)
