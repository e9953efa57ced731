"""Parts by name: what is registered, what it declares, and options that are checked before any work."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from annotated_types import Ge, Gt

from asal.data.sources import sources
from asal.errors import UserError
from asal.features import features
from asal.index import indexes
from asal.models.generators import generators
from asal.models.learners import learners
from asal.registry import WORDS, Registry
from asal.strategies import strategies
from asal.strategies.scores import scores

EVERY = {
    "source": sources, "generator": generators, "kind of features": features, "index": indexes, "learner": learners,
    "score": scores, "strategy": strategies,
}  # fmt: skip


@pytest.fixture
def parts() -> Registry:
    registry = Registry("toy", package=None)

    @registry.register("frozen", needs=("index",), provides=("gradient",), cost="linear")
    @dataclass(frozen=True)
    class Frozen:
        """A frozen dataclass.

        And more of it.
        """

        path: str
        width: Annotated[int, Ge(1)] = 8
        rate: Annotated[float, Gt(0)] = 1e-3
        precision: Literal["bf16", "float32"] = "bf16"
        options: Mapping[str, Any] = field(default_factory=dict)

    @registry.register("function")
    def function(
        now: Any, n: int, rng: Any, *, score: str = "entropy", k: int | None = None, paper: bool = False
    ) -> None:
        """A function."""

    @registry.register("bare")
    def bare(now: Any) -> None: ...

    return registry


def test_a_part_says_what_it_is(parts: Registry) -> None:
    part = parts["frozen"]
    assert (part.kind, part.name, part.cost) == ("toy", "frozen", "linear")
    assert part.summary == "A frozen dataclass."
    assert part.needs == {"index"}
    assert part.provides == {"gradient"}
    assert (parts["function"].cost, parts["function"].needs) == ("constant", frozenset())
    assert parts["bare"].summary == ""


def test_a_registry_is_a_mapping(parts: Registry) -> None:
    assert list(parts) == ["bare", "frozen", "function"], "in alphabetical order"
    assert len(parts) == 3
    assert "frozen" in parts
    assert "frizen" not in parts
    assert dict(parts)["function"].make(None, 1, None) is None


def test_options_come_with_their_defaults(parts: Registry) -> None:
    assert parts["frozen"].options({"path": "x", "width": 3}) == {
        "path": "x", "width": 3, "rate": 1e-3, "precision": "bf16", "options": {}
    }  # fmt: skip
    assert parts["frozen"].make(**parts["frozen"].options({"path": "x"})).width == 8
    assert parts["function"].options({"k": 5}) == {"score": "entropy", "k": 5, "paper": False}
    assert parts["bare"].options({}) == {}


def test_what_a_function_is_called_with_is_no_option(parts: Registry) -> None:
    assert list(parts["function"].parameters) == ["score", "k", "paper"]
    with pytest.raises(UserError, match="is called 'n'"):
        parts["function"].options({"n": 3})


def test_defaults_are_not_shared(parts: Registry) -> None:
    one, two = (parts["frozen"].options({"path": "x"}) for _ in range(2))
    assert one["options"] is not two["options"]


@pytest.mark.parametrize(
    ("name", "given", "said"),
    [
        (
            "frozen",
            {"path": "x", "widht": 3},
            r"no option of toy 'frozen' is called 'widht'.*mean 'width'\?",
        ),
        ("frozen", {"path": "x", "zzz": 3}, "called 'zzz'; the options of toy 'frozen' are .*; choose one of them"),
        (
            "bare",
            {"width": 3},
            "called 'width'; there are no options of toy 'bare'; leave it out",
        ),
        ("frozen", {}, "'path' is missing from the options of toy 'frozen'; add `path = …`"),
        (
            "frozen",
            {"path": "x", "width": "many"},
            "width = 'many' does not fit .*valid integer.*; change 'width'",
        ),
        ("frozen", {"path": "x", "width": 0}, "width = 0 .*greater than or equal to 1;"),
        ("frozen", {"path": "x", "width": 2.5}, "width = 2.5"),
        ("frozen", {"path": "x", "rate": 0}, "rate = 0 .*greater than 0;"),
        ("frozen", {"path": "x", "precision": "fp16"}, "precision = 'fp16' .*'bf16' or 'float32';"),
        ("frozen", {"path": 3}, "path = 3 .*valid string;"),
        ("frozen", {"path": "x", "options": 3}, "options = 3"),
        ("function", {"paper": "perhaps"}, "paper = 'perhaps' .*boolean"),
        ("function", {"k": "x"}, "k = 'x'|k.int = 'x'"),
    ],
)
def test_an_option_that_does_not_fit_is_named(parts: Registry, name: str, given: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        parts[name].options(given)


@pytest.mark.parametrize(("name", "meant"), [("frozn", "frozen"), ("functoin", "function")])
def test_a_name_that_nothing_goes_by_comes_with_the_one_meant(parts: Registry, name: str, meant: str) -> None:
    with pytest.raises(UserError, match=f"no toy is called '{name}'; the toys are bare, .*did you mean '{meant}'"):
        parts[name]


def test_two_parts_cannot_have_one_name(parts: Registry) -> None:
    function = parts["function"].make
    assert parts.register("function")(function) is function, "the same one again is no other"
    with pytest.raises(ValueError, match="two parts want to be the toy called 'function'"):
        parts.register("function")(lambda now: None)


def test_a_folders_modules_are_found_when_it_is_first_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "house_of_toys"
    package.mkdir()
    (package / "__init__.py").write_text(
        "from asal.registry import Registry\ntoys = Registry('toy', 'house_of_toys')\nimported = []\n"
    )
    for name in ("ball", "kite"):
        (package / f"{name}.py").write_text(
            f"import house_of_toys\nhouse_of_toys.imported.append('{name}')\n"
            f"@house_of_toys.toys.register('{name}')\ndef {name}(): ...\n"
        )
    (tmp_path / "foreign_toys.py").write_text(
        "from house_of_toys import toys\n@toys.register('top')\ndef top():\n    'From another distribution.'\n"
    )
    info = tmp_path / "foreign-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: foreign\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[house_of_toys]\nwhatever = foreign_toys\n")
    monkeypatch.syspath_prepend(tmp_path)
    import house_of_toys  # type: ignore[import-not-found]

    assert house_of_toys.imported == [], "nothing is imported before it is asked for"
    assert list(house_of_toys.toys) == ["ball", "kite", "top"]
    assert house_of_toys.toys["top"].summary == "From another distribution."
    assert list(house_of_toys.toys) == ["ball", "kite", "top"]
    assert sorted(house_of_toys.imported) == ["ball", "kite"], "once"
    for name in [name for name in sys.modules if name.split(".")[0] in ("house_of_toys", "foreign_toys")]:
        del sys.modules[name]


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind, registry in EVERY.items() for name in registry])
def test_every_registered_part_says_what_it_is_in_one_line(kind: str, name: str) -> None:
    part = EVERY[kind][name]
    assert part.kind == kind
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name), "lower case, with hyphens"
    assert 10 < len(part.summary) <= 120
    assert part.summary.endswith((".", "]"))
    assert part.cost in ("constant", "linear")
    assert part.needs | part.provides <= WORDS.keys()


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind, registry in EVERY.items() for name in registry])
def test_every_default_fits_its_own_type(kind: str, name: str) -> None:
    part = EVERY[kind][name]
    required: dict[str, Any] = {"factory": "x:y", "id": "x:y", "path": "x:y", "name": "owner/name"}
    required |= {"attribute": "Bangs", "images": 10, "base": {"kind": "digits"}}
    needed = {k: required[k] for k, p in part.parameters.items() if p.default is p.empty and k in required}
    options = part.options(needed)
    assert part.options(options) == options, "what came out goes in again"


@pytest.mark.parametrize("rate", [float("inf"), float("nan")])
def test_numbers_are_finite(parts: Registry, rate: float) -> None:
    with pytest.raises(UserError, match="finite"):
        parts["frozen"].options({"path": "x", "rate": rate})
