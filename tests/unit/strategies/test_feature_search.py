"""The search in feature space: its gradients against others', what it climbs, whom it finds, and what it needs."""

from __future__ import annotations

import json
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from asal.core import Features, Ids, Neighbours, Round, Selection, as_ids
from asal.errors import UserError
from asal.models.learners.head import Head
from asal.project.spec import parse
from asal.project.validate import check
from asal.runtime.rng import stream
from asal.strategies import strategies
from asal.strategies.asal import completed
from asal.strategies.batch_rules import typical_distance
from asal.strategies.feature_search import (
    LinearLogits,
    Objective,
    ascended,
    entropy_of_logits,
    margin_of_logits,
    search_by_gradient,
)
from asal.strategies.scores import scores
from asal.strategies.scoring import needs_of, shortlist
from asal.testing.rounds import Setting, classifier_of_features, setting
from asal.testing.strategy import LABELLED

OBJECTIVES: dict[str, Objective] = {"entropy": entropy_of_logits, "margin": margin_of_logits}


@settings(deadline=None)
@given(st.sampled_from(["entropy", "margin"]), st.integers(0, 10**6), st.integers(2, 6), st.floats(0.1, 30.0))
def test_values_and_gradients_are_those_of_the_scores_in_torch(
    name: str, seed: int, classes: int, scale: float
) -> None:
    logits = np.random.default_rng(seed).normal(size=(4, classes)) * scale
    values, gradients = OBJECTIVES[name](logits)
    tensor = torch.tensor(logits, requires_grad=True)
    expected = scores[name].make(tensor.softmax(1))
    expected.sum().backward()
    assert tensor.grad is not None
    np.testing.assert_allclose(values, expected.detach().numpy(), atol=1e-12)
    np.testing.assert_allclose(gradients, tensor.grad.numpy(), atol=1e-12)


def problem(seed: int = 0, images: int = 300, dim: int = 5, classes: int = 3) -> tuple[Features, Any]:
    rng = stream(seed, "problem")
    centres = rng.normal(size=(classes, dim)) * 2
    labels = np.arange(images) % classes
    features = (centres[labels] + rng.normal(size=(images, dim)) + 20).astype(np.float32)
    return features, Head(l2=1e-3).fit(features[:40], labels[:40], classes, rng)


def test_a_linear_classifier_is_found_exactly_from_what_it_says_of_some_images() -> None:
    features, model = problem()
    found = LinearLogits.fitted(features[100:140], model.predict(features[100:140]))
    logits = found(features.astype(np.float64))
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    np.testing.assert_allclose(powers / powers.sum(axis=1, keepdims=True), model.predict(features), atol=1e-4)


def test_of_fewer_images_than_dimensions_and_of_a_certain_classifier_the_fit_is_finite() -> None:
    features, model = problem(dim=30)
    probs = model.predict(features[:8])
    few = LinearLogits.fitted(features[:8], probs)
    logits = few(features[:8].astype(np.float64))
    assert (logits.argmax(axis=1) == probs.argmax(axis=1)).all(), "it explains what it was fitted to"
    certain = LinearLogits.fitted(features, np.eye(3)[probs.argmax(axis=1).repeat(40)[:300]])
    alike = LinearLogits.fitted(np.ones((9, 4), np.float32), np.full((9, 3), 1 / 3))
    assert np.isfinite(certain.weights).all() and not alike.weights.any()


@pytest.mark.parametrize("name", OBJECTIVES)
def test_points_rise_and_of_two_classes_they_reach_the_boundary(name: str) -> None:
    objective = OBJECTIVES[name]
    features, model = problem(classes=2, seed=1)
    linear = LinearLogits.fitted(features, model.predict(features))
    begin = features[:20].astype(np.float64)
    path = [objective(linear(ascended(begin, linear, objective, 0.3, steps)))[0] for steps in (0, 1, 5, 20, 80)]
    assert all((later >= earlier).all() for earlier, later in pairwise(path)), "it never falls"
    reached = ascended(begin, linear, objective, 0.3, 80)
    gaps = np.abs(np.diff(linear(reached), axis=1))
    assert (gaps < 0.05 * np.abs(np.diff(linear(begin), axis=1)).max()).all()
    # The gradient of a linear map has one direction: each point went straight to the boundary.
    normal = np.diff(linear.weights, axis=0)[0]
    moved = reached - begin
    along = (moved @ normal)[:, None] * normal / (normal @ normal)
    np.testing.assert_allclose(moved, along, atol=1e-8)


