"""Predictions as a file: CSV, JSON lines or Parquet, written in a stream, and there when it is complete.

A row has `id` and `key` for images of the pool, or `file` for others; then `prediction`, the likeliest class, and
`confidence`, its probability; then a column `p_…` for each class. Files that could not be read are listed beside it.
"""

from __future__ import annotations

import csv
import io
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np

from asal.errors import UserError, counted
from asal.project.prediction import NewImages, Place, Predictions, Predictor
from asal.project.project import Project
from asal.runtime import artifacts
from asal.runtime.csv_rows import csv_bytes
from asal.runtime.progress import Pace

DIGITS = 8  # after the point, of a probability
SAID = ("prediction", "confidence")
NAMES = ("id", "key"), ("file",)


class Table(Protocol):
    """Writes blocks of predictions into an open file."""

    def write(self, block: Predictions) -> None: ...
    def close(self) -> None: ...


@dataclass
class Written:
    """What was written, in images.

    Args:
        likeliest: how many images each class is the likeliest of.
    """

    path: Path
    images: int = 0
    likeliest: Counter[str] = field(default_factory=Counter)
    unreadable: int = 0
    list_of_unreadable: Path | None = None
    seconds: float = 0.0

    @property
    def lines(self) -> list[str]:
        """The same as sentences."""
        rate = f", {self.images / self.seconds:,.0f} a second" if self.images and self.seconds > 1 else ""
        lines = [f"{counted(self.images, 'image')}{rate}: {self.path}"]
        if self.images:
            shares = ", ".join(f"{name} {count:,}" for name, count in self.likeliest.most_common())
            lines.append(f"likeliest: {shares}")
        if self.unreadable:
            lines.append(f"{counted(self.unreadable, 'file')} could not be read: {self.list_of_unreadable}")
        return lines


