"""Rounds over numbers in place of images, for tests of what strategies pick."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np

from asal.core import Features, Ids, Inputs, Labels, Probs, Round, Selection
from asal.runtime.rng import stream
from asal.strategies import strategies


@dataclass
class Numbers:
    """A pool of numbers: image i is the number i, and the classifier looks up its probabilities."""

    probs: Probs
    features: Features
    fingerprint: str = "numbers"
    shape: tuple[int, int, int] = (1, 1, 1)
    reads: Any = "features"

    def __len__(self) -> int:
        return len(self.probs)

    def read(self, ids: Ids) -> Inputs:
        return ids

    def predict(self, inputs: Inputs) -> Probs:
        return self.probs[inputs]

    def embed(self, inputs: Inputs) -> Features:
        return self.features[inputs]

    def round(self, labelled: Ids, labels: Labels) -> Round:
        tools: Any = SimpleNamespace(vectors=SimpleNamespace(read=lambda ids: self.features[ids]))
        model: Any = self
        return Round(1, self, labelled, labels, model, tools)


def softmax(logits: Any) -> Probs:
    """Return the probabilities of logits (n, k)."""
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def picked(name: str, now: Round, n: int, seed: int = 0, **options: Any) -> Selection:
    """Return the picks of a strategy with options, on one stream."""
    chosen: Selection = strategies[name].bind(options)(now, n, stream(seed, "picks"))
    return chosen
