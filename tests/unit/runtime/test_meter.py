"""Seconds are charged to the innermost part, and to no other."""

from __future__ import annotations

import time

import pytest

from asal.runtime.meter import Meter

NAP = 0.02


def test_while_an_inner_part_runs_the_outer_one_stands_still() -> None:
    meter = Meter()
    began = time.perf_counter()
    with meter.part("match"):
        time.sleep(NAP)
        with meter.part("io"):
            time.sleep(3 * NAP)
        time.sleep(NAP)
    total = time.perf_counter() - began
    spent = meter.split()
    assert spent["io"] >= 3 * NAP
    assert 2 * NAP <= spent["match"] <= total - 3 * NAP
    assert sum(spent.values()) == pytest.approx(total, abs=0.005)


def test_time_outside_is_nobodys() -> None:
    meter = Meter()
    began = time.perf_counter()
    with meter.part("score"):
        pass
    time.sleep(NAP)
    with meter.part("score"):
        pass
    assert meter.split()["score"] <= time.perf_counter() - began - NAP


def test_a_part_that_fails_is_charged_and_closed() -> None:
    meter = Meter()
    with pytest.raises(ZeroDivisionError), meter.part("generate"), meter.part("score"):
        1 / int(time.sleep(NAP) or 0)
    before = meter.split()
    assert before["score"] >= NAP
    time.sleep(NAP)
    with meter.part("io"):
        pass
    assert meter.split()["generate"] == before["generate"]
    assert meter.split()["score"] == before["score"]


def test_a_part_within_itself_is_charged_once() -> None:
    meter = Meter()
    began = time.perf_counter()
    with meter.part("io"), meter.part("io"):
        time.sleep(NAP)
    assert NAP <= meter.split()["io"] <= time.perf_counter() - began


def test_the_split_names_every_part_in_a_fixed_order() -> None:
    meter = Meter()
    assert meter.split() == dict.fromkeys(("train", "generate", "match", "score", "io"), 0.0)
    assert list(meter.split()) == list(Meter.PARTS)
    assert meter.evaluations == 0
