"""What stays the same in every round of a session, and the contract that a strategy is held to."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import numpy as np

from asal.core import Features, Ids, Images, Learner, OriginLearner, Round, Selection, not_enough
from asal.errors import UserError, counted, quoted
from asal.session.state import State

Chooser: TypeAlias = Callable[[Round, int, np.random.Generator], Selection]  # a strategy with its options bound


class FeatureReader(Protocol):
    """Gives the features that a classifier reads in place of pictures."""

    def read(self, ids: Ids) -> Features:
        """Return the stored features of pool images."""
        ...

    def extract(self, images: Images) -> Features:
        """Return the features of images that are not in the pool."""
        ...


def draw(now: Round, n: int, rng: np.random.Generator) -> Selection:
    """Choose n open images, all equally likely: the first batch, unless a plan says otherwise."""
    return Selection(now.candidates.sample(n, rng), np.zeros(n))


@dataclass(frozen=True)
class Plan:
    """What stays the same in every round of a session.

    Args:
        classes: their names; a label is a name's place here.
        learner: trains the classifier, from scratch, each round.
        strategy: chooses a batch, with its options bound; `name` is what the record calls it.
        seed: of every random draw. What a strategy draws never moves what the learner or the first batch draws, so
            that two plans that differ in the strategy alone are paired: the same first batch, the same initial weights.
        first: chooses as long as no classifier can be trained; `first_name` is what the record calls it.
        from_lines: the learner needs to know how synthetic images were generated, as ADBA's does.
        features: what the learner reads, opened at its first use; None where it reads pictures.
    """

    classes: tuple[str, ...]
    learner: Learner | OriginLearner
    strategy: Chooser
    name: str = "custom"
    seed: int = 0
    first: Chooser = draw
    first_name: str = "random"
    from_lines: bool = False
    features: FeatureReader | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "classes", tuple(self.classes))
        check_names(self.classes)


def check_names(classes: Sequence[str]) -> None:
    """Refuse classes that cannot be told apart.

    Raises:
        UserError: there are fewer than two, two have one name, or one has none.
    """
    if len(classes) <= 1 or len(set(classes)) < len(classes) or not all(name.strip() for name in classes):
        few = f"only one class is named: {quoted(classes)}" if classes else "no classes are named"
        raise UserError(
            few if len(classes) < 2 else f"the classes {quoted(classes)} do not have a name each",
            rule="a classifier tells two or more classes apart, each with a name of its own",
            hint="name every class once; what belongs to none may be a class too, such as 'other'",
        )


def checked_n(n: int, left: int) -> int:
    """Return how many images a batch gets: n, or all that are left where those are fewer.

    Raises:
        UserError: n is no number of images, or none is left.
    """
    try:
        number = operator.index(n)
    except TypeError:
        number = 0
    if number < 1:
        raise UserError(
            f"n = {n!r} is not a number of images to ask for",
            rule="a batch holds a whole number of images, at least one",
            hint="ask for 1 or more",
        )
    if left == 0:
        raise not_enough(number, left)
    return min(number, left)


def checked_choice(chosen: Selection, n: int, now: Round, name: str) -> Selection:
    """Return what a strategy chose, if it keeps its contract: a label spent on a wrong image is lost."""
    if chosen.images is None:
        good = now.candidates.has(chosen.ids)
    else:
        if chosen.images.dtype != np.uint8 or chosen.images.shape[1:] != now.pool.shape:
            raise UserError(
                f"the strategy '{name}' made {chosen.images.dtype} images of the shape {chosen.images.shape[1:]}",
                rule=f"synthetic images are like the pool's, uint8 of (h, w, c) = {now.pool.shape}",
                hint="fix the strategy: see asal.models.tensors.to_images",
            )
        good = chosen.ids == len(now.pool) + len(now.origins) + np.arange(len(chosen.ids))
    if len(chosen.ids) != n * chosen.group or not good.all():
        asked, excluded = counted(n * chosen.group, "image"), ", ".join(map(str, chosen.ids[~good][:5].tolist()))
        what = "candidates" if chosen.images is None else "ids of new images"
        note = f", and these are no {what}: {excluded}" if excluded else ""
        raise UserError(
            f"the strategy '{name}' chose {len(chosen.ids)} where {asked} were asked for{note}",
            rule="a strategy chooses as many images as are asked for, of its candidates",
            hint="fix the strategy: return candidates' ids, not rows",
        )
    return chosen


def untrainable(state: State) -> str | None:
    """Say why no classifier can be trained, or nothing."""
    if not state.answers:
        return "nothing is labelled yet"
    return "only one class is labelled yet" if (state.labels == state.labels[0]).all() else None
