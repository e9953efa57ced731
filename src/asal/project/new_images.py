"""New images as a project's classifier reads them: decoded, fitted and, where it reads features, described by these.

All is done as for the images of the pool, by `asal add` and `asal prepare`; nothing is kept.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from asal.core import Inputs
from asal.data.decoding import Unreadable
from asal.data.ingest_shard import Image, ImageFormat
from asal.data.sources import Raw
from asal.data.sources.decode import decode
from asal.errors import UserError
from asal.features import features as kinds
from asal.features.extract_shard import input_size
from asal.models.learners import learners
from asal.project.images import format_of
from asal.project.validate import learner_space

if TYPE_CHECKING:
    from asal.core import Extractor, Model
    from asal.project.project import Project


@dataclass(frozen=True)
class InputReader:
    """Makes of images what a project's classifier reads.

    Args:
        form: in which the network, or the classifier, gets them.
        extractor: of the features that the classifier reads; None where it reads pictures.
    """

    form: ImageFormat
    extractor: Extractor | None

    @classmethod
    def of(cls, project: Project, reads: str) -> InputReader:
        """Return the reader for a project's classifier, which reads "images" or "features".

        Raises:
            UserError: there is no pool, or the features that the learner reads are not prepared.
        """
        form = format_of(project.root, project.spec.pool)
        if reads == "images":
            return cls(form, None)
        name = learner_space(project.spec)
        extractor, table = project.space(name).stored_extractor, project.spec.features[name]
        if project.parts.originals(table) is not None:  # at the network's size, and not at the pool's
            size = input_size(project.extractor(table))
            form = replace(form, size=size, shape=(size, size, form.shape[2]))
        return cls(form, extractor)

    def picture(self, raw: Raw) -> Image:
        """Decode an image: a file, its bytes, or pixels.

        Raises:
            Unreadable: it cannot be decoded, or has another shape than the pool's where that is not scaled.
        """
        form = self.form
        image = decode(raw, size=form.size, gray=form.gray, how=form.how)
        if image.shape != form.shape:
            own, pools = (f"{height} × {width}" for height, width, _ in (image.shape, form.shape))
            raise Unreadable(f"it has {own} pixels, and the pool's images have {pools}")
        return image

    def inputs(self, pictures: list[Image]) -> Inputs:
        """Return what the classifier reads of pictures: themselves, or their features."""
        images = np.stack(pictures) if pictures else np.empty((0, *self.form.shape), np.uint8)
        return images if self.extractor is None else self.extractor(images)


def logits_of(project: Project, model: Model) -> Callable[[Tensor], Tensor]:
    """Return what maps images in [−1, 1], in the form that `InputReader` gives them, to a classifier's logits.

    Raises:
        UserError: the classifier, or what extracts its features, is no network of torch.
    """
    if "gradient" not in learners[project.spec.learner.kind].provides:
        raise _no_network(f"the learner '{project.spec.learner.kind}'", "head, linear, cnn or torch")
    if model.reads == "images":
        return model.logits
    name = learner_space(project.spec)
    kind = project.spec.features[name].kind
    if "gradient" not in kinds[kind].provides:
        raise _no_network(f"the features '{kind}'", "efficientnet-lite0, pretrained or autoencoder")
    extractor: Any = project.space(name).stored_extractor
    through: Any = model
    logits: Callable[[Tensor], Tensor] = through.through(lambda: extractor).logits
    return logits


def _no_network(what: str, able: str) -> UserError:
    return UserError(
        f"{what} is no network of torch",
        rule="a classifier is written as one network, from images to logits",
        hint=f"use {able}; `asal predict` works with every classifier",
    )


def tensors_of(project: Project, model: Model) -> dict[str, Tensor]:
    """Return the tensors of a classifier and of what extracts its features, by their names, where they have some."""
    named: dict[str, Tensor] = {}
    if (name := learner_space(project.spec)) and model.reads == "features":
        extractor: Any = project.space(name).stored_extractor
        named |= getattr(extractor, "named_tensors", dict)()
    net: Any = getattr(model, "net", None)
    part = "head" if model.reads == "features" else "classifier"
    return named if net is None else {**named, **{f"{part}.{key}": it for key, it in net.state_dict().items()}}
