"""Killed at any moment and called again, `prepare` and `run` end as if nothing had been.

ASAL_KILLS sets how often each is killed (4 where it is not set); the moments are spread over the whole of the work.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.kills import KILLS, OFTEN, bytes_of, gone, moments

from asal.session.events import Record

RUNS = ("random", "subset", "asal")


def uncut(start: Any, words: tuple[object, ...], first: str = "") -> float:
    """Run a command to its end and return its seconds."""
    begun = time.monotonic()
    said = start(*words, first=first).wait()
    assert said.code == 0, said.err
    return time.monotonic() - begun


# Prepare -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def whole(start: Any, write_spec: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, float]:
    """Return a project that was prepared without a cut, and how long that took."""
    folder = write_spec(tmp_path_factory.mktemp("whole"), features={"discriminator": {}}, generator={"steps": 40})
    return folder, uncut(start, ("prepare", folder), OFTEN)


def begun(whole: Path, folder: Path) -> Path:
    """Return a project of the same spec in which nothing is done."""
    folder.mkdir()
    (folder / "asal.toml").write_bytes((whole / "asal.toml").read_bytes())
    return folder


def test_prepare_ends_in_the_same_bytes_after_a_kill(start: Any, asal: Any, whole: Any, tmp_path: Path) -> None:
    expected, unfinished = bytes_of(whole[0]), 0
    for number, moment in enumerate(moments(whole[1], seed=1)):
        folder = begun(whole[0], tmp_path / str(number))
        running = start("prepare", folder, first=OFTEN)
        time.sleep(moment)
        os.kill(running.pid, signal.SIGKILL)
        running.wait()
        unfinished += bytes_of(folder) != expected
        assert asal("status", folder).code == 0, "a half-made project cannot be looked at"
        assert asal("doctor", folder).code == 0, "what is whole is damaged"
        assert start("prepare", folder, first=OFTEN).wait().code == 0
        assert bytes_of(folder) == expected, f"killed after {moment:.3f} s"
    assert unfinished, "no kill hit the work"


def test_prepare_ends_in_the_same_bytes_after_many_kills(start: Any, whole: Any, tmp_path: Path) -> None:
    folder, seconds, rng = begun(whole[0], tmp_path / "cut"), whole[1], random.Random(2)
    for _ in range(max(4, KILLS // 2)):
        running = start("prepare", folder, first=OFTEN)
        time.sleep(rng.uniform(0.1, 0.5) * seconds)
        os.kill(running.pid, signal.SIGKILL)
        running.wait()
    assert start("prepare", folder, first=OFTEN).wait().code == 0
    assert bytes_of(folder) == bytes_of(whole[0])


def test_prepare_stops_at_ctrl_c_with_a_line_and_goes_on(start: Any, whole: Any, tmp_path: Path) -> None:
    folder = begun(whole[0], tmp_path / "cut")
    running = start("prepare", folder, first=OFTEN)
    while not list(folder.glob("parts/*")):
        time.sleep(0.01)
    os.kill(running.pid, signal.SIGINT)
    said = running.wait()
    assert (said.code, said.lines) == (130, ["stopped; run the same command again to go on"])
    assert start("prepare", folder, first=OFTEN).wait().code == 0
    assert bytes_of(folder) == bytes_of(whole[0])


# Extraction that takes its time, so that a kill hits it.
SLOWLY = f"""{OFTEN}
import time, asal.features.autoencoder
encode = asal.features.autoencoder.Encoder.__call__
asal.features.autoencoder.Encoder.__call__ = lambda self, images: (time.sleep(0.1), encode(self, images))[1]
"""


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGKILL])
def test_an_extraction_that_is_ended_keeps_every_complete_shard(
    end: signal.Signals, workers: int, start: Any, asal: Any, write_spec: Callable[..., Path], tmp_path: Path
) -> None:
    words = ("prepare", write_spec(tmp_path, generator=None, strategies={"asal": None}), "--workers", workers)
    running = start(*words, first=SLOWLY)
    while len(shards := list(tmp_path.glob("features/*.partial/vectors/0*.npy"))) < 2 and not running.ended():
        time.sleep(0.005)
    os.kill(running.pid, end)
    said = running.wait()
    assert said.code == (130 if end == signal.SIGINT else -signal.SIGKILL)
    assert gone(running), "a worker outlived the command"
    complete = {path.name: path.stat().st_ino for path in shards[0].parent.glob("0*.npy")}
    assert 2 <= len(complete) < 7, "the end came too early or too late"
    assert "features/" in asal("status", tmp_path).out and asal("doctor", tmp_path).code == 0

    again = start(*words, first=OFTEN).wait()
    assert again.code == 0, again.err
    (vectors,) = tmp_path.glob("features/*/vectors")
    kept = {name: (vectors / name).stat().st_ino for name in complete}
    assert kept == complete, "a complete shard was computed again"
    rows = 64 * len(complete)
    assert f"compute the features 'autoencoder': {rows} of 400" in again.out, "its progress begins with what is there"


# Run -----------------------------------------------------------------------------------------------------------------


def words(project: Path, out: Path, jobs: int = 1) -> tuple[object, ...]:
    return ("run", project, "--out", out, "--strategies", ",".join(RUNS), "--seeds", 1, "--jobs", jobs)


def story(out: Path) -> dict[str, Any]:
    """Return all that runs leave behind, but what tells of time."""
    told: dict[str, Any] = {}
    for name in RUNS:
        folder = out / name / "seed-0"
        rows = [json.loads(line) for line in (folder / "rows.jsonl").read_text().splitlines()]
        told[f"{name} rows"] = [{key: row[key] for key in row.keys() - {"seconds", "commit"}} for row in rows]
        with Record.open(folder / "labels.db") as record:
            told[f"{name} events"] = [
                (e.seq, e.kind, e.round, e.image, e.label, {k: v for k, v in e.body.items() if k != "seconds"})
                for e in record.read()
            ]
        if (folder / "pairs.npz").exists():
            told[f"{name} pairs"] = {key: array.tolist() for key, array in np.load(folder / "pairs.npz").items()}
    return told


@pytest.fixture(scope="module")
def project(prepared: Path, write_spec: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a prepared project with runs of some length."""
    import shutil

    folder = Path(shutil.copytree(prepared, tmp_path_factory.mktemp("run") / "project"))
    return write_spec(folder, protocol={"budget": 80})


