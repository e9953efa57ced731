"""The how-to for a strategy of one's own: its files and its commands, run as they stand there, and dotted paths."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from support import ROOT

DOCUMENT = ROOT / "docs/how-to/add-a-strategy.md"
FILES = dict(re.findall(r"^`([\w.]+)`:\n\n```\w+\n(.*?)```", DOCUMENT.read_text(), re.DOTALL | re.MULTILINE))
COMMANDS = "".join(re.findall(r"```console\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)).splitlines()
(DOTTED,) = re.findall(r"```toml\n(\[strategies\.mine\].*?)```", DOCUMENT.read_text(), re.DOTALL)

PLAIN = '''
from asal.core import Selection


def first_ids(now, n, rng):
    """The n unlabelled images of the lowest ids."""
    ids = next(now.candidates.blocks())[:n]
    return Selection(ids, -ids.astype(float))


def unevenness(probs):
    """Minus the largest probability."""
    return -probs.max(-1)
'''
MORE = """
[strategies.first]
kind = "plain_strategies:first_ids"

[strategies.uneven]
kind = "subset"
score = "plain_strategies:unevenness"
size = 50
"""


def execute(line: str, folder: Path) -> str:
    """Run a command line of the document in its folder, and return what it prints."""
    program, *words = line.split()
    if program == "pip":  # without the network, and not into the environment of the tests
        words = ["install", "--quiet", "--no-deps", "--no-build-isolation", "--target", "site", "."]
    paths = [str(ROOT / "src"), str(folder / "site")]
    settings = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "NO_COLOR": "1", "COLUMNS": "200"}
    done = subprocess.run(
        [sys.executable, "-m", program, *words],
        cwd=folder, env=settings, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the document's files, its comparison made smaller, and installed."""
    folder = tmp_path_factory.mktemp("asal-diverse")
    for name, text in FILES.items():
        (folder / name).write_text(text)
    spec = FILES["digits.toml"].replace("budget = 200", "budget = 40")
    (folder / "digits.toml").write_text(spec + "\n" + DOTTED + MORE)
    (folder / "plain_strategies.py").write_text(PLAIN)
    execute("pip install -e .", folder)
    return folder


def test_the_document_has_the_files_that_it_counts() -> None:
    lines = sum(bool(line.strip()) for text in FILES.values() for line in text.splitlines())
    assert f"four files of {lines} lines" in DOCUMENT.read_text() and len(FILES) == 4


def test_the_installed_strategy_is_listed_and_passes_the_shipped_checks(package: Path) -> None:
    listed, checked = (next(line for line in COMMANDS if line.startswith(word)) for word in ("asal list", "pytest"))
    assert re.search(r"^diverse +The n · `times` most uncertain", execute(listed, package), re.MULTILINE)
    assert "16 passed" in execute(checked, package)


def test_it_is_compared_with_the_others_in_processes_of_their_own(package: Path) -> None:
    run, report = (next(line for line in COMMANDS if line.startswith(f"asal {word} ")) for word in ("run", "report"))
    execute(run.replace("--seeds 5", "--seeds 1 --jobs 2"), package)
    names = {path.name for path in (package / "runs/diverse").iterdir() if (path / "seed-0").is_dir()}
    assert names == {"random", "subset", "diverse", "mine", "first", "uneven"}
    for name in names:
        rows = (package / "runs/diverse" / name / "seed-0/rows.jsonl").read_text().splitlines()
        assert [json.loads(row)["labels"] for row in rows] == [20, 30, 40], name
    execute(report, package)
    assert "diverse" in (package / "runs/diverse/summary.md").read_text()
