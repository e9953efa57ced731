"""Each baseline against something independent: brute force, a formula, a hand-computed value, or another library."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.svm import SVC
from torch import nn

from asal.core import Candidates, Images, Round, as_ids
from asal.errors import UserError
from asal.models.learners import learning_loss
from asal.models.learners.cnn import Cnn
from asal.models.learners.learning_loss import LossModule, forward_with_hidden, pair_loss
from asal.models.learners.linear import Linear
from asal.models.tensors import to_batch
from asal.registry import Part
from asal.runtime.devices import Device
from asal.runtime.progress import no_progress
from asal.runtime.rng import stream
from asal.strategies import coreset, strategies
from asal.strategies.adba import Adba, LatentSvm, _minimum, marked
from asal.strategies.badge import Gradients, seeded
from asal.strategies.coreset import farthest_first, squared_gaps
from asal.strategies.gaal import at_the_boundary
from asal.strategies.hyperplane_hash import Hashing, HyperplaneHash, Tables
from asal.strategies.hyperplane_hash import points as as_points
from asal.strategies.hyperplanes import Hyperplanes
from asal.strategies.typiclust import typicality
from asal.testing.learner import CLASSES, toy_set
from asal.testing.rounds import Setting, setting
from asal.testing.strategy import LABELLED, choose
from asal.testing.toys import ToyPool, toy_world

RNG = st.integers(0, 2**32 - 1).map(np.random.default_rng)


def bound(name: str, **options: Any) -> Part:
    return replace(strategies[name], make=strategies[name].bind(options))


@pytest.fixture(scope="module")
def at() -> Iterator[Setting]:
    with setting(strategies["asal"]) as made:
        yield made


# Core-set -----------------------------------------------------------------------------------------------------------


def brute_k_centre(points: Any, centres: list[int], n: int) -> list[int]:
    """Greedy k-centre by its definition: all pairs, in float64, one pick after the other."""
    picks: list[int] = []
    for _ in range(n):
        rest = [i for i in range(len(points)) if i not in centres and i not in picks]
        gaps = [min(np.linalg.norm(points[i] - points[j]) for j in [*centres, *picks]) for i in rest]
        picks.append(rest[int(np.argmax(gaps))])
    return picks


@settings(max_examples=40, deadline=None)
@given(RNG, st.integers(1, 6), st.integers(1, 8))
def test_coreset_is_the_greedy_k_centre(rng: Any, known: int, n: int) -> None:
    points = (rng.normal(size=(24, 3)) + 100).astype(np.float32)
    centres = rng.choice(24, known, replace=False).tolist()
    rest = np.setdiff1d(np.arange(24), centres)
    rows, distances = farthest_first(points[rest], squared_gaps(points[rest], points[centres]), n)
    assert rest[rows].tolist() == brute_k_centre(points.astype(np.float64), centres, n)
    assert (np.diff(distances) <= 1e-6).all(), "each pick is nearer to the others than the one before"


def test_coreset_picks_distinct_images_where_all_are_the_same() -> None:
    rows, distances = farthest_first(np.ones((5, 2), np.float32), np.zeros(5), 5)
    assert sorted(rows.tolist()) == [0, 1, 2, 3, 4] and not distances.any()


def test_coreset_works_in_the_classifiers_last_hidden_layer(at: Setting) -> None:
    now = at.round(LABELLED)
    chosen = choose(bound("coreset"), now, 6)
    points = now.model.embed(at.pool.read(np.arange(60))).astype(np.float64)
    assert chosen.ids.tolist() == brute_k_centre(points, LABELLED.tolist(), 6)


# Minimum distance ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("classes", [2, 3])
def test_margin_svm_picks_what_scikit_learn_has_nearest_to_its_boundary(at: Setting, classes: int) -> None:
    now = at.round(np.flatnonzero(at.truth < classes)[:12])
    chosen = choose(bound("margin-svm", c=0.7), now, 5)
    known, rest = now.model.embed(at.pool.read(now.labelled)), np.setdiff1d(np.arange(60), now.labelled)
    distances = []
    for label in range(1 if classes == 2 else 0, classes):
        svm = SVC(C=0.7, kernel="linear").fit(known, now.labels == label)
        distances.append(np.abs(svm.decision_function(now.model.embed(at.pool.read(rest)))) / np.linalg.norm(svm.coef_))
    nearest = np.min(distances, axis=0)
    assert chosen.ids.tolist() == rest[np.argsort(nearest, kind="stable")[:5]].tolist()
    np.testing.assert_allclose(-chosen.scores, np.sort(nearest)[:5], rtol=1e-5)


# Hyperplane hashing -------------------------------------------------------------------------------------------------


def shares_of_equal_codes(kind: str, angle: float, tables: int) -> float:
    """Return how often a point at this angle to a plane's normal gets the plane's code, over so many functions."""
    hashing = Hashing.drawn(kind, tables, 1, np.zeros(5, np.float32), 1e-6, stream(3, "codes", kind))
    normal, other = np.eye(5)[0], np.eye(5)[1]
    point = (np.cos(angle) * normal + np.sin(angle) * other).astype(np.float32)[None]
    plane = Hyperplanes(normal[None], np.zeros(1))
    return float((hashing.of_points(point) == hashing.of_hyperplanes(plane)).mean())


@pytest.mark.slow
@pytest.mark.parametrize("angle", [0.3, 0.9, 1.3, np.pi / 2])
def test_hash_codes_collide_as_often_as_they_should(angle: float) -> None:
    """Jain et al. 2010: EH-Hash arccos(cos²α)/π; H-Hash 1/4 − (α − π/2)²/π², α between point and normal."""
    found = {kind: shares_of_equal_codes(kind, angle, 20_000) for kind in ("h", "eh")}
    assert found["eh"] == pytest.approx(np.arccos(np.cos(angle) ** 2) / np.pi, abs=0.012)
    assert found["h"] == pytest.approx(0.25 - (angle - np.pi / 2) ** 2 / np.pi**2, abs=0.012)


def test_a_plane_is_the_same_when_the_mean_is_taken_off() -> None:
    rng = stream(0, "planes")
    points = rng.normal(size=(50, 4)).astype(np.float32) + 7
    hashing = Hashing.drawn("h", 3, 2, points.mean(0), 1.7, rng)
    w, b = rng.normal(size=4), 0.3
    lifted = hashing.lifted(points).astype(np.float64)
    bias = b + w @ hashing.mean.astype(np.float64)
    sides = np.sign(lifted @ np.append(w, bias / hashing.radius))
    assert sides.tolist() == np.sign(points @ w + b).tolist()


@pytest.mark.parametrize("kind", ["h", "eh"])
def test_the_tables_hold_images_nearer_to_the_plane_than_chance(kind: Any, tmp_path: Path) -> None:
    world = toy_world(images=3000, classes=2, shape=(4, 4, 1))
    part = HyperplaneHash(kind=kind, tables=30, candidates=150)
    part.train(world.pool, tmp_path, 0, Device("cpu"), no_progress)
    tables: Tables = part.load(tmp_path, world.pool.shape)
    model = Linear(l2=0.01).fit(world.pool.read(np.arange(40)), world.truth[:40], 2, stream(0))
    planes = Hyperplanes.of(model)
    everything = planes.distances(as_points(world.pool.read(np.arange(3000))))
    near = everything[tables.near(planes, Candidates(3000), (10, 150), stream(1))]
    assert 100 < len(near) <= 150
    limit = {"h": 0.9, "eh": 0.75}[kind]  # whose functions are the sharper ones; chance spreads by 0.04
    assert near.mean() < limit * everything.mean(), f"{near.mean():.3f} against {everything.mean():.3f} in the pool"


def test_where_a_bucket_is_used_up_the_next_nearest_codes_are_looked_up(tmp_path: Path) -> None:
    world = toy_world(images=3000, classes=2, shape=(4, 4, 1))
    part = HyperplaneHash(tables=6, candidates=40)
    part.train(world.pool, tmp_path, 0, Device("cpu"), no_progress)
    tables: Tables = part.load(tmp_path, world.pool.shape)
    planes = Hyperplanes.of(Linear(l2=0.01).fit(world.pool.read(np.arange(40)), world.truth[:40], 2, stream(0)))
    everything = planes.distances(as_points(world.pool.read(np.arange(3000))))
    excluded = as_ids([])
    for _ in range(12):  # each time all that was found is taken
        found = tables.near(planes, Candidates(3000, excluded), (10, 40), stream(len(excluded)))
        assert len(found) >= 10 and not np.isin(found, excluded).any()
        excluded = np.concatenate([excluded, found])
    assert everything[excluded].mean() < 0.9 * everything.mean(), "still nearer than chance when many are taken"
    nearly = np.setdiff1d(np.arange(3000), excluded)[:5]
    rest = Candidates(3000, np.setdiff1d(np.arange(3000), nearly))
    assert set(tables.near(planes, rest, (10, 40), stream(0)).tolist()) <= set(nearly.tolist())


def test_hash_functions_that_fill_the_memory_are_refused(tmp_path: Path) -> None:
    pool = ToyPool(np.zeros((2, 64, 64, 3), np.uint8))
    with pytest.raises(UserError, match="use kind = 'h'"):
        HyperplaneHash(kind="eh").train(pool, tmp_path, 0, Device("cpu"), no_progress)


def test_hashing_twice_gives_the_same_files_and_damage_is_named(tmp_path: Path) -> None:
    pool, part = toy_world(images=80).pool, HyperplaneHash(tables=2)
    files = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        part.train(pool, tmp_path / name, 5, Device("cpu"), no_progress)
        files.append({path.name: path.read_bytes() for path in (tmp_path / name).iterdir()})
    assert files[0] == files[1] and len(files[0]) == 5
    (tmp_path / "one" / "codes-001.npy").write_bytes(b"short")
    (tmp_path / "two" / "h.safetensors").write_bytes(b"short")
    for name, damaged in (("one", "codes-001"), ("two", "h.safetensors")):
        with pytest.raises(UserError, match=damaged):
            part.load(tmp_path / name, pool.shape)


def test_planes_of_a_linear_classifier_are_where_its_classes_tie() -> None:
    images, labels = toy_set(60)
    two = Linear(l2=0.01).fit(images[labels < 2], labels[labels < 2], 2, stream(0))
    x, logits = two.embed(images), two.logits(to_batch(images)).numpy()
    gap, weights = logits[:, 1] - logits[:, 0], two.head()[0]
    expected = np.abs(gap) / np.linalg.norm(weights[1] - weights[0])
    np.testing.assert_allclose(Hyperplanes.of(two).distances(x), expected, rtol=1e-4)
    three = Linear(l2=0.01).fit(images, labels, 3, stream(0))
    logits = three.logits(to_batch(images)).numpy()
    above = logits - (logits.sum(1, keepdims=True) - logits) / 2
    weights = three.head()[0]
    lengths = np.linalg.norm(weights - (weights.sum(0) - weights) / 2, axis=1)
    np.testing.assert_allclose(Hyperplanes.of(three).distances(x), (np.abs(above) / lengths).min(1), rtol=1e-3)


# Learning loss ------------------------------------------------------------------------------------------------------


def test_the_pair_loss_by_hand() -> None:
    """Pairs (0, 3) and (1, 2): l = 2 > 1 with 0.5 < 1.5: 1 + 1 = 2; l = 0 < 3 with 0 < 0.4: 1 − 0.4 = 0.6."""
    predicted = torch.tensor([0.5, 0.0, 0.4, 1.5], requires_grad=True)
    losses = torch.tensor([2.0, 0.0, 3.0, 1.0], requires_grad=True)
    found = pair_loss(predicted, losses)
    assert float(found.detach()) == pytest.approx((2.0 + 0.6) / 2)
    found.backward()
    assert losses.grad is None, "the true losses are targets"
    assert predicted.grad is not None and predicted.grad.tolist() == [-0.5, 0.5, -0.5, 0.5]
    far = pair_loss(torch.tensor([5.0, 0.0]), torch.tensor([1.0, 0.5]))
    assert float(far) == 0, "beyond the margin nothing is to be learnt"
    assert float(pair_loss(torch.tensor([5.0]), torch.tensor([1.0]))) == 0, "one image makes no pair"


def test_the_module_averages_each_layer_and_joins_them() -> None:
    module = LossModule([2, 3])
    with torch.no_grad():
        for layer in module.layers:
            cast(Any, layer).weight.fill_(0.5)
            cast(Any, layer).bias.fill_(0.0)
        module.last.weight.fill_(1 / 256)
        module.last.bias.fill_(0.25)
    seen = [torch.tensor([[[[1.0, 3.0]], [[5.0, 7.0]]]]), torch.tensor([[1.0, 1.0, -9.0]])]  # means 2 and 6
    assert float(module(seen).detach()) == pytest.approx((0.5 * (2 + 6) + 0) / 2 + 0.25), (
        "the second sums to below zero"
    )


def fitted(detached_from: float, monkeypatch: pytest.MonkeyPatch) -> tuple[Any, Any]:
    monkeypatch.setattr(learning_loss, "JOINT_SHARE", detached_from)
    images, labels = toy_set(60)
    learner = Cnn(width=2, hidden=6, steps=20, batch=8)
    plain = learner.fit(images, labels, CLASSES, stream(0, "toy"))
    return plain, learner.loss_predicting().fit(images, labels, CLASSES, stream(0, "toy"))


def same_weights(a: nn.Module, b: nn.Module) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a.parameters(), b.parameters(), strict=True))


def test_a_detached_module_leaves_the_classifier_as_it_would_be(monkeypatch: pytest.MonkeyPatch) -> None:
    plain, foretelling = fitted(0.0, monkeypatch)
    assert same_weights(plain.net, foretelling.net), "the same start, the same batches, and no gradient from the module"
    plain, foretelling = fitted(0.6, monkeypatch)
    assert not same_weights(plain.net, foretelling.net)


def test_the_module_is_cut_off_after_so_many_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    attached: list[bool] = []

    class Watched(LossModule):
        def forward(self, seen: Any) -> Any:
            attached.append(bool(seen[0].requires_grad))
            return super().forward(seen)

    monkeypatch.setattr(learning_loss, "LossModule", Watched)
    images, labels = toy_set(30)
    Cnn(width=2, hidden=6, steps=10, batch=8).loss_predicting().fit(images, labels, CLASSES, stream(0, "toy"))
    assert attached == [True] * 6 + [False] * 4


def test_predicted_losses_rank_images_as_true_ones_do() -> None:
    images, labels = toy_set(120)
    noisy = np.where(stream(0, "noise").random(120) < 0.3, (labels + 1) % CLASSES, labels)
    learner = Cnn(width=8, hidden=16, steps=150, batch=30, dropout=0.0, learning_rate=3e-3)
    model = learner.loss_predicting().fit(images, noisy, CLASSES, stream(1, "toy"))
    told = model.losses(images)
    true = -np.log(np.maximum(model.predict(images)[np.arange(120), noisy], 1e-12))
    better = np.sign(true[:60] - true[60:]) == np.sign(told[:60] - told[60:])
    assert better.mean() > 0.6
    np.testing.assert_allclose(model.loss(to_batch(images)).detach().numpy(), told, atol=1e-5)
    assert len(forward_with_hidden(model.net, to_batch(images[:2]))[1]) == 3, "what leaves each ReLU"


# BADGE --------------------------------------------------------------------------------------------------------------


@settings(max_examples=50, deadline=None)
@given(RNG, st.integers(1, 12), st.booleans())
def test_badge_never_returns_a_duplicate(rng: Any, n: int, degenerate: bool) -> None:
    probs = np.eye(3)[rng.integers(3, size=12)] if degenerate else rng.dirichlet(np.ones(3), 12)
    hidden = np.repeat(rng.normal(size=(3, 4)), 4, axis=0).astype(np.float32)  # every image four times
    rows = seeded(Gradients.of(probs, hidden), n, rng)
    assert len(set(rows.tolist())) == n and set(rows.tolist()) <= set(range(12))


@settings(max_examples=30, deadline=None)
@given(RNG)
def test_badges_distances_are_those_of_the_gradients_laid_out(rng: Any) -> None:
    probs, hidden = rng.dirichlet(np.ones(4), 9), rng.normal(size=(9, 5)).astype(np.float32)
    errors = probs - np.eye(4)[probs.argmax(1)]
    whole = np.einsum("nk,nd->nkd", errors, hidden).reshape(9, -1)
    gradients = Gradients.of(probs, hidden)
    np.testing.assert_allclose(gradients.squares, (whole**2).sum(1), rtol=1e-9)
    np.testing.assert_allclose(gradients.squared_gaps(4), ((whole - whole[4]) ** 2).sum(1), atol=1e-9)


def test_the_gradient_is_that_of_the_last_layer(at: Setting) -> None:
    now = at.round(LABELLED)
    image = at.pool.read(as_ids([20]))
    net = cast(Any, now.model).model.net
    layer = nn.Linear(net[-1].in_features, net[-1].out_features)
    layer.load_state_dict(net[-1].state_dict())
    logits = layer(to_batch(image).flatten(1))
    torch.nn.functional.cross_entropy(logits, logits.argmax(1)).backward()
    gradients = Gradients.of(now.model.predict(image), now.model.embed(image))
    found = np.einsum("k,d->kd", gradients.errors[0], gradients.hidden[0])
    assert layer.weight.grad is not None
    np.testing.assert_allclose(found, layer.weight.grad.numpy(), atol=1e-5)


# SEALS --------------------------------------------------------------------------------------------------------------


class Watching:
    """A pool that keeps which images were read."""

    def __init__(self, pool: Any) -> None:
        self._pool, self.read_ids = pool, set[int]()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["_pool"], name)

    def __len__(self) -> int:
        return len(self._pool)

    def read(self, ids: Any) -> Images:
        self.read_ids |= set(ids.tolist())
        images: Images = self._pool.read(ids)
        return images


def test_seals_looks_at_nothing_outside_its_neighbourhoods_and_survives_fifty_rounds() -> None:
    with setting(strategies["seals"], images=400) as made:
        labelled = as_ids([0, 1, 2])
        features = made.tools.vectors.read(np.arange(400)).astype(np.float64)
        for number in range(1, 51):
            pool = Watching(made.pool)
            now = replace(made.round(labelled, number=number), pool=cast(Any, pool))
            picked = choose(bound("seals", neighbours=8), now, 2, number).ids
            apart = np.linalg.norm(features[labelled][:, None] - features, axis=2)
            around = set(np.argsort(apart, axis=1, kind="stable")[:, :9].ravel().tolist())
            assert pool.read_ids <= around - set(labelled.tolist()), f"round {number} scored an image outside"
            assert set(picked.tolist()) <= pool.read_ids
            labelled = np.concatenate([labelled, picked])
        assert len(np.unique(labelled)) == 103


# GAAL and ADBA ------------------------------------------------------------------------------------------------------


def test_gaals_gap_is_the_distance_to_the_boundary_but_for_its_length() -> None:
    images, labels = toy_set(60)
    model = Linear(l2=0.01).fit(images[labels < 2], labels[labels < 2], 2, stream(0))
    weights, biases = model.head()
    gap = np.abs(model.embed(images) @ (weights[1] - weights[0]) + (biases[1] - biases[0]))
    np.testing.assert_allclose(-at_the_boundary(model)(to_batch(images)).numpy(), gap, atol=1e-4)


def test_gaal_makes_images_nearer_to_the_boundary_than_it_begins_with(at: Setting) -> None:
    now = at.round(LABELLED)
    start, end = (choose(bound("gaal", steps=steps), now, 8) for steps in (0, 60))
    assert -end.scores.mean() < 0.3 * -start.scores.mean()
    assert end.images is not None and end.ids.tolist() == list(range(60, 68))
    assert choose(bound("gaal", steps=0), replace(now, origins=[{}] * 5), 3).ids.tolist() == [65, 66, 67]


@pytest.fixture(scope="module")
def lines() -> Iterator[Setting]:
    with setting(bound("adba"), images=80) as made:
        yield made


def test_adbas_lines_cross_the_boundary_at_a_right_angle(lines: Setting) -> None:
    now = lines.round(LABELLED)
    model = cast(Any, now.model)
    chosen = choose(bound("adba", points=7, reach=3.0), now, 2)
    latents = np.array([note["latent"] for note in chosen.notes]).reshape(2, 7, -1)
    assert chosen.images is not None and chosen.images.shape == (14, *lines.pool.shape) and chosen.group == 7
    normal = model.weights / np.linalg.norm(model.weights)
    for line in latents:
        np.testing.assert_allclose(np.diff(line, axis=0), np.tile(normal, (6, 1)), atol=2e-4)
        np.testing.assert_allclose(model.decide(line) / np.linalg.norm(model.weights), np.linspace(-3, 3, 7), atol=2e-3)
    distances = np.abs(model.decide(lines.tools.vectors.read(np.arange(80)))) / np.linalg.norm(model.weights)
    rest = np.setdiff1d(np.arange(80), LABELLED)
    sources = [chosen.notes[0]["source"], chosen.notes[7]["source"]]
    assert sources == rest[np.argsort(distances[rest], kind="stable")[:2]].tolist()
    again = choose(bound("adba", points=7), replace(now, origins=list(chosen.notes)), 2)
    assert not {note["source"] for note in again.notes} & set(sources), "no latent leads to a line twice"


def test_a_lines_boundary_is_where_fewest_labels_are_on_the_wrong_side() -> None:
    latents = np.arange(10.0).reshape(10, 1)
    origins = [{"line": row // 5, "place": row % 5} for row in range(10)]
    for told, sides, points in (
        ([0, 0, 1, 1, 1, 1, 1, 1, 1, 1], [0, 0, 1, 1, 1, 1, 1, 1, 1, 1], [1.5]),  # the second line has no change
        ([0, 1, 0, 1, 1, 0, 0, 0, 0, 1], [0, 1, 1, 1, 1, 0, 0, 0, 0, 1], [0.5, 8.5]),
        ([1, 1, 0, 1, 0, 1, 0, 0, 0, 0], [1, 1, 0, 0, 0, 1, 0, 0, 0, 0], [1.5, 5.5]),
    ):
        found, crossings = marked(latents, np.array(told), origins)
        assert found.tolist() == sides and crossings.ravel().tolist() == points
    shuffled = [9, 3, 0, 7, 5, 1, 8, 2, 6, 4]
    labels = np.array([0, 0, 1, 1, 1, 0, 0, 0, 1, 1])
    found, crossings = marked(latents[shuffled], labels[shuffled], [origins[row] for row in shuffled])
    assert found.tolist() == labels[shuffled].tolist() and sorted(crossings.ravel().tolist()) == [1.5, 7.5]
    assert marked(latents[:0], labels[:0], [])[1].shape == (0, 1)


def test_adba_learns_beside_synthetic_images_that_lie_on_no_line(lines: Setting) -> None:
    """A record may hold GAAL's too: such an image counts as any other."""
    learner = Adba().learner(lines.tools)
    images, labels = lines.pool.read(np.arange(12)), lines.truth[:12]
    origins = [{"latent": [9.0] * 4, "gap": 0.1} if row == 3 else {} for row in range(12)]
    alone = learner.fit_with_origins(images, labels, [{}] * 12, 2, stream(0))
    assert learner.fit_with_origins(images, labels, origins, 2, stream(0)).weights.tolist() == alone.weights.tolist()


