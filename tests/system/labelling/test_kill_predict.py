"""Predictions that are interrupted: what was there before is there, and the same command then writes all of them."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from support.classified_projects import classified, new_files

# So slow that the end comes in the middle.
SLOWLY = """
import time, asal.project.prediction
asal.project.prediction.CHUNK = 1
chunk = asal.project.prediction.Predictor._chunk
asal.project.prediction.Predictor._chunk = lambda self, items: (time.sleep(0.2), chunk(self, items))[1]
"""


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGKILL])
def test_the_file_of_before_stays_and_the_next_one_is_complete(end: signal.Signals, start: Any, tmp_path: Path) -> None:
    project = classified(tmp_path, "linear")
    files, out = new_files(tmp_path / "new"), tmp_path / "found.csv"
    assert start("predict", project.root, tmp_path / "new" / "0.jpg", "--out", out).wait().code == 0
    before = out.read_bytes()
    running = start("predict", project.root, tmp_path / "new", "--out", out, first=SLOWLY)
    while not (begun := list(tmp_path.glob(".found.csv.*"))) and not running.ended():
        time.sleep(0.005)
    os.kill(running.pid, end)
    said = running.wait()
    assert begun and said.code == (130 if end == signal.SIGINT else -signal.SIGKILL)
    assert out.read_bytes() == before
    if end == signal.SIGINT:
        assert not list(tmp_path.glob(".found.csv.*")) and len(said.lines) == 1
    assert start("predict", project.root, tmp_path / "new", "--out", out).wait().code == 0
    assert len(out.read_text().splitlines()) == 1 + len(files)
