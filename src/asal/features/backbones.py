"""Pretrained networks, opened by the libraries timm, transformers and torchvision.

A library opens a checkpoint with two functions: one reads how images are preprocessed; the other builds the network
with its weights, and returns a function from images (n, 3, s, s) to features (n, d). A library is imported when one of
its networks is opened, and not before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, Literal, TypeAlias

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from asal.errors import unknown
from asal.features.hub_files import CONFIG, PREPROCESSOR, Checkpoint
from asal.models.networks import move_to
from asal.runtime.devices import here
from asal.runtime.optional import require

Output: TypeAlias = Literal["auto", "token", "mean"]
Compute: TypeAlias = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Preprocessing:
    """A network's input: squares of `size` pixels, values of 0 … 1 minus `mean`, divided by `std`."""

    size: int
    mean: tuple[float, ...]  # of red, green and blue
    std: tuple[float, ...]
    interpolation: str  # "bilinear" or "bicubic"

    def __post_init__(self) -> None:
        if self.interpolation not in ("bilinear", "bicubic"):
            raise ValueError(f"interpolation is 'bilinear' or 'bicubic', not '{self.interpolation}'")
        if len(self.mean) != 3 or len(self.std) != 3:
            raise ValueError(f"three colours need three means and deviations, not {len(self.mean)} and {len(self.std)}")


@dataclass(frozen=True)
class LoadedNetwork:
    """A network with its weights, and the function that computes its features."""

    module: nn.Module
    compute: Compute


@dataclass(frozen=True)
class BackboneLibrary:
    """Opens the networks of one library."""

    name: str
    extra: str  # of asal that installs it
    preprocessing: Callable[[Checkpoint], Preprocessing]
    network: Callable[[Any, Checkpoint, int, Output], LoadedNetwork]  # (library, checkpoint, size, output)

    def open(self, checkpoint: Checkpoint, size: int, output: Output) -> LoadedNetwork:
        """Build the network with its weights, frozen, on the present device.

        Raises:
            UserError: the library is not installed or does not import, or does not have this network.
            Exception: whatever the library raises for a checkpoint that it cannot open.
        """
        library = _imported(self)
        with torch.random.fork_rng(devices=[]):  # libraries draw weights before they overwrite them
            network = self.network(library, checkpoint, size, output)
        network.module.eval().requires_grad_(False)
        move_to(network.module, here())
        return network


def library_for(name: str, checkpoint: Checkpoint) -> BackboneLibrary:
    """Return the library of a network: torchvision by its name, the others by a key of its config.

    Raises:
        ValueError: the config is missing, or of neither library.
    """
    if name.startswith("torchvision/"):
        if name != "torchvision/alexnet":
            raise unknown("network of torchvision", name, ["torchvision/alexnet"])
        return LIBRARIES["torchvision"]
    config = checkpoint.read(CONFIG)
    for key, library in (("architecture", "timm"), ("model_type", "transformers")):
        if key in config:
            return LIBRARIES[library]
    raise ValueError(f"{CONFIG} has neither 'architecture', as timm writes it, nor 'model_type', as transformers does")


def _imported(library: BackboneLibrary) -> Any:
    """Import a library. transformers needs no torchvision, but imports it where it is installed."""
    hint = "as built for your torch (see pytorch.org)"
    if library.name == "transformers":
        hint += ", or uninstall it: transformers does without"
    why = f"this network is opened with the library '{library.name}'"
    if library.name != "torchvision" and find_spec("torchvision"):
        require("torchvision", extra="timm", why=why, hint=hint)
    return require(library.name, extra=library.extra, why=why, hint=hint if library.name == "torchvision" else "")


# timm ----------------------------------------------------------------------------------------------------------------


def _timm_config(checkpoint: Checkpoint) -> dict[str, Any]:
    config = checkpoint.read(CONFIG)
    pretrained: dict[str, Any] = config.get("pretrained_cfg", config)  # configs before 2023 have one level
    return pretrained


def timm_preprocessing(checkpoint: Checkpoint) -> Preprocessing:
    """Read the preprocessing of a timm network."""
    config = _timm_config(checkpoint)
    size, mean, std = int(config["input_size"][-1]), tuple(config["mean"]), tuple(config["std"])
    return Preprocessing(size, mean, std, config["interpolation"])


def timm_network(timm: Any, checkpoint: Checkpoint, size: int, output: Output) -> LoadedNetwork:
    """Build a timm network; position embeddings are resampled for another image size."""
    sized = {"img_size": size} if _timm_config(checkpoint).get("fixed_input_size") else {}
    net = timm.create_model(f"local-dir:{checkpoint.folder}", pretrained=True, **sized)
    return LoadedNetwork(net, timm_compute(net, output))


def timm_compute(net: Any, output: Output) -> Compute:
    """Return the function that computes a network's features.

    "auto" is the input of its classifier: layer fc7 of VGG, the pooled map of a ResNet. For a network without a
    classifier, such as the DINO family, it is the class token, if there is one; timm's default for DINOv3 is the mean.
    """
    has_token = getattr(net, "cls_token", None) is not None
    if output == "token" and not has_token:
        raise ValueError(f"a {type(net).__name__} has no class token")
    takes_token = output == "token" or (output == "auto" and has_token and net.num_classes == 0)
    axes = (1, 2) if getattr(net, "output_fmt", "NCHW") == "NHWC" else (2, 3)

    def compute(batch: Tensor) -> Tensor:
        hidden: Tensor = net.forward_features(batch)  # (n, t, d), or a map (n, d, h, w)
        if takes_token:
            return hidden[:, 0]
        if output == "auto":
            pooled: Tensor = net.forward_head(hidden, pre_logits=True)
            return pooled
        return hidden[:, net.num_prefix_tokens :].mean(1) if hidden.ndim == 3 else hidden.mean(axes)

    return compute


