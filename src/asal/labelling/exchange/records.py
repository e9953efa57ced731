"""A record read for the outside: of each image its label, who gave it, when, how, and what others said."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from asal.core import as_ids
from asal.session.events import NOTHING, Event
from asal.session.state import State, fold

LABELLED, CANT_TELL = "labelled", "can't tell"
COLUMNS = (
    "id", "key", "label", "number", "status", "by", "at", "seconds",
    "round", "strategy", "score", "seen", "votes", "made",
)  # fmt: skip


@dataclass(frozen=True)
class Asking:
    """How an image came to be asked."""

    round: int | None = None
    strategy: str | None = None
    score: float | None = None
    seen: int | None = None  # the last event that the choosing classifier was trained on: which model it was


@dataclass(frozen=True)
class LabelEntry:
    """One image that has a label, or that nobody could tell."""

    image: int
    label: int | None
    by: str | None
    at: str
    seconds: float | None
    asking: Asking
    opinions: Mapping[str, int | None]  # who → class, or None for "can't tell"
    made: bool


@dataclass(frozen=True)
class Conflict:
    """An image whose label is not the whole story."""

    image: int
    label: int | None
    what: str  # DISAGREE, AGAINST or WAITS
    opinions: Mapping[str, int | None]


DISAGREE, AGAINST, WAITS = "people disagree", "an opinion is against the label", "still waits for an answer"


@dataclass(frozen=True)
class LabelRecords:
    """What a record comes to."""

    state: State
    entries: Sequence[LabelEntry]  # by ids, ascending
    opinions: Mapping[int, Mapping[str, int | None]]

    @property
    def classes(self) -> list[str]:
        """The names that labels count."""
        return list((self.state.opened or {}).get("classes", ()))

    def conflicts(self) -> list[Conflict]:
        """Return the images on which people disagree, whose label somebody is against, and that still wait."""
        found = []
        for entry in self.entries:
            said = set(entry.opinions.values())
            if len(said) > 1:
                found.append(Conflict(entry.image, entry.label, DISAGREE, entry.opinions))
            elif said - {entry.label}:
                found.append(Conflict(entry.image, entry.label, AGAINST, entry.opinions))
        waiting = sorted(self.state.waiting)
        return found + [Conflict(image, None, WAITS, self.opinions.get(image, NOTHING)) for image in waiting]


@dataclass
class _Draft:
    asked: dict[int, Asking] = field(default_factory=dict)
    closed: dict[int, Event] = field(default_factory=dict)
    seconds: dict[tuple[int, str | None], float] = field(default_factory=dict)  # of each person's look at an image
    own: defaultdict[int, dict[str, int | None]] = field(default_factory=lambda: defaultdict(dict))


def _asked(draft: _Draft, event: Event) -> None:
    body = event.body
    for image, score in zip(body["ids"], body["scores"], strict=True):
        draft.asked[image] = Asking(event.round, body["strategy"], score, body.get("seen"))


def _closed(draft: _Draft, image: int, event: Event) -> None:
    draft.closed[image] = event
    _voted(draft, image, event)
    if "votes" not in event.body and event.by is not None:  # else it is no opinion of its own: it settles others
        draft.own[image][event.by] = event.label


def _voted(draft: _Draft, image: int, event: Event) -> None:
    if "seconds" in event.body:
        draft.seconds[image, event.by] = event.body["seconds"]


def _withdrawn(draft: _Draft, image: int, event: Event) -> None:
    draft.closed.pop(image, None)
    draft.own[image].pop(event.by or "", None)


OF_IMAGE: Mapping[str, Callable[[_Draft, int, Event], None]] = {
    "answered": _closed,
    "skipped": _closed,
    "corrected": _closed,
    "imported": _closed,
    "voted": _voted,
    "withdrawn": _withdrawn,
    "repeated": lambda *_: None,
}


def read(events: Iterable[Event]) -> LabelRecords:
    """Return what all events of a record come to.

    Raises:
        DamageError: they contradict one another.
        UserError: a newer asal wrote them.
    """
    events = list(events)
    state, draft = fold(State(), events), _Draft()
    for event in events:
        if event.kind == "asked":
            _asked(draft, event)
        elif event.image is not None:
            OF_IMAGE[event.kind](draft, event.image, event)
    spoken = {image: {**draft.own.get(image, {}), **state.votes.get(image, {})} for image in (*draft.own, *state.votes)}
    images = sorted((*state.answers, *state.skips))
    return LabelRecords(state, [_entry(draft, state, image, spoken.get(image, {})) for image in images], spoken)


def _entry(draft: _Draft, state: State, image: int, opinions: Mapping[str, int | None]) -> LabelEntry:
    event = draft.closed[image]
    return LabelEntry(
        image,
        state.answers.get(image),
        event.by,
        event.at,
        draft.seconds.get((image, event.by)),
        draft.asked.get(image, Asking()),
        opinions,
        image in state.made,
    )


def rows(pool: Any, entries: Sequence[LabelEntry], classes: Sequence[str]) -> list[dict[str, Any]]:
    """Return one row of `COLUMNS` an entry; what is not known is None. `pool` tells what its owner calls each image."""
    keys = keys_of(pool, [entry.image for entry in entries])
    return [_row(entry, key, classes) for entry, key in zip(entries, keys, strict=True)]


def _row(entry: LabelEntry, key: str | None, classes: Sequence[str]) -> dict[str, Any]:
    return {
        "id": entry.image,
        "key": key,
        "label": None if entry.label is None else classes[entry.label],
        "number": entry.label,
        "status": CANT_TELL if entry.label is None else LABELLED,
        "by": entry.by,
        "at": entry.at,
        "seconds": entry.seconds,
        **vars(entry.asking),
        "votes": told(entry.opinions, classes) if len(entry.opinions) > 1 else None,
        "made": entry.made,
    }


def told(opinions: Mapping[str, int | None], classes: Sequence[str]) -> str:
    """Return opinions as a line of JSON: who → the class's name, or null for "can't tell"."""
    named = {who: None if label is None else classes[label] for who, label in sorted(opinions.items())}
    return json.dumps(named, ensure_ascii=False)


def keys_of(pool: Any, images: Sequence[int]) -> list[str | None]:
    """Return what their owner calls these images; None for what was made up."""
    real = [image for image in images if image < len(pool)]
    names = iter(pool.keys(as_ids(real)))
    return [next(names) if image < len(pool) else None for image in images]
