"""Classes that change while people label: numbers stay, and every image has the class that a plain model says."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from asal.core import Images, Labels, Model, Round, Selection
from asal.errors import BusyError, DamageError, UserError
from asal.session.class_changes import ClassChange
from asal.session.classes import ClassList
from asal.session.events import Event, Record
from asal.session.plan import draw
from asal.session.session import Session
from asal.session.state import State, fold
from asal.testing.toy_sessions import PLAN, WORLD, again, begin, play
from asal.testing.toys import ToyLearner

PROCESSES = st.integers(0, 1)


@pytest.fixture
def record(tmp_path: Path) -> Iterator[Record]:
    with Record.open(tmp_path / "labels.db") as opened:
        yield opened


def change(session: Session, kind: str, *classes: int | str, to: int | str | None = None, skipped: bool = False) -> Any:
    return session.change_classes(ClassChange(kind, classes, to, skipped), by="Ada")


# What a change does --------------------------------------------------------------------------------------------------


def test_adding_appends_and_renaming_keeps_the_number(record: Record) -> None:
    session = play(begin(record), 1)
    before = session.labels.tolist()
    change(session, "add", "three", "four")
    change(session, "rename", "one", to="uno")
    assert session.classes == {0: "zero", 1: "uno", 2: "two", 3: "three", 4: "four"}
    assert session.labels.tolist() == before
    a, b, c, d = session.ask(4).ids.tolist()
    session.tell({a: "three", b: 4, c: "one", d: "uno"})  # a former name counts as the present one
    assert [session.state.answers[image] for image in (a, b, c, d)] == [3, 4, 1, 1]
    assert session.counts["uno"] == before.count(1) + 2
    assert session.model().predict(session.images(np.arange(2))).shape == (2, 5)


def test_merging_maps_what_was_said_and_what_will_be_and_can_be_taken_back(record: Record) -> None:
    session = play(begin(record), 2)
    said = dict(session.state.answers)
    change(session, "merge", "two", to="zero")
    assert session.classes == {0: "zero", 1: "one"}
    assert dict(session.state.answers) == {image: 0 if label == 2 else label for image, label in said.items()}
    assert session.model().predict(session.images(np.arange(2))).shape == (2, 2)
    a, b = session.ask(2).ids.tolist()
    session.tell({a: "two", b: 0})
    assert (session.state.answers[a], session.state.answers[b]) == (0, 0)
    assert [event.label for event in record.read() if event.image in said] == list(said.values())  # as it was said
    change(session, "restore", "two")
    assert dict(session.state.answers) == {**said, a: 0, b: 0}  # by name `two` was `zero` at that time


def test_a_class_whose_name_another_one_has_by_now_is_not_restored(record: Record) -> None:
    session = play(begin(record), 1)
    change(session, "merge", "two", to="zero")
    change(session, "rename", "one", to="two")
    with pytest.raises(UserError, match="another class called 'two' by now"):
        change(session, "restore", "two")
    change(session, "rename", "two", to="one")
    change(session, "restore", "two")
    assert session.classes == {0: "zero", 1: "one", 2: "two"}


def test_a_class_with_answers_is_dropped_only_with_a_word_on_them(record: Record) -> None:
    session = play(begin(record), 4)
    of_two = {image for image, label in session.state.answers.items() if label == 2}
    with pytest.raises(UserError, match=f"'two' has been answered for {len(of_two)} images") as caught:
        change(session, "drop", "two")
    assert "--to CLASS" in caught.value.hint
    change(session, "drop", "two", skipped=True)
    assert set(session.skipped.tolist()) == of_two and not set(session.labelled.tolist()) & of_two
    (image,) = session.ask(1).ids.tolist()
    assert image not in of_two
    for label in ("two", 2):
        with pytest.raises(UserError, match=r"was dropped|not a label"):
            session.tell({image: label})
    change(session, "add", "two")  # the same class once more, with its number and its answers
    assert session.classes[2] == "two" and of_two <= set(session.labelled.tolist())
    change(session, "drop", "two", to="one")
    assert all(session.state.answers[image] == 1 for image in of_two)


def test_the_classifier_and_the_strategy_see_no_gaps(record: Record) -> None:
    seen: list[tuple[list[int], int, tuple[int, ...]]] = []

    class Watching(ToyLearner):
        def fit(self, images: Images, labels: Labels, classes: int, rng: np.random.Generator) -> Model:
            seen.append((sorted(set(labels.tolist())), classes, ()))
            return super().fit(images, labels, classes, rng)

    def watching(now: Round, n: int, rng: np.random.Generator) -> Selection:
        seen.append((sorted(set(now.labels.tolist())), 0, now.predict(now.candidates.sample(3, rng)).shape))
        return draw(now, n, rng)

    session = play(begin(record, learner=Watching(), strategy=watching), 2)
    change(session, "merge", "one", to="two")  # numbers 0 and 2 are left
    session.ask(3)
    assert session.labels.max() == 2
    assert seen[-2:] == [([0, 1], 2, ()), ([0, 1], 0, (3, 2))]


def test_a_class_added_trains_another_classifier_of_the_same_labels(record: Record) -> None:
    session = play(begin(record), 2)
    assert session.model().predict(session.images(np.arange(1))).shape == (1, 3)
    change(session, "add", "three")
    assert session.model().predict(session.images(np.arange(1))).shape == (1, 4)
    past = session.as_of(session.state.seq - 1)
    assert past.classes == {0: "zero", 1: "one", 2: "two"}
    assert past.model().predict(session.images(np.arange(1))).shape == (1, 3)


@pytest.mark.parametrize(
    ("kind", "classes", "to"),
    [("add", ("zero",), None), ("rename", ("uno",), "uno"), ("rename", ("one",), "uno"), ("merge", ("two",), "zero"),
     ("restore", ("zero",), None)],
)  # fmt: skip
def test_a_change_made_before_writes_nothing(record: Record, kind: str, classes: Any, to: Any) -> None:
    session = play(begin(record), 1)
    change(session, "rename", "one", to="uno")
    change(session, "add", "three")
    change(session, "merge", "two", to="zero")
    before = len(record.read())
    change(session, kind, *classes, to=to)
    assert len(record.read()) == before


@pytest.mark.parametrize(
    ("kind", "classes", "to", "says"),
    [
        ("add", (" ",), None, "no name of a class"),
        ("add", ("a\nb",), None, "no name of a class"),
        ("add", ("two",), None, "'two' was merged into 'zero'"),
        ("rename", ("uno",), "zero", "a class called 'zero' already"),
        ("rename", ("cat",), "dog", "no class is called 'cat'"),
        ("rename", ("one",), "eins", "'one' is 'uno' by now"),
        ("merge", ("uno",), "uno", "into itself"),
        ("merge", ("uno",), "zero", "only 'zero' would be left"),
        ("drop", ("uno",), None, "only 'zero' would be left"),
        ("restore", ("cat",), None, "no merged or dropped class is called 'cat'"),
        ("explode", ("uno",), None, "no change of classes is called 'explode'"),
    ],
)
def test_a_change_that_cannot_be_is_refused(record: Record, kind: str, classes: Any, to: Any, says: str) -> None:
    session = play(begin(record), 1)
    change(session, "rename", "one", to="uno")
    change(session, "merge", "two", to="zero")
    before = record.read()
    with pytest.raises(UserError, match=says):
        change(session, kind, *classes, to=to)
    assert record.read() == before


# Lists in asal.toml --------------------------------------------------------------------------------------------------


def test_a_longer_list_adds_and_an_earlier_one_changes_nothing(record: Record) -> None:
    session = play(begin(record), 1)
    longer = Session(WORLD.pool, record, replace(PLAN, classes=("zero", "one", "two", "three")), WORLD.tools)
    assert longer.classes == {0: "zero", 1: "one", 2: "two", 3: "three"}
    assert begin(record).classes == longer.classes  # the list of a session that began before
    session.refresh()
    assert session.tell({int(image): "three" for image in session.ask(1).ids}) == 0
    assert session.counts["three"] == 1


@pytest.mark.parametrize(
    ("classes", "commands"),
    [
        (("zero", "one"), ["drop 'two'", "merge 'two' INTO"]),
        (("zero", "one", "deux"), ["rename 'two' 'deux'", "drop 'two'"]),
        (("zero", "uno", "two", "three"), ["add 'uno'"]),  # a class had this name: it may be meant, or a new one
    ],
)
def test_a_list_that_may_mean_several_things_is_refused_with_the_commands(
    record: Record, classes: tuple[str, ...], commands: list[str]
) -> None:
    session = play(begin(record), 1)
    change(session, "rename", "one", to="uno")
    change(session, "rename", "uno", to="one")
    before = len(record.read())
    with pytest.raises(UserError, match=r"labels\.db was begun with classes") as caught:
        again(session, classes=classes)
    assert [command for command in commands if f"asal classes PROJECT {command}" not in caught.value.hint] == []
    assert len(record.read()) == before


def test_a_number_that_means_another_class_in_the_callers_list_is_refused(record: Record) -> None:
    """A list with the new class in the middle: 1 would be `three` for whoever wrote it, and is `one` in the record."""
    play(begin(record), 1)
    session = Session(WORLD.pool, record, replace(PLAN, classes=("zero", "three", "one", "two")), WORLD.tools)
    a, b = session.ask(2).ids.tolist()
    with pytest.raises(UserError, match=r"the label 1, for image .*, is 'one' in the record, and 'three'"):
        session.tell({a: 1})
    assert session.tell({a: "three", b: 0}) == 0
    assert (session.state.answers[a], session.state.answers[b]) == (3, 0)


def test_two_processes_that_change_at_once_lose_nothing(tmp_path: Path) -> None:
    one = play(begin(tmp_path / "labels.db"), 1)
    other = again(one)
    change(one, "add", "three")
    with pytest.raises(BusyError):
        change(other, "add", "drei")
    other.refresh()
    change(other, "add", "drei")
    one.refresh()
    assert one.classes == other.classes == {0: "zero", 1: "one", 2: "two", 3: "three", 4: "drei"}


@pytest.mark.parametrize(
    "body",
    [{}, {"change": "exploded"}, {"change": "added", "names": ["a"]}, {"change": "renamed", "class": 7, "name": "x"},
     {"change": "merged", "class": 0, "into": 0}, {"change": "merged", "class": 0}, {"change": "restored", "class": 0},
     {"change": "added", "names": [3]}, {"change": "renamed", "class": 0, "name": ""}],
)  # fmt: skip
def test_an_event_that_is_no_change_of_the_classes_is_damage(body: dict[str, Any]) -> None:
    begun = fold(State(), [Event("opened", body={"format": 4, "classes": ["a", "b"]})])
    with pytest.raises(DamageError, match="contradicts"):
        fold(begun, [Event("classes", body=body)])
    with pytest.raises(DamageError, match="not opened"):
        fold(State(), [Event("classes", body={"change": "added", "names": ["c"]})])


def test_names_are_found_by_what_they_are_and_were() -> None:
    classes = ClassList.of(["cat", "dog"]).after({"change": "renamed", "class": 0, "name": "kitty"})
    classes = classes.after({"change": "added", "names": ["cat"]})
    assert classes.find("cat") == 2  # the present one
    classes = classes.after({"change": "renamed", "class": 2, "name": "lion"})
    with pytest.raises(UserError, match="several classes: 'kitty' and 'lion'"):
        classes.find("cat")
    assert classes.after({"change": "merged", "class": 2, "into": 0}).find("cat") == 0


# Any story -----------------------------------------------------------------------------------------------------------


class Classes:
    """The plain model: names by number, where each went, and what was said of each image."""

    def __init__(self) -> None:
        self.names = list(PLAN.classes)
        self.went: dict[int, int | None] = {}
        self.said: dict[int, int | None] = {}

    @property
    def live(self) -> list[int]:
        return [number for number in range(len(self.names)) if number not in self.went]

    def now(self, number: int | None) -> str | None:
        while number in self.went:
            number = self.went[number]
        return None if number is None else self.names[number]


class AnyStory(RuleBasedStateMachine):
    """Two processes with one record change classes, ask, answer, correct and import; one that never ends keeps pace."""

    @initialize()
    def begin(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        place = Path(self.folder.name) / "labels.db"
        self.sessions, self.uncut = [begin(place), begin(place)], begin("sqlite://")
        self.model, self.new = Classes(), 0
        self.each(lambda session: session.ask(6))

    def each(self, do: Any, process: int = 0) -> None:
        """Do the same in a process and in the session that is never cut."""
        here = self.sessions[process]
        here.refresh()
        done = [do(session) for session in (here, self.uncut)]
        if hasattr(done[0], "ids"):
            assert done[0].ids.tolist() == done[1].ids.tolist()

    @rule(process=PROCESSES)
    def reopen(self, process: int) -> None:
        """A new process begins with the list as it was at first: the record is ahead of it."""
        self.sessions[process].record.close()
        self.sessions[process] = begin(Path(self.folder.name) / "labels.db")

    @rule(n=st.integers(1, 6), process=PROCESSES)
    def ask(self, n: int, process: int) -> None:
        if self.uncut.left or self.uncut.state.waiting:
            self.each(lambda session: session.ask(n), process)

    def label(self, data: st.DataObject) -> tuple[Any, int | None]:
        number = data.draw(st.sampled_from([*self.model.live, None]))
        by_name = number is not None and data.draw(st.booleans())
        return (self.model.names[number] if by_name and number is not None else number), number

    @precondition(lambda self: self.uncut.state.waiting)
    @rule(data=st.data(), process=PROCESSES)
    def tell(self, data: st.DataObject, process: int) -> None:
        some = data.draw(st.lists(st.sampled_from(self.uncut.state.open.tolist()), unique=True, min_size=1))
        given = {image: self.label(data) for image in some}
        self.each(lambda session: session.tell({image: label for image, (label, _) in given.items()}), process)
        self.model.said |= {image: number for image, (_, number) in given.items()}

    @precondition(lambda self: self.model.said)
    @rule(data=st.data(), process=PROCESSES)
    def correct(self, data: st.DataObject, process: int) -> None:
        image = data.draw(st.sampled_from(sorted(self.model.said)))
        label, number = self.label(data)
        self.each(lambda session: session.correct({image: label}), process)
        self.model.said[image] = number

    @rule(data=st.data(), process=PROCESSES)
    def bring_in(self, data: st.DataObject, process: int) -> None:
        free = [image for image in range(40) if image not in self.model.said and image not in self.uncut.state.waiting]
        if free:
            image, number = data.draw(st.sampled_from(free)), data.draw(st.sampled_from(self.model.live))
            event = Event("imported", 0, image, number, "Bob", {"file": "x.csv"})
            self.each(lambda session: session.record.append([event], after=session.state.seq), process)
            self.uncut.refresh()
            self.model.said[image] = number

    @rule(process=PROCESSES)
    def add(self, process: int) -> None:
        self.new += 1
        self.each(lambda session: change(session, "add", f"new {self.new}"), process)
        self.model.names.append(f"new {self.new}")

    @rule(data=st.data(), process=PROCESSES)
    def rename(self, data: st.DataObject, process: int) -> None:
        number, self.new = data.draw(st.sampled_from(self.model.live)), self.new + 1
        who = data.draw(st.sampled_from([number, self.model.names[number]]))
        self.each(lambda session: change(session, "rename", who, to=f"other {self.new}"), process)
        self.model.names[number] = f"other {self.new}"

    @precondition(lambda self: len(self.model.live) > 2)
    @rule(data=st.data(), process=PROCESSES)
    def merge_or_drop(self, data: st.DataObject, process: int) -> None:
        number, into = data.draw(st.lists(st.sampled_from(self.model.live), min_size=2, max_size=2, unique=True))
        kind = data.draw(st.sampled_from(["merge", "drop to", "drop"]))
        if kind == "drop":
            self.each(lambda session: change(session, "drop", number, skipped=True), process)
        else:
            self.each(lambda session: change(session, kind[:5].strip(), number, to=into), process)
        self.model.went[number] = None if kind == "drop" else into

    @precondition(lambda self: self.model.went)
    @rule(data=st.data(), process=PROCESSES)
    def restore(self, data: st.DataObject, process: int) -> None:
        number = data.draw(st.sampled_from(sorted(self.model.went)))
        self.each(lambda session: change(session, "restore", number), process)
        del self.model.went[number]

    @invariant()
    def every_image_has_the_class_that_was_said(self) -> None:
        model = self.model
        wanted = {image: model.now(number) for image, number in model.said.items()}
        for session in (*self.sessions, self.uncut):
            session.refresh()
            named = dict(zip(session.labelled.tolist(), session.labels.tolist(), strict=True))
            assert {image: session.classes[label] for image, label in named.items()} == {
                image: name for image, name in wanted.items() if name is not None
            }
            assert set(session.skipped.tolist()) == {image for image, name in wanted.items() if name is None}
            assert list(session.classes.items()) == [(number, model.names[number]) for number in model.live]
            assert session.counts == {
                model.names[n]: sum(name == model.names[n] for name in wanted.values()) for n in model.live
            }

    def teardown(self) -> None:
        if not hasattr(self, "sessions"):
            return
        events, state = self.sessions[0].record.read(), State()
        for event in events:  # whatever it was cut at, it is one story
            state = fold(state, [event])
        assert state == fold(State(), events)
        for session in self.sessions:
            session.record.close()
        self.folder.cleanup()


TestAnyStory = AnyStory.TestCase
TestAnyStory.settings = settings(max_examples=12, stateful_step_count=20, deadline=None)