# transformers --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Family:
    """How the networks of one `model_type` are opened.

    Args:
        model: the library's class; of a network of images and texts, the part for images.
        any_size: whether it has to be asked for position embeddings of another size.
        pooled: whether "auto" is what it pools, and not the class token as it is.
        has_token: whether there is a class token.
    """

    model: str = "AutoModel"
    any_size: bool = True
    pooled: bool = False
    has_token: bool = True


_CLIP = Family("CLIPVisionModel", pooled=True)  # the class token, normalised
_SIGLIP = Family("SiglipVisionModel", pooled=True, has_token=False)  # patches, pooled by attention
FAMILIES: Mapping[str, Family] = {
    "clip": _CLIP,
    "clip_vision_model": _CLIP,
    "dinov2": Family(any_size=False),
    "dinov2_with_registers": Family(any_size=False),
    "dinov3_vit": Family(any_size=False),
    "siglip": _SIGLIP,  # and SigLIP 2 of a fixed size
    "siglip_vision_model": _SIGLIP,
    "vit": Family(),  # DINO, and supervised vision transformers
}
RESAMPLE = {2: "bilinear", 3: "bicubic"}  # by Pillow's numbers


def transformers_preprocessing(checkpoint: Checkpoint) -> Preprocessing:
    """Read the preprocessing of a transformers network."""
    config = checkpoint.read(PREPROCESSOR)
    if abs(config.get("rescale_factor", 1 / 255) - 1 / 255) > 1e-6 or config.get("do_normalize") is False:
        raise ValueError(f"{PREPROCESSOR} asks for values that are not in the range 0 … 1 and normalised")
    size = config["crop_size"] if config.get("do_center_crop") else config["size"]
    edge = size if isinstance(size, int) else size.get("shortest_edge") or size["height"]
    resample = RESAMPLE.get(config["resample"], str(config["resample"]))
    return Preprocessing(int(edge), tuple(config["image_mean"]), tuple(config["image_std"]), resample)


def transformers_network(transformers: Any, checkpoint: Checkpoint, size: int, output: Output) -> LoadedNetwork:
    """Build a vision transformer of the library transformers.

    "auto" is its class token; of CLIP and SigLIP what it pools, before any projection to the space of texts.
    """
    name = checkpoint.read(CONFIG)["model_type"]
    if name not in FAMILIES:
        raise unknown("network of transformers", name, FAMILIES)
    family = FAMILIES[name]
    if output == "token" and not family.has_token:
        raise ValueError(f"a network of type {name} has no class token")
    with _quiet(transformers.utils.logging):
        net, info = getattr(transformers, family.model).from_pretrained(
            checkpoint.folder,
            dtype=torch.float32,
            local_files_only=True,
            output_loading_info=True,
            trust_remote_code=False,
            use_safetensors=True,
        )
    unused = () if family.pooled else ("pooler.",)
    missing = sorted(key for key in info["missing_keys"] if not key.startswith(unused))
    if missing:
        raise ValueError(f"the weights lack {', '.join(missing[:3])}{' …' if len(missing) > 3 else ''}")
    first_patch = int(family.has_token) + getattr(net.config, "num_register_tokens", 0)
    arguments = {"interpolate_pos_encoding": True} if family.any_size else {}

    def compute(batch: Tensor) -> Tensor:
        found = net(pixel_values=batch, **arguments)
        if output == "auto" and family.pooled:
            pooled: Tensor = found.pooler_output  # (n, d)
            return pooled
        tokens: Tensor = found.last_hidden_state  # (n, t, d)
        return tokens[:, first_patch:].mean(1) if output == "mean" else tokens[:, 0]

    return LoadedNetwork(net, compute)


@contextmanager
def _quiet(logging: Any) -> Iterator[None]:
    """Silence the library's progress bars, and its warnings of unused weights."""
    had_bar, level = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if had_bar:
            logging.enable_progress_bar()


# torchvision ---------------------------------------------------------------------------------------------------------


def alexnet_preprocessing(checkpoint: Checkpoint) -> Preprocessing:
    """Return the values of `torchvision.models.AlexNet_Weights.IMAGENET1K_V1`, which are not in its file."""
    return Preprocessing(224, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), "bilinear")


def alexnet_network(torchvision: Any, checkpoint: Checkpoint, size: int, output: Output) -> LoadedNetwork:
    """Build AlexNet; "auto" is its layer fc7."""
    weights = load_file(checkpoint.weights)
    net = torchvision.models.alexnet(num_classes=len(weights["classifier.6.bias"]))
    net.load_state_dict(weights)
    return LoadedNetwork(net, alexnet_compute(net, output))


def alexnet_compute(net: Any, output: Output) -> Compute:
    """Return the function that computes AlexNet's features."""
    if output == "token":
        raise ValueError("AlexNet has no class token")

    def compute(batch: Tensor) -> Tensor:
        maps: Tensor = net.features(batch)  # (n, 256, h, w)
        if output == "mean":
            return maps.mean((2, 3))
        hidden: Tensor = net.classifier[:-1](net.avgpool(maps).flatten(1))  # (n, 4096)
        return hidden

    return compute


LIBRARIES: Mapping[str, BackboneLibrary] = {
    "timm": BackboneLibrary("timm", "timm", timm_preprocessing, timm_network),
    "torchvision": BackboneLibrary("torchvision", "timm", alexnet_preprocessing, alexnet_network),
    "transformers": BackboneLibrary("transformers", "pretrained", transformers_preprocessing, transformers_network),
}
