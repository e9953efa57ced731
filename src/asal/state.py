"""The state of a session: a fold over its events, and nothing else.

>>> asked = Event("asked", body={"n": 2, "strategy": "random", "ids": [8, 3], "scores": [0.0, 0.0]})
>>> state = fold(State(), [asked, Event("answered", image=8, label=1), Event("skipped", image=3)])
>>> state.labelled.tolist(), state.skipped.tolist(), state.open.tolist(), state.number
([8], [3], [], 1)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Any

import numpy as np

from asal.core import Ids, Labels
from asal.errors import DamageError, UserError
from asal.events import FORMAT, NOTHING, READ, Event


@dataclass(frozen=True)
class Asked:
    """What one round asked for, and what choosing it cost."""

    round: int
    ids: tuple[int, ...]
    scores: tuple[float, ...]
    strategy: str
    n: int  # as many as were wanted
    labelled: int = 0  # as many as had a label when it was asked
    because: str | None = None  # why no classifier took part in the choice
    seconds: Mapping[str, float] = field(default_factory=dict, compare=False)  # by part of the work; see asal.meter
    evaluations: int = 0  # pool images that went through the classifier
    generated: int = 0  # made-up images that did, once for every step of a climb
    group: int = 1  # images to one annotation
    index: Mapping[str, float] = field(default_factory=dict, compare=False)  # how an approximate one was watched


@dataclass(frozen=True, slots=True)
class Made:
    """An image that was made up, to be labelled in place of the pool's."""

    picture: str  # a PNG in base64; see asal.annex
    note: Mapping[str, Any]  # how it was made
    cost: float  # annotations that an answer to it, or a "can't tell", is worth: one in each of its group


@dataclass(frozen=True)
class State:
    """What the events say by now. A value: folding more events makes another one."""

    seq: int = 0  # of the last event
    opened: Mapping[str, Any] | None = None
    rounds: tuple[Asked, ...] = ()
    answers: MappingProxyType[int, int] = field(
        default_factory=lambda: NOTHING
    )  # id → label, in the order of answering
    skips: MappingProxyType[int, None] = field(default_factory=lambda: NOTHING)  # ids that nobody could tell, in order
    waiting: MappingProxyType[int, int] = field(
        default_factory=lambda: NOTHING
    )  # open ids → their place in the last round's lists
    notes: tuple[Mapping[str, Any], ...] = ()  # of the last round's ids, or empty
    made: MappingProxyType[int, Made] = field(default_factory=lambda: NOTHING)  # id → what was made up, in order

    @cached_property
    def spent(self) -> int:
        """Annotations so far: one for each answer, one for each group of made-up images, be it told or not.

        A pool image that nobody could tell counts nothing, as in a benchmark whose label is not known.
        """
        real = sum(image not in self.made for image in self.answers)
        closed = (image for image in (*self.answers, *self.skips) if image in self.made)
        return real + round(sum(self.made[image].cost for image in closed))

    @cached_property
    def labelled(self) -> Ids:
        """The labelled ids, in the order of answering."""
        return _array(self.answers)

    @cached_property
    def labels(self) -> Labels:
        """Their labels."""
        return _array(self.answers.values())

    @cached_property
    def skipped(self) -> Ids:
        """The ids that nobody could tell."""
        return _array(self.skips)

    @cached_property
    def open(self) -> Ids:
        """The ids that were asked and still wait for an answer, in the order of asking."""
        return _array(self.waiting)

    @property
    def number(self) -> int:
        """The round under way: the open batch's, or the next one's when none is open."""
        return len(self.rounds) - bool(self.waiting)


def _array(numbers: Iterable[int]) -> Ids:
    array = np.fromiter(numbers, np.int64)
    array.flags.writeable = False
    return array


