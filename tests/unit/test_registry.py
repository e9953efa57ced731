"""Parts by name: what is registered, what it declares, and options that are checked before any work."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from annotated_types import Ge, Gt, Lt

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
            "width = 'many' does not fit .*the value should be a valid integer.*; set another value",
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


def test_an_option_can_be_given_under_its_former_name() -> None:
    registry = Registry("toy", package=None)

    @registry.register("top", renamed={"spin": "turns"}, roles={"subset": "turns"})
    def top(now: Any, *, turns: Annotated[int, Ge(1)] = 4) -> None: ...

    part = registry["top"]
    assert part.options({"spin": 3}) == part.options({"turns": 3}) == {"turns": 3}
    assert part.bind({"spin": 3}).keywords == {"turns": 3}
    assert [part.value_of("subset", options) for options in ({"spin": 3}, {})] == [3, 4]
    assert part.value_of("score", {}) is None
    with pytest.raises(UserError, match="'spin' is the former name of 'turns', and both are given; drop 'spin'"):
        part.options({"turns": 1, "spin": 3})
    with pytest.raises(UserError, match="turns = 0 does not fit"):
        part.options({"spin": 0})
    with pytest.raises(UserError, match="called 'spim'"):
        part.value_of("score", {"spim": 0})


def test_a_number_or_a_word_is_one_rule() -> None:
    registry = Registry("toy", package=None)

    @registry.register("top")
    def top(now: Any, *, share: Annotated[float, Lt(1)] | Literal["auto"] = "auto") -> None: ...

    for value in (2, "many"):
        with pytest.raises(UserError, match=f"^share = {value!r} does not fit .*the value should be .*, or 'auto';"):
            registry["top"].options({"share": value})
    assert registry["top"].options({"share": "auto"}) == {"share": "auto"}


def test_a_later_option_leaves_the_names_of_folders_as_they_were_unless_it_is_used() -> None:
    registry = Registry("toy", package=None)

    @registry.register("top", added={"hum": "low"})
    def top(now: Any, *, turns: int = 4, hum: str = "low") -> None: ...

    part = registry["top"]
    assert part.options({}) == {"turns": 4, "hum": "low"}
    assert part.facts({}) == part.facts({"hum": "low"}) == {"turns": 4}
    assert part.facts({"hum": "high"}) == {"turns": 4, "hum": "high"}


def test_a_default_that_changed_keeps_its_meaning_in_older_folders() -> None:
    registry = Registry("toy", package=None)

    @registry.register("top", renamed={"spin": "turns"}, added={"hum": "low"}, formerly={"turns": 4})
    def top(now: Any, *, turns: int = 6, hum: str = "high", tilt: int = 1) -> None: ...

    part = registry["top"]
    assert part.options({}) == {"turns": 6, "hum": "high", "tilt": 1}
    assert part.options_of_older({}) == {"turns": 4, "hum": "low", "tilt": 1}
    assert part.options_of_older({"turns": 6}) == part.options_of_older({"spin": 6, "tilt": 1})
    assert part.options_of_older({"spin": 5, "hum": "high"}) == {"turns": 5, "hum": "high", "tilt": 1}
    assert part.facts({}) == {"turns": 6, "hum": "high", "tilt": 1}, "no folder is named by what was before"
    with pytest.raises(UserError, match="called 'spim'"):
        part.options_of_older({"spim": 0})


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        ({"needs": ("gradeint",)}, "no need of toy 'top' is called 'gradeint'; .*; did you mean 'gradient'"),
        ({"provides": ("los",)}, "no provision of toy 'top' is called 'los'; .*; did you mean 'loss'"),
        ({"cost": "quadratic"}, "no cost of toy 'top' is called 'quadratic'; .* are constant, linear"),
        ({"roles": {"scor": "turns"}}, "no role of toy 'top' is called 'scor'; .*; did you mean 'score'"),
        ({"roles": {"score": "turn"}}, "no option of toy 'top' is called 'turn'; .*; did you mean 'turns'"),
        ({"renamed": {"spin": "turn"}}, "no option of toy 'top' is called 'turn'"),
        ({"added": {"turn": 1}}, "no option of toy 'top' is called 'turn'"),
        ({"formerly": {"turn": 1}}, "no option of toy 'top' is called 'turn'"),
    ],
)
def test_a_declaration_that_nothing_knows_is_refused(declared: dict[str, Any], message: str) -> None:
    registry = Registry("toy", package=None)

    def top(now: Any, *, turns: int = 4) -> None: ...

    with pytest.raises(UserError, match=message):
        registry.register("top", **declared)(top)
    assert "top" not in registry


MODULE = """
from asal.strategies import strategies
from asal.core import Selection

def plain(now, n, rng, *, offset: int = 0):
    'The first n candidates.'

@strategies.register("needy-toy", needs=("index",))
def needy(now, n, rng):
    'Needs an index.'

