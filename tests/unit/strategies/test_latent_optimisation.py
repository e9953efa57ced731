"""Latent optimisation: what each of its options does, and that none does anything while it is off."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from asal.core import Round
from asal.errors import UserError
from asal.runtime.rng import stream, torch_stream
from asal.strategies import strategies
from asal.strategies.latent_optimisation import AT_ONCE, RISE, Backend, LatentOptimisation, ValueAndGrad, optimised
from asal.strategies.scores import scores
from asal.strategies.synthesis import Objective, Synthetic, enough_of, of_score, synthesise
from asal.testing.rounds import Setting, setting
from asal.testing.strategy import LABELLED

PLAIN = LatentOptimisation(steps=30, step_size=0.05)


@pytest.fixture(scope="module")
def at() -> Iterator[Setting]:
    with setting(strategies["asal"]) as made:
        yield made


@pytest.fixture
def now(at: Setting) -> Round:
    return at.round(LABELLED)


def made(now: Round, how: LatentOptimisation, n: int = 6, objective: Objective | None = None) -> Synthetic:
    return synthesise(now, n, objective or of_score(now.model, "entropy"), how, stream(0, "climb"))


def straightforward(now: Round, n: int, steps: int, prior: float) -> Tensor:
    """The paper's loop, all latents in one batch, through autograd from end to end."""
    generator, objective = now.tools.generator, of_score(now.model, "entropy")
    latents = torch.randn(n, generator.latent_dim, generator=torch_stream(stream(0, "climb"))).requires_grad_()
    adam = torch.optim.Adam([latents], 0.05, fused=True)
    for _ in range(steps):
        held = prior * latents.square().sum() / (2 * generator.latent_dim)
        adam.zero_grad()
        (held - objective(generator.decode(latents)).sum()).backward()
        adam.step()
    return latents.detach()


@pytest.mark.parametrize("prior", [0.0, 3.0])
@pytest.mark.parametrize("n", [5, 2 * AT_ONCE + 3])
def test_blocks_and_our_gradient_lead_where_a_straightforward_loop_does(now: Round, n: int, prior: float) -> None:
    optimised_here = made(now, replace(PLAIN, prior=prior), n)
    expected = straightforward(now, n, 30, prior).numpy()
    order = np.lexsort(optimised_here.latents.T)
    np.testing.assert_allclose(optimised_here.latents[order], expected[np.lexsort(expected.T)], atol=1e-4)
    assert now.meter.generated == 31 * n


def test_raw_samples_are_reduced_to_the_best(now: Round) -> None:
    chosen = made(now, LatentOptimisation(0, 0.05, raw_samples=8))
    generator = now.tools.generator
    drawn = torch.randn(48, generator.latent_dim, generator=torch_stream(stream(0, "climb")))
    reached = of_score(now.model, "entropy")(generator.decode(drawn)).detach()
    best = reached.argsort(descending=True)[:6]
    np.testing.assert_allclose(chosen.latents, drawn[best].numpy())
    np.testing.assert_allclose(chosen.scores, reached[best].numpy(), rtol=1e-5)
    assert now.meter.generated == 48 + 6


def test_a_latent_that_has_enough_stops_at_once_and_the_others_go_on(now: Round) -> None:
    enough = float(np.median(made(now, LatentOptimisation(0, 0.05), 20).scores))
    before = now.meter.generated
    rested, unmoved, full = (
        made(now, how, 20)
        for how in (replace(PLAIN, enough=enough), LatentOptimisation(0, 0.05), replace(PLAIN, enough=1e9))
    )
    assert before < now.meter.generated < before + 20 + 2 * 31 * 20, "half of them took no step"
    resting = {tuple(z) for z in rested.latents.tolist()} & {tuple(z) for z in unmoved.latents.tolist()}
    assert len(resting) == 10
    assert rested.scores.min() >= min(enough, full.scores.min()) - 1e-5


@dataclass
class Hill:
    """An objective of latents themselves that rises towards the origin, and what was asked of it."""

    calls: int = 0
    asked: int = 0

    def __call__(self, latents: Tensor) -> Tensor:
        self.calls += 1
        self.asked += len(latents)
        return -latents.square().sum(1)


def ends(latents: list[list[float]], how: LatentOptimisation) -> tuple[list[list[float]], int, Hill]:
    hill, start = Hill(), torch.tensor(latents)
    found, evaluations = optimised(ValueAndGrad(hill, len(start), start.shape[1], how), start, how)
    assert evaluations == hill.asked
    return found.tolist(), evaluations, hill


def test_steps_that_lead_over_the_top_are_taken_back() -> None:
    start, step = [[0.1], [1.0]], LatentOptimisation(steps=3, step_size=0.5)
    (near, far), evaluations, _ = ends(start, replace(step, keep_best=True))
    assert near == pytest.approx([0.1])
    assert abs(far[0]) < 0.5
    assert evaluations == 2 * 4, "the last points are looked at as well"


