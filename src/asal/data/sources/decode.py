"""Decoding bytes, files and arrays into 8-bit images; an image that cannot be decoded gets a reason, never a crash.

Transparency is laid over white. 16-bit gray is scaled to 8 bits (÷ 257). An EXIF rotation is applied. The first frame
of an animation is used. With a size, the centre square of the upright image is scaled to it (the same as scaling the
short side and cropping the centre, but a long thin image never becomes huge in between).
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

AT_ONCE = 2**20  # bytes; a smaller file is read with one call
LIMIT = 89_000_000  # pixels; just below where Pillow itself warns of a decompression bomb

# A list, because Pillow would otherwise also try formats that start other programs (EPS runs Ghostscript)
# or that accept any bytes as an image (TGA).
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "JPEG2000", "AVIF", "ICO")

ORIENTATION = 0x0112  # the EXIF tag; UPRIGHT has the transposition for each of its values
EXIF_KEYS = {"exif", "Raw profile type exif", "xmp", "XML:com.adobe.xmp"}  # where Pillow finds it, except in a TIFF
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class Unreadable(Exception):  # noqa: N818  # an expected result, not an error of the program
    """An image cannot be decoded; the reason in a few words."""

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
        Unreadable: it cannot be decoded, with one reason.
        MemoryError: the memory was too small.
    """
    try:
        if isinstance(raw, np.ndarray):
            return _fit(Image.fromarray(_as_uint8(raw)), size, gray) if size else _channels(_as_uint8(raw), gray)
        if isinstance(raw, Lost):
            raise Unreadable(raw.reason)
        with _open(raw) as image:
            if image.width * image.height > limit:
                raise Unreadable(f"{image.width} × {image.height} pixels are more than the limit of {limit:,}")
            if size:  # a large JPEG is decoded at a fraction of its size, never below twice the wanted one
                image.draft(None, (2 * size, 2 * size))
            return _fit(_without_transparency(_upright(image)), size, gray)
    except (Unreadable, MemoryError):  # the image is not the reason that the memory is full
        raise
    except Exception as error:  # Pillow's decoders raise many kinds of errors on broken bytes
        raise Unreadable(_reason(error)) from None


@cache
def _formats() -> tuple[str, ...]:
    """Return those of FORMATS that this Pillow was built with: asking it for another one is an error."""
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def _open(raw: bytes | Path) -> Image.Image:
    if isinstance(raw, Path):
        name = os.fspath(raw)
        status = os.stat(name)
        if not stat.S_ISREG(status.st_mode):  # reading from a pipe could block for ever
            raise Unreadable("it is not a file")
        if status.st_size > AT_ONCE:
            return Image.open(name, formats=_formats())
        with open(name, "rb", buffering=0) as file:  # Pillow alone reads a header with dozens of small calls
            raw = file.read(status.st_size)
    if not raw:
        raise Unreadable("it is empty")
    return Image.open(io.BytesIO(raw), formats=_formats())


def _upright(image: Image.Image) -> Image.Image:
    image.load()  # first, because for a TIFF this applies the rotation and removes the tag
    if not (hasattr(image, "tag_v2") or EXIF_KEYS & image.info.keys()):
        return image  # getexif() costs as much as decoding a small image
    try:
        orientation = image.getexif().get(ORIENTATION, 1)
    except Exception:  # the pixels may be intact although the EXIF data are broken
        orientation = 1
    transposition = UPRIGHT.get(orientation)
    return image if transposition is None else image.transpose(transposition)


def _without_transparency(image: Image.Image) -> Image.Image:
    """Return the image as L or RGB, without transparency."""
    if image.mode in ("L", "RGB") and "transparency" not in image.info:
        return image
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        return Image.fromarray(_to_8_bits(image))
    if image.has_transparency_data:
        colours = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", colours.size, "white"), colours).convert("RGB")
    return image.convert("RGB")


def _to_8_bits(image: Image.Image) -> npt.NDArray[np.uint8]:
    pixels = np.asarray(image)
    if image.mode == "F":
        return _from_floats(pixels)
    # Pillow may open 16 bits as "I"; for real 32-bit integers it is not defined which value is white.
    if image.mode == "I" and image.format not in ("PNG", "PPM"):
        raise Unreadable("it has 32-bit integer pixels, of which the white value is not defined")
    return np.rint(pixels / 257.0).astype(np.uint8)


def _from_floats(pixels: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    if not (pixels.min() >= 0 and pixels.max() <= 1):  # written this way, NaN is refused too
        raise Unreadable(f"its floating-point pixels go from {pixels.min():g} to {pixels.max():g}, not from 0 to 1")
    return np.rint(pixels * 255.0).astype(np.uint8)


def _as_uint8(pixels: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """Return an array of pixels as uint8 (h, w), or (h, w, 3)."""
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[:, :, 0]
    if pixels.size == 0 or pixels.ndim not in (2, 3) or (pixels.ndim == 3 and pixels.shape[2] not in (3, 4)):
        raise Unreadable(f"its shape is {pixels.shape}, which is neither (h, w), (h, w, 1), (h, w, 3) nor (h, w, 4)")
    if pixels.dtype.kind in "fb":
        pixels = _from_floats(pixels)
    if pixels.dtype != np.uint8:
        raise Unreadable(f"its pixels are {pixels.dtype}, neither uint8 nor floating-point")
    if pixels.ndim == 3 and pixels.shape[2] == 4:
        return np.asarray(_without_transparency(Image.fromarray(pixels)))
    return pixels


def _channels(pixels: npt.NDArray[np.uint8], gray: bool) -> npt.NDArray[np.uint8]:
    if pixels.ndim == 2:
        return np.repeat(pixels[:, :, None], 1 if gray else 3, axis=2)
    return _fit(Image.fromarray(pixels), None, gray) if gray else np.array(pixels)


def _fit(image: Image.Image, size: int | None, gray: bool) -> npt.NDArray[np.uint8]:
    mode = "L" if gray else "RGB"
    if image.mode != mode:  # convert() copies even where the mode is the same
        image = image.convert(mode)
    if size and image.size != (size, size):
        side = min(image.size)
        left, top = (image.width - side) / 2, (image.height - side) / 2
        image = image.resize((size, size), Image.Resampling.BICUBIC, box=(left, top, left + side, top + side))
    return np.frombuffer(image.tobytes(), np.uint8).reshape(image.height, image.width, -1)


def _reason(error: Exception) -> str:
    """Describe an error of Pillow or of the file system in a few words."""
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
