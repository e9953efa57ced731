"""The page "What asal refuses, and what helps": every error that a user can put right, read from the code.

The code is parsed, not run: a message's parts that are known only when it happens stand as ⟨words⟩. A function that
returns an error is followed to its callers, so that the page has what they pass to it.
"""

from __future__ import annotations

import ast
import builtins
import html
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from asal import errors
from asal.errors import UserError, unknown

SOURCE = Path(errors.__file__).parent
PARTS = ("got", "rule", "hint")
DEEPEST = 4  # functions that pass a text on to one another
MOST = 6  # texts of one place: an error whose words are chosen by several conditions

SECTIONS = {  # package → heading, in the order of the work
    "project": "Projects and their settings",
    "data": "Images",
    "models": "Generators and classifiers",
    "features": "Features",
    "index": "Indexes",
    "strategies": "Strategies",
    "session": "The record of the labels",
    "labelling": "Labelling, import and export",
    "web": "The labelling page",
    "cli": "The command line",
    "experiments": "Experiments",
    "reports": "Reports",
    "paper": "Reproducing the paper",
    "runtime": "Files, processes and machines",
    "registry": "Parts and plug-ins",
    "core": "The library's own checks",
}
INTRODUCTION = """# What asal refuses, and what helps

This page is generated from the code when the site is built: it has every error that you can put right, with the rule
behind it and what helps. Words in ⟨angle brackets⟩ are filled in when it happens. Search for a few words of your
message. [Troubleshooting](../how-to/troubleshooting.md) goes through the commonest errors.

In a terminal an error has the lines `error:`, `rule:` and `hint:`; over HTTP it is
`{"error": {"got", "rule", "hint"}}`; in Python it is an `asal.errors.UserError` with these attributes.
"""


@dataclass(frozen=True)
class Refusal:
    """One error: its three parts, and the file that raises it."""

    package: str
    got: str
    rule: str
    hint: str


@dataclass(frozen=True)
class _Function:
    """A function of one module, with what its calls are made of."""

    node: ast.FunctionDef | ast.AsyncFunctionDef
    package: str
    assigned: Mapping[str, list[ast.expr]] = field(default_factory=dict)

    @property
    def parameters(self) -> list[str]:
        given = self.node.args
        return [one.arg for one in (*given.posonlyargs, *given.args, *given.kwonlyargs)]


Bound = Mapping[str, list[str]]  # parameter → the texts that callers pass


def refusals(source: Path = SOURCE) -> list[Refusal]:
    """Return every error of the package, each once, in the order of the packages.

    Raises:
        ValueError: an error without a hint.
    """
    modules = {
        path: ast.parse(path.read_text(encoding="utf-8"))
        for path in sorted(source.rglob("*.py"))
        if _package(path, source) not in ("testing", "errors")
    }
    found = dict.fromkeys(one for one in _Reader(source, modules).all() if _fixed(one.got))
    order = list(SECTIONS)
    return sorted(found, key=lambda one: order.index(one.package))


