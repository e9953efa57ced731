"""The shipped checks over every registered learner, each check's broken twin, and classifiers of one's own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from asal.core import Images, Labels
from asal.errors import UserError
from asal.models.learners import learners
from asal.models.learners.cnn import Cnn
from asal.models.learners.linear import Linear
from asal.models.learners.neural import BATCH_ON_CPU, NeuralModel, TrainingRecipe, augment, train
from asal.models.linear_map import LinearMap
from asal.models.tensors import to_batch
from asal.registry import Part
from asal.runtime.rng import stream
from asal.testing.learner import CHECKS, CLASSES, Make, toy_set

CASES: dict[str, tuple[str, dict[str, Any]]] = {
    **{name: (name, {}) for name in learners if name not in ("cnn", "sklearn", "torch")},
    "cnn": ("cnn", {"steps": 40, "width": 8, "hidden": 16, "learning_rate": 0.01}),
    "torch": (
        "torch",
        {"factory": "support.classifiers:small_net", "options": {"hidden": 12}, "steps": 40, "learning_rate": 0.01},
    ),
    "torch module": (
        "torch",
        {"factory": "support.classifiers:Nested", "steps": 40, "batch": 32, "learning_rate": 0.02},
    ),
    "logistic regression": ("sklearn", {"factory": "sklearn.linear_model:LogisticRegression"}),
    "head with a hidden layer": ("head", {"hidden": 16, "steps": 100, "learning_rate": 0.01}),
    "forest": ("sklearn", {"factory": "sklearn.ensemble:RandomForestClassifier", "options": {"n_estimators": 15}}),
    "nearest mean": ("sklearn", {"factory": "support.classifiers:NearestMean", "options": {"power": 9.0}}),
}


def bound(name: str, options: dict[str, Any]) -> Part:
    part = learners[name]
    return replace(part, make=partial(part.make, **part.options(options)))


def test_every_learner_has_a_case() -> None:
    assert {name for name, _ in CASES.values()} == set(learners)


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("case", CASES)
def test_learner(case: str, check: str) -> None:
    CHECKS[check](lambda: bound(*CASES[case]))


def twin(make: Callable[..., Any], provides: tuple[str, ...] = ("gradient",)) -> Make:
    return lambda: Part("learner", "twin", make, frozenset(), frozenset(provides), "constant")


DROPOUT = ("gradient", "dropout")


class Spoilt(Linear):
    """The linear learner, with one thing wrong in what it fits or in the model that it returns."""

    def fit(self, images: Images, labels: Labels, classes: int, rng: np.random.Generator) -> Any:
        return self.spoil(super().fit(images, labels, classes, rng))

    def spoil(self, model: NeuralModel) -> Any:
        return model


class GivesLogits(Spoilt):
    def spoil(self, model: NeuralModel) -> Any:
        class Raw(NeuralModel):
            def predict(self, images: Images) -> Any:
                return self.logits(to_batch(images)).double().numpy()

        return Raw(model.net)


class CountsTheLabelsClasses(Linear):
    def fit(self, images: Images, labels: Labels, classes: int, rng: np.random.Generator) -> Any:
        return super().fit(images, labels, int(labels.max()) + 1, rng)


class LearnsNothing(Linear):
    def fit(self, images: Images, labels: Labels, classes: int, rng: np.random.Generator) -> Any:
        return super().fit(images, rng.permutation(labels), classes, rng)


class StartsAnywhere(Linear):
    def fit(self, images: Images, labels: Labels, classes: int, rng: np.random.Generator) -> Any:
        model = super().fit(images, labels, classes, rng)
        model.net[-1].weight.data += 1e-3 * torch.randn(model.net[-1].weight.shape)
        return model


class SeedsGlobally(Linear):
    def fit(self, images: Images, labels: Labels, classes: int, rng: np.random.Generator) -> Any:
        torch.manual_seed(int(rng.integers(2**31)))
        return super().fit(images, labels, classes, rng)


class StartsWarm:
    """Goes on from the weights of the fit before."""

    def __init__(self) -> None:
        self.head = nn.utils.skip_init(nn.Linear, 64, CLASSES)
        self.head.load_state_dict({"weight": torch.zeros(CLASSES, 64), "bias": torch.zeros(CLASSES)})

    def fit(self, images: Images, labels: Labels, classes: int, rng: np.random.Generator) -> Any:
        x, y = to_batch(images).flatten(1), torch.tensor(labels)
        head = nn.utils.skip_init(nn.Linear, 64, CLASSES)
        head.load_state_dict(self.head.state_dict())
        descent = torch.optim.SGD(head.parameters(), 0.1)
        for _ in range(20):
            descent.zero_grad()
            F.cross_entropy(head(x), y).backward()
            descent.step()
        self.head = head
        return NeuralModel(nn.Sequential(nn.Flatten(), head).requires_grad_(False))


class SharesItsWeights(StartsWarm):
    """Hands out the very module that it trains on."""

    def fit(self, images: Images, labels: Labels, classes: int, rng: np.random.Generator) -> Any:
        model = super().fit(images, labels, classes, rng)
        self.net = getattr(self, "net", model.net)
        self.net.load_state_dict(model.net.state_dict())
        return NeuralModel(self.net)


class StaysInTraining(Spoilt):
    def spoil(self, model: NeuralModel) -> Any:
        layers = nn.Sequential(nn.Flatten(), nn.Dropout(), model.net[-1])  # type: ignore[index]
        return NeuralModel(layers.train())


class EmbedsInSquares(Spoilt):
    def spoil(self, model: NeuralModel) -> Any:
        class Squares(NeuralModel):
            def embed(self, images: Images) -> Any:
                return super().embed(images).reshape(len(images), 8, 8)

        return Squares(model.net)


class Cools(Spoilt):
    """Its logits are not those of its probabilities."""

    def spoil(self, model: NeuralModel) -> Any:
        class Cooled(NeuralModel):
            def logits(self, batch: Any) -> Any:
                return super().logits(batch) / (2 if batch.requires_grad else 1)

        return Cooled(model.net)


class Detaches(Spoilt):
    def spoil(self, model: NeuralModel) -> Any:
        class Detached(NeuralModel):
            def logits(self, batch: Any) -> Any:
                return super().logits(batch).detach()

        return Detached(model.net)


class DropsAnything(Spoilt):
    """Draws what it drops from a stream of its own."""

    def spoil(self, model: NeuralModel) -> Any:
        class Dropping(NeuralModel):
            def predict_with_dropout(self, images: Images, times: int, rate: float, rng: Any) -> Any:
                return super().predict_with_dropout(images, times, rate, np.random.default_rng())

        return Dropping(model.net)


class PredictsOnly(Spoilt):
    def spoil(self, model: NeuralModel) -> Any:
        return SimpleNamespace(predict=model.predict, embed=model.embed, reads=model.reads)


class DropsTheSame(Spoilt):
    def spoil(self, model: NeuralModel) -> Any:
        class Dropping(NeuralModel):
            def predict_with_dropout(self, images: Images, times: int, rate: float, rng: Any) -> Any:
                return np.repeat(super().predict_with_dropout(images, 1, rate, rng), times, axis=0)

        return Dropping(model.net)


class DropsWithoutScaling(Spoilt):
    def spoil(self, model: NeuralModel) -> Any:
        class Dropping(NeuralModel):
            def predict_with_dropout(self, images: Images, times: int, rate: float, rng: Any) -> Any:
                x = to_batch(images).flatten(1)
                kept = torch.tensor(rng.random((len(x), times, x.shape[1])) >= rate)
                return self.net[-1](x[:, None] * kept).transpose(0, 1).double().softmax(2).numpy()  # type: ignore[index]

        return Dropping(model.net)


class DropsGlobally(Spoilt):
    def spoil(self, model: NeuralModel) -> Any:
        class Dropping(NeuralModel):
            def predict_with_dropout(self, images: Images, times: int, rate: float, rng: Any) -> Any:
                torch.manual_seed(int(rng.integers(2**31)))
                x = to_batch(images).flatten(1).repeat(times, 1, 1)
                return self.net[-1](F.dropout(x, rate)).double().softmax(2).numpy()  # type: ignore[index]

        return Dropping(model.net)


class ReadsFeaturesUnasked(Spoilt):
    def spoil(self, model: NeuralModel) -> Any:
        class Reading(NeuralModel):
            reads = "features"  # type: ignore[assignment]

        return Reading(model.net)


class DeclaresAnotherMap(Spoilt):
    def spoil(self, model: NeuralModel) -> Any:
        class Halved(NeuralModel):
            def linear_map(self) -> Any:
                own: Any = super().linear_map()
                return LinearMap(own.weights / 2, own.biases)

        return Halved(model.net, model.linear_in)


class BoundsTooLittle(Spoilt):
    def spoil(self, model: NeuralModel) -> Any:
        class Sure(LinearMap):
            def bounds(self, inputs: Any) -> Any:
                return super().bounds(inputs) * 0

        class Bounded(NeuralModel):
            def linear_map(self) -> Any:
                own: Any = super().linear_map()
                return Sure(own.weights, own.biases)

        return Bounded(model.net, model.linear_in)


class CentresInPlace(Linear):
    def fit(self, images: Images, labels: Labels, classes: int, rng: np.random.Generator) -> Any:
        images -= images.min()
        return super().fit(images, labels, classes, rng)


class SortsAView(Linear):
    def fit(self, images: Images, labels: Labels, classes: int, rng: np.random.Generator) -> Any:
        images[0] = images[0]
        return super().fit(images, labels, classes, rng)


TWINS: dict[str, Make] = {
    "predicts probabilities": twin(GivesLogits),
    "predicts classes without labels": twin(CountsTheLabelsClasses),
    "learns": twin(LearnsNothing),
    "same stream, same model": twin(StartsAnywhere),
    "leaves global random state alone": twin(SeedsGlobally),
    "starts from scratch": twin(StartsWarm),
    "predicts each image alone": twin(StaysInTraining),
    "embeds": twin(EmbedsInSquares),
    "has the gradient it declares": twin(Cools),
    "predicts with the dropout it declares": twin(DropsAnything, DROPOUT),
    "says what it reads": twin(ReadsFeaturesUnasked),
    "has the linear map it declares": twin(DeclaresAnotherMap),
    "does not modify its arguments": twin(CentresInPlace),
}


@pytest.mark.parametrize("check", CHECKS)
def test_check_catches_its_twin(check: str) -> None:
    with pytest.raises(AssertionError):
        CHECKS[check](TWINS[check])


@pytest.mark.parametrize(
    ("check", "make", "said"),
    [
        ("starts from scratch", twin(SharesItsWeights), "changed an earlier model"),
        ("has the gradient it declares", twin(Detaches), "do not depend on the images"),
        ("has the gradient it declares", twin(Linear, provides=()), "does not declare"),
        ("predicts with the dropout it declares", twin(DropsTheSame, DROPOUT), "the same inputs each time"),
        ("predicts with the dropout it declares", twin(DropsWithoutScaling, DROPOUT), "is what is kept scaled"),
        ("predicts with the dropout it declares", twin(DropsGlobally, DROPOUT), "torch's global stream"),
        ("predicts with the dropout it declares", twin(PredictsOnly, DROPOUT), "no `predict_with_dropout`"),
        ("has the linear map it declares", twin(BoundsTooLittle), "more than its bound"),
        ("does not modify its arguments", twin(SortsAView), "read-only"),
    ],
)
def test_check_says_what_is_wrong(check: str, make: Make, said: str) -> None:
    with pytest.raises(AssertionError, match=said):
        CHECKS[check](make)


def fit(name: str, labels: Any = None, **options: Any) -> Any:
    images, truth = toy_set()
    return bound(name, options).make().fit(images, truth if labels is None else labels, CLASSES, stream(0, "fit"))


@pytest.mark.parametrize(
    ("name", "factory", "got"),
    [
        ("torch", "support.classifiers:small_nett", "small_nett"),
        ("torch", "factoriez:small_net", "No module named 'factoriez'"),
        ("torch", "support.classifiers.small_net", "support.classifiers.small_net"),
        ("torch", "", "it names no module"),
        ("sklearn", "sklearn.ensemble:RandomForrest", "RandomForrest"),
    ],
)
def test_a_wrong_path_is_named(name: str, factory: str, got: str) -> None:
    with pytest.raises(UserError, match=r"'package\.module:function'") as caught:
        fit(name, factory=factory)
    assert got in caught.value.got


@pytest.mark.parametrize(
    ("factory", "got"),
    [("imagenet_sized", "1000"), ("one_class_short", "2"), ("with_a_spatial_output", "3, 6, 6")],
)
def test_a_wrong_number_of_outputs_is_named(factory: str, got: str) -> None:
    with pytest.raises(UserError, match=f"each of {CLASSES} classes") as caught:
        fit("torch", factory=f"support.classifiers:{factory}", steps=2)
    assert got in caught.value.got
    assert "classes" in caught.value.hint


def test_a_classifier_that_refuses_one_class_is_named() -> None:
    with pytest.raises(UserError, match=r"LogisticRegression.*only one class"):
        fit("sklearn", np.zeros(60, np.int64), factory="sklearn.linear_model:LogisticRegression")


@pytest.mark.parametrize(
    ("name", "options", "got"),
    [
        (
            "torch",
            {"factory": "support.classifiers:small_net", "options": {"hiden": 3}},
            "unexpected keyword argument 'hiden'",
        ),
        ("torch", {"factory": "support.classifiers:NearestMean"}, "unexpected keyword argument 'shape'"),
        (
            "sklearn",
            {"factory": "support.classifiers:NearestMean", "options": {"powers": 3}},
            "keyword argument 'powers'",
        ),
        ("sklearn", {"factory": "sklearn.svm:LinearSVC"}, "no predict_proba"),
    ],
)
def test_a_factory_that_does_not_fit_is_named(name: str, options: dict[str, Any], got: str) -> None:
    with pytest.raises(UserError) as caught:
        fit(name, **options)
    assert got in caught.value.got


def test_dropout_of_a_network_that_mixes_images_is_refused() -> None:
    model = fit("torch", factory="support.classifiers:Averages", steps=2)
    with pytest.raises(UserError, match="must treat each row alone"):
        model.predict_with_dropout(toy_set(5)[0], 3, 0.5, stream(0))


def test_a_factory_beside_the_project_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine_alone.py").write_text(
        "from torch import nn\n"
        "def net(shape, classes):\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(64, classes))\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert fit("torch", factory="mine_alone:net", steps=3).predict(toy_set(2)[0]).shape == (2, 3)


def test_columns_of_missing_classes_are_zero_and_the_others_in_place() -> None:
    images, truth = toy_set()
    kept = truth != 1
    learner = bound("sklearn", {"factory": "support.classifiers:NearestMean"}).make()
    probs = learner.fit(images[kept], truth[kept], CLASSES, stream(0)).predict(images)
    assert (probs[:, 1] == 0).all()
    assert (probs[kept].argmax(axis=1) == truth[kept]).mean() > 0.9


def test_the_linear_model_is_at_its_minimum() -> None:
    """At the minimum of mean cross entropy + l2/2 ‖W‖², mean (p − y) xᵀ + l2 W = 0 and mean (p − y) = 0."""
    images, labels = toy_set()
    model = Linear(l2=0.03).fit(images, labels, CLASSES, stream(0))
    x = to_batch(images).flatten(1).double()
    off = torch.tensor(model.predict(images)) - F.one_hot(torch.tensor(labels), CLASSES)  # (n, k)
    weight = model.net[-1].weight.double()  # type: ignore[index]
    assert float((off.T @ x / len(x) + 0.03 * weight).abs().max()) < 1e-4
    assert float(off.mean(0).abs().max()) < 1e-4


def test_many_images_are_judged_in_blocks() -> None:
    model = fit("linear")
    images = np.resize(toy_set()[0], (BATCH_ON_CPU + 7, 8, 8, 1))
    assert model.predict(images).shape == (BATCH_ON_CPU + 7, CLASSES)
    assert model.embed(images).shape == (BATCH_ON_CPU + 7, 64)
    # The size of a block bears on the last bits: 64 products are summed.
    tolerance = 64 * np.finfo(np.float32).eps
    parts = model.predict(images)[BATCH_ON_CPU:], model.predict(images[BATCH_ON_CPU:])
    np.testing.assert_allclose(*parts, rtol=0, atol=tolerance)
    assert model.predict(images[:0]).shape == (0, CLASSES)
    assert model.embed(images[:0]).shape == (0, 64)


def test_an_embedding_is_what_the_last_layer_sees() -> None:
    model, (images, _) = fit("cnn", steps=3, width=2, hidden=5), toy_set(20)
    found = torch.from_numpy(model.embed(images))
    assert found.shape == (20, 5)
    torch.testing.assert_close(model.net[-1](found), model.logits(to_batch(images)))


def test_each_image_is_seen_once_before_any_twice() -> None:
    seen: list[torch.Tensor] = []

    class Watching(nn.Module):
        def __init__(self, shape: Any, classes: int) -> None:
            super().__init__()
            self.layer = nn.Linear(64, classes)

        def forward(self, batch: torch.Tensor) -> Any:
            if self.training:
                seen.append(batch.detach().flatten(1))
            return self.layer(batch.flatten(1))

    images, labels = toy_set(50)
    train(lambda: Watching((8, 8, 1), 3), TrainingRecipe(6, 20, 1e-3, 0.0), images, labels, CLASSES, stream(0))
    rows = torch.cat(seen)  # 120 of 50 images
    for start in (0, 50):
        assert len(torch.unique(rows[start : start + 50], dim=0)) == 50


def test_augmented_images_are_shifts_and_mirrors_of_their_own() -> None:
    batch = torch.arange(2 * 36, dtype=torch.float32).reshape(2, 1, 6, 6)
    assert augment(batch, 0) is batch
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        seen = [augment(batch, 2) for _ in range(200)]
    padded = F.pad(batch, (2,) * 4, mode="reflect")
    for number in range(2):
        allowed = [padded[number, :, y : y + 6, x : x + 6] for y in range(5) for x in range(5)]
        allowed += [image.flip(2) for image in allowed]
        found = {next(i for i, other in enumerate(allowed) if torch.equal(one[number], other)) for one in seen}
        assert len(found) > 40, "nearly all shifts, mirrored and not"


@pytest.mark.slow
def test_a_network_that_augments_draws_no_global_numbers_and_learns() -> None:
    part = replace(learners["cnn"], make=partial(Cnn, width=4, hidden=16, steps=80, augment=1))
    for name in ("learns", "same stream, same model", "leaves global random state alone"):
        CHECKS[name](lambda: part)
