"""Who answered what, when, and how long it took: folded from the events, for people to look at."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import islice
from statistics import median

from asal.session.events import Event

KEPT = 2_000  # times of which the median is taken
OPINIONS = ("answered", "skipped", "voted", "corrected")


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
    """Every person's story."""

    def __init__(self) -> None:
        self.stories: dict[str, AnnotatorHistory] = {}
        self.recent: deque[str] = deque(maxlen=50)  # times of the last answers, whoever gave them

    def take(self, events: Iterable[Event]) -> None:
        """Take in what was written since."""
        for event in events:
            if event.by is None or event.image is None:
                continue
            story = self.stories.setdefault(event.by, AnnotatorHistory())
            if event.kind == "withdrawn":
                story.entries.pop(event.image, None)
            elif event.kind in OPINIONS:
                self._opinion(story, event)

    def _opinion(self, story: AnnotatorHistory, event: Event) -> None:
        """Note an answer. What settles several opinions comes behind the vote that did, and is no answer of its own."""
        if event.image is None or (event.body.get("votes") and event.image in story.entries):
            return
        if event.kind != "corrected":
            self.recent.append(event.at)
            story.entries.pop(event.image, None)  # to the end
        story.entries[event.image] = HistoryEntry(event.image, event.label, event.round, event.at, event.seq)
        if isinstance(seconds := event.body.get("seconds"), int | float):
            story.seconds.append(float(seconds))

    def of(self, name: str) -> AnnotatorHistory:
        """Return somebody's story."""
        return self.stories.get(name) or AnnotatorHistory()

    def newest(self, name: str, n: int, before: int | None = None) -> tuple[list[HistoryEntry], bool]:
        """Return up to n answers of somebody's before event number `before`, newest first; are there more?"""
        entries = (it for it in reversed(self.of(name).all()) if before is None or it.seq < before)
        found = list(islice(entries, n + 1))
        return found[:n], len(found) > n
