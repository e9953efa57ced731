"""The state of a session: a fold over its events, and nothing else.

>>> asked = Event("asked", body={"n": 2, "strategy": "random", "ids": [8, 3], "scores": [0.0, 0.0]})
>>> state = fold(State(), [asked, Event("answered", image=8, label=1), Event("skipped", image=3)])
>>> state.labelled.tolist(), state.skipped.tolist(), state.open.tolist(), state.number
([8], [3], [], 1)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from asal.core import Ids, Labels
from asal.errors import UserError
from asal.session.classes import ClassList
from asal.session.connection import RecordDamageError
from asal.session.events import FORMAT, NOTHING, READ, Event


@dataclass(frozen=True)
class Asked:
    """What one round asked for, and what choosing it cost."""

    round: int
    ids: tuple[int, ...]
    scores: tuple[float, ...]
    strategy: str
    n: int  # how many were wanted
    labelled: int = 0  # how many had a label when it was asked
    fallback_reason: str | None = None  # why the plan's `first` chose, without a classifier; else None
    seconds: Mapping[str, float] = field(
        default_factory=dict, compare=False
    )  # by part of the work; see asal.runtime.meter
    evaluations: int = 0  # pool images that went through the classifier
    generated: int = 0  # synthetic images that did, once for every step of their optimisation
    group: int = 1  # images to one annotation
    index: Mapping[str, float] = field(default_factory=dict, compare=False)  # recall checks of an approximate one
    trained_up_to: int = 0  # the last event that its classifier was trained on; 0 in old records
    ahead: int = 0  # images of earlier rounds that were open still
    topped: bool = False  # asked by the last classifier once more, because people were faster than training
    trained_in: int | None = None  # the round that its classifier was trained in, where that is an earlier one

    @property
    def classifier(self) -> int:
        """The round that its classifier was trained in, on which the random draws of the training depend."""
        return self.round if self.trained_in is None else self.trained_in


class Pick(NamedTuple):
    """Where an open image stands in what was asked. Picks sort in the order of asking."""

    round: int
    place: int  # in that round's lists
    score: float


@dataclass(frozen=True, slots=True)
class SyntheticImage:
    """A synthetic image, to be labelled in place of one of the pool."""

    picture: str  # a PNG in base64; see asal.session.synthetic_pool
    note: Mapping[str, Any]  # how it was generated
    cost: float  # annotations that an answer to it, or a "can't tell", is worth: one in each of its group


@dataclass(frozen=True)
class State:
    """What the events say by now. A value: folding more events makes another one."""

    seq: int = 0  # of the last event
    opened: Mapping[str, Any] | None = None
    rounds: tuple[Asked, ...] = ()
    classes: ClassList = field(default_factory=ClassList)
    # Mappings keep the order of answering, of asking, of generating. What is raw is what people said; see `answers`.
    raw_answers: MappingProxyType[int, int] = field(default_factory=lambda: NOTHING)  # id → label
    raw_skips: MappingProxyType[int, None] = field(default_factory=lambda: NOTHING)  # ids that nobody could tell
    waiting: MappingProxyType[int, Pick] = field(default_factory=lambda: NOTHING)  # the open ids
    notes: MappingProxyType[int, Mapping[str, Any]] = field(default_factory=lambda: NOTHING)  # of open and recent ids
    synthetic: MappingProxyType[int, SyntheticImage] = field(default_factory=lambda: NOTHING)  # id → image
    authors: MappingProxyType[int, str | None] = field(default_factory=lambda: NOTHING)  # id → whose answer counts
    raw_votes: MappingProxyType[int, Mapping[str, int | None]] = field(default_factory=lambda: NOTHING)  # id → by → …
    final: MappingProxyType[int, None] = field(default_factory=lambda: NOTHING)  # ids that an adjudicator has settled
    # idempotency key → what was written under it: kinds, images and labels
    keys: MappingProxyType[str, tuple[tuple[str, int, int | None], ...]] = field(default_factory=lambda: NOTHING)

    @cached_property
    def answers(self) -> Mapping[int, int]:
        """The labels by ids, in the order of answering; those of a merged class count as the other's."""
        return self.classes.labels(self.raw_answers)

    @cached_property
    def skips(self) -> Mapping[int, None]:
        """The ids that nobody could tell, and those whose class was dropped."""
        if len(self.answers) == len(self.raw_answers):
            return self.raw_skips
        dropped = dict.fromkeys(image for image in self.raw_answers if image not in self.answers)
        return MappingProxyType({**self.raw_skips, **dropped})

    @cached_property
    def votes(self) -> Mapping[int, Mapping[str, int | None]]:
        """The votes on each image, by whom: those for a merged class count as the other's, a dropped one's as None."""
        return self.classes.votes(self.raw_votes)

    @cached_property
    def spent(self) -> int:
        """Annotations so far: one for each answer, one for each group of synthetic images, even if nobody could tell.

        A pool image that nobody could tell does not count, as in a benchmark whose label is not known.
        """
        if not self.synthetic:
            return len(self.answers)
        real = sum(image not in self.synthetic for image in self.answers)
        closed = (image for image in (*self.answers, *self.skips) if image in self.synthetic)
        return real + round(sum(self.synthetic[image].cost for image in closed))

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
    def touched(self) -> Ids:
        """The ids that have an answer or a "can't tell", or wait for one."""
        return np.concatenate([self.labelled, self.skipped, self.open])

    @property
    def number(self) -> int:
        """The round under way: the last one asked while something is open, else the next one."""
        return len(self.rounds) - bool(self.waiting)

    def pick(self, image: int) -> Pick | None:
        """Return where an image stands in what was asked, the last time that it was. Cost: the images asked since."""
        if image in self.waiting:
            return self.waiting[image]
        return _found(self.rounds, image)