def test_the_search_is_the_same_in_any_unit() -> None:
    features, model = problem()
    begin = features[:10].astype(np.float64)
    linear = LinearLogits.fitted(features, model.predict(features))
    scaled = LinearLogits(linear.weights / 1000, linear.biases)
    ends = ascended(begin, linear, margin_of_logits, 0.2)
    np.testing.assert_allclose(ascended(begin * 1000, scaled, margin_of_logits, 200.0), ends * 1000, rtol=1e-6)


def test_points_without_a_gradient_stay() -> None:
    flat = LinearLogits(np.zeros((3, 2)), np.zeros(3))
    begin = np.arange(6.0).reshape(3, 2)
    assert ascended(begin, flat, entropy_of_logits, 1.0).tolist() == begin.tolist()
    certain = LinearLogits(np.array([[1e6, 0.0], [-1e6, 0.0]]), np.zeros(2))
    assert np.isfinite(ascended(begin + 1, certain, entropy_of_logits, 1.0)).all()


@pytest.fixture(scope="module", params=["images", "features"])
def at(request: pytest.FixtureRequest) -> Any:
    part = strategies["asal"]
    if request.param == "images":
        with setting(part, images=300) as made:
            yield made
    else:
        with classifier_of_features(), setting(part, images=300) as made:
            yield made


def found_at(at: Setting, now: Round, known: Ids, size: int) -> Any:
    return search_by_gradient(now, known, now.model.predict(now.inputs(known)), size, stream(3, "search"))


def test_it_finds_open_images_that_are_not_known_and_says_from_where(at: Setting) -> None:
    now = at.round(LABELLED)
    known = shortlist(now, 5, 40, stream(0, "known"))
    found = found_at(at, now, known, 60)
    assert 20 < len(found.ids) <= 60 and (np.diff(found.ids) > 0).all()
    assert now.candidates.has(found.ids).all() and not np.isin(found.ids, known).any()
    assert len(set(found.starts.tolist())) <= 12, "one in five is a start"
    assert now.candidates.has(found.starts).all()
    assert now.meter.evaluations == 0, "it asks the classifier nothing"


def test_each_distance_is_that_to_the_point_that_its_start_reached(at: Setting) -> None:
    now = at.round(LABELLED)
    known = shortlist(now, 5, 80, stream(0, "known"))
    found = found_at(at, now, known, 200)
    features = now.features(known)
    linear = LinearLogits.fitted(features, now.predict(known))
    step = 0.1 * typical_distance(features)
    for image, start, distance in zip(found.ids, found.starts, found.distances, strict=True):
        point = ascended(now.features(as_ids([start])).astype(np.float64), linear, margin_of_logits, step)
        assert np.linalg.norm(point - now.features(as_ids([image]))) == pytest.approx(distance, rel=1e-3, abs=1e-4)


def chosen_by(at: Setting, n: int = 6, **options: Any) -> tuple[Round, Selection]:
    now = at.round(LABELLED)
    return now, strategies["asal"].make(now, n, stream(0, "asal"), **options)


def test_it_evaluates_each_image_once_and_at_most_size(at: Setting) -> None:
    for batch in ("spread", "top"):
        now, _ = chosen_by(at, size=120, share=0.5, batch=batch)
        assert 60 < now.meter.evaluations <= 120 and now.meter.generated == 0


