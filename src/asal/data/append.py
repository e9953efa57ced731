"""Adds the new images of a source to a project's pool, under ids behind the old ones.

Their keys decide which images are looked at, and their content which of them are new: a file that was moved, renamed
or copied holds an image that the project has, and is kept as another name of it (`asal.data.moves`). So the ids do not
depend on how often an addition was interrupted: it is a folder like `pool`, filled shard by shard under a temporary
name, and there when it is complete.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from asal.core import Ids, Labels
from asal.data import moves, pool
from asal.data.concat_pool import ADDITIONS, SEEN, additions, damaged_additions
from asal.data.decoding import Range
from asal.data.decoding.ranges import sampled
from asal.data.duplicates import folders_of, folders_of_split, keeps_hashes, write_known
from asal.data.found import mistaken_for_classes
from asal.data.found_again import FoundAgain, changed_files, found_again, still_alike
from asal.data.image_options import stored_ranges
from asal.data.ingest import IngestContext, take
from asal.data.ingest_check import described
from asal.data.ingest_shard import RECEIPT, ImageFormat, NothingReadableError, Receipt, decoded
from asal.data.listing import Listing, hashed
from asal.data.pool import StoredPool
from asal.data.sources import Source
from asal.data.splits import SplitPart
from asal.errors import UserError, counted
from asal.runtime import artifacts

BLOCK = 2**16  # keys hashed at a time
KNOWN = ".known.npy"  # beside the additions while one is made: hashes of all images that the project has
Hashes = npt.NDArray[np.uint64]


@dataclass(frozen=True)
class Added:
    """How many images an addition has, and what became of the other files."""

    new: int
    known: int  # by their keys or their content
    others: int  # of classes that the project does not keep
    found: FoundAgain = field(default_factory=FoundAgain)  # files that hold images of the project
    repaired: tuple[str, ...] = ()  # keys that could not be read before, and were taken in
    unreadable: int = 0  # files that cannot be read now

    @property
    def lines(self) -> list[str]:
        """What is to be said beside the numbers of images, as sentences."""
        lines = self.found.lines
        if self.repaired:
            were = "file that could not be read before was" if len(self.repaired) == 1 else "files … were"
            were = were.replace("…", "that could not be read before")
            lines.append(f"{len(self.repaired):,} {were} taken in: {', '.join(self.repaired[:3])}")
        if self.unreadable:
            lines.append(f"{counted(self.unreadable, 'file')} cannot be read: {ADDITIONS}/{moves.UNREADABLE}")
        return lines


@dataclass(frozen=True)
class _Order:
    """What every step of adding works with."""

    source: Source
    root: Path
    facts: dict[str, Any]  # of the project's pool
    form: ImageFormat
    context: IngestContext


def add(
    source: Source,
    root: Path,
    keep: tuple[str, ...],
    form: ImageFormat,
    context: IngestContext,
    *,
    own: bool = True,
    new_classes: bool = False,
) -> Added:
    """Add the new ones among the source's training images, and return how many they are.

    The caller has locked the project (`artifacts.exclusive`). Memory: 16 bytes an image of the source, 24 an image of
    the project.

    Args:
        keep: the classes that the project keeps; images of others are left out. An empty tuple keeps all.
        form: the size, channels and shape of the project's images.
        new_classes: a class that the project lacks becomes one, behind the others; else it is refused.
        own: the source is the one that the project was made from, in which a file that is gone was moved or deleted.

    Raises:
        UserError: labels where the project has none, or a class that it does not have, and whatever ingest raises.
    """
    order = _Order(source, root, pool.made_from(root / "pool"), form, context)
    if "augmented" in pool.facts_of(root / "pool"):
        raise UserError(
            f"{root / 'pool'} is an augmented pool, to which no images can be added",
            hint="raise `images` under [source], in another project folder",
        )
    try:
        return _add(order, keep, own, new_classes)
    finally:
        (root / ADDITIONS / KNOWN).unlink(missing_ok=True)


def _add(order: _Order, keep: tuple[str, ...], own: bool, new_classes: bool) -> Added:
    source, root = order.source, order.root
    for partial in damaged_additions(root):
        _remake(order, partial)
    order = replace(order, facts={**order.facts, "classes": _classes(order, new_classes and not keep)})
    listing = Listing.of(source)
    moves.write_aliases(root, still_alike(listing, root, order.form))
    broken = _unreadable_before(root)
    rows = listing.rows_without(_known(root))
    rows, readable = _retried(order, listing, rows, broken)
    fresh, labels = len(rows), _labels(source, order.facts, keep, rows)
    if labels is not None and keep:
        rows, labels = rows[labels >= 0], labels[labels >= 0]
    addition, receipts = _taken(order, rows, labels, listing) if len(rows) else (None, [])
    copies = [(key, bytes.fromhex(digest)) for receipt in receipts for _, key, digest in receipt.copies]
    kept = {key for receipt in receipts for key in receipt.keys} if readable else set()
    still = {key: reason for key, reason in broken.items() if key not in readable}
    still |= {key: reason for receipt in receipts for _, key, reason in receipt.skipped}
    moves.write_unreadable(root, still)
    changed = changed_files(source, root, order.form, own=own)
    found = found_again(listing, root, copies, changed, own=own)
    if addition is None:
        _note_source(root, source, order.facts)
    new = sum(len(receipt.keys) for receipt in receipts)
    known = source.splits["train"] - fresh + len(copies)
    return Added(new, known, fresh - len(rows), found, tuple(sorted(kept & readable)), len(still))


def _taken(order: _Order, rows: Ids, labels: Labels | None, listing: Listing) -> tuple[Path | None, list[Receipt]]:
    """Make an addition of some rows; return it, unless none of them is new and readable, and its receipts."""
    root = order.root
    home = root / ADDITIONS
    home.mkdir(exist_ok=True)
    form = _with_ranges(order.form, order.source, rows, order.facts["options"])
    for addition in additions(root):
        artifacts.tidy(addition)
    folder = home / f"{len(additions(root)) + 1:04d}"
    made_from = {
        "part": "addition",
        "options": {**order.facts["options"], "source": described(order.source, root)},
        "source": order.source.fingerprint,
        "classes": order.facts["classes"],
        "keys": listing.digest(rows),
    }
    if order.facts["options"].get("range") == "auto" and form.how.ranges:
        made_from["ranges"] = form.how.ranges
    part = SplitPart("train", rows, labels, tuple(order.facts["classes"]))
    known = write_known(home / KNOWN, folders_of(root))
    try:
        take(order.source, part, folder, made_from, form, replace(order.context, known=known))
    except NothingReadableError as nothing:
        artifacts.discard(folder.with_name(f"{folder.name}.partial"))
        return None, nothing.receipts
    return folder, [Receipt.read(path) for path in sorted((folder / RECEIPT).parent.glob("*.json"))]


def _with_ranges(form: ImageFormat, source: Source, rows: Ids, options: Mapping[str, Any]) -> ImageFormat:
    """Return the format with a range for the kinds of deep pixels that the project did not have before."""
    if options.get("range") != "auto":
        return form
    ranges = {**sampled(source, "train", rows), **cast(Mapping[str, Range], form.how.ranges)}
    return replace(form, how=replace(form.how, ranges=ranges))


def _note_source(root: Path, source: Source, facts: dict[str, Any]) -> None:
    """Note how the source was when it had nothing new for the project, so that `prepare` knows it."""
    known = {facts["source"], *(artifacts.manifest(folder)["source"] for folder in additions(root))}
    if source.fingerprint not in (None, *known):
        (root / ADDITIONS).mkdir(exist_ok=True)
        artifacts.write_json(root / ADDITIONS / SEEN, {"source": source.fingerprint})


def _unreadable_before(root: Path) -> dict[str, str]:
    """Return the files that could not be read so far, and why."""
    if (now := moves.unreadable_now(root)) is not None:
        return now
    return {key: reason for folder in folders_of(root) for key, reason in moves.listed_unreadable(folder).items()}


def _retried(order: _Order, listing: Listing, rows: Ids, broken: dict[str, str]) -> tuple[Ids, set[str]]:
    """Return the rows without those that could not be read before and still cannot; and those that can be by now.

    Writes the present reasons into `broken`. Cost: these files are decoded.
    """
    places = listing.rows_of(list(broken))
    retried = np.array(sorted(row for row in places if row >= 0), np.int64)
    retried = retried[np.isin(retried, rows)]
    readable, out = set[str](), []
    records = order.source.records("train", retried)
    for row, (key, image, _) in zip(retried.tolist(), decoded(records, order.form), strict=True):
        if isinstance(image, str):
            broken[key] = image
            out.append(row)
        else:
            readable.add(key)
    for key, row in zip(list(broken), places, strict=True):
        if row < 0:  # the file is gone
            del broken[key]
    return rows[~np.isin(rows, out)], readable


def _remake(order: _Order, partial: Path) -> None:
    """Make again what `doctor --repair` removed from an addition: from the same images."""
    source, facts = order.source, order.facts
    receipts = [Receipt.read(path) for path in sorted((partial / "receipts").glob("*.json"))]
    gone = [name for name in artifacts.read_json(partial / artifacts.SCRATCH / artifacts.WAS) if "receipts/" in name]
    if gone:
        raise UserError(
            f"{partial / gone[0]} was damaged, too",
            rule="an addition is made again from its receipts, which say which images it has",
            hint="restore it from a copy",
        )
    held: list[str] = []
    for receipt in receipts:
        keys, left_out = iter(receipt.keys), {place: key for place, key, _ in (*receipt.skipped, *receipt.copies)}
        held += [left_out.get(place) or next(keys) for place in range(receipt.size)]
    row_of = {record.key: row for row, record in enumerate(source.records("train", np.arange(source.splits["train"])))}
    if lost := [key for key in held if key not in row_of]:
        raise UserError(
            f"{lost[0]} is gone from the source", rule="an addition is made again from its source", hint="restore it"
        )
    rows = np.array([row_of[key] for key in held], np.int64)
    made_from = artifacts.read_json(partial / artifacts.SCRATCH / artifacts.MADE_FROM)
    classes = tuple(made_from["classes"])
    part = SplitPart("train", rows, _labels(source, {**facts, "classes": classes}, (), rows), classes)
    form = order.form
    if made_from["options"].get("range") == "auto":
        form = replace(form, how=replace(form.how, ranges=stored_ranges(made_from)))
    whole = partial.with_suffix("")
    earlier = [order.root / ADDITIONS / f"{number:04d}" for number in range(1, int(whole.name))]
    before = [*folders_of_split(order.root), *earlier]
    known = write_known(order.root / ADDITIONS / KNOWN, before) if keeps_hashes(partial) else None
    take(source, part, whole, made_from, form, replace(order.context, known=known))


def _known(root: Path) -> Hashes:
    """Return the hashes, ascending, of all keys of images that a project has: their own, and further names of them."""
    blocks = [hashed(keys) for folder in folders_of(root) for keys in _keys(folder)]
    blocks.append(hashed([alias.key for alias in moves.read_aliases(root)]))
    return np.sort(np.concatenate(blocks))


def _keys(folder: Path) -> Iterator[list[str]]:
    stored = StoredPool.open(folder)
    for first in range(0, len(stored), BLOCK):
        yield stored.keys(np.arange(first, min(first + BLOCK, len(stored))))


def pool_classes(root: Path) -> list[str]:
    """Return the classes of a pool's stored labels: those that it began with, and those of its additions."""
    return max((list(pool.made_from(folder)["classes"]) for folder in (root / "pool", *additions(root))), key=len)


