"""Images in one NumPy file: .npy, or .npz with labels and a test split; read row by row, never as a whole."""

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
from asal.data.sources import UNKNOWN, SourceImage, ends, not_there, sources
from asal.errors import DamageError, UserError, unknown

IMAGES = {"train": ("images", "x", "x_train", "train_images"), "test": ("images_test", "x_test", "test_images")}
LABELS = {"train": ("labels", "y", "y_train", "train_labels"), "test": ("labels_test", "y_test", "test_labels")}

GLANCE = 64  # images looked at before any work, to tell floats in 0 … 255 from floats in 0 … 1


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

    Images are uint8, or floating-point from 0 to 1; c is 1, 3 or 4. Labels are whole numbers (−1 = unknown) or
    strings, and the classes are their distinct values in order.
    """

    path: str

    @cached_property
    def _stacks(self) -> dict[str, _Stack]:
        file = Path(self.path)
        if not file.is_file():
            raise not_there("a .npy or .npz file", self.path, "check the path")
        with _understood(file):
            if not zipfile.is_zipfile(file):
                return {"train": _stack(file, "")}
            found = {split: _first(_members(file), names) for split, names in IMAGES.items()}
            stacks = {split: _stack(file, member) for split, member in found.items() if member}
        if "train" not in stacks:
            raise _refused(
                file,
                f"an .npz has its images under one of {', '.join(IMAGES['train'])}",
                f"there are {', '.join(_members(file)) or 'no arrays'}",
                "rename the array",
            )
        return stacks

    @cached_property
    def _unpacking(self) -> dict[str, IO[bytes]]:
        """Compressed members that are being read: to go back in one is to unpack it from its start."""
        return {}

    @cached_property
    def _given(self) -> dict[str, npt.NDArray[Any]]:
        """The labels of each split as they are in the file."""
        file = Path(self.path)
        if not zipfile.is_zipfile(file):
            return {}
        given = {}
        with _understood(file), np.load(file, allow_pickle=False) as arrays:
            for split, stack in self._stacks.items():
                name = _first(arrays.files, LABELS[split])
                if name:
                    given[split] = _one_a_row(file, name, arrays[name], stack.shape[0])
        return given

    @cached_property
    def _values(self) -> npt.NDArray[Any]:
        values = [given[given != UNKNOWN] if given.dtype.kind in "iu" else given for given in self._given.values()]
        return np.unique(np.concatenate(values)) if values else np.empty(0, np.int64)

    @property
    def classes(self) -> tuple[str, ...]:
        _ = self._stacks  # a file that is not there is no unlabelled one
        return tuple(str(value) for value in self._values)

    @property
    def splits(self) -> Mapping[str, int]:
        return {split: stack.shape[0] for split, stack in self._stacks.items()}

    @property
    def fingerprint(self) -> str | None:
        file = Path(self.path)
        return ends(file) if file.is_file() else None

    def labels(self, split: str) -> Labels | None:
        stack = self._stack(split)
        if not self.classes:
            return None
        given = self._given.get(split)
        if given is None:
            return np.full(stack.shape[0], UNKNOWN, np.int64)
        numbers = np.minimum(np.searchsorted(self._values, given), len(self._values) - 1)
        return np.where(self._values[numbers] == given, numbers, UNKNOWN).astype(np.int64)

    def records(self, split: str, rows: Ids) -> Iterator[SourceImage]:
        stack = self._stack(split)
        file = Path(self.path)
        with _understood(file), self._stream(stack.member) as stream:
            for row, image in _images(stream, stack, rows):
                yield SourceImage(f"{split}/{row}", image)

    @contextmanager
    def _stream(self, member: str) -> Iterator[IO[bytes]]:
        """Yield a stream that later rows are read from without a new start."""
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
def _understood(file: Path) -> Iterator[None]:
    """Turn what NumPy and zip say of a broken file into an error that names it."""
    try:
        yield
    except (ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise DamageError(
            f"{file}: {error}", rule="images are read from a whole .npy or .npz file", hint="write the file again"
        ) from None


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
    """Read the header of an array of images, and refuse what is none before any work is done."""
    with _opened(file, member) as stream:
        readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
        version = np.lib.format.read_magic(stream)
        if version not in readers:
            raise ValueError(f"its npy format {version} is not one of images")
        shape, fortran, dtype = readers[version](stream)
        stack = _Stack(member, shape, dtype, stream.tell())
        _check(file, stack, fortran)
        if not member and os.path.getsize(file) < stack.start + dtype.itemsize * int(np.prod(shape)):
            raise EOFError("it ends before its last image")
        _glance(file, stream, stack)
    return stack


def _check(file: Path, stack: _Stack, fortran: bool) -> None:
    shape, dtype = stack.shape, stack.dtype
    if len(shape) not in (3, 4) or (len(shape) == 4 and shape[3] not in (1, 3, 4)) or 0 in shape[1:]:
        first = len(shape) == 4 and shape[1] in (1, 3, 4)
        hint = "move the channels last: np.moveaxis(x, 1, 3)" if first else "reshape the array"
        raise _refused(file, "images are an array (n, h, w), or (n, h, w, c) with c = 1, 3 or 4", f"{shape}", hint)
    if dtype != np.uint8 and dtype.kind != "f":
        raise _refused(
            file, "images are uint8 from 0 to 255, or floating-point from 0 to 1", f"{dtype}", "convert the array"
        )
    if fortran:
        raise _refused(file, "images are stored one after the other", "Fortran order", "np.ascontiguousarray(x)")


def _glance(file: Path, stream: IO[bytes], stack: _Stack) -> None:
    if stack.dtype.kind != "f":
        return
    for row, image in _images(stream, stack, np.arange(min(GLANCE, stack.shape[0]))):
        if not (image.min() >= 0 and image.max() <= 1):
            raise _refused(
                file,
                "floating-point images go from 0 to 1",
                f"image {row} goes from {image.min():g} to {image.max():g}",
                "scale the array, or store uint8",
            )


def _images(stream: IO[bytes], stack: _Stack, rows: Ids) -> Iterator[tuple[int, npt.NDArray[Any]]]:
    step = stack.dtype.itemsize * int(np.prod(stack.shape[1:]))
    for row in rows.tolist():
        stream.seek(stack.start + row * step)  # in a compressed member it reads what lies between, and drops it
        data = stream.read(step)
        if len(data) != step:
            raise EOFError(f"it ends inside image {row}")
        yield row, np.frombuffer(data, stack.dtype).reshape(stack.shape[1:])


def _one_a_row(file: Path, name: str, given: npt.NDArray[Any], rows: int) -> npt.NDArray[Any]:
    if given.shape not in ((rows,), (rows, 1)) or given.dtype.kind not in "iuU":
        raise _refused(
            file,
            "labels are one whole number or one string an image",
            f"'{name}' is {given.dtype} {given.shape} for {rows} images",
            "store one label an image",
        )
    return given.reshape(rows)


def _refused(file: Path, rule: str, got: str, hint: str) -> UserError:
    return UserError(f"{got} in {file}", rule=rule, hint=hint)