def test_the_highest_are_taken_where_the_batch_is_not_spread(at: Setting) -> None:
    now, chosen = chosen_by(at, n=8, size=100, share=0.4, batch="top", score="entropy")
    np.testing.assert_allclose(chosen.scores, scores["entropy"].make(now.predict(chosen.ids)), atol=1e-5)
    drawn = now.candidates.sample(100, stream(0, "asal"))[:60]
    best = np.sort(scores["entropy"].make(now.predict(drawn)))[::-1][:8]
    assert (chosen.scores >= best - 1e-5).all() and chosen.scores.sum() > best.sum(), "the search adds higher ones"


@pytest.mark.parametrize("share", [0.2, 0.7])
def test_a_share_of_the_evaluations_is_of_the_search(share: float) -> None:
    now = overlapping()
    chosen = strategies["asal"].make(now, 10, stream(0, "asal"), size=400, share=share)
    random = now.candidates.sample(400, stream(0, "asal"))[: round(400 * (1 - share))]
    found = search_by_gradient(now, np.sort(random), now.model.predict(now.inputs(np.sort(random))), round(400 * share),
                               stream_after(400))  # fmt: skip
    assert now.meter.evaluations == len(random) + len(found.ids)
    assert set(chosen.ids.tolist()) <= {*random.tolist(), *found.ids.tolist()}


def stream_after(drawn: int) -> np.random.Generator:
    """Return the strategy's stream once it has drawn its random images."""
    rng = stream(0, "asal")
    overlapping().candidates.sample(drawn, rng)
    return rng


@pytest.mark.parametrize("batch", ["spread", "top"])
def test_where_random_images_are_uncertain_enough_the_picks_are_those_without_a_search(batch: str) -> None:
    now, plain = overlapping(), overlapping()
    chosen = strategies["asal"].make(now, 10, stream(0, "asal"), size=300, batch=batch)
    same = strategies["subset"].make(plain, 10, stream(0, "asal"), size=300, batch=batch, score="margin")
    assert chosen.ids.tolist() == same.ids.tolist()
    np.testing.assert_allclose(chosen.scores, same.scores, rtol=1e-4, atol=1e-5)
    assert now.meter.evaluations == plain.meter.evaluations == 300
    assert {note["source"] for note in chosen.notes} == {"random"}


def test_it_searches_as_soon_as_fewer_than_a_batch_of_the_random_half_are_uncertain() -> None:
    now = overlapping()
    half = now.candidates.sample(200, stream(0, "asal"))[:100]
    ranked = np.sort(now.model.predict(now.inputs(half)), axis=1)
    uncertain = int((ranked[:, -1] - ranked[:, -2] < 0.5).sum())
    assert 5 < uncertain < 60

    def evaluated(n: int) -> int:
        fresh = overlapping()
        strategies["asal"].make(fresh, n, stream(0, "asal"), size=200)
        return fresh.meter.evaluations

    assert evaluated(uncertain) == 200, "all of them random"
    sources = strategies["asal"].make(now, uncertain + 1, stream(0, "asal"), size=200).notes
    assert "search" in {note["source"] for note in sources}


def test_where_a_batch_is_large_random_images_are_enough_to_fill_it(at: Setting) -> None:
    for n in (90, 294):
        _, chosen = chosen_by(at, n=n, size=10)
        assert len(set(chosen.ids.tolist())) == n


class Table:
    """Images that are their features: a pool, its stored vectors, and its index, by brute force."""

    fingerprint, shape = "table", (1, 1, 1)

    def __init__(self, rows: Features) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def read(self, ids: Ids) -> Features:
        return self.rows[ids]

    def search(self, queries: Features, k: int, *, without: Ids) -> Neighbours:
        gaps = np.linalg.norm(queries[:, None] - self.rows[None], axis=2)
        gaps[:, without] = np.inf
        ids = np.argsort(gaps, axis=1, kind="stable")[:, : min(k, len(self.rows) - len(without))]
        return Neighbours(ids, np.take_along_axis(gaps, ids, axis=1))


