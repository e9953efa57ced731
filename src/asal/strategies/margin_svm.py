"""Minimum distance (Tong & Koller 2001, "simple margin"; Campbell et al. 2000): images nearest to a linear boundary."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from annotated_types import Gt

from asal.core import NO_IDS, Features, Labels, Round, Selection, not_enough
from asal.strategies import strategies
from asal.strategies.hyperplanes import Hyperplanes
from asal.strategies.scoring import highest

CANCELLED = 1e-9  # of the sum of the terms' lengths: below, a sum in float64 is rounding


@strategies.register("margin-svm", cost="linear")
def margin_svm(now: Round, n: int, rng: np.random.Generator, *, c: Annotated[float, Gt(0)] = 1.0) -> Selection:
    """The images nearest to the boundary of a linear SVM on what the classifier's last layer sees.

    arg min over x of |w·x + b| / ‖w‖; of several classes each against the rest, and the nearest boundary counts. The
    SVM is fitted to the labelled images in every round: a linear classifier's last layer sees the pixels. Scores are
    minus the distances. While only one class has labels, or one picture has the labels of all, there is no boundary:
    images are drawn at random, with scores of 0. Cost: one network evaluation for every image of the pool.

    Args:
        c: the SVM's, inverse regularisation (scikit-learn's default; our choice).
    """
    if len(now.candidates) < n:
        raise not_enough(n, len(now.candidates))
    if (now.labels == now.labels[0]).all():
        return _drawn(now, n, rng)
    order = np.argsort(now.labelled)  # the solver's last digits depend on it
    known = now.embed(now.labelled[order])
    with now.meter.part("score"):
        hyperplanes = fitted(known, now.labels[order], c)
    if not hyperplanes.exist:
        return _drawn(now, n, rng)
    ids, values = NO_IDS, np.empty(0)
    for block in now.candidates.blocks():
        near = -hyperplanes.distances(now.embed(block))
        ids, values = highest(np.concatenate([ids, block]), np.concatenate([values, near]), n)
    return Selection(ids, values)


def _drawn(now: Round, n: int, rng: np.random.Generator) -> Selection:
    return Selection(now.candidates.sample(n, rng), np.zeros(n))


def fitted(features: Features, labels: Labels, c: float) -> Hyperplanes:
    """Fit linear SVMs to features (n, d) and labels (n,): one between two classes, one a class for more.

    w = Σ α y x; what is left of it where all terms cancel is rounding, not a direction, and becomes 0.
    """
    from sklearn.svm import SVC

    present = np.unique(labels)
    positive = [labels == label for label in (present[1:] if len(present) == 2 else present)]
    # It draws nothing, but without a seed of its own it would take one from numpy's global stream.
    svms = [SVC(C=c, kernel="linear", random_state=0).fit(features, truth) for truth in positive]
    weights = np.concatenate([svm.coef_ for svm in svms])  # (p, d)
    longest = float(np.linalg.norm(features.astype(np.float64), axis=1).max())
    terms = longest * np.array([np.abs(svm.dual_coef_).sum() for svm in svms])  # (p,) ‖w‖ is at most that
    weights[np.linalg.norm(weights, axis=1) <= CANCELLED * terms] = 0.0
    return Hyperplanes(weights, np.concatenate([svm.intercept_ for svm in svms]))
