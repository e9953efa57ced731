"""How far people agree: Cohen's kappa of two, Krippendorff's alpha of all, and each one's share with the others.

"Can't tell" is a category of its own, like a class: two people who both could not tell agree. All is nominal: one wrong
class is as wrong as another. Where too little was labelled twice there is no number (None), and never a NaN.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import TypeAlias

from asal.errors import UserError

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
    """Return Cohen's kappa (1960) of every two people who answered an image in common, by their names.

    Kappa is 1 for perfect agreement, 0 for as much as chance gives, and below that for less. Cost: linear in the votes
    times the people an image has.
    """
    common: defaultdict[tuple[str, str], tuple[list[int], list[int]]] = defaultdict(lambda: ([], []))
    for told in votes.values():
        for pair in combinations(sorted(told), 2):
            for answers, who in zip(common[pair], pair, strict=True):
                answers.append(_category(told[who]))
    return [Pair(*pair, _kappa(*answers), len(answers[0])) for pair, answers in sorted(common.items())]


def _category(label: int | None) -> int:
    return CANT_TELL if label is None else label


def _kappa(a: list[int], b: list[int]) -> float | None:
    if len({*a, *b}) < 2:
        return None  # 0 / 0: as much agreement as chance gives, and that is all of it
    from sklearn.metrics import cohen_kappa_score

    return float(cohen_kappa_score(a, b))


def alpha(votes: Votes) -> float | None:
    """Return Krippendorff's alpha (2011, nominal) over everybody; images with a single answer do not count.

    Returns:
        1 for perfect agreement, 0 for as much as chance gives; None where no image has two answers, or all answers are
        the same, so that alpha is not defined.

    Raises:
        UserError: nltk, which computes it, is not installed.
    """
    doubly = {image: told for image, told in votes.items() if len(told) > 1}
    triples = [(who, image, _category(label)) for image, told in doubly.items() for who, label in told.items()]
    if len({category for _, _, category in triples}) < 2:
        return None
    try:
        from nltk.metrics.agreement import AnnotationTask
    except ModuleNotFoundError:
        raise UserError(
            "it is not installed", rule="Krippendorff's alpha comes from nltk", hint="pip install 'asal[web]'"
        ) from None
    return float(AnnotationTask(triples).alpha())  # its own distance is the nominal one


def with_others(votes: Votes) -> dict[str, float | None]:
    """Return for each person the share of others' answers to the same images that are the same as theirs.

    Chance is not taken out. None for a person whose images nobody else answered.
    """
    same: defaultdict[str, int] = defaultdict(int)
    pairs: defaultdict[str, int] = defaultdict(int)
    for told in votes.values():
        for who in told:
            others = [label for other, label in told.items() if other != who]
            pairs[who] += len(others)
            same[who] += sum(label == told[who] for label in others)
    return {who: same[who] / pairs[who] if pairs[who] else None for who in sorted(pairs)}


def disputed(votes: Votes) -> list[int]:
    """Return the images on which people do not agree, in the order they came."""
    return [image for image, told in votes.items() if len(set(told.values())) > 1]
