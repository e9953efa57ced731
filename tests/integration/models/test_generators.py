"""The shipped checks over every registered generator, each check's broken twin, and the training that they share."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.distributed import train_each
from support.training_twins import training_twins

from asal.errors import DamageError, UserError
from asal.models.checkpoints import load_state
from asal.models.generators import TrainedGenerator, generators, wgan_gp
from asal.models.generators.adversarial import Losses, start_training
from asal.models.generators.quality import draw, frechet
from asal.models.generators.wgan_gp import WganGp
from asal.models.networks import ConvDown, ConvUp, ResNetDown, ResNetUp
from asal.runtime.devices import Device
from asal.runtime.rng import stream
from asal.testing.generator import CHECKS, Make, latents
from asal.testing.training import toy_pool, train, workshop

TINY: dict[str, Any] = {"steps": 21, "width": 2, "latent_dim": 4, "batch": 3, "critic_steps": 1}


def made(name: str, **options: Any) -> Any:
    """Return a tiny generator with these of the options that it has."""
    part = generators[name]
    given = {key: value for key, value in {**TINY, **options}.items() if key in part.parameters}
    return part.make(**part.options(given))


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("name", generators)
def test_generator(name: str, check: str) -> None:
    CHECKS[check](lambda: made(name))


@pytest.mark.parametrize("name", generators)
def test_generator_in_float32_with_more_critic_steps_goes_on_after_a_cut(name: str) -> None:
    CHECKS["resumes after an interruption"](lambda: made(name, critic_steps=2, precision="float32"))


def spoilt(**parts: Any) -> Make:
    """Return WGAN-GP with other parts, of which functions are methods."""
    return lambda: type("Twin", (WganGp,), parts)(**{**TINY, "steps": 1})


def loaded(self: Any, folder: Path, shape: Any, **parts: Any) -> TrainedGenerator:
    right = WganGp.load(self, folder, shape)
    return TrainedGenerator(**{**vars(right), **parts})


def draws_up_to_255(self: Any, folder: Path, shape: Any) -> TrainedGenerator:
    right = WganGp.load(self, folder, shape)
    return loaded(self, folder, shape, generator=lambda z: (right.generator(z) + 1) * 127.5)


def draws_the_mean(self: Any, folder: Path, shape: Any) -> TrainedGenerator:
    right = WganGp.load(self, folder, shape)
    return loaded(self, folder, shape, generator=lambda z: right.generator(0 * z))


def draws_without_gradient(self: Any, folder: Path, shape: Any) -> TrainedGenerator:
    right = WganGp.load(self, folder, shape)
    return loaded(self, folder, shape, generator=torch.no_grad()(right.generator))


def normalises_the_batch(self: Any, folder: Path, shape: Any) -> TrainedGenerator:
    right = WganGp.load(self, folder, shape)
    return loaded(self, folder, shape, generator=lambda z: right.generator(z - z.mean(0)))


def initialises_when_loaded(self: Any, folder: Path, shape: Any) -> TrainedGenerator:
    generator, critic = self.networks(shape)
    return TrainedGenerator(self.latent_dim, generator, critic.hidden, critic.trunk.dim, torch.device("cpu"))


def hides_its_hidden_layer(self: Any, folder: Path, shape: Any) -> TrainedGenerator:
    return loaded(self, folder, shape, hidden_dim=1)


def draws_eight_by_eight(self: Any, folder: Path, shape: Any) -> TrainedGenerator:
    return WganGp.load(self, folder, (8, 8, 1))


def trains_on_eight_by_eight(self: Any, pool: Any, *rest: Any) -> None:
    WganGp.train(self, toy_pool(), *rest)


TRAINING = training_twins(WganGp, TINY)
TWINS: dict[str, Make] = {
    "reads images only": TRAINING["reads images only"],
    "same seed, same files": TRAINING["same seed, same files"],
    "does not depend on global random state": TRAINING["does not depend on global random state"],
    "resumes after an interruption": TRAINING["resumes after an interruption"],
    "draws the pool's shape": spoilt(load=draws_up_to_255),
    "draws different images": spoilt(load=draws_the_mean),
    "has a usable gradient": spoilt(load=draws_without_gradient),
    "draws each image alone": spoilt(load=normalises_the_batch),
    "is the same when reloaded": spoilt(load=initialises_when_loaded),
    "has a critic": spoilt(load=hides_its_hidden_layer),
    "refuses what it cannot draw": spoilt(train=trains_on_eight_by_eight, load=draws_eight_by_eight),
}


@pytest.mark.parametrize("check", CHECKS)
def test_check_catches_its_twin(check: str) -> None:
    with pytest.raises(AssertionError):
        CHECKS[check](TWINS[check])


@pytest.mark.parametrize("name", ["same seed, same files", "resumes after an interruption"])
def test_check_says_what_is_wrong(name: str) -> None:
    other = {"same seed, same files": "ignores its seed", "resumes after an interruption": "counts attempts"}[name]
    with pytest.raises(AssertionError, match=r"the files are the same|other bytes than an uninterrupted run"):
        CHECKS[name](TRAINING[other])


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [8, 28, 32, 64])
@pytest.mark.parametrize("name", generators)
def test_every_size_is_built_and_trained(name: str, size: int, channels: int) -> None:
    shape = (size, size, channels)
    part = made(name, steps=2, latent_dim=3, batch=2)
    residual = size == 64 and name != "dcgan"
    with workshop() as folder:
        train(part, folder, pool=toy_pool(shape))
        adversary = part.load(folder, shape)
        together = adversary.decode(latents(adversary, 2))
        assert together.shape == (2, channels, size, size)
        alone = adversary.decode(latents(adversary, 2)[:1])
        torch.testing.assert_close(alone, together[:1], atol=1e-4, rtol=0)  # batch norm is that of the training
        assert isinstance(adversary.generator, ResNetUp if residual else ConvUp)
        trunk = adversary.critic.__self__.trunk  # type: ignore[attr-defined]
        assert isinstance(trunk, ResNetDown if residual else ConvDown)


@pytest.mark.parametrize("check", CHECKS)
def test_strided_convolutions_pass_every_check(check: str) -> None:
    CHECKS[check](lambda: made("wgan-gp", net="strided"))


@pytest.mark.parametrize(
    ("size", "net", "residual"), [(64, "strided", False), (16, "residual", True), (64, "auto", True)]
)
def test_the_networks_of_wgan_gp_can_be_chosen(size: int, net: str, residual: bool) -> None:
    shape = (size, size, 3)
    part = made("wgan-gp", steps=2, latent_dim=3, batch=2, net=net)
    with workshop() as folder:
        train(part, folder, pool=toy_pool(shape))
        adversary = part.load(folder, shape)
        assert adversary.decode(latents(adversary, 2)).shape == (2, 3, size, size)
        assert isinstance(adversary.generator, ResNetUp if residual else ConvUp)
    assert part.betas(shape) == ((0.0 if residual else 0.5), 0.9)


def test_residual_blocks_refuse_what_they_cannot_double() -> None:
    with workshop() as folder, pytest.raises(UserError, match="28 × 28") as caught:
        train(made("wgan-gp", net="residual"), folder, pool=toy_pool((28, 28, 1)))
    assert "strided" in caught.value.hint


def multiplications(part: Any, size: int) -> int:
    """Count the multiplications of one image through both networks."""
    count = 0

    def add(layer: Any, _: Any, out: torch.Tensor) -> None:
        nonlocal count
        if isinstance(layer, torch.nn.ConvTranspose2d):
            positions = out.shape[-1] * out.shape[-2] // 4  # stride 2: each input spreads over four outputs
        else:
            positions = out.shape[-1] * out.shape[-2] if out.ndim == 4 else 1
        count += layer.weight.numel() * positions

    generator, critic = part.networks((size, size, 3))
    for layer in (*generator.modules(), *critic.modules()):
        if isinstance(layer, torch.nn.Conv2d | torch.nn.ConvTranspose2d | torch.nn.Linear):
            layer.register_forward_hook(add)
    critic(generator(torch.zeros(2, part.latent_dim)))
    return count


def test_a_strided_step_at_64_pixels_is_at_most_eight_of_32_and_a_residual_one_is_not() -> None:
    at_32 = multiplications(made("wgan-gp", width=32), 32)
    assert multiplications(made("wgan-gp", width=32, net="strided"), 64) <= 8 * at_32
    assert multiplications(made("wgan-gp", width=32), 64) > 8 * at_32


@pytest.mark.parametrize("shape", [(28, 32, 1), (7, 7, 1), (48, 48, 3), (33, 33, 1)])
@pytest.mark.parametrize("name", generators)
def test_a_size_that_cannot_be_drawn_is_refused_before_any_work(name: str, shape: tuple[int, int, int]) -> None:
    with workshop() as folder, pytest.raises(UserError, match=f"{shape[0]} × {shape[1]}"):
        train(made(name), folder, pool=toy_pool(shape))


@pytest.mark.parametrize("precision", ["bf16", "float32"])
@pytest.mark.parametrize("name", generators)
def test_losses_that_are_not_finite_end_the_training(name: str, precision: Any) -> None:
    part = made(name, learning_rate=1e25, precision=precision)
    with workshop() as folder:
        with pytest.raises(UserError, match="stay finite") as caught:
            train(part, folder)
        assert not (folder / "weights.safetensors").exists()
    assert "learning" in caught.value.hint


NEARER: dict[str, Any] = {  # enough to learn the toy pool in half a second
    "steps": 60, "width": 8, "batch": 16, "critic_steps": 2, "learning_rate": 4e-3, "average": 0.5,
    "precision": "float32",
}  # fmt: skip
SLOWER = {"dcgan": {"steps": 200, "width": 16, "batch": 32, "learning_rate": 1e-3, "average": 0.9}}


def nearer(name: str) -> dict[str, Any]:
    """Return the options under which a generator learns the toy pool."""
    return vars(made(name, **{**NEARER, **SLOWER.get(name, {})}))


def distance(part: Any) -> float:
    """Train on the toy pool, and return the Fréchet distance of its images from the pool's, pixel by pixel."""
    pool = toy_pool()
    with workshop() as folder:
        train(part, folder)
        images = draw(part.load(folder, pool.shape), 200, stream(0, "made"))
    real, drawn = (x.reshape(len(x), -1).astype(np.float32) / 255 for x in (pool.read(np.arange(40)), images))
    return frechet(real, drawn)


