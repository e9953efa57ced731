"""Entropy: the paper's score."""

from __future__ import annotations

from math import log
from typing import Any

from array_api_compat import array_namespace

from asal.strategies.scores import lipschitz, scores


@scores.register("entropy")
@lipschitz(lambda classes: 2 * log(classes))  # Σ |∂H/∂l| = E |log p + H|, with E (−log p) = H ≤ log k
def entropy(probs: Any) -> Any:
    """Shannon entropy in nats, 0 … log k: −Σ p log p (Mayer & Timofte 2020, eq. 1).

    >>> import numpy as np
    >>> entropy(np.array([[0.5, 0.5], [1.0, 0.0]])).round(4).tolist()
    [0.6931, 0.0]
    """
    xp = array_namespace(probs)
    # p log p → 0 as p → 0; the maximum keeps the logarithm, and its gradient, finite. (`clip` is slow.)
    least = xp.asarray(1e-30, dtype=probs.dtype)
    return -xp.sum(probs * xp.log(xp.maximum(probs, least)), axis=-1) + 0.0
