"""The engine of this machine's processes: every task runs once, and processes that die or do not end are handled."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import pytest
from support.toy_tasks import Errand

from asal.errors import UserError
from asal.runtime.engine import local
from asal.runtime.engine.local import Local


def test_every_piece_is_done_once_and_yielded_with_what_it_returned(tmp_path: Path) -> None:
    works = [Errand(number, tmp_path) for number in range(6)]
    assert {work.number: said for work, said in Local(2).map_unordered(works)} == {n: n**2 for n in range(6)}
    assert len(list(tmp_path.iterdir())) == 6


def test_torch_is_held_to_the_threads_of_a_worker(tmp_path: Path) -> None:
    works = [Errand(number, tmp_path, "count threads", needs_torch=True) for number in range(2)]
    assert [threads for _, threads in Local(1, threads=2).map_unordered(works)] == [2, 2]


def test_what_a_task_refuses_is_raised_and_nothing_begins_after_it(tmp_path: Path) -> None:
    works = [Errand(0, tmp_path, "refuse"), *(Errand(number, tmp_path, "linger") for number in range(1, 12))]
    with pytest.raises(UserError, match="errand 0 went wrong; errands go well; try another"):
        list(Local(2).map_unordered(works))
    assert len(list(tmp_path.iterdir())) < 12


def test_a_killed_process_is_reported_with_the_tasks_in_hand(tmp_path: Path) -> None:
    works = [Errand(number, tmp_path, "die" if number == 3 else "") for number in range(6)]
    with pytest.raises(UserError, match="a process was killed") as caught:
        list(Local(2, option="--jobs").map_unordered(works))
    assert "errand" in caught.value.got and "fewer --jobs" in caught.value.hint


def test_a_process_that_does_not_end_by_itself_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "LOOK", 0.5)
    before = set(multiprocessing.active_children())
    works = [Errand(number, tmp_path, "cling" if number == 0 else "linger") for number in range(3)]
    assert len(list(Local(2).map_unordered(works))) == 3
    assert not set(multiprocessing.active_children()) - before