@pytest.mark.parametrize("name", generators)
def test_training_brings_the_images_nearer_to_the_pool(name: str) -> None:
    make, options = generators[name].make, nearer(name)
    before, after = (distance(make(**{**options, "steps": steps})) for steps in (1, options["steps"]))
    assert after < 0.75 * before, f"the distance went from {before:.3f} to {after:.3f}"


@pytest.mark.parametrize("loss", ["critic_loss", "generator_loss"])
@pytest.mark.parametrize("name", generators)
def test_a_sign_turned_round_in_a_loss_would_be_noticed(name: str, loss: str) -> None:
    make, options = generators[name].make, nearer(name)

    def turned(self: Any, *arguments: Any) -> Any:
        right = getattr(make, loss)(self, *arguments)
        return (-right[0], *right[1:]) if isinstance(right, tuple) else -right

    twin = type("Twin", (make,), {loss: turned})  # type: ignore[arg-type]
    try:
        before, after = (distance(twin(**{**options, "steps": steps})) for steps in (1, options["steps"]))
    except UserError:  # the losses grew without end
        return
    assert after > 0.75 * before


KILLED = """
import sys, time
from pathlib import Path
from asal.models import checkpoints as checkpoint
from asal.models.generators import generators
from asal.testing.training import toy_pool, train

def report(stage, done, total, note=""):
    if done > 20:  # twenty steps are saved, and this one is not
        print("now", flush=True)
        time.sleep(60)

checkpoint.CHECKPOINT_SECONDS = 0.0
train(generators[sys.argv[2]].make(**eval(sys.argv[3])), Path(sys.argv[1]), progress=report)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="there is no SIGKILL on this system")
@pytest.mark.parametrize("name", generators)
def test_a_killed_training_goes_on_to_the_very_same_weights(name: str) -> None:
    told: list[int] = []
    part = made(name)
    with workshop() as uncut, workshop() as folder:
        whole = train(part, uncut)
        command = [sys.executable, "-c", KILLED, str(folder), name, repr(vars(part))]
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        ) as child:
            assert child.stdout is not None
            assert child.stdout.readline() == "now\n"
            child.kill()
        assert child.returncode == -signal.SIGKILL
        assert not (folder / "weights.safetensors").exists()
        killed = train(part, folder, progress=lambda stage, done, total, note="": told.append(done))
    assert told[0] == 21, "it went on where it was killed"
    assert killed == whole


FOUR_STEPS = {name: made(name, steps=4, precision="float32") for name in generators}


@pytest.fixture(scope="module")
def trained_by_two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder in which two processes have trained every generator, without and with an interruption."""
    folder, fabric = tmp_path_factory.mktemp("two"), Device("cpu", count=2).fabric("float32")
    fabric.launch(partial(train_each, parts=FOUR_STEPS, pool=toy_pool(), folder=folder))
    return folder


