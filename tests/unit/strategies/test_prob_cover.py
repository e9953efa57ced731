"""ProbCover against sets of numbers and the picks of others, its radius by its definition; TCM's two phases."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from support.golden_picks import BALLS, CLASSES, IMAGES, KNOWN, MANY, PICKS, RADIUS, SEEDS, far_apart, pool
from support.pools_of_numbers import Numbers, picked, softmax

from asal.core import NO_IDS, Round
from asal.runtime.rng import stream
from asal.strategies import batch_rules, coverage
from asal.strategies.coverage import unit
from asal.strategies.prob_cover import pure_radius
from asal.strategies.typiclust import k_means

HERE = Path(__file__).parent
PEERS = json.loads((HERE / "golden_picks.json").read_text())
AUTHORS = json.loads((HERE / "golden_picks_of_authors.json").read_text())["picks"]["prob-cover"]


def world(seed: int, known: int, images: int = IMAGES) -> Round:
    features, ids, logits = pool(seed, known, images)
    return Numbers(softmax(logits), features.astype(np.float32)).round(ids, logits[ids].argmax(axis=1))


def balls(now: Round, radius: float) -> list[set[int]]:
    points = unit(now.features(np.arange(len(now.pool))))
    apart = np.linalg.norm(points[:, None] - points, axis=2)
    return [set(np.flatnonzero(row < radius).tolist()) for row in apart]


def cover_by_sets(now: Round, n: int, radius: float) -> tuple[list[int], list[int]]:
    """Choose as the paper's algorithm 1 says, with sets; only picks that cover something."""
    around, known, picks, news = balls(now, radius), now.labelled.tolist(), list[int](), list[int]()
    covered = {j for i in known for j in around[i]}
    while len(picks) < n:
        new = [-1 if c in known or c in picks else len(around[c] - covered) for c in range(len(around))]
        if max(new) <= 0:
            break
        picks.append(new.index(max(new)))
        news.append(max(new))
        covered |= around[picks[-1]]
    return picks, news


@pytest.mark.parametrize("known", [0, KNOWN])
@pytest.mark.parametrize("seed", SEEDS)
def test_prob_cover_picks_as_sets_do_and_as_its_authors_do(seed: int, known: int) -> None:
    now = world(seed, known)
    chosen = picked("prob-cover", now, PICKS, radius=0.4)
    picks, news = cover_by_sets(now, PICKS, 0.4)
    assert chosen.ids[: len(picks)].tolist() == picks == AUTHORS[f"{seed} {known}"][: len(picks)]
    assert chosen.scores.tolist() == news + [0] * (PICKS - len(news))


@pytest.mark.parametrize("case", PEERS["picks"]["prob-cover"])
def test_prob_cover_picks_as_scikit_activeml_does_until_several_cover_equally_many(case: str) -> None:
    seed, known = map(int, case.split())
    golden = PEERS["picks"]["prob-cover"][case]
    chosen = picked("prob-cover", world(seed, known, MANY), PICKS, radius=RADIUS)
    assert len(golden) >= 3
    assert chosen.ids[: len(golden)].tolist() == golden


def test_a_large_pool_is_not_laid_out_and_its_picks_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    now = world(SEEDS[0], KNOWN, 300)
    before = picked("prob-cover", now, 30, radius=0.3)
    monkeypatch.setattr(batch_rules, "KEPT", 0)
    monkeypatch.setattr(batch_rules, "STRIP", 70)
    monkeypatch.setattr(coverage, "TILE", (64, 96))
    after = picked("prob-cover", now, 30, radius=0.3)
    assert (before.ids.tolist(), before.scores.tolist()) == (after.ids.tolist(), after.scores.tolist())


