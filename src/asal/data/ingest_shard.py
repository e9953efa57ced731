"""Ingests one shard of a pool: a task that any process can run, once or twice, with the same bytes as result.

A shard holds the readable images of a range of rows, so none waits for the one before it. When its file of images is
on the disk it writes a receipt, `receipts/00000.json`: the keys, and what was left out and why. Receipts stay in the
pool: with them, one damaged file is made again without the others. They also hold a hash of each image as it was
decoded, by which exact copies are found (`asal.data.duplicates`).
"""

from __future__ import annotations

import base64
import hashlib
import warnings
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from itertools import chain, islice
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from asal.core import Ids
from asal.data import pool
from asal.data.decoding import AS_BEFORE, Conversion, Unreadable
from asal.data.duplicates import HASH_BYTES, Hashes, known_among, packed
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
    copies: list[tuple[int, str, str]] = field(default_factory=list)  # likewise, with a hash: the project has them
    hashes: bytes | None = None  # 16 of each key's image; None in a pool of an earlier version

    @classmethod
    def read(cls, path: Path) -> Receipt:
        """Read a receipt.

        Raises:
            DamageError: it is not one any more.
            OSError: there is none.
        """
        stored = artifacts.read_json(path)
        skipped, copies = (
            [(place, key, why) for place, key, why in stored.get(name, ())] for name in ("skipped", "copies")
        )
        hashes = base64.b64decode(stored["hashes"]) if "hashes" in stored else None
        return cls(stored["keys"], skipped, copies, hashes)

    def to_json(self) -> dict[str, Any]:
        """Return what is written."""
        facts: dict[str, Any] = {"keys": self.keys, "skipped": self.skipped}
        if self.copies:
            facts["copies"] = self.copies
        if self.hashes is not None:
            facts["hashes"] = base64.b64encode(self.hashes).decode()
        return facts

    @property
    def size(self) -> int:
        """Rows."""
        return len(self.keys) + len(self.skipped) + len(self.copies)


class NothingReadableError(UserError):
    """None of the images is new and readable."""

    def __init__(self, error: UserError, receipts: Sequence[Receipt]) -> None:
        super().__init__(error.got, rule=error.rule, hint=error.hint)
        self.receipts = list(receipts)


def keys_at(receipts: Iterator[Receipt], ids: Ids) -> list[str]:
    """Return the keys of ascending ids of a pool, from the receipts of all its shards, one at a time."""
    found, start = list[str](), 0
    for receipt in receipts:
        low, high = ids.searchsorted([start, start + len(receipt.keys)])
        found += [receipt.keys[image - start] for image in ids[low:high].tolist()]
        start += len(receipt.keys)
    return found


