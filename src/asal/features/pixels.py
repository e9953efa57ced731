"""Raw pixels: the simplest feature space."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from asal.core import Features, Images, Pool
from asal.features import ExtractorInputs, features
from asal.runtime.devices import Device
from asal.runtime.progress import Progress

if TYPE_CHECKING:
    from torch import Tensor


@features.register("pixels", provides=("gradient",))
@dataclass(frozen=True)
class Pixels:
    """Gray or RGB values in 0 … 1 (the paper's F_gray and F_rgb, section 3.2)."""

    def train(self, pool: Pool, folder: Path, seed: int, device: Device, progress: Progress) -> None:
        """Do nothing."""

    def load(self, folder: Path, shape: tuple[int, int, int], inputs: ExtractorInputs) -> PixelExtractor:
        """Return the extractor for images of this shape."""
        return PixelExtractor(math.prod(shape))


@dataclass(frozen=True)
class PixelExtractor:
    """(n, h, w, c) → (n, h · w · c)."""

    dim: int

    def __call__(self, images: Images) -> Features:
        return images.reshape(len(images), self.dim).astype(np.float32) / np.float32(255)

    def differentiable(self, batch: Tensor) -> Tensor:
        """Map (n, c, h, w) in [−1, 1] to (n, h · w · c)."""
        return batch.permute(0, 2, 3, 1).flatten(1).add(1).div(2)
