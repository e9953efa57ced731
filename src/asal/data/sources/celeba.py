"""CelebA by one of its forty face attributes: the official files, or the same images from the hub."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from asal.core import Ids, Labels
from asal.data.sources import UNKNOWN, SourceImage, damaged, sources
from asal.data.sources.hub import Hub
from asal.errors import UserError, unknown
from asal.runtime import artifacts

ATTRIBUTES = (  # in the order of list_attr_celeba.txt
    "5_o_Clock_Shadow", "Arched_Eyebrows", "Attractive", "Bags_Under_Eyes", "Bald", "Bangs", "Big_Lips", "Big_Nose",
    "Black_Hair", "Blond_Hair", "Blurry", "Brown_Hair", "Bushy_Eyebrows", "Chubby", "Double_Chin", "Eyeglasses",
    "Goatee", "Gray_Hair", "Heavy_Makeup", "High_Cheekbones", "Male", "Mouth_Slightly_Open", "Mustache",
    "Narrow_Eyes", "No_Beard", "Oval_Face", "Pale_Skin", "Pointy_Nose", "Receding_Hairline", "Rosy_Cheeks",
    "Sideburns", "Smiling", "Straight_Hair", "Wavy_Hair", "Wearing_Earrings", "Wearing_Hat", "Wearing_Lipstick",
    "Wearing_Necklace", "Wearing_Necktie", "Young",
)  # fmt: skip
CLASSES = ("without", "with")
SPLITS = ("train", "validation", "test")  # 0, 1 and 2 in list_eval_partition.txt
HUB, HUB_SPLITS = "flwrlabs/celeba", {"train": "train", "validation": "valid", "test": "test"}

PLACES = ("", "Anno", "Eval")  # folders of the lists: beside the images, or those of the official drive
IMAGES = ("img_align_celeba/img_align_celeba", "img_align_celeba", "Img/img_align_celeba")  # Kaggle's zip has two


class _Faces(Protocol):
    """What the files and the hub have in common."""

    @property
    def fingerprint(self) -> str | None: ...
    def labels(self, split: str) -> Labels: ...
    def records(self, split: str, rows: Ids) -> Iterator[SourceImage]: ...


@sources.register("celeba")
@dataclass(frozen=True)
class Celeba:
    """CelebA's 202,599 aligned faces, "with" or "without" one `attribute`, in its own three splits.

    `path` is the folder of `img_align_celeba/`, `list_attr_celeba.txt` and `list_eval_partition.txt`, or the two lists
    in Kaggle's format, .csv; without a path they are read from the hub (`flwrlabs/celeba`). The splits "train",
    "validation" and "test" are the numbers 0, 1 and 2 of the partition: 162,770, 19,867 and 19,962 images of 178 × 218,
    so a `size` is needed where networks want squares. Keys are the files' names, or the hub's splits with numbers.

    Sources: Liu et al., "Deep Learning Face Attributes in the Wild", ICCV 2015
    (http://mmlab.ie.cuhk.edu.hk/projects/CelebA.html); torchvision's `datasets/celeba.py` for the lists' format.
    Memory: about 80 bytes an image; the images stay files.
    """

    attribute: str
    path: str | None = None

    def __post_init__(self) -> None:
        if self.attribute not in ATTRIBUTES:
            raise unknown("attribute", self.attribute, ATTRIBUTES)

    @property
    def classes(self) -> tuple[str, ...]:
        return CLASSES

    @cached_property
    def _faces(self) -> _Faces:
        return _HubFaces(self.attribute) if self.path is None else _Files(Path(self.path), self.attribute)

    @property
    def splits(self) -> Mapping[str, int]:
        return {split: len(self._faces.labels(split)) for split in SPLITS}

    @property
    def fingerprint(self) -> str | None:
        return self._faces.fingerprint

    def labels(self, split: str) -> Labels | None:
        return self._faces.labels(self._known(split))

    def records(self, split: str, rows: Ids) -> Iterator[SourceImage]:
        return self._faces.records(self._known(split), rows)

    def _known(self, split: str) -> str:
        if split not in SPLITS:
            raise unknown("split", split, SPLITS)
        return split


@dataclass(frozen=True)
class _HubFaces:
    """The hub's copy: a column of booleans for each attribute."""

    attribute: str

    @cached_property
    def _hub(self) -> Hub:
        return Hub(HUB, label=self.attribute)

    @property
    def fingerprint(self) -> str | None:
        return self._hub.fingerprint

    def labels(self, split: str) -> Labels:
        stored = self._hub.labels(HUB_SPLITS[split])
        assert stored is not None  # the label column is named
        number = [("False", "True").index(name) for name in self._hub.classes]
        return np.array([*number, UNKNOWN])[stored]  # −1 indexes the last

    def records(self, split: str, rows: Ids) -> Iterator[SourceImage]:
        return self._hub.records(HUB_SPLITS[split], rows)


@dataclass(frozen=True)
class _Files:
    """The official folder."""

    root: Path
    attribute: str

    @property
    def _places(self) -> tuple[Path | None, Path | None, Path | None]:
        """The paths of the attributes, the partition and the images; None for one that is missing."""
        attributes, partition = (
            next((f for place in PLACES for f in _lists(self.root / place, name) if f.is_file()), None)
            for name in ("list_attr_celeba", "list_eval_partition")
        )
        return attributes, partition, next((f for name in IMAGES if (f := self.root / name).is_dir()), None)

    @cached_property
    def _table(self) -> tuple[Path, list[str], Labels, npt.NDArray[np.int64]]:
        """The folder of the images; and for each image its file's name, its label, and the number of its split."""
        attributes, partition, images = self._places
        if attributes is None or partition is None or images is None:
            needed = ("list_attr_celeba.txt", "list_eval_partition.txt", "img_align_celeba/")
            missing = [name for name, path in zip(needed, self._places, strict=True) if path is None]
            raise UserError(
                f"no {' or '.join(missing)} in '{self.root}'",
                rule=f"CelebA is a folder of {', '.join(needed)}",
                hint="check the path, or download what is missing, or leave `path` out to read from the hub",
            )
        names, labels = _read_attributes(attributes, self.attribute)
        return images, names, labels, _read_partition(partition, names)

    @property
    def fingerprint(self) -> str | None:
        attributes, partition, _ = self._places
        if attributes is None or partition is None:
            return None
        return artifacts.fingerprint({file.name: artifacts.sha256(file) for file in (attributes, partition)})

    def labels(self, split: str) -> Labels:
        _, _, labels, numbers = self._table
        return labels[np.flatnonzero(numbers == SPLITS.index(split))]

    def records(self, split: str, rows: Ids) -> Iterator[SourceImage]:
        folder, names, _, numbers = self._table
        for row in np.flatnonzero(numbers == SPLITS.index(split))[rows].tolist():
            yield SourceImage(names[row], folder / names[row])


def _lists(folder: Path, name: str) -> tuple[Path, Path]:
    return folder / f"{name}.txt", folder / f"{name}.csv"


def _lines(file: Path) -> Iterator[list[str]]:
    """Yield the words of each line, separated by commas in a .csv and by spaces in a .txt."""
    separator = "," if file.suffix == ".csv" else None
    with file.open(encoding="ascii", errors="replace") as lines:
        for line in lines:
            yield line.strip().split(separator)


def _read_attributes(file: Path, attribute: str) -> tuple[list[str], Labels]:
    """Return the images' names, and 1 for those with the attribute; a .txt begins with the number of images."""
    lines = _lines(file)
    announced = next(lines, []) if file.suffix == ".txt" else None
    header = next(lines, [])
    header = header if announced is None else ["image_id", *header]
    if attribute not in header:
        raise damaged(file, f"its header has no '{attribute}'")
    column = header.index(attribute)
    names: list[str] = []
    present = bytearray()
    for words in lines:
        if len(words) != len(header) or words[column] not in ("1", "-1"):
            raise damaged(
                file, f"line {len(names) + 2 + (announced is not None)} is not a name and forty numbers 1 or -1"
            )
        names.append(words[0])
        present.append(words[column] == "1")
    if announced is not None and announced != [str(len(names))]:
        raise damaged(file, f"its first line says {' '.join(announced)} images, and it lists {len(names)}")
    return names, np.frombuffer(present, np.uint8).astype(np.int64)


def _read_partition(file: Path, names: list[str]) -> npt.NDArray[np.int64]:
    """Return the number of each image's split; both lists have the images in the same order."""
    lines = _lines(file)
    if file.suffix == ".csv":
        next(lines, [])
    numbers = bytearray()
    for name, words in zip(names, lines, strict=False):
        if len(words) != 2 or words[0] != name or words[1] not in ("0", "1", "2"):
            raise damaged(file, f"it has '{' '.join(words)}' in place of '{name}' with 0, 1 or 2")
        numbers.append(int(words[1]))
    if len(numbers) != len(names) or next(lines, None) is not None:
        raise damaged(file, f"it lists {'more' if len(numbers) == len(names) else 'fewer'} images than the attributes")
    return np.frombuffer(numbers, np.uint8).astype(np.int64)
