"""An index in parts answers as the whole does, in this process and in actors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asal.index.exact import Exact
from asal.index.kdtree import KdTree
from asal.index.sharded import IdRange, Sharded, id_ranges
from asal.project.project import Project
from asal.project.spec import load
from asal.testing.index import CHECKS, opened, stored, toy_features, toy_queries


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("parts", [1, 3, 50])
def test_an_index_in_parts_passes_what_an_index_has_to(parts: int, check: str) -> None:
    CHECKS[check](lambda: Sharded(Exact(), parts))


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_parts_answer_as_the_whole_to_the_last_bit(data: st.DataObject) -> None:
    n, parts, rows = (data.draw(st.integers(1, high)) for high in (60, 12, 25))
    k, q = data.draw(st.integers(1, 70)), data.draw(st.integers(0, 4))
    rng = np.random.default_rng(data.draw(st.integers(0, 999)))
    features = rng.integers(3, size=(n, 3)).astype(np.float32)  # few places: ties everywhere
    queries = rng.integers(3, size=(q, 3)).astype(np.float32) + np.float32(0.1)
    gone = rng.choice(n, size=data.draw(st.integers(0, n)), replace=False)
    with opened(Exact(), features, rows) as whole, opened(Sharded(Exact(), parts), features, rows) as sharded:
        one, other = (index.search(queries, k, without=gone) for index in (whole, sharded))
    assert np.array_equal(one.ids, other.ids) and np.array_equal(one.distances, other.distances)


def test_squares_that_differ_are_told_apart_where_their_roots_do_not(tmp_path: Path) -> None:
    """The exact scan ranks squares, and float64 has fewer roots than squares."""
    near, query = np.float32(1), np.zeros((1, 2), np.float32)
    apart = np.float32(2.0**-26)  # 1 + 2⁻⁵² and 1: the root of either is 1
    features = np.array([[near, apart], [near, 0]], np.float32)
    with opened(Exact(), features) as whole, opened(Sharded(Exact(), 2), features) as sharded:
        assert whole.search(query, 2).distances[0].tolist() == [1.0, 1.0]
        assert whole.search(query, 2).ids.tolist() == sharded.search(query, 2).ids.tolist() == [[1, 0]]


def test_any_kind_of_index_can_be_in_parts() -> None:
    features = toy_features(500)
    queries = toy_queries(features, 20)
    with opened(Exact(), features) as whole, opened(Sharded(KdTree(), 4), features) as sharded:
        assert np.array_equal(whole.search(queries, 7).ids, sharded.search(queries, 7).ids)


def test_stretches_take_each_id_once() -> None:
    for n in range(1, 40):
        for parts in (1, 2, 7, 60):
            cut = id_ranges(Path("nowhere"), n, parts)
            assert len(cut) == min(n, parts)
            assert [i for part in cut for i in range(part.first, part.last)] == list(range(n))


def test_a_stretch_is_a_store_of_its_own() -> None:
    features = toy_features(100)
    with stored(features, rows=16) as vectors:
        part = IdRange(vectors.folder, 10, 75)
        ids, x = zip(*part.shards(), strict=True)
        assert np.array_equal(np.concatenate(ids), np.arange(65)) and len(part) == 65
        assert np.array_equal(np.concatenate(x), features[10:75])
        assert np.array_equal(part.read(np.array([64, 0])), features[[74, 10]])


def test_parts_are_built_once(tmp_path: Path) -> None:
    features = toy_features(300)
    with stored(features) as vectors:
        Sharded(Exact(), 3).build(vectors, tmp_path / "index")
        files = sorted(tmp_path.rglob("*.npy"))
        assert len(files) == 6 and not list(tmp_path.rglob(".*"))
        before = [path.stat().st_mtime_ns for path in files]
        Sharded(Exact(), 3).build(vectors, tmp_path / "index")
        assert [path.stat().st_mtime_ns for path in files] == before


def test_a_project_picks_the_same_images_from_an_index_in_parts(tiny: Path) -> None:
    picks = []
    for spread in (None, lambda kind: Sharded(kind, 3)):
        project = Project(tiny, load(tiny), spread=spread)
        project.prepare()
        session = project.session("asal", record=tiny / f"{len(picks)}.db")
        oracle = project.oracle("pool")
        for _ in range(2):
            batch = session.ask(20)
            session.tell(zip(batch.ids.tolist(), oracle.answer(batch.ids).tolist(), strict=True))
        picks.append(session.labelled.tolist())
    assert picks[0] == picks[1] and len(picks[0]) == 40
    assert [path.name.rpartition("-")[0] for path in sorted(tiny.glob("indexes/*"))] == ["auto", "auto-in-parts"]


def test_a_part_that_lost_a_file_is_built_anew_and_no_other() -> None:
    features = toy_features(90)
    with stored(features) as vectors:
        folder, indexer = vectors.folder / "index", Sharded(Exact(), 3)
        indexer.build(vectors, folder)
        whole = {path: path.stat().st_ino for path in folder.glob("0000[12]/*.npy")}
        (folder / "00000" / "norms.npy").unlink()
        indexer.build(vectors, folder)
        assert {path: path.stat().st_ino for path in whole} == whole
        assert np.array_equal(indexer.load(vectors, folder).search(features, 1).ids[:, 0], np.arange(90))
