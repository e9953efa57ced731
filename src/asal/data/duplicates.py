"""Exact copies among a project's images: found at ingest by a hash of what was decoded, before it was scaled.

    pool/  hashes.npy      (n, 2) uint64: 16 bytes of each image's hash
           copies.npy      (m, 2) int64: an image, and the first one that it is a copy of; by the image, ascending
           duplicates.csv  the same for people: keys, and the classes that the source gives them

Ids in these files count within their folder. Images that differ before they are scaled are no copies, even if they are
equal at the pool's size. Pools of earlier versions have no such files: there, copies are not known.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from asal.core import NO_IDS, Ids, Labels, as_ids
from asal.data import pool
from asal.data.concat_pool import additions
from asal.data.pool import StoredPool
from asal.errors import counted
from asal.runtime import artifacts, npy
from asal.runtime.csv_rows import csv_bytes

HASHES, COPIES, LIST = "hashes.npy", "copies.npy", "duplicates.csv"
HASH_BYTES = 16
COLUMNS = ("key", "copy_of", "class", "class_of_first")
PARTS = ("pool", "validation", "test")
EXAMPLES = 3

Hashes = npt.NDArray[np.uint64]  # (n, 2)
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Copies:
    """The images of a pool that are exact copies of earlier ones.

    >>> copies = Copies(np.array([5, 8]), np.array([2, 2]))
    >>> copies.first_of(np.array([8, 2, 3])).tolist(), copies.of(np.array([5])).tolist()
    ([2, 2, 3], [2, 8])
    >>> copies.excluded(np.array([8])).tolist()  # nobody is asked about a copy, nor about one of an answered image
    [2, 5, 8]
    """

    ids: Ids = field(default_factory=lambda: NO_IDS)  # ascending
    firsts: Ids = field(default_factory=lambda: NO_IDS)  # of each, the first image with the same pixels

    def __len__(self) -> int:
        return len(self.ids)

    def first_of(self, ids: Ids) -> Ids:
        """Return for each id the first image with the same pixels: itself, where it is no copy."""
        if not len(self.ids):
            return as_ids(ids)
        places = np.minimum(self.ids.searchsorted(ids), len(self.ids) - 1)
        return as_ids(np.where(self.ids[places] == ids, self.firsts[places], ids))

    def of(self, ids: Ids) -> Ids:
        """Return the other images with the same pixels as any of these, ascending. Cost: the copies'."""
        firsts = np.unique(self.first_of(ids))
        same = np.concatenate([firsts, self.ids[np.isin(self.firsts, firsts)]])
        return as_ids(np.setdiff1d(same, ids))

    def answered_by(self, labelled: Ids) -> dict[int, int]:
        """Return for each other image of a labelled one's group the labelled one; the first of several."""
        if not len(self.ids):
            return {}
        by_first = dict(zip(self.first_of(labelled)[::-1].tolist(), labelled[::-1].tolist(), strict=True))
        others = self.of(labelled)
        return {image: by_first[first] for image, first in zip(others.tolist(), self.first_of(others), strict=True)}

    def excluded(self, touched: Ids) -> Ids:
        """Return the images that nobody is asked about: every copy, and the first image of each touched one."""
        if not len(self.ids):
            return NO_IDS
        firsts = np.unique(self.first_of(touched))  # few, and no copies
        return as_ids(np.sort(np.concatenate([self.ids, firsts]), kind="stable"))  # which merges: both are ascending

    def left(self, images: int, touched: Ids) -> int:
        """Return how many of a pool's images can still be asked about, each group of copies as one."""
        return images - len(self.ids) - len(np.unique(self.first_of(touched[touched < images])))


NO_COPIES = Copies()


def packed(digests: bytes) -> Hashes:
    """Return 16 bytes an image as hashes (n, 2)."""
    return np.frombuffer(digests, np.uint64).reshape(-1, 2)


def copies_among(hashes: Hashes) -> Copies:
    """Return the images whose hash an earlier one has. Memory: 16 bytes an image while it sorts.

    >>> found = copies_among(np.array([[7, 1], [3, 1], [7, 1], [7, 2]], np.uint64))
    >>> found.ids.tolist(), found.firsts.tolist()
    ([2], [0])
    """
    order = np.argsort(hashes[:, 0], kind="stable")
    alike = np.flatnonzero(np.diff(hashes[order, 0]) == 0)
    if not len(alike):
        return NO_COPIES
    some = np.sort(order[np.union1d(alike, alike + 1)])  # few: those whose first half is not alone
    _, firsts, group = np.unique(_both(hashes[some]), return_index=True, return_inverse=True)
    first = some[firsts[group.reshape(-1)]]  # `return_index` is of the first one, and `some` ascends
    later = first != some
    return Copies(as_ids(some[later]), as_ids(first[later]))


