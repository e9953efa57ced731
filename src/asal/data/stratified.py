"""Draws the parts of a split so that each class has its share of every part (stratified sampling)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from asal.core import Ids, Labels
from asal.data.sources import UNKNOWN
from asal.errors import UserError, counted

ENOUGH = 20  # held-out images of a class, from which its accuracy can be measured
SHOWN = 6  # classes that are named in a sentence


def stratified(order: Ids, labels: Labels, held_out: Mapping[str, int], pool: int) -> dict[str, Ids]:
    """Return the ascending rows of each held-out part and of the pool.

    Each class has its share of a held-out part, to within one image, by the largest remainder; one image of each class
    at least stays in the pool. Images of unknown class are never held out. Within a class the rows are taken in the
    given order, first for the held-out parts, so that these do not depend on the size of the pool.

    Args:
        order: all rows (n,), shuffled.
        labels: one for each row (n,), −1 where it is unknown.
        held_out: images of each held-out part.
        pool: images of the pool; the rest where it is all the others.

    Raises:
        UserError: more images are held out than the classes can spare.

    >>> parts = stratified(np.arange(8), np.array([0, 0, 0, 0, 0, 0, 1, 1]), {"test": 4}, 4)
    >>> {name: rows.tolist() for name, rows in parts.items()}
    {'test': [0, 1, 2, 6], 'pool': [3, 4, 5, 7]}
    """
    counts = np.bincount(labels + 1)  # the first one of unknown class
    left, quotas = counts.copy(), {}
    spare = np.maximum(counts - 1, 0)
    spare[UNKNOWN + 1] = 0
    for name, size in held_out.items():
        if size > spare.sum():
            raise UserError(
                f"{name} = {size:,} is more than the {int(spare.sum()):,} labelled images that the pool can spare",
                rule="a stratified split holds labelled images out, and leaves one image of each class in the pool",
                hint=f"make `{name}` smaller under [pool.split], or drop `stratified`",
            )
        quotas[name] = allocated(size, counts, 0, spare)
        spare, left = spare - quotas[name], left - quotas[name]
    least = np.minimum(left, 1)
    least[UNKNOWN + 1] = 0
    quotas["pool"] = allocated(pool, left, least if least.sum() <= pool else 0, left)
    classes = labels[order] + 1
    grouped = np.argsort(classes, kind="stable")  # of each class its rows, in the given order
    starts = np.cumsum(counts) - counts
    rank = np.empty(len(order), np.int64)  # of each row within its class
    rank[grouped] = np.arange(len(order)) - starts[classes[grouped]]
    parts, begin = {}, np.zeros_like(counts)
    for name, quota in quotas.items():
        end = begin + quota
        parts[name] = np.sort(order[(rank >= begin[classes]) & (rank < end[classes])])
        begin = end
    return parts


def scarce(labels: Labels | None, classes: Sequence[str]) -> list[str]:
    """Return a line where some classes have so few test images that their accuracy is uncertain; none otherwise.

    The uncertainty is half of a 95% confidence interval, at most: of an accuracy of one half.

    >>> scarce(np.repeat([0, 1, 2], [40, 12, 30]), ["dress", "skirt", "hat"])
    ["class 'skirt' has 12 test images: its accuracy is uncertain by ± 28 points"]
    >>> scarce(np.repeat([0, 1, 2], [40, 12, 1]), ["dress", "skirt", "hat"])
    ["2 classes have few test images, so their accuracy is uncertain: 'hat' 1 (± 50 points), 'skirt' 12 (± 28)"]
    """
    if labels is None:
        return []
    counts = np.bincount(labels[labels >= 0], minlength=len(classes)).tolist()
    few = sorted((number, name) for name, number in zip(classes, counts, strict=True) if number < ENOUGH)
    if not few:
        return []
    points = [round(min(50, 98 / np.sqrt(max(number, 1)))) for number, _ in few]
    if len(few) == 1:
        (number, name), (point,) = few[0], points
        return [f"class '{name}' has {counted(number, 'test image')}: its accuracy is uncertain by ± {point} points"]
    units = [" points", *[""] * (len(few) - 1)]  # once
    each = zip(few, points, units, strict=True)
    shown = [f"'{name}' {number} (± {point}{unit})" for (number, name), point, unit in each][:SHOWN]
    more = ", …" if len(few) > SHOWN else ""
    return [f"{len(few)} classes have few test images, so their accuracy is uncertain: {', '.join(shown)}{more}"]


def allocated(size: int, weights: Ids, least: Ids | int, most: Ids) -> Ids:
    """Return how many of `size` places each class has (k,), in proportion to its weight, within bounds.

    Args:
        weights: (k,), such as the images of each class.
        least: of each class; together no more than `size`.
        most: likewise; together no less than `size`.

    >>> allocated(10, np.array([50, 30, 15, 5]), 0, np.array([50, 30, 15, 5])).tolist()
    [5, 3, 2, 0]
    >>> allocated(10, np.array([50, 30, 15, 5]), 1, np.array([4, 30, 15, 5])).tolist()
    [4, 3, 2, 1]
    """
    shares = _shares(size, weights, least, most)
    places = np.floor(shares + 1e-9).astype(np.int64)  # 2.9999999 is 3
    rest = shares - places
    rest[places >= most] = -1
    places[np.argsort(-rest, kind="stable")[: size - int(places.sum())]] += 1
    return places


def _shares(size: int, weights: Ids, least: Ids | int, most: Ids) -> npt.NDArray[np.float64]:
    """Return bounded shares (k,), not yet rounded, that add up to `size`: found by bisection of their scale."""
    low, high = 0.0, float(max(size, 1))

    def at(scale: float) -> npt.NDArray[np.float64]:
        return np.asarray(np.clip(scale * weights, least, most), np.float64)

    while high - low > 1e-12 * high:
        middle = (low + high) / 2
        low, high = (middle, high) if at(middle).sum() < size else (low, middle)
    return at(high)
