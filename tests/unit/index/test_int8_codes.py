"""Codes of 8 bits change no answer of the exact scan, whatever the vectors are like."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asal.core import Features
from asal.errors import DamageError
from asal.index import int8_codes
from asal.index.exact import Exact
from asal.testing.index import CHECKS, opened, stored, toy_features, toy_queries

CODED = partial(Exact, coded=0)
SMALL = 256  # vectors in a block, so that toy pools have many


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(int8_codes, "BLOCK", SMALL)


@pytest.mark.parametrize("check", CHECKS)
def test_codes_keep_every_promise_of_an_exact_index(check: str) -> None:
    CHECKS[check](CODED)


@settings(max_examples=60, deadline=None)
@given(
    n=st.integers(1, 1200),
    d=st.integers(int8_codes.MIN_DIM, 70),
    q=st.integers(1, 16),
    k=st.integers(1, 40),
    spread=st.sampled_from([1e-12, 1e-3, 1.0, 1e6]),
    outlier=st.sampled_from([1.0, 1e3, 1e6]),
    away=st.sampled_from([0.0, 1.0, 1e3, 1e7]),
    seed=st.integers(0, 2**32),
)
def test_codes_change_no_answer(
    n: int, d: int, q: int, k: int, spread: float, outlier: float, away: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    features = rng.standard_normal((n, d)) * spread
    features[rng.integers(n)] *= outlier
    features = features.astype(np.float32)
    queries = (features[rng.integers(n, size=q)] + away * spread * rng.standard_normal((q, d))).astype(np.float32)
    gone = np.flatnonzero(rng.random(n) < rng.random())
    with opened(CODED(), features, rows=500) as coded, opened(Exact(coded=n + 1), features, rows=500) as plain:
        found, true = coded.search(queries, k, without=gone), plain.search(queries, k, without=gone)
        assert np.array_equal(found.ids, true.ids) and np.array_equal(found.distances, true.distances)
        if true.ids.shape[1]:
            limits = true.distances[:, -1] ** 2
            known = coded.search(queries, k, without=gone, limits=limits)  # type: ignore[call-arg]
            assert np.array_equal(known.ids, true.ids)


def test_most_vectors_are_ruled_out_by_their_codes(monkeypatch: pytest.MonkeyPatch) -> None:
    features = toy_features(20_000, d=30)
    queries = toy_queries(features, 10)
    measured: list[int] = []
    with opened(CODED(), features) as index:
        read = index._vectors.read  # type: ignore[attr-defined]
        monkeypatch.setattr(index._vectors, "read", lambda ids: measured.append(len(ids)) or read(ids))  # type: ignore
        index.search(queries, 1)
    assert sum(measured) < 0.02 * len(features) * len(queries)


def test_a_machine_that_multiplies_wrongly_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    features = toy_features(600)
    queries = toy_queries(features, 5)
    with opened(CODED(), features) as index:
        true = index.search(queries, 3)
    right = torch._int_mm
    monkeypatch.setattr(torch, "_int_mm", lambda a, b, out: right(a, b, out=out).add_(1))
    int8_codes.usable.cache_clear()
    try:
        assert not int8_codes.usable(features.shape[1])
        with opened(CODED(), features) as index:
            assert index._coded is None  # type: ignore[attr-defined]
            assert np.array_equal(index.search(queries, 3).ids, true.ids)
    finally:
        monkeypatch.undo()
        int8_codes.usable.cache_clear()


@pytest.mark.parametrize("name", ["codes.npy", "turn.npy", "blocks.npy"])
def test_damage_is_told(name: str, tmp_path: Path) -> None:
    if not int8_codes.usable(16):
        pytest.skip("this machine scans without codes")
    features: Features = toy_features(600)
    with stored(features) as vectors:
        CODED().build(vectors, tmp_path)
        path = tmp_path / "codes" / name
        whole = path.read_bytes()
        for broken in (whole[: len(whole) // 2], b""):
            path.write_bytes(broken)
            with pytest.raises(DamageError) as caught:
                CODED().load(vectors, tmp_path)
            assert str(path) in caught.value.got
        path.unlink()
        with pytest.raises(DamageError) as caught:
            CODED().load(vectors, tmp_path)
        assert "missing" in caught.value.got
