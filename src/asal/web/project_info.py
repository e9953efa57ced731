"""What the page shows of a project: its classes and their keys, its images, what accuracy is measured on."""

from __future__ import annotations

import hashlib
import string
from dataclasses import dataclass
from typing import Any

import numpy as np

from asal.core import Pool
from asal.data.png import png
from asal.labelling.hotkeys import hotkeys
from asal.project.folder import LabelledSet, ProjectFolder
from asal.session.plan import check_names
from asal.session.state import State
from asal.session.synthetic_pool import PoolWithSynthetic

COMMANDS = "ugswmhpt"  # letters of the page's own commands; one that is a class's name is the class's
KEYS = "1234567890" + "".join(letter for letter in string.ascii_lowercase if letter not in COMMANDS)


@dataclass(frozen=True)
class ProjectInfo:
    """A project as the page shows it; nothing here changes while people label.

    Args:
        pool: as it was when the server started.
        score: the name of what the strategy ranks images by.
    """

    folder: ProjectFolder
    pool: Pool
    classes: tuple[str, ...]
    strategy: str
    score: str
    test_set: LabelledSet | None

    @classmethod
    def of(cls, folder: ProjectFolder, strategy: str) -> ProjectInfo:
        """Open a project that is prepared.

        Raises:
            UserError: there is no pool, the classes are not known, or two have the same name.
        """
        spec, pool, classes = folder.spec, folder.pool, folder.classes
        check_names(classes)  # here, or people would wait for a worker that cannot start
        table = spec.strategies.get(strategy)
        score = str(table.options.get("score", spec.protocol.score)) if table else spec.protocol.score
        return cls(folder, pool, classes, strategy, score, folder.test_set(classes))

    def to_json(self, record: str) -> dict[str, Any]:
        """Return it as JSON, for the annotators of a record.

        Its id keeps answers that wait in a browser from being sent to another project at the same address.
        """
        spec, keys = self.folder.spec, hotkeys(self.classes, KEYS, typed=True)
        return {
            "id": hashlib.sha256(f"{self.pool.fingerprint} {record}".encode()).hexdigest()[:16],
            "name": spec.name,
            "classes": [{"number": i, "name": name, "key": keys[i]} for i, name in enumerate(self.classes)],
            "shape": list(self.pool.shape),
            "budget": spec.protocol.budget,
            "grid": spec.labelling.grid,
            "overlap": spec.labelling.overlap,
            "strategy": self.strategy,
            "test_set": None if self.test_set is None else self.test_set.to_json(),
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
        pool = self.folder.current_pool() if added else self.pool
        return png(PoolWithSynthetic(pool, state.synthetic).read(np.array([image]))[0])
