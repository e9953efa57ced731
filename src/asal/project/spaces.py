"""Feature spaces that have been computed: every image's place, and how a new image gets there."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asal.core import Extractor, Features, Images
from asal.features.pca import Pca, Reduced
from asal.features.store import VECTORS, ConcatVectors, PrefixVectors, StoredVectors, Vectors
from asal.project.step import Step

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Space:
    """A feature space: every image's place in it, and how a new image gets there.

    Args:
        stored: all dimensions, which a classifier reads.
        stored_extractor: maps images to all of them.
        more: folders of the features of what was added to the pool.
        index_dimensions: how many of the first dimensions the index and the strategies see; 0 is all.
    """

    folder: Path
    stored: StoredVectors | ConcatVectors
    stored_extractor: Extractor
    more: tuple[Path, ...] = ()
    index_dimensions: int = 0

    @cached_property
    def vectors(self) -> Vectors:
        """What the index and the strategies see."""
        return self._prefix(self.stored)

    @cached_property
    def extractor(self) -> Extractor:
        """Maps images to what the index and the strategies see."""
        return FirstDimensions(self.stored_extractor, self.index_dimensions) if self._cuts else self.stored_extractor

    def first(self, parts: int) -> Vectors:
        """Return the vectors of the first pool and of what was added to it first, so many parts in all."""
        if not isinstance(self.stored, ConcatVectors):
            return self.vectors
        return self._prefix(ConcatVectors(self.stored.parts[:parts]) if parts > 1 else self.stored.parts[0])

    @property
    def _cuts(self) -> bool:
        return 0 < self.index_dimensions < self.stored.dim

    def _prefix(self, stored: StoredVectors | ConcatVectors) -> Vectors:
        return PrefixVectors(stored, self.index_dimensions) if self._cuts else stored


@dataclass(frozen=True)
class FirstDimensions:
    """An extractor of which the first dimensions are taken."""

    extractor: Extractor
    dim: int

    def __call__(self, images: Images) -> Features:
        return self.extractor(images)[:, : self.dim]

    def differentiable(self, batch: Tensor) -> Tensor:
        """Map float images (n, c, h, w) in [−1, 1] to (n, dim), where the extractor can."""
        extractor: Any = self.extractor
        features: Tensor = extractor.differentiable(batch)
        return features[:, : self.dim]


def opened_space(step: Step, extractor: Extractor, index_dimensions: int = 0) -> Space:
    """Open the features that a step computed."""
    compressed = (step.folder / Pca.FILE).exists()
    space = Reduced(extractor, Pca.load(step.folder)) if compressed else extractor
    return Space(step.folder, StoredVectors.open(step.folder / VECTORS), space, index_dimensions=index_dimensions)


def extended(space: Space, folders: tuple[Path, ...]) -> Space:
    """Return a space with the features of what was added to the pool, oldest first."""
    if not folders:
        return space
    assert isinstance(space.stored, StoredVectors)
    stores = [space.stored, *(StoredVectors.open(folder / VECTORS) for folder in folders)]
    return replace(space, stored=ConcatVectors(tuple(stores)), more=folders)
