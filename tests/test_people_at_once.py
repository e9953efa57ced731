"""Eight people answer at once, as fast as they can: nothing is lost, doubled, or given to one person too many.

The same tests on SQLite and on PostgreSQL, over HTTP, against `asal label` as a process.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from crowd import CLASSES, Member, project, together, tokens
from databases import fresh
from people import Served

from asal.events import Event, Record
from asal.spec import load
from asal.state import State, fold

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
        crowd = together([Member(served, name, keys[name], lambda _, image: image % CLASSES) for name in NAMES], EACH)
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
