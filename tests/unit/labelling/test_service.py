"""The desk: what it gives and takes, against a plain model of what people agreed to; two desks on one record.

ASAL_EXAMPLES says how many stories the model is told, others each time; without it they are 120 and the same ones.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, assume, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from support.databases import fresh

from asal.errors import BusyError, UserError
from asal.labelling.annotators import Annotator
from asal.labelling.consensus import OverlapRules, majority
from asal.labelling.decisions import Answer
from asal.labelling.leases import STALE
from asal.labelling.service import AnnotationService, AnswerOutcome
from asal.session.events import FORMAT, Event, Record
from asal.session.state import State, fold

ADA, BOB, CAT, JUDGE = Annotator("Ada"), Annotator("Bob"), Annotator("Cat"), Annotator("Judge", "adjudicator")
CLASSES = ("a", "b", "c")
LEASE = 120.0


def asked(number: int, *ids: int, ahead: int = 0) -> Event:
    body = {"n": len(ids), "strategy": "s", "ids": ids, "scores": [0.5] * len(ids), "ahead": ahead}
    return Event("asked", number, body=body)


def begun(where: str | Path, *ids: int) -> Record:
    record = Record.open(where)
    if not record.read():
        record.append([Event("opened", body={"format": FORMAT}), asked(0, *ids)], after=0)
    return record


class Clock:
    now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(params=["sqlite", "postgresql"])
def opener(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[..., AnnotationService]]:
    """Open another desk on one and the same record, with images 1 … 6 asked about."""
    where = tmp_path / "labels.db" if request.param == "sqlite" else fresh(request.getfixturevalue("postgres"))
    opened: list[Record] = []

    def another(**options: Any) -> AnnotationService:
        opened.append(begun(where, *range(1, 7)))
        return AnnotationService(opened[-1], CLASSES, **options)

    yield another
    for record in opened:
        record.close()


def images(given: Any) -> list[int]:
    return [task.image for task in given.tasks]


def test_an_answer_goes_from_the_desk_into_the_record(opener: Callable[..., AnnotationService]) -> None:
    service = opener()
    assert images(service.next(ADA, "t", 2)) == [1, 2]
    done = service.tell(ADA, [Answer(1, 2, 1.5, True), Answer(2, None)], "key-1")
    assert done == [AnswerOutcome(1, "answered"), AnswerOutcome(2, "skipped")]
    one, two = service.record.read()[-2:]
    assert (one.image, one.label, one.by, one.round) == (1, 2, "Ada", 0)
    assert one.body == {"seconds": 1.5, "guess": True, "key": "Ada: key-1"}
    assert two.body == {"key": "Ada: key-1"}


def test_a_call_that_comes_again_is_one_call(opener: Callable[..., AnnotationService]) -> None:
    service, other = opener(), opener()
    done = service.tell(ADA, [Answer(1, 2), Answer(2, 0)], "key-1")
    before = service.record.read()
    for again in (service, other, opener()):
        assert again.tell(ADA, [Answer(1, 2), Answer(2, 0)], "key-1") == done
    assert service.record.read() == before


def test_a_key_of_other_answers_is_refused(opener: Callable[..., AnnotationService]) -> None:
    service = opener()
    service.tell(ADA, [Answer(1, 2), Answer(2, 0)], "key-1")
    before = service.record.read()
    wrong = ([Answer(1, 1), Answer(2, 0)], [Answer(1, 2)], [Answer(1, 2), Answer(2, 0), Answer(3, 0)], [Answer(3, 0)])
    for answers in wrong:
        with pytest.raises(UserError, match="used for other answers"):
            service.tell(ADA, answers, "key-1")
    with pytest.raises(UserError, match="used for other answers"):
        service.withdraw(ADA, "t", 1, "key-1")
    assert service.record.read() == before
    assert service.tell(BOB, [Answer(3, 0)], "key-1") == [AnswerOutcome(3, "answered")], "keys are each person's own"


def test_all_answers_of_a_call_or_none(opener: Callable[..., AnnotationService]) -> None:
    service = opener()
    with pytest.raises(UserError, match="image 99"):
        service.tell(ADA, [Answer(1, 2), Answer(99, 0)], "key-1")
    assert len(service.record.read()) == 2
    assert service.tell(ADA, [Answer(1, 2)], "key-1") == [AnswerOutcome(1, "answered")]


def test_what_another_desk_wrote_is_known_before_anything_is_refused(opener: Callable[..., AnnotationService]) -> None:
    one, two = opener(), opener()
    one.record.append([asked(1, 50, ahead=6)], after=2)
    assert two.tell(ADA, [Answer(50, 1)], "key-1") == [AnswerOutcome(50, "answered")]
    assert one.tell(ADA, [Answer(50, 1)], "key-2") == [AnswerOutcome(50, "repeated")]
    assert one.correct(ADA, [Answer(50, 2)], "key-3") == [AnswerOutcome(50, "corrected")]
    assert two.withdraw(ADA, "t", 50, "key-4").image == 50
    assert 50 in one.refresh().waiting


def test_a_call_that_changed_nothing_changes_nothing_when_it_comes_again_later(
    opener: Callable[..., AnnotationService],
) -> None:
    service = opener()
    service.tell(ADA, [Answer(1, 2)], "one tab")
    said = service.tell(ADA, [Answer(1, 2)], "another tab")
    assert said == [AnswerOutcome(1, "repeated")]
    service.withdraw(ADA, "t", 1, "undo")
    assert opener().tell(ADA, [Answer(1, 2)], "another tab") == said, "its first reply was lost on the way"
    assert 1 in service.refresh().waiting, "what was taken back since stays taken back"
    with pytest.raises(UserError, match="used for other answers"):
        service.tell(ADA, [Answer(1, 0)], "another tab")


def test_what_an_adjudicator_confirms_is_outvoted_no_more(opener: Callable[..., AnnotationService]) -> None:
    service = opener(rules=OverlapRules(overlap=2))
    for who in (ADA, BOB):
        service.tell(who, [Answer(1, 2)], "key-1")
    assert service.tell(JUDGE, [Answer(1, 2)], "key-1") == [AnswerOutcome(1, "corrected")]
    assert service.tell(JUDGE, [Answer(1, 2)], "key-2") == [AnswerOutcome(1, "repeated")], "it is final already"
    for who in (ADA, BOB):
        service.correct(who, [Answer(1, 0)], "key-3")
    assert service.state.answers[1] == 2 and service.state.authors[1] == "Judge"


def test_undo_puts_the_image_before_the_same_tab(opener: Callable[..., AnnotationService]) -> None:
    service = opener()
    assert images(service.next(ADA, "t", 1)) == [1]
    service.tell(ADA, [Answer(1, 2)], "key-1")
    task = service.withdraw(ADA, "t", 1, "key-2")
    assert (task.image, task.round) == (1, 0)
    assert service.withdraw(ADA, "t", 1, "key-2") == task, "the same call again"
    assert images(service.next(BOB, "b", 1)) == [2]
    service.tell(ADA, [Answer(1, 0)], "key-3")
    with pytest.raises(UserError, match="answered again"):
        service.withdraw(ADA, "t", 1, "key-2")


def test_undo_in_another_tab_puts_the_image_there_alone(opener: Callable[..., AnnotationService]) -> None:
    service = opener()
    assert images(service.next(ADA, "one", 1)) == [1]
    service.tell(ADA, [Answer(1, 2)], "key-1")
    service.withdraw(ADA, "two", 1, "key-2")
    assert images(service.next(ADA, "one", 1)) == [2]
    assert service.next(ADA, "two", 0, [1]).gone == []


def test_with_overlap_an_image_is_free_for_the_second_as_soon_as_the_first_has_answered(
    opener: Callable[..., AnnotationService],
) -> None:
    service = opener(rules=OverlapRules(overlap=2))
    assert images(service.next(ADA, "a", 6)) == [1, 2, 3, 4, 5, 6]
    assert images(service.next(BOB, "b", 2)) == [1, 2]
    assert images(service.next(CAT, "c", 1)) == [3]
    service.tell(ADA, [Answer(1, 0)], "key-1")
    assert images(service.next(CAT, "c", 3, [3])) == [4, 5, 6], "Bob has image 1, and it lacks one opinion"
    given = service.next(ADA, "a", 6, [2, 3, 4, 5, 6])
    assert (given.tasks, given.gone, given.open, given.others) == ([], [], 6, 1)


def test_a_dispute_comes_first_for_the_adjudicator_alone(opener: Callable[..., AnnotationService]) -> None:
    service = opener(rules=OverlapRules(overlap=2))
    for who, label in ((ADA, 0), (BOB, 1)):
        service.tell(who, [Answer(4, label)], "key-1")
    (first, second) = service.next(JUDGE, "j", 2).tasks
    assert (first.image, first.disputed, first.votes) == (4, True, (("Ada", 0), ("Bob", 1)))
    assert (second.image, second.disputed, second.votes) == (1, False, ())
    assert service.disputed(ADA) == ([], 1)
    assert [task.image for task in service.disputed(JUDGE)[0]] == [4]
    assert 4 not in images(service.next(CAT, "c", 6)), "it is before the judge"


def test_eight_threads_at_two_desks_answer_each_image_once(opener: Callable[..., AnnotationService]) -> None:
    services = [opener(), opener()]
    services[0].record.append([asked(1, *range(10, 90), ahead=6)], after=2)
    people = [Annotator(f"Person {number}") for number in range(8)]
    barrier = threading.Barrier(len(people))

    def work(number: int) -> list[int]:
        who, service, mine = people[number], services[number % 2], []
        barrier.wait()
        while tasks := service.next(who, "t", 3).tasks:
            for task in tasks:
                done = service.tell(who, [Answer(task.image, number % 3)], f"key-{task.image}")
                assert done == [AnswerOutcome(task.image, "answered")]
                mine.append(task.image)
        return mine

    with ThreadPoolExecutor(len(people)) as threads:
        told = list(threads.map(work, range(len(people))))
    assert sorted(image for mine in told for image in mine) == [*range(1, 7), *range(10, 90)]
    events = services[0].record.read()
    assert {e.image: e.by for e in events if e.by} == {i: f"Person {n}" for n, mine in enumerate(told) for i in mine}
    assert services[0].refresh() == services[1].refresh() == fold(State(), events)


def test_others_who_write_all_the_time_are_told_of(
    opener: Callable[..., AnnotationService], monkeypatch: pytest.MonkeyPatch
) -> None:
    service = opener()
    monkeypatch.setattr("asal.labelling.service.TRIES", 3)
    tries = []

    def busy(*_: object, **__: object) -> Any:
        tries.append(1)
        raise BusyError("two", rule="one", hint="three")

    monkeypatch.setattr(service.record, "append", busy)
    with pytest.raises(BusyError):
        service.tell(ADA, [Answer(1, 0)], "key-1")
    assert len(tries) == 3


def closed_as(state: State, image: int) -> int | str | None:
    return state.answers.get(image, "skipped" if image in state.skips else None)


# A plain model -------------------------------------------------------------------------------------------------------

WHO = st.sampled_from([ADA, BOB, CAT, JUDGE])
LABEL = st.sampled_from([0, 1, 2, None])
IMAGE = st.integers(1, 4)


class Model(RuleBasedStateMachine):
    """Several people at two desks on one record; beside it, what each of them was promised."""

    overlap = 1

    @initialize()
    def begin(self) -> None:
        self.clock, self.rules = Clock(), OverlapRules(self.overlap)
        self.record = begun("sqlite://", 1, 2, 3)
        self.services = [AnnotationService(self.record, CLASSES, self.rules, LEASE, self.clock) for _ in range(2)]
        self.held: dict[tuple[str, int], tuple[str, float, float]] = {}  # (who, image) → tab, renewed, until
        self.said: dict[int, dict[str, int | None]] = {}  # image → what each person's last acknowledged answer is
        self.late: set[int] = set()  # closed images that somebody gave an opinion of behind time
        self.number, self.calls = 0, 0
        self.last: tuple[Any, ...] | None = None

    def teardown(self) -> None:
        if hasattr(self, "record"):
            self.record.close()

    @property
    def state(self) -> State:
        return fold(State(), self.record.read())

    def key(self) -> str:
        self.calls += 1
        return f"key-{self.calls}"

    @rule(seconds=st.sampled_from([1.0, STALE + 1, LEASE + 1]))
    def time_goes_by(self, seconds: float) -> None:
        self.clock.now += seconds

    @rule()
    def more_is_asked(self) -> None:
        assume(self.number == 0)
        self.number = 1
        state = self.state
        self.record.append([asked(1, 4, ahead=len(state.waiting))], after=state.seq)

    @rule(at=st.integers(0, 1), who=WHO, tab=st.sampled_from("xy"), n=st.integers(0, 4), keep=st.booleans())
    def somebody_asks(self, at: int, who: Annotator, tab: str, n: int, keep: bool) -> None:
        now, state = self.clock.now, self.state
        mine = [image for (name, image), (where, _, _) in self.held.items() if name == who.name and where == tab]
        have = mine if keep else []
        given = self.services[at].next(who, tab, n, have)
        new = [task.image for task in given.tasks]
        assert len(new) <= n and len(set(new)) == len(new) and not set(new) & set(have)
        assert given.open == len(state.waiting)
        for image in (*new, *(image for image in have if image not in given.gone)):
            votes = state.votes.get(image, {})
            assert image in state.waiting, "a closed image was given"
            disputed = self.rules.disputed(image, votes)
            assert who.name not in votes or (disputed and who.adjudicates), "somebody was given what they answered"
            others = [
                name
                for (name, held), (_, _, until) in self.held.items()
                if held == image and name != who.name and until > now and (name not in votes or disputed)
            ]
            assert len(others) < self.rules.places(image, votes), f"image {image} is before {others}"
            where, renewed, until = self.held.get((who.name, image), (tab, 0.0, 0.0))
            assert where == tab or renewed <= now - STALE or until <= now, "it is in another tab of theirs"
            self.held[who.name, image] = (tab, now, now + LEASE)
        for task in given.tasks:
            assert not task.votes or (who.adjudicates and task.disputed)

    @rule(at=st.integers(0, 1), who=WHO, answers=st.dictionaries(IMAGE, LABEL, min_size=1, max_size=3))
    def somebody_answers(self, at: int, who: Annotator, answers: dict[int, int | None]) -> None:
        before, key = self.state, self.key()
        given = [Answer(image, label) for image, label in answers.items()]
        known = {*before.waiting, *before.answers, *before.skips}
        if not answers.keys() <= known:
            with pytest.raises(UserError):
                self.services[at].tell(who, given, key)
            assert self.state == before
            return
        done = self.services[at].tell(who, given, key)
        self.last = ("tell", who, given, key, done)
        self.took(who, before, answers, [one.outcome for one in done])

    def took(self, who: Annotator, before: State, answers: dict[int, int | None], outcomes: list[str]) -> None:
        """Check an answer's consequences: they are what was promised, and nothing else has changed."""
        after = self.state
        for (image, label), outcome in zip(answers.items(), outcomes, strict=True):
            closed, open_ = image in after.answers or image in after.skips, image in before.waiting
            self.said.setdefault(image, {})[who.name] = label
            self.held.pop((who.name, image), None)  # whoever has answered has it before them no more
            if closed:  # nobody keeps it, and should it wait again, it is before whoever takes it back
                self.held = {(name, held): lease for (name, held), lease in self.held.items() if held != image}
            if open_ and self.rules.wanted(image) == 1 and not before.votes.get(image):
                assert outcome == ("skipped" if label is None else "answered")
            if outcome in ("answered", "skipped", "corrected"):
                assert closed
            if who.adjudicates and not open_:
                assert after.answers.get(image) == label, "the adjudicator's word"
            if not open_ and not who.adjudicates and before.authors.get(image) != who.name:
                changed = closed_as(after, image) != closed_as(before, image)
                assert not changed or self.settled_it(before, who, image), "a late opinion has outvoted somebody"
                self.late |= set() if who.name in before.votes.get(image, {}) else {image}
        for image in {*before.answers, *before.skips} - answers.keys():
            assert closed_as(after, image) == closed_as(before, image)

    @staticmethod
    def settled_it(before: State, who: Annotator, image: int) -> bool:
        """Say whether a closed image got its label from a majority that includes theirs."""
        votes = before.votes.get(image, {})
        return who.name in votes and before.authors.get(image) in votes and image not in before.final

    @rule(at=st.integers(0, 1))
    def a_call_comes_again(self, at: int) -> None:
        if self.last is not None:
            _, who, given, key, done = self.last
            before = self.state
            assert self.services[at].tell(who, given, key) == done
            assert self.state == before

    @rule(at=st.integers(0, 1), who=WHO, image=IMAGE, label=LABEL)
    def somebody_corrects(self, at: int, who: Annotator, image: int, label: int | None) -> None:
        before, key = self.state, self.key()
        closed, voted = image in before.answers or image in before.skips, who.name in before.votes.get(image, {})
        allowed = voted or (closed and (who.adjudicates or before.authors.get(image) == who.name))
        try:
            (done,) = self.services[at].correct(who, [Answer(image, label)], key)
        except UserError:
            assert not allowed
            assert self.state == before
        else:
            assert allowed
            self.took(who, before, {image: label}, [done.outcome])

    @rule(at=st.integers(0, 1), who=WHO, image=IMAGE, tab=st.sampled_from("xy"))
    def somebody_takes_back(self, at: int, who: Annotator, image: int, tab: str) -> None:
        before = self.state
        closed, votes = image in before.answers or image in before.skips, before.votes.get(image, {})
        try:
            task = self.services[at].withdraw(who, tab, image, self.key())
        except UserError:
            assert self.state == before
            assert not (closed and before.authors.get(image) == who.name), "one's own answer can be taken back"
            return
        after = self.state
        mine = before.authors.get(image) == who.name or self.settled_it(before, who, image)
        assert mine if closed else who.name in votes, "another person's answer was taken back"
        assert task.image == image and image in after.waiting and who.name not in after.votes.get(image, {})
        assert after.votes.get(image, {}) == {name: told for name, told in votes.items() if name != who.name}
        self.held[who.name, image] = (tab, self.clock.now, self.clock.now + LEASE)
        self.late.discard(image)

    @invariant()
    def both_desks_know_what_the_record_says(self) -> None:
        if not hasattr(self, "record"):
            return
        state = self.state
        for service in self.services:
            assert service.refresh() == state
        assert [*state.waiting] == sorted(state.waiting, key=lambda image: state.waiting[image])
        # What people agree on by now is the label, and it stays where they do not. A late opinion changes none.
        for image in state.answers.keys() - self.late:
            agreed = majority(state.votes.get(image, {}))
            if state.authors[image] in state.votes.get(image, {}) and image not in state.final and agreed is not None:
                assert agreed.label == state.answers[image]
        groups = [set(state.answers), set(state.skips), set(state.waiting)]
        assert sum(map(len, groups)) == len(set().union(*groups)) == (4 if self.number else 3)


class ModelOfTwo(Model):
    """The same, where two people are to answer each image."""

    overlap = 2


MANY = os.environ.get("ASAL_EXAMPLES")  # other stories every time, and that many; without it, the same ones
QUIET = settings(
    max_examples=int(MANY or 120),
    stateful_step_count=30,
    deadline=None,
    phases=[Phase.generate],
    derandomize=MANY is None,
    suppress_health_check=list(HealthCheck),
)
TestModel = pytest.mark.slow(Model.TestCase)
TestModel.settings = QUIET
TestModelOfTwo = pytest.mark.slow(ModelOfTwo.TestCase)
TestModelOfTwo.settings = QUIET
