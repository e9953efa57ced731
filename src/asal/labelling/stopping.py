"""Stopping criteria: when do more labels no longer pay? Criteria of the literature, on a fixed random part of the pool.

No criterion sees a true label that was not asked for: each looks at what consecutive classifiers say of the same
images, the *stop set*. Its size does not depend on the pool's, and so neither does the cost of a look.
"""

from __future__ import annotations

import base64
import binascii
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from asal.core import Candidates, Ids, Labels, Probs
from asal.errors import DamageError
from asal.labelling.agreement import cohen_kappa
from asal.runtime.rng import stream

SIZE = 1000  # images in the stop set; our choice (Bloodgood and Vijay-Shanker took 2,000)
WINDOW = 3  # looks that a value is taken over: theirs for kappa, our choice for the gradient
STABLE = 0.99  # theirs
CERTAIN = 0.05  # of the largest entropy; our choice: Zhu, Wang and Hovy leave it to the task
FLAT = 0.01  # of estimated accuracy, for a hundred labels; our choice: Laws and Schütze's is one of their task
ENOUGH = 2  # criteria that must be met before the advice is that one may stop
DIGITS = 6  # after the point, in what is stored

Measured = tuple[tuple[int, float], ...]


@dataclass(frozen=True, eq=False)
class Look:
    """What one classifier says of the stop set: all that is stored of a round."""

    labels: int  # that the classifier was trained on
    predicted: Labels  # (m,) the likeliest class of each image of the stop set
    entropy: float  # mean over the images, 0 … 1: the entropy by the largest one, log k
    confidence: float  # mean probability of the likeliest class: the accuracy that the classifier itself expects

    def to_json(self) -> dict[str, Any]:
        """Return what JSON can hold, the predictions as a short text."""
        return {
            "labels": self.labels,
            "predicted": _packed(self.predicted),
            "entropy": self.entropy,
            "confidence": self.confidence,
        }

    @classmethod
    def from_json(cls, facts: Mapping[str, Any]) -> Look:
        """Return the look that `to_json` wrote.

        Raises:
            DamageError: the facts are not a look's.
        """
        try:
            predicted = _unpacked(facts["predicted"])
            return cls(int(facts["labels"]), predicted, float(facts["entropy"]), float(facts["confidence"]))
        except (KeyError, TypeError, ValueError, binascii.Error, zlib.error) as error:
            raise DamageError(
                f"the predictions for the stop set in a row of labelling/ cannot be read: {error}",
                hint="put a copy from before the damage in its place",
            ) from None


def stop_set(images: int, seed: int, size: int = SIZE) -> Ids:
    """Draw the images that every look of a session is taken at: distinct ids, ascending; all where there are few.

    Args:
        images: how many the pool had when the session began; one that grew since keeps its stop set.
        seed: the session's; the draw changes no other random stream.
    """
    return np.sort(Candidates(images).sample(min(size, images), stream(seed, "stop set")))


def look(model_probs: Probs, labels: int) -> Look:
    """Return what is kept of a classifier's probabilities (m, k) for the stop set.

    Args:
        labels: how many the classifier was trained on.
    """
    from scipy.special import entr

    # Of one class the entropy is 0, and so is the largest that it could be: a classifier that cannot be unsure.
    shares = entr(model_probs).sum(axis=1) / np.log(max(model_probs.shape[1], 2))
    entropy, confidence = float(shares.mean()), float(model_probs.max(axis=1).mean())
    return Look(labels, model_probs.argmax(axis=1), round(entropy, DIGITS), round(confidence, DIGITS))


def _packed(predicted: Labels) -> str:
    narrow = predicted.astype(np.min_scalar_type(int(predicted.max(initial=0))).newbyteorder("<"))
    return f"{narrow.dtype.itemsize}:{base64.b64encode(zlib.compress(narrow.tobytes(), 9)).decode()}"


def _unpacked(text: str) -> Labels:
    width, _, data = text.partition(":")
    return np.frombuffer(zlib.decompress(base64.b64decode(data, validate=True)), f"<u{width}").astype(np.int64)


@dataclass(frozen=True)
class Verdict:
    """What one criterion says after the last look."""

    name: str
    title: str
    source: str  # the paper
    explain: str  # in plain words, with what is our choice
    value: float | None  # none while there are too few looks
    threshold: float
    met: bool
    higher_is_met: bool
    history: Measured  # (labels, value) of every look that had one


