"""Ingests images: the splits of a source, filtered and written as pool folders that `asal.data.pool` reads.

A part is divided into ranges of rows, one for each shard, which `asal.data.ingest_shard` ingests one by one, in as many
processes as the engine has. An interrupted ingest makes what is missing, and ends in the same bytes. Beside the images
of the shards at work, memory holds row numbers and labels: a few dozen bytes an image.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from itertools import chain, islice
from pathlib import Path
from types import MappingProxyType
from typing import IO, Any, Unpack, cast

import numpy as np

from asal.data import pool
from asal.data.appearance import warnings_of
from asal.data.decoding import Range
from asal.data.decoding.ranges import range_lines, sampled
from asal.data.duplicates import keeps_hashes, packed, write_copies
from asal.data.image_options import ImageOptions, conversion, made_with, stored_ranges
from asal.data.ingest_check import check_ingested, check_listing, repaired
from asal.data.ingest_shard import (
    RECEIPT,
    ImageFormat,
    IngestShardTask,
    NothingReadableError,
    Receipt,
    Shape,
    close,
    decoded,
    keys_at,
)
from asal.data.source_changes import accept_place
from asal.data.sources import Enlarging, Listed, Source
from asal.data.splits import Split, SplitPart, make_splits
from asal.errors import UserError
from asal.runtime import artifacts, npy
from asal.runtime.csv_rows import csv_bytes
from asal.runtime.engine import Engine, InProcess
from asal.runtime.progress import Progress, no_progress


@dataclass(frozen=True)
class IngestContext:
    """The engine that ingests shards, where progress is reported, and what is left out."""

    engine: Engine = field(default_factory=InProcess)
    progress: Progress = no_progress
    known: Path | None = None  # hashes of images that are left out (`asal.data.duplicates.write_known`)


ALONE = IngestContext()
NOTHING: Mapping[str, Any] = MappingProxyType({})


def ingest(
    source: Source,
    project: Path,
    split: Split | None = None,
    *,
    keep: tuple[str, ...] = (),
    context: IngestContext = ALONE,
    **images: Unpack[ImageOptions],
) -> dict[str, Path]:
    """Write the folders pool, validation and test of a project, those that `split` asks for, and return them.

    Complete folders are left as they are. The caller has locked the project (`artifacts.exclusive`).

    Args:
        source: a registered source.
        keep: the classes to keep, in the order of their new numbers; none keeps all.
        context: the engine that ingests the shards, and where progress is reported.
        images: how images become pixels. `size` is needed unless all have one shape. What is not given is as in the
            folders that are there, or else the default.

    Raises:
        UserError: options that do not fit the source or an existing folder; a full disk.
    """
    split = split or Split()
    size = images.get("size")
    if size is not None and size < 1:
        raise UserError(f"images of size {size} have no pixels", hint="set `size` to 1 or more")
    folders = {name: project / name for name in split.parts}
    made_from, missing = check_ingested(source, project, split, keep=keep, **images)
    for name in folders.keys() - missing:
        artifacts.tidy(folders[name])
    accept_place(source, project)
    if not missing:
        return folders
    with artifacts.explain_disk_errors(project):
        parts = make_splits(source, split, keep)
        larger = _larger(source, parts["pool"])
        check_listing(source, folders, missing)
        source = source.origin if isinstance(source, Enlarging) else source
        project.mkdir(parents=True, exist_ok=True)
        shape = pool.StoredPool.open(folders["pool"]).shape if "pool" not in missing else None
        form = _form(source, parts["pool"], project, made_from["options"], images.get("pixel_limit"))
        form = replace(form, shape=shape or _shape(source, parts["pool"], form))
        if isinstance(form.how.ranges, dict) and made_from["options"].get("range") == "auto" and form.how.ranges:
            made_from["ranges"] = form.how.ranges
        if made_from["source"] is None and isinstance(source, Listed):  # an unfinished folder is of this list
            made_from["source"] = source.listing
        for name in missing:
            facts = {"part": name, **made_from, "classes": list(parts[name].classes)}
            facts, part = repaired(source, folders[name], facts, parts[name])
            take(source, part, folders[name], facts, form, context, larger if name == "pool" else {})
    return folders


def take(
    source: Source,
    part: SplitPart,
    folder: Path,
    facts: Mapping[str, Any],
    form: ImageFormat,
    context: IngestContext,
    more: Mapping[str, Any] = NOTHING,
) -> None:
    """Fill one folder with the images of a part, going on where it was interrupted.

    Args:
        facts: what it is made from, for its manifest.
        more: further entries of `pool.json`.

    Raises:
        NothingReadableError: no image is new and readable.
    """
    with artifacts.building(folder, facts) as partial:
        warnings = _assemble(partial, part, _taken(partial, source, part, form, context), more)
    for warning in warnings:
        context.progress(f"sample of {folder.name}", 0, 0, f"warning: {warning}")


def _form(source: Source, part: SplitPart, project: Path, options: Mapping[str, Any], limit: int | None) -> ImageFormat:
    """Return how images become pixels, but for their shape: with the ranges of what is there, or of a sample."""
    there = made_with(project)
    ranges: Mapping[str, Range] = {}
    if options.get("range") == "auto":
        ranges = sampled(source, part.split, part.rows) if there is None else stored_ranges(there)
    return ImageFormat(options["size"], options["gray"], (0, 0, 0), conversion(options, ranges, limit))


def _shape(source: Source, part: SplitPart, form: ImageFormat) -> Shape:
    """Return the shape of every image: from `size`, or that of the first readable image."""
    if form.size:
        return form.size, form.size, 1 if form.gray else 3
    skipped: list[tuple[int, str, str]] = []
    while len(skipped) < len(part.rows):
        rows = part.rows[len(skipped) : 2 * len(skipped) + 1]  # mostly one row: more would be fetched in vain
        with closing(decoded(source.records(part.split, rows), form)) as found:
            for key, image, _ in found:
                if not isinstance(image, str):
                    return cast(Shape, image.shape)
                skipped.append((0, key, image))
    raise _none_readable(skipped)


def _none_readable(skipped: Sequence[tuple[int, str, str]]) -> UserError:
    if not skipped:
        return UserError("no image is new", hint="check the source")
    _, key, reason = skipped[0]
    return UserError(
        f"none of {len(skipped):,} images can be read, such as {key}: {reason}"
        if len(skipped) > 1
        else f"the only image, {key}, cannot be read: {reason}",
        hint="check the source",
    )


def _larger(source: Source, part: SplitPart) -> dict[str, Any]:
    """Return the entries of `pool.json` that make a pool larger than what is ingested."""
    if not isinstance(source, Enlarging):
        return {}
    if source.enlarges["images"] < len(part.rows):
        raise UserError(
            f"an augmented pool of {source.enlarges['images']:,} images is smaller than its base's {len(part.rows):,}",
            hint="raise `images` under [source], or set `train` under [pool.split]",
        )
    return {"augmented": dict(source.enlarges)}


def _taken(
    folder: Path, source: Source, part: SplitPart, form: ImageFormat, context: IngestContext
) -> list[IngestShardTask]:
    """Ingest every shard that is missing, and return all of them."""
    for left in (folder / artifacts.SCRATCH).iterdir():  # by a process that was killed
        if left.name not in (artifacts.MADE_FROM, artifacts.WAS):
            left.unlink()
    order, step = uuid.uuid4().hex, pool.shard_size(form.shape)
    hashing, home = keeps_hashes(folder), folder.absolute()
    known = context.known
    works = [
        IngestShardTask(source, order, part.split, part.rows[start : start + step], number, form, home, hashing, known)
        for number, start in enumerate(range(0, len(part.rows), step))
    ]
    remarks = range_lines(form.how.ranges) if isinstance(form.how.ranges, dict) else []
    account = _Account(f"ingest {folder.stem}", context.progress, len(part.rows), remarks)
    missing = account.open(works)
    try:
        for work, unreadable in context.engine.map_unordered(missing, account.report):
            account.settle(work, unreadable)
    finally:
        close()
    return works


@dataclass
class _Account:
    """Adds up the progress of all shards."""

    stage: str
    progress: Progress
    total: int
    remarks: list[str]  # for the notes
    kept: int = 0  # rows that were done before
    begun: float = field(default_factory=time.monotonic)
    done: dict[str, tuple[int, int]] = field(default_factory=dict)  # by shard: rows, and unreadable ones among them

    def open(self, works: Sequence[IngestShardTask]) -> list[IngestShardTask]:
        """Count the shards that exist already, report them, and return the others."""
        missing = []
        for work in works:
            if (receipt := work.done()) is None:
                missing.append(work)
            else:
                self.done[work.name] = (work.size, len(receipt.skipped))
                self.kept += work.size
        self.progress(self.stage, self.kept, self.total)
        return missing

    def report(self, stage: str, done: int, total: int, note: str = "") -> None:
        """Take the progress of a shard, whose stage is its name."""
        if done > self.done.get(stage, (-1, 0))[0]:
            self.done[stage] = (done, int(note or 0))
            self._report_all()

    def settle(self, work: IngestShardTask, unreadable: int) -> None:
        """Take the end of a shard."""
        self.report(work.name, work.size, work.size, str(unreadable))

    def _report_all(self) -> None:
        counts = list(self.done.values())
        done, unreadable = (sum(column) for column in zip(*counts, strict=True))
        rate = (done - self.kept) / max(time.monotonic() - self.begun, 1e-3)
        notes = [f"{rate:,.0f} images/s", *([f"{unreadable:,} unreadable"] if unreadable else []), *self.remarks]
        self.progress(self.stage, done, self.total, ", ".join(notes))


def _assemble(folder: Path, part: SplitPart, works: Sequence[IngestShardTask], more: Mapping[str, Any]) -> list[str]:
    """Write what the receipts of all shards contain: keys, what was left out, labels, sizes; return warnings."""
    shape = works[0].form.shape
    shard = pool.shard_size(shape)
    taken = np.ones(len(part.rows), np.bool_)
    skipped: list[tuple[int, str, str]] = []
    hashes: list[bytes | None] = []
    for number, receipt in enumerate(_receipts(works)):
        skipped += [(number * shard + place, key, reason) for place, key, reason in receipt.skipped]
        taken[[number * shard + place for place, _, _ in (*receipt.skipped, *receipt.copies)]] = False
        hashes.append(receipt.hashes)
    if not taken.any():
        nothing = NothingReadableError(_none_readable(skipped), list(_receipts(works)))
        for work in works:  # so that a repaired source is read again
            (folder / RECEIPT.format(work.number)).unlink()
        raise nothing
    with artifacts.replacing(folder / pool.KEYS) as file:
        _write_keys(file, (receipt.keys for receipt in _receipts(works)))
    artifacts.write(folder / pool.UNREADABLE, csv_bytes(("key", "reason"), [row[1:] for row in skipped]))
    if part.labels is not None:
        npy.write(folder / pool.LABELS, part.labels[taken])
    if works[0].hashing:
        labels = None if part.labels is None else part.labels[taken]
        together = packed(b"".join(filter(None, hashes)))
        write_copies(folder, together, lambda ids: keys_at(_receipts(works), ids), labels, part.classes)
    before = np.concatenate([[0], np.cumsum(taken)])
    facts: dict[str, Any] = {
        "images": int(taken.sum()),
        "unreadable": len(skipped),
        "shape": shape,
        "shard": shard,
        "starts": before[: len(taken) : shard].tolist(),
        **more,
    }
    if warnings := warnings_of(pool.StoredPool(folder, facts, "")):
        facts["warnings"] = warnings
    artifacts.write(folder / pool.FACTS, json.dumps(facts).encode())
    return warnings


def _receipts(works: Sequence[IngestShardTask]) -> Iterator[Receipt]:
    for work in works:
        receipt = work.done()
        if receipt is None:
            raise artifacts.damaged(work.folder / RECEIPT.format(work.number), "it was deleted during the ingest")
        yield receipt


def _write_keys(file: IO[bytes], shards: Iterator[list[str]]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    keys = chain.from_iterable(shards)
    groups = iter(lambda: list(islice(keys, pool.KEY_GROUP)), [])
    tables = (
        pa.table({"id": np.arange(len(group)) + number * pool.KEY_GROUP, "key": group})
        for number, group in enumerate(groups)
    )
    first = next(tables)
    with pq.ParquetWriter(file, first.schema) as writer:
        for table in chain([first], tables):
            writer.write_table(table, row_group_size=pool.KEY_GROUP)
