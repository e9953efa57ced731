"""When the next images are chosen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from asal.labelling.scheduling import FEW, FIRST, SHORT, BatchRequest, Throughput, due_batch, due_meanwhile
from asal.project.spec import ProtocolTable
from asal.session.events import FORMAT, Event
from asal.session.state import State, fold

PROTOCOL = ProtocolTable(initial=4, batch=3, budget=13)


def state(told: int, *, open_: int, more: Sequence[dict[str, Any]] = ()) -> State:
    """Return a record's state with so many labels of two classes, and so many open images, in one round."""
    ids = list(range(told + open_))
    body = {"ids": ids, "scores": [0.0] * len(ids), "n": len(ids), "strategy": "x", **(more[0] if more else {})}
    events = [Event("opened", body={"format": FORMAT}), Event("asked", 0, body=body)]
    return fold(State(), [*events, *(Event("answered", 0, image, image % 2, "Ada") for image in ids[:told])])


def test_the_first_batch_is_as_large_as_the_plan_says() -> None:
    assert due_batch(State(), PROTOCOL, Throughput(), left=100) == BatchRequest(4)
    assert due_batch(State(), PROTOCOL, Throughput(), left=2) == BatchRequest(2)
    assert due_batch(State(), PROTOCOL, Throughput(), left=0) is None


@pytest.mark.parametrize("rate", [0.0, 1.0, 50.0])
def test_in_the_strict_way_every_answer_is_waited_for(rate: float) -> None:
    pace = Throughput(strict=True, rate=rate)
    assert due_batch(state(9, open_=1), PROTOCOL, pace, left=100) is None
    assert due_batch(state(10, open_=0), PROTOCOL, pace, left=100) == BatchRequest(3)


def test_a_budget_counts_what_is_open_and_is_never_overdrawn() -> None:
    assert due_batch(state(11, open_=0), PROTOCOL, Throughput(), left=100) == BatchRequest(2)
    assert due_batch(state(11, open_=1), PROTOCOL, Throughput(), left=100) == BatchRequest(1, ahead=True)
    assert due_batch(state(11, open_=2), PROTOCOL, Throughput(), left=100) is None
    assert due_batch(state(13, open_=0), PROTOCOL, Throughput(), left=100) is None


def test_the_next_batch_is_begun_as_early_as_it_takes() -> None:
    slow, fast = Throughput(rate=0.2, seconds=FIRST), Throughput(rate=1.0, seconds=FIRST)
    assert slow.meanwhile == 1 and fast.meanwhile == 5
    assert due_batch(state(6, open_=4), PROTOCOL, slow, left=100) is None
    assert due_batch(state(6, open_=4), PROTOCOL, fast, left=100) == BatchRequest(3, ahead=True)
    assert due_batch(state(6, open_=6), PROTOCOL, fast, left=100) is None


def test_while_the_classifier_cannot_choose_a_few_images_are_handed_out_at_a_time() -> None:
    protocol = ProtocolTable(initial=4, batch=20, budget=1000)
    slow, fast = Throughput(rate=0.1), Throughput(rate=4.0)
    assert due_meanwhile(State(), protocol, slow, left=100) == 4, "a first batch"
    assert due_meanwhile(state(6, open_=FEW + 1), protocol, slow, left=100) == 0, "there are enough"
    assert due_meanwhile(state(6, open_=FEW), protocol, slow, left=100) == 2 * FEW
    assert due_meanwhile(state(6, open_=FEW), protocol, slow, left=2) == 2
    assert due_meanwhile(state(6, open_=12), protocol, fast, left=100) == 12, "who is fast gets more"
    assert due_meanwhile(state(6, open_=20), protocol, Throughput(rate=99.0), left=100) == 20, "at most a batch"
    assert due_meanwhile(state(6, open_=0), protocol, Throughput(strict=True), left=100) == 0


def test_images_that_are_handed_out_meanwhile_do_not_overdraw_the_budget() -> None:
    assert due_meanwhile(state(9, open_=1), PROTOCOL, Throughput(), left=100) == 3
    assert due_meanwhile(state(12, open_=1), PROTOCOL, Throughput(), left=100) == 0


def test_nobody_is_kept_busy_while_something_short_is_done() -> None:
    throughput = Throughput()
    assert not throughput.is_long(0.1), "it is not known yet"
    assert throughput.is_long(SHORT + 0.1)
    throughput.took(0.2)
    assert not throughput.is_long(0.1)
    throughput.took(60.0)
    assert throughput.is_long(0.0) and throughput.seconds == 60.0


def test_nothing_is_chosen_ahead_without_a_classifier() -> None:
    one = fold(State(), [
        Event("opened", body={"format": FORMAT}),
        Event("asked", 0, body={"ids": [0, 1], "scores": [0.0, 0.0], "n": 2, "strategy": "random"}),
        Event("answered", 0, 0, 1, "Ada"),
    ])  # fmt: skip
    assert due_batch(one, PROTOCOL, Throughput(rate=9.0), left=100) is None


def test_made_up_images_that_are_answered_together_cost_one_annotation() -> None:
    body = {"ids": [10, 11, 12, 13], "scores": [0.0] * 4, "n": 2, "strategy": "adba", "group": 2, "images": ["x"] * 4}
    open_ = fold(State(), [Event("opened", body={"format": FORMAT}), Event("asked", 0, body=body)])
    done = fold(open_, [Event("answered", 0, image, image % 2, "Ada") for image in (10, 11)])
    assert done.spent == 1
    assert due_batch(done, ProtocolTable(initial=1, batch=9, budget=5), Throughput(rate=0.5), left=100) == BatchRequest(
        3, True
    )


def test_shares_of_made_up_groups_add_up_to_whole_annotations() -> None:
    body = {"ids": list(range(10, 120)), "scores": [0.0] * 110, "n": 10, "strategy": "adba", "group": 11}
    begun = [Event("opened", body={"format": FORMAT}), Event("asked", 0, body={**body, "images": ["x"] * 110})]
    told = [Event("answered", 0, image, image % 2, "Ada") for image in range(10, 21)]
    due = due_batch(fold(State(), [*begun, *told]), PROTOCOL, Throughput(rate=90.0), left=100)
    assert due is not None and due.n == 3, "10 of 13 are spent or open"


def test_whoever_gave_the_first_opinion_does_not_wait_for_the_second() -> None:
    votes = [Event("voted", 0, image, 0, "Ada") for image in (6, 7, 8)]
    assert due_batch(state(6, open_=4), PROTOCOL, Throughput(rate=0.2), left=100) is None
    assert due_batch(fold(state(6, open_=4), votes), PROTOCOL, Throughput(rate=0.2), left=100) == BatchRequest(
        3, ahead=True
    )
    taken = fold(state(6, open_=4), [*votes, Event("withdrawn", 0, 8, None, "Ada")])
    assert due_batch(taken, PROTOCOL, Throughput(rate=0.2), left=100) is None, "two that nobody has looked at"
