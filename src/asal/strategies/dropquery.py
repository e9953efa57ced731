"""DropQuery (Gupte et al., TMLR 2024): images whose class changes under dropout, one for each of n clusters."""

from __future__ import annotations

from typing import Annotated

import numpy as np
import numpy.typing as npt
from annotated_types import Ge, Gt, Lt

from asal.core import Features, Round, Selection
from asal.strategies import strategies
from asal.strategies.scoring import shortlist

WANTED = 25  # candidates to a pick, for which the authors lower their threshold
Rows = npt.NDArray[np.int64]


@strategies.register("dropquery", needs=("dropout",), roles={"subset": "size"})
def dropquery(
    now: Round,
    n: int,
    rng: np.random.Generator,
    *,
    size: Annotated[int, Ge(1)] = 10_000,
    times: Annotated[int, Ge(1)] = 3,
    rate: Annotated[float, Gt(0), Lt(1)] = 0.75,
) -> Selection:
    """Images, of `size` random ones, whose predicted class changes under dropout: the most central of n clusters.

    Candidates are the images whose class differs in more than half of `times` predictions with dropout from that
    without. Where they are fewer than 25 n, the threshold is lowered, to one difference at the least; where they are
    fewer than n, all of them are asked about, and random others. Clusters are k-means' of what the classifier's last
    layer reads, centred and of unit length; of each the image nearest to its mean is picked.

    From "Revisiting Active Learning in the Era of Vision Foundation Models" (arXiv 2401.14555), its DropQuery, and the
    authors' code (github.com/sanketx/AL-foundation-models, query_strategies/dropout.py), which has the lowered
    threshold, the random others, three passes and the rate of 0.75. They look at the whole pool, as a `size` that is
    larger than it does; the random part is our choice, for its cost. Where they normalise each dimension of a batch,
    features are centred here. Their head is trained with dropout, and ours is not: it changes the class of more images.
    Scores are the share of predictions that differ.

    Cost: constant in the pool's size. `times` + 1 evaluations of each image, another of each candidate, and k-means.

    Args:
        times: predictions with dropout.
        rate: the share of the last layer's inputs that is dropped each time; a head without a hidden layer reads the
            features themselves.
    """
    ids = shortlist(now, n, size, rng)
    plain = now.predict(ids).argmax(axis=1)
    differing = (now.predict_with_dropout(ids, times, rate, rng).argmax(axis=2) != plain).sum(axis=0)
    rows = candidates(differing, times, n)
    if len(rows) > n:
        features = now.embed(ids[rows])
        with now.meter.part("match"):
            rows = rows[central(features, n, int(rng.integers(2**31)))]
    others = rng.permutation(np.setdiff1d(np.arange(len(ids)), rows))[: n - len(rows)]
    rows = np.concatenate([rows, np.sort(others)])
    rows = rows[np.lexsort((rows, -differing[rows]))]
    return Selection(ids[rows], differing[rows] / times)


def candidates(differing: npt.NDArray[np.int64], times: int, n: int) -> Rows:
    """Return the rows of images whose class differed in more than half of `times` predictions, or in fewer.

    >>> candidates(np.array([0, 3, 1, 2]), 3, 1).tolist()
    [1, 2, 3]
    """
    threshold = times // 2
    while threshold > 0 and (differing > threshold).sum() < WANTED * n:
        threshold -= 1
    return np.flatnonzero(differing > threshold)


def central(features: Features, n: int, seed: int) -> Rows:
    """Return n rows (of m > n), the nearest to the mean of each of n clusters.

    If fewer clusters than n are found, as where images are alike, the next nearest of all follow.

    Args:
        features: (m, d), of which the mean is taken off and the length set to 1.
    """
    from sklearn.cluster import KMeans

    points = centred_unit(features)
    means = KMeans(min(n, len(np.unique(points, axis=0))), n_init=1, random_state=seed)
    distances = means.fit_transform(points)  # (m, clusters)
    gaps = distances[np.arange(len(points)), means.labels_]
    order = np.argsort(gaps, kind="stable")
    first = order[np.sort(np.unique(means.labels_[order], return_index=True)[1])]  # of each cluster
    return np.concatenate([first, order[~np.isin(order, first)]])[:n]


def centred_unit(features: Features) -> npt.NDArray[np.float64]:
    """Return features (m, d) less their mean, divided by their length; those at the mean stay there.

    >>> centred_unit(np.array([[3.0, 1.0], [1.0, 1.0]], np.float32)).tolist()
    [[1.0, 0.0], [-1.0, 0.0]]
    """
    points = features - features.mean(axis=0, dtype=np.float64)
    lengths = np.linalg.norm(points, axis=1, keepdims=True)
    smallest = np.finfo(np.float32).eps * float(np.abs(features).max(initial=0.0))  # less is a rounding error
    return np.asarray(np.where(lengths > smallest, points / np.maximum(lengths, smallest or 1.0), 0.0))
