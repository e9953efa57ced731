"""Images in one NumPy file: .npy, or .npz with labels and a test split; read row by row, never all at once."""

from __future__ import annotations

import os
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from asal.core import Ids, Labels
from asal.data.sources import UNKNOWN, SourceImage, hash_of_ends, not_there, sources
from asal.errors import DamageError, UserError, counted, unknown

IMAGES = {"train": ("images", "x", "x_train", "train_images"), "test": ("images_test", "x_test", "test_images")}
LABELS = {"train": ("labels", "y", "y_train", "train_labels"), "test": ("labels_test", "y_test", "test_labels")}


@dataclass(frozen=True)
class _Stack:
    """Where the images of a split lie: (n, h, w) or (n, h, w, c), in C order, after a header."""

    member: str  # of the .npz; "" in an .npy
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    start: int  # bytes


@sources.register("arrays")
@dataclass(frozen=True)
class Arrays:
    """A .npy of images (n, h, w) or (n, h, w, c), or a .npz with `images` or `x`, `labels` or `y`, `x_test`, `y_test`.

    Images are uint8, or other numbers, of which `range` under [pool] or a sample says what is black and what is white;
    c is 1, 3 or 4. Labels are whole numbers (−1 = unknown) or
    strings, and the classes are their distinct values in order.
    """

    path: str

    @cached_property
    def _stacks(self) -> dict[str, _Stack]:
        file = Path(self.path)
        if not file.is_file():
            raise not_there(".npy or .npz file", self.path, "check the path")
        with _naming_file(file):
            if not zipfile.is_zipfile(file):
                return {"train": _stack(file, "")}
            members = {split: _first(_members(file), names) for split, names in IMAGES.items()}
            stacks = {split: _stack(file, member) for split, member in members.items() if member}
        if "train" not in stacks:
            raise UserError(
                f"no array of images in {file}; its arrays are {', '.join(_members(file)) or 'none'}",
                rule=f"an .npz has its images under one of {', '.join(IMAGES['train'])}",
                hint="rename the array",
            )
        return stacks

    @cached_property
    def _unpacking(self) -> dict[str, IO[bytes]]:
        """Open streams of compressed members, kept because going back in one unpacks it from its start."""
        return {}

    @cached_property
    def _stored_labels(self) -> dict[str, npt.NDArray[Any]]:
        """The labels of each split as they are in the file."""
        file = Path(self.path)
        if not zipfile.is_zipfile(file):
            return {}
        labels = {}
        with _naming_file(file), np.load(file, allow_pickle=False) as arrays:
            for split, stack in self._stacks.items():
                name = _first(arrays.files, LABELS[split])
                if name:
                    labels[split] = _one_per_image(file, name, arrays[name], stack.shape[0])
        return labels

    @cached_property
    def _values(self) -> npt.NDArray[Any]:
        values = [y[y != UNKNOWN] if y.dtype.kind in "iu" else y for y in self._stored_labels.values()]
        return np.unique(np.concatenate(values)) if values else np.empty(0, np.int64)

    @property
    def classes(self) -> tuple[str, ...]:
        _ = self._stacks  # raises an error if the file does not exist
        return tuple(str(value) for value in self._values)

    @property
    def splits(self) -> Mapping[str, int]:
        return {split: stack.shape[0] for split, stack in self._stacks.items()}

    @property
    def fingerprint(self) -> str | None:
        file = Path(self.path)
        return hash_of_ends(file) if file.is_file() else None

    def labels(self, split: str) -> Labels | None:
        stack = self._stack(split)
        if not self.classes:
            return None
        stored = self._stored_labels.get(split)
        if stored is None:
            return np.full(stack.shape[0], UNKNOWN, np.int64)
        numbers = np.minimum(np.searchsorted(self._values, stored), len(self._values) - 1)
        return np.where(self._values[numbers] == stored, numbers, UNKNOWN).astype(np.int64)

    def records(self, split: str, rows: Ids) -> Iterator[SourceImage]:
        stack = self._stack(split)
        file = Path(self.path)
        with _naming_file(file), self._stream(stack.member) as stream:
            for row, image in _images(stream, stack, rows):
                yield SourceImage(f"{split}/{row}", image)

    @contextmanager
    def _stream(self, member: str) -> Iterator[IO[bytes]]:
        """Yield a stream; for a compressed member the same one each time, so that reading goes on where it was."""
        file = Path(self.path)
        if not member:
            with file.open("rb") as stream:
                yield stream
            return
        if member not in self._unpacking:
            self._unpacking[member] = zipfile.ZipFile(file).open(f"{member}.npy")  # noqa: SIM115
        try:
            yield self._unpacking[member]
        except Exception:
            self._unpacking.pop(member, None)
            raise

    def _stack(self, split: str) -> _Stack:
        if split not in self._stacks:
            raise unknown("split", split, self._stacks)
        return self._stacks[split]


