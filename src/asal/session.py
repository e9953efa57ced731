"""Ask and tell: the one stateful coordinator, over a record that outlives it.

Whatever a session knows it has read from its record, and whatever it trains it can train again to the
same end: a process may die between any two lines, and the next one goes on with the same batch.
"""

from __future__ import annotations

import operator
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import metadata
from typing import Any, TypeAlias, cast

import numpy as np

from asal.absent import NO_MODEL, NO_TOOLS
from asal.annex import Joined, encoded
from asal.answers import Answers, checked
from asal.core import (
    Ids,
    Images,
    Labels,
    Learner,
    LineLearner,
    Model,
    Pool,
    Round,
    Scores,
    Selection,
    Toolmaker,
    Tools,
    not_enough,
)
from asal.errors import UserError
from asal.events import FORMAT, NOTHING, Event, Record
from asal.meter import Meter
from asal.rng import stream
from asal.state import State, fold

Chooser: TypeAlias = Callable[[Round, int, np.random.Generator], Selection]  # a strategy with its options bound


def draw(now: Round, n: int, rng: np.random.Generator) -> Selection:
    """Choose n open images, all equally likely: the first batch, unless a plan says otherwise."""
    return Selection(now.candidates.sample(n, rng), np.zeros(n))


@dataclass(frozen=True)
class Plan:
    """What stays the same in every round of a session.

    Args:
        classes: their names; a label is a name's place here.
        learner: trains the classifier, from scratch, each round.
        strategy: chooses a batch, with its options bound; `name` is what the record calls it.
        seed: of every random draw. What a strategy draws never moves what the learner or the first batch draws, so
            that two plans that differ in the strategy alone are paired: the same first batch, the same initial weights.
        first: chooses as long as no classifier can be trained; `first_name` is what the record calls it.
        from_lines: the learner wants to know how made-up images were made, as ADBA's does.
    """

    classes: tuple[str, ...]
    learner: Learner | LineLearner
    strategy: Chooser
    name: str = "custom"
    seed: int = 0
    first: Chooser = draw
    first_name: str = "random"
    from_lines: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "classes", tuple(self.classes))
        if len(self.classes) <= 1 or len(set(self.classes)) < len(self.classes):
            raise UserError(
                "a classifier tells two or more classes apart, each with a name of its own",
                came=f"classes = {list(self.classes)}",
                remedy="name every class once; what belongs to none may be a class too, such as 'other'",
            )


@dataclass(frozen=True, eq=False)
class Batch:
    """The images that wait for an answer, in the order of asking. `state.rounds` holds all that was asked."""

    round: int
    ids: Ids
    scores: Scores
    notes: tuple[Mapping[str, Any], ...]  # where each pick came from, or empty
    closed: Ids  # of the same batch, already answered or skipped

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class _Trained:
    """A classifier, with what it was trained on and the meter that ran meanwhile."""

    state: State
    model: Model
    meter: Meter

    def fits(self, state: State) -> bool:
        """Say whether training again now would give the same classifier."""
        same = self.state.number == state.number and np.array_equal(self.state.labelled, state.labelled)
        return same and np.array_equal(self.state.labels, state.labels)


