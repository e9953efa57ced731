"""Answers from the labels that came with the images. Nothing else in asal reads them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from asal.core import Ids, Labels, check_ids
from asal.data import pool
from asal.errors import UserError
from asal.runtime import npy
from asal.session.oracles import oracles


class Stored:
    """The labels of a pool folder, behind a question."""

    def __init__(self, classes: tuple[str, ...], labels: Labels, images: int | None = None) -> None:
        """Hold the labels of a pool of so many images, copies of those that have labels; or of none but these."""
        self.classes, self._labels, self._images = classes, labels, images or len(labels)

    @classmethod
    def open(cls, folder: Path) -> Stored:
        """Open the labels of a pool, validation or test folder.

        Raises:
            UserError: there is no finished pool, or its images came without labels.
            DamageError: the labels are not what was written.
        """
        facts = pool.made_from(folder)
        path = folder / pool.LABELS
        if pool.LABELS not in facts["files"]:
            raise UserError(
                f"the images in {folder} have no labels",
                rule="only images that came with labels have stored answers",
                hint="name the classes and label them with a session, or take the images from a source with labels",
            )
        labels = npy.open_mapped(path)
        larger = pool.facts_of(folder).get("augmented", {})
        return cls(tuple(facts["classes"]), labels, larger.get("images"))

    def followed_by(self, *others: Stored) -> Stored:
        """Return the labels of a pool that grew, maybe by classes, too: those stand behind the earlier ones."""
        if not others:
            return self
        classes = max((one.classes for one in (self, *others)), key=len)
        return Stored(classes, np.concatenate([np.asarray(one._labels, np.int64) for one in (self, *others)]))

    def corrected(self, classes: Mapping[int, str]) -> Stored:
        """Return the labels with some of them corrected: id → the name of its class."""
        if not classes:
            return self
        labels = np.array(self._labels, np.int64)
        labels[list(classes)] = [self.classes.index(name) for name in classes.values()]
        return Stored(self.classes, labels, self._images)

    def answer(self, ids: Ids) -> Labels:
        """Return the label of each id, −1 where the source did not say.

        Raises:
            UserError: an id that is not of this pool.
        """
        return np.array(self._labels[check_ids(ids, self._images) % len(self._labels)], np.int64)


@oracles.register("stored")
def stored(folder: Path) -> Stored:
    """Answers at once, from the labels that came with the images."""
    return Stored.open(folder)
