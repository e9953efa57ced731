"""Blends a transparent image over a colour from which its drawing stands out.

"auto" is mid gray, over which white strokes and black ones both show. Where more than half of a drawing would be lost
in mid gray, it is white or black, whichever the drawing differs from more. This depends on the pixels of that image
alone, so an image looks the same in every pool, whatever else is in it and however often it is added.
"""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageColor

AUTO = "auto"
GRAY, WHITE, BLACK = "#808080", "#ffffff", "#000000"
TELLS = 48  # levels of 255: what differs less from the background is hard to see
SIDE = 256  # pixels; of a larger image every second, third … is looked at


def hexadecimal(colour: str) -> str:
    """Return a colour as `#rrggbb`; "auto" stays.

    Raises:
        ValueError: it is no colour.

    >>> hexadecimal("white"), hexadecimal("#f00"), hexadecimal("auto")
    ('#ffffff', '#ff0000', 'auto')
    """
    if colour == AUTO:
        return AUTO
    red, green, blue, *_ = ImageColor.getrgb(colour)
    return f"#{red:02x}{green:02x}{blue:02x}"


def flattened(image: Image.Image, background: str, gray: bool) -> tuple[Image.Image, str]:
    """Return an 8-bit image as L or RGB without transparency, and the colour that is under it; "" where none is.

    Args:
        background: `#rrggbb`, or "auto".
        gray: the image will have one channel: only what differs in luma stands out.
    """
    if image.mode in ("L", "RGB") and "transparency" not in image.info:
        return image, ""
    if not image.has_transparency_data:
        return image.convert("RGB"), ""
    colours = image.convert("RGBA")
    if background == AUTO:
        background = contrasting(colours, gray)
    under = Image.new("RGBA", colours.size, background)
    return Image.alpha_composite(under, colours).convert("RGB"), background


def contrasting(image: Image.Image, gray: bool) -> str:
    """Return the background that most of an RGBA image differs from: mid gray, or else white or black."""
    step = max(1, -(-max(image.size) // SIDE))
    pixels = np.asarray(image)[::step, ::step]
    opacity = pixels[..., 3].astype(np.float64)
    if not opacity.any():
        return GRAY
    drawing = pixels[..., :3].astype(np.float64)
    if gray:
        drawing = (drawing @ np.array([0.299, 0.587, 0.114]))[..., None]
    differing = np.abs(drawing - 128).max(axis=2) >= TELLS
    if 2 * opacity[differing].sum() >= opacity.sum():
        return GRAY
    brightness = float(np.average(drawing.mean(axis=2), weights=opacity))
    return WHITE if brightness < 128 else BLACK
