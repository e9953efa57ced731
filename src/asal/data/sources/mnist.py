"""MNIST from its official idx files, gzipped or unpacked."""

from __future__ import annotations

import gzip
import struct
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO, cast

import numpy as np

from asal.core import Ids, Labels
from asal.data.sources import SourceImage, damaged, file_missing, files_fingerprint, sources
from asal.errors import unknown

FILES = {
    split: (f"{stem}-images-idx3-ubyte", f"{stem}-labels-idx1-ubyte")
    for split, stem in (("train", "train"), ("test", "t10k"))
}
HEADER = 16  # bytes of a file of images, before the first one


@sources.register("mnist")
@dataclass(frozen=True)
class Mnist:
    """MNIST's 60,000 + 10,000 gray digits of 28 × 28 from its four idx files, gzipped (.gz) or unpacked.

    `path` is the folder that holds `train-images-idx3-ubyte`, `train-labels-idx1-ubyte` and the two of `t10k`. The
    format: Y. LeCun, "The MNIST database", section "File formats" (http://yann.lecun.com/exdb/mnist/); the names as in
    torchvision's `datasets/mnist.py`. Keys are `train/0` …: the split, and the number in its file. Memory: the labels.
    """

    path: str

    @property
    def classes(self) -> tuple[str, ...]:
        return tuple("0123456789")

    @cached_property
    def _shapes(self) -> dict[str, tuple[int, int, int]]:
        """For each split (n, h, w)."""
        shapes = {}
        for split, (images, _) in FILES.items():
            with _opened(self._file(images)) as stream:
                shapes[split] = cast(tuple[int, int, int], _header(self._file(images), stream, 3))
        return shapes

    @cached_property
    def _labels(self) -> dict[str, Labels]:
        return {split: _labels(self._file(labels), self._shapes[split][0]) for split, (_, labels) in FILES.items()}

    @cached_property
    def _unpacking(self) -> dict[str, IO[bytes]]:
        """Open streams of gzipped images, kept because going back in one unpacks it from its start."""
        return {}

    @property
    def splits(self) -> Mapping[str, int]:
        return {split: len(labels) for split, labels in self._labels.items()}

    @property
    def fingerprint(self) -> str | None:
        return files_fingerprint({name: self._packed_or_not(name) for names in FILES.values() for name in names})

    def labels(self, split: str) -> Labels | None:
        if split not in FILES:
            raise unknown("split", split, FILES)
        return self._labels[split]

    def records(self, split: str, rows: Ids) -> Iterator[SourceImage]:
        if split not in FILES:
            raise unknown("split", split, FILES)
        file, shape = self._file(FILES[split][0]), self._shapes[split][1:]
        with self._stream(split, file) as stream:
            for row in rows.tolist():
                stream.seek(HEADER + row * shape[0] * shape[1])  # in a .gz this unpacks and drops the bytes between
                data = stream.read(shape[0] * shape[1])
                if len(data) != shape[0] * shape[1]:
                    raise EOFError(f"it ends inside image {row}")
                yield SourceImage(f"{split}/{row}", np.frombuffer(data, np.uint8).reshape(shape))

    @contextmanager
    def _stream(self, split: str, file: Path) -> Iterator[IO[bytes]]:
        """Yield a stream; for a .gz the same one each time, so that reading goes on where it was."""
        if file.suffix != ".gz":
            with _opened(file) as stream:
                yield stream
            return
        if split not in self._unpacking:
            self._unpacking[split] = cast(IO[bytes], gzip.open(file))  # noqa: SIM115
        try:
            with _naming_file(file):
                yield self._unpacking[split]
        except Exception:
            self._unpacking.pop(split, None)
            raise

    def _packed_or_not(self, name: str) -> Path:
        plain = Path(self.path) / name
        return plain if plain.is_file() else plain.with_name(f"{name}.gz")

    def _file(self, name: str) -> Path:
        if not self._packed_or_not(name).is_file():
            raise file_missing(
                f"'{name}' or '{name}.gz'",
                self.path,
                rule="MNIST is a folder of four idx files",
                hint="check the path, or download the files",
            )
        return self._packed_or_not(name)


@contextmanager
def _opened(file: Path) -> Iterator[IO[bytes]]:
    with _naming_file(file), cast(IO[bytes], gzip.open(file)) if file.suffix == ".gz" else file.open("rb") as stream:
        yield stream


@contextmanager
def _naming_file(file: Path) -> Iterator[None]:
    """Turn the errors of a broken file into one that names it."""
    try:
        yield
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise damaged(file, str(error)) from None


def _header(file: Path, stream: IO[bytes], dimensions: int) -> tuple[int, ...]:
    """Read two zeros, an 8 for unsigned bytes, the number of dimensions, and their sizes, big-endian in 32 bits."""
    head = stream.read(4 + 4 * dimensions)
    if len(head) != 4 + 4 * dimensions or head[:4] != bytes([0, 0, 8, dimensions]):
        raise damaged(file, f"it does not begin like an idx file of bytes in {dimensions} dimensions")
    return struct.unpack(f">{dimensions}I", head[4:])


def _labels(file: Path, images: int) -> Labels:
    with _opened(file) as stream:
        (n,) = _header(file, stream, 1)
        labels = np.frombuffer(stream.read(), np.uint8).astype(np.int64)
    if not n == len(labels) == images:
        raise damaged(file, f"its header says {n:,} labels, and it has {len(labels):,}, for {images:,} images")
    if n and labels.max() > 9:
        raise damaged(file, f"it has a label {labels.max()}, which is not a digit")
    return labels
