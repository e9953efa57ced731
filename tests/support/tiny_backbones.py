"""Checkpoints of real architectures, written by their libraries in their own format: tiny, and with random weights."""

from __future__ import annotations

import atexit
import importlib
import importlib.util
import shutil
import sys
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from asal.core import Features, Images
from asal.features import ExtractorInputs
from asal.features.pretrained import Backbone, Pretrained
from asal.testing.training import toy_pool, train, workshop

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "patch_size": 4, "image_size": 16}
FAMILIES = ("dinov2", "dinov2_with_registers", "dinov3_vit", "vit")
WITH_TEXT = ("clip", "siglip")  # networks of images and texts
BESIDE = Path(sys.prefix) / "vision"  # where `make test` puts timm and torchvision
_DEFINED: list[Any] = []  # operators are there as long as their library is held


@cache
def home() -> Path:
    """Return a folder of these tests' own, which goes with the process."""
    folder = Path(tempfile.mkdtemp(prefix="asal-backbones-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def seeded(make: Callable[[], Any]) -> Any:
    """Make a network whose weights are the same each time."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return make().eval().requires_grad_(False)


def features_of(part: Pretrained, images: Images) -> Features:
    """Prepare the part on a toy pool, open it, and return what it makes of the images."""
    with workshop() as folder:
        return opened(part, folder)(images)


def opened(part: Pretrained, folder: Path) -> Backbone:
    """Prepare the part in a folder, and open it."""
    train(part, folder)
    return part.load(folder, toy_pool().shape, ExtractorInputs())


def photographs(n: int, size: int, channels: int = 3) -> Images:
    """Return smooth pictures in which every value occurs: what networks are made for, as far as numbers go."""
    rng = np.random.default_rng(5)
    coarse = torch.from_numpy(rng.random((n, channels, 4, 4), np.float32) * 1.6 - 0.3)
    fine = torch.nn.functional.interpolate(coarse, (size, size), mode="bicubic").clamp(0, 1)
    return (fine * 255).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous().numpy()


def apart(found: Features, expected: Any) -> float:
    """Return the largest difference, in parts of the largest of what is expected."""
    assert found.shape == expected.shape, f"{found.shape}, not {tuple(expected.shape)}"
    return float(np.abs(found - np.asarray(expected)).max() / np.abs(np.asarray(expected)).max())


# transformers --------------------------------------------------------------------------------------------------------


@cache
def family(name: str) -> tuple[Path, Any, Any]:
    """Return a checkpoint of transformers, to be read and not written, with its network and its image processor."""
    transformers = pytest.importorskip("transformers", reason="the extra `pretrained` is not installed")
    # Pillow's: torchvision's are the default where it is installed, and differ in the last bits.
    from transformers.models.bit.image_processing_pil_bit import BitImageProcessorPil
    from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

    usual = {"image_mean": list(MEAN), "image_std": list(STD)}
    cropped = {"size": {"shortest_edge": 18}, "crop_size": {"height": 16, "width": 16}, "resample": 3}
    config, net, processor = {
        "dinov2": ("Dinov2Config", "Dinov2Model", BitImageProcessorPil(**cropped, **usual)),
        "dinov2_with_registers": (
            "Dinov2WithRegistersConfig", "Dinov2WithRegistersModel", BitImageProcessorPil(**cropped, **usual),
        ),
        "dinov3_vit": ("DINOv3ViTConfig", "DINOv3ViTModel", ViTImageProcessorPil(resample=2, size=16, **usual)),
        "vit": ("ViTConfig", "ViTModel", ViTImageProcessorPil(resample=3, size=16, **usual)),
    }[name]  # fmt: skip
    options = SMALL | ({"intermediate_size": 64} if name in ("dinov3_vit", "vit") else {})
    options |= {"num_register_tokens": 3} if "register" in name or "v3" in name else {}
    made = seeded(lambda: getattr(transformers, net)(getattr(transformers, config)(**options)))
    folder = home() / name
    made.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder, made, processor


@cache
def with_text(name: str) -> tuple[Path, Any, Any]:
    """Return a checkpoint of a network of images and texts, to be read and not written, with both and its processor."""
    transformers = pytest.importorskip("transformers", reason="the extra `pretrained` is not installed")
    processor = {
        "clip": lambda: transformers.CLIPImageProcessorPil(size={"shortest_edge": 18}, crop_size=16),
        "siglip": lambda: transformers.SiglipImageProcessorPil(size={"height": 16, "width": 16}),
    }[name]()
    kind = {"clip": "CLIP", "siglip": "Siglip"}[name]
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    text = sizes | {"vocab_size": 99, "max_position_embeddings": 16}
    config = getattr(transformers, f"{kind}Config")(text_config=text, vision_config=SMALL | sizes)
    made = seeded(lambda: getattr(transformers, f"{kind}Model")(config))
    folder = home() / name
    made.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder, made, processor


def copied(name: str, to: Path) -> Path:
    """Return a copy of a checkpoint of transformers, to be spoilt."""
    return Path(shutil.copytree(family(name)[0], to))


def options(name: str = "dinov2") -> dict[str, Any]:
    """Return a spec's options for a checkpoint of transformers."""
    opened = with_text if name in WITH_TEXT else family
    return {"name": f"tests/{name}", "weights": str(opened(name)[0])}


# timm and torchvision ------------------------------------------------------------------------------------------------


@cache
def torchvision() -> Any:
    """Import torchvision, or skip the test.

    A torchvision built for CUDA cannot load its compiled operators beside a torch built for the CPU, and then fails to
    import, for want of the names of two. No network here uses them: named, they let all the rest run as it is.
    """
    _reach("torchvision")
    try:
        return importlib.import_module("torchvision")
    except RuntimeError as error:
        if "operator torchvision::nms does not exist" not in str(error):
            raise
    for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
        del sys.modules[name]
    library = torch.library.Library("torchvision", "DEF")
    for operator in ("nms", "qnms"):
        library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _DEFINED.append(library)
    return importlib.import_module("torchvision")


@cache
def timm() -> Any:
    """Import timm, or skip the test."""
    _reach("timm")
    torchvision()
    return importlib.import_module("timm")


def _reach(name: str) -> None:
    if importlib.util.find_spec(name) is None and BESIDE.is_dir():
        sys.path.append(str(BESIDE))
    if importlib.util.find_spec(name) is None:
        pytest.skip(f"{name} is not installed: `make test` puts it into {BESIDE}")


TIMM: dict[str, tuple[str, dict[str, Any]]] = {
    "dino": (
        "vit_small_patch16_224.dino",
        {"depth": 2, "embed_dim": 32, "num_heads": 2, "img_size": 16, "patch_size": 4},
    ),
    "dinov3": ("vit_small_patch16_dinov3.lvd1689m", {"depth": 2, "embed_dim": 32, "num_heads": 2, "patch_size": 4}),
    "vgg": ("vgg11.tv_in1k", {"mlp_ratio": 1 / 64, "num_classes": 10}),  # its convolutions as they are, a thin fc6
    "swin": ("swin_tiny_patch4_window7_224", {"depths": (1, 1, 1, 1), "embed_dim": 32, "num_classes": 10}),
}


@cache
def of_timm(name: str) -> tuple[Path, Any]:
    """Return a checkpoint of timm, to be read and not written, and its network."""
    library = timm()
    model, changes = TIMM[name]
    net = seeded(lambda: library.create_model(model, **changes))
    folder = home() / f"timm-{name}"
    library.models.save_for_hf(net, folder, safe_serialization=True)
    return folder, net
