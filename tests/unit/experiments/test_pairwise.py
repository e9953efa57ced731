"""Win, tie and loss of every pair: over the seeds of one experiment, and over benchmarks."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.run_folders import results_of

from asal.experiments.metrics import Paired
from asal.experiments.pairwise import Matrix, Pairwise, WinTieLoss, over_benchmarks, over_seeds, pairwise
from asal.experiments.statistics import estimate


def duel(differences: Sequence[float]) -> Paired:
    """Return what a pair came to whose areas differ by this, seed by seed."""
    x = np.array(differences)
    wins, losses = int((x > 0).sum()), int((x < 0).sum())
    return Paired(tuple(range(len(x))), x, estimate(x), wins, len(x) - wins - losses, losses)


def fought(pairs: Mapping[tuple[str, str], Sequence[float]]) -> Pairwise:
    """Return the duels of one benchmark, both ways round."""
    one_way = {key: duel(differences) for key, differences in pairs.items()}
    return one_way | {(b, a): -pair for (a, b), pair in one_way.items()}


CLEAR, UNCLEAR, NONE = (0.1, 0.11, 0.12), (0.1, -0.1, 0.02), (0.0, 0.0, 0.0)


def test_seeds_are_counted_and_shaded_by_the_interval(tmp_path: Path) -> None:
    base = [0.5, 0.6, 0.7]
    runs = {
        "level": [[x, x] for x in base],
        "ahead": [[x + 0.1, x + 0.1 + 0.01 * i] for i, x in enumerate(base)],
        "mixed": [[x, x + change] for x, change in zip(base, (0.2, -0.1, 0.0), strict=True)],
    }
    matrix = over_seeds(pairwise(results_of(tmp_path, runs)))
    assert matrix.strategies[0] == "ahead"
    assert matrix.cells["ahead", "level"] == WinTieLoss(3, 0, 0, 1)
    assert matrix.cells["level", "ahead"] == WinTieLoss(0, 0, 3, -1)
    assert matrix.cells["mixed", "level"] == WinTieLoss(1, 1, 1, 0)
    assert matrix.pairs == 3


def test_pairs_with_one_common_seed_do_not_meet(tmp_path: Path) -> None:
    runs = {"a": [[0.5, 0.6]] * 3, "b": [[0.5, 0.6]] * 2 + [[0.5]], "c": [[0.5, 0.6]] + [[0.5]] * 2}
    assert set(pairwise(results_of(tmp_path, runs))) == {("a", "b"), ("b", "a")}


def test_benchmarks_are_counted_by_hand() -> None:
    back = [-x for x in CLEAR]
    matrix = over_benchmarks(
        [
            fought({("a", "b"): CLEAR, ("a", "c"): CLEAR, ("b", "c"): UNCLEAR}),
            fought({("a", "b"): UNCLEAR, ("a", "c"): back}),
            fought({("b", "a"): back, ("a", "d"): NONE}),
        ]
    )
    assert matrix.cells["a", "b"] == WinTieLoss(2, 1, 0, pytest.approx(2 / 3))
    assert matrix.cells["b", "a"] == WinTieLoss(0, 1, 2, pytest.approx(-2 / 3))
    assert matrix.cells["a", "c"] == WinTieLoss(1, 0, 1, 0)
    assert matrix.cells["b", "c"].count == 1, "the other benchmarks lack one of the two"
    assert matrix.cells["a", "d"] == WinTieLoss(0, 1, 0, 0)
    assert ("b", "d") not in matrix.cells
    assert matrix.strategies[0] == "a" and matrix.strategies[-1] == "b"


NAMES = ("a", "b", "c", "d")


@st.composite
def benchmarks(draw: st.DrawFn) -> list[Pairwise]:
    """Draw up to four benchmarks on which some of the pairs met."""
    found = []
    for _ in range(draw(st.integers(1, 4))):
        met = draw(st.lists(st.sampled_from(list(itertools.combinations(NAMES, 2))), min_size=1, unique=True))
        outcome = st.sampled_from([CLEAR, UNCLEAR, NONE, tuple(-x for x in CLEAR)])
        found.append(fought({pair: draw(outcome) for pair in met}))
    return found


@given(benchmarks())
@settings(max_examples=60, deadline=None)
def test_what_one_wins_the_other_loses(all_fought: list[Pairwise]) -> None:
    matrices: list[Matrix] = [over_benchmarks(all_fought), *map(over_seeds, all_fought)]
    for matrix in matrices:
        assert set(matrix.strategies) == {name for pair in matrix.cells for name in pair}
        assert 2 * matrix.pairs == len(matrix.cells)
        for (row, column), tally in matrix.cells.items():
            back = matrix.cells[column, row]
            assert (tally.wins, tally.ties, tally.losses) == (back.losses, back.ties, back.wins)
            assert tally.lead == -back.lead and abs(tally.lead) <= 1
    for key, tally in matrices[0].cells.items():
        assert tally.count == sum(key in pairs for pairs in all_fought)
