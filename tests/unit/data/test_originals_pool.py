"""Originals as a network reads them: decoded at its size, and the pool's pictures in place of those that are lost."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from support.photographs import draw

from asal.data.append import add
from asal.data.concat_pool import additions
from asal.data.image_options import conversion, ranges_of
from asal.data.ingest import IngestContext, ingest
from asal.data.ingest_shard import ImageFormat
from asal.data.originals import originals_of
from asal.data.originals_pool import OriginalImages, OriginalsPool, sentence
from asal.data.pool import StoredPool
from asal.data.sources.decode import decode
from asal.data.sources.folder import Folder
from asal.data.splits import Split
from asal.errors import UserError
from asal.runtime import artifacts

NAMES = [f"{kind}/{number}.png" for kind in ("cat", "dog") for number in range(4)]
SIDE = 48


def opened(root: Path, images: Path, part: str = "pool", **options: Any) -> OriginalsPool:
    """Take a folder in, and open its originals."""
    ingest(Folder(str(images)), root, Split(), size=16, **options)
    return at_size(root, images, part)


def at_size(root: Path, images: Path, part: str = "pool", first: int = 0) -> OriginalsPool:
    originals = originals_of(Folder(str(images)), root, part)
    assert originals is not None
    folder = additions(root)[0] if first else root / part
    how = conversion(artifacts.manifest(root / "pool")["options"], ranges_of(root), None)
    return OriginalImages(originals, how, first).of(StoredPool.open(folder), SIDE)


@pytest.fixture
def images(tmp_path: Path) -> Path:
    draw(tmp_path / "images", NAMES)
    return tmp_path / "images"


@pytest.mark.parametrize("fit", ["pad", "crop", "squeeze"])
def test_originals_come_at_the_wanted_size_in_the_pools_fit(fit: Any, images: Path, tmp_path: Path) -> None:
    pool = opened(tmp_path / "project", images, fit=fit)
    assert pool.shape == (SIDE, SIDE, 3) and len(pool) == 8 and pool.fingerprint == pool.pool.fingerprint
    ids = np.array([5, 0, 5])
    found = pool.read(ids)
    for image, key in zip(found, pool.pool.keys(ids), strict=True):
        assert np.array_equal(image, decode(images / key, size=SIDE, gray=False, how=pool.images.how))
    grown = np.stack([pool._fitted(picture) for picture in pool.pool.read(ids)])
    assert np.abs(found.astype(int) - grown).mean() > 0.5, "and not the pool's pictures"
    assert not pool.replaced
    with pytest.raises(UserError, match="image id 8"):
        pool.read(np.array([8]))


def test_an_original_is_turned_as_its_exif_says(images: Path, tmp_path: Path) -> None:
    with Image.open(images / NAMES[0]) as picture:
        turned = picture.transpose(Image.Transpose.ROTATE_90)
        exif = Image.Exif()
        exif[274] = 6  # to be turned by 90 degrees to the right
        turned.save(images / "cat/0.jpg", exif=exif, quality=98)
        expected = np.asarray(picture.resize((SIDE, SIDE)), int)
    pool = opened(tmp_path / "project", images, fit="squeeze")
    keys = pool.pool.keys(np.arange(len(pool)))
    found = pool.read(np.array([keys.index("cat/0.jpg")]))[0]
    assert np.abs(found - expected).mean() < 4


def test_gray_pools_have_gray_originals(images: Path, tmp_path: Path) -> None:
    pool = opened(tmp_path / "project", images, gray=True)
    found = pool.read(np.arange(3))
    assert found.shape == (3, SIDE, SIDE, 3)
    assert np.array_equal(found[..., 0], found[..., 2]) and not pool.replaced


@pytest.mark.parametrize("gray", [False, True])
def test_the_pools_picture_stands_in_for_what_is_lost_and_is_counted(gray: bool, images: Path, tmp_path: Path) -> None:
    pool = opened(tmp_path / "project", images, gray=gray)
    keys = pool.pool.keys(np.arange(8))
    (images / keys[0]).unlink()
    (images / keys[1]).write_bytes(b"no image")
    Image.new("RGB", (90, 60), "red").save(images / keys[2])
    found = pool.read(np.arange(8))
    assert dict(pool.replaced) == {"gone": 1, "unreadable": 1, "changed": 1}
    for image in range(8):
        grown = np.broadcast_to(pool._fitted(pool.pool.read(np.array([image]))[0]), found[image].shape)
        assert np.array_equal(found[image], grown) == (image < 3)


def test_a_file_that_was_saved_again_is_the_same_image(images: Path, tmp_path: Path) -> None:
    pool = opened(tmp_path / "project", images)
    for key in pool.pool.keys(np.arange(8)):
        with Image.open(images / key) as picture:
            picture.save(images / key, "JPEG", quality=40)
    pool.read(np.arange(8))
    assert not pool.replaced


@pytest.mark.parametrize("width", [1, 2, 3, 5, 8])
@pytest.mark.parametrize("size", [16, 40, 64])
def test_fine_textures_are_no_other_images(width: int, size: int, tmp_path: Path) -> None:
    stripes = np.zeros((3, 96, 96, 3), np.uint8)
    where = np.arange(96) // width % 2 == 0
    stripes[0, where] = stripes[1, :, where] = 255
    stripes[2][where[:, None] ^ where[None]] = 255  # checks
    (tmp_path / "images").mkdir()
    for number, image in enumerate(stripes):
        Image.fromarray(image).save(tmp_path / f"images/{number}.png")
    ingest(Folder(str(tmp_path / "images")), tmp_path / "project", Split(), size=size)
    pool = at_size(tmp_path / "project", tmp_path / "images")
    pool.read(np.arange(3))
    assert not pool.replaced


@pytest.mark.parametrize("size", [16, 64, None])
def test_any_other_image_is_noticed(size: int | None, images: Path, tmp_path: Path) -> None:
    ingest(Folder(str(images)), tmp_path / "project", Split(), size=size)
    names = sorted(images.rglob("*.png"))
    contents = [name.read_bytes() for name in names]
    for name, other in zip(names, contents[1:] + contents[:1], strict=True):  # each has its neighbour's name
        name.write_bytes(other)
    pool = at_size(tmp_path / "project", images)
    pool.read(np.arange(8))
    assert dict(pool.replaced) == {"changed": 8}


def test_what_was_added_from_another_folder_is_looked_up_there_first(images: Path, tmp_path: Path) -> None:
    root, other = tmp_path / "project", tmp_path / "other"
    opened(root, images)
    draw(other, [*NAMES, "cat/9.png"], (60, 90))
    other_names = sorted(str(path.relative_to(other)) for path in other.rglob("*.png"))
    how = conversion(artifacts.manifest(root / "pool")["options"], {}, None)
    add(
        Folder(str(other)),
        root,
        (),
        ImageFormat(16, False, (16, 16, 3), how),
        IngestContext(),
        own=False,
        new_classes=True,
    )
    pool = at_size(root, images, first=8)
    ids = np.arange(len(pool))
    assert set(pool.pool.keys(ids)) <= set(other_names) and len(pool) > 0
    found = pool.read(ids)
    assert not pool.replaced
    for image, key in zip(found, pool.pool.keys(ids), strict=True):
        assert np.array_equal(image, decode(other / key, size=SIDE, gray=False, how=pool.images.how))


def test_another_process_opens_the_same(images: Path, tmp_path: Path) -> None:
    pool = opened(tmp_path / "project", images)
    again = pickle.loads(pickle.dumps(pool.images)).of(StoredPool.open(tmp_path / "project/pool"), SIDE)
    assert np.array_equal(again.read(np.arange(8)), pool.read(np.arange(8)))


def test_the_first_place_that_is_no_url_is_said(images: Path, tmp_path: Path) -> None:
    pool = opened(tmp_path / "project", images)
    assert pool.images.local == str(images)
    there = originals_of(Folder(f"file://{images}"), tmp_path / "project", "validation")
    assert there is not None and OriginalImages(there, pool.images.how).local == ""


def test_the_sentence_about_replaced_originals() -> None:
    assert sentence({}) == ""
    assert sentence({"gone": 1}) == "the pool's picture in place of 1 original (1 gone)"
    assert (
        sentence({"gone": 1000, "changed": 1})
        == "the pool's picture in place of 1,001 originals (1,000 gone, 1 changed)"
    )
