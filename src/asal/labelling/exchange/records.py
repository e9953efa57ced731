"""The labels of a record for other tools: of each image its label, who gave it, when, how, and all votes."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from asal.core import as_ids
from asal.runtime.artifacts import fingerprint
from asal.session.events import NOTHING, Event
from asal.session.state import State, fold

LABELLED, CANT_TELL = "labelled", "can't tell"
COLUMNS = (
    "id", "key", "label", "number", "status", "by", "at", "seconds",
    "round", "strategy", "score", "seen", "votes", "made", "copy_of",
)  # fmt: skip


@dataclass(frozen=True)
class Asking:
    """How an image was asked."""

    round: int | None = None
    strategy: str | None = None
    score: float | None = None
    trained_up_to: int | None = None  # the last event that the classifier which chose it was trained on


@dataclass(frozen=True)
class LabelEntry:
    """One image that has a label, or was answered with "can't tell"."""

    image: int
    label: int | None
    by: str | None
    at: str
    seconds: float | None
    asking: Asking
    votes: Mapping[str, int | None]  # who → class, or None for "can't tell"
    synthetic: bool
    copy_of: int | None = None  # the image that was answered, of which this one is an exact copy


@dataclass(frozen=True)
class Conflict:
    """An image whose votes differ from each other or from its label."""

    image: int
    label: int | None
    kind: str  # DISAGREE or AGAINST
    votes: Mapping[str, int | None]


DISAGREE, AGAINST = "people disagree", "a vote differs from the label"


@dataclass(frozen=True)
class LabelRecords:
    """All labels of a record."""

    state: State
    entries: Sequence[LabelEntry]  # by ids, ascending
    votes: Mapping[int, Mapping[str, int | None]]
    name: str = ""  # see `record_name`

    @property
    def classes(self) -> list[str]:
        """The names of the present classes; a label here is a place in this list, without the gaps of classes gone."""
        return list(self.state.classes.numbers)

    def conflicts(self) -> list[Conflict]:
        """Return the images on which people disagree, answered or still open, and whose label differs from a vote."""
        conflicts = []
        for entry in self.entries:
            labels = set(entry.votes.values())
            if len(labels) > 1:
                conflicts.append(Conflict(entry.image, entry.label, DISAGREE, entry.votes))
            elif labels - {entry.label}:
                conflicts.append(Conflict(entry.image, entry.label, AGAINST, entry.votes))
        votes = {image: self.votes.get(image, NOTHING) for image in sorted(self.state.waiting)}
        return conflicts + [
            Conflict(image, None, DISAGREE, its) for image, its in votes.items() if len({*its.values()}) > 1
        ]


@dataclass
class _Draft:
    asked: dict[int, Asking] = field(default_factory=dict)
    closed: dict[int, Event] = field(default_factory=dict)
    seconds: dict[tuple[int, str | None], float] = field(default_factory=dict)  # by image and person
    answers: defaultdict[int, dict[str, int | None]] = field(default_factory=lambda: defaultdict(dict))


def _asked(draft: _Draft, event: Event) -> None:
    body = event.body
    for image, score in zip(body["ids"], body["scores"], strict=True):
        draft.asked[image] = Asking(event.round, body["strategy"], score, body.get("seen"))


def _closed(draft: _Draft, image: int, event: Event) -> None:
    draft.closed[image] = event
    _voted(draft, image, event)
    if "votes" not in event.body and event.by is not None:  # otherwise it closes an image after several votes
        draft.answers[image][event.by] = event.label


def _voted(draft: _Draft, image: int, event: Event) -> None:
    if "seconds" in event.body:
        draft.seconds[image, event.by] = event.body["seconds"]


def _withdrawn(draft: _Draft, image: int, event: Event) -> None:
    draft.closed.pop(image, None)
    draft.answers[image].pop(event.by or "", None)


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
    """Return the labels of a record, from all its events.

    Raises:
        DamageError: they contradict each other.
        UserError: a newer asal wrote them.
    """
    events = list(events)
    state, draft = fold(State(), events), _Draft()
    for event in events:
        if event.kind == "asked":
            _asked(draft, event)
        elif event.image is not None:
            OF_IMAGE[event.kind](draft, event.image, event)
    voted = (*draft.answers, *state.votes)
    said = {image: {**draft.answers.get(image, {}), **state.raw_votes.get(image, {})} for image in voted}
    places = {number: place for place, number in enumerate(state.classes.live)} if state.classes.hidden else {}
    votes = {
        image: {who: None if label is None else places.get(label, label) for who, label in each.items()}
        for image, each in state.classes.votes(said).items()
    }
    images = sorted((*state.answers, *state.skips))
    entries = [_entry(draft, state, image, votes.get(image, {}), places) for image in images]
    return LabelRecords(state, entries, votes, record_name(events))


def record_name(events: Sequence[Event]) -> str:
    """Return what tells a record from all others, empty for one without events: a hash of its first event."""
    if not events:
        return ""
    first = events[0]
    return fingerprint({"kind": first.kind, "at": first.at, "body": dict(first.body)})


def _entry(
    draft: _Draft, state: State, image: int, votes: Mapping[str, int | None], places: Mapping[int, int]
) -> LabelEntry:
    event, label = draft.closed[image], state.answers.get(image)
    return LabelEntry(
        image,
        label if label is None else places.get(label, label),
        event.by,
        event.at,
        draft.seconds.get((image, event.by)),
        draft.asked.get(image, Asking()),
        votes,
        image in state.synthetic,
    )


def rows(pool: Any, entries: Sequence[LabelEntry], classes: Sequence[str]) -> list[dict[str, Any]]:
    """Return one row of `COLUMNS` for each entry; what is not known is None. `pool` knows the images' keys."""
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
        "round": entry.asking.round,
        "strategy": entry.asking.strategy,
        "score": entry.asking.score,
        "seen": entry.asking.trained_up_to,
        "votes": votes_json(entry.votes, classes) if len(entry.votes) > 1 else None,
        "made": entry.synthetic,
        "copy_of": entry.copy_of,
    }


def votes_json(votes: Mapping[str, int | None], classes: Sequence[str]) -> str:
    """Return votes as a line of JSON: who → the class's name, or null for "can't tell"."""
    named = {who: None if label is None else classes[label] for who, label in sorted(votes.items())}
    return json.dumps(named, ensure_ascii=False)


def keys_of(pool: Any, images: Sequence[int]) -> list[str | None]:
    """Return the keys of these images in the pool; None for synthetic ones."""
    real = [image for image in images if image < len(pool)]
    names = iter(pool.keys(as_ids(real)))
    return [next(names) if image < len(pool) else None for image in images]


def count(n: int, one: str, many: str = "") -> str:
    """Return a number with its noun.

    >>> count(1, "label"), count(2_000, "label"), count(2, "file is", "files are")
    ('1 label', '2,000 labels', '2 files are')
    """
    return f"{n:,} {one if n == 1 else many or one + 's'}"