def test_adbas_objective_has_the_gradient_that_it_is_minimised_by() -> None:
    """At the minimum no small step in any direction helps, and the terms weigh as in the paper."""
    rng = stream(0, "adba")
    z, crossings = rng.normal(size=(30, 4)), rng.normal(size=(5, 4))
    signs = np.where(z[:, 0] + 0.3 * rng.normal(size=30) > 0, 1.0, -1.0)

    def cost(w: Any, b: float) -> float:
        hinge = np.maximum(0, 1 - signs * (z @ w + b)).mean()
        return float(0.5 * hinge + 0.5 * ((crossings @ w + b) ** 2).mean() + 0.01 * w @ w)

    w, b = _minimum(z, signs, crossings, 0.01)
    best = cost(w, b)
    for step in (*np.eye(4), *-np.eye(4)):
        assert cost(w + 0.1 * step, b) > best - 1e-3 and cost(w, b + 0.1 * step[0]) > best - 1e-3
    without, _ = _minimum(z, signs, np.empty((0, 4)), 0.01)
    assert np.abs(crossings @ w + b).mean() < np.abs(crossings @ without).mean()


def test_adba_is_for_two_classes() -> None:
    svm = LatentSvm(lambda images: np.zeros((len(images), 3), np.float32), 0.01)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="between two classes"):
        svm.fit_with_origins(np.zeros((3, 2, 2, 1), np.uint8), np.array([0, 1, 2]), [{}] * 3, 3, stream(0))