def _found(rounds: Sequence[Asked], image: int | None) -> Pick | None:
    for asked in reversed(rounds):
        if image in asked.ids:
            place = asked.ids.index(image)
            return Pick(asked.round, place, asked.scores[place])
    return None


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
            raise _newer(f"event {event.seq} is of the unknown kind '{event.kind}'")
        APPLY[event.kind](draft, event)
        draft.sign(event)
        draft.seq = event.seq
    return draft.freeze()


def check_size(name: str, state: State, images: int) -> None:
    """Refuse a pool that is smaller than the record's, or larger where synthetic images have the next ids.

    Raises:
        UserError: says which, and of which record.
    """
    real = (
        image
        for group in (state.answers, state.skips, state.waiting)
        for image in group
        if image not in state.synthetic
    )
    if (last := max(real, default=-1)) >= images:
        raise UserError(
            f"{name} has labels of image {last:,}, and the pool has {images:,} images",
            rule="a pool keeps its images, because labels belong to their ids",
            hint="restore the project's additions",
        )
    if (first := min(state.synthetic, default=images)) < images:
        raise UserError(
            f"{name} has synthetic images from id {first:,} on, and the pool has {images:,} images by now",
            rule="synthetic images have the ids behind the pool's, so such a pool cannot grow",
            hint="start a new record for the larger pool",
        )


PARTS = ("raw_answers", "raw_skips", "waiting", "notes", "synthetic", "authors", "raw_votes", "final", "keys")


class _Draft:
    """A state that can be written into. What no event touches is not copied, and many events cost one copy."""

    raw_answers: dict[int, int]
    raw_skips: dict[int, None]
    waiting: dict[int, Pick]
    notes: dict[int, Mapping[str, Any]]
    synthetic: dict[int, SyntheticImage]
    authors: dict[int, str | None]
    raw_votes: dict[int, Mapping[str, int | None]]
    final: dict[int, None]
    keys: dict[str, tuple[tuple[str, int, int | None], ...]]

    def __init__(self, state: State) -> None:
        self._state, self.seq, self.opened, self.rounds = state, state.seq, state.opened, list(state.rounds)
        self.classes = state.classes

    def __getattr__(self, part: str) -> Any:  # the first time only: then it is an attribute
        if part not in PARTS:
            raise AttributeError(part)
        copied = getattr(self._state, part).copy()
        setattr(self, part, copied)
        return copied

    def freeze(self) -> State:
        parts = {part: MappingProxyType(self.__dict__[part]) for part in PARTS if part in self.__dict__}
        return replace(
            self._state, seq=self.seq, opened=self.opened, rounds=tuple(self.rounds), classes=self.classes, **parts
        )

    def close(self, event: Event) -> int:
        """Take an image from the open ones."""
        if event.image not in self.waiting:
            raise _contradiction(event, f"image {event.image} was not waiting for an answer")
        del self.waiting[event.image]
        self.authors[event.image] = event.by
        return event.image

    def sign(self, event: Event) -> None:
        """Note under which key something was written, and whether that is the last word."""
        if (key := event.body.get("key")) is not None:
            self.keys[key] = (*self.keys.get(key, ()), (event.kind, int(event.image or 0), event.label))
        if event.image is not None and event.body.get("final"):
            self.final[event.image] = None


def _opened(draft: _Draft, event: Event) -> None:
    if draft.opened is not None:
        raise _contradiction(event, "the record was opened before")
    if event.body.get("format") not in READ:
        raise _newer(f"the record has format {event.body.get('format')}")
    draft.opened = event.body
    draft.classes = replace(ClassList.of(event.body.get("classes", ())), seq=event.seq)


def _classes(draft: _Draft, event: Event) -> None:
    if draft.opened is None:
        raise _contradiction(event, "the record was not opened before")
    try:
        draft.classes = draft.classes.after(event.body, event.seq)
    except (KeyError, TypeError, ValueError) as error:
        raise _contradiction(event, f"it is no change of its classes ({error})") from None


def _asked(draft: _Draft, event: Event) -> None:
    try:
        _add_round(draft, event)
    except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        raise _contradiction(event, f"its body is not that of an 'asked' event ({error})") from None


