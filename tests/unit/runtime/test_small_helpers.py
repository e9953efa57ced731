"""Optional libraries, retries, work ahead, and progress across processes."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest

from asal.errors import UserError
from asal.runtime import progress as progress_module
from asal.runtime.environment import cores
from asal.runtime.optional import require
from asal.runtime.prefetch import map_ahead
from asal.runtime.progress import Progress, Sender, across_processes, no_progress, relay, report_to, track
from asal.runtime.retry import retry


def test_a_library_that_is_there_is_returned() -> None:
    assert require("json.decoder", extra="none").JSONDecoder is not None


def test_a_library_that_is_missing_is_named_with_its_extra() -> None:
    with pytest.raises(UserError) as error:
        require("faissss.contrib", extra="faiss", why="the index 'ivf' searches with faiss", hint="or take 'exact'")
    assert error.value.to_json() == {
        "got": "faissss is not installed",
        "rule": "the index 'ivf' searches with faiss",
        "hint": "pip install 'asal[faiss]', or take 'exact'",
    }


def test_a_library_that_is_hidden_counts_as_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lmdb", None)
    with pytest.raises(UserError, match="lmdb is not installed"):
        require("lmdb", extra="lsun")


def test_a_library_that_does_not_import_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken_library.py").write_text("raise RuntimeError('built for\\nanother numpy')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UserError, match="broken_library does not import: built for another numpy"):
        require("broken_library", extra="none")


def failing(times: int, error: Exception) -> tuple[list[int], Callable[[], int]]:
    calls: list[int] = []

    def call() -> int:
        calls.append(1)
        if len(calls) <= times:
            raise error
        return len(calls)

    return calls, call


def test_a_call_is_repeated_until_it_succeeds() -> None:
    assert retry(failing(2, OSError())[1], tries=3, on=(OSError, ValueError)) == 3


def test_the_last_error_is_raised() -> None:
    calls, call = failing(9, OSError("gone"))
    with pytest.raises(OSError, match="gone"):
        retry(call, tries=3, on=OSError)
    assert len(calls) == 3


@pytest.mark.parametrize("on", [ValueError, lambda error: "busy" in str(error)])
def test_another_error_is_raised_at_once(on: Any) -> None:
    calls, call = failing(9, OSError("gone"))
    with pytest.raises(OSError, match="gone"):
        retry(call, tries=3, on=on)
    assert len(calls) == 1


def test_pauses_double_or_are_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(time, "sleep", pauses.append)
    retry(failing(3, OSError())[1], tries=4, on=OSError, pause=0.5)
    retry(failing(2, OSError())[1], tries=3, on=OSError, pause=lambda failed, _: failed * 10)
    assert pauses == [0.5, 1, 2, 10, 20]


def test_work_ahead_keeps_the_order() -> None:
    assert list(map_ahead(lambda n: n * n, range(50), threads=4, ahead=8)) == [n * n for n in range(50)]


def test_no_more_is_begun_than_asked_for() -> None:
    begun: list[int] = []
    work = map_ahead(begun.append, range(100), threads=2, ahead=5)
    next(work)
    work.close()
    assert len(begun) <= 5


def test_an_error_ahead_is_raised_in_its_place() -> None:
    results = map_ahead(lambda n: 6 // n, [3, 2, 0, 1], threads=4, ahead=4)
    assert [next(results), next(results)] == [2, 3]
    with pytest.raises(ZeroDivisionError):
        next(results)
    assert not list(results)


def test_a_loop_reports_once_it_takes_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    reports: list[tuple[Any, ...]] = []
    seconds = iter(range(100))
    monkeypatch.setattr(progress_module.time, "monotonic", lambda: next(seconds))
    with report_to(lambda *report: reports.append(report), "training"):
        assert list(track("abcd", 4, "steps")) == list("abcd")
    assert reports == [("training", done, 4, "steps") for done in range(5)]


def test_a_short_loop_reports_nothing() -> None:
    reports: list[Any] = []
    with report_to(lambda *report: reports.append(report), "training"):
        list(track("abcd", 4, "steps"))
    list(track("abcd", 4, "steps"))
    assert not reports


def report_from_a_process(progress: Progress) -> None:
    progress("stage", 1, 2, "note")


def test_reports_arrive_from_another_process() -> None:
    reports: list[Any] = []
    listen = across_processes(lambda *report: reports.append(report))
    with listen as progress, ProcessPoolExecutor(1, get_context("spawn")) as pool:
        pool.submit(report_from_a_process, progress).result()
    assert reports == [("stage", 1, 2, "note")]


def test_without_processes_nothing_is_wrapped() -> None:
    with across_processes(no_progress, needed=False) as progress:
        assert progress is no_progress


def test_a_relay_passes_on_what_was_sent_before_it_ended() -> None:
    reports: list[Any] = []
    queue: SimpleQueue[Any] = SimpleQueue()
    before = threading.active_count()
    with relay(queue, lambda *report: reports.append(report)):
        Sender(queue)("stage", 1, 2)
    assert reports == [("stage", 1, 2, "")]
    assert threading.active_count() == before


def test_cores_are_counted() -> None:
    assert cores() >= 1
