"""When a loop reports."""

from __future__ import annotations

import pytest

from asal.runtime.progress import Pace


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
