"""Looks at a sample of stored images, and warns of what is most often a fault of how they were read."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from asal.core import Images
from asal.data.pool import StoredPool

SAMPLE = 100  # images, spread over the pool
SIDE = 64  # pixels; of a larger image every second, third … is looked at
DARK, BRIGHT = 32, 223  # of 255: an image without a pixel above, or below it, shows next to nothing
ALIKE = 1.0  # levels; the mean difference of two images that look the same
FEW = 4  # images; fewer say nothing about a pool


def warnings_of(images: StoredPool) -> list[str]:
    """Return a sentence for each thing that is wrong with a sample: nearly black, nearly white, or all alike.

    Cost: 100 images are read, one by one.
    """
    if not len(images):
        return []
    spots = np.unique(np.linspace(0, len(images) - 1, min(SAMPLE, len(images))).astype(np.int64))
    sample = np.stack([_reduced(images.read(spots[place : place + 1])[0]) for place in range(len(spots))])
    lowest, highest = np.percentile(sample.reshape(len(sample), -1), (0.1, 99.9), axis=1)
    sentences = [
        _counted(int((highest < DARK).sum()), len(sample), "black", "`range` under [pool] says which value is white"),
        _counted(int((lowest > BRIGHT).sum()), len(sample), "white", "see `range` and `background` under [pool]"),
    ]
    if len(sample) >= FEW and not any(sentences) and _alike(sample):
        sentences.append(f"all {len(sample):,} images of a sample look the same: check the source")
    return [sentence for sentence in sentences if sentence]


def _reduced(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    step = max(1, -(-max(image.shape[:2]) // SIDE))
    return image[::step, ::step]


def _counted(count: int, of: int, colour: str, hint: str) -> str:
    """Return a warning if half of a sample is of one colour, else nothing."""
    return f"{count:,} of {of:,} images of a sample are nearly {colour}: {hint}" if 2 * count >= of else ""


def _alike(sample: Images) -> bool:
    mean = sample.mean(axis=0)
    return all(np.abs(image - mean).mean() < ALIKE for image in sample)
