"""A head on stored features: the minimum it is fitted to, the l2 that it chooses, and what its model gives."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from asal.core import Features, Labels
from asal.errors import UserError
from asal.features.pixels import PixelExtractor
from asal.models.learners.head import Head
from asal.models.learners.softmax import GRID, MOST, UNKNOWN, chosen_l2, softmax_regression, stratified_folds
from asal.models.tensors import to_batch
from asal.runtime.rng import stream


def clouds(n: int, distance: float, d: int = 12, classes: int = 3, seed: int = 0) -> tuple[Features, Labels]:
    """Return normal clouds of mean square length about 1, whose centres are so many deviations apart, and labels."""
    rng = stream(seed, "clouds")
    centres = rng.normal(size=(classes, d))
    centres *= distance / np.linalg.norm(centres, axis=1, keepdims=True)
    labels = np.arange(n) % classes
    x = centres[labels] + rng.normal(size=(n, d)) / np.sqrt(d)
    return (x / np.sqrt((x**2).sum(axis=1).mean())).astype(np.float32), labels


@pytest.mark.parametrize("l2", [1e-1, 1e-3, 1e-5])
def test_the_minimum_is_that_of_scikit_learn(l2: float) -> None:
    from sklearn.linear_model import LogisticRegression

    x, labels = clouds(90, 0.7)
    weights, biases = softmax_regression(x, labels, 3, l2)
    lifted = np.column_stack([x, np.ones(len(x))])
    other = LogisticRegression(C=1 / (l2 * len(x)), fit_intercept=False, tol=1e-8, max_iter=5000).fit(lifted, labels)
    found = lifted @ np.column_stack([weights, biases]).T
    expected = lifted @ other.coef_.T
    centred = [z - z.mean(axis=1, keepdims=True) for z in (found, expected)]
    np.testing.assert_allclose(*centred, atol=2e-2 * np.abs(expected).max())


def test_where_a_class_has_no_label_there_is_a_minimum_too() -> None:
    x, labels = clouds(40, 2.0)
    kept = labels < 2
    weights, biases = softmax_regression(x[kept], labels[kept], 3, 1e-4)
    assert np.isfinite(weights).all() and np.isfinite(biases).all()
    again = softmax_regression(x[kept][::-1], labels[kept][::-1], 3, 1e-4)
    np.testing.assert_allclose(biases, again[1], atol=0.05)


def test_classes_that_overlap_get_a_stronger_l2_than_those_that_do_not() -> None:
    near, far = (chosen_l2(*clouds(60, distance), 3, stream(0, "folds")) for distance in (0.1, 3.0))
    assert near >= 1e-2 and far <= 1e-4 and {near, far} <= set(GRID.tolist())


def test_the_choice_is_the_same_each_time_and_draws_from_the_stream_alone() -> None:
    x, labels = clouds(50, 0.5)
    assert len({chosen_l2(x, labels, 3, stream(4, "folds")) for _ in range(3)}) == 1


def test_without_two_labels_of_a_class_nothing_is_held_out() -> None:
    x, _ = clouds(3, 1.0)
    assert chosen_l2(x, np.array([0, 1, 2]), 5, stream(0, "folds")) == UNKNOWN
    x, _ = clouds(4, 1.0)
    assert chosen_l2(x, np.array([0, 1, 2, 2]), 3, stream(0, "folds")) in GRID


def test_of_many_labels_some_are_looked_at() -> None:
    x, labels = clouds(3 * MOST, 0.5)
    assert chosen_l2(x, labels, 3, stream(0, "folds")) in GRID


def test_folds_are_stratified_and_hold_no_only_label_out() -> None:
    labels = np.array([0] * 10 + [1] * 7 + [2] + [4] * 2)
    folds = stratified_folds(labels, stream(0, "folds"))
    assert folds[labels == 2].tolist() == [-1] and set(folds[labels != 2].tolist()) == {0, 1, 2, 3, 4}
    assert np.bincount(folds[labels == 0]).tolist() == [2, 2, 2, 2, 2]
    for fold in range(5):
        for label in (0, 1, 4):
            assert ((labels == label) & (folds != fold)).any(), "a class would have no label to be trained on"


def test_probabilities_are_as_large_as_they_are_right() -> None:
    x, labels = clouds(4000, 0.3, d=30)
    for n in (30, 120, 500):
        probs = Head().fit(x[:n], labels[:n], 3, stream(0, "learner")).predict(x[n:])
        right = float((probs.argmax(axis=1) == labels[n:]).mean())
        assert abs(float(probs.max(axis=1).mean()) - right) < 0.12, f"{n} labels"
        assert float((probs.max(axis=1) > 0.999).mean()) < 0.05, "saturated"


@pytest.mark.parametrize("hidden", [0, 9])
def test_its_weights_make_logits_of_what_it_embeds(hidden: int) -> None:
    x, labels = clouds(60, 1.0)
    x = 40 * x + 7  # as features may be stored
    model = Head(hidden=hidden, steps=50).fit(x, labels, 3, stream(0, "learner"))
    weights, biases = model.head()
    logits = model.embed(x).astype(np.float64) @ weights.T + biases
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    np.testing.assert_allclose(powers / powers.sum(axis=1, keepdims=True), model.predict(x), atol=1e-4)
    assert model.embed(x).shape == (60, hidden or 12)
    assert hidden or np.array_equal(model.embed(x), x), "features that do not change from round to round"


@pytest.mark.parametrize("hidden", [0, 9])
@pytest.mark.parametrize("change", [lambda x: 1000 * x, lambda x: x + 50])
def test_neither_the_scale_nor_the_origin_of_features_matters(hidden: int, change: Any) -> None:
    x, labels = clouds(60, 1.0)
    plain, other = (
        Head(hidden=hidden, steps=50).fit(some, labels, 3, stream(0, "learner")).predict(some)
        for some in (x, change(x).astype(np.float32))
    )
    np.testing.assert_allclose(plain, other, atol=0.02)


@pytest.mark.parametrize("hidden", [0, 5])
def test_the_same_vector_under_several_labels_gives_even_odds(hidden: int) -> None:
    x = np.repeat(stream(0, "one").normal(size=(1, 8)), 6, axis=0).astype(np.float32)
    model = Head(hidden=hidden, steps=200).fit(x, np.array([0, 1, 2] * 2), 3, stream(0, "learner"))
    np.testing.assert_allclose(model.predict(x), 1 / 3, atol=0.1 if hidden else 1e-3)


@pytest.mark.parametrize("hidden", [0, 5])
def test_a_model_is_restored_from_its_tensors(hidden: int) -> None:
    x, labels = clouds(30, 1.0)
    head = Head(hidden=hidden, steps=20).through(lambda: PixelExtractor(12))
    model = head.fit(x, labels, 3, stream(0, "learner"))
    restored = head.restored(model.tensors(), (12,), 3)
    assert np.array_equal(restored.predict(x), model.predict(x))
    assert np.array_equal(restored.embed(x), model.embed(x))
    assert restored.extractor is model.extractor is not None


def test_the_logits_of_images_go_through_the_extractor() -> None:
    images = stream(0, "images").integers(256, size=(9, 2, 3, 2)).astype(np.uint8)
    extractor, labels = PixelExtractor(12), np.arange(9) % 3
    head = Head(l2=1e-3)
    batch = to_batch(images).requires_grad_()
    with pytest.raises(UserError, match="without their extractor"):
        head.fit(extractor(images), labels, 3, stream(0, "learner")).logits(batch)
    model = head.through(lambda: extractor).fit(extractor(images), labels, 3, stream(0, "learner"))
    logits = model.logits(batch)
    np.testing.assert_allclose(logits.detach().softmax(1).numpy(), model.predict(extractor(images)), atol=1e-5)
    (gradient,) = torch.autograd.grad(logits.sum(0)[0], batch)
    assert gradient.abs().max() > 0


def test_the_weights_do_not_depend_on_the_number_of_threads() -> None:
    from threadpoolctl import threadpool_limits

    x, labels = clouds(600, 0.4, d=300)
    found = []
    for threads in (1, 4):
        with threadpool_limits(threads):
            found.append(Head().fit(x, labels, 3, stream(0, "learner")).tensors())
    assert all(np.array_equal(found[0][name], found[1][name]) for name in found[0])
