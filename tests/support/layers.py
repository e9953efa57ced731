"""The ground plan of the package, measured from its imports: `python tests/support/layers.py [SRC/asal]`.

- A *name at the root* is a module or package that one can import from `asal` (so not `__init__`, `__main__`, `specs`).
- An *edge* is a pair (package, another package that a file in it imports), counted once, wherever in the file the
  import stands; a module at the root counts as a package. Imports under TYPE_CHECKING do not count: nothing runs them.
- An edge runs *up* if what it leads to is not on a lower layer. The layers are `LAYERS` of the checkout's
  `test_house.py`. `testing` is on none: it may import all but the two faces, and only tests import it.
- A *circle* is a set of packages, or of files, each of which imports every other one, directly or by way of others.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

Edges = dict[str, set[str]]  # who imports whom
FACES = {"cli", "web"}
HOUSE_TESTS = ("tests/unit/test_house.py", "tests/test_house.py")  # now, and before the tests mirrored the package


def modules(source: Path) -> list[Path]:
    """Return every module below `source`, except templates of files that a project gets."""
    return sorted(path for path in source.rglob("*.py") if "templates" not in path.parts)


def package(path: Path, source: Path) -> str:
    """Return the name at the root that a module belongs to."""
    return path.relative_to(source).parts[0].removesuffix(".py")


def imports(path: Path) -> set[tuple[str, ...]]:
    """Return what a module imports from asal, as dotted names without `asal`; not what is imported for types only."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = []
    names: set[tuple[str, ...]] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "asal":
            names |= {(*node.module.split(".")[1:], alias.name) for alias in node.names}
        elif isinstance(node, ast.Import):
            names |= {tuple(alias.name.split(".")[1:]) for alias in node.names if alias.name.startswith("asal.")}
    return names


def imported(path: Path) -> set[str]:
    """Return the packages that a module imports, wherever in the file."""
    return {name[0] for name in imports(path)}


def package_edges(source: Path) -> Edges:
    """Return, for every package, the other packages that it imports."""
    edges: Edges = {}
    for path in modules(source):
        name = package(path, source)
        edges[name] = edges.get(name, set()) | (imported(path) - {name})
    return edges


def file_edges(source: Path) -> Edges:
    """Return, for every module, the modules that it imports."""
    dotted = {path.relative_to(source).with_suffix("").parts: path for path in modules(source)}
    known = {parts[:-1] if parts[-1] == "__init__" else parts for parts in dotted} - {()}
    edges: Edges = {}
    for parts, path in dotted.items():
        name = parts[:-1] if parts[-1] == "__init__" else parts
        targets = {step if step in known else step[:-1] for step in imports(path)} - {(), name}
        edges[".".join(name)] = {".".join(target) for target in targets}
    return edges


def circles(edges: Mapping[str, Iterable[str]]) -> list[list[str]]:
    """Return the groups of nodes that reach one another.

    >>> circles({"a": {"b"}, "b": {"c"}, "c": {"b"}})
    [['b', 'c']]
    """
    reach = {name: _reachable(edges, name) for name in edges}
    groups = {frozenset(other for other in reach[name] if name in reach.get(other, ())) for name in edges}
    return sorted(sorted(group) for group in groups if group)


def _reachable(edges: Mapping[str, Iterable[str]], start: str) -> set[str]:
    reached: set[str] = set()
    waiting = list(edges[start])
    while waiting:
        name = waiting.pop()
        if name not in reached:
            reached.add(name)
            waiting.extend(edges.get(name, ()))
    return reached


def level(name: str, layers: Sequence[set[str]]) -> int:
    """Return the number of a package's layer, the lowest being 0."""
    return next(i for i, layer in enumerate(layers) if name in layer)


def upward(name: str, others: Iterable[str], layers: Sequence[set[str]]) -> list[str]:
    """Return the imports of a package that the layers forbid."""
    if name == "testing":
        return [f"testing → {other}" for other in sorted(FACES & set(others))]
    if name == "__main__":  # `python -m asal` starts the command line, and is on no layer
        return [f"__main__ → {other}" for other in sorted(set(others) - {"cli"})]
    wrong = []
    for other in sorted(set(others) - {name}):
        if other == "testing":
            wrong.append(f"{name} → testing: only tests use it")
        elif level(other, layers) >= level(name, layers):
            wrong.append(f"{name} → {other}")
    return wrong


def declared_layers(source: Path) -> list[set[str]]:
    """Return `LAYERS` of the house test that belongs to the checkout of `source`."""
    house = next(path for test in HOUSE_TESTS if (path := source.parents[1] / test).is_file())
    for node in ast.parse(house.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "LAYERS":
            return list(ast.literal_eval(node.value))
    raise LookupError(f"{house} names no LAYERS")


def measured(source: Path) -> dict[str, int]:
    """Return the figures of the ground plan."""
    layers, edges, files = declared_layers(source), package_edges(source), file_edges(source)
    return {
        "names at the root": len(edges.keys() - {"__init__", "__main__"}),
        "layers": len(layers),
        "edges between packages": sum(map(len, edges.values())),
        "imports that run up": sum(len(upward(name, others, layers)) for name, others in edges.items()),
        "circles of packages": len(circles(edges)),
        "circles of files": len(circles(files)),
        "imports of a file by a file": sum(map(len, files.values())),
    }


if __name__ == "__main__":
    root = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parents[2] / "src" / "asal"
    for what, number in measured(root.resolve()).items():
        print(f"{number:5}  {what}")