five = 5
"""


@pytest.fixture
def toy_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Write a module of one's own, which is not a plug-in."""
    (tmp_path / "my_toys.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(strategies, "_parts", dict(strategies._load()))
    yield "my_toys"
    sys.modules.pop("my_toys", None)


def test_a_dotted_path_names_a_function_that_is_not_registered(toy_module: str) -> None:
    plain = strategies["my_toys:plain"]
    assert (plain.name, plain.summary, plain.needs) == ("my_toys:plain", "The first n candidates.", frozenset())
    assert plain.options({"offset": 2}) == {"offset": 2}
    assert "my_toys:plain" not in list(strategies), "only registered parts are listed"
    with pytest.raises(UserError, match="no option of strategy 'my_toys:plain' is called 'ofset'"):
        plain.options({"ofset": 2})


def test_a_dotted_path_to_a_registered_function_has_what_it_declares(toy_module: str) -> None:
    needy = strategies["my_toys:needy"]
    assert (needy.name, needy.needs) == ("needy-toy", {"index"})


@pytest.mark.parametrize(
    ("path", "message"),
    [
        (
            "my_toys:palin",
            "the strategy 'my_toys:palin' cannot be imported: .*no attribute 'palin'; a strategy is named as",
        ),
        ("your_toys:plain", "the strategy 'your_toys:plain' cannot be imported: No module named 'your_toys'"),
        ("my_toys:five", "the strategy 'my_toys:five' cannot be imported: it is not callable, but 5"),
        ("my_toys:", "the strategy 'my_toys:' cannot be imported: it names no function"),
        (":plain", "the strategy ':plain' cannot be imported: it names no module"),
    ],
)
def test_a_dotted_path_that_leads_nowhere_is_named(toy_module: str, path: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        strategies[path]


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("def plain(:\n", "its module stops at a SyntaxError: .*; fix the module 'bad_toys'"),
        ("five = six\n", "its module stops at a NameError: name 'six' is not defined"),
        ("1 / 0\n", "its module stops at a ZeroDivisionError: division by zero"),
    ],
)
def test_a_module_that_does_not_run_is_named_with_its_error(
    toy_module: str, tmp_path: Path, code: str, message: str
) -> None:
    (tmp_path / "bad_toys.py").write_text(code)
    with pytest.raises(UserError, match=f"the strategy 'bad_toys:plain' cannot be imported: {message}"):
        strategies["bad_toys:plain"]


def test_other_kinds_take_no_dotted_path(toy_module: str) -> None:
    with pytest.raises(UserError, match="no index is called 'my_toys:plain'"):
        indexes["my_toys:plain"]


def plugin(folder: Path, name: str, code: str) -> None:
    """Write a module of a distribution of its own, with an entry point among the parts of `house_of_toys`."""
    (folder / f"{name}_toys.py").write_text(code)
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[house_of_toys]\n{name}-entry = {name}_toys\n")


def test_a_plug_in_that_fails_is_named_with_its_distribution_and_the_others_are_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "house_of_toys"
    package.mkdir()
    (package / "__init__.py").write_text(
        "from asal.registry import Registry\ntoys = Registry('toy', 'house_of_toys')\n"
    )
    (package / "ball.py").write_text("from house_of_toys import toys\n@toys.register('ball')\ndef ball(): ...\n")
    register = "from house_of_toys import toys\n@toys.register('{}'{})\ndef top(): ...\n"
    plugin(tmp_path, "broken", "import a_package_that_is_not_installed\n")
    plugin(tmp_path, "misspelt", register.format("top", ", needs=('gradeint',)"))
    plugin(tmp_path, "rival", register.format("ball", ""))
    plugin(tmp_path, "sound", register.format("kite", ""))
    monkeypatch.syspath_prepend(tmp_path)
    import house_of_toys  # type: ignore[import-not-found]

    with pytest.warns(RuntimeWarning) as caught:
        assert list(house_of_toys.toys) == ["ball", "kite"]
    warned = sorted(str(warning.message) for warning in caught)
    assert len(warned) == 3
    assert warned[0] == (
        "the plug-in 'broken-entry' of broken 1.0 cannot be imported: ModuleNotFoundError: "
        "No module named 'a_package_that_is_not_installed'; its toy is left out"
    )
    assert "'misspelt-entry' of misspelt 1.0" in warned[1] and "did you mean 'gradient'" in warned[1]
    assert "'rival-entry' of rival 1.0" in warned[2] and "two parts want to be the toy called 'ball'" in warned[2]
    failed = {plugin.distribution for plugin in house_of_toys.toys.failed}
    assert failed == {"broken 1.0", "misspelt 1.0", "rival 1.0"}
    with pytest.raises(UserError, match=r"no toy is called 'top'; .*broken 1\.0 cannot be imported"):
        house_of_toys.toys["top"]
    for name in [name for name in sys.modules if "toys" in name]:
        del sys.modules[name]


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
    code = "from house_of_toys import toys\n@toys.register('top')\ndef top():\n    'From another distribution.'\n"
    plugin(tmp_path, "foreign", code)
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
