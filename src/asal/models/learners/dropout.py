"""Predictions with dropout (Gal & Ghahramani 2016): inputs of a network's last linear layer are dropped at random."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from asal.core import Probs
from asal.errors import UserError

DRAWN = 2**22  # numbers that are drawn at a time


@dataclass(frozen=True)
class Dropout:
    """Drops a share `rate` of the inputs of a network's last linear layer, others for each image, `times` times.

    What is kept is divided by 1 − rate, as torch does, so that the layer's output stays the same on average.
    The draws of an image do not depend on how many follow it, nor on how images are batched.
    """

    net: nn.Module
    times: int
    rate: float
    rng: np.random.Generator
    last: nn.Linear = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "last", [m for m in self.net.modules() if isinstance(m, nn.Linear)][-1])

    @property
    def block(self) -> int:
        """How many images to a forward pass: dropped copies of a layer's input need `times` the memory."""
        return max(1, DRAWN // (self.times * self.last.in_features))

    def predict(self, batches: Iterable[Tensor]) -> Probs:
        """Return the probabilities (times, n, k) of all batches of the network's inputs."""
        return np.concatenate([self.logits(batch).double().softmax(-1).cpu().numpy() for batch in batches], axis=1)

    def logits(self, batch: Tensor) -> Tensor:
        """Return (times, n, k) of a batch of the network's inputs: the layers before the last one run once."""
        hook = self.last.register_forward_pre_hook(lambda _, inputs: self._dropped(*inputs))
        try:
            logits: Tensor = self.net(batch)
        finally:
            hook.remove()
        if len(logits) != self.times * len(batch):
            raise UserError(
                f"the network's output has {len(logits)} rows for {len(batch)} images with dropout {self.times} times",
                rule="what follows the last linear layer must treat each row alone",
                hint="use a strategy without dropout, or end the network with its linear layer",
            )
        return logits.reshape(len(batch), self.times, -1).transpose(0, 1)

    def _dropped(self, inputs: Tensor) -> Tensor:
        drawn = self.rng.random((len(inputs), self.times, *inputs.shape[1:]), dtype=np.float32)
        kept = torch.from_numpy(drawn >= np.float32(self.rate)).to(inputs.device)
        return (inputs[:, None] * kept / (1 - self.rate)).flatten(0, 1)
