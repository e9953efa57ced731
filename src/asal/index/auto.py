"""Chooses the index by the size of the pool."""

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

LISTED = 1_000_000  # vectors; below, the exact scan of ten queries takes some 20 ms, and needs no recall check


@indexes.register("auto", cost="linear")
@dataclass(frozen=True)
class Auto:
    """The exact scan below a million images; above, `ivf` where faiss is installed, and otherwise the exact scan.

    On a GPU with room for the vectors, the exact scan is always used, on the GPU (`gpu`). An index keeps its kind:
    installing faiss later changes nothing until the index is built again.

    Args:
        listed: number of images from which on `ivf` is used.
    """

    recall: ClassVar[float] = 0.99
    listed: Annotated[int, Ge(1)] = LISTED

    def build(self, vectors: Store, folder: Path, progress: Progress = no_progress) -> None:
        """Build the index that suits the pool, in a folder of its kind."""
        name = "ivf" if len(vectors) >= self.listed and find_spec("faiss") and not fits(vectors) else "exact"
        (folder / name).mkdir(parents=True, exist_ok=True)
        self._kinds[name].build(vectors, folder / name, progress)

    def grow(self, previous: Path, count: int, vectors: Store, folder: Path, progress: Progress = no_progress) -> None:
        """Extend the present index, or build the other kind where the pool has become large enough."""
        name = self._built_kind(previous)
        if name == "exact" and len(vectors) >= self.listed and find_spec("faiss") and not fits(vectors):
            self.build(vectors, folder, progress)
            return
        (folder / name).mkdir(parents=True, exist_ok=True)
        self._kinds[name].grow(previous / name, count, vectors, folder / name, progress)

    def load(self, vectors: Store, folder: Path) -> Index:
        """Open the index that was built."""
        name = self._built_kind(folder)
        opener = Gpu() if name == "exact" and fits(vectors) else self._kinds[name]
        return opener.load(vectors, folder / name)

    def _built_kind(self, folder: Path) -> str:
        built = [name for name in self._kinds if (folder / name).is_dir()]
        if not built:
            raise artifacts.damaged(folder, f"it holds none of {', '.join(self._kinds)}")
        return built[0]

    @property
    def _kinds(self) -> dict[str, Indexer]:
        return {"ivf": Ivf(), "exact": Exact()}
