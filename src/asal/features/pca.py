"""Principal components: the directions in which the pool's features vary most."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, cast

import numpy as np
import numpy.typing as npt

from asal.core import DifferentiableExtractor, Extractor, Features, Ids, Images, Scores
from asal.errors import UserError
from asal.runtime import artifacts
from asal.runtime.progress import Progress, no_progress
from asal.runtime.threads import limited_threads

if TYPE_CHECKING:
    from sklearn.decomposition import PCA, IncrementalPCA
    from torch import Tensor

BATCH = 1024  # images whose raw features are computed at a time
MAX_VALUES = 2**27  # raw features held for a fit: 512 MB
MAX_COVARIANCE = 2048  # raw dimensions up to which the covariance matrix is the fastest way
NOISE = 1e-6  # deviations this far below the largest are float32 noise


@dataclass(frozen=True)
class Pca:
    """A fitted projection: features minus their mean, rotated onto the leading directions, not scaled."""

    FILE: ClassVar[str] = "pca.safetensors"

    mean: Features  # (raw,)
    components: Features  # (d, raw) orthonormal rows; the largest entry of each is positive
    explained: Scores  # (d,) shares of the raw features' variance, descending
    fitted_on: int  # images

    @property
    def raw(self) -> int:
        """Dimensions before."""
        return int(self.components.shape[1])

    @property
    def dim(self) -> int:
        """Dimensions after."""
        return len(self.components)

    @property
    def summary(self) -> str:
        """One line: how many dimensions and how much variance were kept."""
        kept = f"all {self.raw} dimensions, rotated" if self.dim == self.raw else f"{self.dim} of {self.raw} dimensions"
        return f"{kept}, {100 * self.explained.sum():.1f}% of the variance, fitted on {self.fitted_on} images"

    def apply(self, features: Features) -> Features:
        """Project raw features (n, raw) to (n, d)."""
        if features.ndim != 2 or features.shape[1] != self.raw:
            raise ValueError(f"this projection takes features of shape (n, {self.raw}), not {features.shape}")
        return np.asarray((features - self.mean) @ self.components.T, np.float32)

    def save(self, folder: Path) -> None:
        """Write the projection into a folder, atomically."""
        from safetensors.numpy import save

        arrays: dict[str, npt.NDArray[Any]] = {"mean": self.mean, "components": self.components}
        arrays |= {"explained": self.explained, "fitted_on": np.array([self.fitted_on])}
        artifacts.write(folder / self.FILE, save(arrays))

    @classmethod
    def load(cls, folder: Path) -> Pca:
        """Read what `save` wrote.

        Raises:
            DamageError: the file is missing, truncated, or not a projection.
        """
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        path = folder / cls.FILE
        try:
            arrays = load_file(path)
            pca = cls(arrays["mean"], arrays["components"], arrays["explained"], int(arrays["fitted_on"][0]))
        except FileNotFoundError:
            raise artifacts.damaged(path, "it is missing") from None
        except (SafetensorError, KeyError) as error:
            raise artifacts.damaged(path, f"it is not a complete projection ({error})") from None
        if pca.components.ndim != 2 or pca.mean.shape != (pca.raw,) or pca.explained.shape != (pca.dim,):
            raise artifacts.damaged(path, "its shapes are inconsistent")
        return pca


@dataclass(frozen=True)
class Reduced:
    """An extractor followed by a projection: again an extractor."""

    extractor: Extractor
    pca: Pca

    @property
    def dim(self) -> int:
        return self.pca.dim

    def __call__(self, images: Images) -> Features:
        return self.pca.apply(self.extractor(images))

    def differentiable(self, batch: Tensor) -> Tensor:
        """Map (n, c, h, w) in [−1, 1] to (n, d), where the extractor can be differentiated."""
        import torch

        features = cast(DifferentiableExtractor, self.extractor).differentiable(batch)
        mean, components = (torch.from_numpy(part).to(features.device) for part in (self.pca.mean, self.pca.components))
        return (features - mean) @ components.T

    def named_tensors(self) -> dict[str, Tensor]:
        """Return the projection, and what the extractor names, by their names."""
        import torch

        own = {"mean": self.pca.mean, "components": self.pca.components}
        before: Any = getattr(self.extractor, "named_tensors", dict)
        return {**before(), **{f"pca.{name}": torch.from_numpy(part) for name, part in own.items()}}


def fit_pca(
    raw: Callable[[Ids], Features],
    n: int,
    dim: int = 50,
    *,
    rng: np.random.Generator,
    sample: int | None = 20_000,
    progress: Progress = no_progress,
) -> Pca:
    """Fit principal components to the raw features of a pool's images.

    Fewer than `dim` are kept where the features have fewer dimensions, where there are fewer images, and where the rest
    does not vary; see `Pca.summary` and `fitted_on`. The same stream gives the same
    projection, on any number of cores: it is computed with one thread.

    Args:
        raw: maps ids (m,) to raw features (m, raw); called with at most 1024 ids.
        n: images in the pool.
        sample: images to fit on, drawn at random; fewer where their features would not fit into 512 MB. None fits
            on every image, batch by batch (Ross et al. 2008, "Incremental learning for robust visual tracking").

    Raises:
        UserError: there are fewer than two images, or features are not finite or the same for every image.
    """
    if n < 2 or dim < 1 or (sample is not None and sample < 2):
        images = n if sample is None else min(n, sample)
        count = "1 image" if images == 1 else f"{images} images"
        raise UserError(
            f"principal components cannot be fitted to {count} with dim = {dim}",
            rule="they are fitted to two images or more, and at least one is kept",
            hint="use a larger pool or sample, and dim ≥ 1",
        )
    with limited_threads(1):  # the projection decides every stored vector, and must not depend on the number of threads
        if sample is None:
            return _incremental(raw, n, dim, progress)
        return _sampled(raw, n, rng, (dim, sample), progress)


def _sampled(
    raw: Callable[[Ids], Features], n: int, rng: np.random.Generator, size: tuple[int, int], progress: Progress
) -> Pca:
    from sklearn.decomposition import PCA

    dim, sample = size
    order = rng.choice(n, size=min(n, sample), replace=False)
    width = _check_finite(raw(order[:1])).shape[1]
    ids = np.sort(order[: max(2, MAX_VALUES // width)])  # ascending, for sequential reads
    features = np.empty((len(ids), width), np.float32)
    for at in range(0, len(ids), BATCH):
        progress("pca", at, len(ids))
        features[at : at + BATCH] = _check_finite(raw(ids[at : at + BATCH]))
    mean = features.mean(axis=0, dtype=np.float64)
    # Subtracted first, and in float64: with a large offset, the covariance of float32 features is noise.
    np.subtract(features, mean, out=features, casting="same_kind")
    _check_varying(float(np.abs(features).max()), mean)
    kept = min(dim, width, len(ids) - 1)
    few = 4 * kept < min(features.shape)
    solver: Any = "covariance_eigh" if width <= MAX_COVARIANCE else "randomized" if few else "full"
    fitted = PCA(kept, svd_solver=solver, random_state=int(rng.integers(2**31))).fit(features)
    progress("pca", len(ids), len(ids))
    return _projection(fitted, mean, len(ids))


def _incremental(raw: Callable[[Ids], Features], n: int, dim: int, progress: Progress) -> Pca:
    from sklearn.decomposition import IncrementalPCA

    fitted, mean, largest = None, np.zeros(0), 0.0
    # A batch needs more images than components, so the last batch also takes the remainder.
    starts = range(0, max(1, n - max(BATCH, dim) + 1), max(BATCH, dim))
    for start, end in zip(starts, [*starts[1:], n], strict=True):
        progress("pca", start, n)
        batches = [_check_finite(raw(np.arange(at, min(at + BATCH, end)))) for at in range(start, end, BATCH)]
        features = np.concatenate(batches)
        if fitted is None:
            mean = features.mean(axis=0, dtype=np.float64)
            fitted = IncrementalPCA(min(dim, features.shape[1], len(features) - 1))
        centred = features - mean
        largest = max(largest, float(np.abs(centred).max()))
        with np.errstate(invalid="ignore"):  # 0 / 0 in a batch that does not vary; refused below if none does
            fitted.partial_fit(centred, check_input=False)
    _check_varying(largest, mean)
    assert fitted is not None  # n ≥ 2
    progress("pca", n, n)
    return _projection(fitted, mean, n)


def _projection(fitted: PCA | IncrementalPCA, shift: Scores, images: int) -> Pca:
    """Return the projection with fixed signs and without directions in which nothing varies."""
    deviations = np.sqrt(np.maximum(fitted.explained_variance_, 0))
    varies = deviations > NOISE * deviations.max()
    components: npt.NDArray[np.float64] = fitted.components_[varies].astype(np.float64)
    largest = np.take_along_axis(components, np.abs(components).argmax(axis=1)[:, None], axis=1)
    return Pca(
        mean=(shift + fitted.mean_).astype(np.float32),
        components=np.ascontiguousarray(components * np.sign(largest), np.float32),
        explained=fitted.explained_variance_ratio_[varies].astype(np.float64),
        fitted_on=images,
    )


def _check_finite(features: Features) -> Features:
    if features.ndim != 2:
        raise ValueError(f"raw features have shape (n, raw), not {features.shape}")
    if not np.isfinite(features).all():
        raise UserError(
            "the features hold a NaN or an infinity",
            hint="train the feature extractor again, or choose another",
        )
    return features


def _check_varying(largest: float, mean: Scores) -> None:
    """Raise an error for features that are constant up to float32's rounding."""
    if largest <= NOISE * float(np.abs(mean).max()):
        raise UserError(
            "every image has the same features",
            rule="features must differ between images",
            hint="check the images and the feature extractor, or choose another",
        )
