"""Splits a source's images into the pool, the validation set and the test set.

Only labels are read here: memory holds row numbers, a few dozen bytes an image.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from asal.core import Ids, Labels
from asal.data.sources import Source
from asal.data.stratified import stratified
from asal.errors import UserError, quoted, unknown
from asal.runtime.rng import stream


@dataclass(frozen=True)
class Split:
    """How the images of the source's split "train" are divided, and where validation and test set come from.

    The rows are shuffled once by `stream(seed, "split")`; the validation set takes the first ones, then the
    test set, then the pool: so the two others do not depend on the size of the pool. A stratified split does so within
    each class, in proportion (`asal.data.stratified`).
    """

    train: int | None = None  # images for the pool, before `keep`; None takes all the others
    validation: int | str = 0  # so many of the same rows, or the name of a split, of which all are taken
    test: int | str = 0  # likewise
    seed: int = 0
    stratified: bool = False  # whether each class has its share of each part that is given by a number

    def facts(self) -> dict[str, Any]:
        """Return the settings for a manifest, as those of earlier versions are that had no stratified splits."""
        return {name: value for name, value in asdict(self).items() if name != "stratified" or value}

    @property
    def parts(self) -> tuple[str, ...]:
        """The names of the folders."""
        return ("pool", *(["validation"] if self.validation else []), *(["test"] if self.test else []))


@dataclass(frozen=True)
class SplitPart:
    """The contents of one folder: ascending rows of a source's split."""

    split: str
    rows: Ids
    labels: Labels | None  # one for each row: an index of `classes`
    classes: tuple[str, ...]


def make_splits(source: Source, split: Split, keep: tuple[str, ...] = ()) -> dict[str, SplitPart]:
    """Return the contents of each folder, without reading an image.

    Raises:
        UserError: sizes larger than the data, an unknown split or class, or fewer than two classes left.
    """
    _check_keep(source, keep)
    dealt = _divided(source, split)
    parts = {name: _kept(source, where, rows, keep) for name, (where, rows) in dealt.items()}
    for name, part in parts.items():
        if not len(part.rows):
            raise UserError(
                f"no image of the {name} is of the kept classes" if keep else f"the {name} has no images",
                hint="change `keep` or the sizes of the split",
            )
    labels = parts["pool"].labels
    if labels is not None and len(present := np.unique(labels[labels >= 0])) < 2:
        names = ", ".join(f"'{parts['pool'].classes[label]}'" for label in present)
        raise UserError(
            f"the pool has images of one class only: {names}" if len(present) else "no image of the pool has a label",
            rule="a pool with labels has images of two classes or more",
            hint='keep more classes, or read the source without labels (label = "none")',
        )
    for name, where in (("validation", split.validation), ("test", split.test)):
        if isinstance(where, str) and labels is not None:
            _check_held_out(name, parts[name], labels)
    return parts


def _check_held_out(name: str, part: SplitPart, labels: Labels) -> None:
    """Refuse held-out images without a label, or of other classes than the pool: nothing could be measured on them."""
    if part.labels is not None and not np.isin(part.labels, labels[labels >= 0]).any():
        known = [part.classes[label] for label in np.unique(part.labels[part.labels >= 0])]
        raise UserError(
            f"no image of the split '{part.split}' is of a class of the pool"
            + (f": its classes are {quoted(known[:6])}" if known else ", as it has no labels"),
            rule="the validation and the test set are labelled with the classes of the pool",
            hint=f"leave `{name}` under [pool.split] out, or take a number of the pool's images: {name} = 500",
        )


def _divided(source: Source, split: Split) -> dict[str, tuple[str, Ids]]:
    """Return for each part the source's split and the ascending rows that it takes."""
    splits = source.splits
    if "train" not in splits:
        raise unknown("split", "train", splits)
    n = splits["train"]
    wanted = {"validation": split.validation, "test": split.test}
    sizes = {part: size for part, size in wanted.items() if not isinstance(size, str)}
    held = sum(sizes.values())
    pool_size = n - held if split.train is None else split.train
    if min(sizes.values(), default=0) < 0 or pool_size < 1 or pool_size + held > n:
        raise UserError(
            f"train = {split.train}, validation = {split.validation} and test = {split.test} do not fit {n:,} images",
            rule=f"the parts of a split add up to {n:,} images at most, and the pool has one or more",
            hint="make them smaller" if pool_size + held > n else "make none negative and leave some for the pool",
        )
    _check_named(splits, {part: wish for part, wish in wanted.items() if isinstance(wish, str)})
    order = stream(split.seed, "split").permutation(n)
    rows = _drawn(source, order, split, {part: size for part, size in sizes.items() if size}, pool_size)
    named = {part: (wish, np.arange(splits[wish])) for part, wish in wanted.items() if isinstance(wish, str)}
    drawn = {part: ("train", its) for part, its in rows.items()}
    return {part: found for part in ("pool", *wanted) if (found := drawn.get(part) or named.get(part))}


def _drawn(source: Source, order: Ids, split: Split, held_out: Mapping[str, int], pool: int) -> dict[str, Ids]:
    """Return the ascending rows of the pool, and of the parts whose number of images is given."""
    if split.stratified:
        labels = source.labels("train")
        if labels is None:
            raise UserError(
                "the source has no labels, by which a split could be stratified",
                hint="drop `stratified` under [pool.split]",
            )
        return stratified(order, labels, held_out, pool)
    rows, start = {}, 0
    for part, size in held_out.items():
        rows[part] = np.sort(order[start : start + size])
        start += size
    return {**rows, "pool": np.sort(order[start : start + pool])}


def _check_named(splits: Mapping[str, int], named: Mapping[str, str]) -> None:
    for part, name in named.items():
        if name not in splits or name == "train":
            raise unknown(f"split for the {part} set", name, splits.keys() - {"train"})
    if len(set(named.values())) < len(named):
        raise UserError(
            f"the validation and the test set are both the split '{named['test']}'",
            hint="name two splits, or take some images of 'train': validation = 1000",
        )


def _check_keep(source: Source, keep: tuple[str, ...]) -> None:
    if keep and not source.classes:
        raise UserError("the source has no labels, by which `keep` could choose", hint="remove `keep`")
    for name in keep:
        if name not in source.classes:
            raise unknown("class", name, source.classes)
    if len(set(keep)) != len(keep):
        raise UserError(f"keep = {list(keep)} names a class twice", hint="remove one of the two")


def _kept(source: Source, split: str, rows: Ids, keep: tuple[str, ...]) -> SplitPart:
    all_labels = source.labels(split)
    if all_labels is None:
        return SplitPart(split, rows, None, ())
    labels = all_labels[rows]
    if not keep:
        return SplitPart(split, rows, labels, source.classes)
    number = np.full(len(source.classes) + 1, -1)  # one entry more: the unknown label −1 indexes the last
    number[[source.classes.index(name) for name in keep]] = np.arange(len(keep))
    labels = number[labels]
    return SplitPart(split, rows[labels >= 0], labels[labels >= 0], keep)
