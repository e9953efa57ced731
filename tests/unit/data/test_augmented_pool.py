"""A pool made large without storing it: what image i is hangs on the seed and on i alone."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asal.core import Ids, Images
from asal.data.augmented_pool import REACH, AugmentedPool
from asal.errors import UserError

BASE = 7


class Base:
    """Seven images (6, 5, 2) of noise, which remembers what was read of it."""

    def __init__(self) -> None:
        self.images: Images = np.random.default_rng(0).integers(0, 256, (BASE, 6, 5, 2), np.uint8)
        self.fingerprint = "base"
        self.shape = (6, 5, 2)
        self.asked: list[Ids] = []

    def __len__(self) -> int:
        return BASE

    def read(self, ids: Ids) -> Images:
        self.asked.append(ids)
        return self.images[ids]


@given(st.integers(BASE, 10**7), st.integers(0, 2**20))
@settings(max_examples=60, deadline=None)
def test_some_copies_are_mirrored_and_shifted_as_without_a_mirror(image: int, seed: int) -> None:
    base, ids = Base(), np.array([image])
    pool = AugmentedPool(base, 10**7 + 1, seed, mirror=True)
    ((down, right),) = pool.shifts(ids).tolist()
    assert (down, right) == tuple(AugmentedPool(base, 10**7 + 1, seed).shifts(ids)[0])
    original = base.images[image % BASE]
    original = original[:, ::-1] if pool.mirrored(ids)[0] else original
    np.testing.assert_array_equal(pool.read(ids)[0], shifted(original, down, right))


def test_about_half_of_the_copies_are_mirrored_and_no_original() -> None:
    pool = AugmentedPool(Base(), 20_000, mirror=True)
    mirrored = pool.mirrored(np.arange(20_000))
    assert not mirrored[:BASE].any() and abs(mirrored.mean() - 0.5) < 0.02
    np.testing.assert_array_equal(pool.read(np.arange(BASE)), Base().images)
    assert pool.fingerprint != AugmentedPool(Base(), 20_000).fingerprint


def shifted(image: Images, down: int, right: int) -> Images:
    """Return an image (h, w, c) whose pixel (y, x) is the old one's (y + down, x + right), its edges repeated."""
    padded = np.pad(image, ((REACH, REACH), (REACH, REACH), (0, 0)), mode="edge")
    height, width, _ = image.shape
    return padded[REACH + down : REACH + down + height, REACH + right : REACH + right + width]


@given(st.lists(st.integers(0, 4_999), min_size=1, max_size=30), st.integers(0, 2**20))
@settings(max_examples=60, deadline=None)
def test_an_image_hangs_on_the_seed_and_its_id_alone(ids: list[int], seed: int) -> None:
    pool = AugmentedPool(Base(), 5_000, seed)
    together = pool.read(np.array(ids))
    alone = np.concatenate([pool.read(np.array([image])) for image in reversed(ids)])[::-1]
    np.testing.assert_array_equal(together, alone)
    larger = AugmentedPool(Base(), 16_000_000, seed)
    np.testing.assert_array_equal(together, larger.read(np.array(ids)), err_msg="it does not hang on the size")


@given(st.integers(BASE, 10**7), st.integers(0, 2**20))
@settings(max_examples=60, deadline=None)
def test_an_image_is_a_small_shift_of_its_base_with_edges_repeated(image: int, seed: int) -> None:
    base = Base()
    pool = AugmentedPool(base, 10**7 + 1, seed)
    ((down, right),) = pool.shifts(np.array([image])).tolist()
    assert -REACH <= down <= REACH and -REACH <= right <= REACH
    np.testing.assert_array_equal(pool.read(np.array([image]))[0], shifted(base.images[image % BASE], down, right))


def test_the_first_images_are_the_bases_own() -> None:
    base = Base()
    pool = AugmentedPool(base, 100, seed=3)
    np.testing.assert_array_equal(pool.read(np.arange(BASE)), base.images)
    assert not pool.shifts(np.arange(BASE)).any()


@pytest.mark.parametrize("seed", [0, 1, 12_345])
def test_all_shifts_are_about_as_frequent(seed: int) -> None:
    drawn = AugmentedPool(Base(), 200_000, seed).shifts(np.arange(BASE, 100_000))
    counts = np.zeros((5, 5), np.int64)
    np.add.at(counts, tuple(drawn.T + REACH), 1)
    expected = len(drawn) / 25
    assert ((counts - expected) ** 2 / expected).sum() < 51.2, "χ² with 24 degrees of freedom, one in a thousand"


def test_one_images_copies_are_shifted_differently() -> None:
    drawn = AugmentedPool(Base(), 10**6).shifts(
        np.arange(BASE, 25 * 4 * BASE + BASE, BASE)
    )  # a hundred copies of image 0
    assert len({tuple(pair) for pair in drawn.tolist()}) > 20


def test_another_seed_makes_another_pool() -> None:
    one, other = (AugmentedPool(Base(), 1_000, seed) for seed in (0, 1))
    ids = np.arange(BASE, 1_000)
    assert (one.shifts(ids) != other.shifts(ids)).any(axis=1).mean() > 0.9
    assert one.fingerprint != other.fingerprint
    assert one.fingerprint == AugmentedPool(Base(), 1_000).fingerprint != AugmentedPool(Base(), 999).fingerprint


def test_no_argument_is_written_into() -> None:
    base, ids = Base(), np.array([3, 500, 3])
    before = base.images.copy()
    AugmentedPool(base, 1_000).read(ids)[:] = 0
    np.testing.assert_array_equal(base.images, before)
    assert ids.tolist() == [3, 500, 3]


@pytest.mark.parametrize("ids", [[-1], [0, 100], [10**9]])
def test_ids_of_no_image_are_refused(ids: list[int]) -> None:
    with pytest.raises(UserError, match="is outside 0 … 99") as caught:
        AugmentedPool(Base(), 100).read(np.array(ids))
    assert str(max(ids, key=abs)) in caught.value.got


def test_masks_are_refused() -> None:
    with pytest.raises(TypeError, match="are integers"):
        AugmentedPool(Base(), 100).read(np.array([True, False]))


def test_no_ids_give_no_images() -> None:
    assert AugmentedPool(Base(), 100).read(np.empty(0, np.int64)).shape == (0, 6, 5, 2)


def test_sixteen_million_images_cost_nothing() -> None:
    base = Base()
    tracemalloc.start()
    pool = AugmentedPool(base, 16_000_000)
    read = pool.read(np.array([0, 15_999_999]))
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(pool) == 16_000_000 and read.shape == (2, 6, 5, 2)
    assert most < 100_000, "bytes"
    assert sum(len(ids) for ids in base.asked) == 2