def test_patience_stops_a_latent_at_its_best_point() -> None:
    found, evaluations, _ = ends([[0.0], [5.0]], LatentOptimisation(steps=20, step_size=0.1, patience=4))
    assert found[0] == [0.0]
    assert found[1][0] < 4
    assert evaluations == 5 + 20, "the first is looked at five times: once, and four times without a rise"


def test_the_optimisation_ends_when_all_latents_have_stopped() -> None:
    how = LatentOptimisation(steps=1000, step_size=0.1, patience=3, enough=-1e-9)
    _, evaluations, hill = ends([[0.0], [0.2]], how)
    assert hill.calls < 50
    assert evaluations < 50


def test_a_rise_below_the_smallest_is_none() -> None:
    _, evaluations, _ = ends([[100.0]], LatentOptimisation(steps=50, step_size=RISE / 1000, patience=2))
    assert evaluations == 3


def test_nothing_is_tracked_while_options_are_off() -> None:
    found, evaluations, _ = ends([[0.1]], LatentOptimisation(steps=1, step_size=0.5))
    assert evaluations == 1
    assert found[0] == pytest.approx([-0.4]), "though it began higher"


def test_no_step_leaves_latents_where_they_are() -> None:
    for how in (LatentOptimisation(0, 0.1), LatentOptimisation(0, 0.1, keep_best=True, patience=1, enough=0.0)):
        assert ends([[3.0, 4.0]], how)[0] == [[3.0, 4.0]]


@pytest.mark.parametrize(
    ("score", "score_tolerance", "enough"),
    [
        ("entropy", 0.25, 0.75 * np.log(3)),
        ("margin", 0.25, -0.25),
        ("least-confidence", 0.25, 0.5),
        ("entropy", 0.0, np.inf),
        ("learned-loss", 0.25, np.inf),
    ],
)
def test_what_is_enough_is_a_share_below_the_ceiling(
    now: Round, score: str, score_tolerance: float, enough: float
) -> None:
    classes = now.model.predict(now.pool.read(LABELLED[:1])).shape[1]
    assert classes == 3
    assert enough_of(now, score, score_tolerance) == pytest.approx(enough)


@pytest.mark.parametrize("score", [name for name in scores if not scores[name].needs])
def test_no_probabilities_score_above_the_ceiling(now: Round, score: str) -> None:
    probs = np.random.default_rng(0).dirichlet(np.ones(3), 1000)
    assert scores[score].make(probs).max() <= enough_of(now, score, 1e-12) + 1e-9


def test_half_precision_reaches_nearly_as_high(now: Round) -> None:
    whole, half = made(now, PLAIN), made(now, replace(PLAIN, precision="bf16"))
    assert half.latents.dtype == np.float32
    assert not np.array_equal(whole.latents, half.latents)
    assert half.scores.mean() > made(now, LatentOptimisation(0, 0.05)).scores.mean() + 0.05
    assert half.scores.mean() == pytest.approx(whole.scores.mean(), abs=0.1)
    again = of_score(now.model, "entropy")(now.tools.generator.decode(torch.from_numpy(half.latents)))
    np.testing.assert_allclose(half.scores, again.numpy(), rtol=1e-5, err_msg="not computed in full precision")


@pytest.mark.slow
def test_compiled_steps_lead_where_eager_ones_do(now: Round) -> None:
    how = replace(PLAIN, steps=5, patience=2)  # some leave, so that the last block is filled up
    plain, compiled = made(now, how, 7), made(now, replace(how, backend="compiled"), 7)
    np.testing.assert_allclose(compiled.latents, plain.latents, atol=1e-4)


def test_a_compiler_that_is_missing_is_named(now: Round, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*args: Any, **options: Any) -> Any:
        from torch._dynamo.exc import TorchDynamoException

        raise TorchDynamoException("No working C++ compiler found\nand much more")

    monkeypatch.setattr(torch, "compile", lambda value, **options: fails)
    with pytest.raises(UserError, match=r"No working C\+\+ compiler found\b(?s:.*)leave `backend` out"):
        made(now, replace(PLAIN, backend="compiled"))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_graphs_are_for_gpus(now: Round) -> None:
    with pytest.raises(UserError, match="CUDA graphs"):
        made(now, replace(PLAIN, backend="captured"))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("backend", ["eager", "captured"])
def test_steps_on_a_gpu_lead_upwards(now: Round, backend: Backend) -> None:
    optimised_there = made(now, replace(PLAIN, backend=backend, patience=5))
    assert optimised_there.scores.mean() > made(now, LatentOptimisation(0, 0.05)).scores.mean() + 0.05
