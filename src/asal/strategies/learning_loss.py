"""Learning loss (Yoo & Kweon 2019): ask where the classifier expects to be wrong."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from annotated_types import Ge

from asal.core import Round, Selection
from asal.strategies import strategies
from asal.strategies.uncertainty import subset


@strategies.register("learning-loss", needs=("loss",), roles={"subset": "size"})
def learning_loss(now: Round, n: int, rng: np.random.Generator, *, size: Annotated[int, Ge(1)] = 10_000) -> Selection:
    """The highest predicted losses among `size` random images. Cost: constant in the pool's size.

    The classifier is trained together with a module that predicts its loss (`asal.models.learners.learning_loss`). The
    random part is the authors' own: 10,000 images on CIFAR-10, "for diverse sampling" (their section 4.1).
    """
    return subset(now, n, rng, score="learned-loss", size=size)
