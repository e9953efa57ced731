"""Near-duplicates: images of a pool that look alike, by a difference hash of 64 bits. Reported, never acted on.

The hash has a bit for each of 8 × 8 cells, whether it is brighter than its left neighbour (dHash: N. Krawetz, "Kind of
like that", 2013), of the pool's pixels in 9 × 8 cells of gray. Two images are near if their hashes differ in few bits
and their cells by few levels; the second tells flat images of different brightness apart, whose hashes are all 0.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from asal.core import Ids, Images, as_ids
from asal.data import pool
from asal.data.duplicates import copies_of
from asal.runtime import artifacts
from asal.runtime.csv_rows import csv_bytes
from asal.runtime.progress import Progress, no_progress

BITS = 3  # of 64 in which two hashes may differ
LEVELS = 6.0  # of 256 by which two images' cells may differ, on average
BLOCK = 2048  # images in memory at once
NEIGHBOURS = 64  # images with the same quarter of a hash that each is compared with; of more alike, some pairs suffice
COLUMNS = ("group", "id", "key")

Cells = npt.NDArray[np.uint8]  # (n, 8, 9)


@dataclass(frozen=True)
class NearDuplicates:
    """Groups of images that look alike, exact copies left out."""

    groups: tuple[tuple[int, ...], ...]

    @property
    def images(self) -> int:
        """How many images are in a group."""
        return sum(map(len, self.groups))


def cells(images: Images) -> Cells:
    """Return the mean brightness of 8 × 9 cells of each image (n, h, w, c), by the pixels that lie in each."""
    gray = images.mean(axis=3, dtype=np.float32)  # (n, h, w)
    for axis, number in ((1, 8), (2, 9)):
        side = gray.shape[axis]
        edges = np.linspace(0, side, number + 1)
        parts = [
            gray.take(range(int(low), max(int(low) + 1, int(high))), axis=axis).mean(axis=axis, keepdims=True)
            for low, high in pairwise(edges)
        ]
        gray = np.concatenate(parts, axis=axis)
    return np.asarray(np.rint(gray), np.uint8)


def difference_hash(of: Cells) -> npt.NDArray[np.uint64]:
    """Return 64 bits for each image.

    >>> ramp = np.tile(np.arange(9, dtype=np.uint8), (1, 8, 1))
    >>> int(difference_hash(ramp)[0]) == 2**64 - 1, int(difference_hash(ramp[:, :, ::-1])[0])
    (True, 0)
    """
    brighter = of[:, :, 1:] > of[:, :, :-1]  # (n, 8, 8)
    return np.packbits(brighter.reshape(len(of), 64), axis=1).view(np.uint64).reshape(-1)


def near_duplicates(images: Any, without: Ids, progress: Progress = no_progress) -> NearDuplicates:
    """Return the groups of images that look alike. Cost: one pass over the pixels; 90 bytes an image in memory.

    Args:
        images: a pool.
        without: ids that are left out, such as exact copies.
    """
    ids = np.setdiff1d(np.arange(len(images), dtype=np.int64), without)
    small = np.empty((len(ids), 8, 9), np.uint8)
    for start in range(0, len(ids), BLOCK):
        small[start : start + BLOCK] = cells(images.read(ids[start : start + BLOCK]))
        progress("compare images", min(start + BLOCK, len(ids)), len(ids))
    pairs = list(_pairs(difference_hash(small), small))
    if not pairs:
        return NearDuplicates(())
    return NearDuplicates(tuple(tuple(ids[list(group)].tolist()) for group in _groups(np.concatenate(pairs))))


def _pairs(hashes: npt.NDArray[np.uint64], small: Cells) -> Iterator[Ids]:
    """Yield pairs of rows (m, 2) whose hashes and cells are near.

    Hashes that differ in at most 3 bits have at least one of four quarters in common: each is compared with its
    neighbours in the order of each quarter.
    """
    quarters = hashes.view(np.uint16).reshape(-1, 4)
    for part in range(4):
        order = np.lexsort((hashes, quarters[:, part]))
        sorted_quarters = quarters[order, part]
        for step in range(1, min(NEIGHBOURS, len(order) - 1) + 1):
            same = np.flatnonzero(sorted_quarters[step:] == sorted_quarters[:-step])
            if not len(same):
                break
            one, other = order[same], order[same + step]
            near = np.bitwise_count(hashes[one] ^ hashes[other]) <= BITS
            one, other = one[near], other[near]
            for start in range(0, len(one), BLOCK):
                some, rest = one[start : start + BLOCK], other[start : start + BLOCK]
                apart = np.abs(small[some].astype(np.int16) - small[rest]).mean(axis=(1, 2))
                alike = apart <= LEVELS
                yield _as_pairs(some[alike], rest[alike])


def _as_pairs(one: Ids, other: Ids) -> Ids:
    """Return two columns as pairs (m, 2)."""
    return np.stack([one, other], axis=1).astype(np.int64)


def _groups(pairs: Ids) -> list[list[int]]:
    """Return the connected rows, each group and all groups ascending."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    rows, places = np.unique(pairs, return_inverse=True)
    ends = places.reshape(-1, 2)
    graph = coo_array((np.ones(len(ends), np.int8), (ends[:, 0], ends[:, 1])), shape=(len(rows), len(rows)))
    number, group = connected_components(graph, directed=False)
    groups: list[list[int]] = [[] for _ in range(number)]
    for row, which in zip(rows.tolist(), group.tolist(), strict=True):
        groups[which].append(row)
    return sorted(groups)


def write_near(root: Path, images: Any, out: Path, progress: Progress = no_progress) -> NearDuplicates:
    """Find the near-duplicates in a project's pool, and list them: group, id, key.

    Raises:
        UserError: there is no pool.
    """
    pool.made_from(root / "pool")
    found = near_duplicates(images, copies_of(root).ids, progress)
    rows = []
    for number, group in enumerate(found.groups):
        keys = images.keys(as_ids(list(group)))
        rows += [(number, image, key) for image, key in zip(group, keys, strict=True)]
    with artifacts.explain_disk_errors(out):
        artifacts.write(out, csv_bytes(COLUMNS, rows))
    return found
