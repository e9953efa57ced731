"""How many votes an image is to have, and what settles it."""

from __future__ import annotations

import pytest

from asal.errors import UserError
from asal.labelling.annotators import Annotator
from asal.labelling.consensus import OverlapRules, Votes, majority
from asal.labelling.decisions import Answer, answer_events, check_answers, check_own, withdrawal_events
from asal.session.events import FORMAT, Event
from asal.session.state import State, fold

ADA, BOB, CAT, JUDGE = Annotator("Ada"), Annotator("Bob"), Annotator("Cat"), Annotator("Judge", "adjudicator")
TWO = OverlapRules(overlap=2)
BEGUN = fold(
    State(),
    [
        Event("opened", body={"format": FORMAT}),
        Event("asked", 0, body={"n": 3, "strategy": "s", "ids": [5, 6, 7], "scores": [0.0] * 3}),
    ],
)


def after(rules: OverlapRules, *steps: tuple[Annotator, int, int | None], state: State = BEGUN) -> State:
    """Return the state after answers, one after the other."""
    for who, image, label in steps:
        state = fold(state, answer_events(state, rules, who, Answer(image, label)))
    return state


def kinds(events: list[Event]) -> list[tuple[str, int | None]]:
    return [(event.kind, event.label) for event in events]


@pytest.mark.parametrize(
    ("votes", "label"),
    [
        ({}, "open"),
        ({"Ada": 1}, 1),
        ({"Ada": None}, None),
        ({"Ada": 1, "Bob": 2}, "open"),
        ({"Ada": 1, "Bob": None}, "open"),
        ({"Ada": 1, "Bob": 2, "Cat": 1}, 1),
        ({"Ada": 1, "Bob": 2, "Cat": 3}, "open"),
        ({"Ada": 1, "Bob": 1, "Cat": 2, "Dan": 2}, "open"),
        ({"Ada": None, "Bob": None, "Cat": 2}, None),
    ],
)
def test_more_than_half_settle(votes: Votes, label: int | str | None) -> None:
    found = majority(votes)
    assert (found.label if found else "open") == label


def test_a_share_of_the_images_has_several_votes_and_always_the_same_ones() -> None:
    rules = OverlapRules(overlap=3, share=0.25)
    wanted = [rules.wanted(image) for image in range(20_000)]
    assert set(wanted) == {1, 3}
    assert 0.24 < wanted.count(3) / len(wanted) < 0.26
    assert wanted == [rules.wanted(image) for image in range(20_000)]
    assert {OverlapRules(2, 0.0).wanted(image) for image in range(100)} == {1}
    assert {OverlapRules(2, 1.0).wanted(image) for image in range(100)} == {2}


def test_an_answer_that_two_give_alike_settles() -> None:
    one = after(TWO, (ADA, 5, 3))
    assert 5 in one.waiting and one.votes[5] == {"Ada": 3}
    assert kinds(answer_events(one, TWO, BOB, Answer(5, 3))) == [("voted", 3), ("answered", 3)]
    assert kinds(answer_events(one, TWO, BOB, Answer(5, None))) == [("voted", None)]
    assert kinds(answer_events(one, TWO, ADA, Answer(5, 4))) == [("voted", 4)]
    assert kinds(answer_events(one, TWO, ADA, Answer(5, 3))) == [], "the same again"


def test_cannot_tell_is_an_opinion_like_others() -> None:
    state = after(TWO, (ADA, 5, None), (BOB, 5, None))
    assert 5 in state.skips


def test_a_third_settles_a_dispute() -> None:
    state = after(TWO, (ADA, 5, 1), (BOB, 5, 2))
    assert TWO.disputed(5, state.votes[5])
    assert after(TWO, (CAT, 5, 2), state=state).answers == {5: 2}
    assert 5 in after(TWO, (CAT, 5, 3), state=state).waiting


def test_the_adjudicator_settles_a_dispute_for_good() -> None:
    state = after(TWO, (ADA, 5, 1), (BOB, 5, 2), (JUDGE, 5, 1))
    assert state.answers == {5: 1} and 5 in state.final
    changed = after(TWO, (ADA, 5, 2), state=state)
    assert changed.votes[5] == {"Ada": 2, "Bob": 2, "Judge": 1}
    assert changed.answers == {5: 1}, "two who changed their minds have outvoted the adjudicator"
    with pytest.raises(UserError, match="decided by others"):
        withdrawal_events(state, TWO, ADA, 5)
    undone = fold(state, withdrawal_events(state, TWO, JUDGE, 5))
    assert 5 in undone.waiting and not undone.final and TWO.disputed(5, undone.votes[5])


