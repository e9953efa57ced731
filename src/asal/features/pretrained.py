"""Features of a pretrained network: VGG, AlexNet, DINO, CLIP, SigLIP …"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import torch.nn.functional as F
from annotated_types import Ge
from pydantic import StringConstraints
from torch import Tensor, nn

from asal.core import Features, Images, Pool
from asal.errors import UserError
from asal.features import ExtractorInputs
from asal.features import features as kinds
from asal.features.backbones import LIBRARIES, Compute, Output, Preprocessing, library_for
from asal.features.hub_files import WEIGHTS, Checkpoint, copy_checkpoint, find_checkpoint
from asal.models.tensors import to_batch
from asal.runtime import artifacts
from asal.runtime.devices import Device, here
from asal.runtime.progress import Progress

FACTS = "backbone.json"
BATCH = 32  # images per forward pass: the first maps of VGG take 13 MB per image

Name = Annotated[str, StringConstraints(pattern=r"^[\w.-]+/[\w.-]+$")]
Sha256 = Annotated[str, StringConstraints(pattern=r"^([0-9a-f]{64})?$")]


@dataclass(frozen=True)
class BackboneFacts:
    """What is stored beside the weights: everything that the features depend on."""

    name: str
    revision: str  # the hub's commit; "" for a local copy
    sha256: str  # of the weights
    library: str
    version: str  # of the library, when the weights were copied
    output: Output
    dim: int
    preprocessing: Preprocessing  # "sight" in the file

    def save(self, folder: Path) -> None:
        """Write them as readable JSON."""
        facts = asdict(self)
        facts["sight"] = facts.pop("preprocessing")
        artifacts.write_json(folder / FACTS, facts)

    @classmethod
    def load(cls, folder: Path) -> BackboneFacts:
        """Read what `save` wrote.

        Raises:
            DamageError: the file is missing or damaged.
        """
        path = folder / FACTS
        if not path.exists():
            raise artifacts.damaged(path, "it is missing")
        facts = artifacts.read_json(path)
        try:
            preprocessing = Preprocessing(**facts.pop("sight"))
            return cls(**facts, preprocessing=preprocessing)
        except (KeyError, TypeError, ValueError) as error:
            raise artifacts.damaged(path, f"it lacks facts of the network ({error})") from None


@kinds.register("pretrained", provides=("gradient", "originals"))
@dataclass(frozen=True)
class Pretrained:
    """A frozen network by its name: VGG or AlexNet, as the paper's conclusion suggests, DINOv2, DINOv3, CLIP or SigLIP.

    A name is one of the Hugging Face hub ("timm/vgg16.tv_in1k", "facebook/dinov2-small"), or "torchvision/alexnet",
    whose weights come from a file. They are copied into the project once; afterwards nothing else is read.
    Originals are read at the size that the network was trained on, or at `size`, in the pool's `fit`;
    gray images become three equal colours. No label of the pool is used; VGG and AlexNet were trained on ImageNet's
    labels, the DINO family on none, CLIP and SigLIP on captions.

    `output` "auto" is the input of a classifier on top: layer fc7 of VGG and AlexNet, the class token of the DINO
    family, what CLIP and SigLIP pool. "token" is the class token, "mean" the mean over patches or positions. `sha256`,
    where it is given, is checked; since options are part of the folder's name, other weights are never taken for these.
    """

    name: Name
    weights: str = ""  # a local copy: a safetensors file, or a folder in the hub's layout
    revision: str = "main"  # of the hub: a branch, a tag or a commit
    sha256: Sha256 = ""
    size: Annotated[int, Ge(1)] | None = None  # pixels
    output: Output = "auto"

    def train(self, pool: Pool, folder: Path, seed: int, device: Device, progress: Progress) -> None:
        """Fetch the weights, check that they open, and copy them; nothing is learned."""
        checkpoint = find_checkpoint(self.name, self.weights, self.revision, progress)
        with _library_errors(self._refusal):
            library = library_for(self.name, checkpoint)
            preprocessing = library.preprocessing(checkpoint)
            if self.size is not None:
                preprocessing = replace(preprocessing, size=self.size)
            size = preprocessing.size
            dim = _dimensions(library.open(checkpoint, size, self.output).compute, size)
        sha256 = copy_checkpoint(checkpoint, folder, progress)
        if self.sha256 not in ("", sha256):
            (folder / WEIGHTS).unlink()
            raise UserError(
                f"the weights of '{self.name}' at {checkpoint.weights} have the sha256 {sha256}",
                rule=f"the spec asks for {self.sha256}",
                hint="check the file, `revision` and `sha256`",
            )
        version = metadata.version(library.name)
        facts = (self.name, checkpoint.revision, sha256, library.name, version, self.output, dim, preprocessing)
        BackboneFacts(*facts).save(folder)

    def load(self, folder: Path, shape: tuple[int, int, int], inputs: ExtractorInputs) -> Backbone:
        """Open the copy. Needs its library, and nothing else from outside the folder."""
        facts = BackboneFacts.load(folder)
        weights = folder / WEIGHTS
        if not weights.exists():
            raise artifacts.damaged(weights, "it is missing")
        with _library_errors(lambda why: artifacts.damaged(weights, f"{facts.library} cannot open it ({why})")):
            library = LIBRARIES[facts.library]
            network = library.open(Checkpoint(weights), facts.preprocessing.size, facts.output)
            return Backbone(facts, network.compute, module=network.module)

    def _refusal(self, why: str) -> UserError:
        return UserError(
            f"the network '{self.name}' cannot be opened: {why}",
            hint="check `name`, `weights`, `size` and `output`, or choose another network",
        )


@contextmanager
def _library_errors(to_error: Callable[[str], UserError]) -> Iterator[None]:
    """Turn the many kinds of errors that a library raises for a checkpoint into a UserError."""
    try:
        yield
    except (UserError, MemoryError, torch.OutOfMemoryError):  # not the checkpoint's fault
        raise
    except Exception as error:
        why = " ".join(f"{type(error).__name__}: {error}".split())
        raise to_error(why if len(why) < 300 else f"{why[:300]} …") from error


@torch.inference_mode()
def _dimensions(compute: Compute, size: int) -> int:
    features = compute(torch.zeros(1, 3, size, size, device=here()))
    if features.ndim != 2:
        raise ValueError(f"the features of one image have shape {tuple(features.shape)}, not (1, d)")
    return int(features.shape[1])


def preprocess(images: Images, preprocessing: Preprocessing) -> Tensor:
    """Return uint8 images (n, h, w, c) as a network's input: (n, 3, s, s), normalised, on the present device."""
    batch = to_batch(images).to(here()).add_(1).div_(2)
    return normalised(batch, preprocessing)


