"""When a loop reports, and how quickly work gets on."""

from __future__ import annotations

import pytest

from asal.runtime.progress import WINDOW, Pace, Rate


def test_a_loop_reports_after_its_first_step_and_then_by_time(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("asal.runtime.progress.time.monotonic", lambda: now[0])
    pace, slow, quick = Pace(), [0.0, 34.0, 68.0], [70.0, 70.1, 70.9, 71.2]
    reported = []
    for second in (*slow, *quick):
        now[0] = second
        reported.append(pace.due())
    assert reported == [True, True, True, True, False, False, True]
    assert not pace.due() and pace.due(always=True)


def left(reports: list[tuple[float, int]], total: int = 100) -> float | None:
    rate = Rate()
    for second, done in reports:
        rate.add(second, done)
    return rate.left(total)


def test_the_start_of_processes_is_no_work() -> None:
    assert left([(0, 0)]) is None
    assert left([(0, 0), (23, 0), (39, 10)]) is None
    assert left([(0, 0), (23, 0), (39, 10), (40, 20)]) == 8.0


def test_a_rate_is_that_of_the_last_minute() -> None:
    slow, quick = [(float(10 * n), n) for n in range(10)], [(90.0 + n, 9 + n) for n in range(1, int(WINDOW) + 2)]
    assert left([*slow, *quick], 170) == 100.0


def test_work_that_begins_again_has_a_rate_of_its_own() -> None:
    assert left([(0, 10), (1, 20), (2, 30), (3, 0), (13, 5)]) is None
    assert left([(0, 10), (1, 20), (2, 30), (3, 0), (13, 5), (18, 10)]) == 90.0