def _add_round(draft: _Draft, event: Event) -> None:
    facts = dict(event.body)
    if event.round != len(draft.rounds):
        raise _contradiction(event, f"it asks in round {event.round} while round {len(draft.rounds)} is due")
    if facts.get("ahead", 0) != len(draft.waiting):
        raise _contradiction(event, f"it asks while {len(draft.waiting)} images are open")
    ids, scores, notes = tuple(facts.pop("ids")), tuple(facts.pop("scores")), tuple(facts.pop("notes", ()))
    if known := [i for i in ids if i in draft.raw_answers or i in draft.raw_skips or i in draft.waiting]:
        raise _contradiction(event, f"it asks once more for {known[:3]}")
    pictures = facts.pop("images", ())
    renamed = {"because": "fallback_reason", "seen": "trained_up_to"}  # keys on disk → fields
    asked = Asked(event.round, ids, scores, **{renamed.get(key, key): value for key, value in facts.items()})
    for image, picture, note in zip(ids, pictures, notes or ({},) * len(pictures), strict=bool(pictures)):
        draft.synthetic[image] = SyntheticImage(picture, note, 1 / asked.group)
    recent = {*draft.waiting, *(draft.rounds[-1].ids if draft.rounds else ())}
    draft.notes = {image: note for image, note in draft.notes.items() if image in recent}
    if notes:
        draft.notes.update(zip(ids, notes, strict=True))
    draft.rounds.append(asked)
    draft.waiting.update({id_: Pick(event.round, place, scores[place]) for place, id_ in enumerate(ids)})


def _answered(draft: _Draft, event: Event) -> None:
    if event.label is None:
        raise _contradiction(event, "it has no label")
    draft.raw_answers[draft.close(event)] = event.label


def _skipped(draft: _Draft, event: Event) -> None:
    draft.raw_skips[draft.close(event)] = None


def _voted(draft: _Draft, event: Event) -> None:
    image = _known(draft, event)
    draft.raw_votes[image] = {**draft.raw_votes.get(image, {}), event.by or "": event.label}


def _known(draft: _Draft, event: Event) -> int:
    image = event.image
    if image is None or not (image in draft.waiting or image in draft.raw_answers or image in draft.raw_skips):
        raise _contradiction(event, f"nobody was asked about image {image}")
    return image


def _corrected(draft: _Draft, event: Event) -> None:
    if event.image is None or (event.image not in draft.raw_answers and event.image not in draft.raw_skips):
        raise _contradiction(event, f"image {event.image} had no answer to correct")
    if event.label is None:
        draft.raw_answers.pop(event.image, None)
        draft.raw_skips[event.image] = None
    else:
        draft.raw_skips.pop(event.image, None)
        draft.raw_answers[event.image] = event.label  # a dict keeps the place of a key it has
    draft.authors[event.image] = event.by


def _withdrawn(draft: _Draft, event: Event) -> None:
    image, who = event.image, event.by or ""
    votes = dict(draft.raw_votes.get(image, {})) if image is not None else {}
    if image is None or (image in draft.waiting and who not in votes):
        raise _contradiction(event, f"image {image} has no answer of theirs to take back")
    if image not in draft.waiting:
        pick = _found(draft.rounds, image)
        if pick is None or not (image in draft.raw_answers or image in draft.raw_skips):
            raise _contradiction(event, f"image {image} had no answer to take back")
        draft.raw_answers.pop(image, None)
        draft.raw_skips.pop(image, None)
        draft.authors.pop(image, None)
        if image in draft.final:
            del draft.final[image]
        draft.waiting = dict(sorted([*draft.waiting.items(), (image, pick)], key=lambda item: item[1]))
    if who in votes:
        del votes[who]
        draft.raw_votes[image] = votes


def _imported(draft: _Draft, event: Event) -> None:
    image = event.image
    if image is None or event.label is None or draft.opened is None:
        raise _contradiction(event, "a label from elsewhere is one of an image, in a record that is begun")
    if image in draft.raw_answers or image in draft.raw_skips or image in draft.waiting:
        raise _contradiction(event, f"image {image} was asked before")
    draft.raw_answers[image] = event.label
    draft.authors[image] = event.by


APPLY: Mapping[str, Callable[[_Draft, Event], object]] = {
    "opened": _opened,
    "asked": _asked,
    "answered": _answered,
    "skipped": _skipped,
    "corrected": _corrected,
    "voted": _voted,
    "withdrawn": _withdrawn,
    "repeated": _known,
    "imported": _imported,
    "classes": _classes,
}


def _contradiction(event: Event, what: str) -> RecordDamageError:
    return RecordDamageError(
        f"event {event.seq} ('{event.kind}') contradicts those before it: {what}",
        rule="each event of a record follows from those before it",
        hint="restore a copy of the record from before the damage",
    )


def _newer(what: str) -> UserError:
    return UserError(what, rule=f"this asal reads records of format {FORMAT}", hint="use the asal that wrote it")