def _both(hashes: Hashes) -> npt.NDArray[Any]:
    """Return hashes as one value each, which can be compared and sorted."""
    return np.ascontiguousarray(hashes).view([("a", np.uint64), ("b", np.uint64)]).reshape(-1)


def hashes_of(folder: Path) -> Hashes | None:
    """Return the hashes of a finished folder's images, by memory map; None in one of an earlier version."""
    if HASHES not in artifacts.manifest(folder)["files"]:
        return None
    return npy.open_mapped(folder / HASHES, dtype=np.uint64)


def folders_of(root: Path) -> list[Path]:
    """Return the folders of a project's images: the parts of its split, then the additions."""
    return [*folders_of_split(root), *additions(root)]


def folders_of_split(root: Path) -> list[Path]:
    """Return the folders of a project's pool, validation and test set, as far as there are such."""
    return [root / name for name in PARTS if artifacts.is_complete(root / name)]


def keeps_hashes(partial: Path) -> bool:
    """Say whether a folder under construction gets hashes: not if it is made again as an earlier version made it."""
    if not artifacts.was_complete(partial):
        return True
    return (partial / HASHES).exists() or HASHES in artifacts.read_json(partial / artifacts.SCRATCH / artifacts.WAS)


def write_known(path: Path, folders: Sequence[Path]) -> Path | None:
    """Write the hashes of all images of these folders for `known_among`; return the file, None where there are none."""
    known = [hashes for folder in folders if (hashes := hashes_of(folder)) is not None]
    if not any(map(len, known)):
        return None
    together = np.concatenate(known)
    npy.write(path, together[np.argsort(together[:, 0], kind="stable")])
    return path


def known_among(hashes: Hashes, path: Path) -> Flags:
    """Say which hashes are in a file of `write_known`. Cost: a search for each."""
    known, found = npy.open_mapped(path, dtype=np.uint64), np.zeros(len(hashes), np.bool_)
    starts = np.searchsorted(known[:, 0], hashes[:, 0])
    ends = np.searchsorted(known[:, 0], hashes[:, 0], side="right")
    for row in np.flatnonzero(ends > starts).tolist():
        found[row] = (known[starts[row] : ends[row], 1] == hashes[row, 1]).any()
    return found


def places_of(folder: Path, wanted: Hashes) -> dict[bytes, int]:
    """Return a folder's first image with each of some hashes, as far as there is one. Cost: the folder's hashes."""
    hashes = hashes_of(folder)
    if hashes is None or not len(wanted):
        return {}
    rows = np.flatnonzero(np.isin(hashes[:, 0], wanted[:, 0]))
    asked, found = {row.tobytes() for row in wanted}, dict[bytes, int]()
    for row in rows.tolist():
        if (digest := hashes[row].tobytes()) in asked:
            found.setdefault(digest, row)
    return found


# Written at ingest --------------------------------------------------------------------------------------------------


def write_copies(folder: Path, hashes: Hashes, keys: Any, labels: Labels | None, classes: Sequence[str]) -> None:
    """Write what a folder under construction says of its copies, which are also distinguished by their classes.

    Args:
        keys: ids → keys.
        labels: the source's, of all images; None where it has none.
    """
    copies = copies_among(hashes)
    npy.write(folder / HASHES, hashes)
    npy.write(folder / COPIES, np.stack([copies.ids, copies.firsts], axis=1))
    together = np.union1d(copies.ids, copies.firsts)
    named = dict(zip(together.tolist(), keys(together) if len(together) else [], strict=True))
    rows = [
        (named[copy], named[first], _class(labels, classes, copy), _class(labels, classes, first))
        for copy, first in zip(copies.ids.tolist(), copies.firsts.tolist(), strict=True)
    ]
    artifacts.write(folder / LIST, csv_bytes(COLUMNS, rows))


def _class(labels: Labels | None, classes: Sequence[str], image: int) -> str | None:
    return None if labels is None or labels[image] < 0 else classes[labels[image]]


# Read ---------------------------------------------------------------------------------------------------------------


def copies_in(folder: Path) -> Copies:
    """Return the copies of one folder, with ids within it; none in a pool of an earlier version."""
    if COPIES not in artifacts.manifest(folder)["files"]:
        return NO_COPIES
    pairs = npy.open_mapped(folder / COPIES, dtype=np.int64)
    return Copies(as_ids(np.array(pairs[:, 0])), as_ids(np.array(pairs[:, 1])))


