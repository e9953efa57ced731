"""Takes images in: a source's splits, cut and filtered, written as pool folders that `asal.pool` reads.

Images go through in a stream, shard by shard. Each finished shard leaves a receipt, and a run that was cut
goes on after the last one; what comes out is the same to the byte. Beside the images in hand, memory holds
row numbers and labels: a few dozen bytes an image.
"""

from __future__ import annotations

import csv
import io
import json
import os
import warnings
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict, dataclass, field
from functools import partial
from itertools import chain, count, islice
from pathlib import Path
from typing import IO, Any, TypeAlias, cast

import numpy as np
import numpy.typing as npt

from asal import artifacts, pool
from asal.divide import Part, Split, divide
from asal.errors import UserError
from asal.progress import Watch, unwatched
from asal.sources import Raw, Record, Source, apart
from asal.sources.decode import Unreadable, decode

Image: TypeAlias = npt.NDArray[np.uint8]  # (h, w, c)
Shape: TypeAlias = tuple[int, int, int]

CREW = 8  # decoding threads at most
CHUNK = 8  # records that a thread is given at once
SMALL = 2**14  # bytes; below it, threads spend more on waiting for each other than they save
TELL = 64  # images between two reports of progress
RECEIPT = "{:05d}.json"  # in the scratch folder: a finished shard's keys, what was left out, and where the next begins


def ingest(
    source: Source,
    project: Path,
    split: Split | None = None,
    *,
    keep: tuple[str, ...] = (),
    size: int | None = None,
    gray: bool = False,
    watch: Watch = unwatched,
) -> dict[str, Path]:
    """Write the folders pool, validation and test of a project, those that `split` asks for, and return them.

    Folders that are whole are left as they are. The caller holds the project (`artifacts.alone`).

    Args:
        source: a registered source.
        keep: the classes to keep, in the order in which they are numbered from now on; none keeps all.
        size: pixels; the short side is scaled to it and the centre cropped. Needed unless all images are alike.
        gray: one channel, or three.

    Raises:
        UserError: options that do not fit the source or an existing folder; a full disk.
    """
    split = split or Split()
    if size is not None and size < 1:
        raise UserError("an image's size is at least one pixel", came=f"size = {size}", remedy="give a larger one")
    options = {
        "source": {"name": type(source).__name__.lower(), **asdict(cast(Any, source))},
        "split": asdict(split), "keep": list(keep), "size": size, "gray": gray,
    }  # fmt: skip
    options = json.loads(json.dumps(options))  # as a folder's manifest will give them back: lists for tuples
    if isinstance(place := getattr(source, "path", None), str):
        apart(project, Path(place))
    folders = {name: project / name for name in split.parts}
    made_from = {"options": options, "source": source.fingerprint}
    missing = [name for name, folder in folders.items() if not _stands(folder, made_from)]
    if not missing:
        return folders
    with artifacts.telling_of_disk(project):
        parts = divide(source, split, keep)
        project.mkdir(parents=True, exist_ok=True)
        shape = pool.StoredPool.open(folders["pool"]).shape if "pool" not in missing else None
        for name in missing:
            facts = {"part": name, **made_from, "classes": list(parts[name].classes)}
            with artifacts.building(folders[name], facts) as folder:
                intake = _Intake(parts[name], folder, shape)
                intake.run(source, size, gray, partial(watch, f"ingest {name}"))
            shape = intake.shape
    return folders


def _stands(folder: Path, made_from: Mapping[str, Any]) -> bool:
    """Say whether the folder is there already, and refuse one that was made of anything else."""
    if not artifacts.is_whole(folder):
        return False
    artifacts.tidy(folder)
    there = artifacts.manifest(folder)
    differing = list(_differences("", there["options"], made_from["options"]))
    # A source that has gone, or lies far away, has no fingerprint: what was taken in stands without it.
    if not differing and made_from["source"] and there["source"] != made_from["source"]:
        differing = ["the source now holds other images"]
    if differing:
        raise UserError(
            f"the {folder.name} of a project stays as it was made, because labels belong to its ids",
            came=f"{folder} was made from other options: {'; '.join(differing)}",
            remedy="restore them, or start another project folder",
        )
    return True


def _differences(name: str, there: Any, here: Any) -> Iterator[str]:
    if isinstance(there, dict) and isinstance(here, dict):
        for key in sorted(there.keys() | here.keys()):
            yield from _differences(f"{name}.{key}" if name else key, there.get(key), here.get(key))
    elif there != here:
        yield f"{name} was {there!r} and is {here!r}"