def test_the_adjudicator_is_one_of_two_where_nothing_is_disputed() -> None:
    state = after(TWO, (JUDGE, 5, 1))
    assert 5 in state.waiting
    assert after(TWO, (ADA, 5, 1), state=state).answers == {5: 1}


def test_who_changes_their_mind_changes_what_their_word_had_settled() -> None:
    state = after(TWO, (ADA, 5, 1), (BOB, 5, 2), (CAT, 5, 2))
    changed = after(TWO, (CAT, 5, 1), state=state)
    assert changed.answers == {5: 1}
    assert after(TWO, (CAT, 5, 3), state=state).answers == {5: 2}, "no majority: what was majority stays"


def test_a_late_opinion_outvotes_nobodys_answer() -> None:
    alone = OverlapRules()
    state = after(alone, (ADA, 5, 1))
    for label in (2, 3, 2, None):
        state = after(alone, (BOB, 5, label), state=state)
        assert state.answers == {5: 1} and state.authors[5] == "Ada"
    state = after(alone, (CAT, 5, 2), (CAT, 5, 3), (CAT, 5, 2), state=state)
    assert state.answers == {5: 1}
    with pytest.raises(UserError, match="decided by others"):
        withdrawal_events(state, alone, BOB, 5)
    assert after(alone, (ADA, 5, 4), state=state).answers == {5: 4}, "late votes keep nobody from a correction"
    assert 5 in fold(state, withdrawal_events(state, alone, ADA, 5)).waiting


def test_undo_takes_back_what_two_had_settled_and_leaves_the_other_opinion() -> None:
    state = after(TWO, (ADA, 5, 1), (BOB, 5, 1))
    for who, rest in ((ADA, {"Bob": 1}), (BOB, {"Ada": 1})):
        undone = fold(state, withdrawal_events(state, TWO, who, 5))
        assert 5 in undone.waiting and undone.votes[5] == rest
        assert after(TWO, (who, 5, 1), state=undone).answers == {5: 1}
    late = after(TWO, (CAT, 5, 1), state=state)
    with pytest.raises(UserError, match="decided by others"):
        withdrawal_events(late, TWO, CAT, 5)


def test_what_is_not_ones_own_is_neither_taken_back_nor_corrected() -> None:
    state = after(OverlapRules(), (ADA, 5, 1))
    for who in (BOB, JUDGE):
        with pytest.raises(UserError):
            withdrawal_events(state, OverlapRules(), who, 5)
    with pytest.raises(UserError, match="somebody else"):
        check_own(state, BOB, 5)
    check_own(state, JUDGE, 5)
    for image in (6, 99):
        with pytest.raises(UserError, match="no answer of yours"):
            withdrawal_events(state, OverlapRules(), ADA, image)
        with pytest.raises(UserError, match="no answer of yours"):
            check_own(state, ADA, image)


def test_an_adjudicators_correction_is_the_last_word() -> None:
    state = after(OverlapRules(), (ADA, 5, 1), (JUDGE, 5, 2), (ADA, 5, 3))
    assert state.answers == {5: 2}
    assert kinds(answer_events(state, OverlapRules(), JUDGE, Answer(5, 2))) == []


def test_an_imported_label_is_not_taken_back() -> None:
    state = fold(BEGUN, [Event("imported", 0, 50, 1, "Ada", {"file": "x.csv"})])
    with pytest.raises(UserError, match="imported"):
        withdrawal_events(state, OverlapRules(), ADA, 50)
    assert after(OverlapRules(), (ADA, 50, 2), state=state).answers == {50: 2}


def test_answers_that_cannot_be_taken_together() -> None:
    assert check_answers([Answer(5, 1), Answer(6, None)], "ab") == [Answer(5, 1), Answer(6, None)]
    with pytest.raises(UserError, match="occurs twice"):
        check_answers([Answer(5, 1), Answer(6, 1), Answer(5, 0)], "ab")
    for label in (-1, 2):
        with pytest.raises(UserError, match="0 … 1"):
            check_answers([Answer(5, label)], "ab")
    with pytest.raises(UserError, match="never asked"):
        answer_events(BEGUN, OverlapRules(), ADA, Answer(99, 1))
