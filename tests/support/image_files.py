"""Image files that Pillow cannot write: 16-bit colours, and TIFFs of many kinds."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image


def chunk(kind: bytes, data: bytes) -> bytes:
    """A chunk of a PNG."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def bomb(width: int, height: int) -> bytes:
    """A small PNG of one colour whose pixels would take more memory than there is."""
    rows = zlib.compressobj(9)
    line, packed = bytes(1 + width // 8), b""
    for _ in range(height):
        packed += rows.compress(line)
    packed += rows.flush()
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")


def progressive_bomb(side: int) -> bytes:
    """A small progressive JPEG that says it is large: to decode it, all its coefficients must be held in memory."""
    with io.BytesIO() as file:
        Image.new("RGB", (64, 64), "red").save(file, "JPEG", progressive=True)
        data = bytearray(file.getvalue())
    frame = data.index(b"\xff\xc2")
    data[frame + 5 : frame + 9] = struct.pack(">HH", side, side)
    return bytes(data)


def png16(pixels: npt.NDArray[np.uint16], *, extra: bytes = b"") -> bytes:
    """A PNG with 16 bits a channel, (h, w) or (h, w, 2 … 4); its rows use each of the five filters in turn."""
    height, width = pixels.shape[:2]
    channels = 1 if pixels.ndim == 2 else pixels.shape[2]
    step = 2 * channels
    rows = np.frombuffer(pixels.astype(">u2").tobytes(), np.uint8).reshape(height, -1).astype(int)
    lines = []
    for y, row in enumerate(rows):
        up = rows[y - 1] if y else np.zeros_like(row)
        left, corner = (np.concatenate([np.zeros(step, int), of[:-step]]) for of in (row, up))
        line = (row - _predicted(y % 5, left, up, corner)) % 256
        lines.append(bytes([y % 5]) + line.astype(np.uint8).tobytes())
    colour = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    header = struct.pack(">IIBBBBB", width, height, 16, colour, 0, 0, 0)
    body = chunk(b"IHDR", header) + extra + chunk(b"IDAT", zlib.compress(b"".join(lines))) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def _predicted(kind: int, left: Any, up: Any, corner: Any) -> Any:
    if kind < 4:
        return (np.zeros_like(up), left, up, (left + up) // 2)[kind]
    guess = left + up - corner
    near = [abs(guess - of) for of in (left, up, corner)]
    first = (near[0] <= near[1]) & (near[0] <= near[2])
    return np.where(first, left, np.where(near[1] <= near[2], up, corner))


def tiff(
    pixels: npt.NDArray[Any],
    *,
    order: str = "<",
    packed: bool = False,
    apart: bool = False,
    more: dict[int, tuple[int, ...]] | None = None,
    data: bytes = b"",
) -> bytes:
    """A TIFF of one strip: (h, w), or (h, w, 3 or 4), the last channel then being opacity.

    Args:
        order: of the bytes, "<" or ">".
        packed: by deflate, which libtiff reads.
        apart: each channel in a strip of its own.
        more: further tags, or other values of the usual ones.
        data: the strip, instead of the pixels.
    """
    height, width = pixels.shape[:2]
    channels = 1 if pixels.ndim == 2 else pixels.shape[2]
    stored = pixels.astype(pixels.dtype.newbyteorder(order))
    layers = np.moveaxis(stored, 2, 0) if apart else [stored]
    strips = [data or np.ascontiguousarray(layer).tobytes() for layer in layers]
    strips = [zlib.compress(strip) for strip in strips] if packed else strips
    kinds = {"u": 1, "i": 2, "f": 3}
    tags: dict[int, tuple[int, ...]] = {
        256: (width,), 257: (height,), 258: (8 * pixels.dtype.itemsize,) * channels, 259: (8 if packed else 1,),
        262: (1 if channels == 1 else 2,), 277: (channels,), 278: (height,), 284: (2 if apart else 1,),
        339: (kinds[pixels.dtype.kind],) * channels, **({338: (2,)} if channels == 4 else {}), **(more or {}),
    }  # fmt: skip
    tags[279] = tuple(map(len, strips))
    start = 8 + 2 + 12 * (len(tags) + 1) + 4  # of what does not fit into the directory
    values, entries = b"", {}
    tags[273] = tuple(start + sum(map(len, strips[:place])) for place in range(len(strips)))
    values += b"".join(strips) + b"\0" * (sum(map(len, strips)) % 2)
    for tag, numbers in sorted(tags.items()):
        packed_numbers = struct.pack(f"{order}{len(numbers)}I", *numbers)
        if len(numbers) == 1:
            held = packed_numbers
        else:
            held, values = struct.pack(f"{order}I", start + len(values)), values + packed_numbers
        entries[tag] = struct.pack(f"{order}HHI", tag, 4, len(numbers)) + held
    head = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HI", 42, 8)
    listed = b"".join(entries[tag] for tag in sorted(entries))
    return head + struct.pack(f"{order}H", len(entries)) + listed + b"\0" * 4 + values
