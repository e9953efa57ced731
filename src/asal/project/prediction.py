"""Predictions for images in a stream: of the pool by what is stored of them, of new ones from their files.

New images are decoded and go through the network in chunks, each by one thread from beginning to end, which uses all
cores and gives the same numbers on any machine. Memory: a few chunks, however many images there are.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from asal.core import Candidates, Ids, Probs
from asal.data.decoding import Unreadable
from asal.data.originals import keyed
from asal.data.pool import KEY_GROUP
from asal.data.sources import Raw
from asal.data.sources.folder import Folder
from asal.data.sources.remote import is_url
from asal.errors import UserError
from asal.project.classifier import Classifier, classifier_of
from asal.project.new_images import InputReader
from asal.runtime.devices import here
from asal.runtime.environment import cores
from asal.runtime.prefetch import map_ahead
from asal.runtime.progress import Pace, Progress, no_progress
from asal.runtime.threads import limited_threads

if TYPE_CHECKING:
    from asal.project.project import Project

CHUNK, GPU_CHUNK = 16, 64  # new images that a thread decodes and classifies at a time
BYTES = 2**26  # of what the classifier reads of the pool, at a time

Place: TypeAlias = str | Path  # a file, a folder, or the URL of a folder
Images: TypeAlias = Place | npt.NDArray[Any] | Sequence[Place | bytes | npt.NDArray[Any]]


@dataclass(frozen=True)
class Predictions:
    """What a classifier says of some images; those that could not be read have no row.

    Args:
        classes: the names of the columns of `probs`.
        names: of each image: its path, or its number among those that were given.
        unreadable: name → why it could not be read.
        ids: of images of the pool.
    """

    classes: tuple[str, ...]
    names: list[str]
    probs: Probs  # (n, k)
    unreadable: dict[str, str] = field(default_factory=dict)
    ids: Ids | None = None

    def __len__(self) -> int:
        return len(self.names)

    @property
    def labels(self) -> list[str]:
        """The name of the likeliest class of each image."""
        return [self.classes[column] for column in self.probs.argmax(axis=1)] if len(self) else []


@dataclass(frozen=True)
class Predictor:
    """A project's classifier, ready for images."""

    project: Project
    classifier: Classifier
    reader: InputReader

    @classmethod
    def of(cls, project: Project, strategy: str = "") -> Predictor:
        """Open the classifier of all labels of a project; see `classifier_of`."""
        classifier = classifier_of(project, strategy)
        return cls(project, classifier, InputReader.of(project, classifier.model.reads))

    def of_pool(self, *, labelled: bool = False, progress: Progress = no_progress) -> Iterator[Predictions]:
        """Yield predictions for the images of the pool, block by block, by ascending ids.

        Args:
            labelled: also for those that have a label, which the classifier was trained on, and for copies of them.
        """
        pool, excluded = self.project.pool, self.classifier.with_label[: None if not labelled else 0]
        candidates, done, pace = Candidates(len(pool), excluded), 0, Pace()
        for ids in candidates.blocks(KEY_GROUP):
            keys = named.keys(ids) if (named := keyed(pool)) else [""] * len(ids)
            for start in range(0, len(ids), self._rows):
                some = slice(start, start + self._rows)
                probs = self.classifier.model.predict(self.classifier.session.inputs(ids[some]))
                yield Predictions(self.classifier.classes, keys[some], probs, ids=ids[some])
                done += len(probs)
                if pace.due(always=done == len(candidates)):
                    progress("predicting", done, len(candidates))

    @property
    def _rows(self) -> int:
        """How many images of the pool are read at a time."""
        first = self.classifier.session.inputs(np.zeros(1, np.int64))
        return max(1, min(KEY_GROUP, BYTES // first.nbytes))

    def of_images(self, items: Iterable[tuple[str, Raw]]) -> Iterator[Predictions]:
        """Yield predictions for new images, chunk by chunk, in their order.

        Args:
            items: a name and a file, its bytes, or its pixels.
        """
        remaining, size, threads = iter(items), CHUNK if here().type == "cpu" else GPU_CHUNK, cores()
        chunks = iter(lambda: list(islice(remaining, size)), [])
        ahead = map_ahead(self._chunk, chunks, threads=threads, ahead=threads + 2, name="predict")
        with limited_threads(1), closing(ahead):
            yield from ahead

    def _chunk(self, items: Sequence[tuple[str, Raw]]) -> Predictions:
        names, pictures, unreadable = list[str](), [], dict[str, str]()
        for name, raw in items:
            try:
                pictures.append(self.reader.picture(raw))
                names.append(name)
            except Unreadable as error:
                unreadable[name] = error.reason
        probs = self.classifier.model.predict(self.reader.inputs(pictures))
        return Predictions(self.classifier.classes, names, probs, unreadable)


@dataclass(frozen=True)
class NewImages:
    """Images that are not in the project: files, and all files of folders, in natural order.

    Raises:
        UserError: there is nothing at one of the places.
    """

    places: Sequence[Place]

    def __post_init__(self) -> None:
        for place in self.places:
            if not is_url(str(place)) and not Path(place).exists():
                raise UserError(f"there is nothing at {place}", hint="give image files, or folders of them")

    def __len__(self) -> int:
        return sum(1 if folder is None else len(keys) for _, folder, keys in self._listed)

    def __iter__(self) -> Iterator[tuple[str, Raw]]:
        for place, folder, keys in self._listed:
            if folder is None:
                yield str(place), Path(place)
            else:
                names = (f"{str(place).rstrip('/')}/{key}" for key in keys)
                yield from zip(names, folder.originals(keys), strict=True)

    @cached_property
    def _listed(self) -> list[tuple[Place, Folder | None, list[str]]]:
        """The places, with the keys of folders. Memory: about 100 bytes a file."""
        listed = list[tuple[Place, Folder | None, list[str]]]()
        for place in self.places:
            folder = Folder(str(place), label="none") if is_url(str(place)) or Path(place).is_dir() else None
            listed.append((place, folder, [] if folder is None else list(folder.keys())))
        return listed


def predict(project: Project, images: Images, strategy: str = "") -> Predictions:
    """Return what the project's classifier says of new images: see `Project.predict`."""
    predictor = Predictor.of(project, strategy)
    parts = list(predictor.of_images(_items(images)))
    classes, unreadable = predictor.classifier.classes, dict[str, str]()
    for part in parts:
        unreadable |= part.unreadable
    probs = np.concatenate([np.empty((0, len(classes))), *(part.probs for part in parts)])
    return Predictions(classes, [name for part in parts for name in part.names], probs, unreadable)


def _items(images: Images) -> Iterator[tuple[str, Raw]]:
    if isinstance(images, np.ndarray):  # one image, or a stack of them
        several = images.ndim == 4 or (images.ndim == 3 and images.shape[2] > 4)
        images = list(images) if several else [images]
    elif isinstance(images, (str, Path, bytes)):
        images = [images]
    for number, image in enumerate(images):
        if isinstance(image, (str, Path)):
            yield from NewImages([image])
        elif isinstance(image, (bytes, np.ndarray)):
            yield str(number), image
        else:
            raise UserError(
                f"image {number} is a {type(image).__name__}",
                rule="an image is a path, the bytes of a file, or an array of pixels (h, w) or (h, w, c)",
                hint="give np.asarray(image) of a Pillow image",
            )
