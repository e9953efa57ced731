"""Adds to a project's pool the images that its source has by now and the project does not, under ids behind the old.

Which images are new is told by their keys, and so the ids do not hang on how often an addition was cut: it is a
folder like `pool`, filled shard by shard under a temporary name, and there when it is whole.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from asal.core import Ids, Labels
from asal.data import pool
from asal.data.concat_pool import ADDITIONS, SEEN, additions, damaged_additions
from asal.data.ingest import IngestContext, described, take
from asal.data.ingest_shard import ImageFormat
from asal.data.pool import StoredPool
from asal.data.sources import Source
from asal.data.splits import SplitPart
from asal.errors import UserError, unknown
from asal.runtime import artifacts

BLOCK = 2**16  # keys hashed at a time
Hashes = npt.NDArray[np.uint64]


@dataclass(frozen=True)
class Added:
    """What an addition came to, in images."""

    new: int
    known: int  # by their keys
    others: int  # of classes that the project does not keep


def add(source: Source, root: Path, keep: tuple[str, ...], form: ImageFormat, context: IngestContext) -> Added:
    """Take in what is new among the source's training images, and tell how much that was.

    The caller holds the project (`artifacts.exclusive`). Memory: 8 bytes an image, old and new.

    Args:
        keep: the classes that the project keeps; images of others are no news. None keeps all.
        form: what the images of the project are like.

    Raises:
        UserError: labels where the project has none, or a class that it does not have, and whatever ingest raises.
    """
    facts = pool.made_from(root / "pool")
    if "augmented" in pool.facts_of(root / "pool"):
        raise UserError(
            "images to be added to one",
            rule="an augmented pool is as large as its source says",
            hint="raise `images` under [source], in another project folder",
        )
    for partial in damaged_additions(root):
        _remake(source, partial, facts, form, context)
    rows, told = _new(source, _known(root))
    fresh, labels = len(rows), _labels(source, facts, keep, rows)
    if labels is not None and keep:
        rows, labels = rows[labels >= 0], labels[labels >= 0]
    counts = Added(0, source.splits["train"] - fresh, fresh - len(rows))
    home = root / ADDITIONS
    if not len(rows):
        if fresh:
            home.mkdir(exist_ok=True)
            artifacts.write_json(home / SEEN, {"source": source.fingerprint})
        return counts
    home.mkdir(exist_ok=True)
    for addition in additions(root):
        artifacts.tidy(addition)
    folder = home / f"{len(additions(root)) + 1:04d}"
    made_from = {
        "part": "addition",
        "options": {**facts["options"], "source": described(source)},
        "source": source.fingerprint,
        "classes": facts["classes"],
        "keys": told,
    }
    take(source, SplitPart("train", rows, labels, tuple(facts["classes"])), folder, made_from, form, context)
    return replace(counts, new=len(StoredPool.open(folder)))


def _remake(source: Source, partial: Path, facts: dict[str, Any], form: ImageFormat, context: IngestContext) -> None:
    """Make anew what `doctor --repair` took from an addition: of the very images that it held."""
    receipts = sorted((partial / "receipts").glob("*.json"))
    told = [artifacts.read_json(path) for path in receipts]
    gone = [name for name in artifacts.read_json(partial / artifacts.SCRATCH / artifacts.WAS) if "receipts/" in name]
    if gone:
        raise UserError(
            f"{partial / gone[0]} was damaged, too",
            rule="an addition is made anew by its receipts, which say which images it held",
            hint="put it back from a copy",
        )
    held: list[str] = []
    for receipt in told:
        keys, left_out = iter(receipt["keys"]), {place: key for place, key, _ in receipt["skipped"]}
        held += [left_out.get(place) or next(keys) for place in range(len(receipt["keys"]) + len(receipt["skipped"]))]
    there = {record.key: row for row, record in enumerate(source.records("train", np.arange(source.splits["train"])))}
    if lost := [key for key in held if key not in there]:
        raise UserError(
            f"{lost[0]} is not there any more", rule="an addition is made anew from its source", hint="put it back"
        )
    rows = np.array([there[key] for key in held], np.int64)
    made_from = artifacts.read_json(partial / artifacts.SCRATCH / artifacts.MADE_FROM)
    part = SplitPart("train", rows, _labels(source, facts, (), rows), tuple(facts["classes"]))
    take(source, part, partial.with_suffix(""), made_from, form, context)


def _known(root: Path) -> Hashes:
    """Return the hashes, ascending, of all keys that a project has taken in or left out as unreadable."""
    folders = [*(root / name for name in ("pool", "validation", "test") if (root / name).exists()), *additions(root)]
    blocks = [_hashed(keys) for folder in folders for keys in _keys(folder)]
    return np.sort(np.concatenate(blocks))


def _keys(folder: Path) -> Iterator[list[str]]:
    stored = StoredPool.open(folder)
    for first in range(0, len(stored), BLOCK):
        yield stored.keys(np.arange(first, min(first + BLOCK, len(stored))))
    with (folder / pool.UNREADABLE).open(encoding="utf-8", newline="") as file:
        yield [row[0] for row in csv.reader(file)][1:]


def _hashed(keys: list[str]) -> Hashes:
    digests = (hashlib.blake2b(key.encode(), digest_size=8).digest() for key in keys)
    return np.frombuffer(b"".join(digests), np.uint64)


def _new(source: Source, known: Hashes) -> tuple[Ids, str]:
    """Return the rows of the images with new keys, and a hash of those keys in their order."""
    rows, everything, keys = [], np.arange(source.splits["train"]), hashlib.sha256()
    for first in range(0, len(everything), BLOCK):
        block = everything[first : first + BLOCK]
        names = [record.key for record in source.records("train", block)]
        hashes = _hashed(names)
        spots = np.minimum(known.searchsorted(hashes), len(known) - 1)
        fresh = known[spots] != hashes
        rows.append(block[fresh])
        keys.update("\0".join(name for name, new in zip(names, fresh, strict=True) if new).encode())
    return np.concatenate(rows) if rows else np.empty(0, np.int64), keys.hexdigest()


def _labels(source: Source, facts: dict[str, Any], keep: tuple[str, ...], rows: Ids) -> Labels | None:
    """Return the labels by the project's own numbers, −1 for what is unknown or not kept; None where it has none."""
    if pool.LABELS not in facts["files"]:
        return None  # whatever the source says: a project without stored labels stays so
    given, classes = source.labels("train"), list(facts["classes"])
    if given is None:
        return np.full(len(rows), -1)
    present = np.unique(given[rows])
    for number in present[present >= 0].tolist():
        if source.classes[number] not in classes and not keep:
            raise unknown("class of this project", source.classes[number], classes)
    table = np.full(len(source.classes) + 1, -1)  # one place more: the unknown label −1 indexes the last
    for number, name in enumerate(source.classes):
        if name in classes:
            table[number] = classes.index(name)
    return np.asarray(table[given[rows]], np.int64)
