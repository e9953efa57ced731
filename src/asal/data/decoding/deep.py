"""Pixels of more than 8 bits: what an image holds, and how a range of values becomes 0 … 255.

Pillow reads 16-bit colours as their upper bytes, in which 12-bit data have 16 levels left. Its decoders can also hand
out the lower bytes, if the byte order is given as the other one: an image is decoded twice.
"""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image, PpmImagePlugin, TiffImagePlugin

from asal.data.decoding import ANY, Range, Ranges, Unreadable
from asal.data.decoding.opening import opened
from asal.data.decoding.upright import upright

Kind: TypeAlias = Literal["16-bit", "integer", "float"]
Pixels: TypeAlias = npt.NDArray[Any]  # (h, w) or (h, w, 3)
Alpha: TypeAlias = npt.NDArray[np.uint8] | None  # (h, w)

FULL: Range = (0, 65535)
COLOURS = ("RGB", "RGBA", "LA")  # modes of which the lower bytes can be read
OTHER_ORDER = {";16B": ";16L", ";16L": ";16B", ";16N": ";16B"}  # N is this machine's, which is little-endian
NATIVE = {"F;32BF": "F;32F", "I;16BS": "I;16S", "I;32BS": "I;32S"}  # libtiff has swapped the bytes already
BITS_PER_SAMPLE = 258  # a TIFF tag


def corrected(image: Image.Image) -> None:
    """Correct how Pillow would decode two kinds of TIFF: 16-bit channels apart, and big-endian numbers by libtiff."""
    if not isinstance(image, TiffImagePlugin.TiffImageFile):
        return
    tiles = []
    for tile in image.tile:
        mode, *rest = tile.args if isinstance(tile.args, tuple) else (tile.args,)
        if tile.codec_name == "libtiff":
            mode = NATIVE.get(mode, mode)
        elif mode in ("R", "G", "B", "A") and image.tag_v2.get(BITS_PER_SAMPLE, (8,))[0] == 16:
            mode += ";16L" if image.tag_v2.prefix.startswith(b"II") else ";16B"
        tiles.append(tile._replace(args=(mode, *rest)))
    image.tile = tiles


def kind_of(image: Image.Image) -> Kind | None:
    """Return which kind of deep pixels an image has that was opened and not decoded; None for 8 bits."""
    if image.mode == "F":
        return "float"
    if image.mode.startswith("I;16") or (image.mode in COLOURS and _raw_mode(image)[-4:] in OTHER_ORDER):
        return "16-bit"
    if image.mode == "I":  # Pillow may open 16 bits as 32
        return "16-bit" if image.format in ("PNG", "PPM") else "integer"
    return "16-bit" if _white_of_ppm(image) else None


def kind_of_array(pixels: Pixels) -> Kind | None:
    """Return which kind of deep pixels an array has; None for 8 bits."""
    if pixels.dtype.kind == "f":
        return "float"
    if pixels.dtype.kind in "iu" and pixels.dtype != np.uint8:
        return "16-bit" if pixels.dtype == np.uint16 else "integer"
    return None


def range_of(image: Image.Image, kind: Kind, ranges: Ranges) -> Range | Literal["image"] | None:
    """Return the range for an opened image: None for what Pillow makes of it, the same as without ranges."""
    if ranges is None or isinstance(ranges, str):
        return ranges
    if ANY in ranges:
        return ranges[ANY]
    if image.format == "PPM" and _white_of_ppm(image) != FULL[1]:
        return None  # it says which value is white, and Pillow scales by that
    if _is_12_bit(image):
        return 0, 4095
    return ranges.get(kind)


def declares_white(image: Image.Image) -> bool:
    """Say whether the file itself says which value is white, so that it tells nothing about other files."""
    return _is_12_bit(image) or (image.format == "PPM" and _white_of_ppm(image) != FULL[1])


def read(image: Image.Image, raw: bytes | Path) -> tuple[Pixels, Alpha]:
    """Decode an opened image with deep pixels, and return them and the opacity 0 … 255, where it has any.

    Args:
        raw: what the image was opened from.
    """
    if image.format == "PPM":
        return _read_ppm(image), None
    if image.mode.startswith("I") or image.mode == "F":
        pixels = np.asarray(upright(image))
        return pixels, _alpha_of_key(pixels, image)
    raw_mode = _raw_mode(image)
    if raw_mode == "LA;16B":
        return _read_gray_alpha(raw)
    key = image.info.get("transparency")
    with opened(raw) as other:
        corrected(other)
        other.tile = [tile._replace(args=_other_order(tile.args)) for tile in other.tile]  # type: ignore[attr-defined]
        low = np.asarray(upright(other))
    pixels = np.asarray(upright(image)).astype(np.uint16) << 8 | low
    if pixels.shape[2] == 4:
        return pixels[..., :3], (pixels[..., 3] >> 8).astype(np.uint8)
    return pixels, None if key is None else _opaque_but(np.all(pixels == key, axis=2))


