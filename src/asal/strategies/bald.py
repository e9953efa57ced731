"""BALD (Houlsby et al. 2011) by dropout (Gal, Islam & Ghahramani, ICML 2017): where confident predictions disagree."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from annotated_types import Ge, Gt, Lt

from asal.core import NO_IDS, Probs, Round, Scores, Selection
from asal.strategies import strategies
from asal.strategies.scores.entropy import entropy
from asal.strategies.scoring import highest, shortlist

BLOCK = 4096  # images predicted at a time


@strategies.register("bald", needs=("dropout",), roles={"subset": "size"})
def bald(
    now: Round,
    n: int,
    rng: np.random.Generator,
    *,
    size: Annotated[int, Ge(1)] = 1000,
    times: Annotated[int, Ge(2)] = 20,
    rate: Annotated[float, Gt(0), Lt(1)] = 0.5,
) -> Selection:
    """The highest mutual information, of `size` random images, between the class and what is dropped of the network.

    Bayesian active learning by disagreement: H(mean over t of p_t) − mean over t of H(p_t), p_t being `times`
    predictions with dropout ("Deep Bayesian Active Learning with Image Data", arXiv 1703.02910, its BALD). It is high
    where each prediction is certain and they differ.

    The authors train with dropout in several layers, and drop in all of them; here the last layer's inputs are dropped
    (`asal.core.DropoutModel`), at a rate that need not be that of a training. On a head, which is trained without
    dropout, that is a reading of ours, and the score follows the length of the features: long ones change most (on
    CIFAR-10's features of a frozen network it correlates with the length by 0.75). They look at the whole pool, as a
    `size` that is larger than it does.

    Cost: constant in the pool's size. `times` evaluations of each image; a network runs once up to its last layer.

    Args:
        times: predictions with dropout.
        rate: the share of the last layer's inputs that is dropped each time; the default of the learner `cnn` is 0.25.
    """
    ids = shortlist(now, n, size, rng)
    kept, values = NO_IDS, np.empty(0)
    for at in range(0, len(ids), BLOCK):
        block = ids[at : at + BLOCK]
        probs = now.predict_with_dropout(block, times, rate, rng)
        with now.meter.part("score"):
            own = mutual_information(probs)
        kept, values = highest(np.concatenate([kept, block]), np.concatenate([values, own]), n)
    return Selection(kept, values)


def mutual_information(probs: Probs) -> Scores:
    """Return H(mean p_t) − mean H(p_t) in nats (n,) of predictions (t, n, k), 0 … log k.

    >>> mutual_information(np.array([[[1.0, 0.0], [0.5, 0.5]], [[0.0, 1.0], [0.5, 0.5]]])).round(4).tolist()
    [0.6931, 0.0]
    """
    return np.asarray(np.maximum(entropy(probs.mean(axis=0)) - entropy(probs).mean(axis=0), 0.0))
