"""Numbers for a new project that fit its images and its classes: of the held-out images, and of the labels."""

from __future__ import annotations

from dataclasses import dataclass

from asal.data.stratified import ENOUGH

SOME_CLASSES = 10  # where their number is not known yet
MOST_AT_ONCE = 100  # labels in a batch
MOST_HELD_OUT = 5  # one image in so many, at most


@dataclass(frozen=True)
class Proportions:
    """Labels in the first batch, in every later one and in all, and images of which a batch is chosen."""

    initial: int
    batch: int
    budget: int
    subset: int


def held_out(images: int, classes: int) -> int:
    """Return how many labelled images are for the test: a tenth up to 1,000, but 20 of each class where these are few.

    >>> [held_out(images, 10) for images in (60, 300, 3000, 10**7)]
    [12, 60, 300, 1000]
    >>> held_out(50_000, 1000)
    10000
    """
    return max(min(1_000, images // 10), min(ENOUGH * classes, images // MOST_HELD_OUT))


def proportions(pool: int, classes: int = 0) -> Proportions:
    """Return numbers of labels for a pool of so many images; a quarter of a small pool is the first batch at most.

    Args:
        classes: 0 where they are not known.

    >>> proportions(3068, 10)
    Proportions(initial=30, batch=20, budget=500, subset=1000)
    >>> proportions(48, 2)
    Proportions(initial=10, batch=5, budget=24, subset=24)
    >>> proportions(10**7, 100)
    Proportions(initial=300, batch=100, budget=5000, subset=1000)
    """
    many = classes or SOME_CLASSES
    initial = max(1, min(max(10, 3 * many), pool // 4))
    batch = max(1, min(max(20, many), MOST_AT_ONCE, pool // 9))
    budget = max(initial + 1, _rounded(min(max(200, 50 * many), pool // 2)))
    subset = max(batch + 1, _rounded(min(max(1_000, 10 * batch), pool // 2)))
    return Proportions(initial, batch, budget, subset)


def _rounded(number: int) -> int:
    return number if number < 100 else number - number % 10
