"""The index that is taken where none is named."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from asal.errors import DamageError
from asal.index import auto, indexes
from asal.index.auto import Auto
from asal.index.exact import ExactIndex
from asal.index.gpu import GpuIndex
from asal.index.ivf import IvfIndex
from asal.testing.index import CHECKS, opened, stored, toy_features


@pytest.mark.parametrize("check", CHECKS)
def test_large_pools_keep_the_promises_too(check: str) -> None:
    CHECKS[check](partial(Auto, listed=20))


def test_the_size_decides() -> None:
    features = toy_features(300)
    with opened(Auto(listed=300), features) as index:
        assert isinstance(index, IvfIndex)
    with opened(Auto(listed=301), features) as index:
        assert isinstance(index, ExactIndex)


def test_without_faiss_it_is_the_exact_scan(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auto, "find_spec", lambda name: None)
    with opened(Auto(listed=1), toy_features(300)) as index:
        assert isinstance(index, ExactIndex)


def test_where_a_gpu_has_room_it_scans(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auto, "fits", lambda vectors: True)
    with opened(Auto(listed=1), toy_features(300)) as index:
        assert isinstance(index, GpuIndex)


def test_what_was_built_stays(tmp_path: Path) -> None:
    with stored(toy_features(300)) as vectors:
        Auto(listed=1000).build(vectors, tmp_path / "index")
        assert isinstance(Auto(listed=1).load(vectors, tmp_path / "index"), ExactIndex)
        with pytest.raises(DamageError):
            Auto().load(vectors, tmp_path / "nothing")


def test_it_is_what_a_spec_takes() -> None:
    from asal.project.spec import parse

    assert parse({"name": "mine", "source": {"kind": "digits"}}).index.kind == "auto"
    assert "auto" in indexes
