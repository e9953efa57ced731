"""WGAN-GP: its penalty against mathematics, and its training against the same one written out."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from safetensors.torch import load
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from asal.models.generators import generators
from asal.models.generators.wgan_gp import WganGp, gradient_penalty
from asal.models.networks import ConvDown, Critic, generator_and_critic, initialise, move_to
from asal.models.tensors import to_batch
from asal.runtime.rng import stream, torch_stream
from asal.testing.training import toy_pool, train, workshop

pytestmark = pytest.mark.slow


class Plane(nn.Module):
    """D(x) = a · x, whose slope is ‖a‖ everywhere."""

    def __init__(self, slope: float, pixels: int) -> None:
        super().__init__()
        self.a = nn.Parameter(torch.full((pixels,), slope / pixels**0.5))

    def forward(self, batch: Tensor) -> Tensor:
        return batch.flatten(1) @ self.a


@pytest.mark.parametrize(("slope", "expected"), [(1.0, 0.0), (3.0, 4.0), (0.5, 0.25), (0.0, 1.0)])
def test_the_penalty_of_a_known_slope(slope: float, expected: float) -> None:
    batches = torch.randn(2, 5, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    found = gradient_penalty(Plane(slope, 16), batches[0], batches[1], torch.rand(5))
    assert float(found.detach()) == pytest.approx(expected, abs=1e-5)


def test_the_penalty_is_taken_on_the_segment_between_real_and_made() -> None:
    """D(x) = ‖x‖²/2 has slope ‖x‖."""

    class Bowl(nn.Module):
        def forward(self, batch: Tensor) -> Tensor:
            return batch.flatten(1).square().sum(1) / 2

    real, fake = torch.full((2, 1, 2, 2), 3.0), torch.full((2, 1, 2, 2), -1.0)  # of norm 6 and 2
    for share, expected in (([1, 1], 25), ([0, 0], 1), ([0.5, 0.5], 1), ([1, 0], 13)):
        found = gradient_penalty(Bowl(), real, fake, torch.tensor(share))
        assert float(found.detach()) == pytest.approx(expected), f"share {share}"


def test_the_penalty_against_finite_differences() -> None:
    draws = torch.Generator().manual_seed(1)
    critic = Critic(ConvDown(8, 1, 2))
    initialise(critic, draws)
    critic.double()
    real, fake = (torch.rand(3, 1, 8, 8, generator=draws, dtype=torch.float64) * 2 - 1 for _ in range(2))
    share = torch.rand(3, generator=draws, dtype=torch.float64)
    found = gradient_penalty(critic, real, fake, share)

    between = share.view(-1, 1, 1, 1) * real + (1 - share).view(-1, 1, 1, 1) * fake
    steps = 1e-6 * torch.eye(64, dtype=torch.float64).view(64, 1, 8, 8)
    with torch.no_grad():
        slopes = torch.stack([(critic(x + steps) - critic(x - steps)) / 2e-6 for x in between])  # (3, 64)
    assert float(found.detach()) == pytest.approx(float((slopes.norm(dim=1) - 1).square().mean()), rel=1e-4)
    found.backward()
    assert all(weight.grad is not None for weight in critic.trunk.convs[0].parameters() if weight.ndim > 1)
    assert float(critic.head.weight.grad.abs().sum()) > 0  # type: ignore[union-attr]


def written_out(part: WganGp, shape: tuple[int, int, int], seed: int = 0) -> tuple[nn.Module, nn.Module, list[str]]:
    """Train on the toy pool as plainly as can be; return the averaged generator, the critic, and the table of losses.

    Trainings that are under way are named by their options alone, so this order of draws is not to be changed.
    """
    pool, device = toy_pool(shape), torch.device("cpu")
    generator, critic = generator_and_critic(shape[0], shape[2], part.width, part.latent_dim)
    weights, draws = (torch_stream(stream(seed, "generator", *path)) for path in (("weights",), ("draws", 0)))
    for net in (generator, critic):
        initialise(net, weights)
        move_to(net, device)
    averaged = AveragedModel(generator, multi_avg_fn=get_ema_multi_avg_fn(part.average), use_buffers=True)
    betas = (0.5 if shape[0] <= 32 else 0.0, 0.9)
    adams = [torch.optim.Adam(net.parameters(), part.learning_rate, betas) for net in (generator, critic)]
    lines = ["step,wasserstein,penalty"]
    for step in range(part.steps):
        for _ in range(part.critic_steps):
            real = to_batch(pool.read(torch.randint(len(pool), (part.batch,), generator=draws).numpy()))
            share = torch.rand(part.batch, generator=draws)
            latents = torch.randn(part.batch, part.latent_dim, generator=draws)
            with torch.autocast("cpu", torch.bfloat16, enabled=part.precision == "bf16"):
                with torch.no_grad():
                    fake = generator(latents)
                gap = critic(fake).mean() - critic(real).mean()
                share = share.view(-1, 1, 1, 1)
                between = (share * real + (1 - share) * fake).requires_grad_()
                (slope,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
                penalty = (slope.float().flatten(1).norm(dim=1) - 1).square().mean()
            adams[1].zero_grad()
            (gap + part.penalty * penalty).backward()
            adams[1].step()
        with torch.autocast("cpu", torch.bfloat16, enabled=part.precision == "bf16"):
            cost = -critic(generator(torch.randn(part.batch, part.latent_dim, generator=draws))).mean()
        adams[0].zero_grad()
        cost.backward()
        adams[0].step()
        averaged.update_parameters(generator)
        if step % 10 == 0 or step + 1 == part.steps:
            lines.append(f"{step},{-gap.item():.6g},{penalty.item():.6g}")
    return averaged.module, critic, lines


@pytest.mark.parametrize("precision", ["bf16", "float32"])
@pytest.mark.parametrize("shape", [(8, 8, 1), (28, 28, 1), (64, 64, 3)])
def test_the_training_is_the_one_written_out_here_to_the_last_bit(shape: tuple[int, int, int], precision: Any) -> None:
    part = WganGp(steps=4, width=2, latent_dim=5, batch=3, critic_steps=2, precision=precision)
    with workshop() as folder:
        files = train(part, folder, pool=toy_pool(shape))
    *nets, lines = written_out(part, shape)
    assert files["losses.csv"].decode().splitlines() == lines
    found = load(files["weights.safetensors"])
    for name, net in zip(("generator", "critic"), nets, strict=True):
        for key, tensor in net.state_dict().items():
            assert torch.equal(found.pop(f"{name}.{key}"), tensor), f"{name}.{key}"
    assert not found


def test_the_options_that_trainings_are_named_by_are_what_they_were() -> None:
    assert generators["wgan-gp"].facts({}) == {
        "steps": 20_000, "width": 64, "latent_dim": 128, "batch": 64, "critic_steps": 5, "penalty": 10.0,
        "learning_rate": 1e-4, "average": 0.999, "precision": "bf16",
    }  # fmt: skip
    assert generators["wgan-gp"].facts({"net": "strided"})["net"] == "strided"
