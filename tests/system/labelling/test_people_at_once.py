"""Eight people answer at once, as fast as they can: nothing is lost, doubled, or given to one person too many.

The same tests on SQLite and on PostgreSQL, over HTTP, against `asal label` as a process.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from functools import partial
from pathlib import Path

import pytest
from support.databases import fresh
from support.http_clients import Served
from support.many_clients import CLASSES, Member, project, together, tokens

from asal.labelling.consensus import majority
from asal.project.spec import load
from asal.session.events import Event, Record
from asal.session.state import State, fold

NAMES = [f"Person {number}" for number in range(8)]
EACH = 1_000


@pytest.fixture(params=["sqlite", "postgresql"])
def record(request: pytest.FixtureRequest) -> str:
    """Return where the answers go: "" is the project's own file."""
    return "" if request.param == "sqlite" else fresh(request.getfixturevalue("postgres"))


def events_of(root: Path) -> list[Event]:
    with Record.open(load(root).labelling.place(root)) as opened:
        return opened.read()


def test_eight_people_answer_a_thousand_each(record: str, tmp_path: Path) -> None:
    root = project(tmp_path / "p", EACH * len(NAMES), record=record)
    keys = tokens(root, NAMES)
    with Served(root) as served:
        crowd = [Member(served, name, keys[name], lambda _, image: image % CLASSES) for name in NAMES]
        together(*(partial(one.work, EACH) for one in crowd))
    state, events = fold(State(), events_of(root)), [e for e in events_of(root) if e.by is not None]
    for one in crowd:
        assert len(one.told) == EACH, one.name
        assert one.outcomes == ["answered"] * EACH
        assert len(one.given) == len(set(one.given)), "somebody was given an image twice"
    given = Counter(image for one in crowd for image in one.given)
    assert max(given.values()) == 1, "an image was given to two people"
    acknowledged = {image: (one.name, label) for one in crowd for image, label in one.told.items()}
    assert {e.image: (e.by, e.label) for e in events} == acknowledged
    assert len(events) == len(acknowledged) == EACH * len(NAMES), "an answer came twice"
    assert {e.kind for e in events} == {"answered"}
    assert not state.waiting and not state.votes


def opinion(name: str, image: int) -> int:
    """Say what a person says: of every tenth image each something else, and the judge what is right."""
    differs = NAMES.index(name) if name in NAMES and image % 10 == 0 else 0
    return (image // 10 + differs) % CLASSES


def test_two_people_see_each_image_and_a_third_or_the_judge_where_they_differ(record: str, tmp_path: Path) -> None:
    images = 1_000
    root = project(tmp_path / "p", images, record=record, overlap=2)
    keys = tokens(root, NAMES) | tokens(root, ["Judge"], "adjudicator")
    with Served(root) as served:
        *crowd, judge = (Member(served, name, keys[name], opinion) for name in (*NAMES, "Judge"))
        together(*(one.work for one in crowd), judge.settle)
    events = [e for e in events_of(root) if e.by is not None]
    state = fold(State(), events_of(root))
    assert len(state.answers) == images and not state.waiting
    votes: dict[int, list[Event]] = defaultdict(list)
    for event in events:
        if event.kind == "voted":
            votes[event.image].append(event)
    acknowledged = {(one.name, image, label) for one in (*crowd, judge) for image, label in one.told.items()}
    told = [(e.by, e.image, e.label) for each in votes.values() for e in each]
    assert len(told) == len(set(told))
    assert set(told) == acknowledged
    assert Counter(e.image for e in events if e.kind == "answered") == Counter(state.answers.keys())
    given = Counter(image for one in crowd for image in one.given)
    for image, each in votes.items():
        first, second, *more = each
        assert first.by != second.by
        if first.label == second.label:
            assert (more, given[image], state.answers[image]) == ([], 2, first.label), "somebody was asked in vain"
        elif image in state.final:
            assert state.answers[image] == opinion("Judge", image)
        else:
            assert more
            final = majority({e.by: e.label for e in each[: len(each)]})
            assert final is not None and final.label == state.answers[image]
    assert any(image in state.final for image in votes) and len(judge.told) > 0
