"""The annotation service: gives open images to people and writes each of their answers once, completely or not at all.

It holds nothing that the record does not hold: a server that was killed goes on when it is started again, and several
may serve one record. An answer that was acknowledged is on the disk.
"""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Any

import sqlalchemy as sa

from asal.errors import BusyError, UserError
from asal.labelling.annotators import Annotator
from asal.labelling.class_service import ChangedClasses, class_events, sentences, write_change
from asal.labelling.consensus import OverlapRules
from asal.labelling.decisions import Answer, answer_events, check_answers, check_own, withdrawal_events
from asal.labelling.history import History
from asal.labelling.leases import Assignable, Leases
from asal.runtime.retry import retry
from asal.session.class_changes import ClassChange
from asal.session.classes import ClassList
from asal.session.events import Event, Record
from asal.session.opening import new_classes
from asal.session.state import State, fold

TRIES = 50  # attempts to write an answer while other processes write


@dataclass(frozen=True)
class ImageTask:
    """An image to be answered."""

    image: int
    round: int
    score: float
    synthetic: bool = False
    group: int = 1  # images that are answered together, as those on a line of ADBA's are
    disputed: bool = False
    votes: tuple[tuple[str, int | None], ...] = ()  # by whom and what; shown to adjudicators alone


@dataclass(frozen=True)
class Assignment:
    """What a tab has from now on, and why it gets no more."""

    tasks: list[ImageTask]
    gone: list[int]  # images that it had before and has no longer
    open: int  # images that wait for an answer
    others: int  # of these, the ones that other people have, or that this person has answered


