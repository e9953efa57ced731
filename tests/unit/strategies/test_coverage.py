"""MaxHerding and Uncertainty Herding: against loops over numbers, another library's picks and the authors' own."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.golden_picks import CLASSES, IMAGES, KNOWN, PICKS, SEEDS, pool
from support.pools_of_numbers import Numbers, picked, softmax

from asal.core import Candidates, Features, Labels, Probs, Round
from asal.errors import UserError
from asal.models.learners.head import Head
from asal.runtime.rng import stream
from asal.strategies import batch_rules, coverage
from asal.strategies.coverage import smallest_distance, unit, upper_gains
from asal.strategies.uherding import TEMPERATURES, calibrated, calibration_error, tempered

HERE = Path(__file__).parent
PEERS = json.loads((HERE / "golden_picks.json").read_text())["picks"]
AUTHORS = json.loads((HERE / "golden_picks_of_authors.json").read_text())


def world(seed: int, known: int) -> Round:
    features, ids, logits = pool(seed, known)
    return Numbers(softmax(logits), features.astype(np.float32)).round(ids, logits[ids].argmax(axis=1))


def greedy(
    features: Any, known: list[int], wanted: list[float], n: int, radius: float
) -> tuple[list[int], list[float]]:
    """Choose as the papers' algorithms say, one pair of images after the other."""
    rows = [[float(x) for x in row] for row in features]
    lengths = [math.sqrt(sum(x * x for x in row)) for row in rows]
    rows = [[x / length for x in row] for row, length in zip(rows, lengths, strict=True)]

    def k(a: int, b: int) -> float:
        return math.exp(-sum((x - y) ** 2 for x, y in zip(rows[a], rows[b], strict=True)) / radius**2)

    everything, picks, gains = range(len(rows)), list[int](), list[float]()
    cover = [max((k(i, j) for i in known), default=0.0) for j in everything]
    for _ in range(n):
        gain = {
            c: sum(wanted[j] * max(0.0, k(c, j) - cover[j]) for j in everything)
            for c in everything
            if c not in known and c not in picks
        }
        best = max(gain, key=lambda c: gain[c])
        picks.append(best)
        gains.append(gain[best])
        cover = [max(cover[j], k(best, j)) for j in everything]
    return picks, gains


@pytest.mark.parametrize("known", [0, KNOWN])
@pytest.mark.parametrize("seed", SEEDS)
def test_max_herding_picks_as_loops_do_as_scikit_activeml_does_and_as_its_authors_do(seed: int, known: int) -> None:
    now = world(seed, known)
    chosen = picked("max-herding", now, PICKS)
    picks, gains = greedy(pool(seed, known)[0], now.labelled.tolist(), [1.0] * IMAGES, PICKS, 1.0)
    assert chosen.ids.tolist() == picks == PEERS["max-herding"][f"{seed} {known}"]
    assert picks == AUTHORS["picks"]["max-herding"][f"{seed} {known}"]
    np.testing.assert_allclose(chosen.scores, gains, rtol=1e-9)


@pytest.mark.parametrize("case", AUTHORS["picks"]["uherding"])
def test_uncertainty_herding_picks_as_loops_do_and_as_its_authors_do(case: str) -> None:
    seed, known, temperature, width = case.split()
    if not int(known):
        return  # without labels the authors weigh all alike, and that is `max-herding`
    now = world(int(seed), int(known))
    options = {"temperature": float(temperature), "width": width if width == "auto" else float(width)}
    chosen = picked("uherding", now, PICKS, **options)
    radius = AUTHORS["widths"][f"{seed} {known}"] if width == "auto" else float(width)
    two = np.sort(softmax(pool(int(seed))[2] / float(temperature)), axis=1)
    u = 1 - (two[:, -1] - two[:, -2])
    u[now.labelled] = 0
    picks, gains = greedy(pool(int(seed))[0], now.labelled.tolist(), u.tolist(), PICKS, radius)
    assert chosen.ids.tolist() == picks == AUTHORS["picks"]["uherding"][case]
    np.testing.assert_allclose(chosen.scores, gains, rtol=1e-5)
    assert chosen.notes[0]["width"] == pytest.approx(radius, rel=1e-5)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_temperature_of_the_smallest_calibration_error_is_the_authors(seed: int) -> None:
    logits, draw = pool(seed)[2], np.random.RandomState(seed)
    labels = draw.randint(CLASSES, size=IMAGES)
    labels = np.where(np.random.RandomState(seed).rand(IMAGES) < 0.6, logits.argmax(axis=1), labels)
    errors = [calibration_error(softmax(logits * 3 / t), labels) for t in TEMPERATURES]
    assert TEMPERATURES[int(np.argmin(errors))] == pytest.approx(AUTHORS["temperatures"][str(seed)])
    np.testing.assert_allclose(tempered(softmax(logits * 3), 4.0), softmax(logits * 0.75), rtol=1e-9)


