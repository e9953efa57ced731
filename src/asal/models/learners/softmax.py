"""Softmax regression in numpy: fitted by L-BFGS, its regularisation chosen by cross-validation.

The objective is the mean cross entropy + l2/2 (‖W‖² + ‖b‖²), which for l2 > 0 has one minimum, also where a class has
no label. Several regressions on the same rows, such as those of the folds, are fitted as one: a matrix product with
fifty columns takes little longer than one with ten.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from asal.core import Features, Labels, Scores

Floats = npt.NDArray[np.float64]
GRID = 10.0 ** np.arange(-1, -6.1, -0.5)  # of l2, for features whose mean square length is 1; strongest first
UNKNOWN = 1e-3  # where no class has two labels, and nothing can be held out
FEW = 256  # labels up to which five folds are made: of more, three lose little
MOST = 1024  # labels that cross-validation looks at
ROUGHLY = {"maxiter": 30, "ftol": 1e-4}  # enough to compare, each l2 from the weights of the one before
FULLY = {"maxiter": 500, "ftol": 1e-10}


def softmax_regression(x: Features, labels: Labels, classes: int, l2: float) -> tuple[Features, Features]:
    """Return the weights (k, d) and biases (k,) fitted to features (n, d) and labels (n,)."""
    even = np.full((len(x), 1), 1 / len(x), np.float32)
    begin = np.zeros((x.shape[1] + 1, classes))
    weights = _minimum(_lifted(x), labels, classes, even, l2, begin, FULLY).astype(np.float32)
    return weights[:-1].T, weights[-1]


def chosen_l2(x: Features, labels: Labels, classes: int, rng: np.random.Generator) -> float:
    """Return the l2 of GRID that predicts held-out labels best: of the smallest cross entropy.

    Folds are stratified. A class with one label is never held out; where no class has two, it is UNKNOWN. Of more than
    MOST labels, so many are drawn. The search goes from strong to weak, and ends at the second l2 in a row that is
    worse than the best.
    """
    if len(x) > MOST:
        rows = np.sort(rng.choice(len(x), MOST, replace=False))
        x, labels = x[rows], labels[rows]
    folds = stratified_folds(labels, rng)
    held = np.flatnonzero(folds >= 0)
    if not len(held):
        return UNKNOWN
    lifted, inside = _lifted(x), (folds[:, None] != np.arange(folds.max() + 1)).astype(np.float32)  # (n, folds)
    shares, losses = inside / inside.sum(axis=0), list[float]()
    weights = np.zeros((lifted.shape[1], inside.shape[1] * classes))
    for l2 in GRID:
        weights = _minimum(lifted, labels, classes, shares, float(l2), weights, ROUGHLY)
        losses.append(_held_out_loss(lifted[held], labels[held], folds[held], weights, classes))
        if min(losses[-2:]) > min(losses):
            break
    return float(GRID[int(np.argmin(losses))])


def stratified_folds(labels: Labels, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Return the fold (n,) in which each label is held out, dealt class by class; −1 for the only one of its class.

    >>> stratified_folds(np.array([0, 0, 1, 2, 2]), np.random.default_rng(0)).tolist()
    [0, 1, -1, 0, 1]
    """
    counts, folds, dealt = np.bincount(labels), np.full(len(labels), -1, np.int64), 0
    number = max(2, min(5 if len(labels) <= FEW else 3, int(counts.max())))
    for label in np.flatnonzero(counts > 1):
        rows = rng.permutation(np.flatnonzero(labels == label))
        folds[rows] = (dealt + np.arange(len(rows))) % number
        dealt += len(rows)
    return folds


def _lifted(x: Features) -> Features:
    """Return features with one more column of ones, for the biases."""
    return np.column_stack([x, np.ones(len(x), np.float32)])


def _minimum(
    x: Features,
    labels: Labels,
    classes: int,
    shares: npt.NDArray[np.float32],
    l2: float,
    start: Floats,
    effort: Mapping[str, float],
) -> Floats:
    """Return the weights (d, f · k) of f regressions; `shares` (n, f) are the weights of the rows in each."""
    from scipy.optimize import minimize

    (n, d), columns, rows = x.shape, shares.shape[1] * classes, np.arange(len(x))

    def objective(flat: Floats) -> tuple[float, Floats]:
        z = (x @ flat.reshape(d, columns).astype(np.float32)).reshape(n, -1, classes)
        z -= z.max(axis=2, keepdims=True)
        true = z[rows, :, labels]  # (n, f)
        np.exp(z, out=z)
        total = z.sum(axis=2, keepdims=True)
        loss = float(np.sum((np.log(total[:, :, 0]) - true) * shares, dtype=np.float64))
        z /= total
        z[rows, :, labels] -= 1
        z *= shares[:, :, None]
        gradient = (x.T @ z.reshape(n, columns)).astype(np.float64).ravel() + l2 * flat
        return loss + 0.5 * l2 * float(flat @ flat), gradient

    options: Any = {"gtol": 1e-6, **effort}
    best = minimize(objective, start.ravel(), jac=True, method="L-BFGS-B", options=options)
    return np.asarray(best.x, np.float64).reshape(d, columns)


def _held_out_loss(x: Features, labels: Labels, folds: npt.NDArray[np.int64], weights: Floats, classes: int) -> float:
    """Return the mean cross entropy of rows (n, d), each under the regression that it was held out of."""
    by_fold = weights.astype(np.float32).reshape(x.shape[1], -1, classes)
    z: Scores = np.empty((len(x), classes))
    for fold in range(by_fold.shape[1]):
        z[folds == fold] = x[folds == fold] @ by_fold[:, fold]
    z -= z.max(axis=1, keepdims=True)
    return float((np.log(np.exp(z).sum(axis=1)) - z[np.arange(len(x)), labels]).mean())