class _Reader:
    """Reads the errors of parsed modules."""

    def __init__(self, source: Path, modules: Mapping[Path, ast.Module]) -> None:
        self.kinds = _error_classes(modules.values())
        self.functions = [
            _Function(node, _package(path, source), _assignments(node))
            for path, tree in modules.items()
            for node in ast.walk(tree)
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        ]
        self.calls: dict[str, list[tuple[_Function, ast.Call]]] = {}
        for function in self.functions:
            for call in _own_calls(function.node):
                self.calls.setdefault(_called(call), []).append((function, call))
        names = Counter(function.node.name for function in self.functions)
        self.unique = {name for name, times in names.items() if times == 1 and not name.startswith("__")}

    def all(self) -> Iterator[Refusal]:
        for kind in sorted(self.kinds):
            for function, call in self.calls.get(kind, ()):
                yield from self._refusals(function, call)
        for function, call in self.calls.get(unknown.__name__, ()):
            yield from self._unknown_names(function, call)

    def _refusals(self, function: _Function, call: ast.Call) -> Iterator[Refusal]:
        arguments = dict(zip(PARTS[:1], call.args, strict=False)) | {
            word.arg: word.value for word in call.keywords if word.arg in PARTS
        }
        if "got" not in arguments or any(isinstance(one, ast.Starred) for one in call.args):
            return
        if "hint" not in arguments and isinstance(arguments["got"], ast.Call):
            return  # it wraps an error, which is read where it is built
        if "hint" not in arguments:
            raise ValueError(f"{ast.unparse(call)}: an error has a hint")
        used = {name.id for value in arguments.values() for name in ast.walk(value) if isinstance(name, ast.Name)}
        for caller, bound in self._bindings(function, used & set(function.parameters)):
            texts = {part: self._texts(arguments[part], function, bound) for part in arguments}
            most = max(map(len, texts.values()))
            for place in range(min(most, MOST)):
                got, rule, hint = (_at(texts.get(part, [""]), place) for part in PARTS)
                yield Refusal(caller.package, got, rule, hint)

    def _unknown_names(self, function: _Function, call: ast.Call) -> Iterator[Refusal]:
        """Yield what `asal.errors.unknown` says of a name."""
        for kind in self._texts(call.args[0], function, {}):
            error = unknown(kind, "⟨name⟩", ["⟨names⟩"])
            yield Refusal(
                function.package, error.got, error.rule, "did you mean ⟨the nearest name⟩? Or choose one of them"
            )

    def _bindings(self, function: _Function, wanted: set[str], depth: int = 0) -> Iterator[tuple[_Function, Bound]]:
        """Yield the sentences that each caller passes as the wanted parameters; nothing where nobody passes one."""
        follow = wanted and depth < DEEPEST and function.node.name in self.unique
        found = False
        for caller, call in self.calls.get(function.node.name, ()) if follow else ():
            passed = _passed(function, call, wanted)
            names = {value.id for value in passed.values() if isinstance(value, ast.Name)}
            for outer, bound in self._bindings(caller, names & set(caller.parameters), depth + 1):
                texts = {name: self._texts(value, caller, bound) for name, value in passed.items()}
                if sentences := {name: some for name, some in texts.items() if any(" " in _fixed(one) for one in some)}:
                    found = True
                    yield outer, sentences
        if not found:
            yield function, {}

    def _texts(self, value: ast.expr, function: _Function, bound: Bound, depth: int = 0) -> list[str]:
        """Return the texts that an expression can have."""
        if isinstance(value, ast.Constant):
            return [str(value.value)]
        if isinstance(value, ast.IfExp):
            return [
                *self._texts(value.body, function, bound, depth),
                *self._texts(value.orelse, function, bound, depth),
            ]
        if isinstance(value, ast.BinOp) and isinstance(value.op, ast.Add) and _is_text(value):
            return _joined([self._texts(side, function, bound, depth) for side in (value.left, value.right)])
        if isinstance(value, ast.BoolOp):
            return [text for one in value.values for text in self._texts(one, function, bound, depth)]
        if isinstance(value, ast.JoinedStr):
            return _joined([self._texts(part, function, bound, depth) for part in value.values])
        if isinstance(value, ast.FormattedValue):
            return self._texts(value.value, function, bound, depth)
        if isinstance(value, ast.Name) and value.id in bound:
            return bound[value.id]
        if isinstance(value, ast.Name) and depth < DEEPEST:
            assigned = [one for one in function.assigned.get(value.id, ()) if _is_text(one)]
            if assigned:
                return [text for one in assigned for text in self._texts(one, function, bound, depth + 1)]
        return [f"⟨{_words(value)}⟩"]


def _error_classes(trees: Iterable[ast.Module]) -> set[str]:
    """Return the names of `UserError` and of the classes below it, in these modules and in `asal.errors`."""
    bases = {
        node.name: {base.id for base in node.bases if isinstance(base, ast.Name)}
        for tree in trees
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
    }
    known = {name for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, UserError)}
    while more := {name for name, above in bases.items() if above & known} - known:
        known |= more
    return known