class Overconfident:
    """Stands in for a head: its logits are four times the true ones, which are the features."""

    def __init__(self, fitted: list[Features]) -> None:
        self.fitted = fitted

    def fit(self, inputs: Features, labels: Labels, classes: int, rng: np.random.Generator) -> Overconfident:
        self.fitted.append(inputs)
        return self

    def predict(self, inputs: Features) -> Probs:
        self.fitted.append(inputs)
        return softmax(4.0 * inputs.astype(np.float64))


def test_the_temperature_undoes_what_a_classifier_of_most_labels_claims_too_much(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    draw = np.random.default_rng(0)
    features = draw.normal(size=(2000, 3)).astype(np.float32)
    labels = np.array([draw.choice(3, p=p) for p in softmax(features.astype(np.float64))])
    now = Numbers(np.full((2000, 3), 1 / 3), features).round(np.arange(2000), labels)
    seen: list[Features] = []
    monkeypatch.setattr("asal.models.learners.head.Head", lambda: Overconfident(seen))
    assert 3 < calibrated(now, 3, stream(0, "heat")) < 5
    fitted, held_out = ({tuple(row) for row in rows.tolist()} for rows in seen)
    assert (len(fitted), len(held_out), len(fitted & held_out)) == (1400, 600, 0)
    turned = replace(now, labelled=now.labelled[::-1].copy(), labels=now.labels[::-1].copy())
    seen.clear()
    calibrated(turned, 3, stream(0, "heat"))
    assert {tuple(row) for row in seen[1].tolist()} == held_out, "whatever the order of the labels"


@pytest.mark.parametrize(("known", "labels"), [([0, 1, 2], [0, 1, 0]), ([0, 1, 2, 3, 4], [1, 1, 1, 1, 1])])
def test_few_labels_or_those_of_one_class_leave_the_probabilities_as_they_are(
    known: list[int], labels: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Head, "fit", None)
    now = world(SEEDS[0], 0)
    now = replace(now, labelled=np.array(known), labels=np.array(labels))
    assert calibrated(now, CLASSES, stream(0, "heat")) == 1.0


def test_the_width_is_the_smallest_distance_between_labelled_images_that_differ() -> None:
    points = unit(np.array([[1.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 3.0]], np.float32))
    assert smallest_distance(points) == pytest.approx(2 * math.sin(math.pi / 8))
    assert smallest_distance(points[:2]) is None and smallest_distance(points[:0]) is None


@pytest.mark.parametrize("radius", [1.0, 0.2, 0.03, 1e-4])
def test_a_large_pool_is_not_laid_out_and_its_picks_are_the_same(
    radius: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(1)
    features = (rng.normal(size=(7, 16)).repeat(60, axis=0) + 0.3 * rng.normal(size=(420, 16))).astype(np.float32)
    features[100:120] = features[0:20]  # the same pictures, and so the same gains
    probs = softmax(rng.normal(size=(420, 4)))
    probs[100:120] = probs[0:20]
    now = Numbers(probs, features).round(np.arange(50, 60), np.arange(10) % 4)
    before = picked("uherding", now, 40, width=radius)
    monkeypatch.setattr(batch_rules, "KEPT", 0)
    monkeypatch.setattr(batch_rules, "STRIP", 100)
    monkeypatch.setattr(coverage, "TILE", (64, 96))
    after = picked("uherding", now, 40, width=radius)
    assert before.ids.tolist() == after.ids.tolist()
    np.testing.assert_allclose(before.scores, after.scores, rtol=1e-9)


@pytest.mark.parametrize("radius", [1.0, 0.2, 0.03, 1e-4])
def test_the_bounds_are_above_the_gains_and_close(radius: float) -> None:
    rng = np.random.default_rng(2)
    points = unit(rng.normal(size=(300, 24)) + 1)
    wanted, cover = rng.random(300), rng.random(300) * 0.5
    squares = ((points[:, None] - points) ** 2).sum(axis=2)
    true = np.maximum(np.exp(-squares / radius**2) - cover, 0) @ wanted
    bounds = upper_gains(points, wanted, cover, radius)
    assert (bounds >= true * (1 - 1e-12)).all()
    assert (bounds <= true * 1.05 + 1e-9).all()


def test_only_random_ones_are_considered_where_that_is_asked_for() -> None:
    now = world(SEEDS[0], KNOWN)
    some = set(now.candidates.sample(20, stream(0, "picks")).tolist())
    for name in ("max-herding", "uherding"):
        assert set(picked(name, now, 20, size=20).ids.tolist()) == some
        with pytest.raises(UserError, match="a batch of 55 is asked for, and 54"):
            picked(name, now, 55)
    assert now.meter.evaluations == 20 + KNOWN, "of those considered, and of the labelled ones for the temperature"
    assert len(Candidates(IMAGES, now.labelled)) == IMAGES - KNOWN
