"""Looks at a sample of a source's files: what shapes its images have, and whether they are gray. Headers are enough.

Whatever the number of files, a few hundred of them are opened, and none for longer than a few seconds in all.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Literal, Protocol, TypeAlias

import numpy as np
from PIL import Image

from asal.data.decoding import Unreadable
from asal.data.decoding.opening import broken, opened
from asal.data.decoding.upright import upright_size
from asal.data.sources import Lost, Raw
from asal.errors import counted

Kind: TypeAlias = Literal["photographs", "small-images"]

LOOKED_AT = 300  # files
SECONDS = 4.0  # at most, on a slow disk; but AT_LEAST files are opened
AT_LEAST = 20
SMALL, SMALL_GRAY = 40, 64  # pixels of the longer side: up to these, images are no photographs
GRAY = frozenset({"1", "L", "LA", "I", "F", "I;16", "I;16B", "I;16L", "I;16N"})  # Pillow's modes
NEARLY = 2  # what rounding in a JPEG makes of equal channels


class Sampled(Protocol):
    """A source that yields a sample of its files."""

    def sample(self, number: int) -> Iterable[tuple[str, Raw]]:
        """Yield the names of files spread over all folders, and the files, or their beginnings."""
        ...


@dataclass(frozen=True)
class Header:
    """One image, as far as its header says: pixels as it is looked at, and whether it is gray."""

    width: int
    height: int
    gray: bool
    form: str  # such as JPEG


@dataclass
class Survey:
    """What a sample of files is.

    Args:
        unreadable: names of files that are no images, each with the reason.
    """

    images: list[Header] = field(default_factory=list)
    unreadable: dict[str, str] = field(default_factory=dict)

    @property
    def longer_side(self) -> int:
        """The longer side of a typical image, in pixels."""
        return round(median(max(image.width, image.height) for image in self.images))

    @property
    def gray(self) -> bool:
        """Whether every image is gray."""
        return all(image.gray for image in self.images)

    @property
    def kind(self) -> Kind:
        """Whether most of the images are photographs, or as small as those of MNIST and CIFAR-10."""
        most_gray = sum(image.gray for image in self.images) > len(self.images) / 2
        return "small-images" if self.longer_side <= (SMALL_GRAY if most_gray else SMALL) else "photographs"

    def lines(self) -> list[str]:
        """Return what people should know of the images' shapes, and of files that are none."""
        forms = ", ".join(form for form, _ in Counter(image.form for image in self.images).most_common(4))
        colours = "gray" if self.gray else "some gray" if any(image.gray for image in self.images) else "colour"
        lines = [f"shapes: {shapes([(one.width, one.height) for one in self.images])}; {colours}; {forms}"]
        if self.unreadable:
            looked_at = len(self.images) + len(self.unreadable)
            name, reason = next(iter(self.unreadable.items()))
            number = counted(len(self.unreadable), "file")
            lines.append(f"no images: {number} of {looked_at} that were looked at, such as {name}: {reason}")
        return lines


def survey(source: Sampled, number: int = LOOKED_AT, seconds: float = SECONDS) -> Survey:
    """Look at a sample of a source's files."""
    found, begun = Survey(), time.monotonic()
    for looked_at, (name, raw) in enumerate(source.sample(number), 1):
        try:
            found.images.append(_header(raw))
        except Unreadable as error:
            found.unreadable[name] = error.reason
        if looked_at >= AT_LEAST and time.monotonic() - begun > seconds:
            break
    return found


def shapes(sizes: Sequence[tuple[int, int]]) -> str:
    """Return the range of sizes (width, height) and of their proportions.

    >>> shapes([(400, 300), (400, 1200), (300, 400)])
    '400 × 300 to 400 × 1,200 pixels, 1.3 : 1 to 1 : 3'
    >>> shapes([(28, 28), (28, 28)])
    'all 28 × 28 pixels'
    >>> shapes([(1, 10_000)])
    'all 1 × 10,000 pixels'
    >>> shapes([(20, 20), (1, 10_000)])
    '20 × 20 to 1 × 10,000 pixels, 1 : 1 to 1 : 10,000'
    """
    ordered = sorted(sizes, key=lambda size: (size[0] * size[1], -size[0]))
    smallest, largest = (f"{width:,} × {height:,}" for width, height in (ordered[0], ordered[-1]))
    ratios = sorted(width / height for width, height in sizes)
    widest, tallest = _ratio(ratios[-1]), _ratio(ratios[0])
    if ordered[0] == ordered[-1] and widest == tallest:
        return f"all {smallest} pixels"
    return f"{smallest} to {largest} pixels, {widest}" + ("" if widest == tallest else f" to {tallest}")


def _ratio(ratio: float) -> str:
    return f"{_rounded(ratio)} : 1" if ratio >= 1 else f"1 : {_rounded(1 / ratio)}"


def _rounded(number: float) -> str:
    return f"{number:.2g}" if number < 100 else f"{number:,.0f}"


def _header(raw: Raw) -> Header:
    if isinstance(raw, Lost):
        raise Unreadable(raw.reason)
    if isinstance(raw, np.ndarray):
        return Header(raw.shape[1], raw.shape[0], raw.ndim == 2 or raw.shape[2] == 1, "array")
    try:
        with opened(raw) as image:
            width, height = upright_size(image)
            gray = image.mode in GRAY or (max(width, height) <= SMALL_GRAY and _looks_gray(image))
            return Header(width, height, gray, image.format or "")
    except (Unreadable, MemoryError):
        raise
    except Exception as error:  # Pillow's decoders raise many kinds of errors on broken bytes
        raise Unreadable(broken(raw, error) if isinstance(raw, bytes | Path) else str(error)) from None


def _looks_gray(image: Image.Image) -> bool:
    """Whether an image with three channels has three times the same."""
    pixels = np.asarray(image.convert("RGB"), np.int16)
    return int(np.ptp(pixels, axis=2).max()) <= NEARLY
