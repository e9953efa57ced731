"""Where a length, a variance or a count is 0: what the strategies' formulas are then, by their values."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from asal.core import Candidates
from asal.runtime.rng import stream
from asal.strategies import strategies
from asal.strategies.adba import LatentModel, _minimum
from asal.strategies.badge import Gradients, seeded
from asal.strategies.hyperplanes import Hyperplanes
from asal.strategies.margin_svm import fitted
from asal.strategies.typiclust import typicality
from asal.testing.rounds import setting
from asal.testing.strategy import LABELLED, choose


def plane(*weights: float, bias: float = 1.0) -> Hyperplanes:
    return Hyperplanes(np.array([weights]), np.array([bias]))


def test_a_plane_without_a_normal_is_infinitely_far_and_one_beside_it_counts() -> None:
    points = np.array([[3.0, 4.0], [0.0, 0.0]], np.float32)
    assert not plane(0.0, 0.0).exist
    assert plane(0.0, 0.0).distances(points).tolist() == [np.inf, np.inf]
    assert plane(0.0, 0.0, bias=0.0).distances(points).tolist() == [np.inf, np.inf]  # of 0 / 0 too
    both = Hyperplanes(np.array([[0.0, 0.0], [3.0, 4.0]]), np.array([7.0, 5.0]))
    assert both.exist
    assert both.distances(points).tolist() == [6.0, 1.0]


@pytest.mark.parametrize("labels", [[0, 1, 0, 1], [0, 1, 2, 0, 1, 2], [0, 0, 0, 1], [2, 1, 0, 0, 0]])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 250.0])
def test_one_picture_under_several_labels_has_no_boundary(labels: list[int], scale: float) -> None:
    picture = stream(0, "picture").normal(size=48) * scale
    hyperplanes = fitted(np.repeat(picture[None], len(labels), axis=0).astype(np.float32), np.array(labels), 1.0)
    assert not hyperplanes.weights.any()
    assert not hyperplanes.exist


def test_a_boundary_between_pictures_that_hardly_differ_is_one() -> None:
    features = np.ones((4, 3), np.float32)
    features[2:, 0] += 0.01
    hyperplanes = fitted(features, np.array([0, 0, 1, 1]), 1e6)
    assert hyperplanes.exist
    assert np.allclose(hyperplanes.distances(features), 0.005, rtol=1e-2)


@pytest.mark.parametrize("name", ["margin-svm", "hyperplane-hash"])
def test_without_a_boundary_images_are_drawn_at_random(name: str) -> None:
    def labelled_are_one(images: Any) -> Any:
        images = images.copy()
        images[LABELLED] = images[0]
        return images

    part = replace(strategies[name], make=strategies[name].bind({}))
    with setting(part, change=labelled_are_one) as at:
        now = at.round(LABELLED)
        expected = Candidates(len(at.pool), LABELLED).sample(7, stream(0, "check"))
        chosen = choose(part, now, 7)
    assert chosen.ids.tolist() == expected.tolist()
    assert chosen.scores.tolist() == [0.0] * 7


def test_adba_has_no_boundary_where_one_latent_has_both_labels() -> None:
    latents, signs = np.ones((6, 3)), np.array([1.0, -1.0] * 3)
    weights, bias = _minimum(latents, signs, np.empty((0, 3)), 1e-3)
    assert weights.tolist() == [0.0, 0.0, 0.0]
    model = LatentModel(weights, bias, lambda images: images)  # type: ignore[arg-type]
    assert model.distances(latents * 5).tolist() == [0.0] * 6
    lines = strategies["adba"].make(points=3, reach=2.0)._lines(model, latents)
    assert lines.shape == (6, 3, 3)
    assert lines[0].tolist() == [[-1.0, 1.0, 1.0], [1.0, 1.0, 1.0], [3.0, 1.0, 1.0]], "centred at the image itself"


def test_adbas_distance_is_the_decision_over_the_length() -> None:
    model = LatentModel(np.array([3.0, 4.0]), 5.0, lambda images: images)  # type: ignore[arg-type]
    assert model.distances(np.array([[0.0, 0.0], [-3.0, -4.0]])).tolist() == [1.0, -4.0]


@pytest.mark.parametrize("size", [0.0, 5e-324, 1e-320, 1e-160, 1.0])
def test_badge_draws_where_gaps_are_0_or_too_small_for_their_digits(size: float) -> None:
    errors = np.zeros((8, 2))
    errors[:, 0] = np.sqrt(size) * np.arange(8)
    hidden = np.ones((8, 1))
    squares = (errors**2).sum(axis=1)
    rows = seeded(Gradients(errors, hidden, squares), 8, stream(0, "badge"))
    assert sorted(rows.tolist()) == list(range(8))


def test_typicality_where_all_are_the_same_is_finite_and_the_same() -> None:
    found = typicality(np.ones((5, 3), np.float32), 3)
    assert np.isfinite(found).all() and len(set(found.tolist())) == 1
    assert (found > typicality(np.array([[0.0], [1e-6]], np.float32), 1).max()).all(), "more typical than any other"
