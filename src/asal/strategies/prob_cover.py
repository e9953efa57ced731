"""ProbCover (Yehuda et al., NeurIPS 2022): images whose neighbourhoods hold the most images that none covers yet."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from annotated_types import Ge, Gt, Le

from asal.core import NO_IDS, Candidates, Round, Selection
from asal.runtime.rng import stream
from asal.strategies import strategies
from asal.strategies.batch_rules import Floats, Rows, squared_distances
from asal.strategies.coverage import SAME, ball, considered, covering, unit
from asal.strategies.typiclust import k_means

SAMPLE = 1000  # images whose neighbourhoods are looked at to choose the radius
STRIP = 8192  # images that distances to these are laid out to at a time
DIAMETER = 2.0  # of all vectors of length 1


@strategies.register("prob-cover", needs=("features",), provides=("first",), cost="linear")
def prob_cover(
    now: Round,
    n: int,
    rng: np.random.Generator,
    *,
    radius: Annotated[float, Gt(0)] | Literal["auto"] = "auto",
    clusters: Annotated[int, Ge(2)] = 10,
    purity: Annotated[float, Gt(0), Le(1)] = 0.95,
    size: Annotated[int, Ge(1)] | None = None,
) -> Selection:
    """Images that cover the pool best with balls of one radius; needs no classifier, and so fits a first batch.

    A ball holds the images whose features, divided by their lengths, are nearer to its centre than the radius δ. arg
    max over c of the images in the ball of c that are in no ball of a labelled or picked image, again and again, over
    the whole pool (their algorithm 1); of equal ones the lower id, and random ones once all is covered. Scores are the
    numbers of images that are covered newly.

    δ is the largest whose purity is at least `purity`: so many of the balls hold images of one k-means cluster alone,
    with as many clusters as there are classes (their section on the choice of δ, and their project page). That is a
    quantile of the distance to the nearest image of another cluster, which is taken of 1,000 images here, the same in
    every round while the pool does not grow (our choice, for its cost).

    Cost: quadratic in the pool, as `max-herding`, and a k-means over it, in every round; its features in memory.

    Args:
        radius: δ, or "auto".
        clusters: for "auto": as many as classes, which a strategy does not know before there are labels.
        purity: for "auto"; 0.95 is the authors'.
        size: random images that are covered and chosen from, in place of the pool.
    """
    ids = considered(now, n, size, rng)
    points, labelled = unit(now.features(ids)), unit(now.features(now.real))
    delta = pure_radius(_everything(now, size), clusters, purity) if radius == "auto" else radius
    with now.meter.part("match"):
        rows, gains = covering(points, labelled, np.ones(len(ids)), n, delta, ball)
        rows = _rest_at_random(rows, gains, len(ids), rng)
    return Selection(ids[rows], gains, [{"covered": int(gain), "radius": float(delta)} for gain in gains])


def _everything(now: Round, size: int | None) -> Floats:
    """Return the features of the pool, labelled images included, or of some of it: the same in every round."""
    count = len(now.pool)
    rows = Candidates(count, NO_IDS).sample(min(size or count, count), stream(0, "prob-cover", "pool"))
    return unit(now.features(np.sort(rows)))


def pure_radius(points: Floats, clusters: int, purity: float) -> float:
    """Return the largest radius under which so many balls around points (n, d) hold points of one cluster alone."""
    rng = stream(0, "prob-cover", "clusters")
    groups = k_means(points.astype(np.float32), clusters, rng)
    rows = np.sort(rng.choice(len(points), min(SAMPLE, len(points)), replace=False))
    nearest = np.full(len(rows), DIAMETER**2)
    for at in range(0, len(points), STRIP):
        strip = slice(at, at + STRIP)
        squares = squared_distances(points[rows], points[strip])
        squares[groups[rows, None] == groups[strip]] = DIAMETER**2
        nearest = np.minimum(nearest, squares.min(axis=1))
    impure = int((1 - purity) * len(rows) + SAME)  # so many balls may hold points of another cluster
    return max(float(np.sqrt(np.sort(nearest)[impure])), SAME)


def _rest_at_random(rows: Rows, gains: Floats, count: int, rng: np.random.Generator) -> Rows:
    """Replace the picks that cover nothing by random ones."""
    useful = rows[gains > 0]
    rest = np.delete(np.arange(count), useful)
    return np.concatenate([useful, rng.choice(rest, len(rows) - len(useful), replace=False)])
