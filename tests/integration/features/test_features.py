"""The shipped checks over every registered kind of features, each check's broken twin, and what each kind computes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support import photographs
from support import tiny_backbones as backbones
from support.training_twins import training_twins

from asal.core import Images
from asal.errors import DamageError, UserError
from asal.features import ExtractorInputs, features
from asal.features.autoencoder import Autoencoder, perturb
from asal.features.pixels import PixelExtractor
from asal.models.checkpoints import load_weights
from asal.models.tensors import to_batch, to_images
from asal.runtime.devices import Device
from asal.testing import training
from asal.testing.extractor import CHECKS, Make, images, toy_generator
from asal.testing.training import toy_pool, train, workshop

TINY = {"steps": 21, "code": 5, "width": 2, "batch": 4}
QUICK: dict[str, Callable[[], dict[str, Any]]] = {
    "autoencoder": lambda: TINY,
    "efficientnet-lite0": photographs.small,
    "latent": lambda: {"steps": 20},
    "pretrained": backbones.options,
}
EXCUSED = {
    (name, "same seed, same files"): "it draws nothing, so another seed gives the same files"
    for name in ("efficientnet-lite0", "pretrained")
}


def excused(name: str, check: str) -> Any:
    """Return the pair, marked as failing for a reason where there is one."""
    reason = EXCUSED.get((name, check))
    marks = [pytest.mark.xfail(reason=reason, raises=AssertionError, strict=True)] if reason else []
    return pytest.param(name, check, marks=marks)


@pytest.mark.parametrize(("name", "check"), [excused(name, check) for name in features for check in CHECKS])
def test_features(name: str, check: str) -> None:
    given = QUICK.get(name, dict)()
    CHECKS[check](lambda: features[name].make(**features[name].options(given)))


@pytest.mark.parametrize("check", training.CHECKS)
def test_an_autoencoder_trained_on_perturbed_images(check: str) -> None:
    CHECKS[check](lambda: Autoencoder(**TINY, perturb=1, precision="float32"))


@dataclass(frozen=True)
class Twin:
    """Features that need no training, and are computed by a function."""

    compute: Callable[[Images], Any]
    dim: int = 64

    def train(self, *_: Any) -> None:
        pass

    def load(self, *_: Any) -> Any:
        return self

    def __call__(self, pixels: Images) -> Any:
        return self.compute(pixels)


def flat(pixels: Images) -> Any:
    return pixels.reshape(len(pixels), -1).astype(np.float32)


def centred_on_the_batch(pixels: Images) -> Any:
    return flat(pixels) - flat(pixels).mean(axis=0)


def darkens_in_place(pixels: Images) -> Any:
    pixels //= 2
    return flat(pixels)


def only_writable(pixels: Images) -> Any:
    pixels[:0] = 0
    return flat(pixels)


class ProjectsAnew(Twin):
    """Draws its projection when it is loaded: what was stored no longer fits."""

    def load(self, *_: Any) -> Any:
        projection = np.random.default_rng().normal(size=(64, 8)).astype(np.float32)
        return Twin(lambda pixels: flat(pixels) @ projection, 8)


class Detaches(Twin):
    """Its float images have features of another scale, without a gradient."""

    def differentiable(self, batch: Any) -> Any:
        return batch.permute(0, 2, 3, 1).flatten(1).detach()


TRAINING = training_twins(Autoencoder, TINY)
TWINS: dict[str, Make] = {
    "reads images only": TRAINING["reads images only"],
    "same seed, same files": TRAINING["same seed, same files"],
    "does not depend on global random state": TRAINING["does not depend on global random state"],
    "resumes after an interruption": TRAINING["resumes after an interruption"],
    "returns features of its dimension": lambda: Twin(flat, dim=63),
    "does not depend on batches": lambda: Twin(centred_on_the_batch),
    "distinguishes images": lambda: Twin(lambda pixels: 0 * flat(pixels)),
    "is the same when reloaded": lambda: ProjectsAnew(flat),
    "does not modify images": lambda: Twin(darkens_in_place),
    "passes a gradient": lambda: Detaches(flat),
}


@pytest.mark.parametrize("check", CHECKS)
def test_check_catches_its_twin(check: str) -> None:
    with pytest.raises(AssertionError):
        CHECKS[check](TWINS[check])


@pytest.mark.parametrize(
    ("check", "make", "said"),
    [
        ("same seed, same files", TRAINING["ignores its seed"], "from another seed, the files are the same"),
        (
            "resumes after an interruption",
            TRAINING["counts attempts"],
            r"other bytes than an uninterrupted run: attempts\.txt",
        ),
        ("resumes after an interruption", lambda: Autoencoder(steps=5, code=2, width=1, batch=2), "give it more steps"),
        ("returns features of its dimension", lambda: Twin(lambda pixels: flat(pixels).astype(float)), "float32"),
        ("does not modify images", lambda: Twin(only_writable), "read-only"),
    ],
)
def test_check_says_what_is_wrong(check: str, make: Make, said: str) -> None:
    with pytest.raises(AssertionError, match=said):
        CHECKS[check](make)


def test_pixels_are_values_from_zero_to_one_in_reading_order() -> None:
    pixels = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(1, 2, 3, 3)
    found = PixelExtractor(18)(pixels)
    assert found[0].tolist() == pytest.approx((np.arange(18) / 255).tolist())
    assert PixelExtractor(1)(np.full((1, 1, 1, 1), 255, np.uint8)).tolist() == [[1.0]]


def test_discriminator_features_need_a_generator() -> None:
    for kind in ("discriminator", "latent"):
        with workshop() as folder, pytest.raises(UserError, match=r"\[generator\]"):
            features[kind].make().load(folder, (8, 8, 1), ExtractorInputs())


def test_discriminator_features_are_the_critics_hidden_layer() -> None:
    adversary = toy_generator((8, 8, 1))
    with workshop() as folder:
        found = features["discriminator"].make().load(folder, (8, 8, 1), ExtractorInputs(adversary))(images(5))
    np.testing.assert_allclose(found, adversary.hidden(to_batch(images(5))).numpy(), atol=1e-5)


def test_an_autoencoder_learns_to_draw_what_it_sees() -> None:
    told: list[str] = []
    part = Autoencoder(steps=100, code=8, width=8, batch=10, learning_rate=0.01, precision="float32")
    with workshop() as folder:
        train(part, folder, progress=lambda stage, done, total, note="": told.append(note))
        encoder, decoder = part._networks((8, 8, 1))
        load_weights(folder / "weights.safetensors", encoder=encoder, decoder=decoder)
    batch = to_batch(images(40))
    with torch.inference_mode():
        error = float((decoder(encoder(batch)) - batch).square().mean())
    assert error < float((batch - batch.mean(0)).square().mean()) / 2, "better than the mean image"
    first, last = (float(note.removeprefix("squared error ")) for note in (told[0], told[-1]))
    assert last < first / 5
    assert last == pytest.approx(error, rel=0.5), "what it tells is the error"


@pytest.mark.parametrize("shape", [(28, 28, 1), (32, 32, 3), (64, 64, 3), (9, 9, 1)])
def test_an_autoencoder_takes_images_of_any_size(shape: tuple[int, int, int]) -> None:
    part = Autoencoder(steps=1, code=3, width=1, batch=2)
    with workshop() as folder:
        train(part, folder, pool=toy_pool(shape))
        assert part.load(folder, shape, ExtractorInputs())(images(2, shape)).shape == (2, 3)


def test_perturbed_images_are_shifted_and_noisy() -> None:
    batch = to_batch(images(12))
    draws = torch.Generator().manual_seed(3)
    assert perturb(batch, 0, draws) is batch
    found = perturb(batch, 2, draws)
    assert found.shape == batch.shape
    padded = torch.nn.functional.pad(batch, (2, 2, 2, 2), mode="replicate")
    shifts = [padded[:, :, y : y + 8, x : x + 8] for y in range(5) for x in range(5)]
    apart = torch.stack([(found - shift).square().mean((1, 2, 3)).sqrt() for shift in shifts])  # (25, n)
    assert float(apart.min(0).values.max()) < 0.15, "each is one of the 25 shifts, and noise of σ = 0.1"
    assert float(apart.min(0).values.min()) > 0.05
    assert len(apart.argmin(0).unique()) > 3, "each has a shift of its own"


@pytest.mark.parametrize("harm", ["missing", "cut", "of another width"])
def test_damaged_weights_are_named(harm: str, tmp_path: Path) -> None:
    part = Autoencoder(steps=1, code=3, width=2, batch=2)
    part.train(toy_pool(), tmp_path, 0, Device("cpu"), lambda *_: None)
    weights = tmp_path / "weights.safetensors"
    if harm == "missing":
        weights.unlink()
    elif harm == "cut":
        weights.write_bytes(weights.read_bytes()[:-10])
    else:
        part = Autoencoder(steps=1, code=3, width=3, batch=2)
    with pytest.raises(DamageError, match=r"weights\.safetensors"):
        part.load(tmp_path, (8, 8, 1), ExtractorInputs())


def test_images_become_batches_and_images_again() -> None:
    pixels = images(7, (8, 8, 3))
    batch = to_batch(pixels)
    assert batch.shape == (7, 3, 8, 8)
    assert -1 <= float(batch.min()) <= float(batch.max()) <= 1
    assert np.array_equal(to_images(batch), pixels)
    corners = torch.tensor([-2.0, -1.0, 0.0, 1.0, 2.0]).view(5, 1, 1, 1)
    assert to_images(corners).ravel().tolist() == [0, 0, 128, 255, 255], "clipped, and half rounded to even"
    assert to_batch(np.array([0, 255], np.uint8).reshape(2, 1, 1, 1)).flatten().tolist() == [-1, 1]