def to_8_bits(pixels: Pixels, kind: Kind, wanted: Range | Literal["image"] | None) -> npt.NDArray[np.uint8]:
    """Scale deep pixels to 0 … 255: a range; each image's own lowest and highest for "image"; or the plain ones.

    Raises:
        Unreadable: no range is given, and the values are not from 0 to 1; or they are no numbers.
    """
    if kind == "float" and not np.isfinite(pixels).all():
        raise Unreadable("some of its floating-point pixels are no finite numbers")
    if wanted is None:
        return _plain(pixels, kind)
    low, high = (float(pixels.min()), float(pixels.max())) if wanted == "image" else wanted
    if low == high:  # an image of one tone, by its own range
        return np.zeros(pixels.shape, np.uint8)
    if pixels.dtype.itemsize == 2 and kind == "16-bit":
        levels = np.arange(65536)
        table = levels / 257.0 if (low, high) == FULL else (levels - low) * (255.0 / (high - low))
        return np.rint(table).clip(0, 255).astype(np.uint8)[pixels]
    scaled = (pixels.astype(np.float64) - low) * (255.0 / (high - low))
    return np.rint(scaled).clip(0, 255).astype(np.uint8)


def _plain(pixels: Pixels, kind: Kind) -> npt.NDArray[np.uint8]:
    if kind == "integer":
        raise Unreadable(
            f"it has 32-bit integer pixels ({pixels.min():,} to {pixels.max():,}), of which the white value is not "
            "defined: set `range` under [pool]"
        )
    if kind == "float":
        if not (pixels.min() >= 0 and pixels.max() <= 1):
            raise Unreadable(
                f"its floating-point pixels go from {pixels.min():g} to {pixels.max():g}, not from 0 to 1: "
                "set `range` under [pool]"
            )
        return np.rint(pixels * 255.0).astype(np.uint8)
    return np.rint(pixels / 257.0).astype(np.uint8)


def _raw_mode(image: Image.Image) -> str:
    tiles: list[Any] = getattr(image, "tile", [])
    args = tiles[0].args if tiles else ""
    first = args[0] if isinstance(args, tuple) and args else args
    return first if isinstance(first, str) and not first.startswith("RGBa") else ""  # premultiplied: as Pillow reads it


def _other_order(args: Any) -> Any:
    first, *rest = args if isinstance(args, tuple) else (args,)
    other = first[:-4] + OTHER_ORDER.get(first[-4:], first[-4:])
    return (other, *rest) if isinstance(args, tuple) else other


def _is_12_bit(image: Image.Image) -> bool:
    return isinstance(image, TiffImagePlugin.TiffImageFile) and image.tag_v2.get(BITS_PER_SAMPLE) == (12,)


def _white_of_ppm(image: Image.Image) -> int:
    """Return which value a PPM says is white, of a PPM with two bytes a value; else 0."""
    if not isinstance(image, PpmImagePlugin.PpmImageFile) or not image.tile:
        return 0
    args = image.tile[0].args
    if args == "I;16B":
        return FULL[1]  # type: ignore[return-value]
    white = args[-1] if isinstance(args, tuple) else 0
    return white if isinstance(white, int) and white > 255 else 0


def _read_ppm(image: Image.Image) -> Pixels:
    """Return the values of a PPM as they are in the file."""
    tile: Any = image.tile[0]  # type: ignore[attr-defined]
    stream: Any = image.fp  # type: ignore[attr-defined]
    stream.seek(tile.offset)
    channels = 1 if image.mode in ("I", "I;16", "L") else 3
    count = image.width * image.height * channels
    if tile.codec_name == "ppm_plain":
        values = np.array(stream.read().split()[:count], np.uint16)
    else:
        values = np.frombuffer(stream.read(2 * count), ">u2").astype(np.uint16)
    if len(values) != count:
        raise Unreadable("it is broken: truncated, the end of the file is missing")
    return values.reshape((image.height, image.width) if channels == 1 else (image.height, image.width, 3))


def _read_gray_alpha(raw: bytes | Path) -> tuple[Pixels, Alpha]:
    """Read a PNG of 16-bit gray and opacity as one of four 8-bit channels: its pixels have as many bytes."""
    data = bytearray(raw if isinstance(raw, bytes) else raw.read_bytes())
    data[24:26] = b"\x08\x06"
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    with opened(bytes(data)) as image:
        channels = np.asarray(upright(image))
    return channels[..., 0].astype(np.uint16) << 8 | channels[..., 1], channels[..., 2].copy()


def _alpha_of_key(pixels: Pixels, image: Image.Image) -> Alpha:
    key = image.info.get("transparency")
    return _opaque_but(pixels == key) if isinstance(key, int) else None


def _opaque_but(transparent: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint8]:
    return np.where(transparent, 0, 255).astype(np.uint8)
