"""The toy worlds keep the contracts of the real parts."""

from __future__ import annotations

import numpy as np
import pytest

from asal.errors import UserError
from asal.testing.toys import toy_world


@pytest.mark.parametrize("shape", [(4, 4, 1), (3, 5, 3)])
def test_logits_are_what_predict_says(shape: tuple[int, int, int]) -> None:
    torch = pytest.importorskip("torch")
    world = toy_world(shape=shape)
    model = world.round([0, 1, 2, 3, 4, 5]).model
    images = world.pool.read(np.arange(20))
    batch = torch.from_numpy(images).permute(0, 3, 1, 2).double() / 127.5 - 1
    batch.requires_grad_()
    logits = model.logits(batch)
    np.testing.assert_allclose(logits.softmax(1).detach().numpy(), model.predict(images), atol=1e-6)
    logits.sum().backward()
    assert batch.grad.abs().sum() > 0


@pytest.mark.parametrize("shape", [(4, 4, 1), (3, 5, 3)])
def test_the_generator_draws_the_pool(shape: tuple[int, int, int]) -> None:
    torch = pytest.importorskip("torch")
    world = toy_world(shape=shape)
    latents = torch.randn(200, world.tools.generator.latent_dim, generator=torch.Generator().manual_seed(0))
    images = world.tools.generator.decode(latents.requires_grad_())
    h, w, c = shape
    assert images.shape == (200, c, h, w)
    assert images.abs().max() <= 1
    drawn = ((images.detach().permute(0, 2, 3, 1).numpy() + 1) * 127.5).round().astype(np.uint8)
    features = world.tools.extractor(drawn)
    near = world.tools.index.search(features, 1).distances.mean()
    assert near < world.tools.index.search(np.full((1, features.shape[1]), 0.5, np.float32), 1).distances.mean()
    images.sum().backward()
    assert latents.grad is not None


def test_a_classifier_is_good_but_unsure_of_some() -> None:
    world = toy_world(images=300)
    probs = world.round(range(30)).predict(np.arange(300))
    assert (probs.argmax(axis=1) == world.truth).mean() > 0.9
    assert probs.max(axis=1).min() < 0.6
    assert probs.max(axis=1).mean() > 0.6


def test_the_same_arguments_make_the_same_world_and_others_another() -> None:
    assert toy_world().pool.fingerprint == toy_world().pool.fingerprint != toy_world(seed=1).pool.fingerprint


def test_the_pool_refuses_ids_that_are_not_its_own() -> None:
    pool = toy_world(images=10).pool
    for ids in ([-1], [10]):
        with pytest.raises(UserError, match="outside 0 … 9"):
            pool.read(np.array(ids))


def test_the_index_skips_what_it_must_and_knows_ids() -> None:
    world = toy_world(images=12)
    query = world.tools.vectors.read(np.array([7]))
    found = world.tools.index.search(query, 20, without=np.array([7, 3]))
    assert found.ids.shape == (1, 10)
    assert not {7, 3} & set(found.ids[0].tolist())
    assert (np.diff(found.distances[0]) >= 0).all()
