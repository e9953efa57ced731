"""What has changed in a source since a project's images were taken in: files that are new, gone, or elsewhere."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from asal.data import moves, pool
from asal.data.concat_pool import ADDITIONS, SEEN, additions
from asal.data.decoding import Unreadable
from asal.data.image_options import PARTS, conversion, ranges_of
from asal.data.places import relative_place, same_place
from asal.data.pool import StoredPool
from asal.data.sources import Source
from asal.data.sources.decode import decode
from asal.errors import UserError, counted, without_secrets
from asal.runtime import artifacts

PLACE = "source.json"  # in a project: where its images were found last
BLOCK = 2**16
SAMPLE = 12  # images that are compared pixel by pixel after a move
ALIKE = 16  # mean difference of pixels up to which two images are the same picture: of 255


@runtime_checkable
class Keyed(Protocol):
    """A source that knows the key of every image of every split without reading one."""

    def keys(self, split: str = "") -> Iterator[str]:
        """Yield those of a split, in the order of its rows; or all, those of images that are in no split among them."""
        ...


@dataclass(frozen=True)
class Changes:
    """How a source differs from what a project holds of it.

    Args:
        gone: keys of images of the pool that the source does not have any more.
        new: keys of the source that the project has not seen.
        known: how many of the source's keys the project has.
        other: whether its contents have changed, where files cannot be distinguished.
        moved: the place where the images were, if it is another now.
        place: where they are now.
    """

    gone: tuple[str, ...] = ()
    new: tuple[str, ...] = ()
    known: int = 0
    other: bool = False
    moved: str = ""
    place: str = ""

    def lines(self, part_of_source: bool = False) -> list[str]:
        """Return the sentences that people read.

        Args:
            part_of_source: whether the project left out images of the source on purpose.
        """
        notes = []
        if self.moved:
            notes.append(f"The images lie at {self.place} now; they were at {self.moved}.")
        if self.other:
            notes.append("The source has changed since its images were taken in: the pool stays as it was made.")
        if number := len(self.gone):
            what = "is" if number == 1 else "are"
            stay = "its image stays" if number == 1 else "their images stay"
            files = counted(number, "file")
            notes.append(f"{files} of the project {what} no longer in the source ({self.gone[0]}{self._more(number)}): "
                        f"{stay} in the project.")  # fmt: skip
        if number := len(self.new):
            them = "it" if number == 1 else "them"
            files = counted(number, "file" if part_of_source else "new file")
            what = " of the source not in the project" if part_of_source else ""
            notes.append(f"{files}{what} ({self.new[0]}{self._more(number)}): `asal add` takes {them} in.")
        return notes

    @staticmethod
    def _more(number: int) -> str:
        return ", …" if number > 1 else ""

    def accept(self, project: Path) -> None:
        """Note where the images are now, so that it is reported once."""
        artifacts.write_json(project / PLACE, {"path": relative_place(_bare(self.place), project)})


def changes_of(source: Source, project: Path) -> Changes:
    """Return what has changed since a project's pool was made; nothing, where there is no pool.

    Files are compared only if the list of them is another one, or lies elsewhere.

    Raises:
        UserError: the images lie elsewhere by now, and those there are others.
    """
    folder = project / "pool"
    if not artifacts.is_complete(folder):
        return Changes()
    place, moved = _moved(source, project)
    seen = source.fingerprint
    if not moved and (seen is None or seen in _accepted(project)):
        return Changes()
    if seen is None and "://" not in place:
        return Changes()  # the source is gone: what was taken in stands without it
    if not isinstance(_origin(source), Keyed):
        same = seen is None or seen in _accepted(project)
        if moved and not same:
            raise UserError(
                f"{place} is another file or folder than {moved}, of which {folder} was made",
                rule="a project's source may be moved, with the same contents",
                hint=f'write path = "{moved}" again under [source], or start another project folder',
            )
        return Changes(other=not same, moved=moved, place=place)
    changes = compared(source, project)
    if moved:
        _check_same(source, project, changes, place, moved)
    return Changes(changes.gone, changes.new, changes.known, False, moved, place)


def accept_place(source: Source, project: Path) -> None:
    """Note where a project's images lie by now, if that is another place.

    Raises:
        UserError: the images there are others.
    """
    if artifacts.is_complete(project / "pool") and _moved(source, project)[1]:
        changes = changes_of(source, project)
        if changes.moved:
            changes.accept(project)


def _shown(place: str, project: Path) -> str:
    return place if "://" in place else str((project / place).resolve())


def _bare(place: str) -> str:
    return without_secrets(place) if "://" in place else place


def _origin(source: Source) -> Source:
    return getattr(source, "origin", source)


def _accepted(project: Path) -> set[str | None]:
    """Return the fingerprints that the source had when its images were taken in, and later."""
    found = {artifacts.manifest(folder)["source"] for folder in [project / "pool", *additions(project)]}
    if (file := project / ADDITIONS / SEEN).exists():
        found.add(artifacts.read_json(file)["source"])
    return found


def _moved(source: Source, project: Path) -> tuple[str, str]:
    """Return where the images are, and where they were, if that is another place and has not been reported."""
    place = getattr(source, "path", None)
    stored: Any = artifacts.manifest(project / "pool")["options"]["source"]
    was = (stored.get("base") or stored).get("path")
    if (file := project / PLACE).exists():
        was = artifacts.read_json(file)["path"]
    if not isinstance(place, str) or not isinstance(was, str):
        return "", ""
    return place, "" if same_place(_bare(place), was, project) else _shown(was, project)


def compared(source: Source, project: Path) -> Changes:
    """Return the keys that are new and those that are gone; nothing for a source that does not know its keys."""
    origin = _origin(source)
    if not isinstance(origin, Keyed):
        return Changes()
    there = set(origin.keys())
    folders = [*(project / name for name in PARTS), *additions(project)]
    present = [folder for folder in folders if artifacts.is_complete(folder)]
    unread = {key for folder in present for key in unreadable(folder)}
    aliases = moves.read_aliases(project)
    renamed = {(alias.part, alias.image) for alias in aliases if alias.key in there}
    held, gone = [], []
    for part in PARTS:
        image = 0
        for folder in (one for one in present if _part(one) == part):
            elsewhere = _of_another(folder, project)
            for key in known_keys(folder):
                held.append(key)
                if key not in there and not elsewhere and (part, image) not in renamed:
                    gone.append(key)
                image += 1
    known = unread.union(held, (alias.key for alias in aliases))
    wanted = _wanted(origin, project)
    new = tuple(sorted(key for key in wanted if key not in known))
    return Changes(tuple(gone), new, len(there.intersection(held)))


def _part(folder: Path) -> str:
    """Return the part of a project whose ids a folder's images have: additions go on from the pool."""
    return "pool" if folder.parent.name == ADDITIONS else folder.name


