"""Finds which values of deep pixels become 0 and 255: one range for a pool, from a sample of its images.

10- to 12-bit cameras write 16-bit files of which the upper bits are empty: read as 0 … 65,535 they are black.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import numpy as np

from asal.core import Ids
from asal.data.decoding import Range, deep
from asal.data.decoding.deep import Kind, Pixels
from asal.data.decoding.opening import opened
from asal.data.sources import Listed, SourceImages

SAMPLE = 100  # images, spread over the rows
PROBE = 16  # images of a source that is slow to jump in; a sample is drawn only if one of these is deep
PIXELS = 2**20  # of a larger image every second, third … pixel is looked at
OUTLIERS = 0.01  # percent of an image's pixels at either end that may be defects of the sensor
OVERSHOOT = 0.1  # by how much floats that mean 0 … 1 may leave that range, as resampling makes them
NAMES = {"16-bit": "16-bit images", "integer": "images of whole numbers", "float": "floating-point images"}


def sampled(source: SourceImages, split: str, rows: Ids) -> dict[str, Range]:
    """Return the range of each kind of deep pixels in a sample of some rows; kinds that need none are left out.

    The sample depends on the rows alone. Cost: the headers of 100 images, and the pixels of those that are deep.
    """
    places = _spread(rows, SAMPLE if _jumps(source) else PROBE)
    found = list(_deep(source, split, places))
    if found and len(places) < min(SAMPLE, len(rows)):
        found = list(_deep(source, split, _spread(rows, SAMPLE)))
    kinds = {kind for kind, _, _ in found}
    ranges = {kind: _range(kind, [(low, high) for of, low, high in found if of == kind]) for kind in sorted(kinds)}
    return {kind: chosen for kind, chosen in ranges.items() if chosen is not None}


def range_lines(ranges: Mapping[str, Range]) -> list[str]:
    """Return a line for each range.

    >>> range_lines({"16-bit": (0, 4095)})
    ['16-bit images: values 0 … 4,095 are scaled to 0 … 255']
    """
    return [
        f"{NAMES.get(kind, 'images of more than 8 bits')}: values {_number(low)} … {_number(high)} are scaled to "
        "0 … 255"
        for kind, (low, high) in ranges.items()
    ]


def _number(value: float) -> str:
    text = f"{int(value):,}" if value == int(value) else f"{value:g}"
    return text.replace("-", "−")


def _spread(rows: Ids, count: int) -> Ids:
    return rows[np.unique(np.linspace(0, len(rows) - 1, min(count, len(rows))).astype(np.int64))]


def _jumps(source: SourceImages) -> bool:
    """Say whether any image is read as quickly as the next one: a folder on a disk."""
    return isinstance(source, Listed) and "://" not in str(getattr(source, "path", ""))


def _deep(source: SourceImages, split: str, rows: Ids) -> Iterator[tuple[Kind, float, float]]:
    """Yield the kind of each deep image, and its lowest and highest value but for outliers."""
    for record in source.records(split, rows):
        if isinstance(record.raw, np.ndarray) and deep.kind_of_array(record.raw) is None:
            return  # all the others are of the same array
        with suppress(Exception):  # what cannot be read gets its reason when it is taken in
            if isinstance(record.raw, np.ndarray):
                kind, pixels = deep.kind_of_array(record.raw), record.raw
            elif isinstance(record.raw, (bytes, Path)):
                kind, pixels = _of_file(record.raw)
            else:
                continue
            if kind is not None:
                yield kind, *_ends(pixels)


def _of_file(raw: bytes | Path) -> tuple[Kind | None, Pixels]:
    with opened(raw) as image:
        deep.corrected(image)
        kind = None if deep.declares_white(image) else deep.kind_of(image)
        return kind, deep.read(image, raw)[0] if kind else np.empty(0)


def _ends(pixels: Pixels) -> tuple[float, float]:
    values = pixels.ravel()[:: max(1, pixels.size // PIXELS)]
    if not np.isfinite(values).all():
        raise ValueError("some values are no numbers")
    spare = int(len(values) * OUTLIERS / 100)
    ordered = np.partition(values, (spare, len(values) - 1 - spare))
    return float(ordered[spare]), float(ordered[len(values) - 1 - spare])


def _range(kind: Kind, ends: list[tuple[float, float]]) -> Range | None:
    """Return the range for the lowest and highest values of some images; None where the plain one fits.

    It goes from 0 to the largest value of as many bits as are used, so that it does not depend on the brightest image.
    Where the values fill less than a quarter of that, as of a thermal camera, it goes from the lowest to the highest.
    """
    low, high = min(low for low, _ in ends), max(high for _, high in ends)
    if kind == "float" and low >= -OVERSHOOT and high <= 1 + OVERSHOOT:
        return None if low >= 0 and high <= 1 else (0, 1)
    if low == high:  # one tone tells nothing of the others
        return None
    bits = max(1, int(np.ceil(high))).bit_length()
    largest = 2**bits - 1
    if low < 0 or (high - low) * 4 < largest:
        return low, high
    return 0, largest
