"""`run` gives the rows of the command line, in a notebook and in a script."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from asal.errors import UserError
from asal.experiments.api import _checked_seeds, open_project, run
from asal.experiments.sweep import compare
from asal.project.project import Project


def rows(out: Path) -> dict[str, list[dict[str, Any]]]:
    return {
        str(path.parent.relative_to(out)): [
            {key: value for key, value in json.loads(line).items() if key != "seconds"}
            for line in path.read_text().splitlines()
        ]
        for path in sorted(out.glob("*/seed-*/rows.jsonl"))
    }


@pytest.fixture(scope="module")
def in_processes(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict[str, Any]]]:
    out = tmp_path_factory.mktemp("processes")
    compare(Project.open(prepared), ["random", "asal"], [0, 1], out, 2)
    return rows(out)


def test_runs_in_this_process_are_those_of_processes(
    prepared: Path, in_processes: dict[str, list[dict[str, Any]]], tmp_path: Path
) -> None:
    import torch

    threads, told = torch.get_num_threads(), []
    results = run(prepared, ["random", "asal"], 2, tmp_path, progress=lambda *said: told.append(said))  # type: ignore[arg-type]
    assert rows(tmp_path) == in_processes
    assert torch.get_num_threads() == threads, "it keeps the threads"
    assert not results.unfinished and len(results.table()) == 12
    assert ("asal, seed 1", 40, 40) in {said[:3] for said in told}


def test_a_project_a_folder_and_a_spec_are_the_same(prepared: Path, tmp_path: Path) -> None:
    results = [
        run(what, "random", [1], tmp_path) for what in (prepared, str(prepared / "asal.toml"), Project.open(prepared))
    ]
    assert all(result.strategies == ["random"] and result.facts["seeds"] == [1] for result in results)
    spec = tmp_path / "mine.toml"
    spec.write_text((prepared / "asal.toml").read_text())
    opened = open_project(spec)
    assert opened.root == Path(opened.spec.name)


SCRIPT = """
import sys
from asal.experiments.api import run
results = run(sys.argv[1], ["random"], 1, sys.argv[2], {jobs})
print(results.strategies, len(results.table()))
"""


def script(prepared: Path, tmp_path: Path, jobs: int) -> subprocess.CompletedProcess[str]:
    path = tmp_path / "script.py"
    path.write_text(SCRIPT.format(jobs=jobs))
    words = [sys.executable, path, prepared, tmp_path / "out"]
    return subprocess.run(words, capture_output=True, text=True, timeout=300, check=False)


def test_a_plain_script_needs_no_main_guard(prepared: Path, tmp_path: Path) -> None:
    done = script(prepared, tmp_path, jobs=1)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "['random'] 3\n"


def test_a_script_that_starts_processes_without_a_main_guard_is_told_of_it(prepared: Path, tmp_path: Path) -> None:
    done = script(prepared, tmp_path, jobs=2)
    assert done.returncode != 0 and 'if __name__ == "__main__"' in done.stderr


@pytest.mark.parametrize("seeds", [0, -1, [], [-1], ["one"], [0.5], True, [True], None, 0.5, np.array([0.5])])
def test_seeds_that_are_none_are_refused(prepared: Path, tmp_path: Path, seeds: Any) -> None:
    with pytest.raises(UserError, match="seeds = "):
        run(prepared, None, seeds, tmp_path)


@pytest.mark.parametrize("count", [0, None, "2", True, 1.0])
@pytest.mark.parametrize("name", ["jobs", "threads"])
def test_jobs_and_threads_that_are_none_are_refused(prepared: Path, tmp_path: Path, name: str, count: Any) -> None:
    with pytest.raises(UserError, match=f"{name} = {count!r} is not a number of {name}"):
        run(prepared, None, 1, tmp_path, **{name: count})


def test_no_strategy_is_not_every_strategy(prepared: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="names no strategy; name one or more, or pass None for all"):
        run(prepared, [], 1, tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("seeds", "numbers"),
    [(np.int64(3), [0, 1, 2]), (np.array([2, 1]), [2, 1]), ([np.int64(4)], [4]), (range(2), [0, 1])],
)
def test_seeds_are_whole_numbers_of_any_kind(seeds: Any, numbers: list[int]) -> None:
    assert _checked_seeds(seeds) == numbers and {type(seed) for seed in _checked_seeds(seeds)} == {int}
