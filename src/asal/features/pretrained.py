"""What a network that others trained, on other images, makes of an image: VGG, AlexNet, DINO …"""

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
from torch import Tensor

from asal.core import Features, Images, Pool
from asal.errors import UserError
from asal.features import ExtractorInputs, features
from asal.features.backbones import LIBRARIES, Compute, Output, Preprocessing, library_of
from asal.features.hub_files import WEIGHTS, Checkpoint, copy, find
from asal.models.tensors import to_batch
from asal.runtime import artifacts
from asal.runtime.devices import Device, here
from asal.runtime.progress import Progress

FACTS = "backbone.json"
BATCH = 32  # images seen at a time: the first maps of VGG take 13 MB an image

Name = Annotated[str, StringConstraints(pattern=r"^[\w.-]+/[\w.-]+$")]
Sha256 = Annotated[str, StringConstraints(pattern=r"^([0-9a-f]{64})?$")]


@dataclass(frozen=True)
class BackboneFacts:
    """What is kept beside the weights: all that the features hang on."""

    name: str
    revision: str  # the hub's commit; "" for a local copy
    sha256: str  # of the weights
    library: str
    version: str  # of the library, when the weights were copied
    output: Output
    dim: int
    sight: Preprocessing

    def save(self, folder: Path) -> None:
        """Write them as readable JSON."""
        artifacts.write_json(folder / FACTS, asdict(self))

    @classmethod
    def load(cls, folder: Path) -> BackboneFacts:
        """Read what `save` wrote.

        Raises:
            DamageError: the file is missing, or not what was written.
        """
        path = folder / FACTS
        if not path.exists():
            raise artifacts.damaged(path, "it is missing")
        said = artifacts.read_json(path)
        try:
            return cls(**{**said, "sight": Preprocessing(**said["sight"])})
        except (KeyError, TypeError, ValueError) as error:
            raise artifacts.damaged(path, f"it does not tell all of a network ({error})") from None


@features.register("pretrained")
@dataclass(frozen=True)
class Pretrained:
    """A frozen network by its name: VGG and AlexNet, as the paper's conclusion suggests, or DINO, DINOv2, DINOv3.

    A name is one of the Hugging Face hub ("timm/vgg16.tv_in1k", "facebook/dinov2-small"), or "torchvision/alexnet",
    whose weights come from a file. They are copied into the project once, and from then on nothing else is read.
    Images are squeezed into squares of the size that the network was trained on, or of `size`, and never cropped;
    gray ones are seen as three equal colours. No label of the pool is used; of the networks, VGG and AlexNet learned
    from ImageNet's labels, the DINO family from none.

    `output` "auto" is what a classifier on top would see: layer fc7 of VGG and AlexNet, the class token of the DINO
    family. "token" is the class token, "mean" the mean over patches or places. `sha256` is what the weights must have,
    where it is given; as an option it is part of the folder's name, so that other weights never pass for these.
    """

    name: Name
    weights: str = ""  # a local copy: a safetensors file, or a folder in the hub's layout
    revision: str = "main"  # of the hub: a branch, a tag or a commit
    sha256: Sha256 = ""
    size: Annotated[int, Ge(1)] | None = None  # pixels
    output: Output = "auto"

    def train(self, pool: Pool, folder: Path, seed: int, device: Device, progress: Progress) -> None:
        """Learn nothing: fetch the weights, see that they open, and copy them. Cut and called again, it copies anew."""
        checkpoint = find(self.name, self.weights, self.revision, progress)
        with _told(self._unfit):
            library = library_of(self.name, checkpoint)
            sight = library.sight(checkpoint)
            if self.size is not None:
                sight = replace(sight, size=self.size)
            dim = _dimensions(library.open(checkpoint, sight.size, self.output), sight.size)
        sha256 = copy(checkpoint, folder, progress)
        if self.sha256 not in ("", sha256):
            (folder / WEIGHTS).unlink()
            raise UserError(
                f"{checkpoint.weights} has {sha256}",
                rule=f"the weights of '{self.name}' have the sha256 that the spec gives",
                hint="check the file, `revision` and `sha256`",
            )
        version = metadata.version(library.name)
        BackboneFacts(self.name, checkpoint.revision, sha256, library.name, version, self.output, dim, sight).save(
            folder
        )

    def load(self, folder: Path, shape: tuple[int, int, int], given: ExtractorInputs) -> Backbone:
        """Open the copy. Needs its library, and nothing else from outside the folder."""
        facts = BackboneFacts.load(folder)
        weights = folder / WEIGHTS
        if not weights.exists():
            raise artifacts.damaged(weights, "it is missing")
        with _told(lambda why: artifacts.damaged(weights, f"{facts.library} cannot open it ({why})")):
            library = LIBRARIES[facts.library]
            return Backbone(facts, library.open(Checkpoint(weights), facts.sight.size, facts.output))

    def _unfit(self, why: str) -> UserError:
        return UserError(
            f"'{self.name}': {why}",
            rule="a pretrained network opens with its weights, and takes the size and the output that are asked for",
            hint="check `name`, `weights`, `size` and `output`, or choose another network",
        )


@contextmanager
def _told(to: Callable[[str], UserError]) -> Iterator[None]:
    """Turn what a library says of a checkpoint, in a dozen kinds of error, into one that a user can mend."""
    try:
        yield
    except (UserError, MemoryError, torch.OutOfMemoryError):  # none of the checkpoint's doing
        raise
    except Exception as error:
        why = " ".join(f"{type(error).__name__}: {error}".split())
        raise to(why if len(why) < 300 else f"{why[:300]} …") from error


@torch.inference_mode()
def _dimensions(compute: Compute, size: int) -> int:
    found = compute(torch.zeros(1, 3, size, size, device=here()))
    if found.ndim != 2:
        raise ValueError(f"one image becomes {tuple(found.shape)}, not (1, d)")
    return int(found.shape[1])


def seen(images: Images, sight: Preprocessing) -> Tensor:
    """Return uint8 images (n, h, w, c) as a network sees them: (n, 3, s, s), normalised, on the device that is here."""
    batch = to_batch(images).to(here()).add_(1).div_(2)
    batch = F.interpolate(batch, (sight.size, sight.size), mode=sight.interpolation, antialias=True)
    batch = batch.clamp_(0, 1)  # a bicubic curve overshoots, and no image that the network learned from does
    mean, std = (torch.tensor(values, device=batch.device).view(3, 1, 1) for values in (sight.mean, sight.std))
    return batch.expand(-1, 3, -1, -1).sub(mean).div_(std)


@dataclass(frozen=True)
class Backbone:
    """(n, h, w, c) → (n, dim)."""

    facts: BackboneFacts
    compute: Compute

    @property
    def dim(self) -> int:
        return self.facts.dim

    @torch.inference_mode()
    def __call__(self, images: Images) -> Features:
        found = np.empty((len(images), self.dim), np.float32)
        for at in range(0, len(images), BATCH):
            batch = seen(images[at : at + BATCH], self.facts.sight)
            found[at : at + BATCH] = self.compute(batch).float().cpu().numpy()
        return found
