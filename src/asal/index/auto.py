"""Takes the index that suits the size of the pool."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, ClassVar

from annotated_types import Ge

from asal.core import Index
from asal.index import Indexer, Store, indexes
from asal.index.exact import Exact
from asal.index.gpu import Gpu, fits
from asal.index.ivf import Ivf
from asal.runtime import artifacts
from asal.runtime.progress import Progress, no_progress

LISTED = 1_000_000  # vectors; below, the exact scan of ten queries takes some 20 ms, and nothing has to be watched


@indexes.register("auto", cost="linear")
@dataclass(frozen=True)
class Auto:
    """The exact scan below a million images; from there on `ivf`, where faiss is installed, and else the exact scan.

    On a GPU that has room for the vectors the exact scan is taken for any number of them, and done there (`gpu`). What
    was built stays what it is: installing faiss later changes nothing until the index is made anew.

    Args:
        listed: images from which on `ivf` is taken.
    """

    recall: ClassVar[float] = 0.99
    listed: Annotated[int, Ge(1)] = LISTED

    def build(self, vectors: Store, folder: Path, progress: Progress = no_progress) -> None:
        """Build the one that suits, in a folder of its name."""
        name = "ivf" if len(vectors) >= self.listed and find_spec("faiss") and not fits(vectors) else "exact"
        (folder / name).mkdir(parents=True, exist_ok=True)
        self._kinds[name].build(vectors, folder / name, progress)

    def grow(self, before: Path, held: int, vectors: Store, folder: Path, progress: Progress = no_progress) -> None:
        """Grow the one that is there, or build the other where the pool has come to its size."""
        name = self._there(before)
        if name == "exact" and len(vectors) >= self.listed and find_spec("faiss") and not fits(vectors):
            self.build(vectors, folder, progress)
            return
        (folder / name).mkdir(parents=True, exist_ok=True)
        self._kinds[name].grow(before / name, held, vectors, folder / name, progress)

    def load(self, vectors: Store, folder: Path) -> Index:
        """Open the one that was built."""
        name = self._there(folder)
        opener = Gpu() if name == "exact" and fits(vectors) else self._kinds[name]
        return opener.load(vectors, folder / name)

    def _there(self, folder: Path) -> str:
        there = [name for name in self._kinds if (folder / name).is_dir()]
        if not there:
            raise artifacts.damaged(folder, f"it holds none of {', '.join(self._kinds)}")
        return there[0]

    @property
    def _kinds(self) -> dict[str, Indexer]:
        return {"ivf": Ivf(), "exact": Exact()}
