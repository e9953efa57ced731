"""Ask and tell: the one stateful coordinator, over a record that outlives it.

A session knows only what its record says, and trains each classifier again to the same weights: a process may be
killed between any two lines, and the next one continues with the same batch.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, cast

import numpy as np

from asal.core import (
    Ids,
    Images,
    Inputs,
    Labels,
    Model,
    Pool,
    Reader,
    Resources,
    Round,
    Scores,
    ToolProvider,
)
from asal.data.duplicates import NO_COPIES, Copies
from asal.errors import BusyError, UserError
from asal.runtime.meter import Meter
from asal.runtime.retry import retry
from asal.runtime.rng import stream
from asal.session.answers import Answers, checked, not_waiting
from asal.session.class_changes import ClassChange, change_events
from asal.session.classes import ClassList
from asal.session.events import NOTHING, Event, Record, RecordSnapshot
from asal.session.missing import NO_MODEL, NO_TOOLS
from asal.session.opening import check_record, new_classes, opening_body
from asal.session.plan import Plan, checked_choice, checked_n, untrainable
from asal.session.proposals import Meanwhile, Proposal, Trained, fitted
from asal.session.state import Asked, State, fold
from asal.session.synthetic_pool import FeaturesWithSynthetic, PoolWithSynthetic

TRIES = 8  # attempts to add classes while others write


@dataclass(frozen=True, eq=False)
class Batch:
    """The images that wait for an answer, in the order of asking. `state.rounds` holds all that was asked."""

    round: int
    ids: Ids
    scores: Scores
    notes: tuple[Mapping[str, Any], ...]  # how each image was chosen, or empty
    answered: Ids  # of the same batch, already answered or skipped
    asked: Asked  # all that the record says of it

    def __len__(self) -> int:
        return len(self.ids)


class Session:
    """Asks for labels and takes them. Safe to share between threads; between processes, the later writer fails.

    >>> from asal.session.events import Record
    >>> from asal.session.plan import draw
    >>> from asal.testing.toys import toy_world
    >>> world = toy_world()
    >>> session = Session(world.pool, Record.open("sqlite://"), Plan(world.classes, world.learner, draw))
    >>> batch = session.ask(4)
    >>> session.tell(zip(batch.ids, world.truth[batch.ids]), by="Ada")
    0
    >>> len(session.labelled), len(session.ask(2))
    (4, 2)
    """

    def __init__(
        self,
        pool: Pool,
        record: Record,
        plan: Plan,
        tools: ToolProvider | None = None,
        project: str = "PROJECT",
        *,
        copies: Copies = NO_COPIES,
    ) -> None:
        """Continue where the record ends. Classes that the plan has and the record lacks are added to the record.

        Args:
            pool: the images; the same ones as long as the record lives.
            record: what was asked and answered so far. The caller closes it.
            plan: what stays the same in every round.
            tools: hands out what the plan's strategy needs of a project; none for one that needs only the classifier.
            project: the project's folder, as messages name it.
            copies: exact copies among the pool's images: one of each group is asked about.

        Raises:
            UserError: the record was begun with another pool or seed, or has a class that the plan lacks.
            DamageError: the record is damaged.
        """
        self.pool, self.record, self.plan = pool, record, plan
        self._tools, self.copies = tools, copies
        self._state = State()
        self.trained: Trained | None = None  # the newest classifier
        self._lock = threading.RLock()
        self.refresh()
        if isinstance(record, Record):  # what is past stays as it was
            missing = partial(new_classes, record.name, wanted=plan.classes, project=project)
            retry(lambda: self._write(missing(state=self.refresh())), tries=TRIES, on=BusyError, pause=0.01)

    @property
    def state(self) -> State:
        """All that the record says: a value, which later answers do not change."""
        return self._state

    @property
    def labelled(self) -> Ids:
        """The labelled ids, in the order of answering."""
        return self._state.labelled

    @property
    def labels(self) -> Labels:
        """Their labels."""
        return self._state.labels

    @property
    def skipped(self) -> Ids:
        """The ids that nobody could tell: never asked again, never trained on."""
        return self._state.skipped

    @property
    def left(self) -> int:
        """How many of the pool's images can still be asked about; exact copies of one image count as one."""
        return self.copies.left(len(self.pool), self._state.touched)

    def images(self, ids: Ids) -> Images:
        """Return images (n, h, w, c) by id: the pool's, and the synthetic ones of this session."""
        return self._with_synthetic.read(ids)

    def inputs(self, ids: Ids) -> Inputs:
        """Return what the classifier reads, by id: pictures, or features that are stored of them."""
        return self._reader.read(ids)

    @property
    def _with_synthetic(self) -> PoolWithSynthetic:
        return PoolWithSynthetic(self.pool, self._state.synthetic)

    @property
    def _reader(self) -> Reader:
        pool, features = self._with_synthetic, self.plan.features
        return pool if features is None else FeaturesWithSynthetic(pool, features)

    @property
    def class_list(self) -> ClassList:
        """The classes: those of the record, or of the plan where the record is not begun."""
        return self._state.classes if self._state.opened else ClassList.of(self.plan.classes)

    @property
    def classes(self) -> dict[int, str]:
        """The classes that can be chosen: number → name. Numbers of classes that are gone are left out."""
        return self.class_list.live

    @property
    def counts(self) -> dict[str, int]:
        """How many images have each label, by class name."""
        numbers = np.bincount(self.labels, minlength=len(self.class_list.names))
        return {name: int(numbers[number]) for number, name in self.classes.items()}

    def refresh(self) -> State:
        """Read what other processes have written since, and return the state."""
        with self._lock:
            state = fold(self._state, self.record.read(self._state.seq))
            check_record(self.record.name, state, self.pool, self.plan.seed)
            self._state = state
            return state

    def model(self, number: int | None = None) -> Model:
        """Return the classifier, trained on the present labels; the next `ask` uses the same one.

        Args:
            number: the round that it is trained in, on which its random draws depend; by default the present one.

        Raises:
            UserError: fewer than two classes are labelled.
        """
        with self._lock:
            if why := untrainable(self._state):
                raise UserError(why, rule="a classifier is trained on two or more classes", hint="label more images")
            return self._train(self._state.number if number is None else number).model

    def as_of(self, seq: int) -> Session:
        """Return the session as it was after event number `seq`; it trains the classifiers of that time."""
        past = Session(
            self.pool, cast(Record, RecordSnapshot(self.record, seq)), self.plan, self._tools, copies=self.copies
        )
        past.trained = self.trained
        past._state = replace(past._state, synthetic=self._state.synthetic)  # later ones can be read
        return past

    def batch_of(self, number: int) -> Batch:
        """Return the batch of a round, as it was before any of its answers."""
        asked = self._state.rounds[number]
        ids, notes = np.array(asked.ids, np.int64), [self._state.notes.get(image, NOTHING) for image in asked.ids]
        return Batch(number, ids, np.array(asked.scores), tuple(notes) if any(notes) else (), ids[:0], asked)

    def ask(self, n: int) -> Batch:
        """Return the open batch, or choose a new one of n images where every answer is in: of all, if fewer are left.

        As long as one answer is missing, the same batch is returned without what is answered, whatever n is, also in
        a new process. While no classifier can be trained, the plan's `first` chooses, and the event says so.

        Raises:
            UserError: n is less than 1, or no image of the pool is left.
            BusyError: another process has written to the record; `refresh` and ask again.
        """
        with self._lock:
            if not self._state.waiting:
                self._choose(self.propose(n))
            return self._batch()

    def ask_ahead(self, n: int, *, topped: bool = False, meanwhile: Meanwhile | None = None) -> Batch:
        """Choose n more images, or all that are left, while others are still open; return all that are open.

        The classifier is trained on the answers that there are. The record says how many images were open (`ahead`) and
        the last event that the classifier was trained on (`seen`). Answers that are given meanwhile are kept.

        Args:
            topped: ask with the classifier that was trained last, as it is, which takes no training.
            meanwhile: choose without a classifier, although one could be trained; the record says why.

        Raises:
            UserError: n is less than 1, or no image of the pool is left.
            BusyError: another process has asked meanwhile, or answered an image that was chosen here; `refresh` first.
        """
        with self._lock:
            self._choose(self.propose(n, topped=topped, meanwhile=meanwhile), ahead=True)
            return self._batch()

    def _batch(self) -> Batch:
        state, last = self._state, self._state.rounds[-1]
        scores = np.array([pick.score for pick in state.waiting.values()])
        answered = np.array([image for image in last.ids if image not in state.waiting], np.int64)
        notes = tuple(state.notes.get(image, NOTHING) for image in state.waiting)
        return Batch(last.round, state.open, scores, notes if any(notes) else (), answered, last)

    def tell(self, answers: Answers, *, by: str | None = None) -> int:
        """Take answers to the open batch, all of them or none; return how many it still waits for.

        Args:
            answers: id → label, or (id, label) pairs. A label is a class's number or name; None is "can't tell".
            by: who answered.

        Raises:
            UserError: an id that is not in the open batch or comes twice, or a label that is no class.
            BusyError: another process has written to the record; nothing of this was. `refresh` and try again.
        """
        with self._lock:
            state, events = self._state, []
            for image, label in self._checked(answers):
                if image not in state.waiting:
                    raise not_waiting(image, state)
                kind, asked = "skipped" if label is None else "answered", state.waiting[image].round
                events.append(Event(kind, asked, image, label, by))
            self._write(events)
            return len(self._state.waiting)

    def correct(self, answers: Answers, *, by: str | None = None) -> None:
        """Change answers that were given before, all of them or none. None makes an image "can't tell".

        Raises:
            UserError: an id that has no answer yet or comes twice, or a label that is no class.
            BusyError: another process has written to the record; nothing of this was. `refresh` and try again.
        """
        with self._lock:
            state, events = self._state, []
            for image, label in self._checked(answers):
                if image not in state.answers and image not in state.skips:
                    raise UserError(
                        f"image {image} has no answer to correct",
                        hint="give the first one with `tell`",
                    )
                events.append(Event("corrected", state.number, image, label, by))
            self._write(events)

    def _checked(self, answers: Answers) -> list[tuple[int, int | None]]:
        images = len(self.pool) + len(self._state.synthetic)
        return checked(answers, images, self.class_list, self.plan.classes)

    def change_classes(self, change: ClassChange, *, by: str | None = None) -> ClassList:
        """Add, rename, merge, drop or restore classes; the next batch is chosen by a classifier of the new ones.

        Raises:
            UserError: the change is not possible; see `asal.session.class_changes.change_events`.
            BusyError: another process has written to the record; nothing of this was. `refresh` and try again.
        """
        with self._lock:
            self._write(self.opening())
            self._write(change_events(self._state, change, by))
            return self.class_list

    def propose(self, n: int, *, topped: bool = False, meanwhile: Meanwhile | None = None) -> Proposal:
        """Choose n images, and ask nothing yet; `ask_proposed` asks them, also in a later state of the session.

        Args:
            topped: choose with the classifier that was trained last, as it is, which takes no training.
            meanwhile: choose without a classifier, although one could be trained.

        Raises:
            UserError: n is less than 1, or no image of the pool is left.
        """
        with self._lock:
            return self._propose(checked_n(n, self.left), topped, meanwhile)

    def ask_proposed(self, proposal: Proposal, most: int) -> Batch:
        """Ask what is left of a proposal, at most so many annotations, and return all that are open.

        Images that others have been asked about meanwhile are left out. The record says in which round the classifier
        was trained (`trained_in`), where that is an earlier one.

        Raises:
            BusyError: nothing is left of it, or another process was writing all the time.
        """

        def attempt() -> None:
            state = self.refresh()
            left = proposal.open_in(state, self._copies_of_touched(state), most)
            self.trained = left.trained or self.trained
            self._ask(left, len(state.rounds))

        with self._lock:
            retry(attempt, tries=TRIES, on=BusyError, pause=0.01)
            return self._batch()

    def _propose(self, n: int, topped: bool, meanwhile: Meanwhile | None) -> Proposal:
        state, plan, meter = self._state, self.plan, Meter()
        number, reason, trained = len(state.rounds), untrainable(state), self.trained
        model = cast(Model, NO_MODEL)
        chooser, name, rng = plan.first, plan.first_name, stream(plan.seed, "initial", *([number] if number else []))
        if meanwhile is not None:
            reason, chooser, name = meanwhile.reason, meanwhile.chooser, meanwhile.name
        if reason:
            trained = None
        else:
            topped = topped and trained is not None
            if trained is None or not topped:
                trained = self._train(number)
                meter.seconds.update(trained.meter.seconds)  # also where `model` had it trained before
            model, chooser, name, rng = trained.model, plan.strategy, plan.name, stream(plan.seed, "strategy", number)
        tools = cast(Resources, NO_TOOLS) if self._tools is None else self._tools.at(model, meter)
        origins = [image.note for image in state.synthetic.values()]
        excluded = np.concatenate([state.skipped, state.open, self._copies_of_touched(state)])  # open: asked ahead
        labels = self.class_list.column_labels(state.labels)
        pool, reader = self._with_synthetic, self._reader
        now = Round(number, pool, state.labelled, labels, model, tools, excluded, meter, origins, reader)
        with meter.part("score"):  # whatever a strategy does outside the parts it names
            chosen = checked_choice(chooser(now, n, rng), n, now, name)
        trained_up_to = state.seq if trained is None else trained.state.seq
        facts = {"n": n, "strategy": name, "labelled": len(state.answers), "because": reason, "seen": trained_up_to}
        facts |= {"topped": True} if topped and not reason else {}
        return Proposal(number, len(state.synthetic), chosen, facts, meter, trained)

    def _copies_of_touched(self, state: State) -> Ids:
        touched = state.touched
        return self.copies.excluded(touched[touched < len(self.pool)])

    def _choose(self, proposal: Proposal, *, ahead: bool = False) -> None:
        """Append a choice to the record, after whatever others have answered meanwhile."""
        while True:
            try:
                self._ask(proposal, proposal.number)
                return
            except BusyError:
                if not ahead or not proposal.is_current(self.refresh()):
                    raise

    def _ask(self, proposal: Proposal, number: int) -> None:
        late = {"ahead": len(self._state.waiting)} if self._state.waiting else {}
        self._write([*self.opening(), Event("asked", number, body=proposal.body(number) | late)])

    def opening(self) -> list[Event]:
        """Return the first event of a record, or nothing where the record has it already."""
        body = opening_body(self.pool, self.plan.classes, self.plan.seed)
        return [] if self._state.opened else [Event("opened", body=body)]

    def _train(self, number: int) -> Trained:
        state = self._state
        if self.trained is None or not self.trained.fits(state, number):
            meter = Meter()
            with meter.part("io"):
                inputs = self.inputs(state.labelled)
            with meter.part("train"):
                model = fitted(self.plan, state, self.class_list, inputs, number)
            self.trained = Trained(state, number, model, meter)
        return self.trained

    def _write(self, events: list[Event]) -> None:
        if events:
            self._state = fold(self._state, self.record.append(events, after=self._state.seq))
