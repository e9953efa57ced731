"""Each person's story, as the page's history shows it."""

from __future__ import annotations

from asal.labelling.history import History
from asal.session.events import Event


def said(seq: int, kind: str, image: int, label: int | None = None, by: str = "Ada", **body: object) -> Event:
    return Event(kind, 0, image, label, by, body, seq, "2026-01-01T00:00:00+00:00")


def test_what_is_taken_back_is_in_nobodys_history() -> None:
    history = History()
    history.add([said(1, "answered", 5, 0, seconds=2.0), said(2, "skipped", 6), said(3, "answered", 5, 1, by="Bob")])
    history.add([said(4, "withdrawn", 5)])
    assert [entry.image for entry in history.of("Ada").all()] == [6]
    assert [entry.image for entry in history.of("Bob").all()] == [5], "another person's stays"


def test_what_settles_opinions_is_no_answer_of_whoever_gave_the_last_one() -> None:
    history = History()
    history.add([said(1, "voted", 5, 0), said(2, "answered", 5, 1, votes=3)])
    assert [(entry.label, entry.seq) for entry in history.of("Ada").all()] == [(0, 1)]


def test_a_correction_keeps_its_place_and_pages_are_read_backwards() -> None:
    history = History()
    history.add([said(seq, "answered", seq, 0) for seq in range(1, 6)])
    history.add([said(6, "corrected", 2, 1)])
    entries, more = history.newest("Ada", 3)
    assert [entry.image for entry in entries] == [5, 4, 3] and more
    assert [(entry.image, entry.label) for entry in history.newest("Ada", 9)[0]][3] == (2, 1)
    assert history.newest("Nobody", 3) == ([], False)
