"""What a file is that no image can be decoded from: a reason of its own for each kind that people have among images."""

from __future__ import annotations

import re
from importlib.util import find_spec

HEAD = 4096  # bytes at the start of a file that tell what it is
TAIL = 64  # bytes at its end that tell whether it is complete

HEIC = frozenset({b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"hevm", b"hevs", b"mif1", b"msf1"})
NO_HEIC = "it is a HEIC image, which needs an extra: pip install 'asal[heic]'"
RAW = "it is a RAW camera file, not a developed image: export it as JPEG, PNG or TIFF"
VIDEO = "it is a video, not an image: save its frames as images"
ARCHIVE = "it is an archive, not an image: unpack it"
OFFICE = "it is an Office document or a Thumbs.db, not an image"
SCIENCE = "it is a file of scientific data, not an image: export it as PNG or TIFF, or as .npy for the source 'arrays'"
DICOM = "it is a DICOM file, not an image in a format that is read: export it as 16-bit PNG or TIFF"
OTHER = "it is {}, not an image in a format that is read: export it as PNG, JPEG or TIFF"
LFS = "it is a Git LFS pointer, not the image itself: run `git lfs pull` where the images lie"
ANNEX = "it is a git-annex pointer, not the image itself: run `git annex get` where the images lie"
WEB = "it is a web page (HTML), not an image: the download got a page instead of the picture"
TRUNCATED = "it is broken: truncated, the end of the file is missing"
UNKNOWN = "it is not an image in a known format (or it is broken from the start)"