@pytest.mark.parametrize("seed", BALLS)
def test_the_radius_is_the_largest_that_is_pure_enough(seed: int) -> None:
    points = far_apart(seed)
    groups = np.arange(MANY) % CLASSES
    found = pure_radius(points, CLASSES, 0.95)
    apart = np.linalg.norm(points[:, None] - points, axis=2)
    apart[groups[:, None] == groups] = np.inf

    def purity(radius: float) -> float:
        return float((apart.min(axis=1) >= radius).mean())

    assert purity(found * (1 - 1e-9)) >= 0.95 > purity(found * (1 + 1e-9))
    assert PEERS["radii"][str(seed)] <= found <= PEERS["radii"][str(seed)] + 0.001, "scikit-activeml tries a grid"


def test_the_radius_of_one_picture_is_the_largest_there_is() -> None:
    assert pure_radius(np.tile([[0.6, 0.8]], (30, 1)), 10, 0.95) == 2.0


def test_the_radius_is_the_same_in_every_round() -> None:
    now = world(BALLS[0], KNOWN, MANY)
    first = picked("prob-cover", now, 5)
    later = replace(now, labelled=np.concatenate([now.labelled, first.ids]), labels=np.zeros(KNOWN + 5, np.int64))
    assert (
        picked(
            "prob-cover",
            later,
            5,
        ).notes[0]["radius"]
        == first.notes[0]["radius"]
    )
    assert picked("prob-cover", now, 5, clusters=30).notes[0]["radius"] < first.notes[0]["radius"]


def test_once_all_is_covered_images_are_drawn_at_random() -> None:
    now = world(SEEDS[0], KNOWN)
    drawn = [picked("prob-cover", now, 5, seed, radius=2.0) for seed in (0, 1)]
    assert drawn[0].scores.tolist() == [0] * 5 and set(drawn[0].ids.tolist()) != set(drawn[1].ids.tolist())


def test_k_means_finds_groups_that_are_far_apart() -> None:
    groups = k_means(far_apart(BALLS[0]).astype(np.float32), CLASSES, stream(0, "groups"))
    pairs = {(int(a), int(b)) for a, b in zip(groups, np.arange(MANY) % CLASSES, strict=True)}
    assert len(pairs) == CLASSES


# TCM ----------------------------------------------------------------------------------------------------------------


def test_tcm_takes_typical_images_first_and_the_smallest_margins_later() -> None:
    now = world(SEEDS[0], 8)
    typical = picked("typiclust", now, 5)
    smallest = picked("uncertainty", now, 5, score="margin")
    assert picked("tcm", now, 5).ids.tolist() == typical.ids.tolist(), "8 labels are fewer than 20 for each class"
    assert picked("tcm", now, 5, per_class=3).ids.tolist() == typical.ids.tolist()
    eight = replace(now, labelled=np.arange(9), labels=np.arange(9) % 2)
    after = picked("tcm", eight, 5, per_class=3)
    assert after.ids.tolist() == picked("uncertainty", eight, 5, score="margin").ids.tolist()
    assert picked("tcm", now, 5, per_class=0).ids.tolist() == smallest.ids.tolist() != typical.ids.tolist()


def test_a_first_batch_of_tcm_asks_no_classifier_and_the_first_phase_one_image() -> None:
    now = world(SEEDS[0], 0)
    nobody: Any = SimpleNamespace(reads="features")
    first = picked("tcm", replace(now, model=nobody), 5)
    assert first.ids.tolist() == picked("typiclust", now, 5).ids.tolist()
    assert now.meter.evaluations == 0 and len(now.labelled) == len(NO_IDS)
    later = world(SEEDS[0], KNOWN)
    picked("tcm", later, 5)
    assert later.meter.evaluations == 1


def test_tcm_asks_no_classifier_while_all_labels_are_of_one_class() -> None:
    now = replace(world(SEEDS[0], 8), labels=np.zeros(8, np.int64))
    nobody: Any = SimpleNamespace(reads="features")
    chosen = picked("tcm", replace(now, model=nobody), 5)
    assert chosen.ids.tolist() == picked("typiclust", now, 5).ids.tolist(), "none can be trained yet"
