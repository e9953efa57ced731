"""Deals a source's images out: which of them go into the pool, the validation and the test set.

Nothing is read here but labels: memory holds row numbers, a few dozen bytes an image.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from asal.core import Ids, Labels
from asal.data.sources import Source
from asal.errors import UserError, unknown
from asal.runtime.rng import stream


@dataclass(frozen=True)
class Split:
    """How the images of the source's split "train" are dealt out, and where validation and test set come from.

    The rows are shuffled once by `stream(seed, "split")`; the validation set takes the first ones, then the
    test set, then the pool: another pool size leaves the two others as they were.
    """

    train: int | None = None  # images for the pool, before `keep`; None takes all that are left
    validation: int | str = 0  # so many of the same rows, or the name of a split that is taken whole
    test: int | str = 0  # as well
    seed: int = 0

    @property
    def parts(self) -> tuple[str, ...]:
        """The folders that come of it."""
        return ("pool", *(["validation"] if self.validation else []), *(["test"] if self.test else []))


@dataclass(frozen=True)
class SplitPart:
    """What goes into one folder: ascending rows of a source's split."""

    split: str
    rows: Ids
    labels: Labels | None  # one a row, counted by `classes`
    classes: tuple[str, ...]


def make_splits(source: Source, split: Split, keep: tuple[str, ...] = ()) -> dict[str, SplitPart]:
    """Return what goes into each folder, without reading an image.

    Raises:
        UserError: sizes larger than the data, an unknown split or class, or fewer than two classes left.
    """
    _check_keep(source, keep)
    dealt = _deal(source.splits, split)
    parts = {name: _kept(source, where, rows, keep) for name, (where, rows) in dealt.items()}
    for name, part in parts.items():
        if not len(part.rows):
            raise UserError(
                f"none of its {len(dealt[name][1])} is of the kept classes" if keep else "there is none",
                rule=f"the {name} needs images",
                hint="change `keep` or the sizes of the split",
            )
    labels = parts["pool"].labels
    if labels is not None and len(present := np.unique(labels[labels >= 0])) < 2:
        names = ", ".join(f"'{parts['pool'].classes[label]}'" for label in present) or "none"
        raise UserError(
            f"only {names} is in it",
            rule="a pool has images of two classes or more",
            hint='keep more classes, or read the source without labels (label = "none")',
        )
    return parts


def _deal(splits: Mapping[str, int], split: Split) -> dict[str, tuple[str, Ids]]:
    """Return for each part the source's split and the ascending rows that it takes."""
    if "train" not in splits:
        raise unknown("split", "train", splits)
    n = splits["train"]
    wanted = {"validation": split.validation, "test": split.test}
    sizes = [size for size in wanted.values() if not isinstance(size, str)]
    held = sum(sizes)
    pool_size = n - held if split.train is None else split.train
    if min(sizes, default=0) < 0 or pool_size < 1 or pool_size + held > n:
        raise UserError(
            f"train = {split.train}, validation = {split.validation}, test = {split.test}",
            rule=f"the parts of a split have sizes that add up to {n:,} images at most, and the pool has one or more",
            hint="make them smaller" if pool_size + held > n else "make none negative and leave some for the pool",
        )
    _check_named(splits, {part: wish for part, wish in wanted.items() if isinstance(wish, str)})
    order = stream(split.seed, "split").permutation(n)
    dealt, start = {"pool": ("train", np.sort(order[held : held + pool_size]))}, 0
    for part, wish in wanted.items():
        if isinstance(wish, str):
            dealt[part] = (wish, np.arange(splits[wish]))
        elif wish:
            dealt[part] = ("train", np.sort(order[start : start + wish]))
            start += wish
    return dealt


def _check_named(splits: Mapping[str, int], named: Mapping[str, str]) -> None:
    for part, name in named.items():
        if name not in splits or name == "train":
            raise unknown(f"split for the {part} set", name, splits.keys() - {"train"})
    if len(set(named.values())) < len(named):
        raise UserError(
            f"both are the split '{named['test']}'",
            rule="no image is in both the validation and the test set",
            hint="name two splits, or hold some images of 'train' out: validation = 1000",
        )


def _check_keep(source: Source, keep: tuple[str, ...]) -> None:
    if keep and not source.classes:
        raise UserError("the source has no labels", rule="only labelled images are kept by class", hint="drop `keep`")
    for name in keep:
        if name not in source.classes:
            raise unknown("class", name, source.classes)
    if len(set(keep)) != len(keep):
        raise UserError(f"keep = {list(keep)}", rule="each class is kept once", hint="drop the one that comes twice")


def _kept(source: Source, split: str, rows: Ids, keep: tuple[str, ...]) -> SplitPart:
    everything = source.labels(split)
    if everything is None:
        return SplitPart(split, rows, None, ())
    labels = everything[rows]
    if not keep:
        return SplitPart(split, rows, labels, source.classes)
    number = np.full(len(source.classes) + 1, -1)  # one place more: the unknown label −1 indexes the last
    number[[source.classes.index(name) for name in keep]] = np.arange(len(keep))
    labels = number[labels]
    return SplitPart(split, rows[labels >= 0], labels[labels >= 0], keep)