SIGNATURES: tuple[tuple[int, bytes, str], ...] = (  # (where, bytes, reason); the first that fits
    (0, b"version https://git-lfs.github.com/spec/", LFS),
    (0, b"version https://hawser.github.com/spec/", LFS),
    (0, b"/annex/objects/", ANNEX),
    (0, b"%PDF-", "it is a PDF, not an image: export its pages as images"),
    (0, b"%!PS", "it is a PostScript file, not an image: export it as PNG"),
    (0, b"PK\x03\x04", ARCHIVE), (0, b"PK\x05\x06", ARCHIVE), (0, b"Rar!\x1a\x07", ARCHIVE),
    (0, b"7z\xbc\xaf\x27\x1c", ARCHIVE), (0, b"\x1f\x8b\x08", ARCHIVE), (0, b"BZh", ARCHIVE),
    (0, b"\xfd7zXZ\x00", ARCHIVE), (0, b"\x28\xb5\x2f\xfd", ARCHIVE), (257, b"ustar", ARCHIVE),
    (0, b"\x1aE\xdf\xa3", VIDEO), (0, b"FLV\x01", VIDEO), (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", VIDEO),
    (0, b"\x00\x00\x01\xba", VIDEO), (0, b"\x00\x00\x01\xb3", VIDEO), (8, b"AVI ", VIDEO),
    (4, b"moov", VIDEO), (4, b"mdat", VIDEO), (4, b"wide", VIDEO), (4, b"free", VIDEO), (4, b"skip", VIDEO),
    (0, b"OggS", "it is a video or a sound, not an image"), (8, b"WAVE", "it is a sound, not an image"),
    (0, b"ID3", "it is a sound, not an image"),
    (0, b"fLaC", "it is a sound, not an image"),
    (0, b"FUJIFILMCCD-RAW", RAW), (0, b"IIU\x00", RAW), (0, b"IIRO", RAW), (0, b"IIRS", RAW), (0, b"MMOR", RAW),
    (0, b"FOVb", RAW), (0, b"\x00MRM", RAW), (8, b"CR\x02", RAW),
    (128, b"DICM", DICOM),
    (0, b"\x89HDF\r\n\x1a\n", SCIENCE), (0, b"SIMPLE  =", SCIENCE), (0, b"MATLAB 5.0", SCIENCE),
    (0, b"\x93NUMPY", SCIENCE), (0, b"CDF\x01", SCIENCE), (0, b"CDF\x02", SCIENCE), (344, b"n+1\x00", SCIENCE),
    (0, b"8BPS", OTHER.format("a Photoshop document")), (0, b"gimp xcf", OTHER.format("a GIMP document")),
    (0, b"\xff\x0a", OTHER.format("JPEG XL")), (0, b"\x00\x00\x00\x0cJXL ", OTHER.format("JPEG XL")),
    (0, b"\x76\x2f\x31\x01", OTHER.format("OpenEXR")), (0, b"#?RADIANCE", OTHER.format("Radiance HDR")),
    (0, b"qoif", OTHER.format("QOI")), (0, b"DDS ", OTHER.format("a DirectDraw surface")),
    (0, b"AT&TFORM", OTHER.format("DjVu")), (0, b"\xd7\xcd\xc6\x9a", OTHER.format("a Windows metafile")),
    (0, b"icns", OTHER.format("an icon of macOS")),
    (0, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", OFFICE),
    (0, b"SQLite format 3\x00", "it is a database, not an image"),
    (0, b"PAR1", "it is a Parquet table, not an image: see the source 'hub'"),
    (0, b"\x00\x05\x16\x07", "it is a note of macOS about another file, not an image"),
    (0, b"L\x00\x00\x00\x01\x14\x02\x00", "it is a shortcut of Windows, not an image"),
    (0, b"\x7fELF", "it is a program, not an image"), (0, b"MZ", "it is a program, not an image"),
    (0, b"\xcf\xfa\xed\xfe", "it is a program, not an image"),
)  # fmt: skip

TEXTS: tuple[tuple[str, str], ...] = (  # (pattern at the start of a text, reason); the first that fits
    (r"(<\?xml[^>]*>|<!--.*?-->|<!doctype svg[^>]*>|\s)*<([a-z]+:)?svg\b",
     "it is an SVG drawing, not an image of pixels: export it as PNG"),
    (r"(<\?xml[^>]*>|<!--.*?-->|\s)*<(!doctype html|html|head|body|script|title|meta)\b", WEB),
    (r"<(\?xml|[a-z])", "it is XML, not an image"),
    (r'(\{\s*("|\})|\[\s*([\[{"\]]|-?[0-9]))', "it is JSON, not an image"),
    (r"(\.git/|\.\./)*annex/objects/", ANNEX),
)  # fmt: skip


def reason(head: bytes, *, size: int) -> str:
    """Say what a file is, from its first bytes, where no image was found in it.

    >>> reason(b"version https://git-lfs.github.com/spec/v1", size=130)
    'it is a Git LFS pointer, not the image itself: run `git lfs pull` where the images lie'
    """
    if size == 0:
        return "it is empty"
    if not head.strip(b"\0"):
        return "it holds only zero bytes: a copy or download that did not finish"
    if head[4:8] == b"ftyp":
        return _of_brand(head[8:12], head[16:64])
    for place, signature, what in SIGNATURES:
        if head.startswith(signature, place):
            return what
    if b"%PDF-" in head[:1024]:
        return "it is a PDF, not an image: export its pages as images"
    if head[:1] == b"G" and head[188:189] == b"G" and head[376:377] == b"G":
        return VIDEO  # an MPEG transport stream
    return _of_text(head) or UNKNOWN


def _of_brand(brand: bytes, compatible: bytes) -> str:
    """Name a file of the ISO base media format by its brand."""
    if brand == b"crx ":
        return RAW
    if brand in (b"avif", b"avis"):
        return "it is an AVIF image, and Pillow was built without AVIF, or it is broken"
    if brand in HEIC or any(name in compatible for name in (b"heic", b"heix")):
        return "it is broken (a HEIC image that libheif cannot read)" if find_spec("pillow_heif") else NO_HEIC
    return VIDEO


def _of_text(head: bytes) -> str:
    text = _as_text(head)
    if text is None:
        return ""
    start = text.lstrip("\ufeff \t\r\n").lower()
    for pattern, what in TEXTS:
        if re.match(pattern, start, re.DOTALL):
            return what
    return "it is not an image, but text"


def _as_text(head: bytes) -> str | None:
    """Return the start of a text, or None if the bytes are none."""
    encoding = "utf-16" if head[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8"
    try:
        text = head.decode(encoding)
    except UnicodeDecodeError as error:
        if len(head) < HEAD or error.start < len(head) - 4:  # else the last character is cut
            text = head.decode("latin-1")
        else:
            text = head[: error.start].decode(encoding)
    controls = sum(character < " " and character not in "\t\r\n\f" for character in text)
    odd = sum("\x7f" <= character < "\xa0" for character in text)
    return None if controls or odd > len(text) // 50 else text


def is_truncated(head: bytes, tail: bytes, size: int) -> bool:
    """Say whether the end of an image file is missing, from its first and last bytes.

    >>> is_truncated(b"GIF89a", b"no trailer", 1000), is_truncated(b"GIF89a", b"\\0;", 1000)
    (True, False)
    """
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return b"IEND" not in tail
    if head.startswith(b"\xff\xd8\xff"):
        return b"\xff\xd9" not in tail
    if head.startswith(b"GIF8"):
        return not tail.rstrip(b"\0").endswith(b";")
    if head.startswith(b"RIFF"):
        return int.from_bytes(head[4:8], "little") + 8 > size
    if head.startswith(b"BM"):
        return int.from_bytes(head[2:6], "little") > size
    return False
