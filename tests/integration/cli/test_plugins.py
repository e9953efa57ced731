"""A plug-in that cannot be imported: one line for each on the terminal, and none from a worker."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from asal.runtime.engine.local import Local
from asal.runtime.progress import Progress


@pytest.fixture
def plugins(tmp_path: Path) -> Path:
    """Two distributions whose strategies cannot be imported."""
    for name in ("first", "second"):
        info = tmp_path / f"{name}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[asal.strategies]\n{name}-entry = no_module_of_{name}\n")
    return tmp_path


def test_each_is_one_line_of_a_command(plugins: Path) -> None:
    path = os.pathsep.join([str(plugins), *sys.path])
    done = subprocess.run(
        [sys.executable, "-m", "asal", "list", "strategies"],
        capture_output=True, text=True, check=True, timeout=120, env=os.environ | {"PYTHONPATH": path},
    )  # fmt: skip
    warned, listed = done.stderr.splitlines(), [line for line in done.stdout.splitlines() if "plug-in" in line]
    assert len(warned) == len(listed) == 2, done.stderr
    for name, warning, line in zip(("first", "second"), sorted(warned), sorted(listed), strict=True):
        text = f"the plug-in '{name}-entry' of {name} 1.0 cannot be imported: ModuleNotFoundError"
        assert warning.startswith(f"warning: {text}") and warning.endswith("its strategy is left out")
        assert line.startswith(text)


@dataclass(frozen=True)
class CountStrategies:
    """A task that reads the strategies."""

    name: str = "count"
    size: int = 1
    needs_torch: bool = False

    def run(self, progress: Progress) -> int:
        from asal.strategies import strategies

        return len(strategies.failed)


def test_a_worker_is_silent(plugins: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.syspath_prepend(plugins)
    assert [failed for _, failed in Local(1).map_unordered([CountStrategies()])] == [2]
    assert capfd.readouterr().err == ""
