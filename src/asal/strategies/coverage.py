"""Greedy coverage of the whole pool with a kernel on features of length 1; shared by several strategies.

The kernel of n images has n² entries and is never laid out. A first pass in single precision bounds what each image
could gain from above, in tiles that stay in the processor's cache; the greedy choice then computes in double precision
only what the bounds do not rule out. The picks are those of the plain algorithm, but for ties.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from asal.core import NO_IDS, Features, Ids, Round, Scores, not_enough
from asal.strategies.batch_rules import (
    Floats,
    Kernel,
    Profile,
    Rows,
    herded,
    nearest_squares,
    squared_distances,
)
from asal.strategies.scoring import shortlist

TILE = 512, 2048  # candidates and covered images whose similarities are computed together: 4 MB
ROUNDING = float(np.finfo(np.float32).eps)
COARSE = 0.1  # error of an exponent in single precision, from which the bounds are computed in double precision
SAME = 1e-6  # distance between vectors of length 1 that rounding may make of none


def considered(now: Round, n: int, size: int | None, rng: np.random.Generator) -> Ids:
    """Return `size` random open ids, or all, in ascending order.

    Raises:
        UserError: fewer than n are left.
    """
    if size is not None:
        return shortlist(now, n, size, rng)
    if len(now.candidates) < n:
        raise not_enough(n, len(now.candidates))
    return np.concatenate([NO_IDS, *now.candidates.blocks()])


def unit(features: Features) -> Floats:
    """Return features (n, d) divided by their lengths; a vector of zeros stays.

    >>> unit(np.array([[3.0, 4.0], [0.0, 0.0]], np.float32)).tolist()
    [[0.6, 0.8], [0.0, 0.0]]
    """
    wide = np.asarray(features, np.float64)
    return np.asarray(wide / np.maximum(np.linalg.norm(wide, axis=1), np.finfo(np.float32).tiny)[:, None])


def smallest_distance(points: Floats) -> float | None:
    """Return the smallest distance between two of these points that are not the same; None where there are none."""
    squares = squared_distances(points, points)
    apart = squares[np.triu(squares > SAME**2, 1)]
    return float(np.sqrt(apart.min())) if len(apart) else None


def ball(exponents: npt.NDArray[Any], out: npt.NDArray[Any] | None = None) -> npt.NDArray[Any]:
    """Return 1 for −‖a − b‖² / radius² where the distance is below the radius, else 0: a profile of `Kernel`.

    >>> ball(-np.array([0.0, 0.99, 1.0])).tolist()
    [1.0, 1.0, 0.0]
    """
    out = np.empty_like(exponents) if out is None else out
    return np.asarray(np.greater(exponents, -1, out=out))


def covering(
    points: Floats, labelled: Floats, wanted: Scores, n: int, radius: float, profile: Profile = np.exp
) -> tuple[Rows, Scores]:
    """Return n rows of points (m, d), each of the largest gain after those before it, and the gains (n,).

    gain(c) = Σ_j u_j · max(0, k(c, j) − cover_j), with k(a, b) = profile(−‖a − b‖² / radius²), over all points j;
    cover_j is the largest k(i, j) of what is labelled or picked.

    Args:
        wanted: (m,) u.
    """
    kernel = Kernel.of(points, points, radius / 2**0.5, profile)
    cover = kernel.similarity(nearest_squares(points, labelled))
    bounds = None if kernel.kept is not None else upper_gains(points, wanted, cover, radius, profile)
    return herded(kernel, wanted, cover, n, bounds)


def upper_gains(points: Floats, wanted: Scores, cover: Scores, radius: float, profile: Profile = np.exp) -> Scores:
    """Return numbers (m,) that are at least the gains of all points, and hardly more; see `covering`.

    The exponents' rounding errors are at most `error`; the similarities of exponents that are too large by as much are
    at least the true ones, and so are the gains.
    """
    near = points / radius
    half = (near**2).sum(axis=1)
    error = (2 * near.shape[1] + 16) * ROUNDING * (float(half.max(initial=0.0)) + 1)
    single = error < COARSE
    kind: npt.DTypeLike = np.float32 if single else np.float64
    ones, covered, u = np.ones(len(half)), cover.astype(kind), wanted.astype(kind)
    left = np.column_stack([2 * near, -half, ones]).astype(kind)  # a product with `right` is −‖a − b‖² / radius²
    right = np.column_stack([near, ones, (error if single else 0.0) - half]).astype(kind)
    gains = np.zeros(len(points))
    for row in range(0, len(points), TILE[0]):
        some = slice(row, row + TILE[0])
        for column in range(0, len(points), TILE[1]):
            part = slice(column, column + TILE[1])
            more = left[some] @ right[part].T
            profile(more, out=more)
            more -= covered[part]
            np.maximum(more, 0, out=more)
            gains[some] += more @ u[part]
    return gains * (1 + TILE[1] * ROUNDING)
