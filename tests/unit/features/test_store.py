"""The store of features: read by id, written in a stream, resumed to the very same bytes."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asal.core import NO_IDS, Features, Ids, as_ids
from asal.errors import DamageError, UserError
from asal.features.store import ConcatVectors, PrefixVectors, StoredVectors, write_vectors
from asal.runtime.rng import stream

N, D, ROWS, BATCH = 1000, 5, 128, 32


def feature(ids: Ids) -> Features:
    """A vector that says whose it is."""
    return (np.asarray(ids)[:, None] * 10 + np.arange(D)).astype(np.float32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("vectors")
    write_vectors(folder, feature, N, rows=ROWS, batch=BATCH)
    return folder


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Path:
    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@settings(max_examples=50, deadline=None)
@given(ids=st.lists(st.integers(0, N - 1), max_size=60))
def test_reads_any_ids_in_their_order(folder: Path, ids: list[int]) -> None:
    vectors = StoredVectors.open(folder)
    found = vectors.read(as_ids(ids))
    assert found.dtype == np.float32
    assert found.shape == (len(ids), D)
    assert np.array_equal(found, feature(as_ids(ids)).reshape(-1, D))


def test_shards_cover_every_id_once(folder: Path) -> None:
    vectors = StoredVectors.open(folder)
    shards = list(vectors.shards())
    assert (len(vectors), vectors.dim, len(shards)) == (N, D, 8)
    assert np.array_equal(np.concatenate([ids for ids, _ in shards]), np.arange(N))
    for ids, some in shards:
        assert np.array_equal(some, feature(ids))
        assert not some.flags.writeable


@pytest.mark.parametrize("wrong", [-1, N])
def test_refuses_unknown_ids(folder: Path, wrong: int) -> None:
    with pytest.raises(UserError, match=f"image id {wrong} is outside 0 … {N - 1}"):
        StoredVectors.open(folder).read(as_ids([3, wrong]))


def test_computes_in_batches_cut_at_the_same_places(tmp_path: Path) -> None:
    seen: list[int] = []

    def compute(ids: Ids) -> Features:
        seen.extend((int(ids[0]), len(ids)))
        return feature(ids)

    write_vectors(tmp_path, compute, 150, rows=100, batch=40)
    assert seen == [0, 40, 40, 40, 80, 20, 100, 40, 140, 10]


def test_tells_how_far_it_is(tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []
    progress = lambda stage, done, total, note="": told.append((stage, done, total))  # noqa: E731
    write_vectors(tmp_path, feature, 250, rows=100, progress=progress)
    assert told == [("features", done, 250) for done in (0, 100, 200, 250)]


def test_resumes_after_any_kill_to_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    """Killed (SIGKILL, in a process of its own) at one batch after another, each attempt goes on where it can."""
    for deadly in (1, 3, 6, 9, 4, 14, 2):  # batches that the attempt lives through
        assert _write_in_child(tmp_path, deadly) == signal.SIGKILL
    done = sorted(path.name for path in tmp_path.glob("[0-9]*.npy"))
    assert len(done) > 3
    before = {name: (tmp_path / name).stat().st_mtime_ns for name in done}
    write_vectors(tmp_path, feature, N, rows=ROWS, batch=BATCH)
    assert {name: (tmp_path / name).stat().st_mtime_ns for name in done} == before, "a finished shard was written again"
    assert contents(tmp_path) == contents(folder)


def _write_in_child(folder: Path, deadly: int) -> int:
    child = os.fork()
    if not child:
        calls = iter(range(deadly))

        def compute(ids: Ids) -> Features:
            if next(calls, None) is None:
                os.kill(os.getpid(), signal.SIGKILL)
            return feature(ids)

        write_vectors(folder, compute, N, rows=ROWS, batch=BATCH)
        os._exit(0)
    return os.WTERMSIG(os.waitpid(child, 0)[1])


def test_writes_a_cut_shard_again(copy: Path, folder: Path) -> None:
    shard = copy / "00002.npy"
    shard.write_bytes(shard.read_bytes()[:-100])
    (copy / "00005.npy").write_bytes(b"")
    write_vectors(copy, feature, N, rows=ROWS, batch=BATCH)
    assert contents(copy) == contents(folder)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-10])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def other_numbers(path: Path) -> None:
    np.save(path, np.zeros((ROWS, D), np.float64))


def pickled(path: Path) -> None:
    np.save(path, np.array([[{"a": 1}] * 200] * 200), allow_pickle=True)


def archived(path: Path) -> None:
    with path.open("wb") as file:
        np.savez(file, np.zeros((ROWS, D), np.float32), np.zeros(9999))


@pytest.mark.parametrize("harm", [Path.unlink, cut, empty, other_numbers, pickled, archived])
def test_names_a_damaged_shard(copy: Path, harm: Callable[[Path], None]) -> None:
    harm(copy / "00003.npy")
    with pytest.raises(DamageError, match=r"00003\.npy"):
        StoredVectors.open(copy).read(as_ids([ROWS * 3]))


@pytest.mark.parametrize("harm", [Path.unlink, empty, lambda path: path.write_text('{"count": 1}')])
def test_names_a_damaged_list_of_shards(copy: Path, harm: Callable[[Path], None]) -> None:
    harm(copy / "vectors.json")
    with pytest.raises(DamageError, match=r"vectors\.json"):
        StoredVectors.open(copy)


def test_an_unfinished_store_cannot_be_opened(copy: Path) -> None:
    def fails(ids: Ids) -> Features:
        raise RuntimeError("no more")

    (copy / "00007.npy").unlink()
    with pytest.raises(RuntimeError):
        write_vectors(copy, fails, N, rows=ROWS)
    with pytest.raises(DamageError):
        StoredVectors.open(copy)


def test_refuses_features_that_are_not_finite(tmp_path: Path) -> None:
    def compute(ids: Ids) -> Features:
        return np.where(ids[:, None] == 77, np.float32(np.nan), feature(ids))

    with pytest.raises(UserError, match="image 77"):
        write_vectors(tmp_path, compute, 100)


@pytest.mark.parametrize("shape", [lambda ids: 5, lambda ids: (3, D), lambda ids: (5, 1 + ids[0] // 5)])
def test_refuses_features_of_the_wrong_shape(tmp_path: Path, shape: Callable[[Ids], tuple[int, int]]) -> None:
    with pytest.raises(ValueError, match="have shape"):
        write_vectors(tmp_path, lambda ids: np.zeros(shape(ids), np.float32), 10, batch=5)


def test_refuses_an_empty_pool(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="the pool is empty"):
        write_vectors(tmp_path, feature, 0)


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts open files by Linux's /proc")
def test_holds_no_file_open(folder: Path) -> None:
    vectors = StoredVectors.open(folder)
    vectors.read(as_ids(range(0, N, ROWS)))  # what torch opens for itself is open now
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        assert len(StoredVectors.open(folder).read(as_ids(range(N)))) == N
    assert len(os.listdir("/proc/self/fd")) == before


def test_half_the_bytes_hold_nearly_the_same(tmp_path: Path) -> None:
    def drawn(ids: Ids) -> Features:
        return np.random.default_rng(int(ids[0])).standard_normal((len(ids), D)).astype(np.float32)

    def halved(ids: Ids) -> Any:
        return drawn(ids).astype(np.float16)

    whole = write_vectors(tmp_path / "whole", drawn, N, rows=ROWS, batch=BATCH)
    half = write_vectors(tmp_path / "half", halved, N, rows=ROWS, batch=BATCH)
    sizes = [(tmp_path / name / "00000.npy").stat().st_size - 128 for name in ("half", "whole")]
    assert 2 * sizes[0] == sizes[1]
    ids = as_ids([700, 3, 3, 999])
    assert half.read(ids).dtype == np.float32 and np.allclose(half.read(ids), whole.read(ids), rtol=1e-3, atol=1e-6)
    for (first, found), (second, true) in zip(half.shards(), whole.shards(), strict=True):
        assert np.array_equal(first, second) and found.dtype == np.float32 and np.allclose(found, true, rtol=1e-3)
    with pytest.raises(UserError, match="as float32"):
        write_vectors(tmp_path / "large", lambda ids: np.full((len(ids), 2), np.inf, np.float16), 10)  # type: ignore[arg-type, return-value]
    (tmp_path / "half" / "00003.npy").write_bytes((tmp_path / "whole" / "00003.npy").read_bytes())
    with pytest.raises(DamageError, match=r"00003\.npy"):
        StoredVectors.open(tmp_path / "half").read(as_ids([3 * ROWS]))


@pytest.mark.parametrize("kind", ["float32", "float16"])
def test_ids_in_any_order_and_in_runs_give_the_same_vectors(tmp_path: Path, kind: str) -> None:
    expected = stream(0, "runs").normal(size=(100, 3)).astype(kind).astype(np.float32)
    stored = write_vectors(tmp_path / "v", lambda ids: expected[ids].astype(kind), 100, rows=16)
    shuffled = stream(0, "order").permutation(100)
    runs = [np.arange(100), np.arange(5, 90), np.delete(np.arange(100), [3, 40, 99]), shuffled, shuffled[:7]]
    for ids in (
        *runs,
        np.arange(20, 10, -1),
        np.array([16, 17, 17, 18]),
        np.array([15, 16]),
        np.array([2, 90]),
        NO_IDS,
    ):
        assert np.array_equal(stored.read(ids), expected[ids])
        assert np.array_equal(stored.read(ids, 2), expected[ids, :2])


@pytest.mark.parametrize("kind", ["float32", "float16"])
def test_a_view_shows_what_is_read_or_nothing(tmp_path: Path, kind: str) -> None:
    expected = stream(0, "views").normal(size=(70, 3)).astype(kind).astype(np.float32)
    first = write_vectors(tmp_path / "a", lambda ids: expected[ids].astype(kind), 50, rows=16)
    added = write_vectors(tmp_path / "b", lambda ids: expected[50 + ids].astype(kind), 20, rows=16)
    both = ConcatVectors((first, added))
    for vectors, dim in ((both, 3), (PrefixVectors(both, 2), 2), (PrefixVectors(first, 1), 1)):
        for start, end in ((0, 16), (16, 32), (17, 20), (48, 50), (50, 66), (66, 70)):
            view = vectors.view(start, end)
            if kind == "float16" or start >= len(vectors):
                assert view is None
            else:
                assert view is not None and np.array_equal(view, expected[start:end, :dim]) and not view.flags.writeable
        for start, end in ((15, 17), (0, 17), (48, 51), (69, 71), (70, 71), (5, 5), (-1, 2)):
            assert vectors.view(start, end) is None
