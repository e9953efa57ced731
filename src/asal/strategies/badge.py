"""BADGE (Ash et al., ICLR 2020): images whose gradients are large and differ from each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
import numpy.typing as npt
from annotated_types import Ge

from asal.core import Features, Probs, Round, Scores, Selection
from asal.strategies import strategies
from asal.strategies.scoring import shortlist


@strategies.register("badge", roles={"subset": "size"})
def badge(now: Round, n: int, rng: np.random.Generator, *, size: Annotated[int, Ge(1)] = 1000) -> Selection:
    """k-means++ over the gradient embeddings of `size` random images. Cost: constant in the pool's size.

    The embedding of an image is its cross entropy's gradient at the last layer's weights, had the likeliest class been
    the true one: (p − e_ŷ) ⊗ h. It is never laid out (k·d numbers an image): the square of a distance needs only the
    two factors. The authors look at the whole pool; the random part is our choice, for its cost. Each image goes
    through the network twice, once for p and once for h.
    """
    ids = shortlist(now, n, size, rng)
    probs, hidden = now.predict(ids), now.embed(ids)
    with now.meter.part("score"):
        gradients = Gradients.of(probs, hidden)
        rows = seeded(gradients, n, rng)
    return Selection(ids[rows], np.sqrt(gradients.squares[rows]))


@dataclass(frozen=True)
class Gradients:
    """Rank-one gradients a ⊗ h, kept as their factors."""

    errors: npt.NDArray[np.float64]  # (n, k) p − e_ŷ
    hidden: npt.NDArray[np.float64]  # (n, d)
    squares: Scores  # (n,) ‖a‖²‖h‖²

    @classmethod
    def of(cls, probs: Probs, hidden: Features) -> Gradients:
        """Return those of probabilities (n, k) and the last layer's input (n, d)."""
        errors, wide = probs.copy(), hidden.astype(np.float64)
        errors[np.arange(len(errors)), probs.argmax(axis=1)] -= 1.0
        return cls(errors, wide, (errors**2).sum(axis=1) * (wide**2).sum(axis=1))

    def squared_gaps(self, row: int) -> Scores:
        """Return ‖a ⊗ h − a_row ⊗ h_row‖² (n,) = ‖a‖²‖h‖² + ‖a_row‖²‖h_row‖² − 2 (a·a_row)(h·h_row)."""
        inner = (self.errors @ self.errors[row]) * (self.hidden @ self.hidden[row])
        return np.asarray(np.maximum(self.squares + self.squares[row] - 2 * inner, 0.0))


def seeded(gradients: Gradients, n: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Return n distinct rows: the longest first, then each with a chance that grows as its squared gap to those before.

    k-means++ (Arthur & Vassilvitskii 2007). If all gaps are zero, as with a classifier that is certain of everything,
    the rest are drawn evenly.
    """
    taken = np.zeros(len(gradients.squares), np.bool_)
    row, gaps = int(gradients.squares.argmax()), np.full(len(taken), np.inf)
    rows = []
    while True:
        rows.append(row)
        taken[row] = True
        if len(rows) == n:
            return np.array(rows, np.int64)
        gaps = np.where(taken, 0.0, np.minimum(gaps, gradients.squared_gaps(row)))
        # By the largest first: numbers so small that they lose digits, as of a classifier that is almost certain of
        # everything, would not add up to 1.
        weights = gaps / gaps.max() if gaps.max() > 0 else (~taken).astype(np.float64)
        row = int(rng.choice(len(weights), p=weights / weights.sum()))
