"""A project folder as it lies on disk: what can be said of it without a network, and so without torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from asal.data import pool as pools
from asal.data.augmented_pool import AugmentedPool
from asal.data.concat_pool import ConcatPool, additions, open_all
from asal.data.duplicates import NO_COPIES, Copies, copies_of
from asal.data.pool import StoredPool
from asal.data.stratified import scarce
from asal.errors import UserError
from asal.project.spec import Spec, load
from asal.runtime import artifacts
from asal.session.events import Record
from asal.session.oracles.stored import Stored
from asal.session.record_file import is_there

IMAGES = ("pool", "validation", "test")


@dataclass(frozen=True)
class LabelledSet:
    """Labelled images that are held out: the validation or the test set."""

    name: str
    images: int

    def to_json(self) -> dict[str, str | int]:
        """Return its name and its number of images."""
        return {"name": self.name, "images": self.images}


@dataclass(frozen=True)
class ProjectFolder:
    """A project's root and its spec; images and classes are read when they are first asked for."""

    root: Path
    spec: Spec

    @classmethod
    def open(cls, root: Path) -> ProjectFolder:
        """Open a folder by the `asal.toml` in it.

        Raises:
            UserError: there is none, or it is not a spec.
        """
        return cls(root, load(root))

    @cached_property
    def pool(self) -> StoredPool | AugmentedPool | ConcatPool:
        """The images to choose from, with those that were added."""
        return self.current_pool()

    def current_pool(self) -> StoredPool | AugmentedPool | ConcatPool:
        """Open the pool as it is now: `asal add` may have added to it since `pool` was opened."""
        return open_all(self.root, self.additions)

    @property
    def copies(self) -> Copies:
        """The exact copies among the pool's images about which people are not asked; none where each one is to be."""
        return copies_of(self.root) if self.spec.labelling.duplicates == "once" else NO_COPIES

    @property
    def additions(self) -> list[Path]:
        """The folders of what was added to the pool, oldest first."""
        return additions(self.root)

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes: the spec's under [labelling], or those that came with the images.

        Raises:
            UserError: neither the spec nor the images name any, or there is no pool.
        """
        return self.spec.labelling.classes or self._stored_classes()

    def _stored_classes(self) -> tuple[str, ...]:
        try:
            return Stored.open(self.root / "pool").followed_by(*map(Stored.open, self.additions)).classes
        except UserError as error:
            if not self.has("pool"):
                raise
            hint = 'name them in asal.toml: [labelling] classes = ["cat", "dog"]'
            got = f"the pool has no labels, and asal.toml names no classes: {error.got}"
            raise UserError(got, hint=hint) from None

    @property
    def record_place(self) -> Path | str:
        """Where the answers are kept: a file, or the URL of a database."""
        return self.spec.labelling.place(self.root)

    @property
    def has_record(self) -> bool:
        """Whether there is a record. A database at a URL is taken to be there."""
        place = self.record_place
        return not isinstance(place, Path) or is_there(place)

    def record(self) -> Record:
        """Open the record; a file that is not there is made."""
        return Record.open(self.record_place)

    def has(self, part: str) -> bool:
        """Whether "pool", "validation" or "test" is there, complete."""
        return artifacts.is_complete(self.root / part)

    def is_labelled(self, part: str = "pool") -> bool:
        """Whether the images of a part came with labels."""
        return self.has(part) and pools.LABELS in artifacts.manifest(self.root / part)["files"]

    def test_set(self, *lists: Sequence[str]) -> LabelledSet | None:
        """Return what accuracy is measured on: the validation or the test set, where it has labels of one of the lists.

        Args:
            lists: the classes that people choose from, and those that their record began with.
        """
        wanted = [set(classes) for classes in lists]
        for name in ("validation", "test"):
            if self.is_labelled(name) and set(Stored.open(self.root / name).classes) in wanted:
                return LabelledSet(name, int(pools.facts_of(self.root / name)["images"]))
        return None

    def scarce(self) -> list[str]:
        """Return a line where some classes have so few test images that their accuracy is uncertain; else nothing."""
        if not self.is_labelled("test"):
            return []
        stored, images = Stored.open(self.root / "test"), pools.facts_of(self.root / "test")["images"]
        return scarce(stored.answer(np.arange(images)), stored.classes)
