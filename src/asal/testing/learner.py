"""What every learner must do: train from scratch on labelled images, and predict probabilities.

`CHECKS[name](make)` raises AssertionError where the learner fails. `make` is called without arguments and returns the
learner's registered part, `learners[name]`: what it provides is held against it. Options are bound to its `make`, as in
`replace(part, make=partial(part.make, steps=50))`; they should let it learn sixty toy images in a fraction of a second.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import torch

from asal.core import Images, Inputs, Labels, Learner, Model, Probs, Scores
from asal.errors import UserError
from asal.features.pixels import PixelExtractor
from asal.models.linear_map import linear_map_of
from asal.models.tensors import to_batch
from asal.registry import Part
from asal.runtime.rng import stream
from asal.testing.toys import toy_world
from asal.testing.training import global_streams

Make: TypeAlias = Callable[[], Part]

SHAPE = (8, 8, 1)
CLASSES = 3
PIXELS = PixelExtractor(math.prod(SHAPE))


def toy_set(n: int = 60, first: int = 0) -> tuple[Images, Labels]:
    """Return n toy images of three classes that are easy to distinguish, and their labels."""
    world = toy_world(images=200, classes=CLASSES, shape=SHAPE)
    ids = np.arange(first, first + n)
    return world.pool.read(ids), world.truth[ids]


class LearnerUnderTest:
    """A learner, with toy inputs: images, or their pixels as features where it reads those."""

    def __init__(self, make: Make) -> None:
        self.part = make()
        self._reads_features = "features" in self.part.needs
        learner: Any = self.part.make()
        if self._reads_features and "gradient" in self.part.provides:
            learner = learner.through(lambda: PIXELS)
        self.learner: Learner = learner

    def inputs(self, n: int = 60, first: int = 0) -> tuple[Inputs, Labels]:
        """Return what it reads of n toy images, and their labels."""
        images, labels = toy_set(n, first)
        return PIXELS(images) if self._reads_features else images, labels

    def fit(self, n: int = 60, *, seed: int = 0, keep: int = CLASSES) -> Model:
        """Train on toy images of the first `keep` classes; the model knows of all three."""
        inputs, labels = self.inputs(n)
        kept = labels < keep
        return self.learner.fit(inputs[kept], labels[kept], CLASSES, stream(seed, "toy learner"))


def predicts_probabilities(make: Make) -> None:
    """Images (n, h, w, c) become float64 (n, k), not negative, whose rows sum to one; one image or many."""
    tested = LearnerUnderTest(make)
    model = tested.fit()
    for n in (1, 50):
        _probable(model.predict(tested.inputs(n, first=60)[0]), n, "three classes")


def _probable(probs: Probs, n: int, when: str) -> None:
    assert probs.shape == (n, CLASSES), f"{when}: {n} images became {probs.shape}, of {CLASSES} classes"
    assert probs.dtype == np.float64, f"{when}: probabilities are float64, not {probs.dtype}"
    assert np.isfinite(probs).all(), f"{when}: a probability is not finite"
    assert (probs >= 0).all(), f"{when}: a probability is negative"
    assert np.allclose(probs.sum(axis=1), 1, atol=1e-6), f"{when}: a row sums to {probs.sum(axis=1).max():.6g}"


def predicts_classes_without_labels(make: Make) -> None:
    """Where no label is of the last class, or of any but the first, it still predicts probabilities for all classes."""
    for keep, when in ((2, "the last class is missing"), (1, "only one class has labels")):
        try:
            model = LearnerUnderTest(make).fit(keep=keep)
        except UserError:
            assert keep == 1, "labels of two classes are enough to be fitted to"
            continue  # some classifiers cannot be fitted to one class, and say so
        except Exception as error:
            raise AssertionError(f"{when}: {type(error).__name__}: {error}") from error
        _probable(model.predict(LearnerUnderTest(make).inputs(20, first=60)[0]), 20, when)


def learns(make: Make) -> None:
    """It classifies images that it was not trained on, of classes that are easy to distinguish."""
    tested = LearnerUnderTest(make)
    inputs, labels = tested.inputs(100, first=60)
    right = float((tested.fit().predict(inputs).argmax(axis=1) == labels).mean())
    assert right >= 0.9, f"its accuracy is {right:.2f} on images that are easy to classify"


def same_stream_same_model(make: Make) -> None:
    """The same stream gives the same model, whatever was drawn from the global streams of numpy and torch."""
    inputs, _ = LearnerUnderTest(make).inputs(50, first=60)
    found = []
    for seed in (1, 2):
        with global_streams(seed):
            found.append(LearnerUnderTest(make).fit().predict(inputs))
    assert np.array_equal(found[0], found[1]), "fitted twice from the same stream, the probabilities differ"


def leaves_global_random_state_alone(make: Make) -> None:
    """Training and prediction do not change the global random state of numpy and torch."""
    with global_streams(7):
        before = np.random.get_state(), torch.get_rng_state()
        tested = LearnerUnderTest(make)
        tested.fit().predict(tested.inputs(5)[0])
        after = np.random.get_state(), torch.get_rng_state()
    assert str(before[0]) == str(after[0]), "it moved numpy's global stream"
    assert torch.equal(before[1], after[1]), "it moved torch's global stream"


def starts_from_scratch(make: Make) -> None:
    """Earlier fits do not affect a later one, and a later fit does not change an earlier model."""
    tested = LearnerUnderTest(make)
    model, (inputs, _) = tested.fit(), tested.inputs(50, first=60)
    first = model.predict(inputs)
    tested.fit(20, seed=1, keep=2)
    assert np.array_equal(model.predict(inputs), first), "a later fit changed an earlier model"
    assert np.array_equal(tested.fit().predict(inputs), first), "an earlier fit changes a later one"


def predicts_each_image_alone(make: Make) -> None:
    """An image's probabilities do not depend on the images beside it, nor on how often one asks."""
    tested = LearnerUnderTest(make)
    model, (inputs, _) = tested.fit(), tested.inputs(12, first=60)
    together = model.predict(inputs)
    assert np.array_equal(model.predict(inputs), together), "predicted again, the probabilities differ"
    alone = np.concatenate([model.predict(one[None]) for one in inputs])
    apart = float(np.abs(alone - together).max())
    assert apart < 1e-5, f"alone, a probability differs by {apart:.3g}: is batch norm or dropout in training mode?"


