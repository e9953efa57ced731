"""Tests that need a service say so, and a run that must have it fails where it is missing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support import ROOT

CASES = {
    "required": ("ray", "a skip that ASAL_REQUIRE forbids is a failure", 1),
    "another is required": ("chromium", "another service is required", 5),
    "nothing is required": ("", "a skip stays a skip", 5),
}


@pytest.mark.slow
@pytest.mark.parametrize(("require", "why", "code"), CASES.values(), ids=CASES)
def test_a_file_that_is_skipped_for_want_of_a_required_service_fails(
    require: str, why: str, code: int, tmp_path: Path
) -> None:
    place = tmp_path / "tests" / "system" / "runtime"
    place.mkdir(parents=True)
    (place / "test_cluster.py").write_text("import pytest\npytest.importorskip('a_library_that_nobody_has')\n")
    (tmp_path / "tests" / "conftest.py").write_text((ROOT / "tests" / "conftest.py").read_text())
    paths = os.pathsep.join([str(ROOT / "src"), str(ROOT / "tests")])
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)],
        env={**os.environ, "ASAL_REQUIRE": require, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in ({1, 2} if code == 1 else {code}), f"{why}\n{done.stdout}\n{done.stderr}"
    assert ("ASAL_REQUIRE asks for ray" in done.stdout) == (code == 1)


def test_tests_are_marked_by_what_they_use(request: pytest.FixtureRequest) -> None:
    marked = {item.path.name: {mark.name for mark in item.iter_markers()} for item in request.session.items}
    assert "unit" in marked[Path(__file__).name]
