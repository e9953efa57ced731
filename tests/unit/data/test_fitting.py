"""From an image of any shape to a square, and from a transparent one to an opaque one."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as some
from PIL import Image

from asal.data.decoding import Conversion, Fit, Unreadable
from asal.data.decoding.transparency import hexadecimal
from asal.data.sources.decode import decode


def saved(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    with io.BytesIO() as file:
        image.save(file, kind, **options)
        return file.getvalue()


def made(raw: Any, size: int = 16, gray: bool = False, **how: Any) -> npt.NDArray[np.uint8]:
    return decode(raw, size=size, gray=gray, how=Conversion(**how))


def stripes(width: int, height: int) -> Image.Image:
    """Red at the left edge, blue at the right, green at the top and the bottom, white inside."""
    pixels = np.full((height, width, 3), 255, np.uint8)
    side = max(1, min(width, height) // 4)
    pixels[:side], pixels[-side:] = (0, 255, 0), (0, 255, 0)
    pixels[:, :side], pixels[:, -side:] = (255, 0, 0), (0, 0, 255)
    return Image.fromarray(pixels)


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
@pytest.mark.parametrize(("width", "height"), [(320, 180), (180, 320)])
def test_padding_keeps_every_edge_and_cropping_does_not(kind: str, width: int, height: int) -> None:
    raw = saved(stripes(width, height), kind)
    padded, cropped, squeezed = (
        made(raw, 32, fit=fit, background="auto").astype(int) for fit in ("pad", "crop", "squeeze")
    )
    inner = padded[7:25] if width > height else padded[:, 7:25]
    assert np.abs(inner[9, 0] - (255, 0, 0)).max() < 40 and np.abs(inner[9, -1] - (0, 0, 255)).max() < 40
    assert np.abs(squeezed[16, 0] - (255, 0, 0)).max() < 40 and np.abs(squeezed[0, 16] - (0, 255, 0)).max() < 40
    outer = padded[:7] if width > height else padded[:, :7]
    assert (outer == 128).all(), "beside the image there is gray"
    if width > height:
        assert np.abs(cropped[16, 0] - 255).max() < 40, "the edges at the left and the right are cut"


@given(some.integers(1, 300), some.integers(1, 300), some.sampled_from(["pad", "crop", "squeeze"]))
def test_any_shape_becomes_the_square(width: int, height: int, fit: Fit) -> None:
    image = made(saved(Image.new("L", (width, height), 200)), 16, True, fit=fit, background="#000000")[..., 0]
    filled = (image == 200).sum()
    longest = max(width, height)
    area = max(1, round(16 * width / longest)) * max(1, round(16 * height / longest))
    assert image.shape == (16, 16) and filled == (area if fit == "pad" else 256)


def test_a_long_thin_image_is_never_huge_in_between() -> None:
    image = made(saved(Image.new("RGB", (60_000, 3), "red")), 64, fit="pad", background="auto")
    assert (image[31] == (255, 0, 0)).all() and (image[:31] == 128).all() and (image[32:] == 128).all()


def test_the_padding_has_the_colour_of_the_background() -> None:
    wide = saved(Image.new("RGBA", (40, 20), (0, 0, 0, 0)))
    for background, seen in (("#ff0000", [255, 0, 0]), ("auto", [128, 128, 128])):
        image = made(wide, 16, fit="pad", background=background)
        assert (image == seen).all(), "no frame appears"
    assert made(saved(Image.new("RGB", (40, 20))), 16, True, fit="pad", background="#ff0000")[0, 0, 0] == 76


def test_a_large_jpeg_is_decoded_at_a_fraction_of_its_size(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[tuple[int, int]] = []
    load = Image.core.new  # type: ignore[attr-defined]
    monkeypatch.setattr(Image.core, "new", lambda mode, size: (loaded.append(size), load(mode, size))[1])  # type: ignore[attr-defined]
    raw = saved(stripes(1600, 400), "JPEG")
    for fit, size in (("pad", (200, 50)), ("crop", (400, 100)), ("squeeze", (400, 100))):
        loaded.clear()
        made(raw, 32, fit=fit)
        assert loaded[0] == size, fit


@pytest.mark.parametrize("kind", ["JPEG", "JPEG2000"])
@pytest.mark.parametrize("fit", ["pad", "crop"])
def test_over_the_limit_what_can_be_scaled_is_and_the_rest_is_refused(kind: str, fit: Fit) -> None:
    image = stripes(800, 600)
    raw, exact = saved(image, kind), made(saved(image), 64, fit=fit).astype(int)
    for limit in (480_000, 120_000, 40_000, 10_000):
        if kind == "JPEG2000" or limit >= 480_000 // 64:
            assert np.abs(made(raw, 64, fit=fit, limit=limit) - exact).mean() < 25, limit
    with pytest.raises(Unreadable, match=r"800 × 600 pixels are more than the limit of 479,999: raise `pixel_limit`"):
        made(saved(image), 64, limit=479_999)
    with pytest.raises(Unreadable, match="more than the limit"):
        decode(raw, size=None, gray=False, how=Conversion(limit=479_999))
    assert made(saved(image), 64, limit=480_000).shape == (64, 64, 3)


def test_the_limit_can_be_higher_than_pillows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1_000)  # which refuses twice as many
    image = saved(stripes(100, 80))
    with pytest.raises(Image.DecompressionBombError):
        Image.open(io.BytesIO(image))
    with pytest.raises(Unreadable, match="more than the limit of 7,999"):
        made(image, limit=7_999)
    assert made(image, limit=8_000).shape == (16, 16, 3)


# Transparency


def drawing(stroke: tuple[int, ...], mode: str = "RGBA") -> Image.Image:
    image = Image.new(mode, (32, 32), (0,) * len(mode))
    image.paste(stroke, (8, 14, 24, 18))
    return image


def contrast(image: npt.NDArray[np.uint8]) -> int:
    return int(np.abs(image[16, 16].astype(int) - image[2, 2]).max())


@pytest.mark.parametrize("stroke", [0, 60, 100, 128, 150, 200, 255])
@pytest.mark.parametrize("gray", [True, False])
def test_a_drawing_of_any_tone_shows(stroke: int, gray: bool) -> None:
    palette = drawing((stroke, stroke, stroke, 255)).convert("P")
    files = {
        "RGBA": saved(drawing((stroke, stroke, stroke, 255))), "LA": saved(drawing((stroke, 255), "LA")),
        "palette": saved(palette, transparency=palette.getpixel((0, 0))),
        "WebP": saved(drawing((stroke, stroke, stroke, 255)), "WEBP", lossless=True),
        "array": np.asarray(drawing((stroke, stroke, stroke, 255))),
    }  # fmt: skip
    for name, raw in files.items():
        assert contrast(made(raw, 32, gray, background="auto")) >= 48, name


@given(some.tuples(*[some.integers(0, 255)] * 3), some.booleans())
def test_a_drawing_of_any_colour_shows(stroke: tuple[int, int, int], gray: bool) -> None:
    assert contrast(made(saved(drawing((*stroke, 255))), 32, gray, background="auto")) >= 47


def test_mid_gray_is_the_rule_and_the_pixels_of_that_image_decide() -> None:
    for stroke in ((0, 0, 0, 255), (255, 255, 255, 255), (255, 0, 0, 255)):
        assert made(saved(drawing(stroke)), 32, background="auto")[2, 2].tolist() == [128, 128, 128]
    assert made(saved(drawing((120, 120, 120, 255))), 32, background="auto")[2, 2].tolist() == [255, 255, 255]
    assert made(saved(drawing((140, 140, 140, 255))), 32, background="auto")[2, 2].tolist() == [0, 0, 0]
    assert (made(saved(Image.new("RGBA", (8, 8))), 8, background="auto") == 128).all(), "nothing is drawn"


def test_a_transparent_colour_of_a_plain_png_shows_the_background() -> None:
    image = Image.new("RGB", (8, 8), (9, 9, 9))
    image.putpixel((3, 3), (200, 10, 10))
    seen = made(saved(image, transparency=(9, 9, 9)), 8, background="auto")
    assert seen[0, 0].tolist() == [128, 128, 128] and seen[3, 3].tolist() == [200, 10, 10]


@pytest.mark.parametrize(("name", "wanted"), [("white", [255] * 3), ("#102030", [16, 32, 48]), ("#f00", [255, 0, 0])])
def test_a_background_can_be_set(name: str, wanted: list[int]) -> None:
    assert made(saved(drawing((1, 2, 3, 255))), 32, background=hexadecimal(name))[2, 2].tolist() == wanted


def test_an_opaque_image_is_the_same_over_any_background() -> None:
    opaque = saved(Image.fromarray(np.random.default_rng(1).integers(0, 256, (9, 9, 3), np.uint8)).convert("RGBA"))
    assert np.array_equal(made(opaque, 9, background="auto"), made(opaque, 9, background="#ffffff"))
