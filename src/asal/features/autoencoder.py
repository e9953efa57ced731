"""The code of an auto-encoder trained on the pool."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from annotated_types import Ge, Gt
from lightning_fabric import Fabric
from torch import Tensor, nn

from asal.core import Features, Images, Pool
from asal.features import ExtractorInputs, features
from asal.models.checkpoints import Stateful, due, load_state, load_weights, save_state, save_weights
from asal.models.networks import ConvDown, ConvUp, check_square, initialise, move_to
from asal.models.tensors import to_batch
from asal.runtime import artifacts
from asal.runtime.devices import Device, here
from asal.runtime.progress import Pace, Progress
from asal.runtime.rng import stream, torch_stream

Count = Annotated[int, Ge(1)]


@features.register("autoencoder", provides=("gradient",))
@dataclass(frozen=True)
class Autoencoder:
    """The code of a convolutional auto-encoder trained with squared error (the paper's F_auto, section 3.2).

    With `perturb` > 0 it reconstructs the clean image from a noisy one that is shifted by up to `perturb` pixels, which
    makes the code insensitive to small perturbations, as the paper suggests. Layers, steps and the learning rate
    are our choice.
    """

    steps: Count = 3_000
    code: Count = 128
    width: Count = 32
    batch: Count = 128
    learning_rate: Annotated[float, Gt(0)] = 1e-3
    perturb: Annotated[int, Ge(0)] = 0  # pixels
    precision: Literal["bf16", "float32"] = "bf16"

    def train(self, pool: Pool, folder: Path, seed: int, device: Device, progress: Progress) -> None:
        """Train on the pool's images and write `weights.safetensors`; interrupted and called again, it resumes."""
        check_square(pool.shape, "an auto-encoder")
        fabric = Device(device.accelerator).fabric(self.precision)  # takes minutes on one device
        fabric.launch(self._train, pool, folder, seed, progress)  # type: ignore[arg-type]  # its type hint has no arguments

    def load(self, folder: Path, shape: tuple[int, int, int], inputs: ExtractorInputs) -> Encoder:
        """Open a trained encoder."""
        encoder, decoder = self._networks(shape)
        load_weights(folder / "weights.safetensors", encoder=encoder, decoder=decoder)
        move_to(encoder, here())
        return Encoder(self.code, encoder.eval().requires_grad_(False))

    def _networks(self, shape: tuple[int, int, int]) -> tuple[nn.Module, nn.Module]:
        trunk = ConvDown(shape[0], shape[2], self.width)
        return nn.Sequential(trunk, nn.Linear(trunk.dim, self.code)), ConvUp(self.code, shape[0], shape[2], self.width)

    def _train(self, fabric: Fabric, pool: Pool, folder: Path, seed: int, progress: Progress) -> None:
        encoder, decoder = self._networks(pool.shape)
        weights = torch_stream(stream(seed, "autoencoder", "weights"))
        for net in (encoder, decoder):
            initialise(net, weights)
            move_to(net, fabric.device)
        draws = torch_stream(stream(seed, "autoencoder", "draws"))
        adam = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], self.learning_rate)
        state: dict[str, Stateful] = {"encoder": encoder, "decoder": decoder, "adam": adam, "draws": draws}
        checkpoint = folder / artifacts.SCRATCH / "checkpoint.safetensors"
        start, saved = load_state(checkpoint, state), time.monotonic()
        pace = Pace()

        for step in range(start, self.steps):
            for group in adam.param_groups:  # falls linearly to zero
                group["lr"] = self.learning_rate * (1 - step / self.steps)
            ids = torch.randint(len(pool), (self.batch,), generator=draws)
            clean = to_batch(pool.read(ids.numpy()))
            noisy = perturb(clean, self.perturb, draws)
            clean, noisy = (fabric.to_device(b).contiguous(memory_format=torch.channels_last) for b in (clean, noisy))
            with fabric.autocast():
                reconstruction = decoder(encoder(noisy))
            error = F.mse_loss(reconstruction.float(), clean)
            adam.zero_grad()
            error.backward()
            adam.step()
            if pace.due(always=step % 10 == 0 or step + 1 == self.steps):
                progress("autoencoder", step + 1, self.steps, f"squared error {error.item():.4f}")
            if due(saved):
                save_state(checkpoint, step + 1, state)
                saved = time.monotonic()
        save_weights(folder / "weights.safetensors", encoder=encoder, decoder=decoder)


def perturb(batch: Tensor, pixels: int, draws: torch.Generator) -> Tensor:
    """Return the batch (n, c, h, w) shifted by up to `pixels` each way, with noise of σ = 0.1; unchanged for 0."""
    if pixels == 0:
        return batch
    padded = F.pad(batch, (pixels,) * 4, mode="replicate")
    height, width = batch.shape[2:]
    shifts = torch.randint(2 * pixels + 1, (len(batch), 2), generator=draws).tolist()
    shifted = [image[:, y : y + height, x : x + width] for image, (y, x) in zip(padded, shifts, strict=True)]
    return torch.stack(shifted) + 0.1 * torch.randn(batch.shape, generator=draws)


@dataclass(frozen=True)
class Encoder:
    """(n, h, w, c) → (n, code)."""

    dim: int
    net: nn.Module

    @torch.inference_mode()
    def __call__(self, images: Images) -> Features:
        return self.differentiable(to_batch(images)).cpu().numpy()

    def differentiable(self, batch: Tensor) -> Tensor:
        """Map (n, c, h, w) in [−1, 1], wherever it is, to (n, code)."""
        code: Tensor = self.net(batch.to(here()).contiguous(memory_format=torch.channels_last))
        return code.float()

    def named_tensors(self) -> dict[str, Tensor]:
        """Return the weights by their names."""
        return {f"encoder.{name}": value for name, value in self.net.state_dict().items()}
