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
        "training: 5 of 10 in 10 s, 10 s left",
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