@pytest.fixture(scope="module")
def ran(start: Any, project: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], float]:
    """Return what an uncut run leaves behind, and how long it took."""
    out = tmp_path_factory.mktemp("ran") / "out"
    seconds = uncut(start, words(project, out))
    return story(out), seconds


def test_run_ends_in_the_same_rows_after_a_kill(start: Any, project: Path, ran: Any, tmp_path: Path) -> None:
    unfinished = 0
    for number, moment in enumerate(moments(ran[1], seed=3)):
        out = tmp_path / str(number)
        running = start(*words(project, out))
        time.sleep(moment)
        whom, code = [running.pid], -signal.SIGKILL
        if number % 2 and len(alive := running.alive()) > 1:  # now and then a worker instead of the command
            whom, code = [pid for pid in alive if pid != running.pid], 2
        for pid in whom:
            os.kill(pid, signal.SIGKILL)
        said = running.wait()
        assert gone(running), "a worker lives on"
        if said.code == 2:
            said.refused("a process was killed", "it resumes")
        assert said.code in (code, 0)
        unfinished += said.code != 0
        assert start(*words(project, out)).wait().code == 0
        assert story(out) == ran[0], f"killed after {moment:.3f} s"
    assert unfinished, "no kill hit the work"


def test_run_ends_in_the_same_rows_after_many_kills(start: Any, project: Path, ran: Any, tmp_path: Path) -> None:
    out, rng = tmp_path / "out", random.Random(4)
    for _ in range(max(4, KILLS // 2)):
        running = start(*words(project, out, jobs=2))
        time.sleep(rng.uniform(0.1, 0.6) * ran[1])
        os.kill(running.pid, signal.SIGKILL)
        running.wait()
        assert gone(running), "a worker lives on"
    assert start(*words(project, out, jobs=2)).wait().code == 0
    assert story(out) == ran[0]


@pytest.mark.parametrize("whole_terminal", [True, False], ids=["from the terminal", "to the command alone"])
def test_run_stops_at_ctrl_c_with_a_line_and_goes_on(
    whole_terminal: bool, start: Any, project: Path, ran: Any, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    running = start(*words(project, out, jobs=2))
    while not list(out.glob("*/*/rows.jsonl")):
        time.sleep(0.01)
    (os.killpg if whole_terminal else os.kill)(running.pid, signal.SIGINT)
    said = running.wait(20)
    assert (said.code, said.lines) == (130, ["stopped; run the same command again to go on"])
    assert gone(running), "a worker lives on"
    unfinished = sum((out / name / "seed-0").exists() for name in RUNS) < len(RUNS) or story(out) != ran[0]
    assert unfinished, "it went on to the end"
    assert start(*words(project, out)).wait().code == 0
    assert story(out) == ran[0]


def test_the_real_command_takes_its_workers_with_it(project: Path, ran: Any, start: Any, tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = [sys.executable, "-m", "asal", *map(str, words(project, out))]
    quiet: Any = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "start_new_session": True}
    with subprocess.Popen(command, **quiet) as running:
        while not list(out.glob("*/*/rows.jsonl")):
            assert running.poll() is None
            time.sleep(0.05)
        running.kill()
    assert gone(type(start("--help"))(start, running.pid, out, out)), "a worker lives on"
    assert start(*words(project, out)).wait().code == 0
    assert story(out) == ran[0]
