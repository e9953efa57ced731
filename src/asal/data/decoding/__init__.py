"""How files of images are read: what they are, how deep their pixels are, and how they become 8-bit squares."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

LIMIT = 89_000_000  # pixels; just below where Pillow itself warns of a decompression bomb
WHITE = "#ffffff"

Fit: TypeAlias = Literal["pad", "crop", "squeeze"]
Range: TypeAlias = tuple[float, float]  # the values that become 0 and 255
Ranges: TypeAlias = Mapping[str, Range] | Literal["image"] | None

ANY = "any"  # the key of a range that the user set: it holds for every kind of pixels


class Unreadable(Exception):  # noqa: N818  # an expected result, not an error of the program
    """An image cannot be decoded; the reason in a few words."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True)
class Conversion:
    """How an image becomes 8-bit pixels of the wanted size. The defaults are those of pools from before there were any.

    Args:
        fit: what happens to an image that is no square: it is padded, its centre is cut out, or it is squeezed.
        background: the colour under transparency, `#rrggbb`; or "auto", by the image's own pixels.
        ranges: by kind of pixels ("16-bit", "integer", "float", or ANY) the values that become 0 and 255; "image" takes
            each image's own lowest and highest; None reads 16 bits as 0 … 65,535 and floats as 0 … 1, and nothing else.
        limit: pixels; a larger image is scaled while it is decoded where its format can do that, or else refused.
    """

    fit: Fit = "crop"
    background: str = WHITE
    ranges: Ranges = None
    limit: int = LIMIT


AS_BEFORE = Conversion()
