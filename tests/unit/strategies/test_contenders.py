"""The whole pool by a linear classifier: the picks of float64, whatever float32 may have rounded, at a fixed memory."""

from __future__ import annotations

import tracemalloc
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from asal.core import NO_IDS, Features, Ids, Probs, Round, as_ids
from asal.models.learners.head import HeadModel
from asal.models.linear_map import LinearMap
from asal.runtime.rng import stream
from asal.strategies import contenders, strategies
from asal.strategies.batch_rules import SpreadRule, class_weights, spread_batch
from asal.strategies.scores import scores
from asal.strategies.scoring import best

SCORES = [name for name in scores if not scores[name].needs]


@dataclass
class World:
    """A pool of stored features and a linear classifier of them, which counts what it computes in float64."""

    features: Features
    weights: np.ndarray
    biases: np.ndarray
    labelled: Ids = field(default_factory=lambda: NO_IDS)
    labels: Ids = field(default_factory=lambda: NO_IDS)
    recomputed: int = 0
    seen: int = 0
    linear: bool = True
    fingerprint: str = "features"
    shape: tuple[int, int, int] = (1, 1, 1)
    reads: Any = "features"

    def __len__(self) -> int:
        return len(self.features)

    def read(self, ids: Ids) -> Features:
        return self.features[ids]

    def view(self, first: int, end: int) -> Features | None:
        """Show runs within files of 1,024 rows."""
        self.seen += 1
        return self.features[first:end] if first // 1024 == (end - 1) // 1024 else None

    def linear_map(self) -> LinearMap | None:
        world = self

        class Counting(LinearMap):
            def predict(self, inputs: Any) -> Probs:
                world.recomputed += len(inputs)
                return super().predict(inputs)

        return Counting(self.weights, self.biases) if self.linear else None

    def predict(self, inputs: Features) -> Probs:
        return LinearMap(self.weights, self.biases).predict(inputs)  # the slow way, in float64

    def round(self) -> Round:
        tools: Any = SimpleNamespace(vectors=self)
        model: Any = self
        return Round(1, self, self.labelled, self.labels, model, tools)

    def slow(self) -> Round:
        self.linear = False
        return self.round()


def ranked(world: World, score: str) -> list[int]:
    """Return all open ids by the score of each image alone, highest first."""
    ids = np.setdiff1d(np.arange(len(world)), world.labelled)
    values = [float(scores[score].make(world.predict(world.features[[i]]))[0]) for i in ids]
    return [int(ids[row]) for row in np.lexsort((ids, -np.array(values)))]


@st.composite
def worlds(draw: st.DrawFn) -> tuple[World, int]:
    """Draw pools with copies, near copies, features and logits of all sizes, and some labels."""
    seed, size = draw(st.integers(0, 10**6)), draw(st.integers(2, 120))
    d, classes = draw(st.integers(1, 6)), draw(st.integers(2, 12))
    rng = stream(seed, "world")
    distinct = rng.normal(size=(draw(st.integers(1, size)), d))
    x = distinct[rng.integers(len(distinct), size=size)]
    x += draw(st.sampled_from([0.0, 1e-7, 1e-4])) * rng.normal(size=x.shape)
    x = x * draw(st.sampled_from([0.0, 1e-3, 1.0, 300.0])) + draw(st.sampled_from([0.0, 50.0]))
    weights = draw(st.sampled_from([1e-3, 1.0, 40.0])) * rng.normal(size=(classes, d))
    labelled = as_ids(np.flatnonzero(rng.random(size) < 0.2)[: size - 1])
    labels = as_ids(rng.integers(classes, size=len(labelled)))
    world = World(x.astype(np.float32), weights.astype(np.float32), rng.normal(size=classes), labelled, labels)
    return world, draw(st.integers(1, size - len(labelled)))


@settings(deadline=None, max_examples=300)
@given(worlds(), st.sampled_from(SCORES), st.sampled_from([1, 7, 64, 16_384]))
def test_the_highest_are_those_of_every_image_alone(drawn: tuple[World, int], score: str, rows: int) -> None:
    world, n = drawn
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(contenders, "_rows", lambda linear: rows)
        now = world.round()
        chosen = best(now, contenders.candidate_blocks(now), n, score)
    assert chosen.ids.tolist() == ranked(world, score)[:n]
    assert now.meter.evaluations == len(now.candidates), "each image once"


@settings(deadline=None, max_examples=150)
@given(worlds(), st.sampled_from(SCORES), st.sampled_from([0.0, 0.5]), st.sampled_from([1, 7, 64]))
def test_what_is_spread_over_the_pool_is_what_the_slow_way_spreads(
    drawn: tuple[World, int], score: str, gamma: float, rows: int
) -> None:
    world, n = drawn
    covered = world.round().candidates.sample(min(n + 5, len(world.round().candidates)), stream(0, "covered"))
    rule = SpreadRule(times=2, gamma=gamma)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(contenders, "_rows", lambda linear: rows)
        now = world.round()
        fast = spread_batch(now, n, covered, contenders.candidate_blocks(now), score, rule)
    then = world.slow()
    slow = spread_batch(then, n, covered, then.candidates.blocks(13), score, rule)
    assert fast.ids.tolist() == slow.ids.tolist()
    assert now.meter.evaluations == then.meter.evaluations == len(now.candidates)


