"""Ask and tell: what is asked, what is taken, and what is refused."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from asal.core import Images, Labels, Model, Round, Selection
from asal.errors import BusyError, UserError
from asal.session.events import Record
from asal.session.plan import draw
from asal.session.session import Session
from asal.testing.toy_sessions import PLAN, WORLD, again, begin, play, unsure
from asal.testing.toys import ToyLearner, toy_world


@pytest.fixture
def record(tmp_path: Path) -> Iterator[Record]:
    with Record.open(tmp_path / "labels.db") as opened:
        yield opened


# Rounds -------------------------------------------------------------------------------------------------------------


def test_rounds_ask_what_was_never_asked_until_the_pool_is_exhausted(record: Record) -> None:
    session = play(begin(record), 8)
    assert sorted(session.labelled.tolist()) == list(range(40))
    assert (session.labels == WORLD.truth[session.labelled]).all()
    assert session.left == 0
    assert session.counts == {"zero": 14, "one": 13, "two": 13}
    with pytest.raises(UserError, match="no images are left"):
        session.ask(1)


def test_the_first_batch_is_random_and_says_so_and_then_the_strategy_chooses(record: Record) -> None:
    session = play(begin(record), 3)
    first, second, third = session.state.rounds
    assert (first.strategy, first.fallback_reason) == ("random", "nothing is labelled yet")
    assert (first.evaluations, first.seconds["train"]) == (0, 0)
    for asked in (second, third):
        assert (asked.strategy, asked.fallback_reason, asked.evaluations) == ("unsure", None, 12)
        assert asked.seconds["train"] > 0
        assert asked.seconds["io"] > 0
    assert [asked.labelled for asked in session.state.rounds] == [0, 5, 10]


def test_while_one_class_is_labelled_batches_stay_random(record: Record) -> None:
    session = begin(record)
    session.tell(dict.fromkeys(session.ask(3).ids, None))
    for because in ("nothing is labelled yet", "only one class is labelled yet"):
        session.tell(dict.fromkeys(session.ask(3).ids, "two"))
        assert session.state.rounds[-1].fallback_reason == because
        with pytest.raises(UserError, match="two or more classes"):
            session.model()
    session.tell(WORLD.answers(session.ask(6).ids))
    session.ask(3)
    assert [asked.strategy for asked in session.state.rounds] == ["random"] * 4 + ["unsure"]


def test_plans_that_differ_in_the_strategy_alone_are_paired(tmp_path: Path) -> None:
    images, paired = WORLD.pool.read(np.arange(40)), []
    for strategy in (unsure, draw):
        session = begin(tmp_path / f"{strategy.__name__}.db", strategy=strategy, name=strategy.__name__)
        play(session, 1)
        paired.append((session.state.rounds[0], session.model().predict(images).tolist()))
    assert paired[0] == paired[1]


def test_another_seed_asks_for_others(tmp_path: Path) -> None:
    def ids(seed: int) -> list[int]:
        with Record.open(tmp_path / f"{seed}.db") as record:
            return begin(record, seed=seed).ask(10).ids.tolist()

    assert ids(1) != ids(2)


def test_a_first_strategy_may_be_given_but_gets_no_classifier(record: Record) -> None:
    def lowest(now: Round, n: int, rng: np.random.Generator) -> Selection:
        return Selection(np.arange(n), np.zeros(n))

    with pytest.raises(UserError, match="without a classifier"):
        begin(record, first=unsure).ask(4)
    session = begin(record, first=lowest, first_name="lowest")
    assert session.ask(4).ids.tolist() == [0, 1, 2, 3]
    assert session.state.rounds[0].strategy == "lowest"


# The open batch -----------------------------------------------------------------------------------------------------


def test_the_same_batch_comes_back_until_it_is_answered(record: Record) -> None:
    session = play(begin(record), 1)
    batch = session.ask(5)
    assert len(record.read()) == 1 + 1 + 5 + 1
    for n in (5, 1, 99, 0):
        for other in (session, again(session)):
            same = other.ask(n)
            assert (same.round, same.ids.tolist(), same.notes) == (1, batch.ids.tolist(), batch.notes)
            assert same.scores.tolist() == batch.scores.tolist()
    a, b, c, d, e = batch.ids.tolist()
    assert session.tell({d: 0, b: None}) == 3
    rest = session.ask(5)
    assert rest.ids.tolist() == [a, c, e]
    assert rest.answered.tolist() == [b, d]
    assert rest.scores.tolist() == batch.scores[[0, 2, 4]].tolist()
    assert rest.notes == (batch.notes[0], batch.notes[2], batch.notes[4])
    assert session.tell({a: 0, c: 0, e: 0}) == 0
    assert session.ask(2).round == 2
    assert b not in session.labelled
    assert session.skipped.tolist() == [b]


def test_what_is_skipped_is_never_asked_again_nor_trained_on(record: Record) -> None:
    session = begin(record)
    for _ in range(8):
        ids = session.ask(5).ids.tolist()
        session.tell({**WORLD.answers(ids), ids[0]: None})
    assert len(session.skipped) == 8
    assert not np.isin(session.skipped, session.labelled).any()
    assert session.left == 0


def test_labels_are_numbers_or_names_of_any_integer_kind(record: Record) -> None:
    session = begin(record)
    a, b, c = session.ask(3).ids
    assert session.tell([(a, np.int8(2)), (int(b), "one"), (c, None)], by="Ada") == 0
    assert dict(session.state.answers) == {a: 2, b: 1}
    assert [event.by for event in record.read()[-3:]] == ["Ada"] * 3


def test_corrections_change_labels_in_place_and_the_classifier_with_them(record: Record) -> None:
    session = play(begin(record), 2)
    labelled, before = session.labelled.tolist(), session.model()
    assert session.model() is before, "trained twice on the same labels"
    first, second = labelled[:2]
    session.correct({first: (WORLD.truth[first] + 1) % 3, second: None}, by="Bob")
    assert session.labelled.tolist() == [first, *labelled[2:]]
    assert session.labels[0] == (WORLD.truth[first] + 1) % 3
    assert session.skipped.tolist() == [second]
    assert session.model() is not before
    session.correct({second: "two"})
    assert session.labelled[-1] == second
    assert again(session).state == session.state


def test_the_model_is_the_one_that_asks_and_resuming_trains_the_same(record: Record) -> None:
    fits = []

    class Counting:
        def fit(self, images: Images, labels: Labels, classes: int, rng: np.random.Generator) -> Model:
            fits.append(len(labels))
            return ToyLearner(jitter=0.1).fit(images, labels, classes, rng)

    session = play(begin(record, learner=Counting()), 2)
    images = WORLD.pool.read(np.arange(40))
    assert fits == [5]
    expected = session.model().predict(images)
    assert fits == [5, 10]
    session.ask(3)
    assert fits == [5, 10], "ask did not use the model that was there"
    assert session.state.rounds[-1].seconds["train"] > 0, "its training belongs to the round that used it"
    resumed = again(session)
    assert (resumed.model().predict(images) == expected).all()
    assert fits == [5, 10, 10]


def test_a_relabelled_image_makes_another_model(record: Record) -> None:
    session = play(begin(record), 2)
    session.ask(2)
    before = session.model()
    image = int(session.labelled[0])
    session.correct({image: (WORLD.truth[image] + 1) % 3})
    assert session.model() is not before


def test_after_a_round_of_skips_the_model_is_that_of_the_new_round(record: Record) -> None:
    session = play(begin(record, learner=ToyLearner(jitter=0.1)), 1)
    session.tell(dict.fromkeys(session.ask(3).ids, None))
    images = WORLD.pool.read(np.arange(40))
    assert (session.model().predict(images) == again(session).model().predict(images)).all()


# What is refused: everything or nothing is written -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answers", "told"),
    [
        ({99: 0}, "is outside 0 … 39"),
        ({-1: 0}, "is outside 0 … 39"),
        ({"OTHER": 0}, "not in the open batch"),
        ({"DONE": 0}, "correct"),
        ({"UNSURE": 0}, "correct"),
        ([("OPEN", 0), ("OPEN", 0)], "is answered twice"),
        ({"OPEN": 3}, "0 … 2"),
        ({"OPEN": -1}, "0 … 2"),
        ({"OPEN": 1.0}, "0 … 2"),
        ({"OPEN": "tow"}, "did you mean 'two'"),
        ({"OPEN": ""}, "no class is called"),
        ({1.5: 0}, "is not an answer"),
        ([5, 7], "pairs"),
    ],
)
def test_tell_refuses_and_writes_nothing(record: Record, answers: Any, told: str) -> None:
    session = begin(record)
    done, unsure_of, good, wanted = session.ask(4).ids.tolist()
    session.tell({done: 0, unsure_of: None})
    other = int(session.state.seq) and next(i for i in range(40) if i not in session.state.rounds[0].ids)
    place = {"OTHER": other, "DONE": done, "UNSURE": unsure_of, "OPEN": wanted}
    if isinstance(answers, dict):
        answers = {good: 1, **{place.get(image, image): label for image, label in answers.items()}}
    elif isinstance(answers[0], tuple):
        answers = [(good, 1), *((place[image], label) for image, label in answers)]
    before = record.read()
    with pytest.raises(UserError, match=told):
        session.tell(answers)
    assert record.read() == before
    assert session.tell({good: 1, wanted: 0}) == 0


def test_a_class_called_like_a_number_is_pointed_out(record: Record) -> None:
    session = begin(record, classes=("5", "7"))
    image, *_ = session.ask(2).ids.tolist()
    with pytest.raises(UserError, match="as text: '7'"):
        session.tell({image: 7})
    session.tell({image: "7"})
    assert session.labels.tolist() == [1]


def test_tell_before_ask_is_told_what_to_do(record: Record) -> None:
    with pytest.raises(UserError, match="call `ask` first"):
        begin(record).tell({3: 0})


@pytest.mark.parametrize("answers", [{"OPEN": 0}, {"OTHER": 0}])
def test_correct_is_for_what_has_an_answer(record: Record, answers: dict[str, int]) -> None:
    session = begin(record)
    done, waiting = session.ask(2).ids.tolist()
    session.tell({done: 0})
    with pytest.raises(UserError, match="`tell`"):
        session.correct({done: 1, {"OPEN": waiting, "OTHER": (waiting + 1) % 40}[next(iter(answers))]: 0})
    assert session.labels.tolist() == [0]


@pytest.mark.parametrize("n", [0, -3, 2.5])
def test_a_batch_size_that_cannot_be_is_refused(record: Record, n: Any) -> None:
    with pytest.raises(UserError, match="at least one"):
        begin(record).ask(n)
    assert record.read() == []


def test_the_last_batch_holds_what_is_left(record: Record) -> None:
    session = begin(record)
    session.tell(WORLD.answers(session.ask(33).ids))
    last = session.ask(20)
    assert (len(last), last.asked.n, session.left) == (7, 7, 0)
    assert session.ask(20).ids.tolist() == last.ids.tolist()  # the open batch, whatever is asked for
    session.tell(WORLD.answers(last.ids))
    for n in (1, 20):
        with pytest.raises(UserError, match=f"a batch of {n} is asked for, and no images are left"):
            session.ask(n)
    assert sorted(session.labelled.tolist()) == list(range(40))


def test_asking_ahead_gives_what_is_left_too(record: Record) -> None:
    session = play(begin(record), 1, n=30)
    first = session.ask(6).ids.tolist()
    both = session.ask_ahead(99)
    assert both.ids.tolist()[:6] == first
    assert len(both) == 10
    assert session.left == 0
    with pytest.raises(UserError, match="no images are left"):
        session.ask_ahead(1)


def test_a_pool_that_is_smaller_than_the_first_batch_is_asked_all_at_once(record: Record) -> None:
    assert sorted(begin(record).ask(1_000).ids.tolist()) == list(range(40))


@pytest.mark.parametrize("classes", [(), ("cat",), ("cat", "cat")])
def test_a_plan_needs_two_classes(classes: tuple[str, ...]) -> None:
    with pytest.raises(UserError, match="two or more classes"):
        replace(PLAN, classes=classes)


@pytest.mark.parametrize("changes", [{"classes": ("zero", "one", "three")}, {"seed": 12}], ids=str)
def test_a_record_of_another_plan_is_refused(record: Record, changes: dict[str, Any]) -> None:
    session = play(begin(record), 1)
    with pytest.raises(UserError, match=r"labels\.db was begun with"):
        again(session, **changes)


def test_a_record_of_another_pool_is_refused(record: Record) -> None:
    play(begin(record), 1)
    with pytest.raises(UserError, match="was begun with pool"):
        Session(toy_world(images=40, seed=5).pool, record, PLAN)


def closed_ones(now: Round, n: int, rng: np.random.Generator) -> Selection:
    return Selection(now.labelled[:n], np.zeros(n))


def too_few(now: Round, n: int, rng: np.random.Generator) -> Selection:
    return draw(now, n - 1, rng)


@pytest.mark.parametrize("strategy", [closed_ones, too_few])
def test_a_strategy_that_breaks_its_contract_costs_no_label(record: Record, strategy: Any) -> None:
    session = play(begin(record, strategy=strategy, name="broken"), 1)
    before = record.read()
    with pytest.raises(UserError, match="'broken' chose"):
        session.ask(3)
    assert record.read() == before


def test_a_strategy_without_its_tools_is_told(record: Record) -> None:
    def wanting(now: Round, n: int, rng: np.random.Generator) -> Selection:
        return Selection(now.tools.index.search(np.zeros((1, 16), np.float32), n).ids[0], np.zeros(n))

    session = play(Session(WORLD.pool, record, replace(PLAN, strategy=wanting)), 1)
    with pytest.raises(UserError, match="`index`"):
        session.ask(3)


# Several at work -----------------------------------------------------------------------------------------------------


def test_threads_share_a_session(record: Record) -> None:
    session = begin(record)
    with ThreadPoolExecutor(8) as threads:
        batches = {tuple(batch.ids.tolist()) for batch in threads.map(lambda _: session.ask(8), range(8))}
        assert len(batches) == 1
        left = list(threads.map(lambda image: session.tell({image: 0}, by="a thread"), *batches))
    assert sorted(left) == list(range(8))
    assert again(session).state == session.state


def test_of_two_sessions_on_one_record_the_later_writer_fails_and_can_go_on(record: Record) -> None:
    ada = play(begin(record), 1)
    bob = again(ada)
    a, b, c = ada.ask(3).ids.tolist()
    with pytest.raises(BusyError):
        bob.ask(3)
    bob.refresh()
    assert bob.ask(3).ids.tolist() == [a, b, c]
    assert bob.tell({a: 0}, by="Bob") == 2
    with pytest.raises(BusyError):
        ada.tell({b: 1, c: 1}, by="Ada")
    assert ada.refresh() == bob.state
    assert ada.tell({b: 1, c: 1}, by="Ada") == 0
    with pytest.raises(BusyError):
        bob.correct({a: 1})
    assert bob.refresh() == ada.state == again(ada).state


def test_a_batch_that_is_asked_ahead_says_which_answers_its_classifier_had_seen(record: Record) -> None:
    """Also where it is asked by the last classifier once more, and where others answered while it was chosen."""
    session = play(begin(record), 2)
    bob = again(session)
    a, b, c, *rest = session.ask(5).ids.tolist()
    bob.refresh()
    trained = session.state.rounds[-1].trained_up_to
    assert trained == session.state.seq - 1
    session.tell({a: 0}, by="Ada")
    session.ask_ahead(2, topped=True)
    topped = session.state.rounds[-1]
    assert (topped.trained_up_to, topped.topped, topped.ahead) == (trained, True, 4), "not on the answer since"
    before = session.state.seq
    bob.refresh()
    bob.tell({b: 1, c: 1}, by="Bob")
    session.ask_ahead(2)
    late = session.state.rounds[-1]
    assert (late.trained_up_to, late.topped, late.ahead) == (before, False, len(rest) + 2), "nor of Bob's"
    assert again(session).state == session.state
    with pytest.raises(UserError, match="two or more classes"):
        session.as_of(1).model()
    assert session.as_of(late.trained_up_to).labelled.tolist() == session.labelled.tolist()[:-2]
