"""The shipped checks over every registered index, each check's broken twin, and what only `exact` must stand."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asal.core import NO_IDS, Features, Ids, Index, Neighbours
from asal.errors import DamageError, UserError
from asal.index import Store, indexes
from asal.index.exact import QUERY_BLOCK, Exact
from asal.index.kdtree import KdTree
from asal.testing.index import CHECKS, Make, agree, brute_force, opened, stored, toy_features, toy_queries

Searching = Callable[..., Neighbours]


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("name", indexes)
def test_index(name: str, check: str) -> None:
    CHECKS[check](indexes[name].make)


@dataclass(frozen=True)
class Twin:
    """An exact index whose answers are spoilt by `search(index, queries, k, without)`."""

    search: Searching
    recall: ClassVar[float] = 1.0

    def build(self, vectors: Store, folder: Path, progress: Any = None) -> None:
        Exact().build(vectors, folder)

    def grow(self, before: Path, held: int, vectors: Store, folder: Path, progress: Any = None) -> None:
        self.build(vectors, folder)

    def load(self, vectors: Store, folder: Path) -> Index:
        return Spoilt(self.search, Exact().load(vectors, folder), vectors)


class Spoilt:
    def __init__(self, search: Searching, index: Index, vectors: Store) -> None:
        self.spoil, self.index, self.vectors = search, index, vectors
        self.gone = NO_IDS

    def search(self, queries: Features, k: int, *, without: Ids = NO_IDS) -> Neighbours:
        return self.spoil(self, queries, k, without)


def twin(search: Searching) -> Make:
    return lambda: Twin(search)


def skips_the_nearest(it: Spoilt, queries: Features, k: int, without: Ids) -> Neighbours:
    found = it.index.search(queries, k + 1, without=without)
    return Neighbours(found.ids[:, 1:], found.distances[:, 1:])


def farthest_first(it: Spoilt, queries: Features, k: int, without: Ids) -> Neighbours:
    found = it.index.search(queries, k, without=without)
    return Neighbours(found.ids[:, ::-1], found.distances[:, ::-1])


def rows_of_what_is_left(it: Spoilt, queries: Features, k: int, without: Ids) -> Neighbours:
    found = it.index.search(queries, k, without=without)
    return Neighbours(found.ids - np.searchsorted(np.sort(without), found.ids), found.distances)


def believes_removals_sorted(it: Spoilt, queries: Features, k: int, without: Ids) -> Neighbours:
    found = it.index.search(queries, k + len(without) // 2)
    places = np.searchsorted(without, found.ids).clip(max=max(0, len(without) - 1))
    gone = without[places] == found.ids if len(without) else np.zeros_like(found.ids, bool)
    keep = np.argsort(gone, axis=1, kind="stable")[:, :k]
    return Neighbours(np.take_along_axis(found.ids, keep, 1), np.take_along_axis(found.distances, keep, 1))


def fetches_a_few_more(it: Spoilt, queries: Features, k: int, without: Ids) -> Neighbours:
    found = it.index.search(queries, 5 * k)
    keep = np.argsort(np.isin(found.ids, without), axis=1, kind="stable")[:, :k]
    return Neighbours(np.take_along_axis(found.ids, keep, 1), np.take_along_axis(found.distances, keep, 1))


def pads(it: Spoilt, queries: Features, k: int, without: Ids) -> Neighbours:
    found = it.index.search(queries, k, without=without)
    missing = ((0, 0), (0, k - found.ids.shape[1]))
    return Neighbours(
        np.pad(found.ids, missing, constant_values=-1), np.pad(found.distances, missing, constant_values=np.inf)
    )


def needs_a_query(it: Spoilt, queries: Features, k: int, without: Ids) -> Neighbours:
    np.max(queries)
    return it.index.search(queries, k, without=without)


def higher_id_first(it: Spoilt, queries: Features, k: int, without: Ids) -> Neighbours:
    found = it.index.search(queries, k, without=without)
    order = np.lexsort((-found.ids, found.distances), axis=1)
    return Neighbours(np.take_along_axis(found.ids, order, 1), found.distances)


def trusts_float32(it: Spoilt, queries: Features, k: int, without: Ids) -> Neighbours:
    x = it.vectors.read(np.arange(len(it.vectors)))
    squares = (queries**2).sum(1)[:, None] - 2 * queries @ x.T + (x**2).sum(1)
    squares[:, without] = np.inf
    ids = np.argsort(squares, axis=1, kind="stable")[:, : min(k, len(x) - len(np.unique(without)))]
    return Neighbours(ids, np.sqrt(np.take_along_axis(squares, ids, 1).clip(min=0)).astype(np.float64))


def rows_of_the_shard(it: Spoilt, queries: Features, k: int, without: Ids) -> Neighbours:
    found = it.index.search(queries, k, without=without)
    return Neighbours(found.ids % len(next(it.vectors.shards())[0]), found.distances)


def shares_its_mask(it: Spoilt, queries: Features, k: int, without: Ids) -> Neighbours:
    it.gone = without
    time.sleep(0.005)
    return it.index.search(queries, k, without=it.gone)


def remembers_removals(it: Spoilt, queries: Features, k: int, without: Ids) -> Neighbours:
    it.gone = np.union1d(it.gone, without)
    return it.index.search(queries, k, without=it.gone)


def centres_in_place(it: Spoilt, queries: Features, k: int, without: Ids) -> Neighbours:
    found = it.index.search(queries, k, without=without)
    queries -= queries.mean(axis=0)
    return found


def patches_nonsense(it: Spoilt, queries: Features, k: int, without: Ids) -> Neighbours:
    return it.index.search(np.nan_to_num(queries), k, without=without)


class Forgetful(Twin):
    """Keeps what it built in memory alone."""

    def build(self, vectors: Store, folder: Path, progress: Any = None) -> None:
        super().build(vectors, folder)
        object.__setattr__(self, "search", lambda it, *a: it.index.search(*a[:2], without=a[2]))


class Stunted(Twin):
    """Keeps to what it held before it grew."""

    def grow(self, before: Path, held: int, vectors: Store, folder: Path, progress: Any = None) -> None:
        self.build(vectors, folder)
        (folder / "held").write_text(str(held))

    def load(self, vectors: Store, folder: Path) -> Index:
        index = super().load(vectors, folder)
        held = int((folder / "held").read_text()) if (folder / "held").exists() else len(vectors)
        index.gone = np.arange(held, len(vectors))  # type: ignore[attr-defined]
        return index


TWINS: dict[str, Make] = {
    "finds the nearest": twin(skips_the_nearest),
    "nearest come first": twin(farthest_first),
    "returns ids": twin(rows_of_what_is_left),
    "excludes removed ids": twin(believes_removals_sorted),
    "handles clustered removals": twin(fetches_a_few_more),
    "handles k beyond the pool": twin(pads),
    "handles k beyond what is left": twin(pads),
    "handles no queries": twin(needs_a_query),
    "gives the same answers when reopened": lambda: Forgetful(skips_the_nearest),
    "grows": lambda: Stunted(remembers_removals),
    "breaks ties by id": twin(higher_id_first),
    "handles far queries": twin(trusts_float32),
    "handles an offset": twin(trusts_float32),
    "does not depend on shards": twin(rows_of_the_shard),
    "handles many threads": twin(shares_its_mask),
    "does not remember removals": twin(remembers_removals),
    "does not modify its arguments": twin(centres_in_place),
    "refuses invalid queries": twin(patches_nonsense),
}


@pytest.mark.parametrize("check", CHECKS)
def test_check_catches_its_twin(check: str) -> None:
    with pytest.raises(AssertionError):
        CHECKS[check](TWINS[check])


def test_a_promise_below_one_is_held() -> None:
    """An approximate index passes with the recall it promises, and not with less."""

    def misses_every_tenth(it: Spoilt, queries: Features, k: int, without: Ids) -> Neighbours:
        right, wrong = it.index.search(queries, k, without=without), skips_the_nearest(it, queries, k, without)
        every = (np.arange(len(queries)) % 10 == 3)[:, None]
        return Neighbours(np.where(every, wrong.ids, right.ids), np.where(every, wrong.distances, right.distances))

    class Promising(Twin):
        recall = 0.85

    CHECKS["finds the nearest"](lambda: Promising(misses_every_tenth))
    Promising.recall = 0.95
    with pytest.raises(AssertionError, match="is promised"):
        CHECKS["finds the nearest"](lambda: Promising(misses_every_tenth))


GRID = st.integers(0, 2**32 - 1).map(np.random.default_rng)


@settings(max_examples=20, deadline=None)
@given(GRID, st.integers(1, 90), st.integers(1, 20), st.integers(1, 95), st.sampled_from([16, 40, 90]))
def test_exact_equals_brute_force_on_a_grid_of_ties(rng: Any, n: int, q: int, k: int, rows: int) -> None:
    features = rng.integers(-2, 3, size=(n, 3)).astype(np.float32)
    queries = rng.integers(-4, 5, size=(q, 3)).astype(np.float32) / 2
    gone = rng.integers(n, size=rng.integers(0, 2 * n))
    for indexer in (Exact(block=1), KdTree()):
        with opened(indexer, features, rows) as index:
            agree(index.search(queries, k, without=gone), brute_force(features, queries, k, gone), 1.0, f"{indexer}")


@pytest.mark.parametrize("q", [1, 16, 17, 100])
def test_exact_at_fifty_dimensions_over_many_chunks(q: int) -> None:
    features = toy_features(20_000, d=50, clusters=200)
    queries = toy_queries(features, q)
    gone = np.random.default_rng(0).integers(20_000, size=3000)
    with opened(Exact(), features, rows=15_000) as index:
        found = index.search(queries, 30, without=gone)
    first = Neighbours(found.ids[:10], found.distances[:10])
    agree(first, brute_force(features, queries[:10], 30, gone), 1.0, "d = 50")


def test_exact_takes_more_queries_than_it_scans_at_once() -> None:
    features = toy_features(300)
    queries = toy_queries(features, QUERY_BLOCK + 5)
    with opened(Exact(), features) as index:
        agree(index.search(queries, 2), brute_force(features, queries, 2), 1.0, "two blocks of queries")


@pytest.mark.parametrize(
    "spoil",
    [
        lambda x: np.zeros_like(x) + np.float32(0.1),  # every image the same
        lambda x: x[np.argsort(-np.square(x).sum(1))],  # nearest last: no early limit holds
        lambda x: np.where(np.arange(len(x))[:, None] == 77, np.float32(1e9), x),  # spoils its chunk's rounding bound
        lambda x: x * np.float32(1e-12),
        lambda x: x * np.float32(1e12),
        lambda x: x[:1],
    ],
    ids=["constant", "nearest last", "outlier", "tiny", "huge", "single"],
)
def test_exact_stands_ugly_features(spoil: Callable[[Features], Features]) -> None:
    features = np.ascontiguousarray(spoil(toy_features(4000, d=5)))
    queries = np.concatenate([features[:3], 0.5 * features[-2:]])
    with opened(Exact(), features, rows=2500) as index:
        found = index.search(queries, 3)
    true = brute_force(features, queries, 3)
    assert np.array_equal(found.ids, true.ids)
    assert np.allclose(found.distances, true.distances, rtol=1e-9)


def test_exact_refuses_vectors_beyond_float32(tmp_path: Path) -> None:
    features = toy_features(50)
    features[31, 2] = 1e20
    with stored(features) as vectors, pytest.raises(UserError, match="near image 0"):
        Exact().build(vectors, tmp_path)


@pytest.mark.parametrize("harm", ["missing", "cut", "of another pool"])
def test_exact_names_a_damaged_file(harm: str, tmp_path: Path) -> None:
    with stored(toy_features(50)) as vectors:
        Exact().build(vectors, tmp_path)
        norms = tmp_path / "norms.npy"
        if harm == "missing":
            norms.unlink()
        elif harm == "cut":
            norms.write_bytes(norms.read_bytes()[:-8])
        else:
            np.save(norms, np.zeros(49, np.float32))
        with pytest.raises(DamageError, match=r"norms\.npy"):
            Exact().load(vectors, tmp_path)


def test_build_reports_its_progress(tmp_path: Path) -> None:
    reports: list[tuple[str, int, int]] = []
    with stored(toy_features(300)) as vectors:
        Exact().build(
            vectors, tmp_path, progress=lambda stage, done, total, note="": reports.append((stage, done, total))
        )
    assert reports[-1][1:] == (300, 300)
    assert [done for stage, done, _ in reports if stage == reports[0][0]] == [0, 128, 256, 300]
