"""The desk: gives open images to people and takes their answers, each of them once and whole.

It holds nothing that the record does not hold: a desk that is killed and opened anew goes on, and several may serve one
record. An answer that was acknowledged is on the disk.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from asal.errors import BusyError, UserError
from asal.events import NOTHING, Event, Record
from asal.labelling.leases import Leases
from asal.labelling.opinions import Opinions, Rules, settled
from asal.labelling.people import Person
from asal.labelling.timeline import Timeline
from asal.state import State, fold

TRIES = 50  # times that an answer is written anew behind what other processes wrote in between
T = TypeVar("T")


@dataclass(frozen=True)
class Answer:
    """One image's. A label of None is "can't tell"."""

    image: int
    label: int | None
    seconds: float | None = None  # how long the person looked
    guess: bool = False  # whether they had looked at the classifier's guess


@dataclass(frozen=True)
class Task:
    """An image to be answered."""

    image: int
    round: int
    score: float
    made: bool = False  # it was made up
    group: int = 1  # images that are answered together, as those on a line of ADBA's are
    disputed: bool = False
    opinions: tuple[tuple[str, int | None], ...] = ()  # by whom and what; for those who settle it alone


@dataclass(frozen=True)
class Given:
    """What a tab has before it from now on, and why there is no more."""

    tasks: list[Task]
    gone: list[int]  # images that it had, and has no more
    open: int  # images that wait for an answer
    others: int  # of these, the ones that other people have before them, or that this person has answered


@dataclass(frozen=True)
class Done:
    """What became of an answer: answered, skipped, voted, corrected, withdrawn, or again (it was so before)."""

    image: int
    outcome: str


@dataclass
class Desk:
    """Serves the people of one record. Safe to share between threads, and beside other processes."""

    record: Record
    classes: Sequence[str]
    rules: Rules = field(default_factory=Rules)
    lease: float = 120.0  # seconds
    clock: Callable[[], float] = time.time
    state: State = field(default_factory=State, init=False)
    timeline: Timeline = field(default_factory=Timeline, init=False)

    def __post_init__(self) -> None:
        self._lock, self._leases = threading.RLock(), Leases(self.record, self.lease, self.clock)
        self.refresh()

    def refresh(self) -> State:
        """Read what others have written, and return the state."""
        with self._lock:
            self._take(self.record.read(self.state.seq))
            return self.state

    def _take(self, events: Sequence[Event]) -> None:
        self.state = fold(self.state, events)
        self.timeline.take(events)

    def next(self, who: Person, tab: str, n: int, have: Sequence[int] = ()) -> Given:
        """Give up to n images beyond those that a tab has, and renew its hold on these."""
        state = self.refresh()
        room = self._room(who, state)
        granted = self._leases.grant(who.name, tab, room, have, n)
        taken = self._leases.others(who.name)
        others = sum(1 for image in state.waiting if image in taken or image not in room)
        return Given([self.task(image, who) for image in granted.new], granted.gone, len(state.waiting), others)

    def _room(self, who: Person, state: State) -> dict[int, int]:
        """Return the open images that somebody may answer, disputed ones first for who settles them."""
        room, first = {}, {}
        for image in state.waiting:
            opinions = state.votes.get(image, {})
            disputed = self.rules.disputed(image, opinions)
            if disputed and who.adjudicates:
                first[image] = 1
            elif who.name not in opinions:
                room[image] = self.rules.room(image, opinions)
        return first | room

    def task(self, image: int, who: Person) -> Task:
        """Return an open image as a task."""
        state = self.state
        pick, opinions = state.waiting[image], state.votes.get(image, {})
        disputed = self.rules.disputed(image, opinions)
        told = tuple(opinions.items()) if disputed and who.adjudicates else ()
        group = state.rounds[pick.round].group
        return Task(image, pick.round, pick.score, image in state.made, group, disputed, told)

    def tell(self, who: Person, answers: Iterable[Answer], key: str) -> list[Done]:
        """Take answers, all of them or none; when this returns they are on the disk.

        Args:
            key: of this very call: when it comes again, it gets the same reply and nothing is written.

        Raises:
            UserError: an image that nobody asked for or that comes twice, a label that is no class, or a key that came
                with other images.
            BusyError: others were writing all the time; nothing of this was. Call again.
        """
        given = _distinct(list(answers), self.classes)
        return self._written(who, key, [one.image for one in given], lambda: [self._told(who, one) for one in given])

    def correct(self, who: Person, answers: Iterable[Answer], key: str) -> list[Done]:
        """Change answers that this person gave, or any where they adjudicate. See `tell`."""
        given = _distinct(list(answers), self.classes)

        def events() -> list[list[Event]]:
            for one in given:
                self._own(who, one.image)
            return [self._told(who, one) for one in given]

        return self._written(who, key, [one.image for one in given], events)

    def withdraw(self, who: Person, tab: str, image: int, key: str) -> Task:
        """Take an answer of one's own back: the image waits again, and is before this tab."""

        def events() -> list[list[Event]]:
            self._own(who, image)
            pick = self.state.pick(image)
            if pick is None:
                raise UserError(
                    "what can be taken back is an answer to an image that was asked",
                    came=f"image {image}, whose label was imported",
                    remedy="correct it instead",
                )
            return [[Event("withdrawn", pick.round, image, None, who.name)]]

        self._written(who, key, [image], events)
        with self._lock:
            if image not in self.state.waiting:
                raise _closed(image)
            self._leases.grant(who.name, tab, {image: 1_000}, [image], 0)
            return self.task(image, who)

    def _own(self, who: Person, image: int) -> None:
        """Refuse to touch what somebody else answered."""
        state = self.state
        closed = image in state.answers or image in state.skips
        voted = who.name in state.votes.get(image, {})
        if not closed and not voted:
            raise UserError("what is changed is an answer", came=f"image {image} has none", remedy="answer it first")
        if not voted and not who.adjudicates and state.authors.get(image) != who.name:
            raise UserError(
                "everybody changes their own answers, and an adjudicator all",
                came=f"image {image}, which somebody else answered",
                remedy="ask an adjudicator",
            )

    def _told(self, who: Person, answer: Answer) -> list[Event]:
        """Return what one answer writes, as things stand."""
        state, image = self.state, answer.image
        body = {"seconds": answer.seconds, "guess": answer.guess or None}
        body = {name: value for name, value in body.items() if value is not None}
        if image in state.answers or image in state.skips:
            return self._afterwards(who, answer, body)
        if image not in state.waiting:
            raise UserError(
                "an answer belongs to an image that was asked",
                came=f"image {image}, which was not",
                remedy="answer those that `next` gives",
            )
        opinions = state.votes.get(image, {})
        number = state.waiting[image].round
        if self.rules.wanted(image) == 1 and not opinions:
            return [_closing(number, answer, who, body)]
        vote = Event("voted", number, image, answer.label, who.name, body)
        opinions = {**opinions, who.name: answer.label}
        final = settled(opinions) if len(opinions) >= self.rules.wanted(image) else None
        if self.rules.disputed(image, state.votes.get(image, {})) and who.adjudicates:
            return [vote, _closing(number, answer, who, {"votes": len(opinions)})]
        if final is None:
            return [vote]
        agreed = Answer(image, final.label)
        return [vote, _closing(number, agreed, who, {"votes": len(opinions)})]

    def _afterwards(self, who: Person, answer: Answer, body: dict[str, Any]) -> list[Event]:
        """Return what an answer to a closed image writes: a correction by whose it is, else one more opinion."""
        state, image = self.state, answer.image
        pick = state.pick(image)
        number, before = pick.round if pick else 0, state.answers.get(image)
        opinions: Opinions = state.votes.get(image, {})
        if who.adjudicates or (state.authors.get(image) == who.name and not opinions):
            same = before == answer.label
            return [] if same else [Event("corrected", state.number, image, answer.label, who.name, body)]
        if opinions.get(who.name, -1) == answer.label:
            return []
        events = [Event("voted", number, image, answer.label, who.name, body)]
        now = settled({**opinions, who.name: answer.label}) if who.name in opinions else None
        if now is not None and now.label != before:
            events.append(Event("corrected", state.number, image, now.label, who.name))
        return events

    def _written(
        self, who: Person, key: str, images: Sequence[int], events: Callable[[], list[list[Event]]]
    ) -> list[Done]:
        """Write events under a key, behind whatever others write meanwhile."""
        key = f"{who.name}: {key}"  # nobody answers under another's key
        for last in range(TRIES):
            with self._lock:
                self.refresh()
                if key in self.state.keys:
                    return _repeated(self.state.keys[key], images)
                parts = events()
                try:
                    signed = [Event(*_signed(event, key)) for part in parts for event in part]
                    self._take(self.record.append(signed, after=self.state.seq))
                except BusyError:
                    if last == TRIES - 1:
                        raise
                else:
                    return [_done(image, part) for image, part in zip(images, parts, strict=True)]
            time.sleep(random.random() * 0.01)
        raise AssertionError