def copies_of(root: Path) -> Copies:
    """Return the copies among a project's pool, with all that was added to it. Cost: the copies'.

    Additions have no copies of what was there before: `asal.data.append` leaves those out.
    """
    found, start = [], 0
    for folder in [root / "pool", *additions(root)]:
        copies, facts = copies_in(folder), pool.facts_of(folder)
        found.append(Copies(copies.ids + start, copies.firsts + start))
        start += int(facts.get("augmented", facts)["images"])
    ids, firsts = (np.concatenate([getattr(copies, name) for copies in found]) for name in ("ids", "firsts"))
    return Copies(as_ids(ids), as_ids(firsts))


@dataclass(frozen=True)
class DuplicateReport:
    """What is known of exact copies in a project, in images, with a few examples of keys."""

    copies: int  # in the pool and its additions
    originals: int  # that they are copies of
    contradicting: tuple[str, ...]  # copies of which the source says another class than of the first
    contradictions: int
    leaks: tuple[str, ...]  # images of the validation or test set that the pool has, too
    leaked: int
    unknown: bool  # the pool is of an earlier version, which kept no hashes
    places: tuple[Path, ...] = ()  # the lists

    @property
    def lines(self) -> list[str]:
        """The same as sentences; none where there is nothing to say."""
        lines = []
        if self.copies:
            verb, where = ("is an exact copy" if self.copies == 1 else "are exact copies"), self.places[0]
            lines.append(f"{counted(self.copies, 'image')} {verb} of {self.originals:,} others, listed in {where}")
        if self.contradictions:
            number = "1 copy is" if self.contradictions == 1 else f"{self.contradictions:,} copies are"
            what = f"{number} in another class than the first image"
            lines.append(f"The source contradicts itself: {what}, such as {'; '.join(self.contradicting)}")
            lines.append("Stored labels stay as the source has them: `asal run` learns both. People are asked once.")
        if self.leaked:
            what = f"{counted(self.leaked, 'image')} of the held-out sets {'is' if self.leaked == 1 else 'are'}"
            lines.append(f"{what} in the pool, too, so that accuracy is overrated: {'; '.join(self.leaks)}")
        return lines


def report(root: Path) -> DuplicateReport:
    """Return what is known of exact copies in a project. Cost: the copies', and a pass over hashes for held-out sets.

    Raises:
        UserError: there is no pool.
    """
    copies, contradicting, total, places = copies_of(root), list[str](), 0, []
    for folder in [root / "pool", *additions(root)]:
        if len(inside := copies_in(folder)):
            places.append(folder / LIST)
            differing = list(_contradictions(folder, inside))
            total += len(differing)
            contradicting += [
                f"{first} ({theirs}) and {key} ({own})" for key, first, own, theirs in differing[:EXAMPLES]
            ]
    leaks = list(_leaks(root))
    examples = tuple(f"{name}: {key}" for name, key in leaks[:EXAMPLES])
    unknown = hashes_of(root / "pool") is None
    originals = len(np.unique(copies.firsts))
    return DuplicateReport(
        len(copies), originals, tuple(contradicting[:EXAMPLES]), total, examples, len(leaks), unknown, tuple(places)
    )


def _contradictions(folder: Path, copies: Copies) -> Iterator[tuple[str, str, str, str]]:
    """Yield the keys and classes of copies that the source puts into another class than the first image."""
    facts = artifacts.manifest(folder)
    if pool.LABELS not in facts["files"]:
        return
    labels, stored = npy.open_mapped(folder / pool.LABELS), StoredPool.open(folder)
    own, theirs = labels[copies.ids], labels[copies.firsts]
    for row in np.flatnonzero((own != theirs) & (own >= 0) & (theirs >= 0)).tolist():
        key, first = stored.keys(np.array([copies.ids[row]]))[0], stored.keys(np.array([copies.firsts[row]]))[0]
        yield key, first, facts["classes"][own[row]], facts["classes"][theirs[row]]


def _leaks(root: Path) -> Iterator[tuple[str, str]]:
    """Yield the part and key of each held-out image that is in the pool or in an addition."""
    for name in PARTS[1:]:
        hashes = hashes_of(root / name) if artifacts.is_complete(root / name) else None
        if hashes is None or not len(hashes):
            continue
        leaked = np.zeros(len(hashes), np.bool_)
        for folder in [root / "pool", *additions(root)]:
            there = hashes_of(folder)
            if there is not None:
                some = there[np.isin(there[:, 0], hashes[:, 0])]
                leaked |= np.isin(_both(hashes), _both(some))
        ids = np.flatnonzero(leaked)
        for key in StoredPool.open(root / name).keys(as_ids(ids)) if len(ids) else []:
            yield name, key
