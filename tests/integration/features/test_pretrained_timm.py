"""Pretrained networks of timm, and torchvision's AlexNet: the very numbers of their libraries."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from support import ROOT
from support.tiny_backbones import TIMM, apart, features_of, of_timm, opened, photographs, seeded, timm, torchvision

from asal.errors import UserError
from asal.features.backbones import alexnet_compute, timm_compute
from asal.features.hub_files import CONFIG, WEIGHTS
from asal.features.pretrained import FACTS, Output, Pretrained
from asal.testing.extractor import CHECKS, images
from asal.testing.training import train, workshop

GUIDE = ROOT / "docs/how-to/pretrained-features.md"
DRAWS_NOTHING = (
    "same seed, same files"  # wants another seed to give other files; see tests/integration/features/test_features.py
)


def part(name: str, **more: Any) -> Pretrained:
    return Pretrained(f"timm/{name}", str(of_timm(name)[0]), **more)


@pytest.mark.parametrize("check", [name for name in CHECKS if name != DRAWS_NOTHING])
@pytest.mark.parametrize("name", ["dino", "vgg"])
def test_networks_of_timm_pass_the_checks(name: str, check: str) -> None:
    CHECKS[check](lambda: part(name, size=16 if name == "dino" else 32))


def test_no_global_stream_is_drawn_from() -> None:
    """timm draws weights before it overwrites them."""
    chosen = part("dino")
    before = torch.get_rng_state()
    features_of(chosen, images(2))
    assert torch.equal(torch.get_rng_state(), before)


# Numbers -------------------------------------------------------------------------------------------------------------


def batch_of(net: Any, pictures: Any, size: int) -> torch.Tensor:
    """Return pictures as timm's own transforms make them, squeezed and not cropped."""
    data = timm().data
    config = data.resolve_model_data_config(net) | {"input_size": (3, size, size), "crop_pct": 1.0}
    transform = data.create_transform(**config | {"crop_mode": "squash"})
    return torch.stack([transform(Image.fromarray(picture.squeeze()).convert("RGB")) for picture in pictures])


def resampled(name: str, size: int) -> Any:
    """Return the network for images of this size, its position embeddings resampled by the library."""
    folder, net = of_timm(name)
    if "img_size" not in TIMM[name][1]:
        return net
    return timm().create_model(f"local-dir:{folder}", pretrained=True, img_size=size).eval().requires_grad_(False)


MEANS: dict[str, Any] = {  # of what `forward_features` gives
    "dino": lambda tokens: tokens[:, 1:].mean(1),  # (n, t, d): after the class token
    "dinov3": lambda tokens: tokens[:, 5:].mean(1),  # and after four registers
    "vgg": lambda maps: maps.mean((2, 3)),  # (n, d, h, w)
    "swin": lambda maps: maps.mean((1, 2)),  # (n, h, w, d)
}


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("name", "size"), [("dino", 16), ("dino", 32), ("dinov3", 32), ("vgg", 32), ("swin", 224)])
def test_features_are_the_librarys_own(name: str, size: int, channels: int) -> None:
    net = resampled(name, size)
    with workshop() as one, workshop() as two:
        auto, mean = opened(part(name, size=size), one), opened(part(name, size=size, output="mean"), two)
    for pixels, tolerance in ((size, 1e-5), (8, 0.02), (64, 0.02)):  # resized, Pillow rounds to whole numbers
        pictures = photographs(3, pixels, channels)
        found = net.forward_features(batch_of(net, pictures, size))
        taken = found[:, 0] if name.startswith("dino") else net.forward_head(found, pre_logits=True)
        assert apart(auto(pictures), taken) < tolerance
        assert apart(mean(pictures), MEANS[name](found)) < tolerance


def test_vgg_gives_layer_fc7_at_the_size_it_was_trained_on() -> None:
    folder, net = of_timm("vgg")
    headless = seeded(lambda: timm().create_model("vgg11", mlp_ratio=1 / 64, num_classes=0))
    headless.load_state_dict({k: t for k, t in net.state_dict().items() if not k.startswith("head.")}, strict=True)
    pictures = photographs(2, 224)
    with workshop() as place:
        extractor = opened(Pretrained("timm/vgg11.tv_in1k", str(folder)), place)
    assert extractor.dim == 4096 and extractor.facts.preprocessing.size == 224
    assert extractor.facts.preprocessing.interpolation == "bilinear" and extractor.facts.library == "timm"
    found = extractor(pictures)
    assert apart(found, headless(batch_of(net, pictures, 224))) < 1e-5
    assert found.min() == 0, "after the ReLU"


def test_dinov3_gives_its_class_token_unless_told_otherwise() -> None:
    """Upstream takes the class token, and timm the mean: see timm's note on `vit_small_patch16_dinov3`."""
    auto, token, mean = (features_of(part("dinov3", size=16, output=o), images(3)) for o in ("auto", "token", "mean"))
    assert np.array_equal(auto, token) and apart(auto, mean) > 0.1