@pytest.mark.parametrize("name", generators)
def test_two_processes_train_one_generator_and_go_on_after_a_cut(name: str, trained_by_two: Path) -> None:
    part, fabric, folder = FOUR_STEPS[name], Device("cpu").fabric("float32"), trained_by_two / name
    ends = {}
    for which in ("uncut", "cut"):
        assert part.load(folder / which, (8, 8, 1)).latent_dim == 4
        for rank in (0, 1):
            ends[which, rank] = start_training(fabric, part, (8, 8, 1), seed=9)
            load_state(folder / which / f"rank-{rank}.safetensors", ends[which, rank].parts(0))
    alone = start_training(fabric, part, (8, 8, 1), seed=0)
    first = ends["uncut", 0]
    for where, training in ends.items():
        for net in ("generator", "critic", "averaged"):
            weights = zip(getattr(first, net).parameters(), getattr(training, net).parameters(), strict=True)
            assert all(torch.equal(a, b) for a, b in weights), f"{where} ends with another {net}"
        streams = training.draws.get_state(), ends["uncut", where[1]].draws.get_state()
        assert torch.equal(*streams), f"{where} ends elsewhere in its stream"
    assert not torch.equal(first.draws.get_state(), ends["uncut", 1].draws.get_state()), "both drew the same images"
    assert not torch.equal(first.critic.head.weight, alone.critic.head.weight), "nothing was learnt"


