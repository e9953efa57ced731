"""Synthetic images of a session: they are stored in its record and have the ids that follow the pool's.

A pool of n images has the ids 0 … n − 1; three synthetic images have n, n + 1, n + 2.
"""

from __future__ import annotations

import base64
import binascii
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from asal.core import Features, Ids, Images, Pool, as_ids
from asal.data.png import png
from asal.session.connection import RecordDamageError
from asal.session.plan import FeatureReader
from asal.session.state import SyntheticImage


class PoolWithSynthetic:
    """A pool and the synthetic images of a session. Its length is the pool's: candidates are real images alone."""

    def __init__(self, pool: Pool, synthetic: Mapping[int, SyntheticImage]) -> None:
        self._pool, self._synthetic = pool, synthetic

    @property
    def fingerprint(self) -> str:
        """The pool's."""
        return self._pool.fingerprint

    @property
    def shape(self) -> tuple[int, int, int]:
        """(h, w, c)."""
        return self._pool.shape

    def __len__(self) -> int:
        return len(self._pool)

    def read(self, ids: Ids) -> Images:
        """Return the images (n, h, w, c) of these ids, in this order.

        Raises:
            UserError: an id that is neither of the pool nor of a synthetic image.
            DamageError: a synthetic image is not what was written.
        """
        ids = as_ids(ids)
        apart = self.synthetic(ids)
        if not apart.any():
            return self._pool.read(ids)
        images = np.empty((len(ids), *self.shape), np.uint8)
        images[~apart] = self._pool.read(ids[~apart])
        for place in np.flatnonzero(apart):
            images[place] = decoded(self._synthetic[int(ids[place])].picture, self.shape)
        return images

    def synthetic(self, ids: Ids) -> npt.NDArray[np.bool_]:
        """Say for each id (n,) whether it is a synthetic image's."""
        return np.fromiter((image in self._synthetic for image in ids.tolist()), np.bool_, len(ids))


@dataclass(frozen=True)
class FeaturesWithSynthetic:
    """The features that a session's classifier reads: those of the pool are stored, those of synthetic images not."""

    pool: PoolWithSynthetic
    features: FeatureReader

    def read(self, ids: Ids) -> Features:
        """Return the features (n, d) of these ids, in this order. Cost: a pass of the extractor for synthetic ones."""
        ids = as_ids(ids)
        apart = self.pool.synthetic(ids)
        stored = self.features.read(ids[~apart])
        if not apart.any():
            return stored
        vectors = np.empty((len(ids), stored.shape[1]), np.float32)
        vectors[~apart], vectors[apart] = stored, self.features.extract(self.pool.read(ids[apart]))
        return vectors


def encoded(images: Images) -> list[str]:
    """Return images (n, h, w, c) as PNG in base64: lossless, and fit for a line of JSON.

    >>> pixels = np.arange(24, dtype=np.uint8).reshape(1, 2, 4, 3)
    >>> bool((decoded(encoded(pixels)[0], (2, 4, 3)) == pixels[0]).all())
    True
    """
    return [base64.b64encode(png(pixels)).decode() for pixels in images]


def decoded(text: str, shape: Sequence[int] | None = None) -> Images:
    """Return the image (h, w, c) that `encoded` wrote.

    Raises:
        DamageError: the text is none, or the image has another shape than is wanted.
    """
    from PIL import Image

    try:
        with Image.open(io.BytesIO(base64.b64decode(text, validate=True)), formats=("PNG",)) as image:
            pixels = np.asarray(image)
    except (OSError, ValueError, SyntaxError, binascii.Error) as error:
        raise _damaged(str(error)) from None
    pixels = pixels[:, :, None] if pixels.ndim == 2 else pixels
    if shape is not None and pixels.shape != tuple(shape):
        raise _damaged(f"it has (h, w, c) = {pixels.shape}, and the pool's images {tuple(shape)}")
    return pixels


def _damaged(what: str) -> RecordDamageError:
    return RecordDamageError(
        f"a synthetic image in the record is damaged: {what}",
        rule="a synthetic image is read only as it was written",
        hint="restore a copy of the record from before the damage",
    )
