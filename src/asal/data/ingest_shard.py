"""Ingests one shard of a pool: a task that any process can run, once or twice, with the same bytes as result.

A shard holds the readable images of a range of rows, so none waits for the one before it. When its file of images is
on the disk it writes a receipt, `receipts/00000.json`: the keys, and what was left out and why. Receipts stay in the
pool: with them, one damaged file is made again without the others.
"""

from __future__ import annotations

import warnings
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import chain, islice
from pathlib import Path
from typing import Any, ClassVar, TypeAlias

import numpy as np
import numpy.typing as npt

from asal.core import Ids
from asal.data import pool
from asal.data.decoding import AS_BEFORE, Conversion, Unreadable
from asal.data.sources import Listed, Raw, SourceImage, SourceImages
from asal.data.sources.decode import decode
from asal.errors import DamageError, UserError
from asal.runtime import artifacts, npy
from asal.runtime.environment import cores
from asal.runtime.prefetch import map_ahead
from asal.runtime.progress import Progress, no_progress

Image: TypeAlias = npt.NDArray[np.uint8]  # (h, w, c)
Shape: TypeAlias = tuple[int, int, int]

CREW = 8  # decoding threads at most
CHUNK = 8  # records that a thread decodes at once
SMALL = 2**14  # bytes; for smaller images, threads cost more than they save
REPORT_EVERY = 64  # images
RECEIPT = "receipts/{:05d}.json"

_opened: dict[
    str, SourceImages
] = {}  # of the order that this process works for: a source is opened once, not for each shard


@dataclass(frozen=True)
class ImageFormat:
    """The size, channels and shape of all images of a project, and how they are made so."""

    size: int | None  # pixels; None leaves them as they are
    gray: bool
    shape: Shape
    how: Conversion = AS_BEFORE


@dataclass(frozen=True)
class Receipt:
    """The contents of a finished shard."""

    keys: list[str]
    skipped: list[tuple[int, str, str]]  # its place among the shard's rows, key, reason


@dataclass(frozen=True, eq=False)
class IngestShardTask:
    """Ingests a shard, unless its receipt is there.

    Args:
        order: an id of the call of `ingest`, by which a process finds the source that it has open; "" is none.
        rows: ascending, of the split.
        folder: of the pool under construction.
    """

    source: SourceImages
    order: str
    split: str
    rows: Ids
    number: int
    form: ImageFormat
    folder: Path
    needs_torch: ClassVar[bool] = False

    @property
    def name(self) -> str:
        """The file that it writes."""
        return f"{self.folder.stem}/{pool.shard_name(self.number)}"

    @property
    def size(self) -> int:
        """Rows."""
        return len(self.rows)

    def __getstate__(self) -> dict[str, Any]:
        """Return what is pickled: the options of the source, or the names of these rows, and not what it has read."""
        source: Any = self.source
        if isinstance(source, Listed):
            return {**self.__dict__, "source": source.excerpt(self.split, self.rows), "order": ""}
        return {**self.__dict__, "source": replace(source)}

    def done(self) -> Receipt | None:
        """Return the receipt, if the shard is there and has the size that the receipt says."""
        try:
            stored = artifacts.read_json(self.folder / RECEIPT.format(self.number))
            receipt = Receipt(stored["keys"], [(place, key, reason) for place, key, reason in stored["skipped"]])
            shape = len(receipt.keys), *self.form.shape
            npy.open_mapped(self.folder / pool.shard_name(self.number), shape=shape, dtype=np.uint8)
        except (DamageError, OSError):
            return None
        return receipt if len(receipt.keys) + len(receipt.skipped) == self.size else None

    def run(self, progress: Progress = no_progress) -> int:
        """Ingest the shard, and return how many images could not be read. The note of the progress counts them, too.

        Raises:
            UserError: an image of another shape; a full disk.
        """
        try:
            with artifacts.explain_disk_errors(self.folder):
                receipt = self.done() or self._take(progress)
        except MemoryError:
            raise _too_little_memory(self.name) from None
        return len(receipt.skipped)

    def _take(self, progress: Progress) -> Receipt:
        images = np.empty((self.size, *self.form.shape), np.uint8)
        receipt, left_out = Receipt([], []), self._left_out()
        records = opened(self.order, self.source).records(self.split, self.rows)
        with closing(decoded(records, self.form)) as images_or_reasons, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of Pillow: what is wrong with an image is in the receipt
            for place, (key, image) in enumerate(images_or_reasons):
                image = left_out.get(place, image)  # noqa: PLW2901
                if isinstance(image, str):
                    receipt.skipped.append((place, key, image))
                else:
                    self._check(key, image)
                    images[len(receipt.keys)] = image
                    receipt.keys.append(key)
                if (place + 1) % REPORT_EVERY == 0 or place + 1 == self.size:
                    progress(self.name, place + 1, self.size, str(len(receipt.skipped)))
        (self.folder / pool.shard_name(self.number)).parent.mkdir(exist_ok=True)
        (self.folder / RECEIPT.format(self.number)).parent.mkdir(exist_ok=True)
        npy.write(self.folder / pool.shard_name(self.number), images[: len(receipt.keys)])
        # Last, because it says that the images are there.
        artifacts.write_json(self.folder / RECEIPT.format(self.number), receipt.__dict__)
        return receipt

    def _left_out(self) -> dict[int, str]:
        """Return the reasons of a receipt whose images were damaged and deleted.

        What was unreadable then stays left out, also if it can be read by now: or the ids behind it would shift.
        """
        path = self.folder / RECEIPT.format(self.number)
        try:
            return {place: reason for place, _, reason in artifacts.read_json(path)["skipped"]}
        except (DamageError, OSError):
            return {}

    def _check(self, key: str, image: Image) -> None:
        if image.shape != self.form.shape:
            raise UserError(
                f"{key} has (h, w, c) = {image.shape}, and the images before it have {self.form.shape}",
                rule="all images of a project have one shape",
                hint="set a `size`, to which all images are scaled",
            )


