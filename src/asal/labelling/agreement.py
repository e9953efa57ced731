"""How far people agree: Cohen's kappa of two, Krippendorff's alpha of all, and each one's share with the others.

"Can't tell" is a category of its own, like a class: two people who both could not tell agree. All is nominal: one wrong
class is as wrong as another. Where too few images have several votes the result is None, never NaN.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TypeAlias

import numpy as np

from asal.core import Labels
from asal.runtime.optional import require

CANT_TELL = -1  # in place of None, beside the classes' numbers from 0 on

Votes: TypeAlias = Mapping[int, Mapping[str, int | None]]  # image → who → class, or None for "can't tell"


@dataclass(frozen=True)
class Pair:
    """Two people, and how far they agree beyond chance."""

    a: str
    b: str
    kappa: float | None  # None where it is not defined: one and the same answer to everything, or nothing in common
    images: int  # that both answered


def kappas(votes: Votes) -> list[Pair]:
    """Return Cohen's kappa of every two people who answered an image in common, by their names.

    Cost: linear in the votes times the people of an image.
    """
    common: defaultdict[tuple[str, str], tuple[list[int], list[int]]] = defaultdict(lambda: ([], []))
    for labels in votes.values():
        for pair in combinations(sorted(labels), 2):
            for answers, who in zip(common[pair], pair, strict=True):
                answers.append(_category(labels[who]))
    return [Pair(*pair, cohen_kappa(*answers), len(answers[0])) for pair, answers in sorted(common.items())]


def _category(label: int | None) -> int:
    return CANT_TELL if label is None else label


def cohen_kappa(a: Sequence[int] | Labels, b: Sequence[int] | Labels) -> float | None:
    """Return Cohen's kappa (1960) of two raters of the same items: 1 for perfect agreement, 0 for that of chance.

    None where it is not defined: the raters gave one and the same category to everything (0 / 0), or they rated
    different numbers of items.

    >>> cohen_kappa([0, 0, 1, 1], [0, 0, 1, 1]), cohen_kappa([0, 0, 1, 1], [0, 1, 0, 1]), cohen_kappa([0], [0])
    (1.0, 0.0, None)
    """
    from sklearn.metrics import cohen_kappa_score

    if len(a) != len(b) or len(np.union1d(a, b)) < 2:
        return None
    return float(cohen_kappa_score(a, b))


def alpha(votes: Votes) -> float | None:
    """Return Krippendorff's alpha (2011, nominal) of everybody; images with a single vote do not count.

    Returns:
        1 for perfect agreement, 0 for as much as chance gives; None where no image has two votes, or all votes are the
        same, so that alpha is not defined.

    Raises:
        UserError: nltk, which computes it, is not installed.
    """
    several = {image: labels for image, labels in votes.items() if len(labels) > 1}
    triples = [(who, image, _category(label)) for image, labels in several.items() for who, label in labels.items()]
    if len({category for _, _, category in triples}) < 2:
        return None
    agreement = require("nltk.metrics.agreement", extra="web", why="nltk computes Krippendorff's alpha")
    return float(agreement.AnnotationTask(triples).alpha())  # its own distance is the nominal one


def agreement_with_others(votes: Votes) -> dict[str, float | None]:
    """Return for each person the share of others' votes on the same images that equal theirs.

    It is not corrected for chance. None for a person whose images nobody else answered.
    """
    same: defaultdict[str, int] = defaultdict(int)
    pairs: defaultdict[str, int] = defaultdict(int)
    for labels in votes.values():
        for who in labels:
            others = [label for other, label in labels.items() if other != who]
            pairs[who] += len(others)
            same[who] += sum(label == labels[who] for label in others)
    return {who: same[who] / pairs[who] if pairs[who] else None for who in sorted(pairs)}


def disputed(votes: Votes) -> list[int]:
    """Return the images on which people do not agree, in the order of `votes`."""
    return [image for image, labels in votes.items() if len(set(labels.values())) > 1]
