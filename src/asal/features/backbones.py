"""Pretrained networks as the libraries open them: what each wants to see, and what it says of it.

A library opens a checkpoint with two functions. One reads how the network wants its images; the other builds it with
its weights, and returns what maps images (n, 3, s, s) to features (n, d). A library is imported when one of its
networks is opened, and only then.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, Literal, TypeAlias

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from asal.errors import UserError, unknown
from asal.features.hub_files import CONFIG, PREPROCESSOR, Checkpoint
from asal.models.networks import move_to
from asal.runtime.devices import here

Output: TypeAlias = Literal["auto", "token", "mean"]
Compute: TypeAlias = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Preprocessing:
    """How a network wants its images: squares of `size` pixels, values of 0 … 1 less `mean`, in units of `std`."""

    size: int
    mean: tuple[float, ...]  # of red, green and blue
    std: tuple[float, ...]
    interpolation: str  # "bilinear" or "bicubic"

    def __post_init__(self) -> None:
        if self.interpolation not in ("bilinear", "bicubic"):
            raise ValueError(f"images are resized bilinearly or bicubically, not by '{self.interpolation}'")
        if len(self.mean) != 3 or len(self.std) != 3:
            raise ValueError(f"there are three colours, and {len(self.mean)} means, {len(self.std)} deviations")


@dataclass(frozen=True)
class Network:
    """A network with its weights, and the function that computes its features."""

    module: nn.Module
    compute: Compute


@dataclass(frozen=True)
class Library:
    """Opens networks of one library."""

    name: str
    extra: str  # of asal, that installs it
    sight: Callable[[Checkpoint], Preprocessing]
    network: Callable[[Any, Checkpoint, int, Output], Network]  # (library, checkpoint, size, output)

    def open(self, checkpoint: Checkpoint, size: int, output: Output) -> Compute:
        """Build the network with its weights, frozen, on the device that is here.

        Raises:
            UserError: the library is not installed or does not import, or the network is of a kind it does not have.
            Exception: whatever the library says of a checkpoint that it cannot open.
        """
        library = _imported(self)
        with torch.random.fork_rng(devices=[]):  # first weights are drawn, globally, before they are overwritten
            network = self.network(library, checkpoint, size, output)
        network.module.eval().requires_grad_(False)
        move_to(network.module, here())
        return network.compute


def library_of(name: str, checkpoint: Checkpoint) -> Library:
    """Return the library that a network is for: torchvision by its name, the others by what its config declares.

    Raises:
        ValueError: the config is not there, or of neither library.
    """
    if name.startswith("torchvision/"):
        if name != "torchvision/alexnet":
            raise unknown("network of torchvision", name, ["torchvision/alexnet"])
        return LIBRARIES["torchvision"]
    config = checkpoint.read(CONFIG)
    for key, library in (("architecture", "timm"), ("model_type", "transformers")):
        if key in config:
            return LIBRARIES[library]
    raise ValueError(f"{CONFIG} has neither 'architecture', as timm writes, nor 'model_type', as transformers does")


def _imported(library: Library) -> Any:
    """Import a library. transformers needs no torchvision, but imports it where it is installed."""
    for name in ("torchvision", library.name):
        if name == library.name or find_spec(name):
            try:
                found = importlib.import_module(name)
            except Exception as error:  # torchvision beside a torch it was not built for raises RuntimeError
                missing = isinstance(error, ModuleNotFoundError) and find_spec(name) is None
                raise UserError(
                    f"{name} is not installed" if missing else f"{name} does not import: {error}",
                    rule=f"this network is opened with the library '{library.name}'",
                    hint=f"pip install 'asal[{library.extra}]'" if missing else _mend(library),
                ) from None
    return found


def _mend(library: Library) -> str:
    away = ", or uninstall it: transformers does without" if library.name == "transformers" else ""
    return f"install the torchvision that was built for your torch, as pytorch.org tells{away}"


# timm ----------------------------------------------------------------------------------------------------------------


def _timm_config(checkpoint: Checkpoint) -> dict[str, Any]:
    config = checkpoint.read(CONFIG)
    own: dict[str, Any] = config.get("pretrained_cfg", config)  # before 2023 there was one level
    return own


def timm_sight(checkpoint: Checkpoint) -> Preprocessing:
    """Read how a network of timm wants its images."""
    own = _timm_config(checkpoint)
    return Preprocessing(int(own["input_size"][-1]), tuple(own["mean"]), tuple(own["std"]), own["interpolation"])


def timm_network(timm: Any, checkpoint: Checkpoint, size: int, output: Output) -> Network:
    """Build a network of timm. Position embeddings are resampled where images of another size are asked for."""
    sized = {"img_size": size} if _timm_config(checkpoint).get("fixed_input_size") else {}
    net = timm.create_model(f"local-dir:{checkpoint.folder}", pretrained=True, **sized)
    return Network(net, timm_compute(net, output))


def timm_compute(net: Any, output: Output) -> Compute:
    """Return what computes a network's features.

    "auto" is what its classifier sees: layer fc7 of VGG, the pooled map of a ResNet. Where it was trained without one,
    as the DINO family was, it is the class token, if there is one: timm's own default for DINOv3 is the mean.
    """
    has_token = getattr(net, "cls_token", None) is not None
    if output == "token" and not has_token:
        raise ValueError(f"a {type(net).__name__} has no class token")
    takes_token = output == "token" or (output == "auto" and has_token and net.num_classes == 0)
    places = (1, 2) if getattr(net, "output_fmt", "NCHW") == "NHWC" else (2, 3)

    def compute(batch: Tensor) -> Tensor:
        found: Tensor = net.forward_features(batch)  # (n, t, d), or a map (n, d, h, w)
        if takes_token:
            return found[:, 0]
        if output == "auto":
            seen: Tensor = net.forward_head(found, pre_logits=True)
            return seen
        return found[:, net.num_prefix_tokens :].mean(1) if found.ndim == 3 else found.mean(places)

    return compute


# transformers --------------------------------------------------------------------------------------------------------

FAMILIES: Mapping[str, dict[str, Any]] = {  # by `model_type`, with what their call needs to take images of any size
    "dinov2": {},
    "dinov2_with_registers": {},
    "dinov3_vit": {},
    "vit": {"interpolate_pos_encoding": True},  # DINO, and supervised vision transformers
}
RESAMPLE = {2: "bilinear", 3: "bicubic"}  # by Pillow's numbers


def transformers_sight(checkpoint: Checkpoint) -> Preprocessing:
    """Read how a network of transformers wants its images."""
    own = checkpoint.read(PREPROCESSOR)
    if abs(own.get("rescale_factor", 1 / 255) - 1 / 255) > 1e-6 or own.get("do_normalize") is False:
        raise ValueError(f"{PREPROCESSOR} asks for values of another range than 0 … 1, normalised")
    size = own["crop_size"] if own.get("do_center_crop") else own["size"]
    edge = size if isinstance(size, int) else size.get("shortest_edge") or size["height"]
    resample = RESAMPLE.get(own["resample"], str(own["resample"]))
    return Preprocessing(int(edge), tuple(own["image_mean"]), tuple(own["image_std"]), resample)


def transformers_network(transformers: Any, checkpoint: Checkpoint, size: int, output: Output) -> Network:
    """Build a vision transformer of transformers; "auto" is its class token."""
    family = checkpoint.read(CONFIG)["model_type"]
    if family not in FAMILIES:
        raise unknown("network of transformers that asal knows", family, FAMILIES)
    with _quiet(transformers.utils.logging):
        net, told = transformers.AutoModel.from_pretrained(
            checkpoint.folder,
            dtype=torch.float32,
            local_files_only=True,
            output_loading_info=True,
            trust_remote_code=False,
            use_safetensors=True,
        )
    lacking = sorted(key for key in told["missing_keys"] if not key.startswith("pooler."))  # what asal does not use
    if lacking:
        raise ValueError(f"the weights lack {', '.join(lacking[:3])}{' …' if len(lacking) > 3 else ''}")
    first_patch = 1 + getattr(net.config, "num_register_tokens", 0)

    def compute(batch: Tensor) -> Tensor:
        tokens: Tensor = net(pixel_values=batch, **FAMILIES[family]).last_hidden_state  # (n, t, d)
        return tokens[:, first_patch:].mean(1) if output == "mean" else tokens[:, 0]

    return Network(net, compute)


@contextmanager
def _quiet(logging: Any) -> Iterator[None]:
    """Hold back the library's own bars, and its remarks on weights that are not used."""
    shown, level = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if shown:
            logging.enable_progress_bar()


