"""Exact copies by their hashes, and images that look alike."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from asal.data.duplicates import NO_COPIES, Copies, copies_among, known_among, packed
from asal.data.near_duplicates import near_duplicates
from asal.data.sources.decode import decode
from asal.runtime import npy

SMALL = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2)), min_size=1, max_size=40)


@given(pairs=SMALL)
def test_copies_are_those_that_a_loop_finds(pairs: list[tuple[int, int]]) -> None:
    found = copies_among(np.array(pairs, np.uint64))
    first: dict[tuple[int, int], int] = {}
    expected = [(row, first[pair]) for row, pair in enumerate(pairs) if first.setdefault(pair, row) != row]
    assert list(zip(found.ids.tolist(), found.firsts.tolist(), strict=True)) == expected
    touched = np.array([row for row in range(len(pairs)) if row % 3 == 0])
    groups = {pair: [row for row, other in enumerate(pairs) if other == pair] for pair in pairs}
    asked = {pair for row, pair in enumerate(pairs) if row % 3 == 0}
    left = [rows[0] for pair, rows in groups.items() if pair not in asked]
    assert found.left(len(pairs), touched) == len(left)
    excluded = set(found.excluded(touched).tolist()) | set(touched.tolist())
    assert set(range(len(pairs))) - excluded == set(left)


@given(pairs=SMALL, others=SMALL)
def test_what_is_known_is_what_a_set_says(pairs: list[tuple[int, int]], others: list[tuple[int, int]]) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as home:
        known = np.array(pairs, np.uint64)
        npy.write(Path(home) / "known.npy", known[np.argsort(known[:, 0], kind="stable")])
        found = known_among(np.array(others, np.uint64), Path(home) / "known.npy")
    assert found.tolist() == [other in set(pairs) for other in others]


def test_a_labelled_copy_answers_for_its_group() -> None:
    copies = Copies(np.array([4, 6, 9]), np.array([1, 1, 2]))
    assert copies.answered_by(np.array([6, 9])) == {1: 6, 4: 6, 2: 9}
    assert NO_COPIES.answered_by(np.array([6])) == {} and NO_COPIES.excluded(np.array([3])).tolist() == []


def digest(raw: bytes | Path, gray: bool = False, size: int = 4) -> bytes:
    import hashlib

    of = hashlib.sha256()
    decode(raw, size=size, gray=gray, digest=of)
    return of.digest()


def test_the_hash_is_of_what_was_decoded_before_it_was_scaled(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    pixels = np.repeat(np.repeat(rng.integers(0, 255, (4, 4, 3), dtype=np.uint8), 8, 0), 8, 1)
    other = pixels.copy()
    other[3, 3] ^= 1  # scaled to 4 × 4, these are the same
    turned = Image.fromarray(np.rot90(pixels, 1).copy())
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise
    Image.fromarray(pixels).save(tmp_path / "a.png")
    Image.fromarray(pixels).save(tmp_path / "a.bmp")
    turned.save(tmp_path / "turned.png", exif=exif)
    Image.fromarray(other).save(tmp_path / "b.png")
    names = ("a.png", "a.bmp", "turned.png", "b.png")
    one, same, upright, another = (digest(tmp_path / name) for name in names)
    assert one == same == upright != another
    small = [decode(tmp_path / name, size=4, gray=False) for name in ("a.png", "b.png")]
    assert np.array_equal(*small), "at this size they are equal, and no copies"


def test_two_colours_of_one_gray_are_no_copies(tmp_path: Path) -> None:
    for name, colour in (("red", (100, 0, 0)), ("blue", (0, 0, 255))):
        Image.new("RGB", (4, 4), colour).save(tmp_path / f"{name}.png")
    assert decode(tmp_path / "red.png", size=4, gray=True)[0, 0, 0] in (29, 30)
    assert digest(tmp_path / "red.png", gray=True) != digest(tmp_path / "blue.png", gray=True)


class Pictures:
    """A pool of some images."""

    def __init__(self, images: np.ndarray) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def read(self, ids: np.ndarray) -> np.ndarray:
        return self.images[ids]


def photo(seed: int, side: int) -> np.ndarray:
    """Return a smooth picture, as a photograph is, (side, side, 3)."""
    coarse = Image.fromarray(np.random.default_rng(seed).integers(0, 255, (6, 6, 3), dtype=np.uint8))
    return np.asarray(coarse.resize((side, side), Image.Resampling.BICUBIC))


@pytest.mark.parametrize("side", [16, 64])
def test_images_that_look_alike_are_grouped_and_others_are_not(side: int) -> None:
    images = [photo(seed, side) for seed in range(60)]
    brighter = np.clip(images[7].astype(int) + 4, 0, 255).astype(np.uint8)
    noise = np.random.default_rng(1).integers(-3, 4, images[9].shape)
    noisy = np.clip(images[9].astype(int) + noise, 0, 255).astype(np.uint8)
    flat = [np.full((side, side, 3), value, np.uint8) for value in (0, 255, 128)]  # whose hashes are all alike
    pool = Pictures(np.stack([*images, brighter, noisy, *flat]))
    assert near_duplicates(pool, np.empty(0, np.int64)).groups == ((7, 60), (9, 61))
    assert near_duplicates(pool, np.array([60])).groups == ((9, 61),)


def test_packed_hashes_keep_their_bytes() -> None:
    assert packed(bytes(range(32)))[1].tobytes() == bytes(range(16, 32))
