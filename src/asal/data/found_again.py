"""Files that hold images of the project under another name, or other images under a name of the project."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from asal.core import as_ids
from asal.data import moves, pool
from asal.data.concat_pool import ADDITIONS, additions
from asal.data.duplicates import EXAMPLES, PARTS, folders_of, hashes_of, packed, places_of
from asal.data.ingest_shard import RECEIPT, ImageFormat, decoded
from asal.data.listing import Listing
from asal.data.moves import Alias, Correction
from asal.data.pool import StoredPool
from asal.data.sources import Source, SourceImage
from asal.runtime import artifacts, npy

Found = tuple[str, str, str, str]  # the key in the project, the present one, both classes
BLOCK = 2**16  # keys read at a time
CHECKED = 2**14  # files decoded at most, to see whether their content has changed


@dataclass(frozen=True)
class FoundAgain:
    """What `asal add` found beside new images. Nothing of it changed a label or an image of the project."""

    moved: tuple[Found, ...] = ()
    copied: tuple[Found, ...] = ()  # both files are there
    changed: tuple[str, ...] = ()  # keys whose files hold another image by now
    contradicting: int = 0  # images of the project whose files lie in several classes
    waiting: tuple[Correction, ...] = ()  # labels that a moved file puts right, and that nobody has taken yet
    place: Path = Path()  # the list of these

    @property
    def lines(self) -> list[str]:
        """The same as sentences."""
        lines = []
        if self.moved:
            was = "file was" if len(self.moved) == 1 else "files were"
            lines.append(f"{len(self.moved):,} {was} moved or renamed: {_examples(self.moved, ' → ')}")
        if self.copied:
            what = "file is a copy of an image" if len(self.copied) == 1 else "files are copies of images"
            known = f"{len(self.copied):,} {what} that the project has, and was not taken in again"
            lines.append(f"{known}: {_examples(self.copied, ' = ')}")
        if self.contradicting:
            has = "image of the project has files" if self.contradicting == 1 else "images of the project have files"
            lines.append(f"{self.contradicting:,} {has} in several classes: their labels stay; delete the wrong files")
        if self.changed:
            has = "file holds" if len(self.changed) == 1 else "files hold"
            kept = "the pool keeps the images that it took in. To have the new ones, give them other names"
            lines.append(f"{len(self.changed):,} {has} another image than before ({_some(self.changed)}): {kept}")
        if self.waiting:
            label = "label differs" if len(self.waiting) == 1 else "labels differ"
            how = f"`asal add --take-corrections` takes the class, or look through {self.place} first"
            lines.append(f"{len(self.waiting):,} {label} from the class that the file was moved to: {how}")
        return lines


def _examples(files: Sequence[Found], between: str) -> str:
    shown = []
    for key, now, was, label in files[:EXAMPLES]:
        classes = f", class {was} → {label}" if was and label and was != label else ""
        shown.append(f"{key}{between}{now}{classes}")
    return "; ".join(shown) + (" …" if len(files) > EXAMPLES else "")


def _some(keys: Sequence[str]) -> str:
    return ", ".join(keys[:EXAMPLES]) + (" …" if len(keys) > EXAMPLES else "")


# Files under other names --------------------------------------------------------------------------------------------


def found_again(
    listing: Listing, root: Path, copies: Sequence[tuple[str, bytes]], changed: Collection[str], *, own: bool
) -> FoundAgain:
    """Keep further names of the project's images, and say which were moved, copied or contradict their label.

    Args:
        copies: the keys of files whose images the project has, and their hashes.
        changed: keys of the project whose files hold another image by now.
        own: a file that is not in the source is gone.
    """
    names = _Names(listing, root, frozenset(changed))
    new = names.aliases(copies)
    every = [*moves.read_aliases(root), *new]
    moves.write_aliases(root, every)
    described = [(alias, *names.origin(alias)) for alias in new]
    moved, copied = list[Found](), list[Found]()
    for alias, key, label in described:
        gone = own and not names.present([key])
        (moved if gone else copied).append((key, alias.key, label, alias.label))
    waiting, contradicting = names.corrections(every) if own else ([], 0)
    place = moves.write_moved(root, waiting) if own else Path()
    return FoundAgain(tuple(moved), tuple(copied), tuple(changed), contradicting, tuple(waiting), place)


@dataclass(frozen=True)
class _Names:
    """The present names of a project's images."""

    listing: Listing
    root: Path
    changed: frozenset[str]

    def aliases(self, copies: Sequence[tuple[str, bytes]]) -> list[Alias]:
        """Return the image that each file is of."""
        wanted = packed(b"".join(digest for _, digest in copies))
        place_of: dict[bytes, tuple[str, int]] = {}
        start = 0
        for folder in [self.root / "pool", *additions(self.root)]:
            for digest, row in places_of(folder, wanted).items():
                place_of.setdefault(digest, ("pool", start + row))
            start += int(pool.facts_of(folder)["images"])
        for part in PARTS[1:]:
            if artifacts.is_complete(self.root / part):
                for digest, row in places_of(self.root / part, wanted).items():
                    place_of.setdefault(digest, (part, row))
        labels = self.listing.labels_of([key for key, _ in copies])
        return [Alias(key, *place_of[digest], label) for (key, digest), label in zip(copies, labels, strict=True)]

    def origin(self, alias: Alias) -> tuple[str, str]:
        """Return the key of an alias's image in the project, and the name of its label, "" where it has none."""
        return _key_of(self.root, alias.part, alias.image), _label_of(self.root, alias.part, alias.image)

    def present(self, keys: Sequence[str]) -> list[str]:
        """Return those of the keys that the source has, with the image that they had."""
        rows = self.listing.rows_of(keys)
        return [key for key, row in zip(keys, rows, strict=True) if row >= 0 and key not in self.changed]

    def corrections(self, aliases: Sequence[Alias]) -> tuple[list[Correction], int]:
        """Return the labels that differ from the one class that an image has by now; and how many have several."""
        names: dict[tuple[str, int], list[str]] = {}
        for alias in aliases:
            names.setdefault((alias.part, alias.image), []).append(alias.key)
        waiting, contradicting = [], 0
        for (part, image), more in names.items():
            own, label = _key_of(self.root, part, image), _label_of(self.root, part, image)
            present = self.present([own, *more])
            classes = sorted(set(self.listing.labels_of(present)) - {""})
            contradicting += len(classes) > 1
            if label and len(classes) == 1 and classes[0] != label and classes[0] in _classes(self.root):
                waiting.append(Correction(part, image, own, present[-1], label, classes[0]))
        return waiting, contradicting


