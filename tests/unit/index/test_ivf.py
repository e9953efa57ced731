"""The inverted file where it is really used: small lists, few of them searched, near images removed."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from asal.core import NO_IDS, Features, Ids, Index, Neighbours, RecallCheck
from asal.errors import DamageError, UserError
from asal.index import NeighbourPairs, ivf, squared_distances
from asal.index.exact import Exact
from asal.index.ivf import Ivf
from asal.index.recall_guard import RecallGuard
from asal.testing.index import CHECKS, opened, stored, toy_features, toy_queries

pytestmark = pytest.mark.slow

FEW = partial(Ivf, lists=40, probes=10)  # of toy pools all lists would be searched
N, LISTS = 20_000, 400


@pytest.mark.parametrize("check", CHECKS)
def test_few_lists(check: str) -> None:
    CHECKS[check](FEW)


@pytest.fixture(scope="module")
def features() -> Features:
    return toy_features(N, d=20)


@pytest.fixture(scope="module")
def index(features: Features) -> Iterator[Index]:
    with opened(Ivf(lists=LISTS, probes=32, guard=0), features, rows=4096) as index:
        yield index


@pytest.fixture(scope="module")
def exact(features: Features) -> Iterator[Index]:
    with opened(Exact(), features, rows=4096) as index:
        yield index


def recall(found: Neighbours, true: Neighbours) -> float:
    return float((found.ids[:, 0] == true.ids[:, 0]).mean())


def eaten(exact: Index, queries: Features, k: int) -> Ids:
    """Return what active learning removes: the nearest images of queries."""
    return np.unique(exact.search(queries, k).ids)


@pytest.mark.parametrize("k", [0, 5, 50, 400])
def test_what_is_left_near_eaten_places_is_found(features: Features, index: Index, exact: Index, k: int) -> None:
    queries = toy_queries(features, 200)
    gone = eaten(exact, queries, k) if k else NO_IDS
    assert recall(index.search(queries, 1, without=gone), exact.search(queries, 1, without=gone)) >= Ivf.recall


def test_an_index_that_trusts_what_is_left_would_not_find_it(
    features: Features, index: Index, exact: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ivf, "MAX_EXCLUDED", 1.0)
    queries = toy_queries(features, 200)
    gone = eaten(exact, queries, 50)
    assert recall(index.search(queries, 1, without=gone), exact.search(queries, 1, without=gone)) < Ivf.recall


def test_few_vectors_are_read(features: Features) -> None:
    with stored(features, 4096) as vectors:
        Ivf(lists=LISTS).build(vectors, vectors.folder / "index")
        read: list[int] = []
        inner = vectors.read
        vectors.read = lambda ids: read.append(len(ids)) or inner(ids)  # type: ignore[method-assign,func-returns-value]
        index = Ivf(lists=LISTS, probes=32, candidates=64, guard=0).load(vectors, vectors.folder / "index")
        index.search(toy_queries(features, 10), 1)
    assert sum(read) <= 640


@pytest.mark.parametrize("d", [1, 3, 7])
def test_odd_dimensions(d: int) -> None:
    features = toy_features(2_000, d=d)
    queries = toy_queries(features, 100)
    with opened(FEW(), features) as found, opened(Exact(), features) as true:
        assert recall(found.search(queries, 1), true.search(queries, 1)) >= Ivf.recall


@pytest.mark.parametrize("n", [1, 2, 15, 41])
def test_pools_smaller_than_what_is_learnt_from_them(n: int) -> None:
    features = toy_features(n)
    with opened(FEW(), features) as index:
        assert sorted(index.search(features[:1], n).ids[0]) == list(range(n))


class Lying:
    """Finds nothing but image 0 in fewer than `honest` lists."""

    def __init__(self, features: Features, honest: int) -> None:
        self.features, self.honest, self.asked = features, honest, list[int]()

    def __call__(self, queries: Features, k: int, gone: Ids, probes: int) -> tuple[NeighbourPairs, Ids]:
        self.asked.append(probes)
        rows = np.arange(len(queries))
        apart = np.array(
            [squared_distances(queries.astype(np.float64), np.tile(x, (len(queries), 1))) for x in self.features]
        )
        ids = apart.argmin(0) if probes >= self.honest else np.zeros(len(queries), np.int64)
        return NeighbourPairs(rows, ids, apart[ids, rows]), np.arange(len(queries))


@pytest.mark.parametrize(("honest", "asked"), [(0, [2]), (8, [2, 8]), (32, [2, 8, 32]), (10**9, [2, 8, 32])])
def test_a_miss_widens_the_search_and_then_the_exact_scan_answers(honest: int, asked: list[int]) -> None:
    features = toy_features(300)
    queries = toy_queries(features, 20)
    lying = Lying(features, honest)
    with opened(Exact(), features) as exact:
        found = RecallGuard(exact, 2).search(lying, queries, 1, NO_IDS, 2, 128)
        true = exact.search(queries, 1)
    assert np.array_equal(found.ids, true.ids)
    assert lying.asked == asked
    assert found.check is not None and found.check.checked == 2
    assert found.check.missed == (0 if honest == 0 else 2)
    assert found.check.probes == (0 if honest > 32 else asked[-1])
    assert found.check.exact == (20 if honest > 32 else 0)


def test_every_query_has_its_turn_with_the_guard() -> None:
    seen: set[float] = set()

    class Seeing:
        def search(self, queries: Features, k: int, *, without: Ids, limits: object = None) -> Neighbours:
            seen.update(queries[:, 0].tolist())
            return Neighbours(np.zeros((len(queries), k), np.int64), np.zeros((len(queries), k)))

    def near(queries: Features, k: int, gone: Ids, probes: int) -> tuple[NeighbourPairs, Ids]:
        return NeighbourPairs(np.arange(10), np.arange(10), np.zeros(10)), np.array([1, 2, 3, 5, 8])

    for shift in range(100):
        queries = (np.arange(10, dtype=np.float32) + shift / 256)[:, None]
        RecallGuard(Seeing(), 1).search(near, queries, 1, NO_IDS, 1, 1)
    assert {int(x) for x in seen} == {1, 2, 3, 5, 8}, "others than those that were answered from lists"
    check = RecallGuard(Seeing(), 1).search(lambda *_: (near(*_)[0], NO_IDS), queries, 1, NO_IDS, 1, 1).check
    assert check == RecallCheck(0, 0, 0, 10, 0.0)


def test_equally_near_images_are_no_miss() -> None:
    features = np.tile(toy_features(30), (2, 1))
    queries = features[:10]

    def twins(queries: Features, k: int, gone: Ids, probes: int) -> tuple[NeighbourPairs, Ids]:
        return NeighbourPairs(np.arange(10), np.arange(30, 40), np.zeros(10)), np.arange(10)

    with opened(Exact(), features) as exact:
        assert RecallGuard(exact, 10).search(twins, queries, 1, NO_IDS, 1, 1).ids.min() == 30


def test_the_guard_is_asked_nothing_without_queries() -> None:
    with opened(FEW(guard=5), toy_features(100)) as index:
        assert index.search(np.empty((0, 12), np.float32), 2).ids.shape == (0, 2)


def test_a_spoilt_file_is_named(tmp_path: Path) -> None:
    with stored(toy_features(500)) as vectors:
        FEW().build(vectors, tmp_path)
        file = tmp_path / "ivf.faiss"
        file.write_bytes(file.read_bytes()[:100])
        with pytest.raises(DamageError, match=r"ivf\.faiss"):
            FEW().load(vectors, tmp_path)
        file.unlink()
        with pytest.raises(DamageError, match=r"ivf\.faiss"):
            FEW().load(vectors, tmp_path)


def test_lists_of_other_vectors_are_refused(tmp_path: Path) -> None:
    with stored(toy_features(500)) as vectors, stored(toy_features(400)) as others:
        FEW().build(vectors, tmp_path)
        with pytest.raises(DamageError, match="500 vectors, not 400"):
            FEW().load(others, tmp_path)


def test_without_faiss_the_remedy_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "faiss", None)
    with stored(toy_features(100)) as vectors, pytest.raises(UserError, match=r"asal\[faiss\]"):
        FEW().build(vectors, tmp_path)
