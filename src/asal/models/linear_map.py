"""A classifier that is linear in what it reads, as two arrays: fast logits with proven bounds, and exact ones.

A pool of millions is scored by one float32 matrix product per block of images. Rounding is bounded for any order of
summation (Higham 2002, §3.1), so that what may be among the best is known for certain, and only that is computed again
in float64: image by image in the same order of summation, whatever is beside it, so that equal images are equal.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from asal.core import Inputs, Model, Probs

ROUNDING = 2.0**-24  # float32's unit roundoff
UNDERFLOW = 2.0**-120  # more than what is lost where a float32 product is too small for a normal number
SQUARABLE = 2.0**-60  # the square of a larger number is a normal one
FEW = 16  # classes up to which the product is laid out by image and then transposed
EXACT_BLOCK = 1 << 20  # float64 inputs that are laid out together (8 MB)

Floats: TypeAlias = npt.NDArray[np.float64]
Block: TypeAlias = npt.NDArray[np.float32]


@dataclass(frozen=True)
class LinearMap:
    """logits = weights · inputs + biases, for inputs (n, …) as a classifier reads them, of d numbers each.

    Args:
        weights: (k, d).
        biases: (k,).
    """

    weights: Floats
    biases: Floats

    @property
    def classes(self) -> int:
        """k."""
        return len(self.biases)

    @property
    def dim(self) -> int:
        """d."""
        return int(self.weights.shape[1])

    def logits(self, inputs: Inputs) -> tuple[Block, float]:
        """Return float32 logits (k, n), and a bound on the error of all of them: loose, for it takes one pass.

        The bound also covers that a softmax subtracts the largest logit first. Not finite: nothing is known.
        """
        x = _flat(inputs).astype(np.float32, copy=False)
        if self.classes <= FEW:  # whichever product is faster
            z = np.empty((self.classes, len(x)), np.float32)  # what follows runs along the images
            np.add(np.matmul(x, self._columns).T, self._single_biases, out=z)
        else:
            z = np.matmul(self._columns.T, x.T)
            z += self._single_biases
        numbers, lost = x.ravel(), x.size * ROUNDING  # the sum of squares may be too small by this share
        longest = np.sqrt(np.dot(numbers, numbers)) / (1 - lost) if lost < 1 else np.inf  # ‖x‖ of all together
        return z, float(longest * self._per_length + self._at_least)

    def bounds(self, inputs: Inputs) -> Block:
        """Return for each image a tighter bound (n,) on the error of any of its logits."""
        x = _flat(inputs).astype(np.float32, copy=False)
        lengths = np.sqrt(np.einsum("nd,nd->n", x, x))
        return np.asarray(lengths * self._per_length + self._at_least, np.float32)

    def predict(self, inputs: Inputs) -> Probs:
        """Return the softmax of the logits, in float64; the same of an image whatever is beside it."""
        x, rows = _flat(inputs), max(1, EXACT_BLOCK // self.dim)
        blocks = [self._predicted(x[at : at + rows]) for at in range(0, len(x), rows)]
        return np.concatenate([np.empty((0, self.classes)), *blocks])

    def _predicted(self, x: npt.NDArray[Any]) -> Probs:
        # Not `@`: a matrix product adds up the rows at its end in another order.
        z = np.einsum("nd,kd->nk", x.astype(np.float64), self.weights) + self.biases
        powers = np.exp(z - z.max(axis=1, keepdims=True))
        return np.asarray(powers / np.einsum("nk->n", powers)[:, None])

    @cached_property
    def _columns(self) -> Block:
        return np.ascontiguousarray(self.weights.T, np.float32)  # (d, k)

    @cached_property
    def _single_biases(self) -> Block:
        return self.biases.astype(np.float32)[:, None]

    @cached_property
    def _per_length(self) -> float:
        """The bound for each unit of ‖x‖, as |w·x| ≤ ‖w‖‖x‖.

        The largest ‖w‖ times d + 4 roundings: of d products and their sums in any order, of the weights, the bias, and
        the softmax's subtraction; 8 more are for the length of x and the bound itself.
        """
        roundings = (self.dim + 12) * ROUNDING
        longest = float(np.linalg.norm(self.weights, axis=1).max())
        return roundings / (1 - 2 * roundings) * longest + self.dim * UNDERFLOW

    @cached_property
    def _at_least(self) -> float:
        underflow = self.dim * (UNDERFLOW + SQUARABLE * self._per_length)  # of products, and of the squares of a length
        return 16 * ROUNDING * float(np.abs(self.biases).max()) + underflow


def linear_map_of(model: Model) -> LinearMap | None:
    """Return a classifier's linear map; None where it is not linear in what it reads, or does not say so."""
    declared = getattr(model, "linear_map", None)  # a plug-in's model may be from before there was one
    found: LinearMap | None = declared() if declared is not None else None
    return found


def _flat(inputs: Inputs) -> npt.NDArray[Any]:
    return inputs.reshape(len(inputs), -1) if len(inputs) else inputs.reshape(0, int(np.prod(inputs.shape[1:])))