@contextmanager
def _naming_file(file: Path) -> Iterator[None]:
    """Turn the errors of NumPy and zip into one that names the file."""
    try:
        yield
    except (ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise DamageError(f"{file} is not a complete .npy or .npz file: {error}", hint="write the file again") from None


@contextmanager
def _opened(file: Path, member: str) -> Iterator[IO[bytes]]:
    if not member:
        with file.open("rb") as stream:
            yield stream
        return
    with zipfile.ZipFile(file) as archive, archive.open(f"{member}.npy") as stream:
        yield stream


def _members(file: Path) -> list[str]:
    with zipfile.ZipFile(file) as archive:
        return [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]


def _first(names: list[str], wanted: tuple[str, ...]) -> str:
    return next((name for name in wanted if name in names), "")


def _stack(file: Path, member: str) -> _Stack:
    """Read the header of an array, and refuse one that is not of images before any work is done."""
    with _opened(file, member) as stream:
        readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
        version = np.lib.format.read_magic(stream)
        if version not in readers:
            raise ValueError(f"npy format {version} is not supported")
        shape, fortran, dtype = readers[version](stream)
        stack = _Stack(member, shape, dtype, stream.tell())
        _check(file, stack, fortran)
        if not member and os.path.getsize(file) < stack.start + dtype.itemsize * int(np.prod(shape)):
            raise EOFError("it ends before its last image")
    return stack


def _check(file: Path, stack: _Stack, fortran: bool) -> None:
    shape, dtype = stack.shape, stack.dtype
    if len(shape) not in (3, 4) or (len(shape) == 4 and shape[3] not in (1, 3, 4)) or 0 in shape[1:]:
        first = len(shape) == 4 and shape[1] in (1, 3, 4)
        hint = "move the channels last: np.moveaxis(x, 1, 3)" if first else "reshape the array"
        rule = "images are an array (n, h, w), or (n, h, w, c) with c = 1, 3 or 4"
        raise UserError(f"the array in {file} has the shape {shape}", rule=rule, hint=hint)
    if dtype.kind not in "uif":
        rule = "images are whole numbers, such as uint8 from 0 to 255, or floating-point, such as from 0 to 1"
        raise UserError(f"the images in {file} are {dtype}", rule=rule, hint="convert the array")
    if fortran:
        rule = "images are stored in C order, one after the other"
        raise UserError(f"the array in {file} is in Fortran order", rule=rule, hint="save np.ascontiguousarray(x)")


def _images(stream: IO[bytes], stack: _Stack, rows: Ids) -> Iterator[tuple[int, npt.NDArray[Any]]]:
    step = stack.dtype.itemsize * int(np.prod(stack.shape[1:]))
    for row in rows.tolist():
        stream.seek(stack.start + row * step)  # in a compressed member this reads and drops the bytes between
        data = stream.read(step)
        if len(data) != step:
            raise EOFError(f"it ends inside image {row}")
        yield row, np.frombuffer(data, stack.dtype).reshape(stack.shape[1:])


def _one_per_image(file: Path, name: str, labels: npt.NDArray[Any], images: int) -> npt.NDArray[Any]:
    if labels.shape not in ((images,), (images, 1)) or labels.dtype.kind not in "iuU":
        raise UserError(
            f"the labels '{name}' in {file} are {labels.dtype} {labels.shape}, for {counted(images, 'image')}",
            rule="labels are one whole number or one string per image",
            hint="store one label per image",
        )
    return labels.reshape(images)
