"""What the page is told of a project: its classes and their keys, its pictures, what accuracy is measured on."""

from __future__ import annotations

import hashlib
import string
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from asal.core import Pool
from asal.data import pool
from asal.data.concat_pool import additions, open_all
from asal.data.png import png
from asal.errors import UserError
from asal.project.spec import Spec
from asal.runtime import artifacts
from asal.session.oracles.stored import Stored
from asal.session.plan import check_names
from asal.session.state import State
from asal.session.synthetic_pool import PoolWithSynthetic

COMMANDS = "ugswmhpt"  # keys of the page itself
KEYS = "1234567890" + "".join(letter for letter in string.ascii_lowercase if letter not in COMMANDS)


@dataclass(frozen=True)
class ProjectInfo:
    """A project as people see it; nothing here changes while they label."""

    root: Path
    name: str
    classes: tuple[str, ...]
    pool: Pool
    strategy: str
    score: str
    budget: int
    grid: int
    overlap: int
    test_set: dict[str, Any] | None

    @classmethod
    def of(cls, root: Path, spec: Spec, strategy: str) -> ProjectInfo:
        """Open a project that is prepared.

        Raises:
            UserError: there is no pool, or nobody says what the classes are, or they cannot be told apart.
        """
        opened = open_all(root, additions(root))
        classes = spec.labelling.classes or _stored_classes(root)
        check_names(classes)  # here, or people would wait for a worker that cannot begin
        table = spec.strategies.get(strategy)
        score = str(table.options.get("score", spec.protocol.score)) if table else spec.protocol.score
        budget, grid, overlap = spec.protocol.budget, spec.labelling.grid, spec.labelling.overlap
        test_set = _exam(root, classes)
        return cls(root, spec.name, classes, opened, strategy, score, budget, grid, overlap, test_set)

    def told(self, record: str) -> dict[str, Any]:
        """Return it as JSON, for people who answer to a record.

        Its id keeps answers that wait in a browser from going to another project that is served at the same address.
        """
        keys = keys_of(self.classes)
        return {
            "id": hashlib.sha256(f"{self.pool.fingerprint} {record}".encode()).hexdigest()[:16],
            "name": self.name,
            "classes": [{"number": i, "name": name, "key": keys[i]} for i, name in enumerate(self.classes)],
            "shape": list(self.pool.shape),
            "budget": self.budget,
            "grid": self.grid,
            "overlap": self.overlap,
            "strategy": self.strategy,
            "exam": self.test_set,
        }

    def tag(self, image: int, state: State) -> str:
        """Return what an image's address must tell beside its id, so that no other image ever has the same one."""
        made = state.made.get(image)
        told = f"{self.pool.fingerprint} {made.picture if made else ''}"
        return hashlib.sha256(told.encode()).hexdigest()[:16]

    def picture(self, image: int, state: State) -> bytes:
        """Return an image as a PNG file."""
        # A worker that began after `asal add` asks for images that were not there when the server began.
        added = image >= len(self.pool) and image not in state.made
        pool = open_all(self.root, additions(self.root)) if added else self.pool
        return png(PoolWithSynthetic(pool, state.made).read(np.array([image]))[0])


def keys_of(classes: Sequence[str]) -> list[str]:
    """Return the key that is pressed for each class: its own name where all are one letter, else 1 … 9, 0 and letters.

    >>> keys_of(["5", "7"]), keys_of(["cat", "dog"])
    (['5', '7'], ['1', '2'])
    """
    own = [name.lower() for name in classes]
    if all(len(name) == 1 and name in KEYS for name in own) and len(set(own)) == len(own):
        return own
    return [KEYS[i] if i < len(KEYS) else "" for i in range(len(classes))]


def _stored_classes(root: Path) -> tuple[str, ...]:
    try:
        return Stored.open(root / "pool").classes
    except UserError as error:
        if not artifacts.is_complete(root / "pool"):
            raise
        raise UserError(
            error.got,
            rule="people label with classes",
            hint='name them in asal.toml: [labelling] classes = ["cat", "dog"]',
        ) from None


def _exam(root: Path, classes: tuple[str, ...]) -> dict[str, Any] | None:
    """Return what accuracy is measured on: the validation or the test set, where it came with labels of these classes.

    Where people have other classes, number 3 is another thing there.
    """
    for part in ("validation", "test"):
        folder = root / part
        if not artifacts.is_complete(folder) or pool.LABELS not in artifacts.manifest(folder)["files"]:
            continue
        if Stored.open(folder).classes == classes:
            return {"name": part, "images": int(pool.facts_of(folder)["images"])}
    return None
