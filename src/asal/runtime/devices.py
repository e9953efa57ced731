"""Which hardware the networks run on. It is never part of the name of a result."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch
from lightning_fabric import Fabric

Precision: TypeAlias = Literal["bf16", "float32"]


def here() -> torch.device:
    """Return the device of everything but the training of a generator: a GPU where there is one.

    The environment variable ASAL_DEVICE ("cpu", "cuda", "cuda:1", "mps") overrides it.
    """
    return torch.device(os.environ.get("ASAL_DEVICE") or ("cuda" if torch.cuda.is_available() else "cpu"))


@dataclass(frozen=True)
class Device:
    """Where generators and encoders are trained."""

    accelerator: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    count: int = 1

    def name(self) -> str:
        """Return what it is called, such as "cpu", "cuda", or "2 × cuda"."""
        kind = here().type if self.accelerator == "auto" else self.accelerator
        return kind if self.count == 1 else f"{self.count} × {kind}"

    def fabric(self, precision: Precision) -> Fabric:
        """Return the Fabric that places tensors, casts, and joins the processes of several devices."""
        logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # it reports its precision on every start
        return Fabric(
            accelerator=here().type if self.accelerator == "auto" else self.accelerator,
            devices=self.count,
            # Spawned, not re-run: the training function alone is what the other processes have to do.
            strategy="auto" if self.count == 1 else "ddp_spawn",
            precision="bf16-mixed" if precision == "bf16" else "32-true",
        )
