"""Baselines from 2021 on against something independent: brute force, a formula, or picks of another library."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.scikit_activeml_picks import committee_case, dropout_case

from asal.core import Candidates, Round
from asal.models.learners import dropout
from asal.models.learners.cnn import Cnn
from asal.models.learners.head import Head
from asal.registry import Part
from asal.runtime.rng import stream
from asal.strategies import bald, strategies
from asal.strategies.anchoral import anchors_of, subpool
from asal.strategies.bald import mutual_information
from asal.strategies.cluster_margin import average_linkage, clusters_of, in_turns
from asal.strategies.dropquery import candidates, central, centred_unit
from asal.testing.learner import CLASSES, toy_set
from asal.testing.rounds import Setting, setting
from asal.testing.strategy import LABELLED, choose

Array = Any
RNG = st.integers(0, 2**32 - 1).map(np.random.default_rng)

# Printed by tests/support/scikit_activeml_picks.py, which says when and with what.
PICKS_OF_DROPQUERY = {1: [17, 61, 85, 104, 114, 130, 203, 210], 2: [51, 91, 135, 166, 178, 186, 187, 298]}
PICKS_OF_BALD = {
    1: {37: 0.475538, 17: 0.472297, 24: 0.450285, 8: 0.444658, 11: 0.419512, 33: 0.415439},
    2: {4: 0.490664, 17: 0.439395, 31: 0.381217, 7: 0.376109, 36: 0.373367, 2: 0.37201},
    3: {18: 0.497331, 31: 0.470286, 17: 0.442106, 39: 0.402732, 30: 0.374277, 37: 0.374063},
}


def bound(name: str, **options: Any) -> Part:
    return replace(strategies[name], make=strategies[name].bind(options))


@pytest.fixture(scope="module")
def at() -> Iterator[Setting]:
    with setting(strategies["anchoral"]) as made:
        yield made


# Dropout ------------------------------------------------------------------------------------------------------------


def softmax(logits: Array) -> Array:
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def by_hand(model: Any, inputs: Array, times: int, rate: float, rng: np.random.Generator) -> Array:
    """Drop inputs of the last layer one image after the other, and multiply in float64."""
    weights, biases = model.head()
    probs = []
    for hidden in model.embed(inputs).astype(np.float64):
        kept = rng.random((times, len(hidden)), dtype=np.float32) >= np.float32(rate)
        probs.append(softmax((hidden * kept / (1 - rate)) @ weights.T.astype(np.float64) + biases))
    return np.swapaxes(probs, 0, 1)


@pytest.mark.parametrize(
    "learner", [Cnn(steps=20, width=4, hidden=12), Head(), Head(hidden=9, steps=30)], ids=["cnn", "head", "hidden"]
)
def test_dropout_is_that_of_the_last_layers_inputs(learner: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dropout, "DRAWN", 12_000)  # a few hundred images to a block
    images, labels = toy_set(200)
    images = np.resize(images, (700, 8, 8, 1))
    inputs = images if isinstance(learner, Cnn) else images.reshape(700, -1).astype(np.float32) / 255
    model = learner.fit(inputs[:60], labels[:60], CLASSES, stream(0))
    found = model.predict_with_dropout(inputs, 4, 0.3, stream(5))
    np.testing.assert_allclose(found, by_hand(model, inputs, 4, 0.3, stream(5)), atol=1e-5)


# DropQuery ----------------------------------------------------------------------------------------------------------


def test_dropquery_takes_the_nearest_to_the_mean_of_each_group_that_changes_its_class() -> None:
    """Six groups far from each other; k-means finds them whatever it starts from, so brute force can say the picks."""
    rng = stream(3, "groups")
    groups = np.repeat(np.arange(6), 40)
    points = (20 * np.eye(6)[groups] + rng.normal(size=(240, 6))).astype(np.float32)
    centred = points - points.mean(axis=0, dtype=np.float64)
    centred /= np.linalg.norm(centred, axis=1)[:, None]
    picks = set()
    for group in range(6):
        rows = np.flatnonzero(groups == group)
        gaps = np.linalg.norm(centred[rows] - centred[rows].mean(axis=0), axis=1)
        picks.add(int(rows[gaps.argmin()]))
    assert set(central(points, 6, seed=0).tolist()) == picks
    assert np.allclose(centred_unit(points), centred)


@pytest.mark.parametrize(
    ("counts", "n", "least"),
    [
        ([100, 0, 30, 0], 1, 2),  # 30 of more than half suffice
        ([100, 9, 30, 30], 1, 2),  # and more than half is two of three
        ([100, 20, 4, 0], 1, 1),  # 4 do not: one difference is enough
        ([100, 3, 2, 1], 4, 1),
        ([100, 0, 0, 0], 2, 1),
    ],
)
def test_dropquery_lowers_its_threshold_where_few_images_change_their_class(
    counts: list[int], n: int, least: int
) -> None:
    differing = np.repeat(np.arange(4), counts)
    assert candidates(differing, 3, n).tolist() == np.flatnonzero(differing >= least).tolist()


def test_dropquery_counts_against_the_prediction_without_dropout(at: Setting) -> None:
    now = at.round(LABELLED)
    chosen = choose(bound("dropquery", rate=0.9, times=5), now, 4, "drop")
    rng, ids = stream(0, "check", "drop"), np.setdiff1d(np.arange(60), LABELLED)
    drawn = now.candidates.sample(len(ids), rng)  # as the strategy draws, although here it takes all
    assert sorted(drawn.tolist()) == ids.tolist()
    inputs = at.pool.read(ids)
    plain = now.model.predict(inputs).argmax(axis=1)
    changed = by_hand(now.model, inputs, 5, 0.9, rng).argmax(axis=2) != plain
    shares = dict(zip(ids.tolist(), changed.mean(axis=0), strict=True))
    assert 0 < np.mean(list(shares.values())) < 1
    assert chosen.scores.tolist() == pytest.approx([shares[image] for image in chosen.ids.tolist()])
    assert (chosen.scores > 0).all(), "an image that never changed its class is picked, and others did"


def test_dropquery_asks_about_random_images_where_no_class_changes(at: Setting) -> None:
    now = at.round(LABELLED)
    found = {tuple(choose(bound("dropquery", rate=1e-6), now, 3, seed).ids.tolist()) for seed in range(12)}
    assert len(found) > 9


@pytest.mark.parametrize(("case", "picks"), PICKS_OF_DROPQUERY.items())
def test_dropquery_picks_what_scikit_activeml_picks(case: int, picks: list[int]) -> None:
    points, plain, dropped = dropout_case(case)
    rows = candidates((dropped != plain).sum(axis=0), 3, len(picks))
    assert sorted(rows[central(points[rows], len(picks), seed=case)].tolist()) == picks


# BALD ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("case", "picks"), PICKS_OF_BALD.items())
def test_bald_picks_what_scikit_activeml_picks(case: int, picks: dict[int, float]) -> None:
    found = mutual_information(committee_case(case))
    assert np.argsort(-found)[: len(picks)].tolist() == list(picks)
    np.testing.assert_allclose(found[list(picks)], list(picks.values()), atol=2e-6)


def test_bald_is_the_mutual_information_of_the_class_and_the_draw() -> None:
    """Σ p(t, c) log p(t, c) / (p(t) p(c)), where each of T draws is as likely."""
    probs = committee_case(9)
    joint = probs / len(probs)
    apart = joint.sum(axis=2, keepdims=True) * joint.sum(axis=0, keepdims=True)
    np.testing.assert_allclose(mutual_information(probs), (joint * np.log(joint / apart)).sum(axis=(0, 2)), atol=1e-12)


@settings(max_examples=30, deadline=None)
@given(RNG, st.integers(2, 6), st.integers(2, 9))
def test_bald_lies_between_nothing_and_the_logarithm_of_the_classes(rng: Any, classes: int, times: int) -> None:
    probs = rng.dirichlet(np.full(classes, 0.05), size=(times, 20))
    found = mutual_information(probs)
    assert (found >= 0).all() and (found <= np.log(min(classes, times)) + 1e-9).all()
    assert mutual_information(np.repeat(probs[:1], times, axis=0)).max() < 1e-12, "draws that agree tell nothing"


def test_bald_takes_the_highest_of_all_blocks(at: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bald, "BLOCK", 7)
    now = at.round(LABELLED)
    chosen = choose(bound("bald", times=6, rate=0.3), now, 5, "bald")
    rng, ids = stream(0, "check", "bald"), np.setdiff1d(np.arange(60), LABELLED)
    now.candidates.sample(len(ids), rng)  # as the strategy draws, although here it takes all
    found = mutual_information(by_hand(now.model, at.pool.read(ids), 6, 0.3, rng))
    assert chosen.ids.tolist() == ids[np.argsort(-found)[:5]].tolist()
    np.testing.assert_allclose(chosen.scores, np.sort(found)[::-1][:5], atol=1e-5)


# Cluster-Margin -----------------------------------------------------------------------------------------------------


def brute_average_linkage(points: Array, clusters: int) -> list[set[int]]:
    """Join the two clusters of the least mean distance between their members, all pairs tried each time."""
    gaps = np.linalg.norm(points[:, None] - points[None], axis=2)
    groups = [{row} for row in range(len(points))]
    while len(groups) > clusters:
        pairs = [(a, b) for a in range(len(groups)) for b in range(a)]
        a, b = min(pairs, key=lambda pair: gaps[np.ix_(list(groups[pair[0]]), list(groups[pair[1]]))].mean())
        groups[b] |= groups[a]
        del groups[a]
    return groups


@settings(max_examples=20, deadline=None)
@given(RNG, st.integers(1, 12))
def test_clusters_are_those_of_average_linkage(rng: Any, clusters: int) -> None:
    points = (rng.normal(size=(25, 3)) + 50).astype(np.float32)
    found = average_linkage(points, clusters)
    groups = [set(np.flatnonzero(found == group).tolist()) for group in np.unique(found)]
    assert sorted(map(sorted, groups)) == sorted(
        map(sorted, brute_average_linkage(points.astype(np.float64), clusters))
    )


@settings(max_examples=40, deadline=None)
@given(RNG, st.integers(1, 30))
def test_clusters_take_turns_from_the_smallest_on(rng: Any, n: int) -> None:
    """After any number of picks, a cluster has as many as a smaller one or one fewer, unless it is used up."""
    groups = rng.integers(6, size=30)
    rows = in_turns(groups, n, rng)
    assert len(set(rows.tolist())) == n
    sizes = np.bincount(groups, minlength=6)
    for taken in range(1, n + 1):
        picks = np.bincount(groups[rows[:taken]], minlength=6)
        for small in range(6):
            for large in np.flatnonzero(sizes > sizes[small]):
                assert picks[large] <= picks[small] or picks[small] == sizes[small]
                assert picks[small] <= picks[large] + 1


def test_within_a_cluster_picks_are_random() -> None:
    firsts = {int(in_turns(np.zeros(9, np.int64), 1, stream(seed))[0]) for seed in range(60)}
    assert firsts == set(range(9))


def test_cluster_margin_takes_turns_among_the_smallest_margins(at: Setting) -> None:
    now = at.round(LABELLED)
    chosen = choose(bound("cluster-margin", times=3, sample=60, clusters=5), now, 4)
    rest = np.setdiff1d(np.arange(60), LABELLED)
    top = np.sort(now.model.predict(at.pool.read(rest)), axis=1)
    margins = top[:, -1] - top[:, -2]
    twelve = rest[np.argsort(margins, kind="stable")[:12]]
    assert set(chosen.ids.tolist()) <= set(twelve.tolist())
    groups = brute_average_linkage(at.tools.vectors.read(np.arange(60)).astype(np.float64), 5)
    group_of = {row: number for number, group in enumerate(groups) for row in group}
    sizes = np.bincount([group_of[image] for image in twelve.tolist()], minlength=5)
    found = [group_of[image] for image in chosen.ids.tolist()]
    turns = sorted((turn, sizes[group], group) for group in range(5) for turn in range(sizes[group]))
    assert [sizes[group] for group in found] == [size for _, size, _ in turns[:4]]
    assert len(set(found)) == min(4, int((sizes > 0).sum())), "a cluster has a second turn before others have one"


def test_an_image_outside_the_sample_belongs_to_the_cluster_of_the_nearest_of_it(at: Setting) -> None:
    now, everything = at.round(LABELLED), np.arange(60)
    vectors = at.tools.vectors.read(everything)
    known = np.sort(Candidates(60).sample(20, stream(0, "cluster-margin")))
    groups = average_linkage(vectors[known], 6)
    gaps = np.linalg.norm(vectors[:, None] - vectors[None, known], axis=2)
    assert clusters_of(now, everything, 20, 6).tolist() == groups[gaps.argmin(axis=1)].tolist()


# AnchorAL -----------------------------------------------------------------------------------------------------------


def most_alike(now: Round, at: Setting, anchors: Array, neighbours: int, size: int) -> list[int]:
    """Find each anchor's neighbours by sorting all distances, and sort what was found by the mean of squares."""
    vectors = at.tools.vectors.read(np.arange(60)).astype(np.float64)
    rest = [image for image in range(60) if image not in now.labelled and image not in now.skipped]
    found: dict[int, list[float]] = {}
    for anchor in anchors:
        squares = {image: float(((vectors[image] - vectors[anchor]) ** 2).sum()) for image in rest}
        for image in sorted(rest, key=lambda image: squares[image])[:neighbours]:
            found.setdefault(image, []).append(squares[image])
    return sorted(sorted(found, key=lambda image: float(np.mean(found[image])))[:size])


