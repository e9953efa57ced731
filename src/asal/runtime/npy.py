"""NumPy's .npy files: opened by memory map, written so that they are complete or not there. No pickle is ever read."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
import numpy.typing as npt

from asal.runtime import artifacts


@dataclass(frozen=True)
class Header:
    """How an .npy file begins, and where its numbers begin."""

    shape: tuple[int, ...]
    fortran: bool
    dtype: np.dtype[Any]
    start: int  # bytes from the file's beginning

    @property
    def end(self) -> int:
        """Return how many bytes the complete file has."""
        return self.start + self.dtype.itemsize * math.prod(self.shape)


def open_mapped(
    path: Path,
    *,
    shape: tuple[int, ...] | None = None,
    dtype: npt.DTypeLike | None = None,
    mode: Literal["r", "c"] = "r",
) -> npt.NDArray[Any]:
    """Open an array by memory map, as a plain array: indexing a `memmap` makes another, at several times the cost.

    Args:
        shape: what it must be, where given; `dtype` likewise.
        mode: "r" is read-only; "c" keeps what is written in memory, for torch, which warns of read-only memory.

    Raises:
        DamageError: the file is missing, cut short, not an .npy, or of another shape or type; names the file.
    """
    try:
        array = np.load(path, mmap_mode=mode, allow_pickle=False)
    except FileNotFoundError:
        raise artifacts.damaged(path, "it is missing") from None
    except (OSError, ValueError, EOFError) as error:
        raise artifacts.damaged(path, f"it is not a complete npy file ({error})") from None
    if not isinstance(array, np.ndarray):  # an .npz
        raise artifacts.damaged(path, "it is not an npy file")
    wanted = array.dtype if dtype is None else np.dtype(dtype), array.shape if shape is None else shape
    if (array.dtype, array.shape) != wanted:
        got, must = f"{array.dtype} {array.shape}", f"{wanted[0]} {wanted[1]}"
        raise artifacts.damaged(path, f"it holds {got} and should hold {must}")
    return array.view(np.ndarray)


def read_header(path: Path) -> Header:
    """Read how an .npy file begins.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it is not an .npy of version 1.0, or is cut short.
    """
    with path.open("rb") as file:
        if np.lib.format.read_magic(file) != (1, 0):
            raise ValueError("it is of another version")
        header = Header(*np.lib.format.read_array_header_1_0(file), file.tell())
    if path.stat().st_size < header.end:
        raise ValueError("it is cut short")
    return header


def write_header(file: BinaryIO, shape: tuple[int, ...], dtype: npt.DTypeLike) -> int:
    """Write how an .npy file begins, and return where its numbers begin. They follow in C order, as `append` writes."""
    np.lib.format.write_array_header_1_0(file, {"descr": np.dtype(dtype).str, "fortran_order": False, "shape": shape})
    return file.tell()


def append(file: BinaryIO, array: npt.NDArray[Any]) -> None:
    """Write an array's numbers behind what was written. NumPy's own `save` hides that a disk is full."""
    file.write(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)


def write(path: Path, array: npt.NDArray[Any]) -> None:
    """Write an array to a file that is complete or not there."""
    with writing(path, array.shape, array.dtype) as file:
        append(file, array)


@contextmanager
def writing(path: Path, shape: tuple[int, ...], dtype: npt.DTypeLike) -> Iterator[BinaryIO]:
    """Yield a file that takes an array's numbers in C order, block by block (`append`), and then appears at `path`.

    Raises:
        ValueError: it did not take as many numbers as the shape says.
    """
    with artifacts.replacing(path) as file:
        header = Header(shape, fortran=False, dtype=np.dtype(dtype), start=write_header(file, shape, dtype))
        yield file
        file.seek(0, 2)
        if file.tell() != header.end:
            raise ValueError(f"{path} takes {shape} {header.dtype}: {header.end} bytes, not {file.tell()}")
