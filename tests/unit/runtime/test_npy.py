"""Arrays on disk: complete or not there, and damage names the file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from asal.errors import DamageError
from asal.runtime import npy

ROWS = np.arange(12, dtype=np.float32).reshape(4, 3)


def test_what_is_written_is_what_numpy_writes(tmp_path: Path) -> None:
    npy.write(tmp_path / "a.npy", ROWS)
    np.save(tmp_path / "b.npy", ROWS)
    assert (tmp_path / "a.npy").read_bytes() == (tmp_path / "b.npy").read_bytes()
    array = npy.open_mapped(tmp_path / "a.npy", shape=(4, 3), dtype=np.float32)
    assert type(array) is np.ndarray
    assert np.array_equal(array, ROWS)


@pytest.mark.parametrize("array", [np.float64(3), np.empty((0, 2), np.uint8), np.asfortranarray(ROWS), ROWS[::2]])
def test_any_array_comes_back(array: Any, tmp_path: Path) -> None:
    npy.write(tmp_path / "a.npy", np.asarray(array))
    back = np.load(tmp_path / "a.npy", allow_pickle=False)
    assert back.dtype == array.dtype
    assert np.array_equal(back, array)


def test_a_file_that_is_not_complete_does_not_appear(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not 164"), npy.writing(tmp_path / "a.npy", (4, 3), np.float32) as file:
        npy.append(file, ROWS[:3])
    assert not list(tmp_path.iterdir())


def test_rows_are_appended_block_by_block(tmp_path: Path) -> None:
    with npy.writing(tmp_path / "a.npy", ROWS.shape, ROWS.dtype) as file:
        for row in ROWS:
            npy.append(file, row)
    assert np.array_equal(npy.open_mapped(tmp_path / "a.npy"), ROWS)
    header = npy.read_header(tmp_path / "a.npy")
    assert (header.shape, header.dtype, header.fortran) == ((4, 3), np.float32, False)
    assert header.end == (tmp_path / "a.npy").stat().st_size


def missing(path: Path) -> None:
    path.unlink()


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def text(path: Path) -> None:
    path.write_text("no array")


def archive(path: Path) -> None:
    with path.open("wb") as file:
        np.savez(file, a=ROWS)


def pickled(path: Path) -> None:
    np.save(path, np.array([{}], object), allow_pickle=True)


def larger(path: Path) -> None:
    np.save(path, np.zeros((5, 3), np.float32))


def wider(path: Path) -> None:
    np.save(path, ROWS.astype(np.float64))


@pytest.mark.parametrize("damage", [missing, cut, empty, text, archive, pickled, larger, wider])
def test_damage_names_the_file(damage: Any, tmp_path: Path) -> None:
    npy.write(tmp_path / "a.npy", ROWS)
    damage(tmp_path / "a.npy")
    with pytest.raises(DamageError, match=r"a\.npy"):
        npy.open_mapped(tmp_path / "a.npy", shape=(4, 3), dtype=np.float32)


def test_what_torch_writes_to_stays_in_memory(tmp_path: Path) -> None:
    npy.write(tmp_path / "a.npy", ROWS)
    with pytest.raises(ValueError, match="read-only"):
        npy.open_mapped(tmp_path / "a.npy")[:] = 0
    npy.open_mapped(tmp_path / "a.npy", mode="c")[:] = 0
    assert np.array_equal(npy.open_mapped(tmp_path / "a.npy"), ROWS)
