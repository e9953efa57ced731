"""When several people label one image: how many votes are wanted, and what they come to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

Votes = Mapping[str, int | None]  # on one image, by whom → label; None is "can't tell"


@dataclass(frozen=True)
class OverlapRules:
    """How many votes an image gets.

    Args:
        overlap: people who answer it, independently of each other.
        share: of the images, to which that applies; the others get one answer.
    """

    overlap: int = 1
    share: float = 1.0

    def wanted(self, image: int) -> int:
        """Return how many votes an image gets; the id alone decides it."""
        drawn = (image * 2_654_435_761 % 2**32) / 2**32  # Knuth's multiplicative hash spreads neighbouring ids
        return self.overlap if drawn < self.share else 1

    def places(self, image: int, votes: Votes) -> int:
        """Return how many people may have an open image at a time: as many as votes are missing, at least one."""
        return max(self.wanted(image) - len(votes), 1)

    def disputed(self, image: int, votes: Votes) -> bool:
        """Say whether an image has all its votes and there is no majority."""
        return bool(votes) and len(votes) >= self.wanted(image) and majority(votes) is None


@dataclass(frozen=True)
class Majority:
    """What more than half of the people say."""

    label: int | None


def majority(votes: Votes) -> Majority | None:
    """Return what more than half of the people say, or None if there is no majority.

    >>> majority({"Ada": 3, "Bob": 3}), majority({"Ada": 3, "Bob": None}), majority({"Ada": None})
    (Majority(label=3), None, Majority(label=None))
    """
    (label, count), *_ = Counter(votes.values()).most_common(1) or [(None, 0)]
    return Majority(label) if 2 * count > len(votes) else None