def test_adba_learns_from_lines(lines: Setting) -> None:
    now = lines.round(LABELLED)
    adba = Adba(points=9)
    chosen = choose(replace(strategies["adba"], make=adba), now, 3)
    assert chosen.images is not None
    truth = (
        cast(Any, lines.part.make)
        .learner(lines.tools)
        .fit_with_origins(lines.pool.read(np.arange(80)), lines.truth, [{}] * 80, 2, stream(0))
    )
    images = np.concatenate([lines.pool.read(LABELLED), chosen.images])
    latents = np.array([note["latent"] for note in chosen.notes])
    labels = np.concatenate([lines.truth[LABELLED], (truth.decide(latents) > 0).astype(np.int64)])
    learner = adba.learner(lines.tools)
    model = learner.fit_with_origins(images, labels, [*[{}] * len(LABELLED), *chosen.notes], 2, stream(0))
    angle = [w.weights @ truth.weights / np.linalg.norm(w.weights) / np.linalg.norm(truth.weights)
             for w in (cast(Any, now.model), model)]  # fmt: skip
    assert angle[1] > angle[0], "lines that the true plane labels turn the classifier towards it"


# TypiClust ----------------------------------------------------------------------------------------------------------


def clustered(now: Round) -> Round:
    """Return the round over four groups of features, twenty images each, tight in the middle and wide outside."""
    rng = stream(0, "groups")
    spread = np.tile(np.linspace(0.1, 2.0, 20), 4)[:, None]
    points = 20 * np.repeat(np.eye(4), 20, axis=0) + spread * rng.normal(size=(80, 4))
    tools = replace(cast(Any, now.tools), vectors=FewVectors(points.astype(np.float32)))
    pool = ToyPool(np.zeros((80, 4, 4, 1), np.uint8))
    return replace(now, pool=pool, labelled=as_ids([3]), labels=as_ids([0]), tools=tools)


