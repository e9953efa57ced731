"""Runs side by side give what runs one after another give, and keep out of each other's way."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from asal.experiments.run import RunTask, run_one
from asal.experiments.sweep import run_all
from asal.project.spec import load
from asal.runtime import artifacts
from asal.runtime.engine.local import THREAD_VARIABLES
from asal.runtime.progress import no_progress

STRATEGIES = "random,uncertainty,subset,asal"


def rows(out: Path) -> dict[str, list[dict[str, Any]]]:
    """Return every run's rows, but their seconds and the commit that made them."""
    return {
        str(path.parent.relative_to(out)): [
            {key: value for key, value in json.loads(line).items() if key not in ("seconds", "commit")}
            for line in path.read_text().splitlines()
        ]
        for path in sorted(out.glob("*/seed-*/rows.jsonl"))
    }


@pytest.fixture(scope="module")
def in_line(prepared: Path, start: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of two seeds, one run at a time."""
    out: Path = tmp_path_factory.mktemp("in-line") / "out"
    said = start("run", prepared, "--out", out, "--seeds", 2, "--jobs", 1).wait()
    assert said.code == 0, said.err
    assert "Done. Next: asal report" in said.out
    return out


def test_side_by_side_gives_the_same_rows(prepared: Path, start: Any, in_line: Path, tmp_path: Path) -> None:
    said = start("run", prepared, "--out", tmp_path / "out", "--seeds", 2, "--jobs", 2).wait()
    assert said.code == 0, said.err
    assert len(rows(in_line)) == 8 and rows(tmp_path / "out") == rows(in_line)


def test_the_library_gives_the_rows_of_the_command_line(prepared: Path, in_line: Path, tmp_path: Path) -> None:
    for name in STRATEGIES.split(","):
        run_one(RunTask(prepared, load(prepared), name, 1, tmp_path), no_progress)
    assert rows(tmp_path) == {run: found for run, found in rows(in_line).items() if run.endswith("seed-1")}


def test_every_run_has_its_line(prepared: Path, start: Any, in_line: Path) -> None:
    said = start("run", prepared, "--out", in_line, "--seeds", 2, "--strategies", "random,asal").wait()
    for name in ("random", "asal"):
        for seed in (0, 1):
            assert f"{name}, seed {seed}: 40 of 40 in 0 s · accuracy 0." in said.out


def test_workers_of_their_own_run_with_their_own_threads(prepared: Path, in_line: Path, tmp_path: Path) -> None:
    told: list[tuple[Any, ...]] = []
    before = {name: os.environ.get(name) for name in THREAD_VARIABLES}
    jobs = [RunTask(prepared, load(prepared), name, 0, tmp_path) for name in ("random", "subset")]
    run_all(jobs, 1, lambda *said: told.append(said))  # type: ignore[arg-type]
    assert {said[0] for said in told} == {"random, seed 0", "subset, seed 0"}
    assert {name: os.environ.get(name) for name in THREAD_VARIABLES} == before
    expected = rows(in_line)
    assert rows(tmp_path) == {f"{name}/seed-0": expected[f"{name}/seed-0"] for name in ("random", "subset")}


def test_a_run_that_fails_is_told_and_few_begin_after_it(
    start: Any, write_spec: Callable[..., Path], prepared: Path, tmp_path: Path
) -> None:
    project = Path(shutil.copytree(prepared, tmp_path / "project"))
    broken = {"kind": "torch", "factory": "no.such:thing", "l2": None, "iterations": None}
    said = start("run", write_spec(project, learner=broken), "--out", tmp_path / "out", "--jobs", 1).wait()
    said.refused("a factory is named as 'package.module:function'", "'no.such:thing'", "check the spelling")
    assert len(list((tmp_path / "out").glob("*/seed-*"))) < 10, "it went on after the failure"  # of 20


def test_two_commands_in_one_run_folder_do_not_mix(prepared: Path, start: Any, in_line: Path, tmp_path: Path) -> None:
    words = ("run", prepared, "--out", tmp_path, "--strategies", "random", "--seeds", 1)
    with artifacts.exclusive(tmp_path / "random" / "seed-0"):
        start(*words).wait().refused(
            "another process is at work", str(tmp_path / "random" / "seed-0"), "wait for it to end"
        )
    assert start(*words).wait().code == 0
    assert rows(tmp_path)["random/seed-0"] == rows(in_line)["random/seed-0"]


def test_two_commands_at_once_end_in_the_same_rows(prepared: Path, start: Any, in_line: Path, tmp_path: Path) -> None:
    words = ("run", prepared, "--out", tmp_path, "--seeds", 2, "--jobs", 1)
    both = [start(*words), start(*words)]
    for said in (running.wait() for running in both):
        if said.code:
            said.refused("another process is at work")
    assert start(*words).wait().code == 0
    assert rows(tmp_path) == rows(in_line)


def test_nobody_is_left_when_a_command_has_ended(prepared: Path, start: Any, tmp_path: Path) -> None:
    running = start("run", prepared, "--out", tmp_path, "--strategies", "random", "--seeds", 2, "--jobs", 2)
    running.wait()
    end = time.monotonic() + 5
    while running.alive() and time.monotonic() < end:
        time.sleep(0.02)
    assert not running.alive()


def test_damage_that_a_worker_meets_is_told_by_the_command(
    prepared: Path, start: Any, in_line: Path, tmp_path: Path
) -> None:
    out = Path(shutil.copytree(in_line, tmp_path / "out"))
    path = out / "subset" / "seed-1" / "labels.db"
    path.write_bytes(b"{}\n" * 3000)
    words = ("run", prepared, "--out", out, "--seeds", 2, "--jobs", 1)
    start(*words).wait().refused(str(path))
    assert path.read_bytes() == b"{}\n" * 3000
    shutil.rmtree(path.parent)
    assert start(*words).wait().code == 0
    assert rows(out) == rows(in_line)


def test_the_command_makes_damaged_rows_again(prepared: Path, start: Any, in_line: Path, tmp_path: Path) -> None:
    out = Path(shutil.copytree(in_line, tmp_path / "out"))
    (out / "subset" / "seed-1" / "rows.jsonl").write_bytes(b"{}\n" * 3000)
    (out / "asal" / "seed-1" / "pairs.npz").write_bytes(b"PK")
    start("report", out).wait().refused(f"run the `asal run … --out {out}`")
    assert start("run", prepared, "--out", out, "--seeds", 2, "--jobs", 1).wait().code == 0
    assert rows(out) == rows(in_line)
    assert start("report", out).wait().code == 0


def test_a_runs_folder_is_not_its_projects(prepared: Path, start: Any) -> None:
    said = start("run", prepared, "--out", prepared, "--seeds", 1).wait()
    assert said.code == 2
    assert "a run's folder is not its project's" in said.err and "--out" in said.err


def test_names_that_are_none_are_refused(prepared: Path, start: Any, tmp_path: Path) -> None:
    said = start("run", prepared, "--out", tmp_path / "out", "--strategies", " , ").wait()
    assert said.code == 2 and not (tmp_path / "out").exists()
