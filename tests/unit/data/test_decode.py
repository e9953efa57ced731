"""Real files of every hard kind: the readable ones come out right, the others with a reason."""

from __future__ import annotations

import contextlib
import io
import os
import struct
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from PIL import Image

from asal.data.decoding import LIMIT, Conversion, Unreadable
from asal.data.sources.decode import decode

RNG = np.random.default_rng(5)
COLOURS = RNG.integers(0, 256, (12, 16, 3), np.uint8)
RAMP = np.arange(192, dtype=np.uint8).reshape(12, 16)


def saved(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    with io.BytesIO() as file:
        image.save(file, kind, **options)
        return file.getvalue()


def colours(raw: Any, **options: Any) -> npt.NDArray[np.uint8]:
    return decode(raw, **({"size": None, "gray": False} | options))


def grays(raw: Any, **options: Any) -> npt.NDArray[np.uint8]:
    return decode(raw, **({"size": None, "gray": True} | options))


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "PPM", "GIF", "WEBP"])
def test_lossless_gray_comes_out_as_it_went_in(kind: str) -> None:
    options = {"lossless": True} if kind == "WEBP" else {}
    raw = saved(Image.fromarray(RAMP), kind, **options)
    assert np.array_equal(grays(raw)[:, :, 0], RAMP)
    assert np.array_equal(colours(raw), np.repeat(RAMP[:, :, None], 3, axis=2))


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "PPM", "WEBP"])
def test_lossless_colour_comes_out_as_it_went_in(kind: str) -> None:
    options = {"lossless": True} if kind == "WEBP" else {}
    assert np.array_equal(colours(saved(Image.fromarray(COLOURS), kind, **options)), COLOURS)


def test_jpeg_and_cmyk_come_out_near() -> None:
    smooth = Image.fromarray(COLOURS).resize((64, 48), Image.Resampling.BICUBIC)
    for image in (smooth, smooth.convert("CMYK")):
        difference = colours(saved(image, "JPEG", quality=95, subsampling=0)).astype(int) - np.asarray(smooth)
        assert np.abs(difference).mean() < 6


def test_palettes_with_and_without_transparency() -> None:
    image = Image.fromarray(RAMP // 64).convert("P")
    image.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255] + [0] * 759)
    assert colours(saved(image))[0, 0].tolist() == [255, 0, 0]
    assert colours(saved(image, transparency=0))[0, 0].tolist() == [255, 255, 255]
    assert colours(saved(image, transparency=0))[4, 0].tolist() == [0, 255, 0]


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_transparency_is_laid_over_white(mode: str) -> None:
    image = Image.new(mode, (4, 4), (0, 0) if mode == "LA" else (0, 0, 0, 0))
    image.putpixel((1, 0), (0, 255) if mode == "LA" else (0, 0, 0, 255))
    image.putpixel((2, 0), (0, 128) if mode == "LA" else (0, 0, 0, 128))
    assert grays(saved(image))[0, :3, 0].tolist() == [255, 0, 127]


def test_a_transparent_colour_of_a_plain_png_is_white() -> None:
    assert grays(saved(Image.new("L", (4, 4), 7), transparency=7)).min() == 255


