"""The desk: gives open images to people and takes their answers, each of them once and whole.

It holds nothing that the record does not hold: a desk that is killed and opened anew goes on, and several may serve one
record. An answer that was acknowledged is on the disk.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain

import sqlalchemy as sa

from asal.errors import BusyError, UserError
from asal.labelling.annotators import Annotator
from asal.labelling.consensus import OverlapRules
from asal.labelling.decisions import Answer, check_own, distinct, taken_back, told
from asal.labelling.history import History
from asal.labelling.leases import Assignable, Leases
from asal.session.events import Event, Record
from asal.session.state import State, fold

TRIES = 50  # times that an answer is written anew behind what other processes wrote in between


@dataclass(frozen=True)
class ImageTask:
    """An image to be answered."""

    image: int
    round: int
    score: float
    made: bool = False  # it was made up
    group: int = 1  # images that are answered together, as those on a line of ADBA's are
    disputed: bool = False
    opinions: tuple[tuple[str, int | None], ...] = ()  # by whom and what; for those who settle it alone


@dataclass(frozen=True)
class Assignment:
    """What a tab has before it from now on, and why there is no more."""

    tasks: list[ImageTask]
    gone: list[int]  # images that it had, and has no more
    open: int  # images that wait for an answer
    others: int  # of these, the ones that other people have before them, or that this person has answered


@dataclass(frozen=True)
class AnswerOutcome:
    """What became of an answer: answered, skipped, voted, corrected, withdrawn, or repeated (it was so before)."""

    image: int
    outcome: str


@dataclass
class AnnotationService:
    """Serves the people of one record. Safe to share between threads, and beside other processes."""

    record: Record
    classes: Sequence[str]
    rules: OverlapRules = field(default_factory=OverlapRules)
    lease: float = 120.0  # seconds
    clock: Callable[[], float] = time.time
    state: State = field(default_factory=State, init=False)
    timeline: History = field(default_factory=History, init=False)

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

    def next(self, who: Annotator, tab: str, n: int, have: Sequence[int] = ()) -> Assignment:
        """Give up to n images beyond those that a tab has, and renew its hold on these."""
        barred = 0

        def look(connection: sa.Connection) -> Assignable:
            nonlocal barred
            self._take(self.record.read_over(connection, self.state.seq))
            room, barred = self._room(who)
            return room

        with self._lock:
            granted = self._leases.grant(who.name, tab, n, have, look)
            tasks = [self.task(image, who) for image in granted.new]
            return Assignment(tasks, granted.gone, len(self.state.waiting), granted.others + barred)

    def _room(self, who: Annotator) -> tuple[Assignable, int]:
        """Return what somebody may be given, and how many open images they have answered already.

        Disputed images come first for who settles them.
        """
        state, rules = self.state, self.rules
        opinions = {image: state.votes[image] for image in state.votes.keys() & state.waiting.keys()}
        disputed = {image for image, told in opinions.items() if who.adjudicates and rules.disputed(image, told)}
        barred = {image for image, told in opinions.items() if who.name in told} - disputed

        def places(image: int) -> int:
            if image not in state.waiting or image in barred:
                return 0
            return rules.room(image, opinions.get(image, {}))

        def over(image: int, person: str) -> bool:
            told = opinions.get(image, {})
            return image not in state.waiting or (person in told and not rules.disputed(image, told))

        first = [image for image in state.waiting if image in disputed] if disputed else []
        return Assignable(chain(first, state.waiting), places, over), len(barred)

    def task(self, image: int, who: Annotator) -> ImageTask:
        """Return an open image as a task."""
        with self._lock:
            state = self.state
            pick, opinions = state.waiting[image], state.votes.get(image, {})
        disputed = self.rules.disputed(image, opinions)
        told = tuple(opinions.items()) if disputed and who.adjudicates else ()
        group = state.rounds[pick.round].group
        return ImageTask(image, pick.round, pick.score, image in state.made, group, disputed, told)

    def disputed(self, who: Annotator) -> tuple[list[ImageTask], int]:
        """Return what people disagree about, for who settles it, and how many images that are."""
        with self._lock:
            state = self.state
            found = [image for image in state.waiting if self.rules.disputed(image, state.votes.get(image, {}))]
            return [self.task(image, who) for image in found] if who.adjudicates else [], len(found)

    def tell(self, who: Annotator, answers: Iterable[Answer], key: str) -> list[AnswerOutcome]:
        """Take answers, all of them or none; when this returns they are on the disk.

        Args:
            key: of this very call: whenever it comes again, it gets the same reply and nothing is written.

        Raises:
            UserError: an image that nobody asked for or that comes twice, a label that is no class, or a key that came
                with other answers.
            BusyError: others were writing all the time; nothing of this was. Call again.
        """
        given = distinct(list(answers), self.classes)
        return self._written(who, key, given, lambda one: told(self.state, self.rules, who, one))

    def correct(self, who: Annotator, answers: Iterable[Answer], key: str) -> list[AnswerOutcome]:
        """Change answers that this person gave, or any where they adjudicate. See `tell`."""

        def events(one: Answer) -> list[Event]:
            check_own(self.state, who, one.image)
            return told(self.state, self.rules, who, one)

        return self._written(who, key, distinct(list(answers), self.classes), events)

    def withdraw(self, who: Annotator, tab: str, image: int, key: str) -> ImageTask:
        """Take an answer of one's own back: the image waits again, and is before this tab.

        Raises:
            UserError: it is not one's own, or others have settled it.
        """
        back = Answer(image, None)
        with self._lock:
            self._written(who, key, [back], lambda _: taken_back(self.state, self.rules, who, image))
            if image not in self.state.waiting:
                raise UserError(
                    f"image {image} was answered anew meanwhile",
                    rule="what is taken back waits again",
                    hint="correct it instead",
                )
            # Whatever tab it was answered in: it is before this one now.
            here = Assignable((), lambda _: 1_000, lambda held, person: (held, person) == (image, who.name))
            self._leases.grant(who.name, tab, 0, [image], lambda _: here)
            return self.task(image, who)

    def _written(
        self, who: Annotator, key: str, given: Sequence[Answer], events: Callable[[Answer], list[Event]]
    ) -> list[AnswerOutcome]:
        """Write events under a key, behind whatever others write meanwhile."""
        for last in range(TRIES):
            try:
                with self._lock:
                    return self._once(who, key, given, events, fresh=last > 0)
            except BusyError:
                if last == TRIES - 1:
                    raise
            except UserError:
                if last:  # what was known the first time may have been old
                    raise
            if last:
                time.sleep(random.random() * 0.01)
        raise AssertionError

    def _once(
        self, who: Annotator, key: str, given: Sequence[Answer], events: Callable[[Answer], list[Event]], *, fresh: bool
    ) -> list[AnswerOutcome]:
        """Write events behind those that are known. Had others written since, nothing is: so reading on can wait."""
        if fresh:
            self.refresh()
        key = f"{who.name}: {key}"  # nobody answers under another's key
        if (written := self.state.keys.get(key)) is not None:
            return _replied(written, given)
        # Nothing to change is written too: else the same call, late on its way, could change what came in between.
        parts = [events(one) or [Event("repeated", 0, one.image, one.label, who.name)] for one in given]
        signed = [replace(event, body={**event.body, "key": key}) for part in parts for event in part]
        self._take(self.record.append(signed, after=self.state.seq))
        return [AnswerOutcome(one.image, part[-1].kind) for one, part in zip(given, parts, strict=True)]


def _replied(written: Sequence[tuple[str, int, int | None]], given: Sequence[Answer]) -> list[AnswerOutcome]:
    """Return the reply to a call that came before, and refuse another call under its key."""
    labels: dict[int, int | None] = {}
    for _, image, label in written:
        labels.setdefault(image, label)  # the person's own; what it settled comes behind
    kinds = {image: kind for kind, image, _ in written}
    if labels != {one.image: one.label for one in given}:
        raise UserError(
            "it came with other answers before",
            rule="a key belongs to one set of answers",
            hint="make a new key for every new answer",
        )
    return [AnswerOutcome(one.image, kinds[one.image]) for one in given]