def large(images: int = 60_000, d: int = 24, classes: int = 10, scale: float = 2.0) -> World:
    rng = stream(0, "large")
    x = rng.normal(size=(images, d)).astype(np.float32)
    labelled = as_ids(rng.choice(images, 200, replace=False))
    labels = as_ids(rng.integers(classes, size=200) ** 2 // classes)
    return World(x, scale * rng.normal(size=(classes, d)), rng.normal(size=classes), labelled, labels)


@pytest.mark.parametrize("score", SCORES)
@pytest.mark.parametrize("batch", ["top", "spread"])
def test_few_images_are_computed_again(score: str, batch: str) -> None:
    world = large()
    now = world.round()
    chosen = strategies["uncertainty"].make(now, 10, stream(0, "few"), score=score, batch=batch)
    assert now.meter.evaluations == len(now.candidates) == 59_800
    assert 10 <= world.recomputed < 600
    values = scores[score].make(world.predict(world.features))
    if batch == "spread":
        values = values - scores[score].make(np.eye(10)[:1])[0]
        values = values * (world.predict(world.features) @ class_weights(world.labels, 10, 0.5))
    values[world.labelled] = -np.inf
    most = np.argsort(-values)[: 10 if batch == "top" else 30].tolist()
    assert set(chosen.ids.tolist()) <= set(most)


def test_a_score_without_a_constant_is_computed_of_all_images() -> None:
    world = large(5000)
    chosen = best(world.round(), contenders.candidate_blocks(world.round()), 5, f"{__name__}:unsure_of_the_last")
    assert world.recomputed == 0
    probs = world.predict(world.features)
    probs[world.labelled] = 1
    assert set(chosen.ids.tolist()) == set(np.argsort(probs[:, -1])[:5].tolist())


def unsure_of_the_last(probs: Any) -> Any:
    return -probs[:, -1]


def test_features_that_overflow_float32_are_not_ruled_out() -> None:
    world = large(2000)
    world.features[:300] *= np.float32(1e30)
    world.weights = world.weights * 1e10
    now = world.round()
    chosen = best(now, contenders.candidate_blocks(now), 40, "margin")
    assert chosen.ids.tolist() == ranked(world, "margin")[:40]


def test_memory_does_not_grow_with_the_pool() -> None:
    peaks = []
    for copies in (1, 8):
        world = large(40_000)
        now = Round(1, Copies(world, copies), world.labelled, world.labels, world, None)  # type: ignore[arg-type]
        best(now, contenders.candidate_blocks(now), 10, "margin")
        tracemalloc.start()
        best(now, contenders.candidate_blocks(now), 10, "margin")
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.1 * peaks[0] < 30e6, f"{peaks} bytes at 40,000 and 320,000 images"


class Copies:
    """The images of a world, again and again."""

    def __init__(self, world: World, copies: int) -> None:
        self._world, self._copies = world, copies

    def __len__(self) -> int:
        return len(self._world) * self._copies

    def read(self, ids: Ids) -> Features:
        return self._world.read(ids % len(self._world))


def test_a_head_picks_as_its_own_predictions_do_where_these_are_apart() -> None:
    world = large(20_000)
    layer = nn.utils.skip_init(nn.Linear, 24, 10)
    layer.weight.data, layer.bias.data = (torch.tensor(part).float() for part in (world.weights, world.biases))
    model: Any = HeadModel(nn.Sequential(layer).eval().requires_grad_(False))
    now = Round(1, world, world.labelled, world.labels, model, None)  # type: ignore[arg-type]
    for score in SCORES:
        values = scores[score].make(model.predict(world.features))
        values[world.labelled] = -np.inf
        order = np.argsort(-values)
        n = next(n for n in range(12, 200) if values[order[n - 1]] - values[order[n]] > 1e-5)
        chosen = strategies["uncertainty"].make(now, n, stream(0, "head"), score=score)
        assert set(chosen.ids.tolist()) == set(order[:n].tolist())
        np.testing.assert_allclose(chosen.scores, values[chosen.ids], rtol=0, atol=1e-5)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("rows", [512, 1000, 5000])
def test_rows_that_are_not_copied_and_threads_change_nothing(
    threads: int, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = large(30_000)
    expected = ranked(world, "margin")[:300]
    monkeypatch.setattr(contenders, "_rows", lambda linear: rows)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        now = world.round()
        assert best(now, contenders.candidate_blocks(now), 300, "margin").ids.tolist() == expected
        assert world.seen > 0
        shuffled = np.array_split(stream(0, "order").permutation(np.setdiff1d(np.arange(30_000), world.labelled)), 7)
        assert best(now, shuffled, 300, "margin").ids.tolist() == expected
    finally:
        torch.set_num_threads(before)
    assert now.meter.evaluations == 2 * len(now.candidates)
    assert now.meter.split()["score"] > 0
