"""The list of a source's training images by hashes of their keys: finds rows by keys without holding the keys."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from asal.core import Ids, as_ids
from asal.data.sources import Source

BLOCK = 2**16  # keys hashed at a time
Hashes = npt.NDArray[np.uint64]


@dataclass(frozen=True)
class Listing:
    """The images of a source's split "train". Memory: 16 bytes an image."""

    source: Source
    hashes: Hashes  # of the keys, ascending
    rows: Ids  # of each

    @classmethod
    def of(cls, source: Source) -> Listing:
        """List a source: one pass over its names."""
        hashes = np.concatenate(
            [np.empty(0, np.uint64), *map(hashed, _keys(source, np.arange(source.splits["train"])))]
        )
        rows = np.argsort(hashes, kind="stable")
        return cls(source, hashes[rows], as_ids(rows))

    def rows_without(self, known: Hashes) -> Ids:
        """Return the rows, ascending, whose keys have none of these hashes."""
        return as_ids(np.sort(self.rows[~np.isin(self.hashes, known)]))

    def rows_of(self, keys: Sequence[str]) -> list[int]:
        """Return the row of each key, −1 where the source has none."""
        if not len(self.hashes):
            return [-1] * len(keys)
        wanted = hashed(keys)
        places = np.minimum(self.hashes.searchsorted(wanted), len(self.hashes) - 1)
        return [int(row) for row in np.where(self.hashes[places] == wanted, self.rows[places], -1)]

    def labels_of(self, keys: Sequence[str]) -> list[str]:
        """Return the name of the class of each key, "" where the source has none."""
        labels, classes = self.source.labels("train"), self.source.classes
        rows = self.rows_of(keys)
        if labels is None:
            return [""] * len(rows)
        return ["" if row < 0 or labels[row] < 0 else classes[labels[row]] for row in rows]

    def digest(self, rows: Ids) -> str:
        """Return a hash of the keys of these ascending rows, in their order."""
        digest = hashlib.sha256()
        for keys in _keys(self.source, rows):
            digest.update("\0".join(keys).encode() + b"\0")
        return digest.hexdigest()


def hashed(keys: Sequence[str]) -> Hashes:
    """Return 8 bytes of a hash of each key."""
    digests = (hashlib.blake2b(key.encode(), digest_size=8).digest() for key in keys)
    return np.frombuffer(b"".join(digests), np.uint64)


def _keys(source: Source, rows: Ids) -> Iterator[list[str]]:
    for first in range(0, len(rows), BLOCK):
        yield [record.key for record in source.records("train", rows[first : first + BLOCK])]
