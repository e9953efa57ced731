"""The networks that generators and encoders consist of. Sizes are in pixels, widths in channels."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from asal.errors import UserError


def resolutions(size: int) -> list[int]:
    """Return the resolutions of a strided stack, largest first, down to 4 × 4 or less (at least two steps).

    >>> resolutions(28), resolutions(32), resolutions(8)
    ([28, 14, 7, 3], [32, 16, 8, 4], [8, 4, 2])
    """
    sizes = [size]
    while sizes[-1] > 4 or len(sizes) < 3:
        sizes.append(sizes[-1] // 2)
    return sizes


def dropout(batch: Tensor, keep: float, draws: torch.Generator | None) -> Tensor:
    """Keep each number of a batch (n, c, h, w) with probability `keep`, divided by it, and set the others to zero.

    Without a random stream the batch is returned unchanged. The mask is drawn from the training's stream, so that the
    training can be resumed: torch's own dropout draws from the global one.
    """
    if draws is None or keep == 1:
        return batch
    n, channels, height, width = batch.shape
    uniform = torch.rand(n, height, width, channels, generator=draws)  # channels last, as the batch lies in memory
    scale = (uniform < keep).to(batch.dtype).div_(keep)  # 0 or 1 / keep
    return batch * scale.permute(0, 3, 1, 2).to(batch.device)


def keep_per_block(rates: tuple[float, ...], blocks: int) -> tuple[float, ...]:
    """Return what dropout keeps after each block: `rates` for the last blocks, everything for those before.

    >>> keep_per_block((0.8, 0.5, 0.5), 4), keep_per_block((0.8, 0.5, 0.5), 2)
    ((1.0, 0.8, 0.5, 0.5), (0.8, 0.5))
    """
    return (*(1.0 for _ in range(blocks - len(rates))), *rates[:blocks])


class ConvDown(nn.Module):
    """Images (n, c, s, s) → flat features (n, dim): convolutions of stride 2.

    The public WGAN-GP critic for MNIST (Gulrajani et al. 2017, `gan_mnist.py`) has 5 × 5 kernels. Ours are 4 × 4:
    half the arithmetic on 28 pixels, and every output of the mirrored stack sees equally many inputs.

    Args:
        keep: what dropout keeps after the last blocks, where `forward` gets a random stream.
        norm: batch norm after every convolution but the first (Radford et al. 2016, section 3).
    """

    def __init__(
        self, size: int, channels: int, width: int, *, keep: tuple[float, ...] = (), norm: bool = False
    ) -> None:
        super().__init__()
        sizes = resolutions(size)
        widths = [channels] + [width * 2**i for i in range(len(sizes) - 1)]
        self.convs = nn.ModuleList(nn.Conv2d(a, b, 4, 2, 1) for a, b in pairwise(widths))
        self.norms = nn.ModuleList(batch_norm(width, norm and i > 0) for i, width in enumerate(widths[1:]))
        self.keep = keep_per_block(keep, len(self.convs))
        self.dim = widths[-1] * sizes[-1] ** 2

    def forward(self, batch: Tensor, draws: torch.Generator | None = None) -> Tensor:
        for conv, norm, keep in zip(self.convs, self.norms, self.keep, strict=True):
            batch = dropout(F.leaky_relu(norm(conv(batch)), 0.2), keep, draws)
        return batch.flatten(1)


def batch_norm(width: int, enabled: bool) -> nn.Module:
    """Return a batch norm layer, or the identity."""
    return nn.BatchNorm2d(width) if enabled else nn.Identity()


class ConvUp(nn.Module):
    """Latents (n, z) → images (n, c, s, s) in [−1, 1]: the mirror of `ConvDown`.

    Args:
        norm: batch norm after every layer but the last (Radford et al. 2016, section 3).
    """

    def __init__(self, latent_dim: int, size: int, channels: int, width: int, *, norm: bool = False) -> None:
        super().__init__()
        sizes = resolutions(size)[::-1]
        widths = [width * 2**i for i in reversed(range(len(sizes) - 1))] + [channels]
        self.start = (widths[0], sizes[0], sizes[0])
        self.dense = nn.Linear(latent_dim, math.prod(self.start))
        self.convs = nn.ModuleList(
            # A transposed convolution of stride 2 maps s to 2 s; an odd size needs one row more.
            nn.ConvTranspose2d(a, b, 4, 2, 1, output_padding=big - 2 * small)
            for a, b, small, big in zip(widths, widths[1:], sizes, sizes[1:], strict=False)
        )
        self.norms = nn.ModuleList(batch_norm(width, norm) for width in widths[:-1])

    def forward(self, latents: Tensor) -> Tensor:
        batch = self.dense(latents).unflatten(1, self.start)
        for norm, conv in zip(self.norms, self.convs, strict=True):
            batch = conv(F.relu(norm(batch)))
        images: Tensor = batch.tanh()
        return images


class DownBlock(nn.Module):
    """Two 3 × 3 convolutions beside a shortcut, to half the resolution (Gulrajani et al. 2017, appendix).

    Normalised image by image, because the critic's gradient penalty is per image and batch norm would mix images.
    """

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.GroupNorm(1, before) for _ in range(2))
        self.first = nn.Conv2d(before, before, 3, padding=1)
        self.second = nn.Conv2d(before, after, 3, padding=1)
        self.shortcut = nn.Conv2d(before, after, 1)

    def forward(self, batch: Tensor) -> Tensor:
        deep: Tensor = self.first(F.relu(self.norms[0](batch)))
        deep = self.second(F.relu(self.norms[1](deep)))
        short: Tensor = self.shortcut(F.avg_pool2d(batch, 2))
        return F.avg_pool2d(deep, 2) + short


class UpBlock(nn.Module):
    """Two 3 × 3 convolutions beside a shortcut, to twice the resolution (Gulrajani et al. 2017, appendix)."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.BatchNorm2d(width) for width in (before, after))
        self.first = nn.Conv2d(before, after, 3, padding=1)
        self.second = nn.Conv2d(after, after, 3, padding=1)
        self.shortcut = nn.Conv2d(before, after, 1)

    def forward(self, batch: Tensor) -> Tensor:
        deep: Tensor = self.first(F.interpolate(F.relu(self.norms[0](batch)), scale_factor=2))
        deep = self.second(F.relu(self.norms[1](deep)))
        short: Tensor = self.shortcut(F.interpolate(batch, scale_factor=2))
        return deep + short


