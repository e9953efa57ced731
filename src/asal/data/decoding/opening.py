"""Opens an image file for decoding: which formats are tried, and why a file is none of them."""

from __future__ import annotations

import io
import os
import stat
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import IO

from PIL import Image, TiffImagePlugin, UnidentifiedImageError

from asal.data.decoding import Unreadable, file_kinds
from asal.data.decoding.png_chunks import trimmed

AT_ONCE = 2**20  # bytes; a smaller file is read with one call

# A list, because Pillow would otherwise also try formats that start other programs (EPS runs Ghostscript)
# or that accept any bytes as an image (TGA).
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "JPEG2000", "AVIF", "ICO", "HEIF")

NEW_SUBFILE_TYPE, SUB_IFDS, DNG_VERSION = 254, 330, 50706  # TIFF tags


@contextmanager
def opened(raw: bytes | Path) -> Iterator[Image.Image]:
    """Open an image; nothing but its header is read.

    Raises:
        Unreadable: it is no file, or no image in a known format.
    """
    with _stream(raw) as stream, _identified(trimmed(stream), raw) as image:
        yield image


def broken(raw: bytes | Path, error: Exception) -> str:
    """Return why decoding a file failed: an error of the file system or of Pillow, or a missing end, in a few words."""
    known: tuple[tuple[type[Exception], str], ...] = (
        (FileNotFoundError, "there is no such file"),
        (PermissionError, "reading it is not permitted"),
        (UnidentifiedImageError, file_kinds.UNKNOWN),
        (Image.DecompressionBombError, "its pixels are more than any limit"),
    )
    for kind, reason in known:
        if isinstance(error, kind):
            return reason
    if file_kinds.is_truncated(*_ends(raw)):
        return file_kinds.TRUNCATED
    return f"it is broken ({' '.join(str(error).split()) or type(error).__name__})"[:200]


def prepare_formats() -> None:
    """Load the decoders of all formats now: later the first image of each would."""
    _formats()


@cache
def _formats() -> tuple[str, ...]:
    """Return those of FORMATS that this Pillow was built with, HEIF among them where the extra is installed."""
    Image.init()
    try:
        import pillow_heif
    except ImportError:
        pass
    else:
        pillow_heif.register_heif_opener()
    return tuple(name for name in FORMATS if name in Image.OPEN)


@contextmanager
def _stream(raw: bytes | Path) -> Iterator[IO[bytes]]:
    if isinstance(raw, Path):
        name = os.fspath(raw)
        status = os.stat(name)
        if not stat.S_ISREG(status.st_mode):  # reading from a pipe could block for ever
            raise Unreadable("it is not a file")
        if status.st_size > AT_ONCE:
            with open(name, "rb") as file:
                yield file
            return
        with open(name, "rb", buffering=0) as unbuffered:  # Pillow alone reads a header with dozens of small calls
            raw = unbuffered.read(status.st_size)
    if not raw:
        raise Unreadable(file_kinds.reason(b"", size=0))
    yield io.BytesIO(raw)


def _identified(stream: IO[bytes], raw: bytes | Path) -> Image.Image:
    """Open the stream as the first format that accepts it.

    `Image.open` does the same and refuses what Pillow's own limit calls a bomb: ours is another, and is not one for the
    whole process.
    """
    prefix = stream.read(16)
    for name in _formats():
        factory, accept = Image.OPEN[name]
        accepted = accept is None or accept(prefix)
        if not accepted or isinstance(accepted, str):  # a string says why this Pillow cannot read the format
            continue
        stream.seek(0)
        try:
            image = factory(stream, os.fspath(raw) if isinstance(raw, Path) else "")
        except (SyntaxError, IndexError, TypeError, struct.error):
            continue
        if isinstance(image, TiffImagePlugin.TiffImageFile) and _is_raw(image, prefix):
            image.close()
            raise Unreadable(file_kinds.RAW)
        return image
    head, tail, size = _ends(raw)
    reason = file_kinds.reason(head, size=size)
    raise Unreadable(
        file_kinds.TRUNCATED if reason == file_kinds.UNKNOWN and file_kinds.is_truncated(head, tail, size) else reason
    )


def _is_raw(image: TiffImagePlugin.TiffImageFile, prefix: bytes) -> bool:
    """Say whether a TIFF is a camera's raw file: what Pillow reads of it is a thumbnail."""
    tags = image.tag_v2
    thumbnail = bool(tags.get(NEW_SUBFILE_TYPE, 0) & 1) and SUB_IFDS in tags
    return DNG_VERSION in tags or thumbnail or prefix[8:11] == b"CR\x02"


def _ends(raw: bytes | Path) -> tuple[bytes, bytes, int]:
    """Return a file's first and last bytes, and its size."""
    if isinstance(raw, bytes):
        return raw[: file_kinds.HEAD], raw[-file_kinds.TAIL :], len(raw)
    try:
        with raw.open("rb") as file:
            head, size = file.read(file_kinds.HEAD), os.fstat(file.fileno()).st_size
            file.seek(max(0, size - file_kinds.TAIL))
            return head, file.read(file_kinds.TAIL), size
    except OSError:
        return b"", b"", 0
