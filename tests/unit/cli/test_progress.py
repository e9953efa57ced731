"""Progress where there is no terminal to draw bars on."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from asal.cli import progress


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [0.0]
    monkeypatch.setattr("asal.cli.progress.time.monotonic", lambda: now[0])
    return now


def lines(clock: list[float], reports: list[tuple[float, int, int]]) -> list[str]:
    """Report (second, done, total) and return what was printed."""
    console = Console(file=io.StringIO(), force_terminal=False, width=100)
    with progress.show_progress(console) as show:
        for second, done, total in reports:
            clock[0] = second
            show("training", done, total)
    return console.file.getvalue().splitlines()  # type: ignore[attr-defined,no-any-return]


def test_a_line_at_once_and_every_few_seconds_with_an_estimate(clock: list[float]) -> None:
    assert lines(clock, [(0, 0, 100), (1, 1, 100), (5, 5, 100), (8, 8, 100), (10, 10, 100), (12, 100, 100)]) == [
        "training: 0 of 100",
        "training: 5 of 100 in 5 s, 95 s left",
        "training: 10 of 100 in 10 s, 90 s left",
        "training: 100 of 100 in 12 s",
    ]


def test_the_first_report_is_printed_at_once_whatever_is_done(clock: list[float]) -> None:
    assert lines(clock, [(3, 40, 100), (4, 41, 100), (8, 45, 100)]) == [
        "training: 40 of 100",
        "training: 45 of 100 in 5 s, 55 s left",
    ]


def test_the_end_is_printed_once(clock: list[float]) -> None:
    assert lines(clock, [(0, 0, 10), (1, 10, 10), (2, 10, 10)]) == ["training: 0 of 10", "training: 10 of 10 in 1 s"]


def test_a_stage_that_is_over_at_its_first_report_has_one_line(clock: list[float]) -> None:
    assert lines(clock, [(0, 10, 10)]) == ["training: 10 of 10 in 0 s"]


def test_a_stage_that_begins_again_is_printed_again(clock: list[float]) -> None:
    assert lines(clock, [(0, 0, 10), (1, 10, 10), (5, 0, 10), (15, 5, 10), (20, 10, 10)]) == [
        "training: 0 of 10",
        "training: 10 of 10 in 1 s",
        "training: 5 of 10 in 10 s",
        "training: 10 of 10 in 15 s",
    ]


def test_short_repetitions_share_a_line_every_few_seconds(clock: list[float]) -> None:
    rounds = [(float(second + part), 10 * part, 10) for second in range(0, 14, 2) for part in (0, 1)]
    assert lines(clock, rounds) == [
        "training: 0 of 10",
        "training: 10 of 10 in 1 s",
        "training: 0 of 10",
        "training: 10 of 10 in 1 s",
        "training: 0 of 10",
        "training: 10 of 10 in 1 s",
    ]


def test_a_message_has_a_line_of_its_own_however_long_and_without_control_characters() -> None:
    console = Console(file=io.StringIO(), force_terminal=False, width=40)
    with progress.show_progress(console) as show:
        show("5 steps", 0, 0, "take the images in; compute the features 'photos'; build the index; 2 min in all")
        show("2 of 5: compute the features 'photos'", 1, 100, "62 images/s · in all about 2 min left")
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert len(text.splitlines()) == 2 and text.endswith("left\n")
    assert not [character for character in text if character < " " and character != "\n"]


def test_a_stage_that_reports_nothing_for_long_is_said_to_go_on(clock: list[float]) -> None:
    console = Console(file=io.StringIO(), force_terminal=False, width=100)
    lines = progress._Lines(console)
    lines("training", 1, 100)
    for clock[0] in (10.0, 34.0, 40.0, 70.0):
        lines.beat()
    lines("training", 100, 100)
    clock[0] = 200.0
    lines.beat()
    assert console.file.getvalue().splitlines() == [  # type: ignore[attr-defined]
        "training: 1 of 100",
        "training: at work, with no report for 34 s",
        "training: at work, with no report for 70 s",
        "training: 100 of 100 in 70 s",
    ]


def test_a_terminal_shows_messages_above_its_bars() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=100, color_system=None)
    with progress.show_progress(console) as show:
        show("5 steps", 0, 0, "in all about 2 min")
        show("1 of 5: take the images in", 1, 2)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "5 steps: in all about 2 min" in text and "1 of 5: take the images in" in text and "1 of 2" in text


def test_nothing_is_cut_off_on_a_terminal_of_80_columns(clock: list[float]) -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=80, color_system=None)
    with progress.show_progress(console) as show:
        show("2 of 5: compute the features 'photos'", 1, 3_068)
        show("2 of 5: compute the features 'photos'", 2, 3_068)
        clock[0] = 20.0
        show("2 of 5: compute the features 'photos'", 1_240, 3_068, "62 images/s · in all about 2 min left")
    text = " ".join(console.file.getvalue().split())  # type: ignore[attr-defined]
    assert "2 of 5: compute the features 'photos'" in text and "1,240 of 3,068 in 20 s, 30 s left" in text
    assert "62 images/s · in all" in text and "2 min left" in text and "…" not in text
