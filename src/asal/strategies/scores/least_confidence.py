"""Least confidence: how unlikely even the likeliest class is."""

from __future__ import annotations

from typing import Any

from array_api_compat import array_namespace

from asal.strategies.scores import lipschitz, scores


@scores.register("least-confidence")
@lipschitz(lambda classes: 0.5)  # Σ |∂p/∂l| = 2 p (1 − p)
def least_confidence(probs: Any) -> Any:
    """One minus the likeliest class's probability, 0 … 1 − 1/k (Lewis & Gale 1994).

    >>> import numpy as np
    >>> least_confidence(np.array([[0.75, 0.25], [1.0, 0.0]])).tolist()
    [0.25, 0.0]
    """
    xp = array_namespace(probs)
    return 1.0 - xp.max(probs, axis=-1)