@pytest.mark.parametrize(("neighbours", "size"), [(3, 50), (8, 10), (20, 30)])
def test_anchoral_scores_what_is_most_like_its_anchors(at: Setting, neighbours: int, size: int) -> None:
    now = at.round(np.arange(12), skipped=np.array([20, 21, 40]))
    expected = most_alike(now, at, range(12), neighbours, size)
    found = subpool(now, at.tools.vectors.read(np.arange(12)), size, 4, neighbours)
    assert found.tolist() == expected
    chosen = choose(bound("anchoral", neighbours=neighbours, size=size), now, 4)  # no class has more than ten labels
    top = np.sort(now.model.predict(at.pool.read(found)), axis=1)
    order = np.lexsort((found, top[:, -1] - top[:, -2]))
    assert chosen.ids.tolist() == found[order][:4].tolist()


def test_anchoral_widens_neighbourhoods_that_hold_fewer_than_a_batch(at: Setting) -> None:
    now = at.round(LABELLED)
    anchor = at.tools.vectors.read(np.array([0]))
    assert len(subpool(now, anchor, 10, 1, 3)) == 3
    assert subpool(now, anchor, 10, 5, 3).tolist() == most_alike(now, at, [0], 12, 10)


def test_anchors_are_labelled_images_of_every_class_and_of_all_its_parts() -> None:
    rng = stream(0, "anchors")
    parts = np.repeat(np.arange(6), 30)  # two classes of three parts far from each other
    points = (100 * np.eye(6)[parts] + rng.normal(size=(180, 6))).astype(np.float32)
    rows = anchors_of(points, parts // 3, 3, rng)
    assert sorted(parts[rows].tolist()) == [0, 1, 2, 3, 4, 5], "an anchor in each part"
    assert anchors_of(points[:3], np.array([0, 0, 1]), 5, rng).tolist() == [0, 1, 2], "all, where there are few"
    alike = anchors_of(np.ones((40, 2), np.float32), np.zeros(40, np.int64), 4, rng)
    assert len(alike) == len(set(alike.tolist())) >= 1


def test_on_vectors_of_unit_length_anchoral_follows_the_mean_cosine() -> None:
    """The authors' order: (1 − mean cosine distance) over the anchors that found an image."""
    rng = stream(1, "cosines")
    vectors = rng.normal(size=(9, 4))
    vectors /= np.linalg.norm(vectors, axis=1)[:, None]
    squares = ((vectors[:3, None] - vectors[None]) ** 2).sum(axis=2).mean(axis=0)
    cosines = (vectors[:3] @ vectors.T).mean(axis=0)
    assert np.argsort(squares).tolist() == np.argsort(-cosines).tolist()