def overlapping(classes: int = 3) -> Round:
    """Return a round over 2,000 images of classes that overlap, with a head that was fitted to thirty of them."""
    features, _ = problem(images=2000, classes=classes)
    table, labels = Table(features), np.arange(30) % classes
    model = Head(l2=1e-2).fit(features[:30], labels, classes, stream(0, "head"))
    tools: Any = SimpleNamespace(vectors=table, index=table)
    pool: Any = table
    return Round(1, pool, np.arange(30), labels, model, tools, reader=table)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_what_it_finds_is_more_uncertain_than_random_images(name: str) -> None:
    now = overlapping()
    known = shortlist(now, 5, 200, stream(0, "known"))
    found = search_by_gradient(now, known, now.predict(known), 200, stream(0, "search"), OBJECTIVES[name])
    random, searched = (scores[name].make(now.predict(ids)) for ids in (known, found.ids))
    assert searched.mean() > random.mean() + 2 * random.std() / len(random) ** 0.5
    assert np.median(searched) > np.quantile(random, 0.6)


def test_notes_say_where_each_pick_came_from() -> None:
    now = overlapping()
    chosen = strategies["asal"].make(now, 20, stream(0, "asal"), size=200, share=0.5)
    drawn = now.candidates.sample(200, stream(0, "asal"))[:100]
    assert {note["source"] for note in chosen.notes} == {"random", "search"}
    for image, note in zip(chosen.ids.tolist(), chosen.notes, strict=True):
        assert {"score", "class_weight", "gain", "labelled_distance"} <= set(note)
        assert (note["source"] == "random") == (image in drawn)
        assert ({"start", "distance"} <= set(note)) == (note["source"] == "search")
    assert len(json.dumps(list(chosen.notes))) < 250 * 20


def test_with_a_generator_random_images_are_in_the_choice_where_the_batch_is_spread() -> None:
    with setting(strategies["asal"], images=300) as made:
        now = made.round(as_ids(range(12)))
        options = {"search": "generator", "batch": "spread", "size": 120, "steps": 3, "raw_samples": 1}
        chosen = strategies["asal"].make(now, 40, stream(0, "asal"), **options)
    assert {note["source"] for note in chosen.notes} == {"random", "generator"}
    assert all(("latent" in note) == (note["source"] == "generator") for note in chosen.notes)
    assert now.meter.generated > 0


def test_what_is_needed_depends_on_the_search() -> None:
    part = strategies["asal"]
    assert needs_of(part, {}) == needs_of(part, {"search": "climb"}) == {"features", "index"}
    with_generator = {"generator", "features", "index", "gradient"}
    assert needs_of(part, {"search": "generator"}) == needs_of(part, {"paper": True}) == with_generator
    assert needs_of(part, {"score": "learned-loss"}) == {"features", "index", "loss"}


def test_defaults_depend_on_the_paper_and_the_search() -> None:
    ours, paper = strategies["asal"].options({}), strategies["asal"].options({"paper": True})
    assert (ours["search"], ours["score"], ours["batch"]) == ("climb", "margin", "spread")
    assert (paper["search"], paper["score"], paper["batch"], paper["candidates"]) == ("generator", "entropy", "top", 1)
    assert strategies["asal"].options({"search": "generator"})["batch"] == "top"
    assert strategies["asal"].options({"paper": True, "score": "margin"})["score"] == "margin", "what is given holds"
    assert None not in ours.values() and None not in paper.values()
    assert completed(ours) == ours, "once is enough"


PLAIN: dict[str, Any] = {"name": "toy", "source": {"kind": "digits"}}
PIXELS: dict[str, Any] = {"features": {"pixels": {}}}


def test_a_spec_is_refused_where_the_search_lacks_something() -> None:
    table = {"strategies": {"asal": {}}}
    with pytest.raises(UserError, match="needs a feature space"):
        check(parse({**PLAIN, **table}))
    for learner in ({"kind": "linear"}, {"kind": "head", "features": "pixels"}):
        check(parse({**PLAIN, **PIXELS, **table, "learner": learner}))
    for options in ({"search": "generator"}, {"paper": True}):
        with pytest.raises(UserError, match="needs a generator"):
            check(parse({**PLAIN, **PIXELS, "strategies": {"asal": options}}))
    with pytest.raises(UserError, match="search"):
        check(parse({**PLAIN, **PIXELS, "strategies": {"asal": {"search": "descend"}}}))
