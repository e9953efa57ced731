"""Pixels of more than 8 bits: read with all their bits, and scaled by one range."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as some
from hypothesis.extra.numpy import arrays
from PIL import Image
from support.image_files import chunk, png16, tiff

from asal.core import Ids
from asal.data.decoding import ANY, Conversion, Ranges, Unreadable
from asal.data.decoding.ranges import range_lines, sampled
from asal.data.sources import Raw, SourceImage
from asal.data.sources.decode import decode

RNG = np.random.default_rng(12)
TWELVE = RNG.integers(0, 4096, (10, 12)).astype(np.uint16)
COLOURS = RNG.integers(0, 4096, (10, 12, 3)).astype(np.uint16)
OF_12: Ranges = {"16-bit": (0, 4095)}


def saved(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    with io.BytesIO() as file:
        image.save(file, kind, **options)
        return file.getvalue()


def grays(raw: Raw, ranges: Ranges = None) -> npt.NDArray[np.uint8]:
    return decode(raw, size=None, gray=True, how=Conversion(ranges=ranges))[..., 0]


def colours(raw: Raw, ranges: Ranges = None, background: str = "#ffffff") -> npt.NDArray[np.uint8]:
    return decode(raw, size=None, gray=False, how=Conversion(ranges=ranges, background=background))


def scaled(pixels: npt.NDArray[Any], low: float, high: float) -> npt.NDArray[np.uint8]:
    return np.rint((pixels.astype(float) - low) * 255 / (high - low)).clip(0, 255).astype(np.uint8)


GRAY_FILES = {
    "PNG": saved(Image.fromarray(TWELVE)),
    "TIFF": saved(Image.fromarray(TWELVE), "TIFF"),
    "TIFF, big-endian": tiff(TWELVE, order=">"),
    "TIFF, packed": tiff(TWELVE, packed=True),
    "TIFF, big-endian and packed": tiff(TWELVE, order=">", packed=True),
    "PPM": saved(Image.fromarray(TWELVE), "PPM"),
    "JPEG 2000": saved(Image.fromarray(TWELVE), "JPEG2000"),
}


@pytest.mark.parametrize("name", GRAY_FILES)
def test_12_bits_of_gray_use_all_levels(name: str) -> None:
    assert np.array_equal(grays(GRAY_FILES[name], OF_12), scaled(TWELVE, 0, 4095))
    assert np.array_equal(grays(GRAY_FILES[name]), np.rint(TWELVE / 257)), "without a range it is as ever"


COLOUR_FILES = {
    "PNG": png16(COLOURS),
    **{
        f"TIFF {order} packed={packed}": tiff(COLOURS, order=order, packed=packed)
        for order in "<>"
        for packed in (False, True)
    },
    "TIFF, channels apart": tiff(COLOURS, apart=True),
    "TIFF, big-endian channels apart": tiff(COLOURS, apart=True, order=">"),
    "PPM": b"P6 12 10 65535\n" + COLOURS.astype(">u2").tobytes(),
    "plain PPM": b"P3 12 10 65535\n" + " ".join(map(str, COLOURS.ravel().tolist())).encode(),
}


@pytest.mark.parametrize("name", COLOUR_FILES)
def test_12_bits_of_colour_use_all_levels(name: str) -> None:
    assert np.array_equal(colours(COLOUR_FILES[name], OF_12), scaled(COLOURS, 0, 4095))


@pytest.mark.parametrize("name", ["PNG", "TIFF < packed=False", "TIFF > packed=True", "TIFF, channels apart"])
def test_colours_without_a_range_are_their_upper_bytes(name: str) -> None:
    for ranges in (None, {}, {"16-bit": (0, 65535)}):
        assert np.array_equal(colours(COLOUR_FILES[name], ranges), COLOURS >> 8)


@given(arrays(np.uint16, some.tuples(some.integers(1, 9), some.integers(1, 9), some.sampled_from([2, 3, 4]))))
def test_both_bytes_of_any_png_are_read(pixels: npt.NDArray[np.uint16]) -> None:
    pixels[..., -1] |= 0 if pixels.shape[2] == 3 else 0xFF00  # opaque
    wanted = scaled(pixels[..., :3] if pixels.shape[2] > 2 else pixels[..., [0, 0, 0]], 100, 1000)
    assert np.array_equal(colours(png16(pixels), {"16-bit": (100, 1000)}), wanted)


def test_turned_16_bit_colours_are_put_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    raw = png16(COLOURS, extra=chunk(b"eXIf", exif.tobytes().removeprefix(b"Exif\0\0")))
    assert np.array_equal(colours(raw, OF_12), np.rot90(scaled(COLOURS, 0, 4095), -1))
    assert np.array_equal(colours(tiff(COLOURS, more={274: (6,)}), OF_12), np.rot90(scaled(COLOURS, 0, 4095), -1))


def test_a_transparent_value_of_16_bits_shows_the_background() -> None:
    gray = png16(TWELVE, extra=chunk(b"tRNS", struct.pack(">H", int(TWELVE[0, 0]))))
    colour = png16(COLOURS, extra=chunk(b"tRNS", struct.pack(">3H", *COLOURS[0, 0].tolist())))
    for raw, pixels in ((gray, TWELVE[..., None]), (colour, COLOURS)):
        image = colours(raw, OF_12, "#00ff00")
        assert image[0, 0].tolist() == [0, 255, 0]
        opaque = (pixels != pixels[0, 0]).any(axis=2)
        assert np.array_equal(image[opaque], np.broadcast_to(scaled(pixels, 0, 4095), (10, 12, 3))[opaque])


def test_a_file_that_says_what_is_white_is_scaled_by_that() -> None:
    ppm = b"P5 12 10 4095\n" + TWELVE.astype(">u2").tobytes()
    packed = np.array([[0x123, 0xFFF], [0x000, 0x800]])
    bits = bytes([0x12, 0x3F, 0xFF, 0x00, 0x08, 0x00])
    twelve = tiff(packed.astype(np.uint16), more={258: (12,)}, data=bits)
    assert np.abs(grays(ppm, {"16-bit": (0, 1023)}).astype(int) - scaled(TWELVE, 0, 4095)).max() <= 1
    assert np.array_equal(grays(twelve, {}), scaled(packed, 0, 4095))
    assert np.array_equal(grays(ppm, {ANY: (0, 1023)}), scaled(TWELVE, 0, 1023)), (
        "what a user sets is in the file's values"
    )
    assert np.array_equal(grays(twelve, {ANY: (0, 1023)}), scaled(packed, 0, 1023))


@pytest.mark.parametrize(
    ("dtype", "low", "high"),
    [(np.int16, -1024, 3071), (np.int32, -5, 70_000), (np.float32, -1, 1), (np.float32, 0, 255), (np.uint32, 0, 9)],
)
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("packed", [False, True])
def test_a_range_lets_other_numbers_in(dtype: Any, low: float, high: float, order: str, packed: bool) -> None:
    if dtype == np.uint32 and order == ">":
        pytest.skip("Pillow does not read it")
    pixels = np.linspace(low, high, 120).reshape(10, 12).astype(dtype)
    raw = tiff(pixels, order=order, packed=packed)
    for ranges in ({ANY: (low, high)}, {"integer": (low, high), "float": (low, high)}):
        assert np.array_equal(grays(raw, ranges), scaled(pixels, low, high))
        assert np.array_equal(grays(pixels, ranges), scaled(pixels, low, high))
    with pytest.raises(Unreadable, match=r"set `range` under \[pool\]"):
        grays(raw)


def test_each_image_by_its_own_range_only_where_asked() -> None:
    assert np.array_equal(grays(GRAY_FILES["PNG"], "image"), scaled(TWELVE, TWELVE.min(), TWELVE.max()))
    assert np.array_equal(colours(COLOUR_FILES["PNG"], "image"), scaled(COLOURS, COLOURS.min(), COLOURS.max()))
    assert not grays(np.full((4, 4), 900, np.uint16), "image").any()
    eight = np.arange(40, 60, dtype=np.uint8).reshape(4, 5)
    assert np.array_equal(grays(saved(Image.fromarray(eight)), "image"), eight), "8 bits stay as they are"


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_pixels_that_are_no_numbers_are_refused(value: float) -> None:
    for ranges in (None, {ANY: (0, 9)}, "image"):
        with pytest.raises(Unreadable, match="no finite numbers"):
            grays(np.array([[0.5, value]]), ranges)


@dataclass(frozen=True)
class Given:
    """A source of these images."""

    images: tuple[Raw, ...]

    def records(self, split: str, rows: Ids) -> Iterator[SourceImage]:
        return (SourceImage(str(row), self.images[row]) for row in rows.tolist())


def range_of(*images: Raw) -> dict[str, Any]:
    return sampled(Given(images), "train", np.arange(len(images)))


def spanning(low: int, high: int, dtype: Any = np.uint16) -> npt.NDArray[Any]:
    return np.linspace(low, high, 120).reshape(10, 12).astype(dtype)


@pytest.mark.parametrize(
    ("low", "high", "wanted"),
    [
        (0, 1000, (0, 1023)), (0, 4095, (0, 4095)), (3, 4032, (0, 4095)), (0, 16_000, (0, 16_383)),
        (0, 255, (0, 255)), (0, 1, (0, 1)), (0, 40_000, (0, 65_535)), (0, 65_535, (0, 65_535)),
        (29_000, 31_500, (29_000, 31_500)), (20_000, 50_000, (0, 65_535)),
    ],
)  # fmt: skip
def test_the_range_of_a_sample_is_the_bits_in_use(low: int, high: int, wanted: tuple[int, int]) -> None:
    assert range_of(saved(Image.fromarray(spanning(low, high)))) == {"16-bit": wanted}
    assert range_of(spanning(low, high)) == {"16-bit": wanted}


def test_the_brightest_image_of_a_sample_decides_but_no_hot_pixel() -> None:
    dark, bright = spanning(0, 90), spanning(0, 3000)
    assert range_of(*[saved(Image.fromarray(image)) for image in (dark, bright, dark)]) == {"16-bit": (0, 4095)}
    large = np.tile(bright, (20, 20))
    large[5, 7] = 65_535
    assert range_of(large) == {"16-bit": (0, 4095)}


def test_kinds_of_pixels_have_ranges_of_their_own() -> None:
    found = range_of(
        saved(Image.fromarray(spanning(0, 255, np.uint8))), b"", b"no image", tiff(spanning(-1000, 3000, np.int16)),
        saved(Image.fromarray(spanning(0, 900))), tiff(spanning(0, 200, np.float32)), png16(COLOURS),
    )  # fmt: skip
    assert found == {"16-bit": (0, 4095), "integer": (-1000, 3000), "float": (0, 255)}
    assert range_lines(found) == [
        "16-bit images: values 0 … 4,095 are scaled to 0 … 255",
        "floating-point images: values 0 … 255 are scaled to 0 … 255",
        "images of whole numbers: values −1,000 … 3,000 are scaled to 0 … 255",
    ]


def test_what_needs_no_range_gets_none() -> None:
    assert range_of(spanning(0, 255, np.uint8), spanning(0, 4000)) == {}, "arrays of one file are of one kind"
    assert range_of(np.linspace(0, 1, 12).reshape(3, 4)) == {}
    assert range_of(b"P5 12 10 4095\n" + TWELVE.astype(">u2").tobytes()) == {}, "it says what is white"
    assert range_of(np.zeros((4, 4), np.uint16)) == {}
    assert range_of(np.linspace(-0.02, 1.03, 12).reshape(3, 4)) == {"float": (0, 1)}, (
        "resampling leaves the range a bit"
    )


def test_a_sample_is_spread_over_the_rows_and_bounded() -> None:
    asked: list[int] = []

    class Counting(Given):
        def records(self, split: str, rows: Ids) -> Iterator[SourceImage]:
            asked.extend(rows.tolist())
            return super().records(split, rows)

    images = [saved(Image.fromarray(spanning(0, 100)))] * 999 + [saved(Image.fromarray(spanning(0, 1000)))]
    assert sampled(Counting(tuple(images)), "train", np.arange(1000)) == {"16-bit": (0, 1023)}
    assert len(asked) == 16 + 100 and {0, 999} < set(asked)
