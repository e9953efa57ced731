"""Who answered what, when, and how long it took: folded from the events, for people to look at."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import islice
from statistics import median

from asal.session.events import Event

KEPT = 2_000  # times of which the median is taken
ANSWERS = ("answered", "skipped", "voted", "corrected")


@dataclass(frozen=True)
class HistoryEntry:
    """An answer of somebody's, as it stands."""

    image: int
    label: int | None
    round: int
    at: str
    seq: int


@dataclass
class AnnotatorHistory:
    """What one person did."""

    entries: dict[int, HistoryEntry] = field(default_factory=dict)  # by image, oldest first
    seconds: deque[float] = field(default_factory=lambda: deque(maxlen=KEPT))

    def all(self) -> list[HistoryEntry]:
        """Return the answers, oldest first: a copy, because others may be answering just now."""
        return list(self.entries.values())

    @property
    def median_seconds(self) -> float | None:
        """How long an answer takes them."""
        return median(list(self.seconds)) if self.seconds else None


class History:
    """What every person did."""

    def __init__(self) -> None:
        self.by_person: dict[str, AnnotatorHistory] = {}
        self.recent: deque[str] = deque(maxlen=50)  # times of the last answers, whoever gave them

    def add(self, events: Iterable[Event]) -> None:
        """Add what was written since."""
        for event in events:
            if event.by is None or event.image is None:
                continue
            history = self.by_person.setdefault(event.by, AnnotatorHistory())
            if event.kind == "withdrawn":
                history.entries.pop(event.image, None)
            elif event.kind in ANSWERS:
                self._answered(history, event)

    def _answered(self, history: AnnotatorHistory, event: Event) -> None:
        """Note an answer. What closes an image after several votes follows the last vote and does not count."""
        if event.image is None or (event.body.get("votes") and event.image in history.entries):
            return
        if event.kind != "corrected":
            self.recent.append(event.at)
            history.entries.pop(event.image, None)  # so that it comes last
        history.entries[event.image] = HistoryEntry(event.image, event.label, event.round, event.at, event.seq)
        if isinstance(seconds := event.body.get("seconds"), int | float):
            history.seconds.append(float(seconds))

    def of(self, name: str) -> AnnotatorHistory:
        """Return what somebody did."""
        return self.by_person.get(name) or AnnotatorHistory()

    def newest(self, name: str, n: int, before: int | None = None) -> tuple[list[HistoryEntry], bool]:
        """Return up to n answers of somebody's before event number `before`, newest first; are there more?"""
        entries = (entry for entry in reversed(self.of(name).all()) if before is None or entry.seq < before)
        newest = list(islice(entries, n + 1))
        return newest[:n], len(newest) > n
