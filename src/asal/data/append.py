"""Adds the new images of a source to a project's pool, under ids behind the old ones.

Their keys decide which images are new, so the ids do not depend on how often an addition was interrupted: it is a
folder like `pool`, filled shard by shard under a temporary name, and there when it is complete.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from asal.core import Ids, Labels
from asal.data import pool
from asal.data.concat_pool import ADDITIONS, SEEN, additions, damaged_additions
from asal.data.decoding import Range
from asal.data.decoding.ranges import sampled
from asal.data.image_options import stored_ranges
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
    """How many images an addition has."""

    new: int
    known: int  # by their keys
    others: int  # of classes that the project does not keep


def add(source: Source, root: Path, keep: tuple[str, ...], form: ImageFormat, context: IngestContext) -> Added:
    """Add the new ones among the source's training images, and return how many they are.

    The caller has locked the project (`artifacts.exclusive`). Memory: 8 bytes an image, old and new.

    Args:
        keep: the classes that the project keeps; images of others are left out. An empty tuple keeps all.
        form: the size, channels and shape of the project's images.

    Raises:
        UserError: labels where the project has none, or a class that it does not have, and whatever ingest raises.
    """
    facts = pool.made_from(root / "pool")
    if "augmented" in pool.facts_of(root / "pool"):
        raise UserError(
            f"{root / 'pool'} is an augmented pool, to which no images can be added",
            hint="raise `images` under [source], in another project folder",
        )
    for partial in damaged_additions(root):
        _remake(source, partial, facts, form, context)
    rows, digest = _new(source, _known(root))
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
    form = _with_ranges(form, source, rows, facts["options"])
    for addition in additions(root):
        artifacts.tidy(addition)
    folder = home / f"{len(additions(root)) + 1:04d}"
    made_from = {
        "part": "addition",
        "options": {**facts["options"], "source": described(source)},
        "source": source.fingerprint,
        "classes": facts["classes"],
        "keys": digest,
    }
    if facts["options"].get("range") == "auto" and form.how.ranges:
        made_from["ranges"] = form.how.ranges
    take(source, SplitPart("train", rows, labels, tuple(facts["classes"])), folder, made_from, form, context)
    return replace(counts, new=len(StoredPool.open(folder)))


def _with_ranges(form: ImageFormat, source: Source, rows: Ids, options: Mapping[str, Any]) -> ImageFormat:
    """Return the format with a range for the kinds of deep pixels that the project did not have before."""
    if options.get("range") != "auto":
        return form
    ranges = {**sampled(source, "train", rows), **cast(Mapping[str, Range], form.how.ranges)}
    return replace(form, how=replace(form.how, ranges=ranges))


def _remake(source: Source, partial: Path, facts: dict[str, Any], form: ImageFormat, context: IngestContext) -> None:
    """Make again what `doctor --repair` removed from an addition: from the same images."""
    receipts = sorted((partial / "receipts").glob("*.json"))
    contents = [artifacts.read_json(path) for path in receipts]
    gone = [name for name in artifacts.read_json(partial / artifacts.SCRATCH / artifacts.WAS) if "receipts/" in name]
    if gone:
        raise UserError(
            f"{partial / gone[0]} was damaged, too",
            rule="an addition is made again from its receipts, which say which images it has",
            hint="restore it from a copy",
        )
    held: list[str] = []
    for receipt in contents:
        keys, left_out = iter(receipt["keys"]), {place: key for place, key, _ in receipt["skipped"]}
        held += [left_out.get(place) or next(keys) for place in range(len(receipt["keys"]) + len(receipt["skipped"]))]
    row_of = {record.key: row for row, record in enumerate(source.records("train", np.arange(source.splits["train"])))}
    if lost := [key for key in held if key not in row_of]:
        raise UserError(
            f"{lost[0]} is gone from the source", rule="an addition is made again from its source", hint="restore it"
        )
    rows = np.array([row_of[key] for key in held], np.int64)
    made_from = artifacts.read_json(partial / artifacts.SCRATCH / artifacts.MADE_FROM)
    part = SplitPart("train", rows, _labels(source, facts, (), rows), tuple(facts["classes"]))
    if made_from["options"].get("range") == "auto":
        form = replace(form, how=replace(form.how, ranges=stored_ranges(made_from)))
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
    """Return the labels as the project numbers them, −1 for what is unknown or not kept; None where it has none."""
    if pool.LABELS not in facts["files"]:
        return None  # even if the source has labels: a project without stored labels stays so
    labels, classes = source.labels("train"), list(facts["classes"])
    if labels is None:
        return np.full(len(rows), -1)
    present = np.unique(labels[rows])
    for number in present[present >= 0].tolist():
        if source.classes[number] not in classes and not keep:
            raise unknown("class of this project", source.classes[number], classes)
    table = np.full(len(source.classes) + 1, -1)  # one entry more: the unknown label −1 indexes the last
    for number, name in enumerate(source.classes):
        if name in classes:
            table[number] = classes.index(name)
    return np.asarray(table[labels[rows]], np.int64)
