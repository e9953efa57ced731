"""What the page shows of a project: its classes and their keys, its images, what accuracy is measured on."""

from __future__ import annotations

import hashlib
import string
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from asal.core import Pool
from asal.data import pool
from asal.data.concat_pool import additions, open_all
from asal.data.png import png
from asal.errors import UserError
from asal.labelling.hotkeys import hotkeys
from asal.project.spec import Spec
from asal.runtime import artifacts
from asal.session.oracles.stored import Stored
from asal.session.plan import check_names
from asal.session.state import State
from asal.session.synthetic_pool import PoolWithSynthetic

COMMANDS = "ugswmhpt"  # keys of the page's own commands
KEYS = "1234567890" + "".join(letter for letter in string.ascii_lowercase if letter not in COMMANDS)


@dataclass(frozen=True)
class ProjectInfo:
    """A project as the page shows it; nothing here changes while people label."""

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
            UserError: there is no pool, the classes are not known, or two have the same name.
        """
        opened = open_all(root, additions(root))
        classes = spec.labelling.classes or _stored_classes(root)
        check_names(classes)  # here, or people would wait for a worker that cannot start
        table = spec.strategies.get(strategy)
        score = str(table.options.get("score", spec.protocol.score)) if table else spec.protocol.score
        budget, grid, overlap = spec.protocol.budget, spec.labelling.grid, spec.labelling.overlap
        test_set = _test_set(root, classes)
        return cls(root, spec.name, classes, opened, strategy, score, budget, grid, overlap, test_set)

    def to_json(self, record: str) -> dict[str, Any]:
        """Return it as JSON, for the annotators of a record.

        Its id keeps answers that wait in a browser from being sent to another project at the same address.
        """
        keys = hotkeys(self.classes, KEYS)
        return {
            "id": hashlib.sha256(f"{self.pool.fingerprint} {record}".encode()).hexdigest()[:16],
            "name": self.name,
            "classes": [{"number": i, "name": name, "key": keys[i]} for i, name in enumerate(self.classes)],
            "shape": list(self.pool.shape),
            "budget": self.budget,
            "grid": self.grid,
            "overlap": self.overlap,
            "strategy": self.strategy,
            "test_set": self.test_set,
        }

    def tag(self, image: int, state: State) -> str:
        """Return what makes an image's address unique beside its id, which other projects use as well."""
        synthetic = state.synthetic.get(image)
        content = f"{self.pool.fingerprint} {synthetic.picture if synthetic else ''}"
        return hashlib.sha256(content.encode()).hexdigest()[:16]

    def picture(self, image: int, state: State) -> bytes:
        """Return an image as a PNG file."""
        # A worker that started after `asal add` asks for images that were not there when the server started.
        added = image >= len(self.pool) and image not in state.synthetic
        pool = open_all(self.root, additions(self.root)) if added else self.pool
        return png(PoolWithSynthetic(pool, state.synthetic).read(np.array([image]))[0])


def _stored_classes(root: Path) -> tuple[str, ...]:
    try:
        return Stored.open(root / "pool").classes
    except UserError as error:
        if not artifacts.is_complete(root / "pool"):
            raise
        raise UserError(
            f"the pool has no labels, and asal.toml names no classes: {error.got}",
            hint='name them in asal.toml: [labelling] classes = ["cat", "dog"]',
        ) from None


def _test_set(root: Path, classes: tuple[str, ...]) -> dict[str, Any] | None:
    """Return what accuracy is measured on: the validation or the test set, if it has labels of the same classes."""
    for part in ("validation", "test"):
        folder = root / part
        if not artifacts.is_complete(folder) or pool.LABELS not in artifacts.manifest(folder)["files"]:
            continue
        if Stored.open(folder).classes == classes:
            return {"name": part, "images": int(pool.facts_of(folder)["images"])}
    return None