def _package(path: Path, source: Path) -> str:
    return path.relative_to(source).parts[0].removesuffix(".py")


def _own_calls(function: ast.AST) -> Iterator[ast.Call]:
    """Yield the calls in a function, without those of functions inside of it."""
    for child in ast.iter_child_nodes(function):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if isinstance(child, ast.Call):
            yield child
        yield from _own_calls(child)


def _called(call: ast.Call) -> str:
    return call.func.id if isinstance(call.func, ast.Name) else getattr(call.func, "attr", "")


def _assignments(function: ast.AST) -> dict[str, list[ast.expr]]:
    found: dict[str, list[ast.expr]] = {}
    for node in ast.walk(function):
        if isinstance(node, ast.Assign):
            for target in node.targets:
                pairs = [(target, node.value)]
                if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
                    pairs = list(zip(target.elts, node.value.elts, strict=False))
                for one, value in pairs:
                    if isinstance(one, ast.Name):
                        found.setdefault(one.id, []).append(value)
    return found


def _passed(function: _Function, call: ast.Call, wanted: set[str]) -> dict[str, ast.expr]:
    names = [name for name in function.parameters if name not in ("self", "cls")]
    given = dict(zip(names, call.args, strict=False)) | {word.arg: word.value for word in call.keywords if word.arg}
    return {name: given[name] for name in wanted & given.keys()}


def _fixed(text: str) -> str:
    """Return a text without the words that are filled in."""
    return re.sub("⟨[^⟩]*⟩", "", text).strip()


def _is_text(value: ast.expr) -> bool:
    if isinstance(value, ast.IfExp):
        return _is_text(value.body) or _is_text(value.orelse)
    if isinstance(value, ast.BinOp):
        return _is_text(value.left) or _is_text(value.right)
    return isinstance(value, ast.JoinedStr) or (isinstance(value, ast.Constant) and isinstance(value.value, str))


def _joined(parts: list[list[str]]) -> list[str]:
    """Return the texts of parts that follow one another: where one of them varies, the others stay."""
    most = max(map(len, parts), default=0)
    return ["".join(_at(part, place) for part in parts) for place in range(most)]


def _at(texts: list[str], place: int) -> str:
    return texts[min(place, len(texts) - 1)] if texts else ""


def _words(value: ast.expr) -> str:
    """Return a few words for an expression that is known only when the error happens."""
    if isinstance(value, ast.Name):
        return value.id.strip("_").replace("_", " ")
    if isinstance(value, ast.Attribute):
        return value.attr.strip("_").replace("_", " ")
    if isinstance(value, ast.Call):
        name = _called(value)
        if name == "len":
            return "number"
        inner = [one for one in (*value.args, getattr(value.func, "value", None)) if isinstance(one, ast.expr)]
        plain = hasattr(builtins, name) or hasattr(str, name) or name in ("counted", "quoted", "reason", "count")
        return _words(inner[0]) if inner and plain else name.strip("_").replace("_", " ")
    if isinstance(value, ast.Subscript):
        return _words(value.value)
    if isinstance(value, ast.GeneratorExp | ast.ListComp | ast.SetComp):
        return _words(value.generators[0].iter)
    return "…"


def page() -> str:
    """Return the page's Markdown."""
    lines, package = [INTRODUCTION], ""
    for one in refusals():
        if one.package != package:
            package = one.package
            lines.append(f"\n## {SECTIONS[package]}\n")
        rule = f"  \n  Rule: {_inline(one.rule)}." if one.rule else ""
        lines.append(f"\n- **{_inline(one.got)}**{rule}  \n  What helps: {_inline(one.hint)}.\n")
    return "".join(lines)


def _inline(text: str) -> str:
    """Return a message as Markdown that shows it as it is."""
    shown = html.escape(" ".join(text.split()), quote=False)
    return "".join(f"\\{letter}" if letter in r"\`*_{}[]#|" else letter for letter in shown)
