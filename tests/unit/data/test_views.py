"""Originals as people see them: upright, in the right colours, no larger than asked for, of nothing but pixels."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageCms, ImageDraw
from sklearn.datasets import load_sample_image
from support.image_files import bomb, png16

from asal.data.decoding import Conversion
from asal.data.decoding.viewing import kind_of_file
from asal.data.originals import GONE
from asal.data.sources import Lost, Raw
from asal.data.sources.decode import decode
from asal.data.views import View, shows, view

PADDED = Conversion("pad", "auto")
CHINA, FLOWER = (Image.fromarray(load_sample_image(f"{name}.jpg")) for name in ("china", "flower"))  # 640 × 427


def saved(image: Image.Image, kind: str = "JPEG", **options: Any) -> bytes:
    with io.BytesIO() as file:
        image.save(file, kind, **options)
        return file.getvalue()


def seen(raw: Raw, how: Conversion = PADDED, edges: Sequence[int] = (2048, 256), size: int | None = 64) -> View:
    """Return what people see of a file that has not changed since it was taken in."""
    return view([raw], decode(raw, size=size, gray=False, how=how), how, edges)


def image_of(found: View, edge: int) -> Image.Image:
    assert found.state == "here", found
    return Image.open(io.BytesIO(found.files[edge]))


def pixels(image: Image.Image) -> npt.NDArray[np.float64]:
    return np.asarray(image.convert("RGB"), np.float64)


def test_a_photograph_is_fitted_to_each_edge_and_never_enlarged() -> None:
    large = CHINA.resize((4000, 2669))
    found = seen(saved(large))
    sizes = {edge: image_of(found, edge).size for edge in found.files}
    assert sizes == {2048: (2000, 1335), 256: (256, 171)}, "half of 4,000 pixels is decoded quickly, and near enough"
    assert image_of(seen(saved(CHINA.resize((2300, 1534)))), 2048).size == (2048, 1366)
    assert image_of(seen(saved(CHINA)), 2048).size == CHINA.size
    assert image_of(seen(saved(CHINA.resize((7, 3))), size=2), 256).size == (7, 3)
    near = np.abs(pixels(image_of(found, 2048)) - pixels(large.resize((2000, 1335)))).mean()
    assert near < 3


@pytest.mark.parametrize("orientation", range(1, 9))
def test_it_is_turned_and_its_exif_data_stay_behind(orientation: int) -> None:
    about = Image.Exif()
    about[0x0112], about[0x010E] = orientation, "at home"
    about.get_ifd(0x8825)[1] = "N"
    raw = saved(CHINA, exif=about, comment=b"mine")
    found = image_of(seen(raw), 2048)
    assert found.size == (CHINA.size if orientation < 5 else CHINA.size[::-1])
    assert np.abs(pixels(found) - decode(raw, size=None, gray=False)).mean() < 3
    assert not found.getexif() and not found.info.keys() & {"exif", "comment", "icc_profile", "xmp"}


def test_colours_of_another_profile_become_those_of_a_screen() -> None:
    shown = [image_of(seen(saved(CHINA, "PNG", icc_profile=swapped(kind))), 2048) for kind in ("sRGB", "other")]
    assert np.abs(pixels(shown[0]) - pixels(CHINA)).mean() < 5, "a screen's own colours stay"
    red, green, blue = np.moveaxis(pixels(CHINA), 2, 0)
    found = pixels(shown[1])
    assert np.abs(found - np.stack([blue, green, red], axis=2)).mean() < 5
    assert np.abs(found - pixels(CHINA)).mean() > 10
    assert "icc_profile" not in shown[1].info


def swapped(kind: str) -> bytes:
    """A profile of a screen, or of one whose red is blue and the other way round."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    if kind == "other":
        places = {bytes(profile[at : at + 4]): at for at in range(132, 132 + 12 * profile[131], 12)}
        red, blue = places[b"rXYZ"], places[b"bXYZ"]
        profile[red : red + 4], profile[blue : blue + 4] = b"bXYZ", b"rXYZ"
        profile = bytearray(bytes(profile).replace("sRGB".encode("utf-16-be"), "else".encode("utf-16-be")))
    return bytes(profile)


def test_a_broken_profile_is_none() -> None:
    assert np.array_equal(
        pixels(image_of(seen(saved(CHINA, "PNG", icc_profile=b"nonsense")), 2048)),
        pixels(image_of(seen(saved(CHINA, "PNG")), 2048)),
    )


def test_transparency_lies_over_a_ground_that_shows_the_drawing() -> None:
    strokes = Image.new("RGBA", (400, 400), (0, 0, 0, 0))
    ImageDraw.Draw(strokes).line((20, 20, 380, 380), (255, 255, 255, 255), 30)
    found = image_of(seen(saved(strokes, "PNG")), 2048)
    assert found.mode == "RGB" and found.getpixel((10, 390)) == (128, 128, 128)
    assert found.getpixel((200, 200)) == (255, 255, 255)


def test_of_an_animation_the_first_frame_is_shown() -> None:
    frames = [Image.new("RGB", (300, 200), colour) for colour in ("red", "blue")]
    found = image_of(seen(saved(frames[0], "GIF", save_all=True, append_images=frames[1:])), 2048)
    assert found.getpixel((5, 5)) == (255, 0, 0) and getattr(found, "n_frames", 1) == 1


def test_deep_pixels_are_scaled_as_the_pools_are() -> None:
    ramp = np.linspace(0, 4095, 512 * 400).reshape(400, 512).astype(np.uint16)  # of a 12-bit camera
    how = Conversion("pad", "auto", {"16-bit": (0, 4095)})
    shown = pixels(image_of(seen(png16(ramp), how), 2048))
    assert shown.min() == 0 and shown.max() == 255
    assert view([png16(ramp)], decode(png16(ramp), size=64, gray=False, how=how), PADDED, [256]).state == "changed"