@dataclass
class _Intake:
    """One folder being filled: what is done, and the shard in hand."""

    part: Part
    folder: Path
    shape: Shape | None  # of every image; None until the first one is seen
    shards: int = 0
    place: int = 0  # in the part's rows: where the shard in hand begins
    unreadable: int = 0  # in finished shards
    images: list[Image] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    skipped: list[tuple[int, str, str]] = field(default_factory=list)  # place, key, reason

    def run(self, source: Source, size: int | None, gray: bool, tell: Callable[[int, int, str], None]) -> None:
        """Read, decode and write everything that no receipt shows to be done."""
        for receipt in self._receipts():
            self.shards, self.place, self.shape = self.shards + 1, receipt["next"], tuple(receipt["shape"])
            self.unreadable += len(receipt["skipped"])
        total = len(self.part.rows)
        records = source.records(self.part.split, self.part.rows[self.place :])
        with closing(_decoded(records, size, gray)) as decoded, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's: what is wrong with an image goes into the report
            for place, (key, image) in enumerate(decoded, self.place):
                if isinstance(image, str):
                    self._skip(place, key, image)
                else:
                    self._take(key, image)
                if (place + 1) % TELL == 0 or place + 1 == total:
                    unreadable = self.unreadable + len(self.skipped)
                    tell(place + 1, total, f"{unreadable:,} unreadable" if unreadable else "")
                if self.shape and len(self.images) == pool.shard_size(self.shape):
                    self._finish(place + 1)
        if self.images or self.skipped:
            self._finish(total)
        self._assemble()

    def _take(self, key: str, image: Image) -> None:
        self.shape = self.shape or cast(Shape, image.shape)
        if image.shape != self.shape:
            raise UserError(
                "all images of a project have one shape",
                came=f"{key} has (h, w, c) = {image.shape}, and those before it have {self.shape}",
                remedy="give a `size` to bring them to",
            )
        self.images.append(image)
        self.keys.append(key)

    def _skip(self, place: int, key: str, reason: str) -> None:
        self.skipped.append((place, key, reason))
        if not self.shards and not self.images and len(self.skipped) == len(self.part.rows):
            _, key, reason = self.skipped[0]
            raise UserError(
                "images are taken in when they can be read",
                came=f"none of {len(self.skipped):,} can, such as {key}: {reason}",
                remedy="check the source",
            )

    def _finish(self, after: int) -> None:
        """Write the shard in hand and its receipt, in this order."""
        if self.images:
            (self.folder / pool.shard_name(self.shards)).parent.mkdir(exist_ok=True)
            self._appear(pool.shard_name(self.shards), lambda file: _save(file, np.stack(self.images)))
        receipt = {"next": after, "shape": self.shape, "keys": self.keys, "skipped": self.skipped}
        artifacts.write_json(self.folder / artifacts.SCRATCH / RECEIPT.format(self.shards), receipt)
        self.shards, self.place, self.unreadable = self.shards + 1, after, self.unreadable + len(self.skipped)
        self.images, self.keys, self.skipped = [], [], []

    def _receipts(self) -> Iterator[dict[str, Any]]:
        for number in count():
            path = self.folder / artifacts.SCRATCH / RECEIPT.format(number)
            if not path.exists():
                return
            yield artifacts.read_json(path)

    def _appear(self, name: str, fill: Callable[[IO[bytes]], None]) -> None:
        """Write a file in the scratch folder and move it to its place when it is whole: a kill leaves no litter."""
        scratch = self.folder / artifacts.SCRATCH / "file"
        with scratch.open("wb") as file:
            fill(file)
            file.flush()
            os.fsync(file.fileno())
        target = self.folder / name
        scratch.replace(target)
        artifacts.sync(target.parent)

    def _assemble(self) -> None:
        """Write what all receipts together say: the keys, what was left out and why, the labels, the sizes."""
        assert self.shape is not None
        self._appear(pool.KEYS, lambda file: _write_keys(file, (r["keys"] for r in self._receipts())))
        taken = np.ones(len(self.part.rows), np.bool_)
        with io.StringIO() as text:
            report = csv.writer(text, lineterminator="\n")
            report.writerow(["key", "reason"])
            for receipt in self._receipts():
                for place, key, reason in receipt["skipped"]:
                    taken[place] = False
                    report.writerow([key, reason])
            self._appear(pool.UNREADABLE, lambda file: _write(file, text.getvalue().encode()))
        if self.part.labels is not None:
            labels = self.part.labels[taken]
            self._appear(pool.LABELS, lambda file: _save(file, labels))
        facts = {
            "images": int(taken.sum()),
            "unreadable": int((~taken).sum()),
            "shape": self.shape,
            "shard": pool.shard_size(self.shape),
        }
        self._appear(pool.FACTS, lambda file: _write(file, json.dumps(facts).encode()))


Decoded: TypeAlias = tuple[str, Image | str]  # a key, and its image or the reason why there is none


def _decoded(records: Iterator[Record], size: int | None, gray: bool) -> Generator[Decoded, None, None]:
    """Decode in order; large images by a few threads that work ahead, small ones here, where that is quicker."""

    def work(chunk: list[Record]) -> list[Decoded]:
        return [(record.key, _image_or_reason(record, size, gray)) for record in chunk]

    first = list(islice(records, CHUNK))
    chunks = chain([first], iter(lambda: list(islice(records, CHUNK)), []))
    if sum(_bytes(record.raw) for record in first) < SMALL * len(first):
        yield from chain.from_iterable(map(work, chunks))
        return
    crew = min(CREW, os.cpu_count() or 1)
    ahead: deque[Future[list[Decoded]]] = deque()
    with ThreadPoolExecutor(crew, "decode") as threads:
        for chunk in chunks:
            ahead.append(threads.submit(work, chunk))
            if len(ahead) > crew + 1:
                yield from ahead.popleft().result()
        while ahead:
            yield from ahead.popleft().result()


def _bytes(raw: Raw) -> int:
    if isinstance(raw, Path):
        return raw.stat().st_size if raw.is_file() else 0
    return raw.nbytes if isinstance(raw, np.ndarray) else len(raw)


def _image_or_reason(record: Record, size: int | None, gray: bool) -> Image | str:
    try:
        return decode(record.raw, size=size, gray=gray)
    except Unreadable as error:
        return error.reason


def _write(file: IO[bytes], data: bytes) -> None:
    file.write(data)


def _save(file: IO[bytes], array: npt.NDArray[Any]) -> None:
    """Write an .npy. NumPy's own way to do it hides that a disk is full: its error has no number."""
    header = np.lib.format.header_data_from_array_1_0(array)
    np.lib.format.write_array_header_1_0(file, header)
    file.write(np.ascontiguousarray(array).data.cast("B"))


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