@dataclass(frozen=True, eq=False)
class IngestShardTask:
    """Ingests a shard, unless its receipt is there.

    Args:
        order: an id of the call of `ingest`, by which a process finds the source that it has open; "" is none.
        rows: ascending, of the split.
        folder: of the pool under construction.
        hashing: keep the images' hashes; off where a pool of an earlier version is made again.
        known: a file of hashes, as `asal.data.duplicates.write_known` makes it: images with one of them are left out.
    """

    source: SourceImages
    order: str
    split: str
    rows: Ids
    number: int
    form: ImageFormat
    folder: Path
    hashing: bool = True
    known: Path | None = None
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
        """Return the receipt, if the shard is there, of the size that it says, and was not written after it."""
        try:
            place, images = self.folder / RECEIPT.format(self.number), self.folder / pool.shard_name(self.number)
            receipt = Receipt.read(place)
            npy.open_mapped(images, shape=(len(receipt.keys), *self.form.shape), dtype=np.uint8)
            if images.stat().st_mtime_ns > place.stat().st_mtime_ns:  # changed since
                return None
        except (DamageError, OSError):
            return None
        hashed = len(receipt.hashes or b"") == HASH_BYTES * len(receipt.keys) if self.hashing else True
        return receipt if receipt.size == self.size and hashed else None

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
        kept: list[tuple[int, str]] = []
        digests, skipped, left_out = bytearray(), list[tuple[int, str, str]](), self._left_out()
        records = opened(self.order, self.source).records(self.split, self.rows)
        with closing(decoded(records, self.form)) as images_or_reasons, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of Pillow: what is wrong with an image is in the receipt
            for place, (key, image, digest) in enumerate(images_or_reasons):
                image = left_out.get(place, image)  # noqa: PLW2901
                if isinstance(image, str):
                    skipped.append((place, key, image))
                else:
                    self._check(key, image)
                    images[len(kept)] = image
                    kept.append((place, key))
                    digests += digest
                if (place + 1) % REPORT_EVERY == 0 or place + 1 == self.size:
                    progress(self.name, place + 1, self.size, str(len(skipped)))
        new, receipt = self._without_known(kept, packed(bytes(digests)), skipped)
        (self.folder / pool.shard_name(self.number)).parent.mkdir(exist_ok=True)
        (self.folder / RECEIPT.format(self.number)).parent.mkdir(exist_ok=True)
        images = images[: len(kept)]
        npy.write(self.folder / pool.shard_name(self.number), images if new.all() else images[new])
        # Last, because it says that the images are there.
        artifacts.write_json(self.folder / RECEIPT.format(self.number), receipt.to_json())
        return receipt

    def _left_out(self) -> dict[int, str]:
        """Return the reasons of a receipt whose images were damaged and deleted.

        What was unreadable then stays left out, also if it can be read by now: or the ids behind it would shift.
        """
        try:
            return {
                place: reason for place, _, reason in Receipt.read(self.folder / RECEIPT.format(self.number)).skipped
            }
        except (DamageError, OSError):
            return {}

    def _without_known(
        self, kept: list[tuple[int, str]], hashes: Hashes, skipped: list[tuple[int, str, str]]
    ) -> tuple[npt.NDArray[np.bool_], Receipt]:
        """Return which of the kept images the project does not have, and the receipt."""
        new = ~known_among(hashes, self.known) if self.known else np.ones(len(kept), np.bool_)
        copies = [(*kept[row], hashes[row].tobytes().hex()) for row in np.flatnonzero(~new).tolist()]
        keys = [key for (_, key), fresh in zip(kept, new.tolist(), strict=True) if fresh]
        return new, Receipt(keys, skipped, copies, hashes[new].tobytes() if self.hashing else None)

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


class Decoded(NamedTuple):
    """What became of one image of a source."""

    key: str
    image: Image | str  # or the reason why it cannot be read
    digest: bytes  # a hash of the upright image as it was before it was scaled; empty if it cannot be read


def decoded(records: Iterator[SourceImage], form: ImageFormat) -> Generator[Decoded, None, None]:
    """Decode in order: large images by threads that work ahead, small ones in this thread, which is quicker."""

    def work(chunk: list[SourceImage]) -> list[Decoded]:
        return [_decoded(record, form) for record in chunk]

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


def _decoded(record: SourceImage, form: ImageFormat) -> Decoded:
    digest = hashlib.sha256()  # the quickest where a processor has instructions for it, as most have
    try:
        image = decode(record.raw, size=form.size, gray=form.gray, how=form.how, digest=digest)
        return Decoded(record.key, image, digest.digest()[:HASH_BYTES])
    except Unreadable as error:
        return Decoded(record.key, error.reason, b"")
    except MemoryError:  # otherwise the images of a pool would depend on the machine
        raise _too_little_memory(record.key) from None


def _too_little_memory(what: str) -> UserError:
    return UserError(
        f"the memory was too small for {what}",
        rule="every worker holds a shard of images, and what its source reads, in memory",
        hint="run the same command again, with fewer --workers: it resumes",
    )
