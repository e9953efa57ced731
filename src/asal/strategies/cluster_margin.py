"""Cluster-Margin (Citovsky et al., NeurIPS 2021): images with a small margin, taken in turns from many clusters."""

from __future__ import annotations

import math
from typing import Annotated

import numpy as np
import numpy.typing as npt
from annotated_types import Ge

from asal.core import Candidates, Features, Ids, Round, Selection
from asal.runtime.rng import stream
from asal.strategies import strategies
from asal.strategies.class_balance import fewest_first
from asal.strategies.scoring import best, shortlist

BLOCK = 4096  # images scored, or put into clusters, at a time
Groups = npt.NDArray[np.int64]


@strategies.register("cluster-margin", needs=("features",), roles={"subset": "size"})
def cluster_margin(
    now: Round,
    n: int,
    rng: np.random.Generator,
    *,
    size: Annotated[int, Ge(1)] = 10_000,
    times: Annotated[float, Ge(1)] = 1.25,
    sample: Annotated[int, Ge(2)] = 2000,
    clusters: Annotated[int, Ge(1)] = 200,
) -> Selection:
    """The `times` · n smallest margins of `size` random images, and of these, random ones of each cluster in turns.

    Clusters come from hierarchical agglomerative clustering with average linkage. They take turns in ascending order
    of how many of their images have such a margin: each gives one, at random, until it has none left: their random
    round-robin sampling, with sizes counted among the images that are looked at, which is our reading.

    From "Batch Active Learning at Scale" (arXiv 2107.14263), its Cluster-Margin, whose k_m is `times` · n. The authors
    cluster the whole pool once, in the penultimate layer of a first classifier, and cut the tree at a distance that
    they choose for a data set. Our choice, as the whole tree takes memory quadratic in the images: a fixed random
    `sample` of the pool is clustered in the stored features, into a number of clusters, and every other image belongs
    to the cluster of the sample's image nearest to it. They look at the margins of the whole pool, as a `size` that is
    larger than it does.

    Cost: constant in the pool's size. One network evaluation for each of `size` images, and the tree, again in every
    round as nothing is kept: memory 4 · `sample`² bytes, time quadratic in it.

    Args:
        times: margins that are looked at for each pick. Of 1.25, 2 and 10, the first has the highest mean area where we
            chose (CIFAR-10's features of a frozen network, four regimes, two seeds).
        sample: images that are clustered, the same in every round while the pool does not grow.
        clusters: of the sample, at most.
    """
    ids = shortlist(now, n, size, rng)
    blocks = (ids[at : at + BLOCK] for at in range(0, len(ids), BLOCK))
    uncertain = best(now, blocks, min(math.ceil(times * n), len(ids)), "margin")
    order = np.argsort(uncertain.ids)
    ids, scores = uncertain.ids[order], uncertain.scores[order]
    groups = clusters_of(now, ids, sample, clusters)
    with now.meter.part("match"):
        rows = in_turns(groups, n, rng)
    return Selection(ids[rows], scores[rows])


def clusters_of(now: Round, ids: Ids, sample: int, clusters: int) -> Groups:
    """Return the cluster (m,) of each of these images: that of the nearest image of the clustered sample."""
    known = np.sort(Candidates(len(now.pool)).sample(min(sample, len(now.pool)), stream(0, "cluster-margin")))
    centres = now.features(known)
    with now.meter.part("match"):
        groups = average_linkage(centres, clusters)
    found = []
    for at in range(0, len(ids), BLOCK):
        features = now.features(ids[at : at + BLOCK])
        with now.meter.part("match"):
            found.append(groups[nearest(features, centres)])
    return np.concatenate(found)


def average_linkage(features: Features, clusters: int) -> Groups:
    """Return the cluster (m,) of each image: the two clusters with the least mean distance are joined, again and again.

    >>> average_linkage(np.array([[0.0], [1.0], [9.0], [5.0]], np.float32), 2).tolist()
    [1, 1, 2, 2]
    """
    from scipy.cluster.hierarchy import fcluster, linkage

    if len(features) < 2:
        return np.ones(len(features), np.int64)
    tree = linkage(features.astype(np.float64), "average")
    return np.asarray(fcluster(tree, clusters, "maxclust"), np.int64)


def nearest(features: Features, centres: Features) -> Ids:
    """Return the row (m,) of the centre (c, d) nearest to each image (m, d); the first of equal ones."""
    shift = centres.mean(axis=0)  # off first: squares of features with a large offset cancel
    x, c = (features - shift).astype(np.float64), (centres - shift).astype(np.float64)
    return np.asarray(((c**2).sum(axis=1) - 2 * x @ c.T).argmin(axis=1), np.int64)


def in_turns(groups: Groups, n: int, rng: np.random.Generator) -> Ids:
    """Return n rows of `groups` (m,), each group's in random order, the groups in turns from the smallest on.

    >>> rows = in_turns(np.array([4, 4, 4, 4, 7, 7]), 5, np.random.default_rng(0))
    >>> np.array([4, 4, 4, 4, 7, 7])[rows].tolist()
    [7, 4, 7, 4, 4]
    """
    rows = [rng.permutation(np.flatnonzero(groups == group)) for group in np.unique(groups)]
    return fewest_first(rows, np.zeros(len(rows), np.int64), n, lambda group, row: len(rows[group]))
