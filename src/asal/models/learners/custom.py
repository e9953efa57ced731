"""Custom classifiers, named by a dotted path."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
from annotated_types import Ge, Gt

from asal.core import Features, Images, Inputs, Labels, Probs
from asal.errors import UserError
from asal.models.learners import learners
from asal.models.learners.neural import NeuralModel, TrainingRecipe, train, with_weights
from asal.registry import resolve

Count = Annotated[int, Ge(1)]


@learners.register("torch", provides=("gradient", "dropout"))
@dataclass(frozen=True)
class TorchFactory:
    """Your own torch module: `factory = "package.module:function"`, called with `shape`, `classes` and `options`.

    It returns an untrained module from float images (n, c, h, w) in [−1, 1] to logits (n, classes).
    """

    factory: str
    options: Mapping[str, Any] = field(default_factory=dict)
    steps: Count = 400
    batch: Count = 64
    learning_rate: Annotated[float, Gt(0)] = 1e-3
    weight_decay: Annotated[float, Ge(0)] = 0.0

    def __post_init__(self) -> None:
        resolve(self.factory)  # report a misspelt path before anything is trained

    def fit(self, images: Images, labels: Labels, classes: int, rng: np.random.Generator) -> NeuralModel:
        """Create a module and train it on uint8 images (n, h, w, c) and labels (n,)."""
        recipe = TrainingRecipe(self.steps, self.batch, self.learning_rate, self.weight_decay)

        def make() -> Any:
            return call_factory(self.factory, shape=images.shape[1:], classes=classes, **self.options)

        return train(make, recipe, images, labels, classes, rng)

    def restored(self, tensors: Mapping[str, npt.NDArray[Any]], shape: Sequence[int], classes: int) -> NeuralModel:
        """Return the model whose `tensors` these are."""

        def make() -> Any:
            return call_factory(self.factory, shape=tuple(shape), classes=classes, **self.options)

        return with_weights(make, tensors, shape)


@learners.register("sklearn", provides=("features",))
@dataclass(frozen=True)
class SklearnFactory:
    """Your own scikit-learn style classifier: `factory = "sklearn.ensemble:RandomForestClassifier"`; has no gradient.

    It is created with `options` (and `random_state` where it takes one), gets pixels as rows in [0, 1], or with
    `features = "X"` under [learner] the stored vectors of a space, and needs `fit` and `predict_proba`. Strategies that
    follow a gradient, such as `asal`, cannot use it.
    """

    factory: str
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        resolve(self.factory)

    def fit(self, inputs: Inputs, labels: Labels, classes: int, rng: np.random.Generator) -> SklearnModel:
        """Fit to images (n, h, w, c), or features (n, d), and labels (n,); classes without one get probability zero."""
        estimator = call_factory(self.factory, **self.options)
        if not hasattr(estimator, "predict_proba"):
            raise UserError(
                f"{self.factory} has no predict_proba",
                rule="a classifier needs `fit` and `predict_proba`",
                hint="choose another classifier, or wrap it in sklearn.calibration:CalibratedClassifierCV",
            )
        if "random_state" in getattr(estimator, "get_params", dict)():
            estimator.set_params(random_state=int(rng.integers(2**31)))
        try:
            estimator.fit(_rows(inputs), labels)
        except ValueError as error:  # many classifiers refuse labels of one class
            raise UserError(
                f"{self.factory} cannot be fitted to these labels: {error}",
                hint="label images of more classes first, or choose another classifier",
            ) from error
        return SklearnModel(estimator, classes, "images" if inputs.dtype == np.uint8 else "features")


@dataclass(frozen=True)
class SklearnModel:
    """A fitted estimator; its columns are moved to the places of their classes."""

    estimator: Any
    classes: int
    reads: Literal["images", "features"]

    def predict(self, inputs: Inputs) -> Probs:
        """Return (n, classes) probabilities."""
        probs = np.zeros((len(inputs), self.classes))
        probs[:, self.estimator.classes_] = self.estimator.predict_proba(_rows(inputs))
        return probs

    def embed(self, inputs: Inputs) -> Features:
        """Return the pixels, or the features: such a classifier has no hidden layer."""
        return _rows(inputs)

    def logits(self, batch: Any) -> Any:
        """Raise an error: there is no gradient. Validation refuses a spec that needs one before this is called."""
        raise UserError(
            f"{type(self.estimator).__name__} has no gradient",
            rule="latent optimisation needs a classifier with a gradient",
            hint="use the learner head, linear, cnn or torch",
        )


def call_factory(factory: str, **arguments: Any) -> Any:
    """Call what a dotted path names."""
    try:
        return resolve(factory)(**arguments)
    except TypeError as error:
        raise UserError(
            f"{factory} cannot be called with {', '.join(arguments) or 'no arguments'}: {error}",
            hint="change its signature, or `options` under [learner]",
        ) from error


def _rows(inputs: Inputs) -> Features:
    """Return features as they are, and images as pixels (n, d) in [0, 1]."""
    rows = inputs.reshape(len(inputs), -1).astype(np.float32)
    return rows / np.float32(255) if inputs.dtype == np.uint8 else rows
