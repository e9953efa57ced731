"""TypiClust (Hacohen et al., ICML 2022): typical images of clusters that nothing is labelled in, for a first batch."""

from __future__ import annotations

from typing import Annotated

import numpy as np
import numpy.typing as npt
from annotated_types import Ge

from asal.core import Features, Ids, Round, Scores, Selection
from asal.strategies import strategies
from asal.strategies.class_balance import fewest_first
from asal.strategies.scoring import shortlist

LEAST = 5  # images in a cluster that is asked about; the authors leave smaller ones out


@strategies.register("typiclust", needs=("features",), provides=("first",), roles={"subset": "size"})
def typiclust(
    now: Round,
    n: int,
    rng: np.random.Generator,
    *,
    size: Annotated[int, Ge(1)] = 10_000,
    neighbours: Annotated[int, Ge(1)] = 20,
    clusters: Annotated[int, Ge(1)] = 500,
) -> Selection:
    """The most typical images of the largest clusters without a label; needs no classifier, and so fits a first batch.

    Typicality is 1 / the mean distance to the `neighbours` nearest images of the cluster (their eq. 1). Clusters, as
    many as there will be labels, are k-means' in the stored features of the labelled and of `size` random images (the
    authors take the whole pool; our choice, for its cost). Cost: constant in the pool's size.

    Args:
        clusters: at most so many; beyond, clusters are asked about more than once (the authors' 500).
    """
    ids = shortlist(now, n, size, rng)
    features = now.features(np.concatenate([now.real, ids]))
    with now.meter.part("match"):
        return typical_of(ids, features, n, rng, neighbours=neighbours, clusters=clusters)


def typical_of(
    ids: Ids, features: Features, n: int, rng: np.random.Generator, *, neighbours: int = 20, clusters: int = 500
) -> Selection:
    """Choose the n most typical of these images.

    Args:
        ids: (m,) to choose from.
        features: (l + m, d) of the l labelled images, and of these.
    """
    known = len(features) - len(ids)
    groups = k_means(features, min(known + n, clusters), rng)
    rows, typical = _typical(features[known:], groups[known:], groups[:known], n, neighbours)
    return Selection(ids[rows], typical)


def k_means(features: Features, count: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Return the cluster (m,) of each image; fewer clusters where fewer images differ."""
    from sklearn.cluster import KMeans

    count = min(count, len(np.unique(features, axis=0)))
    means = KMeans(count, n_init=1, random_state=int(rng.integers(2**31)))
    return np.asarray(means.fit_predict(features.astype(np.float64)), np.int64)


def _typical(
    features: Features,
    groups: npt.NDArray[np.int64],
    labelled: npt.NDArray[np.int64],
    n: int,
    neighbours: int,
) -> tuple[npt.NDArray[np.int64], Scores]:
    """Pick n rows, each the most typical open one of the cluster with fewest labels, of equal ones the largest."""
    count = int(max(groups.max(initial=0), labelled.max(initial=0))) + 1
    sizes, covered = np.bincount(groups, minlength=count), np.bincount(labelled, minlength=count)
    typical, queues = np.empty(len(features)), []
    for group in range(count):
        rows = np.flatnonzero(groups == group)
        typical[rows] = typicality(features[rows], neighbours)
        queues.append(rows[np.argsort(-typical[rows], kind="stable")])
    large = [rows if len(rows) >= LEAST else rows[:0] for rows in queues]
    small = [rows if len(rows) < LEAST else rows[:0] for rows in queues]  # only when the large ones are used up
    picks = fewest_first(large, covered, n, lambda group, row: -int(sizes[group]))
    more = fewest_first(small, covered, n - len(picks), lambda group, row: -int(sizes[group]))
    picks = np.concatenate([picks, more])
    return picks, typical[picks]


def typicality(features: Features, neighbours: int) -> Scores:
    """Return 1 / the mean distance to the nearest others (m,), in a cluster's features (m, d); its eq. 1.

    An image alone in its cluster, or one whose neighbours are all the same as it, gets the largest finite number.

    >>> typicality(np.array([[0.0], [1.0], [3.0]], np.float32), 1).tolist()
    [1.0, 1.0, 0.5]
    """
    from sklearn.neighbors import NearestNeighbors

    k = min(neighbours, len(features) - 1)
    if k < 1:
        return np.full(len(features), np.finfo(np.float64).max)
    apart, _ = NearestNeighbors(n_neighbors=k).fit(features.astype(np.float64)).kneighbors()
    return np.asarray(1 / np.maximum(apart.mean(axis=1), np.finfo(np.float64).tiny * 8))
