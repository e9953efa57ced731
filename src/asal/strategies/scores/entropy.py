"""Entropy: the paper's score."""

from __future__ import annotations

from typing import Any

from array_api_compat import array_namespace

from asal.strategies.scores import scores


@scores.register("entropy")
def entropy(probs: Any) -> Any:
    """Shannon entropy in nats, 0 … log k: −Σ p log p (Mayer & Timofte 2020, eq. 1).

    >>> import numpy as np
    >>> entropy(np.array([[0.5, 0.5], [1.0, 0.0]])).round(4).tolist()
    [0.6931, 0.0]
    """
    xp = array_namespace(probs)
    # p log p → 0 as p → 0; the clip keeps the logarithm, and its gradient, finite.
    return -xp.sum(probs * xp.log(xp.clip(probs, min=1e-30)), axis=-1) + 0.0
