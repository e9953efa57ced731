"""Learned loss: how wrong the classifier expects to be."""

from __future__ import annotations

from typing import Any

from asal.strategies.scores import scores


@scores.register("learned-loss", needs=("loss",))
def learned_loss(losses: Any) -> Any:
    """The loss that the classifier predicts for an image (Yoo & Kweon 2019): of losses (n,), and not of probabilities.

    >>> learned_loss([0.5, 2.0])
    [0.5, 2.0]
    """
    return losses