class Session:
    """Asks for labels and takes them. Safe to share between threads; between processes, the later writer fails.

    >>> from asal.events import Record
    >>> from asal.testing.worlds import toy_world
    >>> world = toy_world()
    >>> session = Session(world.pool, Record.open("sqlite://"), Plan(world.classes, world.learner, draw))
    >>> batch = session.ask(4)
    >>> session.tell(zip(batch.ids, world.truth[batch.ids]), by="Ada")
    0
    >>> len(session.labelled), len(session.ask(2))
    (4, 2)
    """

    def __init__(self, pool: Pool, record: Record, plan: Plan, tools: Toolmaker | None = None) -> None:
        """Go on where the record ends.

        Args:
            pool: the images; the same ones as long as the record lives.
            record: what was asked and answered so far, maybe nothing. Whoever opened it closes it.
            plan: what stays the same in every round.
            tools: hands out what the plan's strategy needs of a project; none for one that needs only the classifier.

        Raises:
            UserError: the record was begun with another pool, other classes or another seed.
            DamageError: the record is not whole any more.
        """
        self.pool, self.record, self.plan = pool, record, plan
        self._tools = tools
        self._state = State()
        self._trained: _Trained | None = None
        self._lock = threading.RLock()
        self.refresh()

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
        """How many of the pool's images nobody has been asked about."""
        asked = (image for group in (self._state.answers, self._state.skips, self._state.waiting) for image in group)
        return len(self.pool) - sum(image < len(self.pool) for image in asked)

    def images(self, ids: Ids) -> Images:
        """Return images (n, h, w, c) by id: the pool's, and those that were made up for this session."""
        return Joined(self.pool, self._state.made).read(ids)

    @property
    def counts(self) -> dict[str, int]:
        """How many images have each label, by class name."""
        numbers = np.bincount(self.labels, minlength=len(self.plan.classes))
        return dict(zip(self.plan.classes, numbers.tolist(), strict=True))

    def refresh(self) -> State:
        """Read what other processes have written since, and return the state."""
        with self._lock:
            state = fold(self._state, self.record.read(self._state.seq))
            _check_origin(self.record.name, state.opened, self._origin())
            self._state = state
            return state

    def model(self) -> Model:
        """Return the classifier, trained on the present labels; the next `ask` uses the same one.

        Raises:
            UserError: fewer than two classes are labelled.
        """
        with self._lock:
            if why := _untrainable(self._state):
                raise UserError("a classifier is trained on two or more classes", came=why, remedy="label more images")
            return self._train().model

    def ask(self, n: int) -> Batch:
        """Return the open batch, or choose a new one of n images where every answer is in.

        As long as one answer is missing, the same batch comes back without what is answered, whatever n is and
        however often the process has been started again. While no classifier can be trained, the plan's `first`
        chooses, and the event says so.

        Raises:
            UserError: n is not 1 … as many as are left.
            BusyError: another process has written to the record; `refresh` and ask again.
        """
        with self._lock:
            if not self._state.waiting:
                self._choose(_checked_n(n, self.left))
            state, last = self._state, self._state.rounds[-1]
            places = list(state.waiting.values())
            closed = np.array([image for image in last.ids if image not in state.waiting], np.int64)
            notes = tuple(state.notes[place] for place in places) if state.notes else ()
            return Batch(last.round, state.open, np.array(last.scores)[places], notes, closed)

    def tell(self, answers: Answers, *, by: str | None = None) -> int:
        """Take answers to the open batch, all of them or none; return how many it still waits for.

        Args:
            answers: id → label, or (id, label) pairs. A label is a class's number or name; None is "can't tell".
            by: who answered.

        Raises:
            UserError: an id that is not in the open batch or comes twice, or a label that is no class.
            BusyError: another process has written to the record; nothing of this was. `refresh` and look again.
        """
        with self._lock:
            state, events = self._state, []
            for image, label in checked(answers, len(self.pool) + len(state.made), self.plan.classes):
                if image not in state.waiting:
                    raise _not_waiting(image, state)
                events.append(Event("skipped" if label is None else "answered", state.number, image, label, by))
            self._write(events)
            return len(self._state.waiting)

    def correct(self, answers: Answers, *, by: str | None = None) -> None:
        """Change answers that were given before, all of them or none. None makes an image "can't tell".

        Raises:
            UserError: an id that has no answer yet or comes twice, or a label that is no class.
            BusyError: another process has written to the record; nothing of this was. `refresh` and look again.
        """
        with self._lock:
            state, events = self._state, []
            for image, label in checked(answers, len(self.pool) + len(state.made), self.plan.classes):
                if image not in state.answers and image not in state.skips:
                    raise UserError(
                        "a correction changes an answer",
                        came=f"image {image} has none",
                        remedy="give the first one with `tell`",
                    )
                events.append(Event("corrected", state.number, image, label, by))
            self._write(events)

    def _choose(self, n: int) -> None:
        state, plan, meter = self._state, self.plan, Meter()
        number, because = state.number, _untrainable(state)
        model = cast(Model, NO_MODEL)
        chooser, name, rng = plan.first, plan.first_name, stream(plan.seed, "initial", *([number] if number else []))
        if not because:
            trained = self._train()
            meter.seconds.update(trained.meter.seconds)  # also where `model` had it trained before
            model, chooser, name, rng = trained.model, plan.strategy, plan.name, stream(plan.seed, "strategy", number)
        pool = Joined(self.pool, state.made)
        tools = cast(Tools, NO_TOOLS) if self._tools is None else self._tools.at(model, meter)
        origins = [made.note for made in state.made.values()]
        now = Round(number, pool, state.labelled, state.labels, model, tools, state.skipped, meter, origins)
        with meter.part("score"):  # whatever a strategy does outside the parts it names
            chosen = _checked_choice(chooser(now, n, rng), n, now, name)
        facts = {"n": n, "strategy": name, "labelled": len(state.answers), "because": because}
        cost = {"seconds": meter.split(), "evaluations": meter.evaluations, "generated": meter.generated}
        picks = {"ids": chosen.ids.tolist(), "scores": chosen.scores.tolist(), "notes": list(chosen.notes)}
        watched = {"index": meter.index} if meter.index else {}
        made = {} if chosen.images is None else {"images": encoded(chosen.images), "group": chosen.group}
        opened = [] if state.opened else [Event("opened", body=self._origin())]
        self._write([*opened, Event("asked", number, body={**facts, **cost, **watched, **picks, **made})])

    def _train(self) -> _Trained:
        state = self._state
        if self._trained is None or not self._trained.fits(state):
            meter = Meter()
            with meter.part("io"):
                images = self.images(state.labelled)
            with meter.part("train"):
                model = self._fitted(images, state)
            self._trained = _Trained(state, model, meter)
        return self._trained

    def _fitted(self, images: Images, state: State) -> Model:
        plan, labels, rng = self.plan, state.labels.copy(), stream(self.plan.seed, "learner", state.number)
        if not plan.from_lines:
            return cast(Learner, plan.learner).fit(images, labels, len(plan.classes), rng)
        origins = [state.made[image].note if image in state.made else NOTHING for image in state.answers]
        return cast(LineLearner, plan.learner).fit_lines(images, labels, origins, len(plan.classes), rng)

    def _write(self, events: list[Event]) -> None:
        if events:
            self._state = fold(self._state, self.record.append(events, after=self._state.seq))

    def _origin(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "asal": _version(),
            "pool": self.pool.fingerprint,
            "images": len(self.pool),
            "classes": list(self.plan.classes),
            "seed": self.plan.seed,
        }


