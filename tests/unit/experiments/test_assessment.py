"""The numbers of an assessment are those of scikit-learn and scipy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    confusion_matrix,
    f1_score,
    precision_recall_fscore_support,
)

from asal.experiments.assessment import Assessment, Share


def drawn(seed: int, n: int = 60, k: int = 4, missing: int | None = None) -> Assessment:
    """Return labels and probabilities that agree more often than not."""
    rng = np.random.default_rng(seed)
    known = [c for c in range(k) if c != missing]
    labels = rng.choice(known, n, p=np.arange(1, len(known) + 1) / np.arange(1, len(known) + 1).sum())
    probs = rng.dirichlet(np.ones(k), n)
    right = rng.random(n) < 0.6
    probs[right, labels[right]] += 1
    probs /= probs.sum(1, keepdims=True)
    return Assessment(tuple("abcdefgh"[:k]), labels.astype(np.int64), probs)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("missing", [None, 1])
def test_they_are_scikit_learns(seed: int, missing: int | None) -> None:
    its = drawn(seed, missing=missing)
    true, found = its.labels, its.predicted
    assert (its.confusion == confusion_matrix(true, found, labels=range(4))).all()
    assert its.accuracy.value == accuracy_score(true, found)
    assert its.balanced_accuracy == pytest.approx(
        balanced_accuracy_score(true, found) if missing is None else confusion_recall(its)
    )
    assert its.macro_f1 == pytest.approx(f1_score(true, found, average="macro", zero_division=0))
    precision, recall, f1, images = precision_recall_fscore_support(true, found, labels=range(4), zero_division=np.nan)
    for c, one in enumerate(its.by_class):
        assert one.recall.images == images[c]
        np.testing.assert_allclose([one.precision.value, one.recall.value], [precision[c], recall[c]])
        assert one.f1 == pytest.approx(np.nan_to_num(f1[c]))
    assert its.without_images == ([] if missing is None else ["b"])


def confusion_recall(its: Assessment) -> float:
    """Return the mean recall of the classes that have images, counted image by image."""
    return float(np.mean([(its.predicted[its.labels == c] == c).mean() for c in np.unique(its.labels)]))


@pytest.mark.parametrize(("hits", "images"), [(0, 5), (5, 5), (43, 60), (1, 1), (500, 3000)])
def test_intervals_are_wilsons(hits: int, images: int) -> None:
    expected = binomtest(hits, images).proportion_ci(method="wilson")
    np.testing.assert_allclose(Share(hits, images).interval, (expected.low, expected.high), atol=1e-12)


def test_of_no_images_nothing_is_known() -> None:
    assert np.isnan(Share(0, 0).value) and Share(0, 0).interval == (0.0, 1.0) and str(Share(0, 0)) == "–"


def test_the_commonest_class_is_what_an_answer_without_looking_gives() -> None:
    probs = np.array([[0.1, 0.9], [0.2, 0.8], [0.6, 0.4], [0.7, 0.3]])
    name, always = Assessment(("free", "taken"), np.array([1, 1, 1, 0]), probs).majority
    assert (name, always.hits, always.images) == ("taken", 3, 4)


def test_bins_hold_every_image_once_and_the_error_is_the_mean_distance() -> None:
    its = drawn(7, n=400)
    bins = its.reliability
    assert sum(each.right.images for each in bins) == 400 and sum(each.right.hits for each in bins) == its.accuracy.hits
    right, expected = its.predicted == its.labels, 0.0
    for low in np.arange(0, 1, 0.1):
        inside = (its.confidences >= low - 1e-12) & (its.confidences < low + 0.1 - 1e-12)
        if inside.any():
            expected += inside.mean() * abs(right[inside].mean() - its.confidences[inside].mean())
    assert its.calibration_error == pytest.approx(expected)
    sure = Assessment(("a", "b"), np.array([0, 0]), np.array([[1.0, 0.0], [0.0, 1.0]]))
    assert [(each.low, each.right.hits, each.right.images) for each in sure.reliability] == [(0.9, 1, 2)]


def test_mistakes_come_the_most_confident_first() -> None:
    its = drawn(3)
    assert set(its.mistakes.tolist()) == {i for i in range(60) if its.predicted[i] != its.labels[i]}
    assert (np.diff(its.confidences[its.mistakes]) <= 0).all()
