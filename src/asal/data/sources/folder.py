"""A tree of image files, with a class for each sub-folder or without classes."""

from __future__ import annotations

import hashlib
import os
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np

from asal.core import Ids, Labels
from asal.data.sources import UNKNOWN, Lost, Raw, SourceImage, not_there, sources
from asal.data.sources.layout import Layout, Place, Reading, read, tree
from asal.data.sources.passed_over import lines, may_be_image
from asal.data.sources.remote import beginnings, fetched, is_url, listed
from asal.data.sources.walking import Walked, natural, printable, walked, walked_names
from asal.errors import UserError, counted, quoted, unknown

MANY = 20  # classes that are listed one by one
STRIDE = 8  # of the files of a sample: every eighth first


@sources.register("folder")
@dataclass(frozen=True)
class Folder:
    """A tree of image files; each first-level sub-folder is a class, unless `label = "none"`.

    If all sub-folders are called train, test, validation or the like, they are splits, and the classes lie inside
    them; or the splits lie inside each class. `layout` says which, where the names allow two readings: "classes",
    "splits" or "classes/splits". Files without a class folder are of unknown class.

    A file that is not an image is listed as unreadable when it is decoded. Hidden files, thumbnails, bins, and folders
    without any image are passed over. Files are in natural order: 2.png before 10.png. Memory: about 100 bytes per
    file.

    `path` may be a URL of fsspec, such as `s3://bucket/photos`, `ftp://host/photos` or `zip://::photos.zip`: it is
    listed once, and its files are downloaded while others are decoded. Later changes there are not noticed.
    """

    path: str
    label: Literal["folder", "none"] = "folder"
    layout: Layout = field(default="auto", metadata={"omitted if": "auto"})  # or older pools would have other options

    @cached_property
    def _files(self) -> Walked:
        """Every file that may be an image, folder by folder, and what was passed over."""
        if is_url(self.path):
            return walked_names(listed(self.path))
        root = Path(self.path)
        if not root.is_dir():
            raise not_there(
                "folder",
                self.path,
                "check the path; a project whose images were moved finds them again by `asal move-images`",
                rule="the source 'folder' is a folder of image files",
            )
        return walked(root)

    @cached_property
    def _images(self) -> dict[str, int]:
        return self._files.images()

    @cached_property
    def _reading(self) -> Reading:
        try:
            return read(tree(self._images), self.layout, labelled=self.label != "none")
        except UserError as error:
            raise UserError(f"{self.path}: {error.got}", rule=error.rule, hint=error.hint) from None

    @cached_property
    def _tree(self) -> dict[str, list[str]]:
        """For each split its files."""
        places = self._places
        found: dict[str, list[str]] = {split: [] for split in sorted(self._reading.splits)}
        for file in self._files.files:
            if place := places.get(_folder(file)):
                found[place.split].append(file)
        return found

    @cached_property
    def _places(self) -> Mapping[str, Place]:
        """The split and the class of each folder that has files."""
        if not any(self._images.values()):  # no file has the name of an image: each is tried
            return {folder: Place("train", folder.partition("/")[0]) for folder in self._images}
        return self._reading.places

    @cached_property
    def classes(self) -> tuple[str, ...]:
        if self.label == "none":
            return ()
        held = (place for folder, place in self._places.items() if folder in self._images)
        tops = {place.name for place in held} - {""}
        return tuple(printable(top) for top in sorted(tops, key=natural))

    @property
    def splits(self) -> Mapping[str, int]:
        return {split: len(names) for split, names in self._tree.items()}

    @property
    def fingerprint(self) -> str | None:
        # Remote storage is not checked: a pool is a snapshot.
        return None if is_url(self.path) or not Path(self.path).is_dir() else self.listing

    @cached_property
    def listing(self) -> str:
        try:
            splits = self._tree
        except UserError:  # two readings are possible: a pool that was made before there were two stands
            splits = {"train": self._files.files}
        digest = hashlib.sha256()
        for split, names in splits.items():
            prefix = "" if all(name.startswith(f"{split}/") for name in names) else f"{split}/"
            for name in names:
                digest.update(os.fsencode(prefix + name) + b"\0")
        return digest.hexdigest()

    def keys(self, split: str = "") -> Iterator[str]:
        """Yield the key of every image of a split, or of the whole tree, without reading one."""
        return map(printable, self._split(split) if split else self._files.files)

    def labels(self, split: str) -> Labels | None:
        names = self._split(split)
        if not self.classes:
            return None
        number = {name: label for label, name in enumerate(self.classes)} | {"": UNKNOWN}
        of = {folder: number[printable(place.name)] for folder, place in self._places.items() if place.split == split}
        return np.array([of[_folder(name)] for name in names], np.int64)

    def records(self, split: str, rows: Ids) -> Iterator[SourceImage]:
        return self.excerpt(split, rows).records(split, rows)

    def originals(self, keys: Sequence[str]) -> Iterator[Raw]:
        """Yield the file of each key, of any split; nothing is listed, unless a name is not valid UTF-8."""
        names = [self._escaped.get(key, key) if "\\x" in key else key for key in keys]
        if is_url(self.path):
            yield from fetched(self.path, names)
            return
        root = Path(self.path)
        for name in names:
            inside = not name.startswith("/") and ".." not in name.split("/")  # a key of a list that somebody edited
            yield root / name if inside and (root / name).is_file() else Lost("there is no such file")

    def sample(self, number: int) -> Iterator[tuple[str, Raw]]:
        """Yield the names of files spread over all folders, and the files; of a file behind a URL its beginning.

        Wherever that is cut off, the files that were yielded are spread over all folders.
        """
        try:
            files = list(self._tree_files())
        except UserError:  # two readings are possible
            files = [file for file in self._files.files if may_be_image(file.rpartition("/")[2])]
        places = np.linspace(0, len(files) - 1, min(number, len(files))).astype(int)
        names = [files[place] for start in range(STRIDE) for place in places[start::STRIDE].tolist()]
        if is_url(self.path):
            yield from zip(map(printable, names), beginnings(self.path, names), strict=True)
            return
        yield from ((printable(name), Path(self.path) / name) for name in names)

    @cached_property
    def _escaped(self) -> dict[str, str]:
        """The names that are not valid UTF-8, by their keys."""
        return {key: name for name in self._files.files if (key := printable(name)) != name}

    def excerpt(self, split: str, rows: Ids) -> Excerpt:
        names = self._split(split)
        return Excerpt(self.path, [names[row] for row in rows.tolist()], rows)

    def _split(self, split: str) -> list[str]:
        if split not in self._tree:
            raise unknown("split", split, self._tree)
        return self._tree[split]

    # What is reported -------------------------------------------------------------------------------------------------

    def notes(self) -> list[str]:
        """Return what people should know of how the folders were read."""
        reading, notes = self._reading, []
        if reading.base:
            notes.append(f"read below the folder '{printable(reading.base)}'")
        for split, folders in reading.splits.items():
            if reading.form != "classes" and folders != (split,):
                names = [f"'{printable(folder)}'" for folder in folders[:4]]
                notes.append(f"the split '{split}' is {', '.join(names)}{' …' if len(folders) > 4 else ''}")
        unknown_class = [name for file in self._tree_files() if not (name := self._places[_folder(file)].name)]
        if self.classes and unknown_class:
            notes.append(f"{counted(len(unknown_class), 'file')} in no class folder: of unknown class")
        return [*notes, *self._notes_of_classes(), *lines(self._passed())]

    def _tree_files(self) -> Iterator[str]:
        return (file for names in self._tree.values() for file in names)

    def _notes_of_classes(self) -> Iterator[str]:
        if not self.classes:
            return
        if empty := [name for name in self._empty_classes() if name not in self.classes]:
            yield f"no class, because no image is in it: {quoted(map(printable, sorted(empty)[:MANY]))}"
        alike: dict[str, list[str]] = defaultdict(list)
        for name in self.classes:
            alike[unicodedata.normalize("NFKC", name).casefold().strip()].append(name)
        for names in alike.values():
            if len(names) > 1:
                shown = ", ".join(f"{name!r} ({name!a})" if not name.isascii() else f"'{name}'" for name in names)
                yield f"classes whose names differ only by case or Unicode form are different classes: {shown}"
        inner = {folder for folder, place in self._places.items() if place.name and not _is_top(folder, place)}
        if inner := {folder for folder in inner if self._images.get(folder)}:
            yield f"{counted(len(inner), 'folder')} inside class folders are not distinguished, such as '{min(inner)}'"

    def _empty_classes(self) -> set[str]:
        bases = {self._reading.base, *(f for folders in self._reading.splits.values() for f in folders)}
        return {folder.rpartition("/")[2] for folder in self._files.empty if folder.rpartition("/")[0] in bases}

    def _passed(self) -> Counter[str]:
        passed = Counter(self._files.passed)
        for file in self._files.files:
            folder = _folder(file)
            if folder not in self._places:
                passed[f"in the folder '{printable(folder)}'" if folder else "beside the folders of the splits"] += 1
        return passed


def _folder(file: str) -> str:
    return file.rpartition("/")[0]


def _is_top(folder: str, place: Place) -> bool:
    """Whether a folder is its class's own, or a split in it."""
    steps = folder.split("/")
    return place.name in steps[-2:]


@dataclass(frozen=True, eq=False)
class Excerpt:
    """Some rows of a split, with the names of their files."""

    path: str
    names: list[str]
    among: Ids  # the rows, ascending

    def records(self, split: str, rows: Ids) -> Iterator[SourceImage]:
        """Yield the images of ascending rows, all of them among these."""
        names = [self.names[place] for place in self.among.searchsorted(rows).tolist()]
        if is_url(self.path):
            yield from map(SourceImage, map(printable, names), fetched(self.path, names))
            return
        root = Path(self.path)
        if not root.is_dir():  # otherwise every file would be reported as unreadable
            raise not_there("folder", self.path, "make the folder available on every machine under this path")
        for name in names:
            yield SourceImage(printable(name), root / name)