def embeds(make: Make) -> None:
    """Images (n, h, w, c) become finite float32 (n, d), one d for all, that differ between images."""
    tested = LearnerUnderTest(make)
    model, (inputs, _) = tested.fit(), tested.inputs(9)
    found = model.embed(inputs)
    assert found.ndim == 2, f"an embedding is flat: nine images became {found.shape}"
    assert len(found) == 9, f"nine images became {len(found)} embeddings"
    assert found.dtype == np.float32, f"embeddings are float32, not {found.dtype}"
    assert np.isfinite(found).all(), "an embedding is not finite"
    assert len(np.unique(found, axis=0)) > 1, "all images have the same embedding"
    assert np.allclose(model.embed(inputs[:1]), found[:1], atol=1e-4), "an embedding depends on the batch"


def has_the_gradient_it_declares(make: Make) -> None:
    """If it provides "gradient", softmax(`logits`) is `predict`, differentiably; if not, `logits` raises UserError."""
    tested = LearnerUnderTest(make)
    model, (inputs, _) = tested.fit(), tested.inputs(10, first=60)
    batch = to_batch(toy_set(10, first=60)[0]).requires_grad_()
    if "gradient" not in tested.part.provides:
        try:
            model.logits(batch)
        except UserError:
            return
        except Exception as error:
            raise AssertionError(f"`logits` raises {type(error).__name__}, not a UserError: {error}") from error
        raise AssertionError("it has logits, but does not declare that it provides a gradient")
    logits = model.logits(batch)
    assert logits.shape == (10, CLASSES), f"ten images became logits of {tuple(logits.shape)}"
    apart = np.abs(logits.detach().double().softmax(1).cpu().numpy() - model.predict(inputs)).max()
    assert apart < 1e-5, f"the softmax of the logits is {apart:.3g} off the probabilities"
    assert logits.requires_grad, "the logits do not depend on the images"
    (slope,) = torch.autograd.grad(logits[:, 0].sum(), batch)
    assert bool(slope.isfinite().all()), "the gradient is not finite"
    assert bool((slope.flatten(1).abs().amax(1) > 0).any()), "the gradient is zero"