def opened(order: str, source: SourceImages) -> SourceImages:
    """Return the source that this process has open for an order, at first this one; for "" always this one."""
    if not order:
        return source
    if order not in _opened:
        _opened.clear()
        _opened[order] = source
    return _opened[order]


def close() -> None:
    """Forget the source that this process has open."""
    _opened.clear()


Decoded: TypeAlias = tuple[str, Image | str]  # a key, and its image or the reason why it cannot be read


def decoded(records: Iterator[SourceImage], form: ImageFormat) -> Generator[Decoded, None, None]:
    """Decode in order: large images by threads that work ahead, small ones in this thread, which is quicker."""

    def work(chunk: list[SourceImage]) -> list[Decoded]:
        return [(record.key, _image_or_reason(record, form)) for record in chunk]

    first = list(islice(records, CHUNK))
    chunks = chain([first], iter(lambda: list(islice(records, CHUNK)), []))
    if sum(_bytes(record.raw) for record in first) < SMALL * len(first):
        yield from chain.from_iterable(map(work, chunks))
        return
    threads = min(CREW, cores())
    with closing(map_ahead(work, chunks, threads=threads, ahead=threads + 2, name="decode")) as results:
        for chunk in results:
            yield from chunk


def _bytes(raw: Raw) -> int:
    if isinstance(raw, Path):
        return raw.stat().st_size if raw.is_file() else 0
    return raw.nbytes if isinstance(raw, np.ndarray) else len(raw) if isinstance(raw, bytes) else 0


def _image_or_reason(record: SourceImage, form: ImageFormat) -> Image | str:
    try:
        return decode(record.raw, size=form.size, gray=form.gray, how=form.how)
    except Unreadable as error:
        return error.reason
    except MemoryError:  # otherwise the images of a pool would depend on the machine
        raise _too_little_memory(record.key) from None


def _too_little_memory(what: str) -> UserError:
    return UserError(
        f"the memory was too small for {what}",
        rule="every worker holds a shard of images, and what its source reads, in memory",
        hint="run the same command again, with fewer --workers: it resumes",
    )
