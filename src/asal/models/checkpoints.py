"""Weights and training states as safetensors files. No pickle is written or read."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from asal.runtime import artifacts

Stateful = nn.Module | torch.optim.Optimizer | torch.Generator
CHECKPOINT_SECONDS = 30.0  # between checkpoints: what a kill may cost


def due(saved: float) -> bool:
    """Return whether a training that last saved its state at `saved` (`time.monotonic()`) has to save again."""
    return time.monotonic() - saved > CHECKPOINT_SECONDS


def save_weights(path: Path, **nets: nn.Module) -> None:
    """Write the networks' weights into one file, atomically."""
    artifacts.write(
        path,
        save({f"{name}.{key}": t.contiguous() for name, net in nets.items() for key, t in net.state_dict().items()}),
    )


def load_weights(path: Path, **nets: nn.Module) -> None:
    """Load the networks from a file that `save_weights` wrote.

    Raises:
        DamageError: the file is missing, truncated, or of other networks.
    """
    tensors = _read(path)
    for name, net in nets.items():
        weights = {key.removeprefix(f"{name}."): t for key, t in tensors.items() if key.startswith(f"{name}.")}
        try:
            net.load_state_dict(weights)
        except RuntimeError as error:
            raise artifacts.damaged(
                path, f"it does not fit the network ({str(error).splitlines()[-1].strip()})"
            ) from None


def save_state(path: Path, step: int, parts: Mapping[str, Stateful]) -> None:
    """Write everything that a training loop needs to resume from `step` as if it had never stopped."""
    tensors = {"step": torch.tensor(step)}
    for name, part in parts.items():
        tensors |= {f"{name}/{key}": t.contiguous().cpu() for key, t in _tensors(part).items()}
    artifacts.write(path, save(tensors))


def load_state(path: Path, parts: Mapping[str, Stateful]) -> int:
    """Restore the parts from what `save_state` wrote and return the step; 0 where there is no file."""
    if not path.exists():
        return 0
    tensors = _read(path)
    for name, part in parts.items():
        _restore(part, {key.removeprefix(f"{name}/"): t for key, t in tensors.items() if key.startswith(f"{name}/")})
    return int(tensors["step"])


def _read(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except FileNotFoundError:
        raise artifacts.damaged(path, "it is missing") from None
    except (SafetensorError, OSError) as error:
        raise artifacts.damaged(path, f"it is not a complete safetensors file ({error})") from None


def _tensors(part: Stateful) -> dict[str, Tensor]:
    if isinstance(part, torch.Generator):
        return {"state": part.get_state()}
    if isinstance(part, torch.optim.Optimizer):
        return {f"{i}/{key}": value for i, slot in part.state_dict()["state"].items() for key, value in slot.items()}
    return part.state_dict()


def _restore(part: Stateful, tensors: dict[str, Tensor]) -> None:
    if isinstance(part, torch.Generator):
        part.set_state(tensors["state"].clone())  # torch 2.13 crashes on a view into a larger tensor
    elif isinstance(part, torch.optim.Optimizer):
        slots: dict[int, dict[str, Any]] = {}
        for key, value in tensors.items():
            number, _, name = key.partition("/")
            slots.setdefault(int(number), {})[name] = value
        part.load_state_dict({"state": slots, "param_groups": part.state_dict()["param_groups"]})
    else:
        part.load_state_dict(tensors)
