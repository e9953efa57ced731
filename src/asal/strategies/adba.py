"""ADBA (Huijser & van Gemert, ICCV 2017): people annotate lines across the boundary, in latent space."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal, cast

import numpy as np
import numpy.typing as npt
import torch
from annotated_types import Ge, Gt

from asal.core import (
    NO_IDS,
    Extractor,
    Features,
    Images,
    Labels,
    Probs,
    Resources,
    Round,
    Selection,
    not_enough,
)
from asal.errors import UserError
from asal.models.tensors import to_images
from asal.strategies import strategies
from asal.strategies.scoring import highest
from asal.strategies.synthesis import rounded

Floats = npt.NDArray[np.float64]
CANCELLED = 1e-9  # of w: below, gradients that cancel have left no direction
BEND = 0.1  # of the hinge: quadratic within, so that a solver by gradients comes to an end


@strategies.register(
    "adba", needs=("generator", "features", "latents", "two classes"), provides=("images", "lines"), cost="linear"
)
@dataclass(frozen=True)
class Adba:
    """Lines of synthetic images across the boundary; people mark where the class changes. For two classes only.

    The classifier is a linear SVM in latent space. A line goes through the pool's most uncertain latent, put onto the
    boundary, along the boundary's normal; `points` images are made along it, and labelling them counts as one
    annotation (Mayer & Timofte 2020, section 5.3). No latent leads to a line twice. Cost: one dot product for every
    image of the pool; finding their latents is the feature space `latent`, done once.

    Args:
        points: images on a line (the paper's 11).
        reach: of a line to either side, in standard deviations of the latents (our choice; not in the paper).
        weight_decay: of the SVM, λ ‖w‖² (our choice; not in the paper).
    """

    points: Annotated[int, Ge(2)] = 11
    reach: Annotated[float, Gt(0)] = 4.0
    weight_decay: Annotated[float, Gt(0)] = 1e-3

    def __call__(self, now: Round, n: int, rng: np.random.Generator) -> Selection:
        """Return n lines, each a group of images."""
        model = cast(LatentModel, now.model)
        used = {int(origin["source"]) for origin in now.origins if "source" in origin}
        ids, values = NO_IDS, np.empty(0)
        for block in now.candidates.blocks():
            fresh = np.array([image for image in block.tolist() if image not in used], np.int64)
            near = -np.abs(model.distances(now.features(fresh)))
            ids, values = highest(np.concatenate([ids, fresh]), np.concatenate([values, near]), n)
        if len(ids) < n:
            raise not_enough(n, len(ids))
        with now.meter.part("generate"):
            latents = self._lines(model, now.features(ids).astype(np.float64))  # (n, points, z)
            with torch.inference_mode():
                flat = torch.from_numpy(latents.reshape(n * self.points, -1).astype(np.float32))
                images = np.concatenate([to_images(now.tools.generator.decode(part)) for part in flat.split(256)])
        first = len(now.origins)
        notes = [
            {"line": first + row, "place": place, "source": int(ids[row]), "latent": rounded(latents[row, place])}
            for row, place in np.ndindex(n, self.points)
        ]
        return Selection.of_synthetic(now, images, np.repeat(values, self.points), notes, self.points)

    def learner(self, tools: Resources) -> LatentSvm:
        """Return what trains the classifier that this strategy depends on."""
        return LatentSvm(CachedLatents(tools), self.weight_decay)

    def _lines(self, model: LatentModel, latents: Floats) -> Floats:
        """Return points (n, points, z) on lines along the normal, centred where they cross the boundary."""
        length = float(np.linalg.norm(model.weights))
        normal = model.weights / length if length else np.eye(1, latents.shape[-1])[0]
        crossings = latents - model.distances(latents)[:, None] * normal
        steps = np.linspace(-self.reach, self.reach, self.points)
        return np.asarray(crossings[:, None] + steps[:, None] * normal)


class CachedLatents:
    """The latents of images, each computed once, by an optimisation: a test set is predicted in every round."""

    def __init__(self, tools: Resources) -> None:
        self._tools = tools  # not yet opened
        self._known: dict[bytes, Features] = {}

    @property
    def dim(self) -> int:
        """Latent dimensions."""
        return self._extractor.dim

    @property
    def _extractor(self) -> Extractor:
        return self._tools.extractor

    def __call__(self, images: Images) -> Features:
        """Return latents (n, z). Memory: one latent for each distinct image so far."""
        keys = [hashlib.sha256(image.tobytes()).digest() for image in images]
        missing = [place for place, key in enumerate(keys) if key not in self._known]
        if missing:
            latents = self._extractor(images[missing])
            self._known.update((keys[place], latent) for place, latent in zip(missing, latents, strict=True))
        return np.stack([self._known[key] for key in keys]) if keys else np.empty((0, self.dim), np.float32)


@dataclass(frozen=True)
class LatentModel:
    """w·z + b over the latents of images; positive is the second class."""

    weights: Floats  # (z,)
    bias: float
    latents: Extractor = field(repr=False)

    reads: ClassVar[Literal["images"]] = "images"

    def decide(self, latents: npt.NDArray[Any]) -> Floats:
        """Return w·z + b (n,)."""
        return np.asarray(latents @ self.weights + self.bias, np.float64)

    def distances(self, latents: npt.NDArray[Any]) -> Floats:
        """Return the signed distances (n,) to the boundary; 0 where w is 0 and there is none: no latent is nearer."""
        length = float(np.linalg.norm(self.weights))
        return self.decide(latents) / length if length else np.zeros(len(latents))

    def predict(self, images: Images) -> Probs:
        """Return the logistic function of the decision and what is left to one (n, 2)."""
        from scipy.special import expit

        second = expit(self.decide(self.latents(images)))
        return np.column_stack([1 - second, second])

    def embed(self, images: Images) -> Features:
        """Return the latents (n, z): what the only layer sees."""
        return self.latents(images)

    def logits(self, batch: Any) -> Any:
        """Refuse: latents are found by an optimisation, which has no gradient."""
        raise UserError(
            "ADBA's classifier works on latents, and has no gradient",
            rule="a strategy that optimises latents needs a classifier with a gradient",
            hint="use the classifier of another strategy",
        )


@dataclass(frozen=True)
class LatentSvm:
    """½ · hinge on labelled latents + ½ · (w·z_b + b)² on the points where lines change class + λ ‖w‖²."""

    latents: Extractor
    weight_decay: float

    def fit_with_origins(
        self,
        images: Images,
        labels: Labels,
        origins: Sequence[Mapping[str, Any]],
        classes: int,
        rng: np.random.Generator,
    ) -> LatentModel:
        """Fit to labelled images: latents of real ones are computed, those of synthetic ones noted. `rng` is not used.

        Raises:
            UserError: more classes than two.
        """
        if classes != 2:
            raise UserError(
                f"ADBA draws lines between two classes, and there are {classes}",
                hint="keep two classes with `keep` under [pool]",
            )
        noted = np.array(["line" in origin for origin in origins], np.bool_)
        z, sides = np.empty((len(images), self.latents.dim)), labels.copy()
        z[~noted] = self.latents(images[~noted])
        z[noted] = [origin["latent"] for origin in origins if "line" in origin] or np.empty((0, z.shape[1]))
        sides[noted], crossings = marked(z[noted], labels[noted], [o for o in origins if "line" in o])
        weights, bias = _minimum(z, np.where(sides == 1, 1.0, -1.0), crossings, self.weight_decay)
        return LatentModel(weights, bias, self.latents)


def marked(latents: Floats, labels: Labels, origins: Sequence[Mapping[str, Any]]) -> tuple[Labels, Floats]:
    """Return labels (n,) with one change of class a line, and the points z_b (b, z) of the changes.

    If the answers along a line change more than once, the change is put where the fewest of them are on the wrong side,
    at the first of equally good places, and those few are corrected.
    """
    lines: dict[int, list[tuple[int, int]]] = {}
    for row, origin in enumerate(origins):
        lines.setdefault(origin["line"], []).append((origin["place"], row))
    sides, crossings = labels.copy(), []
    for members in lines.values():
        rows = np.array([row for _, row in sorted(members)])
        if (turn := change(labels[rows])) is not None:
            after, rising = turn
            before, behind = rows[: after + 1], rows[after + 1 :]
            sides[before], sides[behind] = (0, 1) if rising else (1, 0)
            crossings.append((latents[before[-1]] + latents[behind[0]]) / 2)
    return sides, np.array(crossings) if crossings else np.empty((0, latents.shape[-1]))


def change(labels: Labels) -> tuple[int, bool] | None:
    """Return the last place before the class changes along a line, and whether to the second; None where it does not.

    >>> change(np.array([0, 0, 1, 1])), change(np.array([1, 1])), change(np.array([1, 0, 1, 0, 0, 0]))
    ((1, True), None, (0, False))
    """
    if len(labels) < 2 or (labels == labels[0]).all():
        return None
    ones = np.cumsum(labels)[:-1]  # (m − 1,) of the second class up to each place
    zeros = np.arange(1, len(labels)) - ones
    rising = ones + (len(labels) - labels.sum() - zeros)  # wrong if it goes from 0 to 1
    after = int(np.minimum(rising, len(labels) - rising).argmin())
    return after, bool(rising[after] <= len(labels) - rising[after])


def _minimum(z: Floats, signs: Floats, crossings: Floats, decay: float) -> tuple[Floats, float]:
    from scipy.optimize import minimize

    def objective(parameters: Floats) -> tuple[float, Floats]:
        w, b = parameters[:-1], parameters[-1]
        short = 1 - signs * (z @ w + b)  # (n,) what the margin lacks
        bent = np.clip(short / BEND, 0, 1)
        hinge = np.where(short > BEND, short - BEND / 2, bent**2 * BEND / 2).mean()
        slope = -signs * bent / len(z)
        total, gradient = 0.5 * hinge + decay * w @ w, 0.5 * np.append(z.T @ slope, slope.sum())
        gradient[:-1] += 2 * decay * w
        if len(crossings):
            off = crossings @ w + b  # (b,)
            total += 0.5 * (off**2).mean()
            gradient += np.append(crossings.T @ off, off.sum()) / len(crossings)
        return float(total), gradient

    optimum = minimize(objective, np.zeros(z.shape[1] + 1), jac=True, method="L-BFGS-B", options={"maxiter": 2000})
    weights: Floats = optimum.x[:-1]
    if np.linalg.norm(weights) <= CANCELLED:  # nothing separates the classes: what is left is rounding
        weights = np.zeros_like(weights)
    return weights, float(optimum.x[-1])
