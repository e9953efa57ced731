"""DCGAN: its losses by hand, its first weights, and its batch norm."""

from __future__ import annotations

from math import exp, log
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from asal.models.generators.adversarial import AdversarialTraining, start_training
from asal.models.generators.dcgan import Dcgan
from asal.models.tensors import to_batch
from asal.runtime.devices import Device
from asal.runtime.rng import stream, torch_stream
from asal.testing.training import toy_pool, train, workshop

TINY: dict[str, Any] = {"steps": 12, "width": 2, "latent_dim": 4, "batch": 3, "precision": "float32"}


def draws(seed: int = 0) -> torch.Generator:
    return torch_stream(stream(seed, "test draws"))


class Told(nn.Module):
    """Gives the same answer to any question."""

    def __init__(self, answer: Tensor) -> None:
        super().__init__()
        self.answer = answer

    def forward(self, _: Tensor) -> Tensor:
        return self.answer


class Brightness(nn.Module):
    """D(x) = the sum of the pixels."""

    def forward(self, batch: Tensor) -> Tensor:
        return batch.flatten(1).sum(1)


def test_the_losses_by_hand() -> None:
    """Binary cross entropy with the label 1 for real and 0 for made images; the generator's with 1 for made ones."""
    real, fake = (torch.tensor(values).view(2, 1, 1, 1) for values in ([0.0, 2.0], [1.0, -3.0]))
    adam: Any = None
    critic: Any = Brightness()
    training = AdversarialTraining(Told(fake), critic, adam, adam, adam, draws(), (2, 4), torch.device("cpu"))
    loss, terms = Dcgan(**TINY).critic_loss(training, real)

    def sigma(x: float) -> float:
        return 1 / (1 + exp(-x))

    told_real = -(log(sigma(0)) + log(sigma(2))) / 2
    told_made = -(log(1 - sigma(1)) + log(1 - sigma(-3))) / 2
    assert float(terms["real"]) == pytest.approx(told_real)
    assert float(terms["made"]) == pytest.approx(told_made)
    assert float(loss) == pytest.approx(told_real + told_made)
    cheated = Dcgan(**TINY).generator_loss(training)
    assert float(cheated) == pytest.approx(-(log(sigma(1)) + log(sigma(-3))) / 2)


def test_the_generators_loss_does_not_saturate() -> None:
    """Where the critic is sure that an image is made, its slope is −1; that of log (1 − σ(D)) would be next to 0."""
    sure = torch.full((1, 1, 1, 1), -60.0, requires_grad=True)
    adam, critic = (None, Brightness())
    training: Any = AdversarialTraining(Told(sure), critic, adam, adam, adam, draws(), (1, 4), torch.device("cpu"))  # type: ignore[arg-type]
    Dcgan(**TINY).generator_loss(training).backward()  # type: ignore[no-untyped-call]
    assert float(sure.grad) == pytest.approx(-1)  # type: ignore[arg-type]


@pytest.mark.parametrize("size", [8, 28, 64])
def test_batch_norm_is_everywhere_but_at_the_images(size: int) -> None:
    generator, critic = Dcgan(**TINY).networks((size, size, 1))
    ours, theirs = ([type(norm) for norm in net.norms] for net in (generator, critic.trunk))  # type: ignore[union-attr]
    blocks = len(ours)
    assert ours == [nn.BatchNorm2d] * blocks, "after the dense layer and all convolutions but the last"
    assert theirs == [nn.Identity] + [nn.BatchNorm2d] * (blocks - 1)


def test_the_first_weights_are_those_of_the_paper() -> None:
    fabric = Device("cpu").fabric("float32")
    training = start_training(fabric, Dcgan(**{**TINY, "width": 32, "latent_dim": 100}), (32, 32, 3), seed=0)
    for net in (training.generator, training.critic):
        for name, weight in net.state_dict().items():
            if name.split(".")[-1] not in ("weight", "bias"):
                continue  # running statistics
            if name.endswith("bias"):
                assert not weight.any(), name
            else:
                centre = 1.0 if "norms" in name else 0.0
                assert float(weight.mean()) == pytest.approx(centre, abs=0.012), name
                assert float(weight.std()) == pytest.approx(0.02, rel=0.3), name
    assert {group["betas"] for group in training.critic_adam.param_groups} == {(0.5, 0.999)}
    assert {group["lr"] for group in training.generator_adam.param_groups} == {2e-4}


def test_the_hidden_layer_of_an_image_does_not_hang_on_those_beside_it() -> None:
    pool, part = toy_pool(), Dcgan(**TINY)
    batch = to_batch(pool.read(torch.arange(6).numpy()))
    with workshop() as folder:
        train(part, folder)
        adversary = part.load(folder, pool.shape)
    together = adversary.hidden(batch)
    alone = torch.cat([adversary.hidden(one[None]) for one in batch])
    tolerance = 1e-5 * float(together.abs().max())  # batches of other sizes differ in the last bits
    torch.testing.assert_close(together, alone, rtol=0, atol=tolerance)
    critic: Any = adversary.critic.__self__  # type: ignore[attr-defined]
    assert not torch.allclose(critic.train().hidden(batch), together), "in training mode it does"
    assert int(critic.trunk.norms[1].num_batches_tracked) >= 3 * part.steps, "real, made, and the generator's step"