class FewVectors:
    def __init__(self, points: Any) -> None:
        self.points = points

    def read(self, ids: Any) -> Any:
        return self.points[ids]


def test_typiclust_picks_the_typical_of_every_group_without_a_label(at: Setting) -> None:
    now = clustered(at.round(LABELLED))
    chosen = choose(bound("typiclust"), now, 3)
    assert sorted((chosen.ids // 20).tolist()) == [1, 2, 3], "the first group has a label"
    assert (chosen.ids % 20 < 10).all(), "from the tight half of each"


def test_typicality_is_the_inverse_mean_distance_to_the_neighbours() -> None:
    points = stream(0, "points").normal(size=(30, 3)).astype(np.float32)
    apart = np.sort(np.linalg.norm(points[:, None].astype(np.float64) - points, axis=2), axis=1)[:, 1:6]
    np.testing.assert_allclose(typicality(points, 5), 1 / apart.mean(1), rtol=1e-6)
    assert np.isfinite(typicality(np.ones((4, 2), np.float32), 3)).all()
    assert typicality(np.ones((1, 2), np.float32), 3).shape == (1,)


def test_distances_to_many_centres_are_taken_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = stream(0, "blocks")
    points, centres = (rng.normal(size=(n, 5)).astype(np.float32) for n in (30, 17))
    expected = (np.linalg.norm(points[:, None].astype(np.float64) - centres, axis=2) ** 2).min(axis=1)
    for block in (1, 4, 17, 100):
        monkeypatch.setattr(coreset, "CENTRES", block)
        np.testing.assert_allclose(squared_gaps(points, centres), expected, rtol=1e-6)
    assert np.isinf(squared_gaps(points, centres[:0])).all()
