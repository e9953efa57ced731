"""Every strategy against every other, over the seeds of one experiment or over several benchmarks."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from asal.experiments.metrics import Paired, paired
from asal.experiments.results import Results

PAIRED_FROM = 2  # common seeds; one alone has no interval and decides nothing

Pairwise: TypeAlias = Mapping[tuple[str, str], Paired]


@dataclass(frozen=True)
class WinTieLoss:
    """How often the row's strategy came out ahead of the column's, level with it, and behind."""

    wins: int
    ties: int
    losses: int
    lead: float  # −1 … 1: how far the row is ahead, for the cell's shade

    @property
    def count(self) -> int:
        """How many were counted."""
        return self.wins + self.ties + self.losses

    @property
    def net(self) -> float:
        """Wins less losses, as a share of all: −1 … 1."""
        return (self.wins - self.losses) / self.count


@dataclass(frozen=True)
class Matrix:
    """Tallies of all pairs that met, each in both directions; the strategies most ahead come first."""

    strategies: tuple[str, ...]
    cells: Mapping[tuple[str, str], WinTieLoss]  # by row and column

    @property
    def pairs(self) -> int:
        """How many pairs of strategies met."""
        return len(self.cells) // 2


def pairwise(results: Results) -> dict[tuple[str, str], Paired]:
    """Compare every strategy's area with every other's, in both directions, where two finished seeds are common."""
    found: dict[tuple[str, str], Paired] = {}
    for one, other in itertools.combinations(results.strategies, 2):
        pair = paired(results, one, other)
        if pair and len(pair.seeds) >= PAIRED_FROM:
            found |= {(one, other): pair, (other, one): -pair}
    return found


def over_seeds(fought: Pairwise) -> Matrix:
    """Count seeds won, tied and lost by area; shaded where the 95% interval of the difference excludes zero."""
    return _ranked(
        {key: WinTieLoss(pair.wins, pair.ties, pair.losses, pair.estimate.sign) for key, pair in fought.items()}
    )


def over_benchmarks(fought: Sequence[Pairwise]) -> Matrix:
    """Count the benchmarks on which a strategy beats, ties with and loses to another.

    To beat is to have a 95% interval of the paired differences in area that lies above zero, and to lose one that
    lies below; anything else is a tie. A benchmark counts for a pair of names that have two seeds in common there.
    """
    keys = dict.fromkeys(itertools.chain.from_iterable(fought))  # in order of appearance
    signs = {key: [pairs[key].estimate.sign for pairs in fought if key in pairs] for key in keys}
    return _ranked(
        {
            key: WinTieLoss(found.count(1), found.count(0), found.count(-1), float(np.mean(found)))
            for key, found in signs.items()
        }
    )


def _ranked(cells: Mapping[tuple[str, str], WinTieLoss]) -> Matrix:
    names = dict.fromkeys(itertools.chain.from_iterable(cells))
    net = {name: np.mean([tally.net for (row, _), tally in cells.items() if row == name]) for name in names}
    return Matrix(tuple(sorted(names, key=lambda name: -net[name])), cells)
