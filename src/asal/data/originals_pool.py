"""A pool whose pictures are decoded from the originals, at the size that a network reads.

A pool's picture stands in for an original that is gone, unreadable, or another image by now; each is counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from PIL import Image

from asal.core import Ids, Images, Pool, check_ids
from asal.data.decoding import Conversion, Unreadable
from asal.data.decoding.fitting import NEUTRAL, fitted
from asal.data.decoding.transparency import AUTO
from asal.data.originals import Originals
from asal.data.source_changes import ALIKE
from asal.data.sources import Lost, Raw
from asal.data.sources.decode import decode
from asal.data.sources.remote import is_url
from asal.runtime.prefetch import map_ahead

THREADS = 4  # that decode: Pillow lets others run meanwhile, and a file may have to be waited for
AHEAD = 16  # originals decoded, or fetched, and not yet copied into the batch
SIDE = 16  # pixels of the reductions that are compared
Pixels = npt.NDArray[np.uint8]


class KeyedPool(Pool, Protocol):
    """A pool whose images have keys of their own."""

    def keys(self, ids: Ids) -> list[str]: ...


@dataclass(frozen=True, eq=False)
class OriginalImages:
    """The originals of a part of a project's images, and how they become squares.

    Args:
        how: as the pool's pictures were made.
        first: the id, among all that the originals are known by, of the part's first image: of an addition to the pool,
            how many images there were before it.
    """

    originals: Originals
    how: Conversion
    first: int = 0

    def of(self, pool: Pool, size: int) -> OriginalsPool:
        """Return the pool whose pictures are decoded from the originals of another's."""
        return OriginalsPool(pool, self, size)  # type: ignore[arg-type]  # who makes this knows that it has keys

    @property
    def local(self) -> str:
        """The first place of theirs that only some machines see: a path; "" where all are URLs."""
        paths = (str(getattr(source, "path", "")) for source in self._sources)
        return next((path for path in paths if not is_url(path)), "")

    @property
    def missing_place(self) -> str:
        """The path that the first image came from, if nothing is there now; "" where something is, or at a URL."""
        path = str(getattr(self.originals.home(self.first), "path", ""))
        return path if path and not is_url(path) and not Path(path).exists() else ""

    @property
    def _sources(self) -> Iterator[Any]:
        yield self.originals.source
        yield from (addition.source for addition in self.originals.additions)


@dataclass(eq=False)
class OriginalsPool:
    """Images (size, size, 3), each decoded from its original when it is read. Memory: those that are asked for.

    Args:
        pool: whose images these are; its pictures stand in for lost originals.
        images: the originals.
        size: pixels.

    `replaced` counts the pictures that stood in, by reason: "gone", "unreadable", "changed".
    """

    pool: KeyedPool
    images: OriginalImages
    size: int
    replaced: Counter[str] = field(default_factory=Counter)

    @property
    def fingerprint(self) -> str:
        """The pool's."""
        return self.pool.fingerprint

    @property
    def shape(self) -> tuple[int, int, int]:
        """(size, size, 3)."""
        return self.size, self.size, 3

    def __len__(self) -> int:
        return len(self.pool)

    def read(self, ids: Ids) -> Images:
        """Return the images (n, size, size, 3) of these ids, in this order; an id may come twice.

        Raises:
            UserError: an id that is not of this pool, or a source that cannot be reached.
        """
        ids = check_ids(ids, len(self))
        out = np.empty((len(ids), *self.shape), np.uint8)
        images = ids + self.images.first
        found = zip(images.tolist(), self.images.originals.raw(self._named, images), self.pool.read(ids), strict=True)
        decoded = map_ahead(self._decoded, found, threads=THREADS, ahead=AHEAD, name="decode")
        for place, (pixels, replaced) in enumerate(decoded):
            out[place] = pixels
            if replaced:
                self.replaced[replaced] += 1
        return out

    @cached_property
    def _named(self) -> _Named:
        return _Named(self.pool, self.images.first)

    def _decoded(self, found: tuple[int, Raw, Pixels]) -> tuple[Pixels, str]:
        """Return the pixels of an original, or of the picture that stands in for it, and why that is."""
        image, raw, picture = found
        instead = self._fitted(picture)
        if isinstance(raw, Lost):
            return instead, "gone"
        pixels = self._read(raw)
        if pixels is not None and self._alike(pixels, picture):
            return pixels, ""
        elsewhere = self._elsewhere(image, picture)
        return (instead, "unreadable" if pixels is None else "changed") if elsewhere is None else (elsewhere, "")

    def _read(self, raw: Raw) -> Pixels | None:
        try:
            return decode(raw, size=self.size, gray=self.pool.shape[2] == 1, how=self.images.how)
        except Unreadable:
            return None

    def _elsewhere(self, image: int, picture: Pixels) -> Pixels | None:
        """Look for an image whose place another one has: where it may have been moved."""
        (key,) = self._named.keys(np.array([image]))
        for raw in self.images.originals.places(image, key):
            pixels = self._read(raw)
            if pixels is not None and self._alike(pixels, picture):
                return pixels
        return None

    def _alike(self, pixels: Pixels, picture: Pixels) -> bool:
        """Say whether an original shows the image of a pool's picture, as far as small reductions can tell.

        Both come to the same size by the same filter first: fine textures leave different patterns by different ones.
        """
        side = picture.shape[0]
        if side == picture.shape[1] and side < self.size:
            shrunk = np.asarray(Image.fromarray(pixels.squeeze()).resize((side, side), Image.Resampling.BICUBIC))
        else:
            shrunk, picture = pixels, self._fitted(picture)
        return float(np.abs(_reduced(shrunk) - _reduced(picture)).mean()) <= ALIKE

    def _fitted(self, picture: Pixels) -> Pixels:
        how = self.images.how
        padding = NEUTRAL if how.background == AUTO else how.background
        square = fitted(Image.fromarray(picture.squeeze()), self.size, how.fit, padding)
        return np.asarray(square).reshape(self.size, self.size, -1)


@dataclass(frozen=True)
class _Named:
    """The keys of a pool by the ids that the originals are known by."""

    pool: KeyedPool
    first: int

    def keys(self, ids: Ids) -> list[str]:
        return self.pool.keys(ids - self.first)


def _reduced(square: Pixels) -> npt.NDArray[np.int64]:
    small = Image.fromarray(square.squeeze()).resize((SIDE, SIDE), Image.Resampling.BOX)
    return np.asarray(small, np.int64).reshape(SIDE, SIDE, -1)


def sentence(replaced: Mapping[str, int]) -> str:
    """Return how many pictures of the pool stood in for originals, and why; nothing where none did.

    >>> sentence({"gone": 2, "changed": 1})
    "the pool's picture in place of 3 originals (2 gone, 1 changed)"
    """
    total = sum(replaced.values())
    reasons = ", ".join(f"{count:,} {reason}" for reason, count in replaced.items() if count)
    originals = "original" if total == 1 else "originals"
    return f"the pool's picture in place of {total:,} {originals} ({reasons})" if total else ""
