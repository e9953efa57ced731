"""The shipped checks over every registered generator, each check's broken twin, and the loss against mathematics."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ranks import train_uncut_and_cut
from torch import Tensor, nn
from training_twins import training_twins

from asal.checkpoint import load_state
from asal.devices import Device
from asal.errors import DamageError, UserError
from asal.generators import Adversary, generators, wgan_gp
from asal.generators.wgan_gp import Losses, WganGp, gradient_penalty
from asal.nets import ConvDown, ConvUp, Critic, ResNetDown, ResNetUp, initialise
from asal.quality import draw, frechet
from asal.rng import stream
from asal.testing.generator import CHECKS, Make, latents
from asal.testing.training import toy_pool, train, workshop

TINY: dict[str, Any] = {"steps": 21, "width": 2, "latent_dim": 4, "batch": 3, "critic_steps": 1}


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("name", generators)
def test_generator(name: str, check: str) -> None:
    CHECKS[check](lambda: generators[name].make(**generators[name].options(TINY)))


def test_generator_in_float32_with_more_critic_steps_goes_on_after_a_cut() -> None:
    CHECKS["goes on after a cut"](lambda: WganGp(**{**TINY, "critic_steps": 2, "precision": "float32"}))


def spoilt(**parts: Any) -> Make:
    """Return WGAN-GP with other parts, of which functions are methods."""
    return lambda: type("Twin", (WganGp,), parts)(**{**TINY, "steps": 1})


def loaded(self: Any, folder: Path, shape: Any, **parts: Any) -> Adversary:
    right = WganGp.load(self, folder, shape)
    return Adversary(**{**vars(right), **parts})


def draws_up_to_255(self: Any, folder: Path, shape: Any) -> Adversary:
    right = WganGp.load(self, folder, shape)
    return loaded(self, folder, shape, drawer=lambda z: (right.drawer(z) + 1) * 127.5)


def draws_the_mean(self: Any, folder: Path, shape: Any) -> Adversary:
    right = WganGp.load(self, folder, shape)
    return loaded(self, folder, shape, drawer=lambda z: right.drawer(0 * z))


def draws_without_gradient(self: Any, folder: Path, shape: Any) -> Adversary:
    right = WganGp.load(self, folder, shape)
    return loaded(self, folder, shape, drawer=torch.no_grad()(right.drawer))


def normalises_the_batch(self: Any, folder: Path, shape: Any) -> Adversary:
    right = WganGp.load(self, folder, shape)
    return loaded(self, folder, shape, drawer=lambda z: right.drawer(z - z.mean(0)))


def initialises_when_loaded(self: Any, folder: Path, shape: Any) -> Adversary:
    drawer, critic = self._networks(shape)
    return Adversary(self.latent_dim, drawer, critic.hidden, critic.trunk.dim, torch.device("cpu"))


def hides_its_hidden_layer(self: Any, folder: Path, shape: Any) -> Adversary:
    return loaded(self, folder, shape, hidden_dim=1)


def draws_eight_by_eight(self: Any, folder: Path, shape: Any) -> Adversary:
    return WganGp.load(self, folder, (8, 8, 1))


def trains_on_eight_by_eight(self: Any, pool: Any, *rest: Any) -> None:
    WganGp.train(self, toy_pool(), *rest)


TRAINING = training_twins(WganGp, TINY)
TWINS: dict[str, Make] = {
    "sees images alone": TRAINING["sees images alone"],
    "same seed, same files": TRAINING["same seed, same files"],
    "hangs on no global stream": TRAINING["hangs on no global stream"],
    "goes on after a cut": TRAINING["goes on after a cut"],
    "draws the pool's shape": spoilt(load=draws_up_to_255),
    "draws different images": spoilt(load=draws_the_mean),
    "can be climbed": spoilt(load=draws_without_gradient),
    "draws each alone": spoilt(load=normalises_the_batch),
    "is the same when loaded again": spoilt(load=initialises_when_loaded),
    "offers its critic": spoilt(load=hides_its_hidden_layer),
    "refuses what it cannot draw": spoilt(train=trains_on_eight_by_eight, load=draws_eight_by_eight),
}


@pytest.mark.parametrize("check", CHECKS)
def test_check_catches_its_twin(check: str) -> None:
    with pytest.raises(AssertionError):
        CHECKS[check](TWINS[check])


@pytest.mark.parametrize("name", ["same seed, same files", "goes on after a cut"])
def test_check_says_what_is_wrong(name: str) -> None:
    other = {"same seed, same files": "ignores its seed", "goes on after a cut": "counts attempts"}[name]
    with pytest.raises(AssertionError, match=r"the files are the same|other bytes than uncut"):
        CHECKS[name](TRAINING[other])


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [8, 28, 32, 64])
def test_every_size_is_built_and_trained(size: int, channels: int) -> None:
    shape = (size, size, channels)
    part = WganGp(steps=2, width=2, latent_dim=3, batch=2, critic_steps=1)
    with workshop() as folder:
        train(part, folder, pool=toy_pool(shape))
        adversary = part.load(folder, shape)
        together = adversary.decode(latents(adversary, 2))
        assert together.shape == (2, channels, size, size)
        alone = adversary.decode(latents(adversary, 2)[:1])
        torch.testing.assert_close(alone, together[:1], atol=1e-4, rtol=0)  # batch norm is that of the training
        assert isinstance(adversary.drawer, ResNetUp if size == 64 else ConvUp)
        trunk = adversary.critic.__self__.trunk  # type: ignore[attr-defined]
        assert isinstance(trunk, ResNetDown if size == 64 else ConvDown)


@pytest.mark.parametrize("shape", [(28, 32, 1), (7, 7, 1), (48, 48, 3), (33, 33, 1)])
def test_a_size_that_cannot_be_drawn_is_refused_before_any_work(shape: tuple[int, int, int]) -> None:
    with workshop() as folder, pytest.raises(UserError, match=f"{shape[0]} × {shape[1]}"):
        train(WganGp(**TINY), folder, pool=toy_pool(shape))


@pytest.mark.parametrize("precision", ["bf16", "float32"])
def test_losses_that_are_not_finite_end_the_training(precision: Any) -> None:
    part = WganGp(**{**TINY, "learning_rate": 1e25, "precision": precision})
    with workshop() as folder:
        with pytest.raises(UserError, match="stay finite") as caught:
            train(part, folder)
        assert not (folder / "weights.safetensors").exists()
    assert "learning" in caught.value.remedy


def test_training_brings_the_images_nearer_to_the_pool() -> None:
    """A sign turned round in either loss would drive them apart."""
    pool = toy_pool()
    options: dict[str, Any] = {"width": 4, "latent_dim": 4, "batch": 8, "critic_steps": 2, "learning_rate": 4e-3}
    real = pool.read(np.arange(40)).reshape(40, -1).astype(np.float32) / 255
    found = []
    for steps in (1, 60):
        part = WganGp(steps=steps, average=0.5, precision="float32", **options)
        with workshop() as folder:
            train(part, folder)
            made = draw(part.load(folder, pool.shape), 200, stream(0, "made"))
        found.append(frechet(real, made.reshape(200, -1).astype(np.float32) / 255))
    assert found[1] < 0.75 * found[0], f"the distance went from {found[0]:.3f} to {found[1]:.3f}"


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


KILLED = """
import sys, time
from pathlib import Path
from asal.generators import wgan_gp
from asal.testing.training import toy_pool, train

