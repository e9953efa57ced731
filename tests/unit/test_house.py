"""The layout of the package: who may import whom, how long files and functions are, what the first seconds load."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from support import ROOT, layers
from support.layers import upward

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
    {"paper", "web"},
    {"cli", "__init__"},
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
    "httpx",
)


MODULES = layers.modules(SOURCE)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_a_module_knows_nothing_above_it(path: Path) -> None:
    assert not upward(layers.package(path, SOURCE), layers.imported(path), LAYERS)


def test_the_layer_check_can_fail() -> None:
    assert upward("core", {"session"}, LAYERS)
    assert upward("data", {"models"}, LAYERS)
    assert upward("features", {"index"}, LAYERS)
    assert upward("testing", {"cli"}, LAYERS)
    assert not upward("strategies", {"core", "features", "runtime"}, LAYERS)


def test_few_packages_stand_at_the_root_and_few_imports_join_them() -> None:
    edges = layers.package_edges(SOURCE)
    assert len(edges.keys() - {"__init__", "__main__"}) <= 18
    assert sum(map(len, edges.values())) <= 110


def test_no_package_and_no_file_imports_itself_by_way_of_others() -> None:
    assert layers.circles(layers.package_edges(SOURCE)) == []
    assert layers.circles(layers.file_edges(SOURCE)) == []


def test_the_check_for_circles_can_fail() -> None:
    edges = {"a": {"b"}, "b": {"c"}, "c": {"a", "d"}, "d": {"d"}, "e": {"a"}}
    assert layers.circles(edges) == [["a", "b", "c"], ["d"]]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
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


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
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
    for path in MODULES:
        text = path.read_text()
        assert "pickle.load" not in text
        assert "allow_pickle=True" not in text
        # Weights that are published in no other form are converted once, by torch's reader of tensors alone.
        assert all("weights_only=True" in line for line in text.splitlines() if "torch.load" in line)
        assert "torch.load" not in text or path.name == "efficientnet_lite0.py"