@dataclass(frozen=True)
class _Criterion:
    name: str
    title: str
    source: str
    explain: str
    threshold: float
    higher_is_met: bool
    measure: Callable[[Sequence[Look]], Measured]

    def verdict(self, looks: Sequence[Look]) -> Verdict:
        history = self.measure(looks)
        value = history[-1][1] if history and history[-1][0] == looks[-1].labels else None
        over = value is not None and (value >= self.threshold if self.higher_is_met else value <= self.threshold)
        texts = (self.name, self.title, self.source, self.explain)
        return Verdict(*texts, value, self.threshold, over, self.higher_is_met, history)


def _stability(looks: Sequence[Look]) -> Measured:
    """Return the mean kappa of the last pairs of classifiers, for each look that ends `WINDOW` pairs."""
    kappas = [cohen_kappa(before.predicted, after.predicted) for before, after in pairwise(looks)]
    means = []
    for end in range(WINDOW, len(kappas) + 1):
        window = [kappa for kappa in kappas[end - WINDOW : end] if kappa is not None]
        if len(window) == WINDOW:
            means.append((looks[end].labels, float(np.mean(window))))
    return tuple(means)


def _uncertainty(looks: Sequence[Look]) -> Measured:
    return tuple((each.labels, each.entropy) for each in looks)


def _gradient(looks: Sequence[Look]) -> Measured:
    """Return how far the expected accuracy moves for a hundred labels: medians of these looks and those before."""
    changes = []
    for end in range(2 * WINDOW, len(looks) + 1):
        before, after = looks[end - 2 * WINDOW : end - WINDOW], looks[end - WINDOW : end]
        labels = np.median([each.labels for each in after]) - np.median([each.labels for each in before])
        if labels > 0:  # otherwise nothing was learnt in between
            moved = np.median([each.confidence for each in after]) - np.median([each.confidence for each in before])
            changes.append((looks[end - 1].labels, float(abs(moved) / labels * 100)))
    return tuple(changes)


CRITERIA = (
    _Criterion(
        "stability",
        "Predictions have settled",
        "Bloodgood and Vijay-Shanker, CoNLL 2009: stabilizing predictions",
        "Cohen's kappa between what each classifier says of the stop set and what the next one says, the mean of the "
        "last three; met from 0.99 on. Window and threshold are the paper's, the size of the stop set is our choice.",
        STABLE,
        True,
        _stability,
    ),
    _Criterion(
        "uncertainty",
        "Little is uncertain",
        "Zhu, Wang and Hovy, COLING 2008: overall uncertainty",
        "The mean entropy of the classifier over the stop set, as a share of the largest there can be; met from 0.05 "
        "down. The paper takes the whole pool and leaves the threshold to the task: stop set and 0.05 are our choice.",
        CERTAIN,
        False,
        _uncertainty,
    ),
    _Criterion(
        "convergence",
        "Expected accuracy is flat",
        "after Laws and Schütze, COLING 2008: convergence of the estimated performance",
        "How much the accuracy that the classifier itself expects, its mean confidence on the stop set, moves for a "
        "hundred labels: the median of the last three looks against that of the three before; met from 0.01 down. The "
        "paper estimates a tagger's F and follows its gradient; estimate, window and threshold are our choice.",
        FLAT,
        False,
        _gradient,
    ),
)


def verdicts(looks: Sequence[Look]) -> list[Verdict]:
    """Return what each criterion says after these looks, oldest first; the values are None while there are too few."""
    return [criterion.verdict(looks) for criterion in CRITERIA]


def advice(verdicts: Sequence[Verdict]) -> str:
    """Say in a sentence what the criteria come to, and what they do not know.

    One criterion alone is no reason to stop: it takes two at the same look.
    """
    met = [verdict.title.lower() for verdict in verdicts if verdict.met]
    known = sum(verdict.value is not None for verdict in verdicts)
    if known < ENOUGH:
        return "It is too early to say whether more labels pay: there are too few rounds to compare."
    if not met:
        return f"More labels still pay, as far as the classifier can tell: none of {len(verdicts)} criteria is met."
    if len(met) < ENOUGH:
        return f"Go on: only one of {len(verdicts)} criteria is met ({met[0]}), and one alone is no reason to stop."
    return (
        f"You may be able to stop: {len(met)} of {len(verdicts)} criteria are met ({', '.join(met)}). They tell how "
        "stable the classifier is, not how accurate: before you stop, test it on images that it was not trained on."
    )