def watch(stage, done, total, note=""):
    if done > 20:  # twenty steps are saved, and this one is not
        print("now", flush=True)
        time.sleep(60)

wgan_gp.CHECKPOINT_SECONDS = 0.0
train(wgan_gp.WganGp(**eval(sys.argv[2])), Path(sys.argv[1]), watch=watch)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="there is no SIGKILL on this system")
def test_a_killed_training_goes_on_to_the_very_same_weights() -> None:
    told: list[int] = []
    with workshop() as uncut, workshop() as folder:
        whole = train(WganGp(**TINY), uncut)
        command = [sys.executable, "-c", KILLED, str(folder), repr(TINY)]
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        ) as child:
            assert child.stdout is not None
            assert child.stdout.readline() == "now\n"
            child.kill()
        assert child.returncode == -signal.SIGKILL
        assert not (folder / "weights.safetensors").exists()
        killed = train(WganGp(**TINY), folder, watch=lambda stage, done, total, note="": told.append(done))
    assert told[0] == 21, "it went on where it was killed"
    assert killed == whole


def test_two_processes_train_one_generator_and_go_on_after_a_cut() -> None:
    options = {**TINY, "precision": "float32"}
    part, fabric = WganGp(**options), Device("cpu", count=2).fabric("float32")
    with workshop() as folder:
        fabric.launch(train_uncut_and_cut, options, toy_pool(), folder)  # type: ignore[arg-type]
        ends = {}
        for name in ("uncut", "cut"):
            assert part.load(folder / name, (8, 8, 1)).latent_dim == 4
            for rank in (0, 1):
                ends[name, rank] = part._begin(fabric, (8, 8, 1), seed=9)
                load_state(folder / name / f"rank-{rank}.safetensors", ends[name, rank].parts(0))
        alone = part._begin(fabric, (8, 8, 1), seed=0)
    first = ends["uncut", 0]
    for where, duel in ends.items():
        for name in ("generator", "critic", "averaged"):
            weights = zip(getattr(first, name).parameters(), getattr(duel, name).parameters(), strict=True)
            assert all(torch.equal(a, b) for a, b in weights), f"{where} ends with another {name}"
        streams = duel.draws.get_state(), ends["uncut", where[1]].draws.get_state()
        assert torch.equal(*streams), f"{where} ends elsewhere in its stream"
    assert not torch.equal(first.draws.get_state(), ends["uncut", 1].draws.get_state()), "both drew the same images"
    assert not torch.equal(first.critic.head.weight, alone.critic.head.weight), "nothing was learnt"


