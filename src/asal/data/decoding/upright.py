"""Turns an image as its EXIF data say."""

from __future__ import annotations

from PIL import Image

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
QUARTER_TURNS = frozenset({5, 6, 7, 8})


def upright(image: Image.Image) -> Image.Image:
    """Decode an opened image, and return it as it is meant to be looked at."""
    image.load()  # first, because for a TIFF this applies the rotation and removes the tag
    transposition = UPRIGHT.get(_orientation(image))
    return image if transposition is None else image.transpose(transposition)


def upright_size(image: Image.Image) -> tuple[int, int]:
    """Return the width and the height of an opened image as it is looked at; nothing is decoded."""
    width, height = image.size
    return (height, width) if _orientation(image) in QUARTER_TURNS else (width, height)


def _orientation(image: Image.Image) -> int:
    if not (hasattr(image, "tag_v2") or EXIF_KEYS & image.info.keys()):
        return 1  # getexif() costs as much as decoding a small image
    try:
        return int(image.getexif().get(ORIENTATION, 1))
    except Exception:  # the pixels may be intact although the EXIF data are broken
        return 1
