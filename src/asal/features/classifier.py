"""The present classifier's last hidden layer."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from asal.core import Features, Images, Model, Pool
from asal.errors import UserError
from asal.features import ExtractorInputs, features
from asal.runtime.devices import Device
from asal.runtime.progress import Progress


@features.register("classifier", needs=("model",))
@dataclass(frozen=True)
class Classifier:
    """The input of the present classifier's last layer (the paper's F_cls, section 3.2), computed again in every round.

    Neighbours have similar entropy here by construction. It costs a pass over the entire pool in every round, so it
    is a diagnostic: it shows what a perfect feature space would bring.
    """

    def train(self, pool: Pool, folder: Path, seed: int, device: Device, progress: Progress) -> None:
        """Do nothing: the classifier is trained in every round."""

    def load(self, folder: Path, shape: tuple[int, int, int], inputs: ExtractorInputs) -> Penultimate:
        """Return the extractor over the present classifier."""
        if inputs.model is None:
            raise UserError(
                "classifier features were opened without a classifier",
                rule="they exist in a round, once a classifier has been trained",
                hint="use them as the `features` of a strategy",
            )
        return Penultimate(inputs.model, inputs.model.embed(np.zeros((1, *shape), np.uint8)).shape[1])


@dataclass(frozen=True)
class Penultimate:
    """(n, h, w, c) → (n, d)."""

    model: Model
    dim: int

    def __call__(self, images: Images) -> Features:
        return self.model.embed(images)
