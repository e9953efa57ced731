"""Batches that were chosen in an earlier state, while others were asked: what is asked of them and recorded."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from asal.core import Round, Selection
from asal.errors import BusyError
from asal.session.events import Record
from asal.session.proposals import Meanwhile
from asal.testing.toy_sessions import WORLD, again, begin, play


@pytest.fixture
def record(tmp_path: Path) -> Iterator[Record]:
    with Record.open(tmp_path / "labels.db") as opened:
        yield opened


def test_what_was_chosen_is_asked_later_without_what_was_asked_meanwhile(record: Record) -> None:
    session = play(begin(record), 2)
    past = session.as_of(session.state.seq)
    proposal = past.propose(4)
    taken = int(proposal.chosen.ids[1])

    def this_one(now: Round, n: int, rng: np.random.Generator) -> Selection:
        return Selection(np.array([taken]), np.zeros(1))

    session.ask_ahead(1, meanwhile=Meanwhile("somebody waits", this_one, "this one"))
    session.tell(WORLD.answers([taken]))
    batch = session.ask_proposed(proposal, most=10)
    assert batch.ids.tolist() == [image for image in proposal.ids if image != taken]
    filled, asked = session.state.rounds[-2:]
    assert (filled.strategy, filled.fallback_reason, filled.trained_in) == ("this one", "somebody waits", None)
    assert (asked.round, asked.trained_in, asked.classifier, asked.topped) == (3, 2, 2, False)
    assert asked.trained_up_to == past.state.seq and asked.labelled == 10, "not on the answer since"
    assert again(session).state == session.state
    later = session.as_of(asked.trained_up_to)
    model, images = later.model(asked.classifier), WORLD.pool.read(np.arange(40))
    assert proposal.trained is not None
    assert (model.predict(images) == proposal.trained.model.predict(images)).all()
    session.ask_ahead(1, topped=True)
    assert session.state.rounds[-1].trained_up_to == asked.trained_up_to, "it is the last classifier from now on"
    assert session.state.rounds[-1].classifier == 2


def test_of_a_batch_that_was_chosen_earlier_only_so_many_are_asked(record: Record) -> None:
    session = play(begin(record), 2)
    proposal = session.as_of(session.state.seq).propose(6)
    assert session.ask_proposed(proposal, most=2).ids.tolist() == proposal.ids[:2]


def test_where_nothing_is_left_of_it_nothing_is_written(record: Record) -> None:
    session = play(begin(record), 2)
    proposal = session.as_of(session.state.seq).propose(2)
    session.ask_proposed(proposal, most=9)
    before = record.read()
    with pytest.raises(BusyError, match="meanwhile"):
        session.ask_proposed(proposal, most=9)
    assert record.read() == before


def test_answers_of_others_since_do_not_matter(record: Record) -> None:
    session = play(begin(record), 2)
    session.ask(4)
    proposal = session.as_of(session.state.seq).propose(3)
    other = again(session)
    other.tell(WORLD.answers(other.state.open[:2]))
    assert len(session.ask_proposed(proposal, most=9)) == 5
    assert session.state == other.refresh()


def test_a_first_batch_says_why_it_was_drawn(record: Record) -> None:
    session = begin(record)
    session.ask_ahead(3, meanwhile=Meanwhile("features are still being computed"))
    assert session.state.rounds[0].fallback_reason == "features are still being computed"
    assert session.state.rounds[0].strategy == "random"
    assert begin(record).ask(3).ids.tolist() == session.state.open.tolist()
