"""What every kind of features must do: map each image to its features, the same each time.

`CHECKS[name](make)` raises AssertionError where the features fail. `make` is called without arguments and returns an
untrained kind of features (`asal.features.TrainableFeatures`) whose options let it train in a fraction of a second: see
`asal.testing.training`, whose checks are among these. A trained generator and a classifier are available to all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import TypeAlias

import numpy as np

from asal.core import Extractor, Images
from asal.features import ExtractorInputs, TrainableFeatures
from asal.models.generators import TrainedGenerator
from asal.models.learners.linear import Linear
from asal.models.networks import generator_and_critic, initialise
from asal.models.tensors import to_batch
from asal.runtime.devices import here
from asal.runtime.rng import stream, torch_stream
from asal.testing import training
from asal.testing.training import toy_pool, train, workshop

Make: TypeAlias = Callable[[], TrainableFeatures]
Shape: TypeAlias = tuple[int, int, int]


@lru_cache(4)
def toy_generator(shape: Shape) -> TrainedGenerator:
    """Return an untrained generator and its critic, the same each time."""
    generator, critic = generator_and_critic(shape[0], shape[2], 4, 4)
    for net in (generator, critic):
        initialise(net, torch_stream(stream(0, "toy critic")))
        net.to(here()).eval().requires_grad_(False)
    return TrainedGenerator(4, generator, critic.hidden, critic.trunk.dim, here())


def toy_inputs(shape: Shape) -> ExtractorInputs:
    """Return all that a kind of features may name in its needs."""
    pool = toy_pool(shape)
    model = Linear(iterations=5).fit(pool.read(np.arange(40)), np.arange(40) % 3, 3, stream(0, "toy model"))
    return ExtractorInputs(toy_generator(shape), model)


@contextmanager
def trained(make: Make, shape: Shape = (8, 8, 1)) -> Iterator[Extractor]:
    """Train it on toy images of this shape, and open it."""
    with workshop() as folder:
        train(make(), folder, pool=toy_pool(shape))
        yield make().load(folder, shape, toy_inputs(shape))


def images(n: int, shape: Shape = (8, 8, 1)) -> Images:
    """Return the first n toy images."""
    return toy_pool(shape).read(np.arange(n))


def returns_features_of_its_dimension(make: Make) -> None:
    """Images (n, h, w, c), gray or RGB, one or many, become finite float32 (n, dim)."""
    for shape in ((8, 8, 1), (8, 8, 3)):
        with trained(make, shape) as extract:
            for n in (1, 7):
                found = extract(images(n, shape))
                assert found.shape == (n, extract.dim), f"{n} images became {found.shape}, and dim is {extract.dim}"
                assert found.dtype == np.float32, f"features are float32, not {found.dtype}"
                assert np.isfinite(found).all(), "a feature is no finite number"


def does_not_depend_on_batches(make: Make) -> None:
    """An image has the same features alone, among three, and among all."""
    pixels = images(12)
    with trained(make) as extract:
        together = extract(pixels)
        for size in (1, 3, 5):
            parts = np.concatenate([extract(pixels[at : at + size]) for at in range(0, len(pixels), size)])
            apart = float(np.abs(parts - together).max() / np.abs(together).max())
            assert apart < 1e-4, f"in batches of {size}, features differ by {apart:.3g} of the largest"


def distinguishes_images(make: Make) -> None:
    """Different images have different features."""
    pixels = np.unique(images(12), axis=0)
    with trained(make) as extract:
        found = extract(pixels)
    assert len(np.unique(found, axis=0)) == len(pixels), "two different images have the same features"


def is_the_same_when_reloaded(make: Make) -> None:
    """The same image has the same features each time, and when the folder is opened again."""
    shape = toy_pool().shape
    with workshop() as folder:
        train(make(), folder)
        one, two = (make().load(folder, shape, toy_inputs(shape)) for _ in range(2))
        first, again, other = one(images(9)), one(images(9)), two(images(9))
    assert np.array_equal(first, again), "extracted again, the same images have other features"
    assert np.array_equal(first, other), "opened twice, it gives different features"


def does_not_modify_images(make: Make) -> None:
    """It does not write into the images, and can read those that may not be written."""
    pixels = images(6).copy()
    before = pixels.copy()
    with trained(make) as extract:
        extract(pixels)
        assert np.array_equal(pixels, before), "it wrote into the images"
        pixels.setflags(write=False)
        try:
            extract(pixels)
        except Exception as error:
            raise AssertionError(f"read-only images are not accepted: {error}") from error


def passes_a_gradient(make: Make) -> None:
    """If it has `differentiable`, that gives the same features of float images, with a gradient for every image."""
    import torch

    with trained(make) as extract:
        if (differentiable := getattr(extract, "differentiable", None)) is None:
            return
        pixels = images(5)
        batch = to_batch(pixels).requires_grad_()
        found, expected = differentiable(batch), extract(pixels)
        assert found.shape == expected.shape, f"features {expected.shape} became {tuple(found.shape)}"
        apart = float(np.abs(found.detach().cpu().numpy() - expected).max() / np.abs(expected).max())
        assert apart < 1e-3, f"features of float images differ by {apart:.3g} of the largest"
        assert found.requires_grad, "the features do not depend on the images"
        weights = torch.linspace(
            1, 2, found.shape[1], device=found.device
        )  # a plain sum of normalised features is fixed
        (gradient,) = torch.autograd.grad((found @ weights).sum(), batch)
        assert bool((gradient.flatten(1).abs().amax(1) > 0).all()), "the gradient of an image is zero"


CHECKS: dict[str, Callable[[Make], None]] = {
    **training.CHECKS,
    "returns features of its dimension": returns_features_of_its_dimension,
    "does not depend on batches": does_not_depend_on_batches,
    "distinguishes images": distinguishes_images,
    "is the same when reloaded": is_the_same_when_reloaded,
    "does not modify images": does_not_modify_images,
    "passes a gradient": passes_a_gradient,
}
