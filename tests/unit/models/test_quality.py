"""How good a generator is: the distance against mathematics, the picture pixel by pixel."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy import linalg

from asal.models.generators.quality import GRID, MIN_IMAGES, draw, frechet, save_grid, warning, write_quality
from asal.runtime.rng import stream
from asal.testing.toys import toy_world


def test_a_distance_solved_by_hand() -> None:
    """Two axes, variances 1 and 4 against 9 and 4, means 3 apart: 3² + (1 − 3)² + (2 − 2)² = 13."""
    corners = np.array([[1, 1], [1, -1], [-1, 1], [-1, -1]]) * np.sqrt(3 / 4)  # unit variances: 4 points, divided by 3
    a, b = corners * [1, 2], corners * [3, 2] + [3, 0]
    assert frechet(a.astype(np.float32), b.astype(np.float32)) == pytest.approx(13, rel=1e-5)


def test_one_dimension_is_enough() -> None:
    a = np.array([[0.0], [2.0]])  # mean 1, variance 2
    b = np.array([[0.0], [4.0]])  # mean 2, variance 8
    assert frechet(a, b) == pytest.approx(1 + (np.sqrt(8) - np.sqrt(2)) ** 2)


SAMPLES = st.integers(0, 2**32 - 1).map(np.random.default_rng)


@settings(max_examples=30, deadline=None)
@given(SAMPLES, st.integers(2, 6))
def test_the_distance_is_one(rng: np.random.Generator, d: int) -> None:
    a, b = (rng.normal(size=(30, d)) @ rng.normal(size=(d, d)) + rng.normal(size=d) for _ in range(2))
    assert frechet(a, a) == pytest.approx(0, abs=1e-4)
    assert frechet(a, b) == pytest.approx(frechet(b, a), rel=1e-4, abs=1e-4)
    assert frechet(a, b) > 0
    turn = np.linalg.qr(rng.normal(size=(d, d)))[0]
    assert frechet(a @ turn, b @ turn) == pytest.approx(frechet(a, b), rel=1e-4, abs=1e-4)
    cov_a, cov_b = np.cov(a.T), np.cov(b.T)
    root = linalg.sqrtm(linalg.sqrtm(cov_a) @ cov_b @ linalg.sqrtm(cov_a)).real
    whole = np.square(a.mean(0) - b.mean(0)).sum() + np.trace(cov_a + cov_b - 2 * root)
    assert frechet(a, b) == pytest.approx(whole, rel=1e-4, abs=1e-4)


def test_fewer_images_than_dimensions_are_no_trouble() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(5, 40)), rng.normal(size=(6, 40))
    assert np.isfinite(frechet(a, b))
    assert frechet(a, a) == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("channels", [1, 3])
def test_the_grid_is_read_like_a_page(channels: int, tmp_path: Path) -> None:
    images = np.arange(11 * 4 * 5 * channels, dtype=np.uint8).reshape(11, 4, 5, channels)
    save_grid(images, tmp_path / "grid.png", scale=2)
    with Image.open(tmp_path / "grid.png") as picture:
        page = np.asarray(picture).reshape(3 * 4 * 2, 3 * 5 * 2, channels)
    for place in range(9):
        row, column = divmod(place, 3)
        tile = page[row * 8 : row * 8 + 8 : 2, column * 10 : column * 10 + 10 : 2]
        assert np.array_equal(tile, images[place])
    assert np.array_equal(page[::2], page[1::2])


@pytest.mark.parametrize("images", [2, 3, 60, 300])
def test_a_generator_is_judged_on_any_pool(images: int, tmp_path: Path) -> None:
    world = toy_world(images=images)
    write_quality(world.tools.generator, world.tools.extractor, world.pool, tmp_path, seed=0)
    said = json.loads((tmp_path / "quality.json").read_text())
    assert said["images"] == images // 2
    if images // 2 < MIN_IMAGES:
        assert said["frechet"] is None
        assert said["frechet_real"] is None
    else:
        assert said["frechet_real"] < said["frechet"], "real images are nearer to real ones than made ones are"
    side = min(GRID, int(np.sqrt(images // 2)))
    with Image.open(tmp_path / "samples.png") as picture:
        assert picture.size == (side * 4 * 2, side * 4 * 2)


def test_the_judgement_is_the_same_each_time(tmp_path: Path) -> None:
    world = toy_world(images=120)
    found = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        write_quality(world.tools.generator, world.tools.extractor, world.pool, tmp_path / name, seed=3)
        found.append([(tmp_path / name / file).read_bytes() for file in ("quality.json", "samples.png")])
    assert found[0] == found[1]


def test_images_are_drawn_in_parts_and_from_their_stream() -> None:
    generator = toy_world().tools.generator
    many = draw(generator, 300, stream(0, "draw"))
    assert many.shape == (300, 4, 4, 1)
    assert many.dtype == np.uint8
    assert np.array_equal(many, draw(generator, 300, stream(0, "draw")))
    assert not np.array_equal(many, draw(generator, 300, stream(1, "draw")))


@pytest.mark.parametrize(
    ("distance", "real", "far"), [(2.39, 0.84, False), (15.0, 1.0, False), (15.1, 1.0, True), (0.1, 0.0, True)]
)
def test_a_generator_far_from_the_real_images_is_warned_of(
    distance: float, real: float, far: bool, tmp_path: Path
) -> None:
    (tmp_path / "quality.json").write_text(json.dumps({"frechet": distance, "frechet_real": real, "images": 2048}))
    said = warning(tmp_path)
    assert bool(said) == far
    if far:
        assert f"{distance:.2f}" in said and f"({real:.2f})" in said and str(tmp_path / "samples.png") in said


def test_too_few_images_and_no_measurement_are_no_warning(tmp_path: Path) -> None:
    assert warning(tmp_path) == ""
    (tmp_path / "quality.json").write_text(json.dumps({"frechet": None, "frechet_real": None, "images": 4}))
    assert warning(tmp_path) == ""
