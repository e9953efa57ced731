"""The house keeps its shape: who may import whom, how long things are, what the first seconds load."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from support import ROOT

SOURCE = ROOT / "src" / "asal"

# Data goes down this list and never up; names on one line do not see each other.
LAYERS = [
    {"errors"},
    {"runtime"},
    {"registry", "core"},
    {"data", "models"},
    {"features"},
    {"index", "strategies", "session"},
    {"project"},
    {"experiments"},
    {"reports", "labelling"},
    {"paper"},
    {"web"},
    {"cli", "__init__"},
    {"__main__"},
]
HEAVY = (
    "torch",
    "matplotlib",
    "datasets",
    "sqlalchemy",
    "sklearn",
    "scipy",
    "pyarrow",
    "pydantic",
    "numpy",
    "statsmodels",
    "httpx",
)


def modules() -> list[Path]:
    return sorted(path for path in SOURCE.rglob("*.py") if "templates" not in path.parts)


def room(path: Path) -> str:
    first = path.relative_to(SOURCE).parts[0]
    return first.removesuffix(".py")


def imported(path: Path) -> set[str]:
    """Return the rooms of asal that a module imports, wherever in the file, but not those only for types."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):  # what is under TYPE_CHECKING is not imported
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = []
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "asal":
            steps = node.module.split(".")
            found |= {steps[1]} if len(steps) > 1 else {alias.name for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith("asal.")}
    return found


def level(name: str) -> int:
    return next(i for i, layer in enumerate(LAYERS) if name in layer)


def violations(name: str, seen: set[str]) -> list[str]:
    """Say what a room may not import."""
    if name == "testing":
        return [f"testing → {other}" for other in sorted(seen & {"cli", "web"})]
    wrong = []
    for other in sorted(seen - {name}):
        if other == "testing":
            wrong.append(f"{name} → testing: only tests use it")
        elif level(other) >= level(name):
            wrong.append(f"{name} → {other}")
    return wrong


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(SOURCE)))
def test_a_module_knows_nothing_above_it(path: Path) -> None:
    assert not violations(room(path), imported(path))


def test_the_layer_check_can_fail() -> None:
    assert violations("core", {"session"})
    assert violations("data", {"models"})
    assert violations("features", {"index"})
    assert violations("testing", {"cli"})
    assert not violations("strategies", {"core", "features", "runtime"})


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(SOURCE)))
def test_files_and_functions_stay_readable(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= 400
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            body = node.end_lineno - node.lineno + 1
            if ast.get_docstring(node):  # what explains a function does not make it longer
                end = node.body[0].end_lineno
                assert end is not None
                body -= end - node.body[0].lineno + 1
            assert body <= 50, f"{node.name} has {body} lines"


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(SOURCE)))
def test_every_public_name_says_what_it_is(path: Path) -> None:
    tree = ast.parse(path.read_text())
    assert ast.get_docstring(tree)
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            assert ast.get_docstring(node), f"{node.name} has no docstring"


def loaded(code: str) -> set[str]:
    script = f"import sys; {code}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return {name.split(".")[0] for name in done.stdout.splitlines()[-1].split()}


def test_import_asal_loads_nothing_heavy() -> None:
    assert not loaded("import asal") & set(HEAVY)


def test_the_help_loads_nothing_heavy() -> None:
    run = "assert CliRunner().invoke(app, ['--help']).exit_code == 0"
    code = f"from typer.testing import CliRunner; from asal.cli.main import app; {run}"
    assert not loaded(code) & set(HEAVY)


def test_no_pickle_is_read() -> None:
    for path in modules():
        text = path.read_text()
        assert "pickle.load" not in text
        assert "allow_pickle=True" not in text
        assert "torch.load" not in text
