"""AnchorAL (Lesci & Vlachos, NAACL 2024): a score among the images nearest to anchors of every class."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from annotated_types import Ge

from asal.core import Features, Ids, Labels, Neighbours, Round, Scores, Selection, not_enough
from asal.strategies import strategies
from asal.strategies.scoring import best

BLOCK = 4096  # images scored at a time


@strategies.register("anchoral", needs=("features", "index"), roles={"score": "score"})
def anchoral(
    now: Round,
    n: int,
    rng: np.random.Generator,
    *,
    score: str = "margin",
    size: Annotated[int, Ge(1)] = 1000,
    anchors: Annotated[int, Ge(1)] = 10,
    neighbours: Annotated[int, Ge(1)] = 50,
) -> Selection:
    """The highest-scoring of the `size` images that are most like the anchors, some labelled images of each class.

    Anchors are up to `anchors` labelled images of each class, drawn by k-means++ (Arthur & Vassilvitskii 2007), new
    ones in every round. Of each the nearest `neighbours` open images are looked up; the `size` images with the lowest
    mean squared distance to the anchors that found them make the subpool. Where all vectors have length 1, this is
    the authors' order by the mean cosine.

    From arXiv 2404.05623 and the authors' code (github.com/pietrolesci/anchoral, src/anchoral.py): 10 anchors, 50
    neighbours, k-means++ as scikit-learn has it, means over the anchors that found an image. Our choice: the distance
    is that of the stored features, `size` is that of `subset`, and where neighbourhoods hold fewer images than a
    batch they are widened, fourfold at a time.

    Cost: constant in the pool's size. One look-up for each anchor, and at most `size` network evaluations.

    Args:
        size: images that are scored.
        anchors: labelled images of a class; all where a class has no more.
        neighbours: open images that each anchor finds.
    """
    if len(now.candidates) < n:
        raise not_enough(n, len(now.candidates))
    ids = subpool(now, chosen_anchors(now, anchors, rng), max(size, n), n, neighbours)
    return best(now, (ids[at : at + BLOCK] for at in range(0, len(ids), BLOCK)), n, score)


def chosen_anchors(now: Round, count: int, rng: np.random.Generator) -> Features:
    """Return the features (a, d) of the anchors; of the pool's first image if no labelled image is of the pool."""
    real = now.labelled < len(now.pool)
    if not real.any():
        return now.features(np.zeros(1, np.int64))
    order = np.argsort(now.labelled[real])
    features, labels = now.features(now.labelled[real][order]), now.labels[real][order]
    with now.meter.part("match"):
        return features[anchors_of(features, labels, count, rng)]


def anchors_of(features: Features, labels: Labels, count: int, rng: np.random.Generator) -> Ids:
    """Return rows of the labelled images (l, d): up to `count` of each class, drawn by k-means++ where it has more."""
    from sklearn.cluster import kmeans_plusplus

    rows = []
    for label in np.unique(labels):
        own = np.flatnonzero(labels == label)
        if len(own) > count:
            points = features[own].astype(np.float64)
            drawn = kmeans_plusplus(points, count, random_state=int(rng.integers(2**31)))[1]
            own = own[np.unique(drawn)]  # fewer where images are alike
        rows.append(own)
    return np.concatenate(rows)


def subpool(now: Round, anchors: Features, size: int, n: int, neighbours: int) -> Ids:
    """Return the open images, n to `size`, that are most like the anchors that found them, ascending."""
    k = neighbours
    while True:
        k = min(k, len(now.candidates))
        with now.meter.part("match"):
            ids, squares = mean_squares(now.search(anchors, k, without=now.candidates.excluded))
        open_ones = now.candidates.has(ids)
        ids, squares = ids[open_ones], squares[open_ones]
        if len(ids) >= n:
            return np.sort(ids[np.lexsort((ids, squares))[:size]])
        k *= 4


def mean_squares(near: Neighbours) -> tuple[Ids, Scores]:
    """Return the ids that were found (m,), each once, and their mean squared distances to the queries that found them.

    >>> found = Neighbours(np.array([[7, 2], [2, 5]]), np.array([[1.0, 2.0], [4.0, 5.0]]))
    >>> [part.tolist() for part in mean_squares(found)]
    [[2, 5, 7], [10.0, 25.0, 1.0]]
    """
    ids, places = np.unique(near.ids, return_inverse=True)
    sums = np.bincount(places.ravel(), weights=near.distances.ravel() ** 2, minlength=len(ids))
    return ids, sums / np.bincount(places.ravel(), minlength=len(ids))
