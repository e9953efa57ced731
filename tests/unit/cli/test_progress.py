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


def lines(clock: list[float], told: list[tuple[float, int, int]]) -> list[str]:
    """Tell of (second, done, total) and return what was printed."""
    console = Console(file=io.StringIO(), force_terminal=False, width=100)
    with progress.show_progress(console) as show:
        for second, done, total in told:
            clock[0] = second
            show("training", done, total)
    return console.file.getvalue().splitlines()  # type: ignore[attr-defined,no-any-return]


def test_a_line_now_and_then_with_an_estimate(clock: list[float]) -> None:
    assert lines(clock, [(0, 0, 100), (5, 5, 100), (10, 10, 100), (15, 15, 100), (20, 20, 100)]) == [
        "training: 10 of 100 in 10 s, 90 s left",
        "training: 20 of 100 in 20 s, 80 s left",
    ]


def test_the_end_is_told_once(clock: list[float]) -> None:
    assert lines(clock, [(0, 0, 10), (1, 10, 10), (2, 10, 10)]) == ["training: 10 of 10 in 1 s"]


def test_a_stage_that_begins_again_is_told_of_again(clock: list[float]) -> None:
    assert lines(clock, [(0, 0, 10), (1, 10, 10), (5, 0, 10), (15, 5, 10), (20, 10, 10)]) == [
        "training: 10 of 10 in 1 s",
        "training: 5 of 10 in 10 s, 10 s left",
        "training: 10 of 10 in 15 s",
    ]
