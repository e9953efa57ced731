"""Bytes, files and arrays made into 8-bit images; whatever is wrong with one is a reason, never a crash.

What is decided here: transparency is laid over white; 16-bit gray keeps its high byte's range (÷ 257);
an EXIF rotation is applied; of an animation the first frame is taken; a size means that the centre square
of the upright image is scaled to it (which equals scaling the short side and cropping the centre, without
ever making a long thin picture huge).
"""

from __future__ import annotations

import io
import os
import stat
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from asal.data.sources import Lost, Raw

AT_ONCE = 2**20  # bytes; a smaller file is read in one go
LIMIT = 89_000_000  # pixels; where Pillow itself begins to suspect a decompression bomb

# Named, because Pillow would otherwise also try formats that start other programs (EPS runs Ghostscript)
# or that take any bytes for an image (TGA).
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "JPEG2000", "AVIF", "ICO")

ORIENTATION = 0x0112  # the EXIF tag; its values, and what puts the image upright
TELLING = {"exif", "Raw profile type exif", "xmp", "XML:com.adobe.xmp"}  # where Pillow looks for it, but in a TIFF
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class Unreadable(Exception):  # noqa: N818  # an answer, not a fault of the program
    """An image that cannot be had, and why, in a few words."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def decode(raw: Raw, *, size: int | None, gray: bool, limit: int = LIMIT) -> npt.NDArray[np.uint8]:
    """Return one image as uint8 (h, w, 1) if gray, else (h, w, 3).

    Args:
        raw: a file's bytes, its path, or pixels: uint8 0 … 255, or floats in [0, 1].
        size: pixels; scale the short side to it and crop the centre, or keep the image as it is.
        gray: one channel by luma (ITU-R 601-2), or three.
        limit: pixels; a larger image is refused before it is decoded.

    Raises:
        Unreadable: whatever is wrong with it, one reason.
        MemoryError: there was too little of it.
    """
    try:
        if isinstance(raw, np.ndarray):
            return _fit(Image.fromarray(_bytes(raw)), size, gray) if size else _channels(_bytes(raw), gray)
        if isinstance(raw, Lost):
            raise Unreadable(raw.reason)
        with _open(raw) as image:
            if image.width * image.height > limit:
                raise Unreadable(f"{image.width} × {image.height} pixels are more than the limit of {limit:,}")
            if size:  # a JPEG need not be decoded at 4,000 pixels to be seen at 64: this only ever halves it
                image.draft(None, (2 * size, 2 * size))
            return _fit(_plain(_turned(image)), size, gray)
    except (Unreadable, MemoryError):  # too little memory is no fault of the image
        raise
    except Exception as error:  # Pillow's decoders raise nearly anything on broken bytes
        raise Unreadable(_reason(error)) from None


@cache
def _formats() -> tuple[str, ...]:
    """Return the formats that this Pillow was built with: asking it for another one is an error."""
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def _open(raw: bytes | Path) -> Image.Image:
    if isinstance(raw, Path):
        name = os.fspath(raw)
        facts = os.stat(name)
        if not stat.S_ISREG(facts.st_mode):  # a pipe would keep us waiting for ever
            raise Unreadable("it is not a file")
        if facts.st_size > AT_ONCE:
            return Image.open(name, formats=_formats())
        with open(name, "rb", buffering=0) as file:  # Pillow reads a header in dozens of small sips
            raw = file.read(facts.st_size)
    if not raw:
        raise Unreadable("it is empty")
    return Image.open(io.BytesIO(raw), formats=_formats())


def _turned(image: Image.Image) -> Image.Image:
    image.load()  # first: of a TIFF this applies the rotation, and takes the tag away
    if not (hasattr(image, "tag_v2") or TELLING & image.info.keys()):
        return image  # without asking, which costs as much as decoding a small image
    try:
        orientation = image.getexif().get(ORIENTATION, 1)
    except Exception:  # broken EXIF does not make the pixels worse
        orientation = 1
    step = UPRIGHT.get(orientation)
    return image if step is None else image.transpose(step)


def _plain(image: Image.Image) -> Image.Image:
    """Return the image as L or RGB, without transparency."""
    if image.mode in ("L", "RGB") and "transparency" not in image.info:
        return image
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        return Image.fromarray(_narrow(image))
    if image.has_transparency_data:
        colours = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", colours.size, "white"), colours).convert("RGB")
    return image.convert("RGB")


def _narrow(image: Image.Image) -> npt.NDArray[np.uint8]:
    pixels = np.asarray(image)
    if image.mode == "F":
        return _unit(pixels)
    # Pillow may open 16 bits as "I"; real 32-bit integers have no agreed white.
    if image.mode == "I" and image.format not in ("PNG", "PPM"):
        raise Unreadable("it has 32-bit integer pixels, and none of them is known to be white")
    return np.rint(pixels / 257.0).astype(np.uint8)


def _unit(pixels: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    if not (pixels.min() >= 0 and pixels.max() <= 1):  # so written, NaN is refused too
        raise Unreadable(f"its floating-point pixels go from {pixels.min():g} to {pixels.max():g}, not from 0 to 1")
    return np.rint(pixels * 255.0).astype(np.uint8)


def _bytes(pixels: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """Return an array of pixels as uint8 (h, w), or (h, w, 3)."""
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[:, :, 0]
    if pixels.size == 0 or pixels.ndim not in (2, 3) or (pixels.ndim == 3 and pixels.shape[2] not in (3, 4)):
        raise Unreadable(f"its shape is {pixels.shape}, which is neither (h, w), (h, w, 1), (h, w, 3) nor (h, w, 4)")
    if pixels.dtype.kind in "fb":
        pixels = _unit(pixels)
    if pixels.dtype != np.uint8:
        raise Unreadable(f"its pixels are {pixels.dtype}, neither uint8 nor floating-point")
    if pixels.ndim == 3 and pixels.shape[2] == 4:
        return np.asarray(_plain(Image.fromarray(pixels)))
    return pixels


def _channels(pixels: npt.NDArray[np.uint8], gray: bool) -> npt.NDArray[np.uint8]:
    if pixels.ndim == 2:
        return np.repeat(pixels[:, :, None], 1 if gray else 3, axis=2)
    return _fit(Image.fromarray(pixels), None, gray) if gray else np.array(pixels)


def _fit(image: Image.Image, size: int | None, gray: bool) -> npt.NDArray[np.uint8]:
    mode = "L" if gray else "RGB"
    if image.mode != mode:  # Pillow would make a copy
        image = image.convert(mode)
    if size and image.size != (size, size):
        side = min(image.size)
        left, top = (image.width - side) / 2, (image.height - side) / 2
        image = image.resize((size, size), Image.Resampling.BICUBIC, box=(left, top, left + side, top + side))
    return np.frombuffer(image.tobytes(), np.uint8).reshape(image.height, image.width, -1)


def _reason(error: Exception) -> str:
    """Say in a few words what Pillow or the file system met."""
    known: tuple[tuple[type[Exception], str], ...] = (
        (FileNotFoundError, "there is no such file"),
        (PermissionError, "reading it is not permitted"),
        (UnidentifiedImageError, "it is not an image in a known format (or it is broken from the start)"),
        (Image.DecompressionBombError, "its pixels are more than any limit"),
    )
    for kind, reason in known:
        if isinstance(error, kind):
            return reason
    return f"it is broken ({' '.join(str(error).split()) or type(error).__name__})"[:200]
