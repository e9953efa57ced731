"""What slows the work down, and how many cores there are."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from asal.runtime import environment, slowness


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    """A machine of two cores, whose load and threads can be set."""
    facts = {"load": 1.0, "threads": 1}
    monkeypatch.setattr(slowness.os, "getloadavg", lambda: (facts["load"], 0.0, 0.0))
    monkeypatch.setattr(slowness.os, "cpu_count", lambda: 2)
    monkeypatch.setattr(slowness, "cores", lambda: 2)
    monkeypatch.setattr(slowness, "_threads", lambda: int(facts["threads"]))
    monkeypatch.setattr(slowness.multiprocessing, "active_children", list)
    return facts


@pytest.mark.parametrize(("load", "threads"), [(0.0, 1), (2.2, 2), (2.0, 1), (1.9, 1)])
def test_a_machine_with_room_is_not_complained_of(load: float, threads: int, machine: dict[str, float]) -> None:
    machine.update(load=load, threads=threads)
    assert slowness.causes() == {}


def test_other_processes_are_counted_without_our_own(machine: dict[str, float]) -> None:
    machine.update(load=4.1, threads=2)
    assert slowness.causes() == {"others": "about 2 other processes want the 2 cores of this machine, too (load 4.1)"}
    machine.update(load=2.8, threads=2)
    assert "about 1 other process wants" in slowness.causes()["others"]


def test_threads_that_share_a_core_are_reported_with_the_setting_that_helps(machine: dict[str, float]) -> None:
    machine.update(threads=8)
    assert slowness.causes() == {"threads": "8 threads share 2 cores, and wait for each other: set OMP_NUM_THREADS=2"}


def test_the_threads_of_this_process_are_those_of_torch() -> None:
    code = "import torch; torch.set_num_threads(7); from asal.runtime import slowness; print(slowness._threads())"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "7\n"


@pytest.mark.parametrize(
    ("texts", "quota"),
    [
        (("150000 100000\n",), 2),
        (("max 100000\n",), None),
        (("50000 100000\n",), 1),
        (("-1\n", "100000\n"), None),
        (("300000\n", "100000\n"), 3),
        (("broken",), None),
    ],
)
def test_a_containers_quota_counts(
    texts: tuple[str, ...], quota: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = [tmp_path / str(number) for number in range(len(texts))]
    for file, text in zip(files, texts, strict=True):
        file.write_text(text)
    monkeypatch.setattr(environment, "QUOTAS", ((str(tmp_path / "none"),), tuple(map(str, files))))
    monkeypatch.setattr(environment.os, "sched_getaffinity", lambda _: set(range(16)))
    assert environment.cores() == (quota or 16)