def test_one_bit_and_sixteen_bits_use_the_whole_range() -> None:
    assert set(grays(saved(Image.fromarray(RAMP > 90))).flat) == {0, 255}
    deep = RAMP.astype(np.uint16) * 257
    for kind in ("PNG", "TIFF", "PPM"):
        assert np.array_equal(grays(saved(Image.fromarray(deep), kind))[:, :, 0], RAMP), kind
    assert np.array_equal(grays(saved(Image.fromarray((RAMP / 255).astype(np.float32)), "TIFF"))[:, :, 0], RAMP)


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF"])
def test_of_an_animation_the_first_frame_is_taken(kind: str) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue", "green")]
    pixel = colours(saved(frames[0], kind, save_all=True, append_images=frames[1:]))[4, 4].astype(int)
    assert pixel[0] > 200 and pixel[1:].max() < 40


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF"])
def test_exif_rotation_is_applied(kind: str, orientation: int) -> None:
    upright = np.zeros((32, 48), np.uint8)
    upright[:16, :16] = 255  # one bright corner: each of the eight orientations moves it or turns the frame
    undo = {1: (), 2: (1,), 3: (0, 1), 4: (0,)}
    turned = upright if orientation < 5 else upright.T
    turned = np.flip(turned, {**undo, 5: (), 6: (0,), 7: (0, 1), 8: (1,)}[orientation])
    exif = Image.Exif()
    exif[0x0112] = orientation
    seen = grays(saved(Image.fromarray(np.ascontiguousarray(turned)), kind, exif=exif))[:, :, 0]
    assert seen.shape == upright.shape and np.abs(seen.astype(int) - upright).max() < 30


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_broken_exif_does_no_harm() -> None:
    raw = saved(Image.fromarray(RAMP), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff rubbish")
    assert grays(raw).shape == (12, 16, 1)


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def huge_png(side: int) -> bytes:
    """A few bytes that claim to be side × side pixels."""
    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 99)) + chunk(b"IEND", b"")
    )


