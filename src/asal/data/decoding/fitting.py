"""From an image of any shape to a square: padded, cut to its centre, or squeezed; large ones are decoded smaller."""

from __future__ import annotations

from PIL import Image

from asal.data.decoding import Conversion, Fit, Unreadable

NEUTRAL = "#808080"  # the padding, where nothing else decides


def shrink(image: Image.Image, size: int | None, how: Conversion) -> None:
    """Have an opened image decoded at a fraction of its size: never below twice the wanted one, unless over the limit.

    Raises:
        Unreadable: it is over the limit, and its format is decoded at full size only.
    """
    width, height = image.size
    if size and width * height <= how.limit:
        image.draft(None, _enough(width, height, size, how.fit))
    elif size:
        _within(image, size, how)
    if pixels_of(image) > how.limit:
        raise Unreadable(
            f"{width} × {height} pixels are more than the limit of {how.limit:,}: raise `pixel_limit` under [pool], "
            "or make the image smaller"
        )


def fitted(image: Image.Image, size: int, fit: Fit, padding: str) -> Image.Image:
    """Return the image, L or RGB, as a square of `size` pixels.

    Args:
        padding: the colour beside a padded image, `#rrggbb`.
    """
    if image.size == (size, size):
        return image
    if fit == "squeeze":
        return image.resize((size, size), Image.Resampling.BICUBIC)
    if fit == "pad" and image.width != image.height:
        return _padded(image, size, padding)
    side = min(image.size)
    left, top = (image.width - side) / 2, (image.height - side) / 2
    # The same as scaling the short side and cropping the centre, but a long thin image never becomes huge in between.
    return image.resize((size, size), Image.Resampling.BICUBIC, box=(left, top, left + side, top + side))


def content(size: tuple[int, int], square: int) -> tuple[int, int, int, int]:
    """Return where in a padded square of so many pixels an image of this size (width, height) lies.

    >>> content((300, 100), 64), content((20, 20), 8)
    ((0, 21, 64, 42), (0, 0, 8, 8))
    """
    longest = max(size)
    width, height = (max(1, round(side * square / longest)) for side in size)
    left, top = (square - width) // 2, (square - height) // 2
    return left, top, left + width, top + height


def _padded(image: Image.Image, size: int, padding: str) -> Image.Image:
    left, top, right, bottom = content(image.size, size)
    colour = Image.new("RGB", (1, 1), padding).convert(image.mode).getpixel((0, 0))
    square = Image.new(image.mode, (size, size), colour)
    square.paste(image.resize((right - left, bottom - top), Image.Resampling.BICUBIC), (left, top))
    return square


def _enough(width: int, height: int, size: int, fit: Fit) -> tuple[int, int]:
    """Return the pixels that are enough to be scaled down to the square: twice as many on the side that fills it."""
    if fit != "pad":
        return 2 * size, 2 * size
    longest = max(width, height)
    return max(1, -(-2 * size * width // longest)), max(1, -(-2 * size * height // longest))


def _within(image: Image.Image, size: int, how: Conversion) -> None:
    """Have an image over the limit decoded at a fraction: a JPEG at 1/2, 1/4 or 1/8, a JPEG 2000 at 1/2, 1/4 …"""
    width, height = image.size
    enough = _enough(width, height, size, how.fit)
    wanted = min(width // enough[0], height // enough[1])  # as small as is enough, or smaller if the limit needs it
    scale = 1
    while width * height > how.limit * scale**2 or 2 * scale <= wanted:
        scale *= 2
    if image.format == "JPEG2000":
        image.reduce = scale.bit_length() - 1  # type: ignore[method-assign, assignment]  # Pillow's name for it
    else:
        scale = min(scale, 8)
        image.draft(None, (max(1, width // scale), max(1, height // scale)))


def pixels_of(image: Image.Image) -> int:
    """Return how many pixels of an opened image will be decoded."""
    halvings = getattr(image, "_reduce", 0) if image.format == "JPEG2000" else 0
    return (image.width * image.height) >> (2 * halvings)
