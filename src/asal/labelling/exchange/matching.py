"""Which image a row means: by its id, by its key, or by as much of a path as both sides share."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from asal.core import as_ids
from asal.labelling.exchange.rows import LabelRow

BLOCK = 2**16  # keys of the pool in memory at once
UNKNOWN: Final = -1
SEVERAL: Final = -2


def matched(pool: Any, synthetic: Mapping[int, Any], rows: Sequence[LabelRow]) -> list[int]:
    """Return the image of each row, `UNKNOWN`, or `SEVERAL` where the end of a path fits more than one.

    A row with an id and a key means the image of this id only if it has this key; otherwise the key decides.
    Cost: a look-up for rows whose id fits; one pass over the pool's keys, block by block, where other rows are left.
    Memory: the rows', whatever the pool's size.

    Args:
        pool: knows its images' keys.
        synthetic: the ids of synthetic images, which have no key.
    """
    images = [UNKNOWN] * len(rows)
    for place, image in _by_id(pool, synthetic, rows).items():
        images[place] = image
    left = [
        place for place, row in enumerate(rows) if images[place] == UNKNOWN and row.key is not None and not row.wrong
    ]
    if left:
        exact, ends = _by_key(pool, {name for place in left for name in (rows[place].key, rows[place].below) if name})
        for place in left:
            images[place] = _image_of(rows[place], exact, ends)
    return images


def _image_of(row: LabelRow, exact: Mapping[str, list[int]], ends: Mapping[str, list[int]]) -> int:
    for name in (row.key, row.below):
        if name is not None and (images := exact.get(name) or (ends.get(name) if row.partial else None)):
            return images[0] if len(images) == 1 else SEVERAL
    return UNKNOWN


def _by_id(pool: Any, synthetic: Mapping[int, Any], rows: Sequence[LabelRow]) -> dict[int, int]:
    found: dict[int, int] = {}
    both: list[tuple[int, int, str]] = []
    for place, row in enumerate(rows):
        if row.image is None or row.wrong:
            continue
        if row.key is None and (row.image in synthetic or (row.image < len(pool) and not row.synthetic)):
            found[place] = row.image
        elif row.key is not None and row.image < len(pool):
            both.append((place, row.image, row.key))
    for first in range(0, len(both), BLOCK):
        block = sorted(both[first : first + BLOCK], key=lambda entry: entry[1])
        keys = pool.keys(as_ids([image for _, image, _ in block]))
        found |= {place: image for (place, image, key), own in zip(block, keys, strict=True) if key == own}
    return found


def _by_key(pool: Any, wanted: set[str]) -> tuple[dict[str, list[int]], dict[str, list[int]]]:
    """Return the images whose keys these are, and those whose keys end as these do, no more than two of each."""
    exact: defaultdict[str, list[int]] = defaultdict(list)
    ends: defaultdict[str, list[int]] = defaultdict(list)
    by_name: defaultdict[str, list[str]] = defaultdict(list)
    for key in wanted:
        by_name[key.rpartition("/")[2]].append(key)
    for first in range(0, len(pool), BLOCK):
        for image, own in enumerate(pool.keys(np.arange(first, min(first + BLOCK, len(pool)))), first):
            named = by_name.get(own.rpartition("/")[2])
            if named is None:
                continue
            for key in named:
                if key == own:
                    exact[key] = [*exact[key], image][:2]
                elif own.endswith(f"/{key}") or key.endswith(f"/{own}"):
                    ends[key] = [*ends[key], image][:2]
    return exact, ends