# torchvision ---------------------------------------------------------------------------------------------------------


def alexnet_sight(checkpoint: Checkpoint) -> Preprocessing:
    """Return what `torchvision.models.AlexNet_Weights.IMAGENET1K_V1` says: its file does not."""
    return Preprocessing(224, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), "bilinear")


def alexnet_network(torchvision: Any, checkpoint: Checkpoint, size: int, output: Output) -> Network:
    """Build AlexNet; "auto" is its layer fc7."""
    weights = load_file(checkpoint.weights)
    net = torchvision.models.alexnet(num_classes=len(weights["classifier.6.bias"]))
    net.load_state_dict(weights)
    return Network(net, alexnet_compute(net, output))


def alexnet_compute(net: Any, output: Output) -> Compute:
    """Return what computes AlexNet's features."""
    if output == "token":
        raise ValueError("AlexNet has no class token")

    def compute(batch: Tensor) -> Tensor:
        found: Tensor = net.features(batch)  # (n, 256, h, w)
        if output == "mean":
            return found.mean((2, 3))
        hidden: Tensor = net.classifier[:-1](net.avgpool(found).flatten(1))  # (n, 4096)
        return hidden

    return compute


LIBRARIES: Mapping[str, Library] = {
    "timm": Library("timm", "timm", timm_sight, timm_network),
    "torchvision": Library("torchvision", "timm", alexnet_sight, alexnet_network),
    "transformers": Library("transformers", "pretrained", transformers_sight, transformers_network),
}