PNG = saved(Image.fromarray(COLOURS))
JPEG = saved(Image.fromarray(COLOURS), "JPEG")
UNREADABLE: dict[str, tuple[bytes, str]] = {
    "zero bytes": (b"", "empty"),
    "text": (b"this is a letter, not a picture" * 50, "not an image"),
    "a program": (Path(sys.executable).read_bytes()[:5000], "not an image"),
    "cut PNG": (PNG[: len(PNG) // 2], "broken"),
    "cut JPEG": (JPEG[: len(JPEG) * 2 // 3], "broken"),
    "only a header": (PNG[:20], "."),
    "flipped checksum": (PNG[:40] + bytes([PNG[40] ^ 255]) + PNG[41:], "broken"),
    "bomb": (huge_png(12_000), "more than the limit"),
    "worse bomb": (huge_png(60_000), "more than the limit"),
    "postscript": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(x) run\n", "not an image"),
    "32-bit integers": (saved(Image.fromarray(RAMP.astype(np.int32)), "TIFF"), "32-bit"),
    "floats past one": (saved(Image.fromarray(RAMP.astype(np.float32)), "TIFF"), "floating-point"),
}


@pytest.mark.parametrize("name", UNREADABLE)
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_what_cannot_be_read_has_a_reason(name: str) -> None:
    raw, reason = UNREADABLE[name]
    for size in (None, 8):
        with pytest.raises(Unreadable, match=reason) as caught:
            colours(raw, size=size)
        assert 0 < len(caught.value.reason) <= 200 and "\n" not in caught.value.reason


def test_the_limit_is_an_argument() -> None:
    assert colours(PNG, how=Conversion(limit=12 * 16)).shape == (12, 16, 3)
    with pytest.raises(Unreadable, match="limit of 191"):
        colours(PNG, how=Conversion(limit=12 * 16 - 1))
    assert LIMIT < Image.MAX_IMAGE_PIXELS  # so that what we take, Pillow does not warn of


def test_files_that_are_missing_or_none(tmp_path: Path) -> None:
    (tmp_path / "empty.png").touch()
    (tmp_path / "good.png").write_bytes(PNG)
    os.mkfifo(tmp_path / "pipe")
    for name, reason in {"gone.png": "no such", "empty.png": "empty", "pipe": "not a file", ".": "not a file"}.items():
        with pytest.raises(Unreadable, match=reason):
            colours(tmp_path / name)
    assert np.array_equal(colours(tmp_path / "good.png"), COLOURS)


def test_a_file_without_permission(tmp_path: Path) -> None:
    path = tmp_path / "secret.png"
    path.write_bytes(PNG)
    path.chmod(0)
    me = os.geteuid()
    if me == 0:  # root may read anything, so somebody else tries
        os.seteuid(65534)
    try:
        with pytest.raises(Unreadable, match="not permitted"):
            colours(path)
    finally:
        os.seteuid(me)


@pytest.mark.parametrize(("width", "height"), [(16, 12), (12, 16), (3, 400), (1, 1), (64, 64), (2000, 5)])
def test_resize_takes_the_centre_square(width: int, height: int) -> None:
    pixels = np.zeros((height, width), np.uint8)
    side = min(width, height)
    top, left = (height - side) // 2, (width - side) // 2
    pixels[top : top + side, left : left + side] = 200
    seen = grays(saved(Image.fromarray(pixels)), size=8)
    assert seen.shape == (8, 8, 1) and np.abs(seen[3:5, 3:5].astype(int) - 200).max() <= 20


def test_an_image_of_the_right_size_is_left_alone() -> None:
    square = Image.fromarray(COLOURS[:12, :12])
    assert np.array_equal(colours(saved(square), size=12), COLOURS[:12, :12])


def test_a_large_jpeg_made_small_looks_like_itself() -> None:
    large = Image.fromarray(COLOURS).resize((1600, 1200), Image.Resampling.BICUBIC)
    fast, exact = colours(saved(large, "JPEG", quality=95), size=16), colours(saved(large), size=16)
    assert np.abs(fast.astype(int) - exact).mean() < 3


@pytest.mark.parametrize(
    ("pixels", "shape"),
    [
        (RAMP, (12, 16, 3)), (RAMP[:, :, None], (12, 16, 3)), (COLOURS, (12, 16, 3)), (RAMP > 90, (12, 16, 3)),
        ((COLOURS / 255).astype(np.float32), (12, 16, 3)), (np.dstack([COLOURS, RAMP]), (12, 16, 3)),
    ],
)  # fmt: skip
def test_arrays_become_images(pixels: npt.NDArray[Any], shape: tuple[int, ...]) -> None:
    assert colours(pixels).shape == shape and colours(pixels).dtype == np.uint8
    assert grays(pixels).shape == (12, 16, 1) and grays(pixels, size=8).shape == (8, 8, 1)
    if pixels.dtype.kind == "f":
        assert np.array_equal(colours(pixels), COLOURS)


@pytest.mark.parametrize(
    "pixels", [RAMP * -1.0, RAMP.astype(float), np.full((2, 2), np.nan), RAMP.astype(int), RAMP[0], COLOURS[:, :, :2],
               np.zeros((0, 4), np.uint8)],
)  # fmt: skip
def test_arrays_that_are_no_images(pixels: npt.NDArray[Any]) -> None:
    with pytest.raises(Unreadable):
        colours(pixels)


def test_what_was_passed_in_is_not_shared() -> None:
    pixels = COLOURS.copy()
    assert not np.shares_memory(colours(pixels), pixels) and not np.shares_memory(grays(RAMP), RAMP)


FILES: dict[str, Callable[[], bytes]] = {
    kind: lambda kind=kind: saved(Image.fromarray(COLOURS), kind)
    for kind in ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM")
}


@settings(max_examples=150, deadline=None)
@given(kind=some.sampled_from(sorted(FILES)), data=some.data())
@pytest.mark.filterwarnings("ignore")
def test_whatever_happened_to_the_bytes_it_is_an_image_or_a_reason(kind: str, data: some.DataObject) -> None:
    raw = bytearray(FILES[kind]())
    for place in data.draw(some.lists(some.integers(0, len(raw) - 1), max_size=8)):
        raw[place] = data.draw(some.integers(0, 255))
    raw = raw[: data.draw(some.integers(0, len(raw)))] if data.draw(some.booleans()) else raw
    with contextlib.suppress(Unreadable):  # anything else fails
        image = decode(bytes(raw), size=8, gray=False)
        assert image.shape == (8, 8, 3) and image.dtype == np.uint8
