"""When several people look at one image: how many are wanted, and what settles it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

Opinions = Mapping[str, int | None]  # by whom → label; None is "can't tell"


@dataclass(frozen=True)
class OverlapRules:
    """How many opinions an image is to have.

    Args:
        overlap: people who are to answer, each on their own.
        share: of the images, to which that applies; the others have one answer.
    """

    overlap: int = 1
    share: float = 1.0

    def wanted(self, image: int) -> int:
        """Return how many opinions an image is to have: the same number whenever it is asked."""
        drawn = (image * 2_654_435_761 % 2**32) / 2**32  # Knuth's multiplicative hash spreads neighbouring ids
        return self.overlap if drawn < self.share else 1

    def room(self, image: int, opinions: Opinions) -> int:
        """Return how many people may have an open image before them: as many as it lacks, one where they differ."""
        return max(self.wanted(image) - len(opinions), 1)

    def disputed(self, image: int, opinions: Opinions) -> bool:
        """Say whether an image has all its opinions and they settle nothing."""
        return bool(opinions) and len(opinions) >= self.wanted(image) and settled(opinions) is None


@dataclass(frozen=True)
class Settled:
    """What people agree on."""

    label: int | None


def settled(opinions: Opinions) -> Settled | None:
    """Return what more than half of them say, or None.

    >>> settled({"Ada": 3, "Bob": 3}), settled({"Ada": 3, "Bob": None}), settled({"Ada": None})
    (Settled(label=3), None, Settled(label=None))
    """
    (label, count), *_ = Counter(opinions.values()).most_common(1) or [(None, 0)]
    return Settled(label) if 2 * count > len(opinions) else None
