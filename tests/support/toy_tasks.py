"""Small pieces of work for engines; in a module of its own, so that workers find it by its name."""

from __future__ import annotations

import multiprocessing.util
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from asal.errors import UserError
from asal.runtime.progress import Progress


@dataclass(frozen=True)
class Errand:
    """Leaves a file in a folder that says which process ran it, and then does as `deed` says."""

    number: int
    folder: Path
    deed: str = ""
    size: int = 1
    needs_torch: bool = False  # it takes seconds to load

    @property
    def name(self) -> str:
        return f"errand {self.number}"

    def run(self, progress: Progress) -> Any:
        times = len(list(self.folder.glob(f"{self.number}-*")))
        (self.folder / f"{self.number}-{time.time_ns()}-{os.getpid()}").touch()
        if self.deed == "refuse":
            raise UserError("errand 0 went wrong", rule="errands go well", hint="try another")
        if self.deed == "fail":
            raise ZeroDivisionError("deep down")
        if self.deed == "die" or (self.deed == "die once" and not times):
            os.kill(os.getpid(), signal.SIGKILL)
        if self.deed == "wait":
            time.sleep(600)
        if self.deed == "cling":  # it does its work, and then does not end
            multiprocessing.util.Finalize(None, time.sleep, args=(600,), exitpriority=10)
        if self.deed == "count threads":
            import torch

            return torch.get_num_threads()
        if self.deed == "linger":
            time.sleep(0.3)
        return self.number**2
