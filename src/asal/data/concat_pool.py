"""A pool that grew: the first one and the additions, one after the other; ids do not change."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from asal.core import Ids, Images, check_ids
from asal.data.augmented_pool import AugmentedPool, open_pool
from asal.data.pool import StoredPool
from asal.errors import UserError
from asal.runtime import artifacts

ADDITIONS = artifacts.ADDITIONS  # in a project: 0001, 0002 … each like the folder `pool`
SEEN = "seen.json"  # beside them: how the source was when it had nothing for the project


def additions(root: Path) -> list[Path]:
    """Return the folders of what was added to a project's pool, oldest first.

    Raises:
        UserError: one of them is not complete, so that ids behind it would be other images.
    """
    if broken := damaged_additions(root):
        raise _gap(broken[0].with_suffix(""))
    folders = (folder for folder in (root / ADDITIONS).glob("[0-9]*") if folder.suffix != ".partial")
    done = sorted((folder for folder in folders if artifacts.is_complete(folder)), key=lambda folder: int(folder.name))
    for number, folder in enumerate(done, 1):
        if int(folder.name) != number:
            raise _gap(root / ADDITIONS / f"{number:04d}")
    return done


def damaged_additions(root: Path) -> list[Path]:
    """Return the unfinished folders of additions that were complete before a repair, oldest first."""
    return sorted(path for path in (root / ADDITIONS).glob("[0-9]*.partial") if artifacts.was_complete(path))


def _gap(folder: Path) -> UserError:
    return UserError(
        f"{folder} is not complete",
        rule="all additions to a pool are complete, because ids go on from one to the next",
        hint="run `asal add`, which makes again what `asal doctor --repair` removed; or restore the folder from a copy",
    )


def open_all(root: Path, added: Sequence[Path]) -> StoredPool | AugmentedPool | ConcatPool:
    """Open a project's pool with what was added to it."""
    first, more = open_pool(root / "pool"), [StoredPool.open(folder) for folder in added]
    return ConcatPool((first, *more)) if more else first


def places(ids: Ids, sizes: Sequence[int]) -> Iterator[tuple[int, npt.NDArray[np.bool_], Ids]]:
    """Yield for each part that some of the ids lie in: its number, which of them do, and their ids within it.

    >>> [(part, own.tolist()) for part, _, own in places(np.array([0, 5, 4]), [4, 9])]
    [(0, [0]), (1, [1, 0])]
    """
    ends = np.cumsum(sizes)
    of = np.searchsorted(ends, ids, side="right")
    for part in np.unique(of).tolist():
        here = of == part
        yield part, here, ids[here] - (int(ends[part - 1]) if part else 0)


@dataclass(frozen=True)
class ConcatPool:
    """The first pool and the additions. Its fingerprint is the first one's, so that what was trained on that stays."""

    parts: tuple[Any, ...]  # a StoredPool or an Augmented one, and StoredPools

    @property
    def fingerprint(self) -> str:
        """The first pool's."""
        return str(self.parts[0].fingerprint)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(h, w, c)."""
        shape: tuple[int, int, int] = self.parts[0].shape
        return shape

    @property
    def sizes(self) -> list[int]:
        """Images in each part."""
        return [len(part) for part in self.parts]

    def __len__(self) -> int:
        return sum(self.sizes)

    def read(self, ids: Ids) -> Images:
        """Return the images (n, h, w, c) of these ids, in this order; an id may come twice.

        Raises:
            UserError: an id that is not of this pool.
        """
        ids = check_ids(ids, len(self))
        out = np.empty((len(ids), *self.shape), np.uint8)
        for part, here, own in places(ids, self.sizes):
            out[here] = self.parts[part].read(own)
        return out

    def keys(self, ids: Ids) -> list[str]:
        """Return the key of each image: its name in the source."""
        ids = check_ids(ids, len(self))
        out = np.empty(len(ids), object)
        for part, here, own in places(ids, self.sizes):
            out[here] = self.parts[part].keys(own)
        return list(out.tolist())