@pytest.mark.parametrize(
    ("name", "output", "shape"),
    [
        ("vgg16.tv_in1k", "auto", (2, 4096)), ("vgg16.tv_in1k", "mean", (2, 512)),
        ("vit_small_patch16_224.dino", "auto", (2, 384)), ("vit_base_patch16_224.dino", "mean", (2, 768)),
        ("vit_small_patch16_dinov3.lvd1689m", "auto", (2, 384)), ("resnet50.a1_in1k", "auto", (2, 2048)),
    ],
)  # fmt: skip
def test_networks_of_full_size(name: str, output: Output, shape: tuple[int, int]) -> None:
    with torch.device("meta"):  # shapes without numbers: VGG-16 has 138 million weights
        net = timm().create_model(name).eval()
        assert timm_compute(net, output)(torch.zeros(2, 3, 224, 224)).shape == shape


def test_configs_of_one_level_are_read(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(of_timm("dino")[0], tmp_path / "old"))
    config = json.loads((folder / CONFIG).read_text())
    flat = config["pretrained_cfg"] | {"architecture": config["architecture"], "input_size": [3, 224, 224]}
    full = timm().create_model("vit_small_patch16_224.dino", depth=12)
    timm().models.save_for_hf(full, folder, safe_serialization=True)
    (folder / CONFIG).write_text(json.dumps(flat))
    assert features_of(Pretrained("timm/old", str(folder)), images(1)).shape == (1, 384)


# Refusals ------------------------------------------------------------------------------------------------------------


def of_no_such_architecture(folder: Path) -> None:
    config = json.loads((folder / CONFIG).read_text())
    (folder / CONFIG).write_text(json.dumps(config | {"architecture": "vgg12"}))


def of_another_depth(folder: Path) -> None:
    config = json.loads((folder / CONFIG).read_text())
    config["model_args"]["depth"] = 3
    (folder / CONFIG).write_text(json.dumps(config))


def without_a_mean(folder: Path) -> None:
    config = json.loads((folder / CONFIG).read_text())
    del config["pretrained_cfg"]["mean"]
    (folder / CONFIG).write_text(json.dumps(config))


@pytest.mark.parametrize(
    ("harm", "said"),
    [(of_no_such_architecture, "vgg12"), (of_another_depth, "blocks.2"), (without_a_mean, "mean")],
)
def test_a_wrong_checkpoint_is_refused(harm: Any, said: str, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(of_timm("dino")[0], tmp_path / "wrong"))
    harm(folder)
    with workshop() as place, pytest.raises(UserError, match=f"{said}.*check `name`, `weights`"):
        train(Pretrained("timm/wrong", str(folder)), place)


def test_a_network_without_a_class_token_says_so() -> None:
    with workshop() as place, pytest.raises(UserError, match="a VGG has no class token"):
        train(part("vgg", output="token", size=32), place)


# AlexNet -------------------------------------------------------------------------------------------------------------


def test_alexnet_from_a_converted_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    models = torchvision().models
    (block,) = re.findall(r"```python\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    monkeypatch.chdir(tmp_path)
    seeded(lambda: exec(block.replace('"IMAGENET1K_V1"', "None"), {}) or torch.nn.Identity())
    net = seeded(models.alexnet)  # drawn from the same seed
    alexnet = Pretrained("torchvision/alexnet", "alexnet.safetensors")
    pictures = photographs(3, 40)
    with workshop() as place:
        extractor = opened(alexnet, place)
        assert sorted(path.name for path in place.iterdir() if path.is_file()) == [FACTS, WEIGHTS]
    kept: list[torch.Tensor] = []
    net.classifier[5].register_forward_hook(lambda layer, given, out: kept.append(out.clone()))
    transform = models.AlexNet_Weights.IMAGENET1K_V1.transforms(resize_size=224)
    net(torch.stack([transform(Image.fromarray(picture)) for picture in pictures]))
    assert extractor.dim == 4096 and extractor.facts.preprocessing.size == 224
    assert apart(extractor(pictures), kept[0]) < 0.005, "fc7, after the ReLU"
    exact = photographs(3, 224)
    net(torch.stack([transform(Image.fromarray(picture)) for picture in exact]))
    assert apart(extractor(exact), kept[1]) < 1e-5


def test_outputs_of_alexnet() -> None:
    with torch.device("meta"):
        net = torchvision().models.alexnet().eval()
        batch = torch.zeros(2, 3, 224, 224)
        assert alexnet_compute(net, "auto")(batch).shape == (2, 4096)
        assert alexnet_compute(net, "mean")(batch).shape == (2, 256)
        with pytest.raises(ValueError, match="no class token"):
            alexnet_compute(net, "token")
