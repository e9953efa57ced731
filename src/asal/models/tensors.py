"""Conversion between stored images and the float batches that networks take."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from asal.core import Images


def to_batch(images: Images) -> Tensor:
    """Return uint8 images (n, h, w, c) as a float batch (n, c, h, w) in [−1, 1], the channels last in memory."""
    owned = np.require(images, np.uint8, ["C", "W"])  # torch shares memory, and wants to be able to write to it
    batch = torch.from_numpy(owned).permute(0, 3, 1, 2)
    return batch.float().div_(127.5).sub_(1.0)


def to_images(batch: Tensor) -> Images:
    """Return a float batch (n, c, h, w) in [−1, 1] as uint8 images (n, h, w, c), rounded and clipped."""
    pixels = batch.detach().float().add(1.0).mul_(127.5).round_().clamp_(0, 255).to(torch.uint8)
    return pixels.permute(0, 2, 3, 1).contiguous().cpu().numpy()