def _folder_of(root: Path, part: str, image: int) -> tuple[Path, int]:
    """Return the folder that holds an image, and its id within it."""
    if part != "pool":
        return root / part, image
    for folder in [root / "pool", *additions(root)]:
        if image < (images := int(pool.facts_of(folder)["images"])):
            return folder, image
        image -= images
    raise artifacts.damaged(root / ADDITIONS / moves.ALIASES, "it names an image that the pool does not have")


def _key_of(root: Path, part: str, image: int) -> str:
    folder, row = _folder_of(root, part, image)
    return StoredPool.open(folder).keys(as_ids([row]))[0]


def _label_of(root: Path, part: str, image: int) -> str:
    if (corrected := moves.corrections(root, part).get(image)) is not None:
        return corrected
    folder, row = _folder_of(root, part, image)
    if not (folder / pool.LABELS).exists():
        return ""
    label = int(npy.open_mapped(folder / pool.LABELS)[row])
    return "" if label < 0 else str(artifacts.manifest(folder)["classes"][label])


def _classes(root: Path) -> list[str]:
    return list(artifacts.manifest(root / "pool")["classes"])


# Other content under the same name ----------------------------------------------------------------------------------


def changed_files(source: Source, root: Path, form: ImageFormat, *, own: bool) -> list[str]:
    """Return the keys of files that hold another image than the project took in under their names.

    Cost: a look at the times of all files, where they are on a disk; those that were written, moved or copied since
    the ingest are decoded, 16,384 of them at most. A file that cannot be read by now counts as changed.
    """
    since = min(_made_at(folder) for folder in folders_of(root)) if own else 0.0
    later = dict(_written_since(source, since))
    changed: list[str] = []
    for folder in folders_of(root) if later else ():
        hashes = hashes_of(folder)
        if hashes is not None:
            changed += _changed_in(folder, hashes, later, form, own=own)
    return changed


def _written_since(source: Source, since: float) -> Iterator[tuple[str, tuple[Path, float]]]:
    """Yield the key, path and time of files that were written or moved to their place after a time."""
    total = source.splits["train"]
    found = 0
    for first in range(0, total, BLOCK):
        for record in source.records("train", np.arange(first, min(first + BLOCK, total))):
            if not isinstance(record.raw, Path):
                return
            try:
                status = record.raw.stat()
            except OSError:
                continue
            at = max(status.st_mtime, status.st_ctime)
            if at > since and found < CHECKED:
                found += 1
                yield record.key, (record.raw, at)


def _changed_in(
    folder: Path, hashes: np.ndarray, later: dict[str, tuple[Path, float]], form: ImageFormat, *, own: bool
) -> list[str]:
    since, stored, checked = (_made_at(folder) if own else 0.0), StoredPool.open(folder), []
    for first in range(0, len(stored), BLOCK):
        keys = stored.keys(np.arange(first, min(first + BLOCK, len(stored))))
        checked += [(key, row) for row, key in enumerate(keys, first) if key in later and later[key][1] > since]
    records = (SourceImage(key, later[key][0]) for key, _ in checked)
    with closing(decoded(records, form)) as found:
        return [key for (key, row), now in zip(checked, found, strict=True) if now.digest != hashes[row].tobytes()]


def still_alike(listing: Listing, root: Path, form: ImageFormat) -> list[Alias]:
    """Return the further names of the project's images without those whose files hold another image by now.

    Cost: the files that were written, moved or copied since the names were found are decoded.
    """
    known = moves.read_aliases(root)
    if not known:
        return []
    since = (root / ADDITIONS / moves.ALIASES).stat().st_mtime
    rows = [row for row in listing.rows_of([alias.key for alias in known]) if row >= 0]
    records = [record for record in listing.source.records("train", as_ids(sorted(rows))) if _later(record, since)]
    with closing(decoded(iter(records), form)) as found:
        digests = {key: digest for key, _, digest in found}
    return [alias for alias in known if alias.key not in digests or _hash_of(root, alias) == digests[alias.key]]


def _later(record: SourceImage, since: float) -> bool:
    """Say whether a file was written, moved or copied after a time; what is no file on a disk was not."""
    if not isinstance(record.raw, Path) or not record.raw.is_file():
        return False
    status = record.raw.stat()
    return max(status.st_mtime, status.st_ctime) > since


def _hash_of(root: Path, alias: Alias) -> bytes:
    folder, row = _folder_of(root, alias.part, alias.image)
    hashes = hashes_of(folder)
    return b"" if hashes is None else hashes[row].tobytes()


def _made_at(folder: Path) -> float:
    """Return when a folder's first images had been read."""
    return (folder / RECEIPT.format(0)).stat().st_mtime