def _classes(order: _Order, new_classes: bool) -> list[str]:
    """Return the classes of the pool, with those that only the images to add have, where these are wanted."""
    classes = pool_classes(order.root)
    present = _present(order.source) if new_classes and pool.LABELS in order.facts["files"] else []
    return classes + [name for name in present if name not in classes]


def _present(source: Source) -> list[str]:
    """Return the classes that any of a source's training images has, in the order of their numbers."""
    labels = source.labels("train")
    return [] if labels is None else [source.classes[number] for number in np.unique(labels[labels >= 0]).tolist()]


def _labels(source: Source, facts: dict[str, Any], keep: tuple[str, ...], rows: Ids) -> Labels | None:
    """Return the labels as the project numbers them, −1 for what is unknown or not kept; None where it has none."""
    if pool.LABELS not in facts["files"]:
        return None  # even if the source has labels: a project without stored labels stays so
    labels, classes = source.labels("train"), list(facts["classes"])
    if labels is None:
        return np.full(len(rows), -1)
    present = np.unique(labels[rows])
    for number in present[present >= 0].tolist():
        if source.classes[number] not in classes and not keep:
            raise UserError(
                f"no class of this project is called '{source.classes[number]}', as images to add are",
                rule=f"the classes are {', '.join(classes)}",
                hint="start another project folder: asal init"
                if mistaken_for_classes(classes, source)
                else "to make it a class: asal add --new-classes; to leave such images out, move them elsewhere",
            )
    table = np.full(len(source.classes) + 1, -1)  # one entry more: the unknown label −1 indexes the last
    for number, name in enumerate(source.classes):
        if name in classes:
            table[number] = classes.index(name)
    return np.asarray(table[labels[rows]], np.int64)
