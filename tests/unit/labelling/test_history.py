"""Each person's story, as the page's history shows it."""

from __future__ import annotations

from asal.labelling.history import History
from asal.session.events import Event


def said(seq: int, kind: str, image: int, label: int | None = None, by: str = "Ada", **body: object) -> Event:
    return Event(kind, 0, image, label, by, body, seq, "2026-01-01T00:00:00+00:00")


def test_what_is_taken_back_is_in_nobodys_history() -> None:
    timeline = History()
    timeline.take([said(1, "answered", 5, 0, seconds=2.0), said(2, "skipped", 6), said(3, "answered", 5, 1, by="Bob")])
    timeline.take([said(4, "withdrawn", 5)])
    assert [entry.image for entry in timeline.of("Ada").all()] == [6]
    assert [entry.image for entry in timeline.of("Bob").all()] == [5], "another person's stays"


def test_what_settles_opinions_is_no_answer_of_whoever_gave_the_last_one() -> None:
    timeline = History()
    timeline.take([said(1, "voted", 5, 0), said(2, "answered", 5, 1, votes=3)])
    assert [(entry.label, entry.seq) for entry in timeline.of("Ada").all()] == [(0, 1)]


def test_a_correction_keeps_its_place_and_pages_are_read_backwards() -> None:
    timeline = History()
    timeline.take([said(seq, "answered", seq, 0) for seq in range(1, 6)])
    timeline.take([said(6, "corrected", 2, 1)])
    entries, more = timeline.newest("Ada", 3)
    assert [entry.image for entry in entries] == [5, 4, 3] and more
    assert [(entry.image, entry.label) for entry in timeline.newest("Ada", 9)[0]][3] == (2, 1)
    assert timeline.newest("Nobody", 3) == ([], False)
