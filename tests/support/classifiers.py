"""Classifiers of one's own, as the tests name them by dotted path: right ones, and wrong in one way each."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from torch import Tensor, nn

Shape = tuple[int, int, int]


def small_net(shape: Shape, classes: int, hidden: int = 16) -> nn.Module:
    """A right one."""
    return nn.Sequential(
        nn.Flatten(), nn.Linear(math.prod(shape), hidden), nn.BatchNorm1d(hidden), nn.ReLU(), nn.Linear(hidden, classes)
    )


def imagenet_sized(shape: Shape, classes: int) -> nn.Module:
    """Has outputs that nobody asked for."""
    return small_net(shape, 1000)


def one_class_short(shape: Shape, classes: int) -> nn.Module:
    """Has one output too few."""
    return small_net(shape, classes - 1)


def with_a_spatial_output(shape: Shape, classes: int) -> nn.Module:
    """Forgets to flatten."""
    return nn.Conv2d(shape[2], classes, 3)


class Nested(nn.Module):
    """A right one whose output is computed in two heads; the last linear layer is the second."""

    def __init__(self, shape: Shape, classes: int) -> None:
        super().__init__()
        self.body = nn.Linear(math.prod(shape), 8)
        self.head = nn.Linear(8, classes)

    def forward(self, batch: Tensor) -> Any:
        return self.head(self.body(batch.flatten(1)).relu())


class Averages(nn.Module):
    """Averages the outputs of its last linear layer over the batch: rows are not treated alone."""

    def __init__(self, shape: Shape, classes: int) -> None:
        super().__init__()
        self.head = nn.Linear(math.prod(shape), classes)

    def forward(self, batch: Tensor) -> Any:
        logits = self.head(batch.flatten(1))
        return logits[: len(batch)] + logits.mean(dim=0)


class NearestMean:
    """A classifier in the style of scikit-learn, without its base classes."""

    def __init__(self, power: float = 4.0) -> None:
        self.power = power

    def fit(self, rows: Any, labels: Any) -> None:
        self.classes_ = np.unique(labels)
        self.means = np.stack([rows[labels == k].mean(axis=0) for k in self.classes_])

    def predict_proba(self, rows: Any) -> Any:
        closeness = np.exp(-self.power * np.linalg.norm(rows[:, None] - self.means, axis=2))
        return closeness / closeness.sum(axis=1, keepdims=True)