@dataclass(frozen=True)
class AnswerOutcome:
    """The outcome of an answer: answered, skipped, voted, corrected, withdrawn, or repeated (it changed nothing)."""

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
    origin: Mapping[str, Any] = field(default_factory=dict)  # what the first event of a new record says
    check: Callable[[Sequence[str]], object] = list  # refuses classes that the strategy cannot tell apart
    state: State = field(default_factory=State, init=False)
    history: History = field(default_factory=History, init=False)

    def __post_init__(self) -> None:
        self._lock, self._leases = threading.RLock(), Leases(self.record, self.lease, self.clock)
        self.refresh()

    def refresh(self) -> State:
        """Read what others have written, and return the state."""
        with self._lock:
            self._apply(self.record.read(self.state.seq))
            return self.state

    @property
    def class_list(self) -> ClassList:
        """The classes: the record's, or those that it will begin with."""
        return self.state.classes if self.state.classes.names else ClassList.of(self.classes)

    def change_classes(self, who: Annotator, change: ClassChange, key: str) -> ChangedClasses:
        """Add, rename, merge, drop or restore classes. The same key again changes nothing.

        Raises:
            UserError: they do not adjudicate, or the change is not possible.
            BusyError: others were writing all the time, and nothing of this was written. Call again.
        """
        if not who.adjudicates:
            raise UserError(
                f"{who.name} may not change the classes",
                rule="an adjudicator changes the classes",
                hint="ask an adjudicator, or whoever runs the project: asal classes PROJECT",
            )
        key = f"{who.name}: classes {key}"

        def events(state: State) -> list[Event]:
            if key in state.keys:
                return []
            begin = [] if state.opened else [Event("opened", body=self.origin)]
            change_ = class_events(fold(state, begin), change, self.rules, who.name, {"key": key})
            self.check([*fold(state, [*begin, *change_]).classes.numbers])
            return [*begin, *change_] if change_ else []

        with self._lock:
            before, written = write_change(self.refresh, self._append, events)
            settled = sum(event.kind in ("answered", "skipped") for event in written)
            return ChangedClasses(self.class_list, sentences(before, written), settled)

    def add_new_classes(self, project: str) -> None:
        """Write the classes that asal.toml has and the record lacks into the record; see `new_classes`."""
        with self._lock:
            write_change(
                self.refresh, self._append, lambda state: new_classes(self.record.name, state, self.classes, project)
            )

    def _append(self, state: State, events: list[Event]) -> None:
        self._apply(self.record.append(events, after=state.seq))

    def _apply(self, events: Sequence[Event]) -> None:
        self.state = fold(self.state, events)
        self.history.add(events)

    def next(self, who: Annotator, tab: str, n: int, have: Sequence[int] = ()) -> Assignment:
        """Give up to n more images to a tab, and renew its leases of those that it has."""
        answered = 0

        def read(connection: sa.Connection) -> Assignable:
            nonlocal answered
            self._apply(self.record.read_over(connection, self.state.seq))
            assignable, answered = self._assignable(who)
            return assignable

        with self._lock:
            granted = self._leases.grant(who.name, tab, n, have, read)
            tasks = [self.task(image, who) for image in granted.new]
            return Assignment(tasks, granted.gone, len(self.state.waiting), granted.others + answered)

    def _assignable(self, who: Annotator) -> tuple[Assignable, int]:
        """Return what somebody may be given, and how many open images they have answered already.

        An adjudicator gets disputed images first.
        """
        state, rules = self.state, self.rules
        votes = {image: state.votes[image] for image in state.votes.keys() & state.waiting.keys()}
        disputed = {image for image, each in votes.items() if who.adjudicates and rules.disputed(image, each)}
        answered = {image for image, each in votes.items() if who.name in each} - disputed

        def places(image: int) -> int:
            if image not in state.waiting or image in answered:
                return 0
            return rules.places(image, votes.get(image, {}))

        def over(image: int, person: str) -> bool:
            each = votes.get(image, {})
            return image not in state.waiting or (person in each and not rules.disputed(image, each))

        first = [image for image in state.waiting if image in disputed] if disputed else []
        return Assignable(chain(first, state.waiting), places, over), len(answered)

    def task(self, image: int, who: Annotator) -> ImageTask:
        """Return an open image as a task."""
        with self._lock:
            state = self.state
            pick, votes = state.waiting[image], state.votes.get(image, {})
        disputed = self.rules.disputed(image, votes)
        shown = tuple(votes.items()) if disputed and who.adjudicates else ()
        group = state.rounds[pick.round].group
        return ImageTask(image, pick.round, pick.score, image in state.synthetic, group, disputed, shown)

    def disputed(self, who: Annotator) -> tuple[list[ImageTask], int]:
        """Return the disputed images, to adjudicators alone, and how many there are."""
        with self._lock:
            state = self.state
            disputed = [image for image in state.waiting if self.rules.disputed(image, state.votes.get(image, {}))]
            return [self.task(image, who) for image in disputed] if who.adjudicates else [], len(disputed)

    def tell(self, who: Annotator, answers: Iterable[Answer], key: str) -> list[AnswerOutcome]:
        """Write answers, all of them or none; when this returns they are on the disk.

        Args:
            key: of this call: a repeated call gets the same reply and writes nothing.

        Raises:
            UserError: an image was never asked or occurs twice, a label is not a class, or the key was used for other
                answers.
            BusyError: others were writing all the time, and nothing of this was written. Call again.
        """
        return self._write(who, key, list(answers), lambda answer: answer_events(self.state, self.rules, who, answer))

    def correct(self, who: Annotator, answers: Iterable[Answer], key: str) -> list[AnswerOutcome]:
        """Change answers that this person gave, or any if they adjudicate. See `tell`."""

        def events(answer: Answer) -> list[Event]:
            check_own(self.state, who, answer.image)
            return answer_events(self.state, self.rules, who, answer)

        return self._write(who, key, list(answers), events)

    def withdraw(self, who: Annotator, tab: str, image: int, key: str) -> ImageTask:
        """Withdraw one's own answer: the image is open again, and reserved for this tab.

        Raises:
            UserError: it is somebody else's, or others have decided it.
        """
        back = Answer(image, None)
        with self._lock:
            self._write(who, key, [back], lambda _: withdrawal_events(self.state, self.rules, who, image))
            if image not in self.state.waiting:
                raise UserError(
                    f"image {image} was answered again in the meantime",
                    hint="correct it instead",
                )
            # In whatever tab it was answered, it goes to this one.
            only_this = Assignable((), lambda _: 1_000, lambda held, person: (held, person) == (image, who.name))
            self._leases.grant(who.name, tab, 0, [image], lambda _: only_this)
            return self.task(image, who)

    def _write(
        self, who: Annotator, key: str, answers: Sequence[Answer], events: Callable[[Answer], list[Event]]
    ) -> list[AnswerOutcome]:
        """Write events under a key, behind whatever others write in the meantime."""

        def attempt(*, fresh: bool) -> list[AnswerOutcome]:
            with self._lock:
                return self._try_write(who, key, answers, events, fresh=fresh)

        with contextlib.suppress(UserError):  # the state may be old: only an error with a fresh one counts
            return attempt(fresh=False)
        return retry(
            lambda: attempt(fresh=True), tries=TRIES - 1, on=BusyError, pause=lambda *_: random.random() * 0.01
        )

    def _try_write(
        self,
        who: Annotator,
        key: str,
        answers: Sequence[Answer],
        events: Callable[[Answer], list[Event]],
        *,
        fresh: bool,
    ) -> list[AnswerOutcome]:
        """Write events behind those that were read; BusyError if others have written since, so no read comes first."""
        if fresh:
            self.refresh()
        key = f"{who.name}: {key}"  # people cannot use each other's keys
        if (written := self.state.keys.get(key)) is not None:
            return _repeated_reply(written, answers)
        check_answers(answers, self.class_list)
        # That nothing changes is written too: otherwise a delayed copy of the call could undo what others did since.
        parts = [events(each) or [Event("repeated", 0, each.image, each.label, who.name)] for each in answers]
        signed = [replace(event, body={**event.body, "key": key}) for part in parts for event in part]
        self._apply(self.record.append(signed, after=self.state.seq))
        return [AnswerOutcome(each.image, part[-1].kind) for each, part in zip(answers, parts, strict=True)]


def _repeated_reply(written: Sequence[tuple[str, int, int | None]], answers: Sequence[Answer]) -> list[AnswerOutcome]:
    """Return the reply to a call that is repeated, and refuse another call under its key."""
    labels: dict[int, int | None] = {}
    for _, image, label in written:
        labels.setdefault(image, label)  # the first event is the person's own; one that closes the image may follow
    kinds = {image: kind for kind, image, _ in written}
    if labels != {each.image: each.label for each in answers}:
        raise UserError(
            "this key was used for other answers before",
            hint="make a new key for every new answer",
        )
    return [AnswerOutcome(each.image, kinds[each.image]) for each in answers]
