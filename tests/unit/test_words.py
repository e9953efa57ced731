"""The glossary's words to avoid stay out of public names; messages and pages have fewer and fewer of them."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from support import ROOT

SOURCE = ROOT / "src" / "asal"
GLOSSARY = ROOT / "docs" / "glossary.md"
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")])
ABOUT_WORDS = {"glossary.md", "upgrading.md"}  # they name the old words


def rows(title: str) -> list[list[str]]:
    """Return the cells of the glossary's table below a title."""
    text = GLOSSARY.read_text(encoding="utf-8")
    section = text[text.index(title) :]
    lines = [line for line in section.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[1:]]


@cache
def avoided() -> frozenset[str]:
    """Return the identifiers that the glossary's last column avoids, in lower case."""
    return frozenset(word for row in rows("# Glossary") if len(row) == 3 for word in re.findall(r"`(\w+)`", row[2]))


@cache
def phrases() -> frozenset[str]:
    """Return what the glossary's last column avoids in sentences alone."""
    return frozenset(word for row in rows("# Glossary") if len(row) == 3 for word in re.findall(r'"([^"]+)"', row[2]))


@cache
def exceptions() -> frozenset[str]:
    return frozenset(name for row in rows("## Exceptions") for name in re.findall(r"`([\w.()]+)`", row[0]))


def words(name: str) -> str:
    """Return a name's words in lower case, joined by single underscores: `NoProgress` is `no_progress`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower().strip("_")


def offends(name: str) -> bool:
    return any(f"_{word}_" in f"_{words(name)}_" for word in avoided())


def parameters(node: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[str]:
    arguments = node.args
    for argument in [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]:
        if not argument.arg.startswith("_"):
            yield argument.arg


def public(tree: ast.AST, owner: str = "") -> Iterator[str]:
    """Yield the public names that a tree defines: classes, functions, methods, fields, and parameters as `f(x)`."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield owner + node.name
            yield from public(node, f"{owner}{node.name}.")
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            shown = node.name if not node.name.startswith("_") else ""
            if shown:
                yield owner + shown
            if shown or node.name in ("__init__", "__call__"):
                yield from (f"{owner}{node.name}({name})" for name in parameters(node))
        elif (
            isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and owner and node.target.id[0] != "_"
        ):
            yield owner + node.target.id


def offenders(path: Path) -> list[str]:
    """Return the public names of a module that contain a word to avoid, without the glossary's exceptions."""
    names = [path.stem, *public(ast.parse(path.read_text(encoding="utf-8")))]
    last = {name: re.split(r"[.(]", name.rstrip(")"))[-1] for name in names}
    return [name for name in dict.fromkeys(names) if offends(last[name]) and name not in exceptions()]


@pytest.mark.parametrize("package", sorted({path.relative_to(SOURCE).parts[0] for path in SOURCE.rglob("*.py")}))
def test_public_names_use_the_fields_words(package: str) -> None:
    paths = [SOURCE / package] if package.endswith(".py") else sorted((SOURCE / package).rglob("*.py"))
    found = {str(path.relative_to(SOURCE)): names for path in paths if (names := offenders(path))}
    assert not found


def test_the_check_of_names_can_fail(tmp_path: Path) -> None:
    module = tmp_path / "desk.py"
    module.write_text(
        "class Session:\n    def tell(self, remedy): ...\n    def tells(self): ...\n    unwatched: int = 0\n"
    )
    assert offenders(module) == ["desk", "Session.tell(remedy)", "Session.unwatched"]
    assert {"came", "remedy", "tell", "anew"} <= avoided() and "hangs on" in phrases()


def sentences(path: Path) -> list[str]:
    """Return the texts that people see: string literals of three words or more, without docstrings."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    docs = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    texts = (node for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str))
    return [node.value for node in texts if id(node) not in docs and node.value.count(" ") >= 2]


COINED = ("told", "came", "anew", "hangs on", "made up", "mend", "remedy", "foretell", "opinion", "climb")


def count(texts: list[str]) -> int:
    return sum(len(re.findall(rf"\b{word}\w*\b", text, re.IGNORECASE)) for text in texts for word in COINED)


def prose(path: Path) -> str:
    """Return a page without its code, and without lines that quote the paper."""
    return re.sub(r"```.*?```|`[^`]*`|\]\([^)]*\)", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)


MESSAGES, COINED_IN_PAGES = 15, 8  # before the words were changed there were 61 and 131; these only go down


def test_messages_use_plain_words() -> None:
    assert count([text for path in SOURCE.rglob("*.py") for text in sentences(path)]) <= MESSAGES


def test_pages_use_plain_words() -> None:
    found = {path.name: count([prose(path)]) for path in PAGES if path.name not in ABOUT_WORDS}
    assert sum(found.values()) <= COINED_IN_PAGES, {name: number for name, number in found.items() if number}


def test_the_count_of_words_can_fail(tmp_path: Path) -> None:
    module = tmp_path / "module.py"
    module.write_text('"""It is told."""\nraise UserError("it is told anew here", rule="as it came")\n')
    assert sentences(module) == ["it is told anew here", "as it came"] and count(sentences(module)) == 3
