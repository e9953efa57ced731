"""Decodes bytes, files and arrays into 8-bit images; an image that cannot be decoded gets a reason, never a crash.

An EXIF rotation is applied, and the first frame of an animation is used. A `Conversion` says how pixels of more than
8 bits are scaled, what is under transparency, and how an image that is no square becomes one.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from PIL import Image

from asal.data.decoding import ANY, AS_BEFORE, Conversion, Unreadable, deep
from asal.data.decoding.fitting import NEUTRAL, fitted, shrink
from asal.data.decoding.opening import broken, opened
from asal.data.decoding.transparency import AUTO, flattened
from asal.data.decoding.upright import upright
from asal.data.sources import Lost, Raw


class Digest(Protocol):
    """What a hash of `hashlib` is: bytes go in."""

    def update(self, data: bytes, /) -> None: ...


def decode(
    raw: Raw, *, size: int | None, gray: bool, how: Conversion = AS_BEFORE, digest: Digest | None = None
) -> npt.NDArray[np.uint8]:
    """Return one image as uint8 (h, w, 1) if gray, else (h, w, 3).

    Args:
        raw: a file's bytes, its path, or pixels (h, w) or (h, w, c): uint8 0 … 255, floats, or other whole numbers.
        size: pixels of the square that it becomes, or None to keep the image's own shape.
        gray: one channel by luma (ITU-R 601-2), or three.
        how: what happens to deep pixels, transparency and images that are no squares.
        digest: is fed with the size and the pixels of the upright image before it is scaled, by which images that are
            equal only at `size` are distinguished.

    Raises:
        Unreadable: it cannot be decoded, with one reason.
        MemoryError: the memory was too small.
    """
    try:
        image = eight_bits(raw, how, lambda opened: shrink(opened, size, how))
        flat, under = flattened(image, how.background, gray)
        if not gray and flat.mode != "RGB":
            flat = flat.convert("RGB")
        if digest is not None:
            data = flat.tobytes()
            digest.update(b"%d %d " % flat.size)
            digest.update(data)
            if (flat.mode == "L") == gray and size in (None, flat.width) and (not size or flat.width == flat.height):
                return np.frombuffer(data, np.uint8).reshape(flat.height, flat.width, -1)  # as `_pixels` would
        return _pixels(flat, size, gray, how, under)
    except (Unreadable, MemoryError):  # the image is not the reason that the memory is full
        raise
    except Exception as error:  # Pillow's decoders raise many kinds of errors on broken bytes
        raise Unreadable(why_broken(raw, error)) from None


def eight_bits(raw: Raw, how: Conversion, shrinking: Callable[[Image.Image], object]) -> Image.Image:
    """Return an 8-bit image, upright, with its transparency.

    Args:
        shrinking: is called with a file that was opened and not decoded; it may have it decoded at a fraction of its
            size, and refuses one that is too large.

    Raises:
        Unreadable: it is gone, too large or no image. Pillow raises further kinds of errors for broken bytes.
    """
    if isinstance(raw, Lost):
        raise Unreadable(raw.reason)
    return _from_array(raw, how) if isinstance(raw, np.ndarray) else _from_file(raw, how, shrinking)


def _from_file(raw: bytes | Path, how: Conversion, shrinking: Callable[[Image.Image], object]) -> Image.Image:
    with opened(raw) as image:
        shrinking(image)
        deep.corrected(image)
        kind = deep.kind_of(image)
        if kind is None:
            return upright(image)
        wanted = deep.range_of(image, kind, how.ranges)
        plain = wanted in (None, deep.FULL) and (how.ranges is None or "transparency" not in image.info)
        if not plain:
            pixels, alpha = deep.read(image, raw)
            return _with_alpha(deep.to_8_bits(pixels, kind, wanted), alpha)
        decoded = upright(image)
        if decoded.mode in ("L", "LA", "RGB", "RGBA"):  # Pillow has taken the upper bytes
            return decoded
        return Image.fromarray(deep.to_8_bits(np.asarray(decoded), kind, None))


def _from_array(pixels: npt.NDArray[Any], how: Conversion) -> Image.Image:
    """Return an array of pixels as an 8-bit image."""
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[:, :, 0]
    if pixels.size == 0 or pixels.ndim not in (2, 3) or (pixels.ndim == 3 and pixels.shape[2] not in (3, 4)):
        raise Unreadable(f"its shape is {pixels.shape}, which is neither (h, w), (h, w, 1), (h, w, 3) nor (h, w, 4)")
    if pixels.dtype == np.bool_:
        pixels = pixels.astype(np.uint8) * np.uint8(255)
    if pixels.dtype.kind not in "uif":
        raise Unreadable(f"its pixels are {pixels.dtype}, neither whole numbers nor floating-point")
    if (kind := deep.kind_of_array(pixels)) is None:
        return Image.fromarray(np.ascontiguousarray(pixels))
    ranges = how.ranges
    wanted = ranges if ranges is None or isinstance(ranges, str) else ranges.get(ANY, ranges.get(kind))
    if pixels.ndim == 3 and pixels.shape[2] == 4:
        opacity = np.rint(pixels[..., 3] * (255.0 / (1 if kind == "float" else deep.FULL[1])))
        return _with_alpha(deep.to_8_bits(pixels[..., :3], kind, wanted), opacity.clip(0, 255).astype(np.uint8))
    return Image.fromarray(deep.to_8_bits(pixels, kind, wanted))


def _with_alpha(pixels: npt.NDArray[np.uint8], alpha: npt.NDArray[np.uint8] | None) -> Image.Image:
    return Image.fromarray(pixels if alpha is None else np.dstack([pixels, alpha]))


def _pixels(image: Image.Image, size: int | None, gray: bool, how: Conversion, under: str) -> npt.NDArray[np.uint8]:
    """Return the pixels of an L or RGB image; `under` is the colour that its transparency was laid over, or ""."""
    mode = "L" if gray else "RGB"
    if image.mode != mode:  # convert() copies even where the mode is the same
        image = image.convert(mode)
    if size:
        image = fitted(image, size, how.fit, under or (NEUTRAL if how.background == AUTO else how.background))
    return np.frombuffer(image.tobytes(), np.uint8).reshape(image.height, image.width, -1)


def why_broken(raw: Raw, error: Exception) -> str:
    """Describe an error of Pillow or of the file system in a few words."""
    if isinstance(raw, (bytes, Path)):
        return broken(raw, error)
    return f"it is broken ({' '.join(str(error).split()) or type(error).__name__})"[:200]
