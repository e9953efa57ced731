"""Margin: how close the two likeliest classes are."""

from __future__ import annotations

from typing import Any

from array_api_compat import array_namespace

from asal.strategies.scores import scores


@scores.register("margin")
def margin(probs: Any) -> Any:
    """Minus the gap between the two likeliest classes, −1 … 0 (Scheffer et al. 2001).

    >>> import numpy as np
    >>> margin(np.array([[0.5, 0.5, 0.0], [0.75, 0.0, 0.25]])).tolist()
    [0.0, -0.5]
    """
    xp = array_namespace(probs)
    ranked = xp.sort(probs, axis=-1)
    return ranked[..., -2] - ranked[..., -1]
