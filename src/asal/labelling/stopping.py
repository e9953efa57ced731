"""When do more labels no longer pay? Criteria of the literature, on a fixed random part of the pool.

No criterion sees a true label that was not asked for: each looks at what consecutive classifiers say of the same
images, the *stop set*. Its size does not hang on the pool's, and so neither does the cost of a look.
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
from asal.runtime.rng import stream

SIZE = 1000  # images in the stop set; our choice (Bloodgood and Vijay-Shanker took 2,000)
WINDOW = 3  # looks that a value is taken over: theirs for kappa, our choice for the gradient
STABLE = 0.99  # theirs
CERTAIN = 0.05  # of the largest entropy; our choice: Zhu, Wang and Hovy leave it to the task
FLAT = 0.01  # of estimated accuracy, for a hundred labels; our choice: Laws and Schütze's is one of their task
ENOUGH = 2  # criteria that must be met before anybody is told that it may be time to stop
DIGITS = 6  # after the point, in what is stored

Measured = tuple[tuple[int, float], ...]


@dataclass(frozen=True, eq=False)
class Look:
    """What one classifier says of the stop set: all that is stored of a round."""

    labels: int  # that the classifier was trained on
    predicted: Labels  # (m,) the likeliest class of each image of the stop set
    entropy: float  # mean over the images, 0 … 1: the entropy by the largest one, log k
    confidence: float  # mean probability of the likeliest class: the accuracy that the classifier itself expects

    def told(self) -> dict[str, Any]:
        """Return it as JSON knows it, the predictions as a short text."""
        return {
            "labels": self.labels,
            "predicted": _packed(self.predicted),
            "entropy": self.entropy,
            "confidence": self.confidence,
        }

    @classmethod
    def of(cls, facts: Mapping[str, Any]) -> Look:
        """Return the look that `told` wrote.

        Raises:
            DamageError: the facts are not a look's.
        """
        try:
            predicted = _unpacked(facts["predicted"])
            return cls(int(facts["labels"]), predicted, float(facts["entropy"]), float(facts["confidence"]))
        except (KeyError, TypeError, ValueError, binascii.Error, zlib.error) as error:
            raise DamageError(
                f"one that is not ({error})",
                rule="a look at the stop set is read only as it was written",
                hint="put a copy from before the damage in its place",
            ) from None


def stop_set(images: int, seed: int, size: int = SIZE) -> Ids:
    """Draw the images that every look of a session is taken at: distinct ids, ascending; all where few are there.

    Args:
        images: how many the pool had when the session began; one that grew since keeps its stop set.
        seed: the session's. No other draw is moved.
    """
    return np.sort(Candidates(images).sample(min(size, images), stream(seed, "stop set")))


def look(model_probs: Probs, labels: int) -> Look:
    """Return what is kept of a classifier's probabilities (m, k) for the stop set.

    Args:
        labels: how many the classifier was trained on.
    """
    from scipy.special import entr

    shares = entr(model_probs).sum(axis=1) / np.log(model_probs.shape[1])
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
        told = (self.name, self.title, self.source, self.explain)
        return Verdict(*told, value, self.threshold, over, self.higher_is_met, history)


def _stability(looks: Sequence[Look]) -> Measured:
    """Return the mean kappa of the last pairs of classifiers, for each look that ends `WINDOW` pairs."""
    kappas = [_kappa(before.predicted, after.predicted) for before, after in pairwise(looks)]
    found = []
    for end in range(WINDOW, len(kappas) + 1):
        window = [kappa for kappa in kappas[end - WINDOW : end] if kappa is not None]
        if len(window) == WINDOW:
            found.append((looks[end].labels, float(np.mean(window))))
    return tuple(found)


def _kappa(before: Labels, after: Labels) -> float | None:
    """Return Cohen's kappa; None where it is not defined: one and the same class of everything is no agreement."""
    from sklearn.metrics import cohen_kappa_score

    if len(before) != len(after) or len(np.union1d(before, after)) < 2:
        return None
    return float(cohen_kappa_score(before, after))


def _uncertainty(looks: Sequence[Look]) -> Measured:
    return tuple((one.labels, one.entropy) for one in looks)


def _gradient(looks: Sequence[Look]) -> Measured:
    """Return how far the expected accuracy moves for a hundred labels: medians of these looks and those before."""
    found = []
    for end in range(2 * WINDOW, len(looks) + 1):
        before, after = looks[end - 2 * WINDOW : end - WINDOW], looks[end - WINDOW : end]
        labels = np.median([one.labels for one in after]) - np.median([one.labels for one in before])
        if labels > 0:  # else nothing was learnt in between
            moved = np.median([one.confidence for one in after]) - np.median([one.confidence for one in before])
            found.append((looks[end - 1].labels, float(abs(moved) / labels * 100)))
    return tuple(found)


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

    Nobody is told to stop because of one criterion alone: it takes two at the same look.
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
        f"You may be able to stop: {len(met)} of {len(verdicts)} criteria are met ({', '.join(met)}). They know how "
        "settled the classifier is, not how right: before you stop, check it on labelled images that it has not seen."
    )