@pytest.mark.parametrize("mode", ["L", "CMYK", "P", "1", "LA", "RGBA"])
@pytest.mark.parametrize("gray", [False, True])
def test_every_kind_of_pixels_is_compared_and_shown(mode: str, gray: bool) -> None:
    raw = saved(CHINA.convert("RGB").convert(mode), "TIFF")
    picture = decode(raw, size=64, gray=gray, how=PADDED)
    assert view([raw], picture, PADDED, [256]).state == "here"


def test_a_drawing_and_a_small_image_keep_every_pixel() -> None:
    drawing = Image.new("RGB", (900, 700), "white")
    ImageDraw.Draw(drawing).rectangle((100, 100, 500, 400), "red")
    small = FLOWER.resize((200, 130))
    for image in (drawing, small):
        found = seen(saved(image, "PNG"))
        assert kind_of_file(found.files[2048]) == "image/png"
        assert np.array_equal(pixels(image_of(found, 2048)), pixels(image))
    assert {kind_of_file(data) for data in seen(saved(CHINA)).files.values()} == {"image/jpeg"}


@pytest.mark.parametrize("fit", ["pad", "crop", "squeeze"])
@pytest.mark.parametrize("size", [28, 64, 300])
@pytest.mark.parametrize("gray", [False, True])
def test_another_photograph_in_its_place_is_seen_to_be_one(fit: Any, size: int, gray: bool) -> None:
    how = Conversion(fit, "auto")
    picture = decode(saved(CHINA), size=size, gray=gray, how=how)
    assert view([saved(CHINA, quality=60)], picture, how, [256]).state == "here", "encoded again, it is the same"
    assert view([saved(CHINA.resize((1280, 854)))], picture, how, [256]).state == "here"
    for other in (FLOWER, CHINA.transpose(Image.Transpose.ROTATE_180), Image.new("RGB", CHINA.size)):
        assert view([saved(other)], picture, how, [256]).state == "changed"


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
@pytest.mark.parametrize("size", [28, 40, 64, 200])
@pytest.mark.parametrize("fit", ["pad", "crop", "squeeze"])
def test_fine_textures_are_the_same_whatever_the_pools_size(kind: str, size: int, fit: Any) -> None:
    how = Conversion(fit, "auto")
    rows, columns = np.mgrid[:300, :450]
    for width in (1, 2, 3, 4, 5, 8):
        for pattern in (rows, columns, rows + columns, rows // width + columns // width):
            texture = Image.fromarray(np.uint8(60 + 120 * ((pattern // width) % 2)))
            raw = saved(texture, kind)
            assert view([raw], decode(raw, size=size, gray=False, how=how), how, [2048]).state == "here", width


def test_two_thin_photographs_on_a_wide_padding_are_not_taken_for_each_other() -> None:
    thin, other = (image.resize((900, 90)) for image in (CHINA, FLOWER))
    picture = decode(saved(thin), size=64, gray=False, how=PADDED)
    assert shows(thin, picture, PADDED) and not shows(other, picture, PADDED)


def test_images_of_their_own_shape_are_compared_too() -> None:
    picture = decode(saved(CHINA), size=None, gray=False)
    assert shows(CHINA, picture, Conversion()) and not shows(FLOWER, picture, Conversion())
    assert not shows(CHINA.crop((0, 0, 427, 427)), picture, Conversion())


def test_the_place_where_the_image_is_now_is_found_among_several() -> None:
    picture = decode(saved(CHINA), size=64, gray=False, how=PADDED)
    gone, other, own = Lost(GONE), saved(FLOWER), saved(CHINA)
    assert view([gone, other, own], picture, PADDED, [256]).state == "here"
    assert view([gone, other], picture, PADDED, [256]).state == "changed"
    assert view([gone, Lost(GONE)], picture, PADDED, [256]).state == "gone"
    assert view([], picture, PADDED, [256]).state == "gone"


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (saved(CHINA)[:9000], "truncated"),
        (b"", "empty"),
        (b"no image at all", "not an image"),
        (bomb(60_000, 60_000), "more than the limit"),
        (Lost("reading it is not permitted"), "not permitted"),
    ],
    ids=["truncated", "empty", "text", "bomb", "forbidden"],
)
def test_what_cannot_be_shown_says_why(raw: Raw, reason: str) -> None:
    found = view([raw], decode(saved(CHINA), size=64, gray=False, how=PADDED), PADDED, [256])
    assert found.state == "unreadable" and not found.files
    assert reason in found.reason


def test_a_jpeg_over_the_limit_is_decoded_at_a_fraction() -> None:
    how = Conversion("pad", "auto", None, limit=1_000_000)
    assert image_of(seen(saved(CHINA.resize((3000, 2000))), how, [256]), 256).size == (256, 171)
    raw = saved(CHINA.resize((3000, 2000)), "PNG")
    assert view([raw], decode(saved(CHINA), size=64, gray=False, how=how), how, [256]).state == "unreadable"


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "TIFF"])
def test_whatever_happened_to_the_bytes_nothing_is_raised(kind: str) -> None:
    raw, rng = saved(CHINA.resize((120, 80)), kind), np.random.default_rng(3)
    picture = decode(raw, size=64, gray=False, how=PADDED)
    states = set()
    for _ in range(60):
        broken = bytearray(raw[: rng.integers(len(raw))] if rng.random() < 0.3 else raw)
        for place in rng.integers(max(1, len(broken)), size=5):
            broken[place : place + 1] = bytes([rng.integers(256)])
        states.add(view([bytes(broken)], picture, PADDED, [256]).state)
    assert "unreadable" in states and states <= {"here", "changed", "unreadable"}
