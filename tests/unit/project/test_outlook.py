"""The number of each step, and the time until all are done."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from asal.project.durations import Estimate
from asal.project.outlook import Expected, Outlook

Report = tuple[str, int, int, str]
PARTS = (("features", 100.0), ("pca", 50.0))
STEPS = [
    Expected("take the images in", "there"),
    Expected(
        "compute the features 'photos'", "to do", Estimate(400.0, "measured"), (("features", 100.0), ("pca", 50.0))
    ),
    Expected("build the index over 'photos'", "to do", Estimate(60.0, "measured")),
]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [0.0]
    monkeypatch.setattr("asal.project.outlook.time.monotonic", lambda: now[0])
    monkeypatch.setattr("asal.runtime.slowness.causes", dict)
    return now


@pytest.fixture
def reports() -> list[Report]:
    return []


@pytest.fixture
def outlook(clock: list[float], reports: list[Report]) -> Outlook:
    return Outlook(lambda *report: reports.append(report), "cpu")  # type: ignore[arg-type]


def test_all_steps_are_listed_once_and_each_has_its_number(outlook: Outlook, reports: list[Report]) -> None:
    assert outlook.left() is None
    outlook.expect(STEPS)
    outlook.expect(STEPS)
    with outlook.step(1):
        pass
    with outlook.step(2):
        outlook("photos: features", 0, 100, "")
        outlook("photos: pca", 0, 100, "")
    assert reports == [
        ("3 steps (1 there already)", 0, 0,
         "compute the features 'photos'; build the index over 'photos'; about 8 min in all"),
        ("2 of 3: compute the features 'photos'", 0, 0, "about 7 min (measured here) · in all about 8 min left"),
        ("2 of 3: compute the features 'photos'", 0, 100, "in all about 8 min left"),
        ("2 of 3: compute the features 'photos': pca", 0, 100, "in all about 8 min left"),
    ]  # fmt: skip


def test_the_time_left_covers_the_rest_of_the_step_and_the_steps_after_it(
    outlook: Outlook, clock: list[float], reports: list[Report]
) -> None:
    outlook.expect(STEPS)
    with outlook.step(2):
        assert outlook.left() == 460
        clock[0] = 10
        assert outlook.left() == 450  # by the estimate, as long as nothing is done
        outlook("photos: features", 0, 100, "")
        clock[0] = 200  # until processes are started and files opened
        outlook("photos: features", 10, 100, "")
        assert outlook.left() == 460, "by the estimate, as long as too little is done to tell"
        clock[0] = 210
        outlook("photos: features", 20, 100, "62 images/s")  # one second each
        assert outlook.left() == 80 + 50 + 60
        assert reports[-1] == (
            "2 of 3: compute the features 'photos'", 20, 100, "62 images/s · in all about 3 min left"
        )  # fmt: skip
        outlook("photos: pca", 2, 10, "")
        clock[0] = 212
        outlook("photos: pca", 3, 10, "")
        clock[0] = 214
        outlook("photos: pca", 4, 10, "")
        assert outlook.left() == 12 + 60
    with outlook.step(3):
        assert outlook.left() == 60


def test_what_was_done_before_a_restart_does_not_make_the_rest_look_short(outlook: Outlook, clock: list[float]) -> None:
    outlook.expect(STEPS[:2])
    with outlook.step(2):
        for clock[0], done in ((0, 80), (5, 85), (10, 90)):  # 80 by an earlier call
            outlook("photos: features", done, 100, "")
        assert outlook.left() == 10 + 50


def test_an_unknown_step_leaves_a_lower_bound(outlook: Outlook, reports: list[Report]) -> None:
    outlook.expect([*STEPS, Expected("train the teacher")])
    with outlook.step(3):
        assert outlook.left() is None
    assert reports[-1][3] == "about 60 s (measured here) · in all more than 60 s left"


def test_messages_pass_through_as_they_are(outlook: Outlook, reports: list[Report]) -> None:
    outlook.expect(STEPS)
    with outlook.step(1):
        outlook("sample of pool", 0, 0, "warning: dark")
    assert reports[-1] == ("sample of pool", 0, 0, "warning: dark")


def test_each_cause_of_slowness_is_reported_once_and_not_at_once(
    outlook: Outlook, clock: list[float], reports: list[Report], monkeypatch: pytest.MonkeyPatch
) -> None:
    found: Callable[[], dict[str, str]] = lambda: {"others": f"load {clock[0]}"}  # noqa: E731
    monkeypatch.setattr("asal.runtime.slowness.causes", found)
    outlook.expect(STEPS)
    with outlook.step(3):
        for second in (0.0, 20.0, 40.0, 80.0):
            clock[0] = second
            outlook("index: norms", int(second), 100, "")
    assert [report for report in reports if report[0].startswith("slower")] == [
        ("slower than it could be", 0, 0, "load 40.0")
    ]
