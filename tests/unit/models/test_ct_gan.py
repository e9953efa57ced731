"""CT-GAN: its term by hand, where its dropout is and where it is not, its learning rate."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from asal.errors import UserError
from asal.models.generators import generators
from asal.models.generators.adversarial import AdversarialTraining, set_rate, start_training
from asal.models.generators.ct_gan import CtGan, consistency_term
from asal.models.networks import ConvDown, Critic, ResNetDown, ResNetUp, dropout, generator_and_critic, initialise
from asal.models.tensors import to_batch
from asal.runtime.devices import Device
from asal.runtime.rng import stream, torch_stream
from asal.testing.generator import latents
from asal.testing.training import toy_pool, train, workshop

TINY: dict[str, Any] = {"steps": 8, "width": 2, "latent_dim": 4, "batch": 3, "critic_steps": 1, "precision": "float32"}


def draws(seed: int = 0) -> torch.Generator:
    return torch_stream(stream(seed, "test draws"))


# Two images, D₋ of four numbers, D their sum. The first is seen with two masks, the second with the same one twice:
# D₋(x′) − D₋(x″) = (2, −4, 0, 0), whose mean square is 5; (D(x′) − D(x″))² = 4; together 4 + 0.1 · 5 = 4.5, and 0.
SEEN = torch.tensor([[2.0, 0, 6, 0], [1, 1, 0, 0]])
AGAIN = torch.tensor([[0.0, 4, 6, 0], [1, 1, 0, 0]])


@pytest.mark.parametrize(
    ("weight", "margin", "expected"),
    [(2.0, 0.0, 4.5), (1.0, 0.0, 2.25), (0.0, 0.0, 0.0), (2.0, 1.0, 4.0), (2.0, 9.0, 0.0), (2.0, 20.0, 0.0)],
)
def test_the_term_of_two_images_by_hand(weight: float, margin: float, expected: float) -> None:
    """With M′ = 1 it is (max(0, 9 − 1) + max(0, 0 − 1)) / 2 = 4; cut after the mean it would be 3.5."""
    found = consistency_term((SEEN.sum(1), SEEN), (AGAIN.sum(1), AGAIN), weight, margin)
    assert float(found) == pytest.approx(expected)


class Pixels(nn.Module):
    """A trunk that is one dropout."""

    dim = 4

    def forward(self, batch: Tensor, draws: torch.Generator | None = None) -> Tensor:
        return dropout(batch, 0.5, draws).flatten(1)


def linear_duel(part: CtGan, fakes: Tensor) -> AdversarialTraining:
    """Return a duel of a constant generator and the critic D(x) = a · (mask · x / 0.5), a = (1, 2, 3, 4)."""

    class Same(nn.Module):
        def forward(self, _: Tensor) -> Tensor:
            return fakes

    critic = Critic(Pixels())  # type: ignore[arg-type]
    critic.head.weight.data = torch.tensor([[1.0, 2, 3, 4]])
    critic.head.bias.data.zero_()
    adam: Any = None
    return AdversarialTraining(
        Same(), critic, adam, adam, adam, draws(), (part.batch, part.latent_dim), torch.device("cpu")
    )


def test_the_losses_of_a_linear_critic_from_its_masks() -> None:
    """The masks are drawn once more from the same stream, in the order x′, x″, x̃, x̂; all else is sums."""
    part = CtGan(**{**TINY, "penalty": 7.0})
    real = torch.arange(12.0).view(3, 1, 2, 2)
    fakes = -real
    training = linear_duel(part, fakes)
    loss, terms = part.critic_loss(training, real)

    stream_again, a = draws(), torch.tensor([1.0, 2, 3, 4])
    torch.rand(3, generator=stream_again)
    torch.randn(3, 4, generator=stream_again)
    masks = [2.0 * (torch.rand(3, 2, 2, 1, generator=stream_again) < 0.5).float().view(3, 4) for _ in range(4)]
    one, other, fake = (m * x.view(3, 4) for m, x in zip(masks, (real, real, fakes), strict=False))
    wasserstein = (one @ a).mean() - (fake @ a).mean()
    penalty = (((masks[3] * a).square().sum(1).sqrt() - 1) ** 2).mean()  # the slope of a linear D is a · mask
    consistency = 2 * (((one - other) @ a) ** 2 + 0.1 * ((one - other) ** 2).mean(1)).mean()
    for name, expected in (("wasserstein", wasserstein), ("penalty", penalty), ("consistency", consistency)):
        torch.testing.assert_close(terms[name], expected, msg=name)
    assert float(consistency) > 0
    torch.testing.assert_close(loss, -wasserstein + 7 * penalty + consistency)

    torch.randn(3, 4, generator=stream_again)
    mask = 2.0 * (torch.rand(3, 2, 2, 1, generator=stream_again) < 0.5).float().view(3, 4)
    torch.testing.assert_close(part.generator_loss(training), -((mask * fakes.view(3, 4)) @ a).mean())


def test_dropout_keeps_its_share_and_the_mean() -> None:
    batch = torch.ones(50, 4, 10, 10)
    seen = dropout(batch, 0.8, draws())
    assert set(seen.unique().tolist()) == {0.0, 1.25}
    assert float((seen > 0).float().mean()) == pytest.approx(0.8, abs=0.01)
    assert torch.equal(seen, dropout(batch, 0.8, draws())), "the same stream, another mask"
    assert not torch.equal(seen, dropout(batch, 0.8, draws(1)))
    assert dropout(batch, 0.8, None) is batch and dropout(batch, 1.0, draws()) is batch


@pytest.mark.parametrize(("size", "blocks"), [(8, 2), (32, 3), (64, 4)])
def test_dropout_follows_the_last_three_blocks(size: int, blocks: int) -> None:
    _, critic = CtGan(**TINY).networks((size, size, 1))
    expected = {2: (0.8, 0.5), 3: (0.8, 0.5, 0.5), 4: (1.0, 0.8, 0.5, 0.5)}
    assert critic.trunk.keep == expected[blocks]
    initialise(critic, draws())
    batch = torch.rand(2, 1, size, size, generator=draws())
    assert not torch.equal(critic(batch, draws()), critic(batch)), "it drops nothing"
    assert torch.equal(critic(batch), critic(batch)), "without a stream nothing is drawn"


def test_wgan_gps_critic_drops_nothing() -> None:
    for size in (8, 64):
        _, critic = generator_and_critic(size, 1, 2, 4)
        assert set(critic.trunk.keep) == {1.0}


def test_its_critic_is_opened_without_dropout() -> None:
    pool = toy_pool()
    batch = to_batch(pool.read(torch.arange(6).numpy()))
    with workshop() as folder:
        train(CtGan(**TINY), folder)
        adversary = CtGan(**TINY).load(folder, pool.shape)
    first = adversary.hidden(batch)
    assert torch.equal(first, adversary.hidden(batch))
    trunk: Any = adversary.critic.__self__.trunk  # type: ignore[attr-defined]
    assert torch.equal(first, trunk(batch, None)) and not torch.equal(first, trunk(batch, draws()))


def test_the_rate_falls_to_zero_along_a_line() -> None:
    part = CtGan(**{**TINY, "learning_rate": 0.4})
    assert [part.rate(step) for step in range(8)] == pytest.approx([0.4, 0.35, 0.3, 0.25, 0.2, 0.15, 0.1, 0.05])
    fabric = Device("cpu").fabric("float32")
    training = start_training(fabric, part, (8, 8, 1), seed=0)
    set_rate(training, part.rate(6))
    rates = [group["lr"] for adam in (training.generator_adam, training.critic_adam) for group in adam.param_groups]
    assert rates == pytest.approx([0.1, 0.1])
    assert {group["betas"] for group in training.critic_adam.param_groups} == {(0.0, 0.9)}


def test_a_training_uses_the_rate_of_each_step(monkeypatch: pytest.MonkeyPatch) -> None:
    used: list[float] = []
    step = torch.optim.Adam.step

    def noting(self: Any, *arguments: Any) -> Any:
        used.append(self.param_groups[0]["lr"])
        return step(self, *arguments)

    monkeypatch.setattr(torch.optim.Adam, "step", noting)
    with workshop() as folder:
        train(CtGan(**{**TINY, "steps": 4, "learning_rate": 0.4}), folder)
    assert used == pytest.approx([0.4, 0.4, 0.3, 0.3, 0.2, 0.2, 0.1, 0.1]), "critic and generator in turn"


@pytest.mark.parametrize("size", [16, 32])
def test_residual_blocks_draw_small_images_too(size: int) -> None:
    shape, part = (size, size, 3), CtGan(**{**TINY, "steps": 2, "net": "residual"})
    with workshop() as folder:
        train(part, folder, pool=toy_pool(shape))
        adversary = part.load(folder, shape)
        assert adversary.decode(latents(adversary, 2)).shape == (2, 3, size, size)
        assert isinstance(adversary.generator, ResNetUp)
        trunk: Any = adversary.critic.__self__.trunk  # type: ignore[attr-defined]
        assert isinstance(trunk, ResNetDown) and trunk.keep[-3:] == (0.8, 0.5, 0.5)[: len(trunk.keep)]


@pytest.mark.parametrize("net", ["strided", "plain"])
def test_strided_convolutions_draw_large_images_too(net: str) -> None:
    generator, critic = CtGan(**{**TINY, "net": net}).networks((64, 64, 3))
    assert generator(torch.zeros(2, 4)).shape == (2, 3, 64, 64)
    assert isinstance(critic.trunk, ConvDown)


@pytest.mark.parametrize("size", [8, 12, 28])
def test_residual_blocks_refuse_what_they_cannot_double(size: int) -> None:
    with workshop() as folder, pytest.raises(UserError, match=f"{size} × {size}") as caught:
        train(CtGan(**{**TINY, "net": "residual"}), folder, pool=toy_pool((size, size, 1)))
    assert "strided" in caught.value.hint


def test_its_options_are_checked() -> None:
    for option, value in (("keep", [0.8, 0.0]), ("keep", [1.5]), ("net", "resnet"), ("margin", -1.0)):
        with pytest.raises(UserError, match=option):
            generators["ct-gan"].options({option: value})
    assert generators["ct-gan"].options({"keep": [0.9, 0.7]})["keep"] == (0.9, 0.7)  # a list, in TOML
