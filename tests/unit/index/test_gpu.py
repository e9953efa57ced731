"""The scan on a device, on the device that is there: a CPU runs the same code as a GPU."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from asal.index.exact import Exact
from asal.index.gpu import Gpu
from asal.testing.index import CHECKS, opened, toy_features, toy_queries


@pytest.mark.parametrize("check", CHECKS)
def test_many_blocks(check: str) -> None:
    CHECKS[check](partial(Gpu, block=97))


@pytest.mark.parametrize("twins", [2, 90])
def test_what_rounding_leaves_in_doubt_is_answered_exactly(twins: int) -> None:
    features = np.tile(toy_features(60), (twins, 1))
    features += np.float32(1e-6) * np.random.default_rng(0).standard_normal(features.shape).astype(np.float32)
    queries = toy_queries(features, 20)
    with opened(Gpu(), features) as scan, opened(Exact(), features) as exact:
        found, true = scan.search(queries, 5), exact.search(queries, 5)
    assert np.array_equal(found.ids, true.ids) and np.array_equal(found.distances, true.distances)


def test_more_twins_than_float32_can_tell_apart_are_told_apart() -> None:
    rng = np.random.default_rng(0)
    towards = np.sign(rng.standard_normal((600, 1))) * np.float32(1000)  # far from the centre, on either side of it
    features = (towards + 1e-3 * rng.standard_normal((600, 12))).astype(np.float32)
    queries = features[:20] + np.float32(1e-3)
    with opened(Gpu(), features) as scan, opened(Exact(), features) as exact:
        found, true = scan.search(queries, 5), exact.search(queries, 5)
    assert np.array_equal(found.ids, true.ids) and np.array_equal(found.distances, true.distances)
