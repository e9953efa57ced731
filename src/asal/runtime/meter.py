"""What a round cost: seconds by kind of work, and network evaluations on images of the pool and on synthetic ones."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager


class Meter:
    """Counts seconds exclusively: while an inner part runs, the outer one is paused."""

    PARTS = ("train", "generate", "match", "score", "io")

    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self.evaluations = 0  # pool images that went through the classifier
        self.generated = 0  # synthetic images that did, once for every step of a latent optimisation
        self.index: dict[str, float] = {}  # checks of an approximate index against the exact scan, summed over a round
        self._stack: list[str] = []
        self._since = 0.0

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Charge the time inside the block to `name`."""
        self._settle()
        self._stack.append(name)
        try:
            yield
        finally:
            self._settle()
            self._stack.pop()

    def add_check(self, queries: int, *, checked: int, missed: int, probes: int, exact: int, seconds: float) -> None:
        """Add the `asal.core.RecallCheck` of a search of so many queries; of `probes` the largest is kept."""
        sums = {"queries": queries, "checked": checked, "missed": missed, "exact": exact, "seconds": seconds}
        for name, number in sums.items():
            self.index[name] = round(self.index.get(name, 0) + number, 6)
        self.index["probes"] = max(self.index.get("probes", 0), probes)

    def _settle(self) -> None:
        now = time.perf_counter()
        if self._stack:
            self.seconds[self._stack[-1]] += now - self._since
        self._since = now

    def split(self) -> dict[str, float]:
        """Return the seconds of every part, in a fixed order, the unused ones as zero."""
        return {name: round(self.seconds[name], 6) for name in self.PARTS}