def _of_another(folder: Path, project: Path) -> bool:
    """Whether an addition is of another folder than the pool."""
    if folder.parent.name != ADDITIONS:
        return False
    first, own = (artifacts.manifest(one)["options"]["source"] for one in (project / "pool", folder))
    return bool(first.get("path") != own.get("path"))


def _wanted(origin: Any, project: Path) -> Iterator[str]:
    """Yield the keys that `asal add` would take in, were they new: of the split "train", of classes that are kept."""
    try:
        labels, keep = origin.labels("train"), artifacts.manifest(project / "pool")["options"]["keep"]
    except UserError:  # two readings are possible: `asal add` asks for a word
        return
    kept = {place for place, name in enumerate(origin.classes) if name in keep}
    for row, key in enumerate(origin.keys("train")):
        if not keep or labels is None or int(labels[row]) in kept:
            yield key


def keys_of_receipts(folder: Path) -> Iterator[str]:
    """Yield the keys of a folder that need not be finished, those of images that could not be read among them."""
    for path in sorted((folder / "receipts").glob("*.json")):
        receipt = artifacts.read_json(path)
        keys, left_out = iter(receipt["keys"]), {place: key for place, key, *_ in receipt["skipped"]}
        number = len(receipt["keys"]) + len(receipt["skipped"])
        yield from (left_out.get(place) or next(keys) for place in range(number))


def known_keys(folder: Path) -> Iterator[str]:
    """Yield the keys of a folder's images."""
    stored = StoredPool.open(folder)
    for first in range(0, len(stored), BLOCK):
        yield from stored.keys(np.arange(first, min(first + BLOCK, len(stored))))


def unreadable(folder: Path) -> list[str]:
    """Return the keys of what a folder left out."""
    with (folder / pool.UNREADABLE).open(encoding="utf-8", newline="") as file:
        return [row[0] for row in csv.reader(file)][1:]


def _check_same(source: Source, project: Path, changes: Changes, place: str, moved: str) -> None:
    """Refuse another place whose files are others: by their keys, and a sample by their pixels."""
    total = changes.known + len(changes.gone)
    alike, tried = (0, 0) if changes.known * 2 < total else _alike(source, project)
    if changes.known * 2 >= total and alike * 2 >= tried:
        return
    why = (
        f"of {total:,} files of the project, {changes.known:,} are there"
        if changes.known * 2 < total
        else f"of {tried} files that were compared, {alike} show what the project holds under their names"
    )
    raise UserError(
        f"{place} has other images than {moved}: {why}",
        rule="a project's images may be moved to another place, and stay the same files",
        hint=f"give the folder that they were moved to: asal move-images {project} FOLDER; or start another project",
    )


def _alike(source: Source, project: Path) -> tuple[int, int]:
    """Return how many of a sample of files show what the pool holds, and how many were compared."""
    stored = StoredPool.open(project / "pool")
    options = artifacts.manifest(project / "pool")["options"]
    how = conversion(options, ranges_of(project), None)
    ids = np.unique(np.linspace(0, len(stored) - 1, SAMPLE).astype(np.int64))
    wanted = dict(zip(stored.keys(ids), stored.read(ids), strict=True))
    origin: Any = _origin(source)
    rows = np.array([row for row, key in enumerate(origin.keys("train")) if key in wanted], np.int64)
    alike = tried = 0
    for record in origin.records("train", rows):
        tried += 1
        try:
            pixels = decode(record.raw, size=options["size"], gray=options["gray"], how=how)
        except Unreadable:
            continue
        image = wanted[record.key]
        alike += pixels.shape == image.shape and float(np.abs(pixels.astype(int) - image).mean()) <= ALIKE
    return alike, tried
