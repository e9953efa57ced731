"""Hyperplanes between classes: what strategies for linear classifiers share."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from asal.core import Features, LinearModel, Scores


@dataclass(frozen=True)
class Hyperplanes:
    """Hyperplanes w·x + b = 0: one between two classes, one for each class against the rest of more."""

    weights: npt.NDArray[np.float64]  # (p, d)
    biases: npt.NDArray[np.float64]  # (p,)

    @classmethod
    def of(cls, model: LinearModel) -> Hyperplanes:
        """Return those of a linear classifier: where a class's logit equals the mean of the others."""
        weights, biases = (part.astype(np.float64) for part in model.head())
        k = len(biases)
        against = np.eye(k) - (1 - np.eye(k)) / (k - 1)  # (k, k) each class less the mean of the others
        against = against[1:] if k == 2 else against  # the two say the same
        return cls(against @ weights, against @ biases)

    @property
    def exist(self) -> bool:
        """Whether any of them has a normal. None has where one picture has labels of every class: w is 0."""
        return bool(np.linalg.norm(self.weights, axis=1).any())

    def distances(self, features: Features) -> Scores:
        """Return the distance (n,) of features (n, d) to the nearest plane; one without a normal is infinitely far."""
        lengths = np.linalg.norm(self.weights, axis=1)  # (p,)
        reach = np.abs(features @ self.weights.T + self.biases)  # (n, p)
        with np.errstate(divide="ignore", invalid="ignore"):
            apart = np.where(lengths > 0, reach / lengths, np.inf)
        return np.asarray(apart.min(axis=1), np.float64)