def test_several_devices_tell_of_their_progress_once() -> None:
    told: list[tuple[str, int, int]] = []
    part, pool = made("wgan-gp", precision="float32"), toy_pool()
    with workshop() as folder:
        part.train(pool, folder, 0, Device("cpu", count=2), lambda *said: told.append(said[:3]))
        assert part.load(folder, pool.shape).latent_dim == 4
    assert told == [("generator", done, 21) for done in (1, 11, 21)]


def test_damaged_weights_are_named(tmp_path: Path) -> None:
    part = WganGp(**{**TINY, "steps": 1})
    with pytest.raises(DamageError, match="missing"):
        part.load(tmp_path, (8, 8, 1))
    train(part, tmp_path)
    with pytest.raises(DamageError, match="does not fit"):
        part.load(tmp_path, (8, 8, 3))
    weights = tmp_path / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])
    with pytest.raises(DamageError, match="not a complete safetensors file"):
        part.load(tmp_path, (8, 8, 1))


def test_losses_are_written_as_a_table_that_forgets_what_comes_again(tmp_path: Path) -> None:
    losses = Losses(tmp_path / "losses.csv", 0)
    losses.add(0, {"wasserstein": 1.5, "penalty": 0.25})
    losses.add(10, {"wasserstein": -2.0, "penalty": 0.125})
    losses.flush()
    assert (tmp_path / "losses.csv").read_text() == "step,wasserstein,penalty\n0,1.5,0.25\n10,-2,0.125\n"
    again = Losses(tmp_path / "losses.csv", 10)
    again.flush()
    assert (tmp_path / "losses.csv").read_text() == "step,wasserstein,penalty\n0,1.5,0.25\n"
    again.add(10, {"wasserstein": 3.0, "penalty": 0.5})
    again.flush()
    assert (tmp_path / "losses.csv").read_text() == "step,wasserstein,penalty\n0,1.5,0.25\n10,3,0.5\n"
    assert again.note == "wasserstein 3.000, penalty 0.500"
    for broken in (float("nan"), float("inf")):
        with pytest.raises(UserError, match="step 20"):
            again.add(20, {"wasserstein": 1.0, "penalty": broken})


@pytest.mark.parametrize(
    ("name", "columns"),
    [("wgan-gp", "wasserstein,penalty"), ("ct-gan", "wasserstein,penalty,consistency"), ("dcgan", "real,made")],
)
def test_the_losses_of_every_tenth_step_and_the_last_one_are_written(name: str, columns: str) -> None:
    with workshop() as folder:
        header, *lines = train(made(name, steps=14), folder)["losses.csv"].decode().splitlines()
    assert header == f"step,{columns}"
    assert [line.split(",")[0] for line in lines] == ["0", "10", "13"]


def test_a_generator_is_told_from_its_options() -> None:
    assert wgan_gp.WganGp() == WganGp(steps=20_000)
    for option, value in (("average", 1.0), ("steps", 0), ("precision", "fp16"), ("latent", 3)):
        with pytest.raises(UserError, match=option):
            generators["wgan-gp"].options({option: value})