def test_damaged_weights_are_named(tmp_path: Path) -> None:
    part = WganGp(**{**TINY, "steps": 1})
    with pytest.raises(DamageError, match="missing"):
        part.load(tmp_path, (8, 8, 1))
    train(part, tmp_path)
    with pytest.raises(DamageError, match="does not fit"):
        part.load(tmp_path, (8, 8, 3))
    weights = tmp_path / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])
    with pytest.raises(DamageError, match="not a whole safetensors file"):
        part.load(tmp_path, (8, 8, 1))


def test_losses_are_written_as_a_table_that_forgets_what_comes_again(tmp_path: Path) -> None:
    losses = Losses(tmp_path / "losses.csv", 0)
    losses.add(0, 1.5, 0.25)
    losses.add(10, -2.0, 0.125)
    losses.flush()
    assert (tmp_path / "losses.csv").read_text() == "step,wasserstein,penalty\n0,1.5,0.25\n10,-2,0.125\n"
    again = Losses(tmp_path / "losses.csv", 10)
    again.add(10, 3.0, 0.5)
    again.flush()
    assert (tmp_path / "losses.csv").read_text() == "step,wasserstein,penalty\n0,1.5,0.25\n10,3,0.5\n"
    for broken in (float("nan"), float("inf")):
        with pytest.raises(UserError, match="step 20"):
            again.add(20, broken, 0.5)


def test_a_generator_is_told_from_its_options() -> None:
    assert wgan_gp.WganGp() == WganGp(steps=20_000)
    for option, value in (("average", 1.0), ("steps", 0), ("precision", "fp16"), ("latent", 3)):
        with pytest.raises(UserError, match=option):
            generators["wgan-gp"].options({option: value})