def fold(state: State, events: Iterable[Event]) -> State:
    """Return the state after these events. Cost: linear in the events plus once the state's size.

    Raises:
        DamageError: an event contradicts those before it, as an answer to what was never asked.
        UserError: a newer asal wrote the record.
    """
    draft = _Draft(state)
    for event in events:
        if event.kind not in APPLY:
            raise _newer(f"event {event.seq} is of the kind '{event.kind}'")
        APPLY[event.kind](draft, event)
        draft.seq = event.seq
    return draft.freeze()


class _Draft:
    """A state that can be written into, so that many events cost one copy."""

    def __init__(self, state: State) -> None:
        self.seq, self.opened, self.notes = state.seq, state.opened, state.notes
        self.rounds = list(state.rounds)
        self.answers, self.skips, self.waiting = state.answers.copy(), state.skips.copy(), state.waiting.copy()
        self.made = state.made.copy()

    def freeze(self) -> State:
        return State(
            self.seq,
            self.opened,
            tuple(self.rounds),
            MappingProxyType(self.answers),
            MappingProxyType(self.skips),
            MappingProxyType(self.waiting),
            self.notes,
            MappingProxyType(self.made),
        )


def _opened(draft: _Draft, event: Event) -> None:
    if draft.opened is not None:
        raise _contradiction(event, "the record was opened before")
    if event.body.get("format") not in READ:
        raise _newer(f"its format is {event.body.get('format')}, not {FORMAT}")
    draft.opened = event.body


def _asked(draft: _Draft, event: Event) -> None:
    try:
        _took_in(draft, event)
    except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        raise _contradiction(event, f"it is not as an 'asked' is written ({error})") from None


def _took_in(draft: _Draft, event: Event) -> None:
    facts = dict(event.body)
    if draft.waiting or event.round != len(draft.rounds):
        raise _contradiction(event, f"it asks in round {event.round} while round {len(draft.rounds)} is due")
    ids, scores, draft.notes = tuple(facts.pop("ids")), tuple(facts.pop("scores")), tuple(facts.pop("notes", ()))
    pictures = facts.pop("images", ())
    asked = Asked(event.round, ids, scores, **facts)
    for image, picture, note in zip(ids, pictures, draft.notes or ({},) * len(pictures), strict=bool(pictures)):
        draft.made[image] = Made(picture, note, 1 / asked.group)
    draft.rounds.append(asked)
    draft.waiting = {image: place for place, image in enumerate(ids)}


def _answered(draft: _Draft, event: Event) -> None:
    if event.image not in draft.waiting or event.label is None:
        raise _contradiction(event, f"image {event.image} was not waiting for the answer {event.label}")
    del draft.waiting[event.image]
    draft.answers[event.image] = event.label


def _skipped(draft: _Draft, event: Event) -> None:
    if event.image not in draft.waiting:
        raise _contradiction(event, f"image {event.image} was not waiting for an answer")
    del draft.waiting[event.image]
    draft.skips[event.image] = None


def _corrected(draft: _Draft, event: Event) -> None:
    if event.image is None or (event.image not in draft.answers and event.image not in draft.skips):
        raise _contradiction(event, f"image {event.image} had no answer to correct")
    if event.label is None:
        draft.answers.pop(event.image, None)
        draft.skips[event.image] = None
    else:
        draft.skips.pop(event.image, None)
        draft.answers[event.image] = event.label  # a dict keeps the place of a key it has


APPLY: Mapping[str, Callable[[_Draft, Event], None]] = {
    "opened": _opened,
    "asked": _asked,
    "answered": _answered,
    "skipped": _skipped,
    "corrected": _corrected,
}


def _contradiction(event: Event, what: str) -> DamageError:
    return DamageError(
        "a record tells one story",
        came=f"event {event.seq} ('{event.kind}') contradicts those before it: {what}",
        remedy="put a copy from before the damage in its place",
    )


def _newer(what: str) -> UserError:
    return UserError(f"this asal reads records of format {FORMAT}", came=what, remedy="use the asal that wrote it")
