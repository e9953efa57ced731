"""The batch rule "spread" against a slow transcription of its algorithm, its special cases, and who may use it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asal.core import NO_IDS, Features, Ids, Inputs, Probs, Round, Selection, as_ids
from asal.errors import UserError
from asal.project.spec import parse
from asal.project.validate import check
from asal.registry import Part
from asal.runtime.rng import stream
from asal.strategies import batch_rules, strategies
from asal.strategies.batch_rules import (
    Kernel,
    SpreadRule,
    class_weights,
    herded,
    kernel_width,
    nearest_squares,
    spread_batch,
    typical_distance,
)
from asal.strategies.scores.entropy import entropy
from asal.strategies.scoring import needs_of, shortlist
from asal.testing.rounds import Setting, setting
from asal.testing.strategy import LABELLED

TIE = 1e-9


@dataclass
class World:
    """A pool of numbers: image i is the number i, and the classifier looks up its probabilities."""

    probs: Probs
    features: Features
    labelled: Ids
    labels: np.ndarray
    fingerprint: str = "numbers"
    shape: tuple[int, int, int] = (1, 1, 1)
    reads: Any = "features"
    evaluated: list[int] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.probs)

    def read(self, ids: Ids) -> Inputs:
        return ids

    def predict(self, inputs: Inputs) -> Probs:
        self.evaluated.extend(inputs.tolist())
        return self.probs[inputs]

    def embed(self, inputs: Inputs) -> Features:
        return self.features[inputs]

    def round(self) -> Round:
        tools: Any = SimpleNamespace(vectors=SimpleNamespace(read=lambda ids: self.features[ids]))
        model: Any = self
        return Round(1, self, self.labelled, self.labels, model, tools)


def reference(world: World, ids: list[int], n: int, rule: SpreadRule) -> list[int]:
    """Choose as the docstring of `spread_batch` says, in loops over numbers; gamma is 0.5 or 0."""
    probs, features = world.probs.tolist(), world.features.tolist()

    def squared(a: int, b: int) -> float:
        return sum((x - y) ** 2 for x, y in zip(features[a], features[b], strict=True))

    classes = len(probs[0])
    counts = [1.0] * classes
    for label in world.labels.tolist():
        counts[label] += 1
    wanted = {}
    for i in ids:
        second, first = sorted(probs[i])[-2:]
        weight = sum(p * math.sqrt(sum(counts) / classes / c) for p, c in zip(probs[i], counts, strict=True))
        wanted[i] = (1 - (first - second)) * (weight if rule.gamma else 1.0)  # to the last digit: there are ties
    pool = range(len(probs))  # of 1,000 images at the most, all of them are the sample
    tenth = sorted(math.sqrt(sorted(squared(a, b) for b in pool)[min(10, len(probs) - 1)]) for a in pool)
    median = (tenth[(len(tenth) - 1) // 2] + tenth[len(tenth) // 2]) / 2
    largest = max(abs(x) for row in features for x in row)
    width = max(rule.width * median, 1e-3 * largest) or 1.0

    def similar(a: int, b: int) -> float:
        return math.exp(-squared(a, b) / (2 * width**2))

    recent = world.labelled.tolist()[-rule.recent :] if rule.recent else []
    cover = {j: max((similar(known, j) for known in recent), default=0.0) for j in ids}
    left = sorted(ids, key=lambda i: (-wanted[i], i))[: rule.times * n]
    tie, picks = TIE * sum(wanted.values()), list[int]()
    while len(picks) < n:
        gains = [sum(wanted[j] * max(0.0, similar(c, j) - cover[j]) for j in ids) for c in left]
        pick = left.pop(next(k for k, gain in enumerate(gains) if gain >= max(gains) - tie))
        cover = {j: max(covered, similar(pick, j)) for j, covered in cover.items()}
        picks.append(pick)
    return picks


@st.composite
def worlds(draw: st.DrawFn) -> tuple[World, int, SpreadRule]:
    """Draw pools of few distinct images, so that there are ties, with a number to pick and settings."""
    size, classes = draw(st.integers(2, 30)), draw(st.integers(2, 4))
    some = st.lists(st.integers(0, 8), min_size=classes, max_size=classes).filter(any)
    kinds = draw(st.lists(some, min_size=1, max_size=6))
    rows = np.array([draw(st.sampled_from(kinds)) for _ in range(size)], float)
    coordinate = st.lists(st.integers(-3, 3), min_size=2, max_size=2)
    places = np.array([draw(coordinate) for _ in range(size)], np.float32)
    known = draw(st.lists(st.integers(0, size - 1), unique=True, max_size=size - 1))
    labels = [draw(st.integers(0, classes - 1)) for _ in known]
    probs = rows / rows.sum(axis=1, keepdims=True)
    rule = SpreadRule(draw(st.integers(1, 4)), draw(st.sampled_from([0.2, 0.35, 1.0])), draw(st.sampled_from([0, 0.5])))
    world = World(probs, places, as_ids(known), np.array(labels, np.int64))
    return world, draw(st.integers(1, size - len(known))), SpreadRule(*list(vars(rule).values())[:3], recent=3)


@settings(deadline=None, max_examples=300)
@given(worlds())
def test_it_picks_as_the_slow_transcription_does(drawn: tuple[World, int, SpreadRule]) -> None:
    world, n, rule = drawn
    now = world.round()
    ids = shortlist(now, n, len(world), stream(0, "all"))
    chosen = spread_batch(now, n, ids, (), "margin", rule)
    assert chosen.ids.tolist() == reference(world, ids.tolist(), n, rule)
    assert (np.diff(chosen.scores) <= TIE * 100).all(), "a gain never grows, but for ties"


def blobs(images: int, classes: int = 5, seed: int = 0) -> World:
    rng = stream(seed, "blobs")
    logits = rng.normal(size=(images, classes)) * 2
    powers = np.exp(logits)
    features = (rng.normal(size=(classes, 6)) * 3)[logits.argmax(1)] + rng.normal(size=(images, 6))
    known = as_ids(rng.choice(images, images // 10, replace=False))
    labels = logits[known].argmax(1)
    return World(powers / powers.sum(1, keepdims=True), features.astype(np.float32) + 50, known, labels)


@pytest.mark.parametrize("kept", [0, 1 << 22])
@pytest.mark.parametrize("n", [1, 7, 30])
def test_gains_that_are_not_computed_again_and_rows_that_are_change_nothing(
    n: int, kept: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch_rules, "KEPT", kept)
    monkeypatch.setattr(batch_rules, "LAID_OUT", 50)
    world = blobs(300)
    now = world.round()
    chosen = strategies["spread"].make(now, n, stream(1, "spread"), size=200)
    drawn = shortlist(now, n, 200, stream(1, "spread"))
    assert chosen.ids.tolist() == reference(world, drawn.tolist(), n, SpreadRule())


def test_all_images_alike_are_taken_as_the_shortlist_has_them() -> None:
    for value in (0.0, 7.0):
        world = World(np.full((20, 3), 1 / 3), np.full((20, 4), value, np.float32), as_ids([4]), np.array([2]))
        chosen = strategies["spread"].make(world.round(), 6, stream(0, "alike"))
        assert chosen.ids.tolist() == [0, 1, 2, 3, 5, 6]
        assert chosen.scores.tolist() == [0.0] * 6, "the labelled one stands for all"
        assert chosen.notes[0]["labelled_distance"] == 0.0


def test_a_certain_classifier_gains_nothing_and_asks_for_n() -> None:
    world = blobs(60)
    world.probs = np.eye(5)[world.probs.argmax(1)]
    chosen = strategies["spread"].make(world.round(), 9, stream(0, "certain"))
    assert len(set(chosen.ids.tolist())) == 9 and chosen.scores.tolist() == [0.0] * 9


def test_without_labels_nothing_is_covered_and_no_distance_is_noted() -> None:
    world = blobs(60)
    world.labelled, world.labels = NO_IDS, NO_IDS
    now = world.round()
    chosen = strategies["spread"].make(now, 5, stream(0, "none"))
    assert chosen.ids.tolist() == reference(world, list(range(60)), 5, SpreadRule())
    assert set(chosen.notes[0]) == {"score", "class_weight", "gain"}


def test_only_the_labels_of_late_stand_for_others() -> None:
    world = blobs(80)
    every, few, none = (
        strategies["spread"].make(world.round(), 8, stream(0, "recent"), recent=recent) for recent in (1000, 2, 0)
    )
    shown = [i for i in range(80) if i not in world.labelled]
    assert few.ids.tolist() == reference(world, shown, 8, SpreadRule(recent=2)) != every.ids.tolist()
    assert none.ids.tolist() == reference(world, shown, 8, SpreadRule(recent=0)) != few.ids.tolist()


def test_the_shortlist_holds_all_candidates_where_size_is_less() -> None:
    world = blobs(100)
    chosen = strategies["spread"].make(world.round(), 10, stream(0, "small"), size=5, times=4)
    assert len(set(chosen.ids.tolist())) == 10 and len(world.evaluated) == 40
    world.evaluated.clear()
    everything = strategies["spread"].make(world.round(), 90, stream(0, "all"), times=4)
    assert len(set(everything.ids.tolist())) == 90 and len(world.evaluated) == 90, "all that are left, once each"
    with pytest.raises(UserError, match="a batch of 91 is asked for, and 90 images are left"):
        strategies["spread"].make(world.round(), 91, stream(0, "all"))


@settings(deadline=None)
@given(st.lists(st.floats(0.0, 1.0), min_size=2, max_size=40))
def test_of_two_classes_the_most_wanted_are_those_of_highest_entropy(first: list[float]) -> None:
    probs = np.array([first, [1 - p for p in first]]).T
    world = World(probs, np.zeros((len(first), 1), np.float32), NO_IDS, NO_IDS)
    rated = batch_rules.rate(world.round(), np.arange(len(first)), "margin", 0.0).highest(len(first))
    assert (np.diff(entropy(probs[rated.ids])) <= 1e-12).all()


def test_classes_with_few_labels_weigh_more() -> None:
    weights = class_weights(np.array([0] * 8 + [1] * 2), 3, 0.5)
    assert np.allclose(weights**2, [13 / 3 / 9, 13 / 3 / 3, 13 / 3 / 1])
    assert class_weights(np.array([0, 0, 1]), 2, 0.0).tolist() == [1.0, 1.0]


def test_the_typical_distance_is_that_to_the_tenth_nearest() -> None:
    line = np.arange(40, dtype=np.float32)[:, None] * 3 + 1000
    expected = [sorted(abs(i - j) for j in range(40))[10] * 3 for i in range(40)]
    assert typical_distance(line) == pytest.approx(np.median(expected))
    assert typical_distance(line[:1]) == typical_distance(line[:0]) == 0.0
    assert kernel_width(line[:1] * 0, 0.35) == 1.0, "of nothing but zeros"
    assert kernel_width(np.full((50, 2), 8.0, np.float32), 0.35) == pytest.approx(8e-3)


def test_squares_to_the_nearest_are_the_same_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    points, others = stream(0, "points").normal(size=(2, 57, 5))
    expected = ((points[:, None] - others[None]) ** 2).sum(axis=2).min(axis=1)
    for entries in (1, 200, 1 << 20):
        monkeypatch.setattr(batch_rules, "LAID_OUT", entries)
        assert np.allclose(nearest_squares(points, others), expected)
    assert nearest_squares(points, others[:0]).tolist() == [np.inf] * 57
    assert nearest_squares(points[:0], others).shape == (0,)


def test_a_first_pick_stands_for_the_larger_group() -> None:
    places = np.array([[0.0], [0.1], [0.2], [9.0]])
    kernel = Kernel.of(places, places, 1.0)
    rows, gains = herded(kernel, np.array([1.0, 1.0, 1.0, 2.0]), np.zeros(4), 3)
    assert rows[:2].tolist() == [1, 3], "three times 1 beside each other, then 2"
    assert gains[1] == pytest.approx(2.0) and gains[2] < 0.02


@pytest.fixture(scope="module")
def at() -> Any:
    part = strategies["spread"]
    with setting(part, images=90) as made:
        yield made


def chosen_by(name: str, at: Setting, n: int = 6, **options: Any) -> Selection:
    chosen: Selection = strategies[name].make(at.round(LABELLED), n, stream(0, "rules"), **options)
    return chosen


@pytest.mark.parametrize("space", ["stored", "penultimate"])
def test_a_subset_that_is_spread_is_the_strategy_spread(at: Setting, space: str) -> None:
    own = chosen_by("spread", at, size=40, space=space)
    subset = chosen_by("subset", at, size=40, score="margin", batch="spread", space=space)
    assert own.ids.tolist() == subset.ids.tolist() and list(own.notes) == list(subset.notes)


def test_of_a_small_pool_uncertainty_spreads_over_all_of_it(at: Setting) -> None:
    pool, subset = chosen_by("uncertainty", at, score="margin", batch="spread"), chosen_by("spread", at)
    assert pool.ids.tolist() == subset.ids.tolist()


def test_of_a_large_pool_random_images_stand_for_the_rest(at: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    from asal.strategies import uncertainty

    monkeypatch.setattr(uncertainty, "COVERED", 25)
    now = at.round(LABELLED)
    chosen = strategies["uncertainty"].make(now, 6, stream(0, "rules"), score="margin", batch="spread")
    assert now.meter.evaluations == 84, "each image once"
    margins = batch_rules.rate(now, np.setdiff1d(np.arange(90), LABELLED), "margin", 0.5)
    assert set(chosen.ids.tolist()) <= set(margins.highest(18).ids.tolist()), "of the most wanted of the pool"
    covered = shortlist(now, 6, 25, stream(0, "rules"))
    assert not set(chosen.ids.tolist()) <= set(covered.tolist())


def test_seals_spreads_over_random_images_that_stand_for_the_pool(at: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    from asal.strategies import seals

    monkeypatch.setattr(seals, "COVERED", 30)
    now = at.round(LABELLED)
    chosen = strategies["seals"].make(now, 6, stream(0, "rules"), neighbours=4, batch="spread")
    near, covered = seals.neighbourhood(now, 6, 4), shortlist(now, 6, 30, stream(0, "rules"))
    assert now.meter.evaluations == len(np.union1d(near, covered)) < 90, "each image once"
    for image, note in zip(chosen.ids.tolist(), chosen.notes, strict=True):
        assert note["source"] == ("neighbours" if image in near else "random") and image in np.union1d(near, covered)
    rated = batch_rules.rate(now, np.union1d(near, covered), "margin", 0.5)
    assert set(chosen.ids.tolist()) <= set(rated.highest(18).ids.tolist()), "of the most wanted of both"
    top = strategies["seals"].make(at.round(LABELLED), 6, stream(0, "rules"), neighbours=4)
    assert set(top.ids.tolist()) <= set(near.tolist()) and not top.notes


def test_the_penultimate_layer_costs_a_second_evaluation(at: Setting) -> None:
    now = at.round(LABELLED)
    chosen = strategies["spread"].make(now, 6, stream(0, "rules"), size=40, space="penultimate")
    assert now.meter.evaluations == 40 + 40 + len(LABELLED) and len(chosen.ids) == 6


def test_a_predicted_loss_is_measured_from_the_smallest(at: Setting) -> None:
    now = at.round(LABELLED)
    rated = batch_rules.rate(now, np.arange(10, 40), "learned-loss", 0.5)
    assert rated.wanted.min() == 0.0 < rated.wanted.max()
    assert now.meter.evaluations == 60, "losses, and classes for their weights"


@pytest.mark.parametrize(
    ("name", "options", "features"),
    [
        ("spread", {}, True), ("spread", {"space": "penultimate"}, False),
        ("uncertainty", {}, False), ("uncertainty", {"batch": "spread"}, True),
        ("subset", {"batch": "spread", "space": "penultimate"}, False), ("subset", {"space": "stored"}, False),
    ],
)  # fmt: skip
def test_features_are_needed_where_distances_are_those_of_stored_ones(
    name: str, options: dict[str, Any], features: bool
) -> None:
    part: Part = strategies[name]
    assert ("features" in needs_of(part, options)) == features


@pytest.mark.parametrize(
    ("features", "table", "space"),
    [
        ({"pixels": {}}, {"spread": {}}, "stored"),
        ({}, {"spread": {}}, "penultimate"),
        ({"classifier": {}}, {"spread": {}}, "penultimate"),
        ({"classifier": {}}, {"spread": {"features": "classifier"}}, "stored"),
        ({"pixels": {}}, {"spread": {"space": "penultimate"}}, "penultimate"),
        ({}, {"subset": {"batch": "spread"}}, "penultimate"),
        ({"pixels": {}}, {"uncertainty": {"batch": "spread"}}, "stored"),
        ({}, {"subset": {}}, "stored"),  # which asks for no distances
    ],
)
def test_distances_are_measured_in_stored_features_wherever_the_spec_has_any(
    features: dict[str, Any], table: dict[str, Any], space: str
) -> None:
    spec = {"name": "toy", "source": {"kind": "digits"}, "learner": {"kind": "cnn"}}
    (strategy,) = check(parse({**spec, "features": features, "strategies": table})).strategies.values()
    apart = "subset" not in table or "batch" in table["subset"]
    assert strategy.table.options["space"] == space
    assert bool(strategy.space) == ("features" in strategy.needs) == (space == "stored" and apart)


def test_a_spec_is_refused_without_the_features_that_it_asks_for_and_keeps_its_hash_without_the_new_options() -> None:
    plain = {"name": "toy", "source": {"kind": "digits"}, "strategies": {"subset": {"size": 50}}}
    table = {"size": 50, "batch": "spread"}
    with pytest.raises(UserError, match=r"strategy 'subset' needs a feature space.*add a \[features"):
        check(parse({**plain, "strategies": {"subset": {**table, "space": "stored"}}}))
    own = {"space": "penultimate"}
    check(parse({**plain, "strategies": {"subset": {**table, **own}, "spread": own}}))
    assert parse(plain).hash == "1abca86d3d9a", "as before there was a batch rule"
    assert strategies["subset"].facts({"size": 50, "space": "stored"}) == {"score": "margin", "size": 50}