def _distinct(answers: list[Answer], classes: Sequence[str]) -> list[Answer]:
    images = [answer.image for answer in answers]
    if twice := {image for image in images if images.count(image) > 1}:
        raise UserError("an image is answered once", came=f"image {min(twice)} comes twice", remedy="send it once")
    for answer in answers:
        if answer.label is not None and not 0 <= answer.label < len(classes):
            raise UserError(
                f"a label is a class's number, 0 … {len(classes) - 1}, or null",
                came=f"{answer.label} for image {answer.image}",
                remedy='send the number of a class, or null for "can\'t tell"',
            )
    return answers


def _closing(number: int, answer: Answer, who: Person, body: dict[str, Any]) -> Event:
    kind = "skipped" if answer.label is None else "answered"
    return Event(kind, number, answer.image, answer.label, who.name, body)


def _signed(event: Event, key: str) -> tuple[Any, ...]:
    return (event.kind, event.round, event.image, event.label, event.by, {**(event.body or NOTHING), "key": key})


def _done(image: int, events: list[Event]) -> Done:
    if not events:
        return Done(image, "again")
    kinds = [event.kind for event in events]
    return Done(image, kinds[-1])


def _repeated(written: Sequence[tuple[str, int]], images: Sequence[int]) -> list[Done]:
    last = {image: kind for kind, image in written}
    if not set(last) <= set(images):
        raise UserError(
            "a key belongs to one set of answers",
            came=f"it came with image {min(set(last) - set(images))} before",
            remedy="make a new key for every new answer",
        )
    return [Done(image, last.get(image, "again")) for image in images]


def _closed(image: int) -> UserError:
    return UserError(
        "what is taken back waits again", came=f"image {image} was answered anew meanwhile", remedy="correct it instead"
    )
