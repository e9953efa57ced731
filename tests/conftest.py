"""A tiny project that is prepared once, and the command line, called as a user would."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
from support import ROOT, databases
from support.commands import TINY, Command, Said, Starter, merged

os.environ.setdefault("OMP_NUM_THREADS", "1")  # networks are tiny here: threads cost more than they bring
# The processes that tests start shall find what pyproject.toml tells pytest alone.
os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT / "src"), str(ROOT / "tests"), os.environ.get("PYTHONPATH", "")])

SERVICES = {  # what some tests need besides the package: files whose tests need it, or the fixture that starts it
    "postgres": (),
    "chromium": tuple(
        f"system/web/test_{name}.py"
        for name in ("page", "photographs", "end", "keys", "many_classes", "classes_page", "proxy")
    ),
    "nginx": (),
    "labelstudio": (),
    "ray": ("system/runtime/test_ray_engine.py", "system/runtime/test_cluster.py"),
}
LEVELS = ("system", "integration", "unit")  # what takes longest begins first, so that no worker is left with it alone
SLOWEST = ("test_ray_engine", "test_people_at_once", "test_label", "test_kill_label", "test_label_studio")


def services_of_file(path: Path) -> set[str]:
    """Return the services that all tests of a file need."""
    return {name for name, files in SERVICES.items() if path.as_posix().endswith(files)}


def services_of(item: pytest.Item) -> set[str]:
    """Return the services that a test needs: by its file, its fixtures, and what it is parametrized over."""
    needed = services_of_file(item.path)
    fixtures = set(getattr(item, "fixturenames", ()))
    needed |= {"postgres"} if "postgres" in fixtures else set()
    needed |= {"labelstudio"} if "studio" in fixtures else set()
    parameters = getattr(item, "callspec", None)
    values = set() if parameters is None else {str(value) for value in parameters.params.values()}
    needed |= {"postgres"} if {"postgresql", "postgres"} & values else set()
    needed |= {"nginx"} if "nginx" in values else set()
    return needed


def level_of(path: Path) -> str:
    """Return "unit", "integration" or "system", by the folder that a test lies in; empty for doctests."""
    inside = path.relative_to(ROOT).parts if path.is_relative_to(ROOT) else ()
    return next((name for name in LEVELS if name in inside[1:2]), "")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark each test by its folder and by the services it needs, and begin with what takes longest."""
    order = {name: number for number, name in enumerate((*SLOWEST, *LEVELS, ""))}
    for item in items:
        for name in sorted({*services_of(item), level_of(item.path)} - {""}):
            item.add_marker(name)
    items.sort(key=lambda item: order.get(item.path.stem, order[level_of(item.path)]))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Fail a test that was skipped for want of a service that ASAL_REQUIRE names: a run that lacks it is not green."""
    report = yield
    if not hasattr(report, "wasxfail"):
        fail_if_required(report, {mark.name for mark in item.iter_markers()})
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Do the same for a file that is skipped as a whole."""
    report = yield
    fail_if_required(report, services_of_file(collector.path))
    return report


def fail_if_required(report: pytest.TestReport | pytest.CollectReport, services: set[str]) -> None:
    """Turn a skip into a failure where ASAL_REQUIRE names one of these services."""
    missing = sorted(services & set(os.environ.get("ASAL_REQUIRE", "").split(",")))
    if missing and report.skipped:
        why = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"ASAL_REQUIRE asks for {', '.join(missing)}, and this was skipped: {why}"


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keep what tests measure and fetch out of the cache of whoever runs them."""
    os.environ["ASAL_CACHE_DIR"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """Run a PostgreSQL server, and yield the URL of its first database."""
    if databases.binaries() is None:
        pytest.skip("PostgreSQL's server is not installed: apt-get install postgresql")
    with databases.server() as url:
        yield url


@pytest.fixture
def asal(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Command:
    """Return `asal(*words)`, which runs the command line in this process."""
    from asal.cli.main import main

    def run(*words: object) -> Said:
        monkeypatch.setenv("ASAL_DEBUG", "")  # and is as it was when the test ends, whatever `--debug` makes of it
        monkeypatch.setattr(sys, "argv", ["asal", *map(str, words)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as end:
            main()
        code = end.value.code or 0
        return Said(code if isinstance(code, int) else 1, *capfd.readouterr())

    return run


@pytest.fixture(scope="session")
def shell() -> Command:
    """Return `shell(*words)`, which runs `python -m asal` in a process of its own."""

    def run(*words: object, **settings: Any) -> Said:
        command = [sys.executable, "-m", "asal", *map(str, words)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, **settings)
        return Said(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture(scope="session")
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Starter]:
    """Return what starts commands in processes of their own, in no time."""
    starter = Starter(tmp_path_factory.mktemp("said"))
    yield starter
    starter.end()


@pytest.fixture(scope="session")
def spec() -> Callable[..., dict[str, Any]]:
    """Return `spec(section={key: value})`: the tiny spec as a plain dict, changed."""
    return lambda **changes: merged(TINY, changes)


@pytest.fixture(scope="session")
def write_spec() -> Callable[..., Path]:
    """Return `write_spec(path, section={key: value})`, which writes the tiny spec, changed, as TOML."""

    def write(path: Path, **changes: Any) -> Path:
        from asal.project.spec import to_toml

        file = path / "asal.toml" if path.is_dir() else path
        file.write_text(to_toml(merged(TINY, changes)))
        return path

    return write


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory, write_spec: Callable[..., Path]) -> Path:
    """Return a project folder that holds everything its `asal.toml` asks for. To be read, not written."""
    from asal.project.project import Project
    from asal.project.spec import load

    folder = write_spec(tmp_path_factory.mktemp("prepared"))
    Project(folder, load(folder)).prepare()
    return folder


@pytest.fixture
def tiny(prepared: Path, tmp_path: Path) -> Path:
    """Return a prepared project of one's own."""
    return Path(shutil.copytree(prepared, tmp_path / "tiny"))
