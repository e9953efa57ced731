"""How good a classifier is, class by class: from labels that it was not trained on and what it says of the images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from asal.core import Labels, Probs

Counts = npt.NDArray[np.int64]

BINS = 10  # of confidence
LEVEL = 0.95  # of intervals


@dataclass(frozen=True)
class Share:
    """A share of some images, with its interval.

    >>> half = Share(5, 10)
    >>> round(half.value, 3), [round(end, 3) for end in half.interval]
    (0.5, [0.237, 0.763])
    """

    hits: int
    images: int

    @property
    def value(self) -> float:
        """The share; NaN of no images."""
        return self.hits / self.images if self.images else float("nan")

    @property
    def interval(self) -> tuple[float, float]:
        """The 95% interval (Wilson 1927), for images that were drawn as these were: it stays within 0 … 1."""
        if not self.images:
            return 0.0, 1.0
        z, n, share = NormalDist().inv_cdf((1 + LEVEL) / 2), self.images, self.value
        middle = share + z * z / (2 * n)
        half = z * (share * (1 - share) / n + z * z / (4 * n * n)) ** 0.5
        return max(0.0, (middle - half) / (1 + z * z / n)), min(1.0, (middle + half) / (1 + z * z / n))

    def __str__(self) -> str:
        """Return it as people read it: 71.7% (59.2 … 81.5)."""
        if not self.images:
            return "–"
        low, high = self.interval
        return f"{self.value:.1%} ({100 * low:.1f} … {100 * high:.1f})"


@dataclass(frozen=True)
class ClassResult:
    """How one class fares.

    Args:
        recall: of the images of the class, those that are predicted as it.
        precision: of the images that are predicted as the class, those that are of it.
    """

    name: str
    recall: Share
    precision: Share

    @property
    def f1(self) -> float:
        """The harmonic mean of precision and recall; 0 where nothing is right."""
        return 2 * self.recall.hits / max(1, self.recall.images + self.precision.images)


@dataclass(frozen=True)
class ConfidenceBin:
    """The images whose confidence lies between two values."""

    low: float
    high: float
    confidence: float  # their mean one
    right: Share


@dataclass(frozen=True)
class Assessment:
    """What a classifier says of labelled images.

    Args:
        classes: their names, by the columns of `probs`.
        labels: (n,) columns.
        probs: (n, k)
    """

    classes: tuple[str, ...]
    labels: Labels
    probs: Probs

    @cached_property
    def predicted(self) -> Labels:
        """The likeliest class of each image."""
        found: Labels = self.probs.argmax(axis=1)
        return found

    @cached_property
    def confidences(self) -> Probs:
        """The probability of the likeliest class of each image."""
        highest: Probs = self.probs.max(axis=1)
        return highest

    @cached_property
    def confusion(self) -> Counts:
        """Images (k, k): by their class, and by the class that is predicted."""
        k = len(self.classes)
        return np.bincount(k * self.labels + self.predicted, minlength=k * k).reshape(k, k)

    @property
    def accuracy(self) -> Share:
        """The share of images whose class is predicted."""
        return Share(int(np.trace(self.confusion)), len(self.labels))

    @property
    def majority(self) -> tuple[str, Share]:
        """The commonest class, and the accuracy of always predicting it."""
        counts = self.confusion.sum(axis=1)
        return self.classes[int(counts.argmax())], Share(int(counts.max()), len(self.labels))

    @cached_property
    def by_class(self) -> Sequence[ClassResult]:
        """The classes, in their order."""
        right, of, predicted = np.diag(self.confusion), self.confusion.sum(axis=1), self.confusion.sum(axis=0)
        return [
            ClassResult(name, Share(int(right[c]), int(of[c])), Share(int(right[c]), int(predicted[c])))
            for c, name in enumerate(self.classes)
        ]

    @property
    def without_images(self) -> list[str]:
        """The classes of which there is no image."""
        return [one.name for one in self.by_class if not one.recall.images]

    @property
    def balanced_accuracy(self) -> float:
        """The mean recall of the classes that have images."""
        return float(np.mean([one.recall.value for one in self.by_class if one.recall.images]))

    @property
    def macro_f1(self) -> float:
        """The mean F1 of the classes that have images or are predicted."""
        return float(np.mean([one.f1 for one in self.by_class if one.recall.images or one.precision.images]))

    @property
    def reliability(self) -> list[ConfidenceBin]:
        """The images by confidence, in bins of equal width; those without images are left out."""
        bins, right = np.minimum((BINS * self.confidences).astype(int), BINS - 1), self.predicted == self.labels
        return [
            ConfidenceBin(
                number / BINS,
                (number + 1) / BINS,
                float(self.confidences[bins == number].mean()),
                Share(int(right[bins == number].sum()), int((bins == number).sum())),
            )
            for number in np.unique(bins).tolist()
        ]

    @property
    def calibration_error(self) -> float:
        """The mean distance of confidence and accuracy over the bins, weighted by images (Naeini et al. 2015)."""
        bins, n = self.reliability, len(self.labels)
        return sum(abs(each.confidence - each.right.value) * each.right.images for each in bins) / n

    @property
    def mistakes(self) -> npt.NDArray[np.int64]:
        """The images that are predicted wrongly, the most confident first."""
        wrong = np.flatnonzero(self.predicted != self.labels)
        return wrong[np.argsort(-self.confidences[wrong], kind="stable")]
