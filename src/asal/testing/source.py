"""What every source of images must do.

>>> import tempfile
>>> from asal.data.sources.digits import Digits
>>> for check in CHECKS.values():
...     check(lambda folder: Digits())
"""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from typing import TypeAlias

import numpy as np

from asal.data.decoding import Unreadable
from asal.data.ingest_shard import ImageFormat, IngestShardTask
from asal.data.sources import Raw, Source, SourceImage
from asal.data.sources.decode import decode
from asal.errors import UserError

Make: TypeAlias = Callable[[Path], Source]
"""Builds the source on a few images, three or more in "train". It gets a folder to write them to, and may be
called twice with the same one."""


@contextmanager
def _made(make: Make) -> Iterator[Source]:
    with tempfile.TemporaryDirectory() as folder:
        yield make(Path(folder))


def _all(source: Source, split: str) -> list[SourceImage]:
    return list(source.records(split, np.arange(source.splits[split])))


def _same(one: Raw, other: Raw) -> bool:
    return np.array_equal(one, other) if isinstance(one, np.ndarray) and isinstance(other, np.ndarray) else one == other


def names_its_splits(make: Make) -> None:
    """It has a split "train", and says how many images each has."""
    with _made(make) as source:
        assert source.splits.get("train", 0) >= 3, f"three images or more in 'train' are needed: {source.splits}"
        for split, images in source.splits.items():
            given = len(_all(source, split))
            assert given == images, f"'{split}' claims {images} images and gives {given}"


def names_its_classes(make: Make) -> None:
    """Its classes are distinct, non-empty strings."""
    with _made(make) as source:
        names = source.classes
        assert isinstance(names, tuple), f"classes are a tuple, not a {type(names).__name__}"
        assert len(set(names)) == len(names), f"classes are distinct: {names}"
        assert all(isinstance(name, str) and name for name in names), f"classes are non-empty strings: {names}"


def labels_every_image(make: Make) -> None:
    """Each split has one int64 label an image, from −1 to k − 1; or there are neither labels nor classes."""
    with _made(make) as source:
        for split, images in source.splits.items():
            labels = source.labels(split)
            assert (labels is None) == (not source.classes), "labels are None exactly where there are no classes"
            if labels is None:
                continue
            assert labels.dtype == np.int64 and labels.shape == (images,), f"{labels.dtype} {labels.shape}"
            assert labels.min() >= -1 and labels.max() < len(source.classes), f"{labels.min()} … {labels.max()}"


def gives_every_image_its_own_key(make: Make) -> None:
    """No two images have the same key."""
    with _made(make) as source:
        keys = [record.key for split in source.splits for record in _all(source, split)]
        assert len(set(keys)) == len(keys), f"a key stands for one image: {len(keys) - len(set(keys))} are repeated"
        for key in keys:
            key.encode()  # a key is written as UTF-8


def gives_the_rows_asked_for(make: Make) -> None:
    """Some rows are the same records as when all are asked for; no rows are none."""
    with _made(make) as source:
        everything = _all(source, "train")
        for rows in (np.arange(1, len(everything), 2), np.array([len(everything) - 1]), np.empty(0, np.int64)):
            some = list(source.records("train", rows))
            assert [r.key for r in some] == [everything[row].key for row in rows], f"other records for rows {rows}"
            assert all(_same(r.raw, everything[row].raw) for r, row in zip(some, rows, strict=True)), "other images"


def streams_its_records(make: Make) -> None:
    """Records come one after the other, not in a list."""
    with _made(make) as source:
        records = source.records("train", np.arange(source.splits["train"]))
        assert iter(records) is records, f"records are an iterator, not a {type(records).__name__}"


def decodes(make: Make) -> None:
    """What it hands out can be decoded, some of it at least; what cannot has a reason."""
    with _made(make) as source:
        images, reasons = [], []
        for record in _all(source, "train"):
            try:
                images.append(decode(record.raw, size=None, gray=False))
            except Unreadable as error:
                reasons.append(error.reason)
        assert images, f"no image can be decoded: {reasons[:3]}"


def is_the_same_twice(make: Make) -> None:
    """The same options over the same images give the same order, labels and fingerprint."""
    with tempfile.TemporaryDirectory() as folder:
        one, two = make(Path(folder)), make(Path(folder))
        assert one == two, "sources with the same options are equal"
        assert one.fingerprint == two.fingerprint, "the fingerprint depends on the images alone"
        assert (one.classes, dict(one.splits)) == (two.classes, dict(two.splits)), "other classes or splits"
        for split in one.splits:
            assert [r.key for r in _all(one, split)] == [r.key for r in _all(two, split)], "another order"
            labels = [None if (given := source.labels(split)) is None else given.tolist() for source in (one, two)]
            assert labels[0] == labels[1], "other labels"


def is_a_frozen_dataclass(make: Make) -> None:
    """It is a frozen dataclass, so that a spec can say all there is to say of it."""
    with _made(make) as source:
        assert dataclasses.is_dataclass(source), "a source is a dataclass: its fields are its options"
        parameters = type(source).__dataclass_params__
        assert parameters.frozen, "a source is frozen: its options say which images there are"


def can_be_sent_to_another_process(make: Make) -> None:
    """What an ingest task takes of it to another process is small, and gives the same records there."""
    with _made(make) as source:
        rows = np.arange(0, source.splits["train"], 2)[:16]
        wanted = list(source.records("train", rows))  # whatever it keeps of that stays here
        piece = IngestShardTask(source, "", "train", rows, 0, ImageFormat(None, False, (1, 1, 1)), Path("pool"))
        try:
            sent = bytes(ForkingPickler.dumps(piece))
        except Exception as error:
            raise AssertionError(f"it cannot be sent to another process: {error!r}") from error
        arrived: IngestShardTask = ForkingPickler.loads(sent)
        assert len(sent) < 4096 + 512 * len(rows), f"{len(sent):,} bytes are sent for {len(rows)} images"
        given = list(arrived.source.records("train", arrived.rows))
        assert [r.key for r in given] == [r.key for r in wanted], "other records arrive"
        assert all(_same(one.raw, other.raw) for one, other in zip(given, wanted, strict=True)), "other images arrive"


def refuses_an_unknown_split(make: Make) -> None:
    """A split that it does not have raises a UserError."""
    with _made(make) as source:
        for ask in (source.labels, lambda split: list(source.records(split, np.arange(1)))):
            try:
                ask("no such split")
            except UserError:
                continue
            except Exception as error:
                raise AssertionError(f"an unknown split is a UserError, not {error!r}") from error
            raise AssertionError("an unknown split was accepted")


CHECKS: dict[str, Callable[[Make], None]] = {
    "names its splits": names_its_splits,
    "names its classes": names_its_classes,
    "labels every image": labels_every_image,
    "gives every image its own key": gives_every_image_its_own_key,
    "gives the rows asked for": gives_the_rows_asked_for,
    "streams its records": streams_its_records,
    "decodes": decodes,
    "is the same twice": is_the_same_twice,
    "is a frozen dataclass": is_a_frozen_dataclass,
    "can be sent to another process": can_be_sent_to_another_process,
    "refuses an unknown split": refuses_an_unknown_split,
}
