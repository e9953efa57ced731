"""What the page shows of a project: its classes and their keys, its images, what accuracy is measured on."""

from __future__ import annotations

import hashlib
import string
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from asal.core import Pool
from asal.data.image_options import conversion
from asal.data.png import png
from asal.errors import UserError
from asal.labelling.class_service import to_json
from asal.labelling.hotkeys import hotkeys
from asal.project.classes import write_classes
from asal.project.folder import LabelledSet, ProjectFolder
from asal.runtime import artifacts
from asal.session.classes import ClassList
from asal.session.plan import check_names
from asal.session.state import State
from asal.session.synthetic_pool import PoolWithSynthetic

COMMANDS = "ugswmhptz"  # letters of the page's own commands; one that is a class's name is the class's
KEYS = "1234567890" + "".join(letter for letter in string.ascii_lowercase if letter not in COMMANDS)


@dataclass(frozen=True)
class ProjectInfo:
    """A project as the page shows it; nothing here changes while people label.

    Args:
        classes: as asal.toml or the images name them; those of the record may be others by now.
        pool: as it was when the server started.
    """

    folder: ProjectFolder
    pool: Pool
    classes: tuple[str, ...]
    strategy: str
    test_set: LabelledSet | None

    @classmethod
    def of(cls, folder: ProjectFolder, strategy: str) -> ProjectInfo:
        """Open a project that is prepared.

        Raises:
            UserError: there is no pool, the classes are not known, or two have the same name.
        """
        pool, classes = folder.pool, folder.classes
        check_names(classes)  # here, or people would wait for a worker that cannot start
        return cls(folder, pool, classes, strategy, folder.test_set(classes))

    def classes_json(self, state: State) -> dict[str, Any]:
        """Return the classes by now: those to choose from, with their keys, and those that were merged or dropped."""
        facts = to_json(state if state.opened else replace(state, classes=ClassList.of(self.classes)))
        keys = _keys(facts["classes"], facts["hidden"])
        return {**facts, "classes": [{**each, "key": keys[each["number"]]} for each in facts["classes"]]}

    def to_json(self, record: str, state: State) -> dict[str, Any]:
        """Return it as JSON, for the annotators of a record.

        Its id keeps answers that wait in a browser from being sent to another project at the same address.
        """
        spec, classes = self.folder.spec, self.classes_json(state)
        return {
            "id": hashlib.sha256(f"{self.pool.fingerprint} {record}".encode()).hexdigest()[:16],
            "name": spec.name,
            "classes": [{name: each[name] for name in ("number", "name", "key")} for each in classes["classes"]],
            "hidden": classes["hidden"],
            "classes_seq": classes["seq"],
            "shape": list(self.pool.shape),
            "budget": spec.protocol.budget,
            "grid": spec.labelling.grid,
            "overlap": spec.labelling.overlap,
            "strategy": self.strategy,
            "test_set": None if self.test_set is None else self.test_set.to_json(),
        }

    @property
    def fit(self) -> str:
        """How an image that is no square became one: "pad", "crop" or "squeeze"."""
        if self.pool.shape[0] != self.pool.shape[1]:
            return "squeeze"  # of their own shape: nothing is cut off
        return conversion(artifacts.manifest(self.folder.root / "pool")["options"], {}, None).fit

    def write_classes(self, classes: ClassList) -> None:
        """Bring the list in asal.toml up to date. Where that cannot be written the record alone says it, and counts."""
        with suppress(UserError):
            write_classes(self.folder.root, classes)

    def tag(self, image: int, state: State) -> str:
        """Return what makes an image's address unique beside its id, which other projects use as well."""
        synthetic = state.synthetic.get(image)
        content = f"{self.pool.fingerprint} {synthetic.picture if synthetic else ''}"
        return hashlib.sha256(content.encode()).hexdigest()[:16]

    def picture(self, image: int, state: State) -> bytes:
        """Return an image as a PNG file."""
        # A worker that started after `asal add` asks for images that were not there when the server started.
        added = image >= len(self.pool) and image not in state.synthetic
        pool = self.folder.current_pool() if added else self.pool
        return png(PoolWithSynthetic(pool, state.synthetic).read(np.array([image]))[0])


def _keys(classes: Sequence[dict[str, Any]], hidden: Sequence[dict[str, Any]]) -> dict[int, str]:
    """Return the keys by the classes' numbers. A class that is hidden keeps its place: no other class's key moves."""
    present = {each["name"].strip().casefold() for each in classes}
    named = {each["number"]: each["name"] for each in classes}
    for each in hidden:  # its name may be in use again
        named[each["number"]] = "" if each["name"].strip().casefold() in present else each["name"]
    numbers = sorted(named)
    return dict(zip(numbers, hotkeys([named[number] for number in numbers], KEYS, typed=True), strict=True))
