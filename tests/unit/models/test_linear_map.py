"""A classifier as a linear map: its bound against sums without rounding, and who declares one."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asal.models.learners.cnn import Cnn
from asal.models.learners.head import Head
from asal.models.learners.linear import Linear
from asal.models.linear_map import LinearMap, linear_map_of
from asal.runtime.rng import stream
from asal.testing.learner import CLASSES, toy_set

numbers = st.floats(-1e4, 1e4, width=32)


def toy_map(d: int, classes: int, scale: float = 1.0) -> LinearMap:
    rng = stream(0, "map", d, classes)
    return LinearMap(scale * rng.normal(size=(classes, d)), scale * rng.normal(size=classes))


@settings(deadline=None, max_examples=200)
@given(st.data(), st.integers(1, 12), st.integers(1, 4))
def test_no_logit_is_wrong_by_more_than_the_bound(data: st.DataObject, d: int, classes: int) -> None:
    row = st.lists(numbers, min_size=d, max_size=d)
    x = np.array([data.draw(row) for _ in range(3)], np.float32)
    weights = np.array([data.draw(row) for _ in range(classes)])
    linear = LinearMap(weights, np.array(data.draw(st.lists(numbers, min_size=classes, max_size=classes))))
    z, loosely = linear.logits(x)
    bounds = np.minimum(linear.bounds(x), loosely)
    for i, image in enumerate(x.tolist()):
        for c in range(classes):
            exact = sum(Fraction(w) * Fraction(v) for w, v in zip(weights[c].tolist(), image, strict=True))
            assert abs(Fraction(float(z[c, i])) - exact - Fraction(float(linear.biases[c]))) <= Fraction(
                float(bounds[i])
            )


def test_the_bound_is_of_the_size_of_rounding() -> None:
    x = stream(0, "x").normal(size=(500, 64)).astype(np.float32)
    z, loosely = toy_map(64, 10).logits(x)
    assert toy_map(64, 10).bounds(x).max() < 2e-5 * np.abs(z).max()
    assert loosely < np.sqrt(500) * 2e-5 * np.abs(z).max()


@pytest.mark.parametrize(("d", "classes"), [(64, 10), (50, 10), (7, 3), (3, 2), (784, 10), (16, 100)])
def test_an_image_has_the_same_probabilities_to_the_last_bit_whatever_is_beside_it(d: int, classes: int) -> None:
    linear, x = toy_map(d, classes), stream(0, "x", d).normal(size=(3000, d)).astype(np.float32)
    together = linear.predict(x)
    for start, size in ((0, 1), (5, 2), (777, 3), (1, 17), (1000, 1001), (2999, 1)):
        assert np.array_equal(linear.predict(x[start : start + size]), together[start : start + size])
    assert np.allclose(together.sum(axis=1), 1) and linear.predict(x[:0]).shape == (0, classes)


def test_many_inputs_are_laid_out_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    linear, x = toy_map(6, 3), stream(0, "x").normal(size=(50, 6)).astype(np.float32)
    expected = linear.predict(x)
    monkeypatch.setattr("asal.models.linear_map.EXACT_BLOCK", 20)
    assert np.array_equal(linear.predict(x), expected)


@pytest.mark.parametrize("shape", [(4, 6, 3), (5, 3, 1)])
def test_pictures_with_colours_are_flat_by_pixel(shape: tuple[int, int, int]) -> None:
    rng = stream(0, "pictures", *shape)
    images, labels = rng.integers(0, 256, (40, *shape), dtype=np.uint8), np.arange(40) % 3
    model = Linear(l2=0.01).fit(images, labels, 3, rng)
    again = Linear().restored(model.tensors(), shape, 3)
    for linear in (linear_map_of(model), linear_map_of(again)):
        assert linear is not None and linear.dim == images[0].size
        np.testing.assert_allclose(linear.predict(images), model.predict(images), rtol=0, atol=1e-5)


def test_what_is_not_linear_in_what_it_reads_declares_none() -> None:
    images, labels = toy_set(20)
    features = images.reshape(20, -1).astype(np.float32)
    rng = stream(0, "fit")
    assert linear_map_of(Cnn(steps=2, width=4, hidden=4).fit(images, labels, CLASSES, rng)) is None
    assert linear_map_of(Head(hidden=4, steps=2).fit(features, labels, CLASSES, rng)) is None
    assert linear_map_of(Head(l2=1e-2).fit(features, labels, CLASSES, rng)) is not None
    plugin: Any = object()
    assert linear_map_of(plugin) is None, "a model from before there was a linear map"
