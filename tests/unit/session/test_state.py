"""The fold: events in, state out; pure, linear, and suspicious of events that contradict each other."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from asal.errors import DamageError, UserError
from asal.session.events import FORMAT, Event
from asal.session.state import State, fold


def asked(number: int, *ids: int) -> Event:
    notes = [{"from": image} for image in ids]
    return Event(
        "asked", number, body={"n": len(ids), "strategy": "s", "ids": ids, "scores": [0.5] * len(ids), "notes": notes}
    )


STORY = [
    Event("opened", body={"format": FORMAT, "pool": "x"}),
    asked(0, 8, 3, 5, 1),
    Event("answered", image=5, label=2),
    Event("skipped", image=8),
    Event("answered", image=3, label=0),
    Event("corrected", image=5, label=1),
]


def test_a_story_on_paper() -> None:
    state = fold(State(), STORY)
    assert dict(state.answers) == {5: 1, 3: 0}
    assert state.labelled.tolist() == [5, 3], "a corrected label keeps its place"
    assert state.labels.tolist() == [1, 0]
    assert state.skipped.tolist() == [8]
    assert state.open.tolist() == [1]
    assert state.number == 0
    assert state.notes[1] == {"from": 1}
    done = fold(state, [Event("answered", image=1, label=0)])
    assert done.number == 1
    assert done.open.size == 0


def test_corrections_between_a_label_and_a_skip() -> None:
    state = fold(State(), [*STORY, Event("corrected", image=5, label=None), Event("corrected", image=8, label=2)])
    assert dict(state.answers) == {3: 0, 8: 2}
    assert state.skipped.tolist() == [5]


def test_one_event_at_a_time_is_all_at_once_and_the_past_stays_as_it_was() -> None:
    past = [State()]
    for event in STORY:
        past.append(fold(past[-1], [event]))
    assert past[-1] == fold(State(), STORY)
    assert [len(state.answers) for state in past] == [0, 0, 0, 1, 1, 2, 2]
    assert past[5].labels.tolist() == [2, 0], "the correction wrote into an older state"


def test_a_state_is_read_only() -> None:
    state = fold(State(), STORY)
    with pytest.raises(TypeError):
        state.answers[5] = 0  # type: ignore[index]
    with pytest.raises(ValueError, match="read-only"):
        state.labels[0] = 0


@pytest.mark.parametrize(
    "event",
    [
        Event("answered", image=7, label=1),
        Event("answered", image=1),
        Event("answered", image=5, label=1),
        Event("skipped", image=8),
        Event("corrected", image=1, label=1),
        Event("opened", body={"format": FORMAT}),
        asked(1, 9),
        asked(0, 9),
    ],
    ids=str,
)
def test_an_event_that_contradicts_the_others_is_damage(event: Event) -> None:
    with pytest.raises(DamageError, match="contradicts"):
        fold(fold(State(), STORY), [event])


@pytest.mark.parametrize("event", [Event("opened", body={"format": FORMAT + 1}), Event("dreamt", image=3)], ids=str)
def test_a_newer_record_is_told(event: Event) -> None:
    with pytest.raises(UserError, match="use the asal that wrote it"):
        fold(State(), [event])


def test_a_hundred_thousand_answers_fold_in_a_second() -> None:
    def story() -> Iterator[Event]:
        for number in range(1000):
            ids = range(100 * number, 100 * (number + 1))
            yield asked(number, *ids)
            for image in ids:
                yield Event("answered", number, image, image % 10)

    events = list(story())
    start = time.perf_counter()
    state = fold(State(), events)
    assert len(state.labelled) == 100_000
    assert time.perf_counter() - start < 1
