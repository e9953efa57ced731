"""Feature spaces, in which similarity is measured: computed once for every image of the pool.

A kind of features is a frozen dataclass: its fields are the options of a spec, `train` fills a folder (which stays
empty where there is nothing to learn) and can be interrupted at any moment, `load` opens it as an extractor.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from asal.core import Extractor, Model, Pool
from asal.registry import Registry
from asal.runtime.progress import Progress

if TYPE_CHECKING:
    from torch import Tensor

    from asal.runtime.devices import Device

features = Registry("kind of features", "asal.features", group="asal.features")


class GeneratorWithCritic(Protocol):
    """What features need of a trained generator: its images, and its critic's last hidden layer."""

    @property
    def latent_dim(self) -> int: ...
    @property
    def hidden_dim(self) -> int: ...
    def decode(self, latents: Tensor) -> Tensor: ...
    def hidden(self, batch: Tensor) -> Tensor: ...


@dataclass(frozen=True)
class ExtractorInputs:
    """What a kind of features may use besides the pool's images; its `needs` name which of these."""

    generator: GeneratorWithCritic | None = None  # "generator"
    model: Model | None = None  # "model": the present classifier; such features are computed again in every round


class OriginalsExtractor(Extractor, Protocol):
    """An extractor of a kind that provides "originals": a network with a preprocessing of its own."""

    @property
    def size(self) -> int:
        """Pixels of the squares that it reads; others are resized."""
        ...


class TrainableFeatures(Protocol):
    """The interface of a registered kind of features."""

    def train(self, pool: Pool, folder: Path, seed: int, device: Device, progress: Progress) -> None: ...
    def load(self, folder: Path, shape: tuple[int, int, int], inputs: ExtractorInputs) -> Extractor: ...
