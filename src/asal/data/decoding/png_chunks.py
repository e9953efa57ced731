"""Leaves out the parts of a PNG that no pixel depends on, where Pillow would refuse the image because of their size.

A colour profile or a text is compressed, and Pillow refuses one of more than 1 MiB, since it inflates all of them.
Nothing here is inflated but orientation data, and of these no more than 1 MiB.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from typing import IO

MAGIC = b"\x89PNG\r\n\x1a\n"
BULKY = frozenset({b"iCCP", b"zTXt", b"iTXt", b"tEXt"})
SAFE = 1_000  # bytes; compressed data inflate 1,032-fold at most: a shorter chunk stays below 1 MiB
INFLATED = 2**20  # bytes; what Pillow inflates of a chunk
ORIENTATION = (b"Raw profile type exif\0", b"XML:com.adobe.xmp\0")  # texts that say how the image is turned


def trimmed(stream: IO[bytes]) -> IO[bytes]:
    """Return the stream, at its start; or another one, without bulky chunks, if it is a PNG that has any."""
    stream.seek(0)
    if stream.read(len(MAGIC)) != MAGIC:
        stream.seek(0)
        return stream
    chunks = list(_chunks(stream))
    bulky = [start for start, end, kind in chunks if kind in BULKY and end - start > SAFE + 12]
    if bulky:
        return _without(stream, chunks, bulky)
    stream.seek(0)
    return stream


def _without(stream: IO[bytes], chunks: list[tuple[int, int, bytes]], bulky: list[int]) -> IO[bytes]:
    kept = io.BytesIO()
    kept.write(MAGIC)
    for start, end, kind in chunks:
        stream.seek(start)
        if start not in bulky:
            kept.write(stream.read(end - start))
        elif kind != b"iCCP":
            chunk = stream.read(end - start)
            if chunk[8:].startswith(ORIENTATION) and _inflates(kind, chunk[8:-4]):
                kept.write(chunk)
    kept.seek(0)
    return kept


def _chunks(stream: IO[bytes]) -> Iterator[tuple[int, int, bytes]]:
    """Yield where each chunk starts and ends, and its kind."""
    start = len(MAGIC)
    while True:
        stream.seek(start)
        head = stream.read(8)
        if len(head) < 8:
            return
        length, kind = struct.unpack(">I4s", head)
        yield start, start + length + 12, kind
        if kind == b"IEND":
            return
        start += length + 12


def _inflates(kind: bytes, text: bytes) -> bool:
    """Say whether the data of a text chunk stay within what Pillow inflates."""
    _, _, rest = text.partition(b"\0")
    if kind == b"tEXt":
        return True
    if kind == b"iTXt":
        compressed, rest = rest[:1] == b"\1", rest[2:].split(b"\0", 2)[-1]
        if not compressed:
            return True
    else:
        rest = rest[1:]
    inflater = zlib.decompressobj()
    try:
        inflater.decompress(rest, INFLATED)
    except zlib.error:
        return False
    return not inflater.unconsumed_tail
