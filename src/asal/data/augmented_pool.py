"""A large pool from a small one, without storing it: image i is an image of the base, shifted, perhaps mirrored.

The paper enlarges CelebA to sixteen million images so ("we randomly augmented the original data set", section 5.5).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import numpy.typing as npt

from asal.core import Ids, Images, Pool, as_ids, check_ids
from asal.data.pool import StoredPool, facts_of
from asal.runtime.artifacts import fingerprint

REACH = 2  # pixels that an image is shifted by, at most, up, down, left or right


@dataclass(frozen=True)
class AugmentedPool:
    """Images 0 … size − 1: image i is image i mod n of the base, shifted as (seed, i) determine. Stores nothing.

    The first n are the base's. Pixels that a shift uncovers repeat the edge. With `mirror`, about every other copy is
    also mirrored, left to right.
    """

    base: Pool
    size: int
    seed: int = 0  # below 2²⁴
    mirror: bool = False

    @property
    def fingerprint(self) -> str:
        """Changes with the base, the size, the seed and the mirror."""
        facts = {"base": self.base.fingerprint, "size": self.size, "seed": self.seed, "reach": REACH}
        return fingerprint(facts | ({"mirror": True} if self.mirror else {}))

    @property
    def shape(self) -> tuple[int, int, int]:
        """(h, w, c)."""
        return self.base.shape

    def __len__(self) -> int:
        return self.size

    def read(self, ids: Ids) -> Images:
        """Return the images (n, h, w, c) of these ids. Cost: the base's, and one pass over the pixels.

        Raises:
            UserError: an id that is not of this pool.
        """
        ids = check_ids(ids, self.size)
        images = self.base.read(ids % len(self.base))
        shifts = self.shifts(ids)
        height, width, _ = self.shape
        rows = np.clip(np.arange(height) + shifts[:, :1], 0, height - 1)  # (n, h)
        columns = np.clip(np.arange(width) + shifts[:, 1:], 0, width - 1)  # (n, w)
        columns = np.where(self.mirrored(ids)[:, None], width - 1 - columns, columns)
        moved: Images = images[np.arange(len(ids))[:, None, None], rows[:, :, None], columns[:, None, :]]
        return moved

    def shifts(self, ids: Ids) -> npt.NDArray[np.int64]:
        """Return how far each image is moved, (n, 2), in pixels; zero for images of the base."""
        drawn = self._drawn(ids)
        span = np.uint64(2 * REACH + 1)
        pairs = np.stack([drawn % span, (drawn >> np.uint64(32)) % span], axis=1).astype(np.int64) - REACH
        return np.where(ids[:, None] < len(self.base), 0, pairs)

    def mirrored(self, ids: Ids) -> npt.NDArray[np.bool_]:
        """Return which images are mirrored (n,), before they are shifted."""
        if not self.mirror:
            return np.zeros(len(ids), np.bool_)
        return np.asarray((ids >= len(self.base)) & (self._drawn(ids) >> np.uint64(63) == 1))

    def keys(self, ids: Ids) -> list[str]:
        """Return the key of each image: the base's and, of a copy, its number and how it was changed."""
        ids = as_ids(ids)
        base = cast(StoredPool, self.base)
        copies, places = np.divmod(ids, len(base))
        rows = zip(base.keys(places), copies.tolist(), self.shifts(ids).tolist(), self.mirrored(ids), strict=True)
        return [
            f"{key}#{copy} ({down:+d} {right:+d}{' mirrored' if mirrored else ''})" if copy else key
            for key, copy, (down, right), mirrored in rows
        ]

    def _drawn(self, ids: Ids) -> npt.NDArray[np.uint64]:
        return _mixed(ids.astype(np.uint64) + (np.uint64(self.seed) << np.uint64(40)))


def open_pool(folder: Path) -> StoredPool | AugmentedPool:
    """Open a pool folder that `asal.data.ingest` finished: an augmented one in its full size.

    Raises:
        UserError: there is no finished pool.
        DamageError: a file is missing or changed; names it, and how to repair it.
    """
    return in_full(StoredPool.open(folder))


def in_full(stored: StoredPool) -> StoredPool | AugmentedPool:
    """Return the pool in the size that its folder says."""
    larger = facts_of(stored.folder).get("augmented")
    return stored if larger is None else AugmentedPool(stored, larger["images"], larger["seed"], larger["mirror"])


def _mixed(numbers: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Return a hash of each number: SplitMix64 (Steele, Lea & Flood 2014), whose product wraps round."""
    with np.errstate(over="ignore"):
        z = numbers + np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return np.asarray(z ^ (z >> np.uint64(31)))