def normalised(batch: Tensor, preprocessing: Preprocessing) -> Tensor:
    """Return a batch (n, 1 or 3, h, w) of 0 … 1 as a network's input: (n, 3, s, s), differentiably."""
    size = (preprocessing.size, preprocessing.size)
    if batch.shape[2:] != size:
        batch = F.interpolate(batch, size, mode=preprocessing.interpolation, antialias=True)
    batch = batch.clamp(0, 1)  # bicubic interpolation overshoots, which the network's training images did not
    values = (preprocessing.mean, preprocessing.std)
    mean, std = (torch.tensor(value, device=batch.device).view(3, 1, 1) for value in values)
    return batch.expand(-1, 3, -1, -1).sub(mean).div(std)


@dataclass(frozen=True)
class Backbone:
    """(n, h, w, c) → (n, dim)."""

    facts: BackboneFacts
    compute: Compute
    batch: int = BATCH  # images per forward pass
    module: nn.Module | None = None  # the network, whose tensors have names

    @property
    def dim(self) -> int:
        return self.facts.dim

    @property
    def size(self) -> int:
        """Pixels of the squares that the network reads: originals come in this size."""
        return self.facts.preprocessing.size

    @torch.inference_mode()
    def __call__(self, images: Images) -> Features:
        features = np.empty((len(images), self.dim), np.float32)
        for at in range(0, len(images), self.batch):
            batch = preprocess(images[at : at + self.batch], self.facts.preprocessing)
            features[at : at + self.batch] = self.compute(batch).float().cpu().numpy()
        return features

    def differentiable(self, batch: Tensor) -> Tensor:
        """Map float images (n, c, h, w) in [−1, 1] to features (n, dim), differentiably."""
        return self.compute(normalised((batch + 1) / 2, self.facts.preprocessing))

    def named_tensors(self) -> dict[str, Tensor]:
        """Return the weights, and the mean and deviation of colours, by their names."""
        values = {"mean": self.facts.preprocessing.mean, "std": self.facts.preprocessing.std}
        weights = {} if self.module is None else self.module.state_dict()
        return {f"backbone.{name}": value for name, value in weights.items()} | {
            f"preprocessing.{name}": torch.tensor(value) for name, value in values.items()
        }