class ResNetDown(nn.Module):
    """Images (n, c, s, s) → flat features (n, dim), for s = 4 · 2^i: the residual critic without its last layer.

    Args:
        keep: what dropout keeps after the last blocks, where `forward` gets a random stream.
    """

    def __init__(self, size: int, channels: int, width: int, *, keep: tuple[float, ...] = ()) -> None:
        super().__init__()
        steps = len(resolutions(size)) - 1
        widths = [width * min(2**i, 8) for i in range(steps + 1)]
        self.entry = nn.Conv2d(channels, width, 3, padding=1)
        self.blocks = nn.Sequential(*(DownBlock(a, b) for a, b in pairwise(widths)))
        self.keep = keep_per_block(keep, steps)
        self.dim = widths[-1] * 16

    def forward(self, batch: Tensor, draws: torch.Generator | None = None) -> Tensor:
        batch = self.entry(batch)
        for block, keep in zip(self.blocks, self.keep, strict=True):
            batch = dropout(block(batch), keep, draws)
        return F.relu(batch).flatten(1)


class ResNetUp(nn.Module):
    """Latents (n, z) → images (n, c, s, s) in [−1, 1], for s = 4 · 2^i: the residual generator."""

    def __init__(self, latent_dim: int, size: int, channels: int, width: int) -> None:
        super().__init__()
        steps = len(resolutions(size)) - 1
        widths = [width * min(2**i, 8) for i in reversed(range(steps + 1))]
        self.dense = nn.Linear(latent_dim, widths[0] * 16)
        self.start = (widths[0], 4, 4)
        self.blocks = nn.Sequential(*(UpBlock(a, b) for a, b in pairwise(widths)))
        self.exit = nn.Sequential(nn.BatchNorm2d(width), nn.ReLU(), nn.Conv2d(width, channels, 3, padding=1))

    def forward(self, latents: Tensor) -> Tensor:
        return torch.tanh(self.exit(self.blocks(self.dense(latents).unflatten(1, self.start))))


class Critic(nn.Module):
    """Images → one score each; `hidden` is the layer before it. With a random stream, dropout is applied."""

    def __init__(self, trunk: ConvDown | ResNetDown) -> None:
        super().__init__()
        self.trunk = trunk
        self.head = nn.Linear(trunk.dim, 1)

    def hidden(self, batch: Tensor, draws: torch.Generator | None = None) -> Tensor:
        """Return the last hidden layer, (n, dim)."""
        features: Tensor = self.trunk(batch, draws)
        return features

    def score(self, hidden: Tensor) -> Tensor:
        """Return the scores (n,) of a last hidden layer (n, dim)."""
        scores: Tensor = self.head(hidden)
        return scores.flatten()

    def forward(self, batch: Tensor, draws: torch.Generator | None = None) -> Tensor:
        return self.score(self.hidden(batch, draws))


def generator_and_critic(
    size: int, channels: int, width: int, latent_dim: int, *, residual: bool | None = None, keep: tuple[float, ...] = ()
) -> tuple[nn.Module, Critic]:
    """Return an untrained pair; by default strided convolutions up to 32 pixels and residual blocks above."""
    if size > 32 if residual is None else residual:
        return ResNetUp(latent_dim, size, channels, width), Critic(ResNetDown(size, channels, width, keep=keep))
    return ConvUp(latent_dim, size, channels, width), Critic(ConvDown(size, channels, width, keep=keep))


def move_to(net: nn.Module, device: torch.device) -> None:
    """Move a network to a device, with channels last in memory: twice as fast on a CPU in bf16."""
    net.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing in torch's stubs


def check_square(shape: tuple[int, int, int], part: str) -> None:
    """Check that these networks can halve and double images of this shape (h, w, c).

    Raises:
        UserError: they are not squares of 8 to 32 pixels, or of 64, 128 …
    """
    height, width, _ = shape
    if height != width or height < 8 or (height > 32 and height & (height - 1)):
        raise UserError(
            f"the pool's images have {height} × {width} pixels",
            rule=f"{part} needs square images of 8 to 32 pixels, or of 64, 128 …",
            hint="set `size` under [pool], for example size = 64, in a new project folder",
        )


def check_doubling(shape: tuple[int, int, int]) -> None:
    """Check that residual blocks can draw images of this shape (h, w, c) by doubling 4 × 4.

    Raises:
        UserError: they do not have 16, 32, 64 … pixels.
    """
    size = shape[0]
    if size < 16 or size & (size - 1):
        raise UserError(
            f"the pool's images have {shape[0]} × {shape[1]} pixels",
            rule="residual blocks draw images of 16, 32, 64 … pixels",
            hint="set net = 'strided' under [generator], or `size` under [pool] in a new project folder",
        )


def initialise(net: nn.Module, generator: torch.Generator) -> None:
    """Draw every weight from a given stream (He et al. 2015) and set biases to zero."""
    for module in net.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight, a=0.2, generator=generator)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