def write_predictions(
    project: Project, out: Path, places: Sequence[Place] = (), *, labelled: bool = False, strategy: str = ""
) -> Written:
    """Write what a project's classifier says of images into a file, which appears when it is complete.

    Args:
        out: a file that ends in .csv, .jsonl or .parquet.
        places: files and folders of new images; where there are none, the images of the pool.
        labelled: of the pool: also those that have a label.
        strategy: one of the spec's, where it has a classifier of its own.

    Raises:
        UserError: another ending; a file that is no earlier table of predictions; no classifier, or no such images,
            or none that can be read.
    """
    kind, new = _kind(out), NewImages(list(places)) if places else None
    _check_replaceable(out)
    predictor = Predictor.of(project, strategy)
    blocks = predictor.of_pool(labelled=labelled, progress=project.progress) if new is None else _of_new(predictor, new)
    written, begun, unreadable = Written(out), time.monotonic(), dict[str, str]()
    with artifacts.explain_disk_errors(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        with artifacts.replacing(out) as file:
            table = KINDS[kind](file, NAMES[new is not None], predictor.classifier.classes)
            for block in blocks:
                table.write(block)
                written.images += len(block)
                written.likeliest.update(block.labels)
                unreadable |= block.unreadable
            if new is not None and not written.images:
                raise _nothing_readable(places, unreadable)  # and an earlier table stays
            table.close()
        listed = out.with_name(f"{out.stem}.unreadable.csv")
        if unreadable:
            artifacts.write(listed, csv_bytes(("file", "reason"), list(unreadable.items())))
        elif new is not None:
            listed.unlink(missing_ok=True)  # of an earlier call
    written.unreadable, written.list_of_unreadable = len(unreadable), listed
    written.seconds = time.monotonic() - begun
    return written


def _of_new(predictor: Predictor, new: NewImages) -> Iterator[Predictions]:
    """Yield predictions for new images, and report how many are done, and how quickly."""
    total, done, pace, begun = len(new), 0, Pace(), time.monotonic()
    progress = predictor.project.progress
    progress("predicting", 0, total)
    for block in predictor.of_images(new):
        yield block
        done += len(block) + len(block.unreadable)
        if pace.due(always=done == total):
            progress("predicting", done, total, f"{done / (time.monotonic() - begun):,.0f} images/s")


def _nothing_readable(places: Sequence[Place], unreadable: Mapping[str, str]) -> UserError:
    named = ", ".join(map(str, places))
    if not unreadable:
        return UserError(f"there are no images in {named}", hint="name image files, or a folder that holds some")
    file, reason = next(iter(unreadable.items()))
    return UserError(
        f"none of {counted(len(unreadable), 'file')} in {named} could be read: {file}: {reason}",
        hint="name files that are images",
    )


def _kind(out: Path) -> str:
    if out.suffix.lower() not in KINDS:
        raise UserError(
            f"'{out.name}' ends in none of {', '.join(KINDS)}",
            rule="the ending says how predictions are written",
            hint=f"for example --out {out.stem or 'predictions'}.csv",
        )
    return out.suffix.lower()


def _check_replaceable(out: Path) -> None:
    """Refuse to overwrite a file that is no table of predictions."""
    if not out.exists():
        return
    if out.is_file():
        size = out.stat().st_size
        with out.open("rb") as file:
            ends = file.read(2**16)
            file.seek(max(0, size - 2**16))
            ends += file.read(2**16)  # where Parquet has the names of its columns
        if all(name.encode() in ends for name in SAID):
            return
    raise UserError(
        f"{out} cannot be replaced: it is no table of predictions",
        rule="asal overwrites only what it wrote",
        hint="choose another name",
    )


def _rows(block: Predictions) -> Iterator[list[Any]]:
    """Yield names, the likeliest class, its probability, and all probabilities."""
    ids = [[]] * len(block) if block.ids is None else [[image] for image in block.ids.tolist()]
    probs = np.round(block.probs, DIGITS).tolist()
    for own, name, label, its in zip(ids, block.names, block.labels, probs, strict=True):
        yield [*own, name, label, max(its), *its]


class CsvTable:
    """UTF-8, a header, a row for each image."""

    def __init__(self, file: BinaryIO, names: Sequence[str], classes: Sequence[str]) -> None:
        self._file = file
        self._write([[*names, *SAID, *(f"p_{name}" for name in classes)]])

    def write(self, block: Predictions) -> None:
        """Write a row for each image."""
        self._write(_rows(block))

    def close(self) -> None:
        """Do nothing more."""

    def _write(self, rows: Any) -> None:
        text = io.StringIO(newline="")
        csv.writer(text, lineterminator="\r\n").writerows(rows)
        self._file.write(text.getvalue().encode())


class JsonTable:
    """An object in each line, with the probabilities by the names of the classes."""

    def __init__(self, file: BinaryIO, names: Sequence[str], classes: Sequence[str]) -> None:
        self._file, self._names, self._classes = file, (*names, *SAID), list(classes)

    def write(self, block: Predictions) -> None:
        """Write a line for each image."""
        for row in _rows(block):
            said, probs = row[: len(self._names)], row[len(self._names) :]
            facts = {
                **dict(zip(self._names, said, strict=True)),
                "probabilities": dict(zip(self._classes, probs, strict=True)),
            }
            self._file.write(json.dumps(facts, ensure_ascii=False).encode() + b"\n")

    def close(self) -> None:
        """Do nothing more."""


class ParquetTable:
    """A row group for each block; probabilities as float32."""

    ROWS = 16_384  # in a row group

    def __init__(self, file: BinaryIO, names: Sequence[str], classes: Sequence[str]) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        kinds: dict[str, pa.DataType] = {"id": pa.int64(), "confidence": pa.float32()}
        columns = [(name, kinds.get(name, pa.string())) for name in (*names, *SAID)]
        self._schema = pa.schema([*columns, *((f"p_{name}", pa.float32()) for name in classes)])
        self._writer, self._rows = pq.ParquetWriter(file, self._schema), list[list[Any]]()

    def write(self, block: Predictions) -> None:
        """Write a row for each image."""
        self._rows += _rows(block)
        if len(self._rows) >= self.ROWS:
            self._flush()

    def close(self) -> None:
        """Write what is left, and the end of the file."""
        self._flush()
        self._writer.close()

    def _flush(self) -> None:
        import pyarrow as pa

        columns = zip(*self._rows, strict=True) if self._rows else [[] for _ in self._schema]
        arrays = [pa.array(list(its), field.type) for its, field in zip(columns, self._schema, strict=True)]
        self._writer.write_table(pa.Table.from_arrays(arrays, schema=self._schema))
        self._rows = []


KINDS: dict[str, Callable[[BinaryIO, Sequence[str], Sequence[str]], Table]] = {
    ".csv": CsvTable,
    ".jsonl": JsonTable,
    ".parquet": ParquetTable,
}
