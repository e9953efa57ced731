"""The shipped checks over the strategies again, with a classifier that reads stored features."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from asal.registry import Part
from asal.strategies import strategies
from asal.strategies.hyperplanes import Hyperplanes
from asal.strategies.scoring import needs_of
from asal.testing.rounds import classifier_of_features, setting
from asal.testing.strategy import CHECKS, LABELLED, checks_of, choose

OPTIONS: dict[str, dict[str, Any]] = {"gaal": {"steps": 5}, "hyperplane-hash": {"tables": 8}}
NO_HEAD = {
    "adba": "it brings its own classifier",
    "learning-loss": "a head does not predict its loss",
}
NAMES = ["asal with a generator", *(name for name in strategies if name not in NO_HEAD)]
CASES = [(name, check) for name in NAMES for check in checks_of(strategies[name.removesuffix(" with a generator")])]


@pytest.fixture(autouse=True)
def of_features() -> Iterator[None]:
    with classifier_of_features():
        yield


def bound(name: str) -> Part:
    generator = {"search": "generator", "steps": 5} if "generator" in name else {}
    part = strategies[name.removesuffix(" with a generator")]
    options = OPTIONS.get(name, generator)
    return replace(part, make=part.bind(options), needs=needs_of(part, options))


@pytest.mark.parametrize(("name", "check"), CASES)
def test_strategy(name: str, check: str) -> None:
    CHECKS[check](lambda: bound(name))


def test_the_classifier_reads_the_stored_features() -> None:
    with setting(bound("random")) as at:
        now = at.round(LABELLED)
        everything = np.arange(len(at.pool))
        assert now.model.reads == "features"
        assert np.array_equal(now.inputs(everything), at.tools.vectors.read(everything))
        assert np.array_equal(now.embed(everything), at.tools.vectors.read(everything))


@pytest.mark.parametrize("name", ["hyperplane-hash", "margin-svm"])
def test_what_lies_near_the_boundary_is_picked_in_feature_space(name: str) -> None:
    with setting(bound(name), images=200) as at:
        now = at.round(np.arange(30))
        picks = choose(bound(name), now, 10).ids
        model: Any = now.model
        ids = np.concatenate(list(now.candidates.blocks()))
        distances = dict(zip(ids.tolist(), Hyperplanes.of(model).distances(now.embed(ids)), strict=True))
        near = np.mean([distances[image] for image in picks.tolist()])
    assert near < np.quantile(list(distances.values()), 0.3), "those picked are no nearer to the boundary than others"