def predicts_with_the_dropout_it_declares(make: Make) -> None:
    """If it provides "dropout", its models predict with it: on the given stream, differently each time, unbiased.

    Without the declaration no strategy uses it, and nothing is checked.
    """
    tested = LearnerUnderTest(make)
    if "dropout" not in tested.part.provides:
        return
    model, (inputs, _) = tested.fit(), tested.inputs(20, first=60)
    predict: Any = getattr(model, "predict_with_dropout", None)
    assert predict is not None, "it provides dropout, and its models have no `predict_with_dropout`"
    with global_streams(7):
        before = str(np.random.get_state()), torch.get_rng_state()
        found = predict(inputs, 3, 0.5, stream(0, "dropout"))
        again = predict(inputs[:7], 3, 0.5, stream(0, "dropout"))
        assert str(np.random.get_state()) == before[0], "dropout moved numpy's global stream"
        assert torch.equal(torch.get_rng_state(), before[1]), "dropout moved torch's global stream"
    assert found.shape == (3, 20, CLASSES), f"20 images, three times, became {found.shape}"
    for probs in found:
        _probable(probs, 20, "with dropout")
    assert np.allclose(again, found[:, :7], atol=1e-5), "on the same stream, the first images are predicted otherwise"
    assert not np.array_equal(found[0], found[1]), "it drops the same inputs each time"
    assert not np.allclose(found, predict(inputs, 3, 0.5, stream(1, "dropout"))), "it does not draw from the stream"
    plain = model.predict(inputs)
    nothing = predict(inputs, 2, 1e-9, stream(0, "dropout"))
    assert np.allclose(nothing, plain, atol=1e-5), "with nothing dropped, it does not predict what `predict` does"
    _unbiased(_log_odds(predict(inputs, 400, 0.2, stream(0, "many"))), _log_odds(plain))


def _log_odds(probs: Probs) -> Scores:
    logs = np.log(np.maximum(probs, 1e-300))
    return np.asarray(logs[..., 1:] - logs[..., :1])


def _unbiased(drawn: Scores, plain: Scores) -> None:
    """Compare means over draws (t, n, k − 1) with the values without dropout, by their standard errors."""
    errors = drawn.std(axis=0) / np.sqrt(len(drawn)) + 1e-4 * (1 + np.abs(plain))
    off = float((np.abs(drawn.mean(axis=0) - plain) / errors).max())
    assert off < 6, f"with dropout, log odds are on average {off:.1f} standard errors off: is what is kept scaled?"


def says_what_it_reads(make: Make) -> None:
    """Its models say that they read "features" where it needs those, and else "images"."""
    tested = LearnerUnderTest(make)
    expected = "features" if "features" in tested.part.needs else "images"
    reads = getattr(tested.fit(), "reads", None)
    assert reads == expected, f"its model reads {expected}, and its `reads` is {reads!r}"


def has_the_linear_map_it_declares(make: Make) -> None:
    """If its model has a `linear_map`, this gives the probabilities of `predict`, and no error exceeds its bound."""
    tested = LearnerUnderTest(make)
    model, (inputs, _) = tested.fit(), tested.inputs(50, first=60)
    linear = linear_map_of(model)
    if linear is None:
        return
    apart = float(np.abs(linear.predict(inputs) - model.predict(inputs)).max())
    assert apart < 1e-5, f"the probabilities of its linear map differ from its own by {apart:.3g}"
    z, loosely = linear.logits(inputs)
    exact = inputs.reshape(len(inputs), -1).astype(np.float64) @ linear.weights.T + linear.biases
    wrong = np.abs(z.T - exact).max(axis=1)
    assert (wrong <= np.minimum(linear.bounds(inputs), loosely)).all(), (
        "a logit of its linear map is wrong by more than its bound"
    )


def does_not_modify_its_arguments(make: Make) -> None:
    """It does not write into its arguments, and accepts read-only arrays."""
    tested = LearnerUnderTest(make)
    inputs, labels = tested.inputs(30)
    kept = inputs.copy(), labels.copy()
    model = tested.learner.fit(inputs, labels, CLASSES, stream(0, "toy learner"))
    model.predict(inputs), model.embed(inputs)
    assert np.array_equal(inputs, kept[0]), "it wrote into the images"
    assert np.array_equal(labels, kept[1]), "it wrote into the labels"
    inputs.setflags(write=False)
    labels.setflags(write=False)
    try:
        model = LearnerUnderTest(make).learner.fit(inputs, labels, CLASSES, stream(0, "toy learner"))
        model.predict(inputs), model.embed(inputs)
    except Exception as error:
        raise AssertionError(f"read-only arrays are not accepted: {error}") from error


CHECKS: dict[str, Callable[[Make], Any]] = {
    "predicts probabilities": predicts_probabilities,
    "predicts classes without labels": predicts_classes_without_labels,
    "learns": learns,
    "same stream, same model": same_stream_same_model,
    "leaves global random state alone": leaves_global_random_state_alone,
    "starts from scratch": starts_from_scratch,
    "predicts each image alone": predicts_each_image_alone,
    "embeds": embeds,
    "has the gradient it declares": has_the_gradient_it_declares,
    "predicts with the dropout it declares": predicts_with_the_dropout_it_declares,
    "says what it reads": says_what_it_reads,
    "has the linear map it declares": has_the_linear_map_it_declares,
    "does not modify its arguments": does_not_modify_its_arguments,
}
