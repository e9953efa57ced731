"""Images → the space in which likeness is measured: found once for every image of the pool.

A kind of features is a frozen dataclass: its fields are the options of a spec, `train` fills a folder (with nothing,
where there is nothing to learn) and can be cut at any moment, `load` opens it as an extractor.
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
    """What features look at of a trained generator: what it draws, and its critic's last hidden layer."""

    @property
    def latent_dim(self) -> int: ...
    @property
    def hidden_dim(self) -> int: ...
    def decode(self, latents: Tensor) -> Tensor: ...
    def hidden(self, batch: Tensor) -> Tensor: ...


@dataclass(frozen=True)
class ExtractorInputs:
    """What a kind of features may be made from besides the pool; it names in its `needs` what it looks at."""

    adversary: GeneratorWithCritic | None = None  # "generator"
    model: Model | None = None  # "model": the present classifier; such features are found anew in every round


class TrainableFeatures(Protocol):
    """What every registered kind of features can do."""

    def train(self, pool: Pool, folder: Path, seed: int, device: Device, progress: Progress) -> None: ...
    def load(self, folder: Path, shape: tuple[int, int, int], given: ExtractorInputs) -> Extractor: ...