def _version() -> str:
    try:
        return metadata.version("asal")
    except metadata.PackageNotFoundError:  # run from a source tree
        return "unknown"


def _check_origin(name: str, then: Mapping[str, Any] | None, now: Mapping[str, Any]) -> None:
    if then is None:  # nothing was asked yet
        return
    for fact in ("pool", "classes", "seed"):
        if then[fact] != now[fact]:
            raise UserError(
                "a record belongs to one pool, one list of classes and one seed",
                came=f"{name} was begun with {fact} = {then[fact]!r}, and this session has {now[fact]!r}",
                remedy=f"go on with the {fact} it was begun with, or start a new record",
            )


def _untrainable(state: State) -> str | None:
    """Say why no classifier can be trained, or nothing."""
    if not state.answers:
        return "nothing is labelled yet"
    return "only one class is labelled yet" if (state.labels == state.labels[0]).all() else None


def _checked_n(n: int, left: int) -> int:
    try:
        n = operator.index(n)
    except TypeError:
        n = 0
    if n < 1:
        raise UserError(
            "a batch holds a whole number of images, at least one", came=f"n = {n}", remedy="ask for 1 or more"
        )
    if n > left:
        raise not_enough(n, left)
    return n


def _checked_choice(chosen: Selection, n: int, now: Round, name: str) -> Selection:
    """Return what a strategy chose, if it keeps its contract: a label spent on a wrong image is lost."""
    if chosen.images is None:
        good = now.candidates.has(chosen.ids)
    else:
        if chosen.images.dtype != np.uint8 or chosen.images.shape[1:] != now.pool.shape:
            raise UserError(
                f"made-up images are like the pool's, uint8 of (h, w, c) = {now.pool.shape}",
                came=f"'{name}' made {chosen.images.dtype} of {chosen.images.shape[1:]}",
                remedy="mend the strategy: see asal.tensors.to_images",
            )
        good = chosen.ids == len(now.pool) + len(now.origins) + np.arange(len(chosen.ids))
    if len(chosen.ids) != n * chosen.group or not good.all():
        closed = chosen.ids[~good][:5].tolist()
        raise UserError(
            "a strategy chooses as many images as are wanted, of those that are still open",
            came=f"'{name}' chose {len(chosen.ids)} for {n}" + (f", among them the closed {closed}" if closed else ""),
            remedy="mend the strategy: return candidates' ids, not rows",
        )
    return chosen


def _not_waiting(image: int, state: State) -> UserError:
    if image in state.answers or image in state.skips:
        came, remedy = f"image {image} is answered already", f"change its answer with `correct({{{image}: …}})`"
    elif state.waiting:
        came, remedy = f"image {image} is not in the open batch", "answer those of `ask`, which returns the open batch"
    else:
        came, remedy = f"image {image}, while no batch is open", "call `ask` first"
    return UserError("an answer belongs to an image that was asked", came=came, remedy=remedy)
