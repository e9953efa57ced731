"""Images as people see them: decoded at little more than the wanted size, in sRGB, fitted to an edge, encoded again.

What is encoded again has nothing of the file but its pixels: no place, no time, no thumbnail of another picture.
"""

from __future__ import annotations

import io
from contextlib import suppress

from PIL import Image, ImageCms

from asal.data.decoding import Unreadable
from asal.data.decoding.fitting import pixels_of

NEAR = 0.9  # of the wanted edge: a JPEG that can be decoded at this size or more, and quickly, is not scaled exactly
QUALITY = 90  # of JPEG
FEW = 128  # colours up to which an image is a drawing, whose edges JPEG blurs


def shrink_to(image: Image.Image, edge: int, limit: int) -> None:
    """Have an opened image decoded at a fraction of its size, such that its longer edge stays near `edge` or above.

    Raises:
        Unreadable: more than `limit` pixels would be decoded.
    """
    width, height = image.size
    enough = max(1, round(NEAR * edge))
    if image.format == "JPEG2000":
        times = max(1, max(width, height) // enough)
        image.reduce = times.bit_length() - 1  # type: ignore[method-assign, assignment]  # Pillow's name for it
    else:
        longest = max(width, height)
        image.draft(None, (max(1, width * enough // longest), max(1, height * enough // longest)))
    if pixels_of(image) > limit:
        raise Unreadable(f"{width} × {height} pixels are more than the limit of {limit:,}")


def in_srgb(image: Image.Image) -> Image.Image:
    """Return an 8-bit image in the colours that screens show, where its file says in which colours it is."""
    profile = image.info.get("icc_profile")
    if not profile:
        return image
    with suppress(ImageCms.PyCMSError, OSError, ValueError):  # a broken profile is none
        own = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if "sRGB" in ImageCms.getProfileDescription(own):
            return image
        if image.mode in ("P", "PA"):
            image = image.convert("RGBA" if image.has_transparency_data else "RGB")
        if image.mode == "LA":
            colours = _converted(image.getchannel("L"), own, "RGB")
            colours.putalpha(image.getchannel("A"))
            return colours
        wanted = "RGBA" if image.mode == "RGBA" else "RGB"
        return _converted(image, own, wanted)
    return image


def _converted(image: Image.Image, profile: ImageCms.ImageCmsProfile, mode: str) -> Image.Image:
    converted = ImageCms.profileToProfile(image, profile, ImageCms.createProfile("sRGB"), outputMode=mode)
    if converted is None:  # only where it converts in place
        raise ValueError
    if "transparency" in image.info and mode == "RGB" and image.mode == "RGB":
        converted.info["transparency"] = image.info["transparency"]
    return converted


def within(image: Image.Image, edge: int) -> Image.Image:
    """Return the image with its longer edge at most `edge` pixels; it is never enlarged."""
    longest = max(image.size)
    if longest <= edge:
        return image
    width, height = (max(1, round(side * edge / longest)) for side in image.size)
    return image.resize((width, height), Image.Resampling.BICUBIC, reducing_gap=2.0)


def encoded_for_people(image: Image.Image, *, lossless: bool = False) -> bytes:
    """Return an L or RGB image as a file of nothing but pixels: PNG if lossless or a drawing, else JPEG."""
    clean = Image.new(image.mode, image.size)
    clean.paste(image)
    file = io.BytesIO()
    if lossless or clean.getcolors(FEW) is not None:
        clean.save(file, "PNG")
    else:
        clean.save(file, "JPEG", quality=QUALITY)
    return file.getvalue()


def kind_of_file(data: bytes) -> str:
    """Return the media type of what `encoded_for_people` wrote."""
    return "image/png" if data.startswith(b"\x89PNG") else "image/jpeg"
