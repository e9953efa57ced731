"""A spec means what its file says, comes back as it was, and is known by its hash."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pydantic
import pytest

from asal.errors import UserError
from asal.project.spec import (
    FeatureTable,
    LearnerTable,
    PartTable,
    ProtocolTable,
    Spec,
    StrategyTable,
    load,
    parse,
    to_toml,
)
from asal.project.validate import check

MINIMAL = {"name": "least", "source": {"kind": "digits"}}
FULL = """
name = "full"
seed = 3
[source]
kind = "hub"
id = "ylecun/mnist"
[pool]
keep = ["5", "7"]
size = 28
gray = true
[pool.split]
train = 50_000
validation = 10_000
test = "test"
seed = 1
[generator]
kind = "wgan-gp"
steps = 10
[features.pixels]
[features.coarse]
kind = "autoencoder"
dimensions = 5
fit_on = 0
code = 8
[index]
kind = "kdtree"
leaf = 4
[learner]
kind = "torch"
factory = "support.classifiers:small_net"
steps = 20
[learner.options]
hidden = 12
[protocol]
initial = 10
batch = 5
budget = 40
score = "margin"
draw = "random"
[strategies.random]
[strategies.near]
kind = "asal"
features = "coarse"
paper = true
"""


def leaves(table: Mapping[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield every setting with its path."""
    for key, value in table.items():
        if isinstance(value, Mapping):
            yield from leaves(value, (*path, key))
        else:
            yield (*path, key), value


def changed(table: Mapping[str, Any], path: tuple[str, ...], value: Any) -> dict[str, Any]:
    """Return the table with one setting changed."""
    first, *rest = path
    return {**table, first: changed(table[first], tuple(rest), value) if rest else value}


def test_what_is_not_said_has_its_default() -> None:
    spec = parse(MINIMAL)
    assert (spec.seed, spec.generator, spec.features, spec.strategies) == (0, None, {}, {})
    assert spec.index == PartTable(kind="auto") and spec.learner == LearnerTable(kind="linear")
    assert spec.protocol == ProtocolTable() and spec.protocol.draw == "covering"


def test_every_table_is_read() -> None:
    spec = parse(tomllib.loads(FULL))
    assert spec.source.options == {"id": "ylecun/mnist"} and spec.generator and spec.generator.options == {"steps": 10}
    assert spec.pool.keep == ("5", "7") and spec.pool.split.test == "test"
    assert spec.features["pixels"] == FeatureTable(kind="pixels")
    coarse = spec.features["coarse"]
    assert (coarse.kind, coarse.dimensions, coarse.fit_on, coarse.options) == ("autoencoder", 5, 0, {"code": 8})
    assert spec.learner.options == {"factory": "support.classifiers:small_net", "steps": 20, "options": {"hidden": 12}}
    assert spec.strategies["random"] == StrategyTable(kind="random")
    near = spec.strategies["near"]
    assert (near.kind, near.features, near.options) == ("asal", "coarse", {"paper": True})


@pytest.mark.parametrize("given", [MINIMAL, tomllib.loads(FULL)], ids=["minimal", "full"])
def test_a_spec_comes_back_as_it_was(given: dict[str, Any], tmp_path: Path) -> None:
    spec = parse(given)
    plain = spec.model_dump(mode="json")
    for dumped in (spec.model_dump(), plain, tomllib.loads(to_toml(plain))):
        assert parse(dumped) == spec and parse(dumped).hash == spec.hash
    (tmp_path / "asal.toml").write_text(to_toml(plain), encoding="utf-8")
    assert load(tmp_path) == load(tmp_path / "asal.toml") == spec


def test_options_are_written_where_they_were_read() -> None:
    dumped = parse(tomllib.loads(FULL)).model_dump(mode="json", exclude_defaults=True)
    given = tomllib.loads(FULL)
    assert dumped["learner"] == given["learner"] and dumped["generator"] == given["generator"]
    assert dumped["strategies"]["near"] == given["strategies"]["near"]


def test_the_hash_changes_with_any_setting_and_with_nothing_else() -> None:
    dumped = parse(tomllib.loads(FULL)).model_dump(mode="json")
    assert parse(changed(dumped, ("labelling", "overlap"), 2)).hash == parse(dumped).hash  # people change no run
    del dumped["labelling"]
    other: dict[type, Callable[[Any], Any]] = {
        bool: lambda b: not b, int: lambda i: i + 1, float: lambda x: (x + 1) / 3, str: lambda s: s + "x",
        list: lambda v: v[1:],
    }  # fmt: skip
    fixed = {("protocol", "draw"): "covering"}
    fixed |= {path: "float16" for path, _ in leaves(dumped) if path[-1] == "storage"}
    hashes = {parse(dumped).hash}
    paths = [path for path, value in leaves(dumped) if value is not None]
    for path, value in leaves(dumped):
        if value is not None:
            again = changed(dumped, path, fixed.get(path) or other[type(value)](value))
            hashes.add(parse(again).hash)
    assert len(hashes) == len(paths) + 1 > 25
    backwards = {key: dumped[key] for key in reversed(dumped)}
    assert parse(backwards).hash == parse(dumped).hash


def test_the_hash_is_the_same_tomorrow() -> None:
    spec = parse(MINIMAL)
    assert len(spec.hash) == 12 and int(spec.hash, 16) >= 0
    assert spec.hash == parse({**MINIMAL, "seed": 0, "learner": {"kind": "linear"}}).hash, "a default that is said"


def test_the_space_of_a_learner_counts_only_where_it_is_given() -> None:
    plain, given = parse(MINIMAL), parse({**MINIMAL, "learner": {"kind": "linear", "features": "X"}})
    assert "features" not in plain.model_dump(mode="json")["learner"]
    assert given.learner.features == "X" and given.learner.options == {}
    assert plain.hash != given.hash


def test_a_spec_is_frozen() -> None:
    spec = parse(MINIMAL)
    with pytest.raises(pydantic.ValidationError, match="frozen"):
        spec.name = "other"  # type: ignore[misc]


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "section": ({"protocl": {}}, "did you mean 'protocol'"),
    "setting": ({"pool": {"grey": True}}, "did you mean 'gray'"),
    "deep setting": ({"pool": {"split": {"validate": 3}}}, "did you mean 'validation'"),
    "type": ({"seed": "three"}, "seed = 'three'"),
    "range": ({"protocol": {"batch": 0}}, "protocol.batch = 0"),
    "choice": ({"protocol": {"draw": "any"}}, "protocol.draw = 'any'"),
    "no kind": ({"generator": {"steps": 3}}, "kind"),
    "not a table": ({"features": 3}, "features = 3"),
    "not a table inside": ({"strategies": {"random": 3}}, "strategies.random"),
    "order": ({"protocol": {"initial": 50, "budget": 50}}, "leaves nothing to ask"),
    "a path for a name": ({"name": "a/b"}, "name = 'a/b'"),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_is_wrong_is_said_with_its_place(what: str) -> None:
    changes, words = WRONG[what]
    with pytest.raises(UserError) as refused:
        parse({**MINIMAL, **changes})
    assert words in str(refused.value), str(refused.value)
    assert refused.value.got and refused.value.hint


@pytest.mark.parametrize("given", [[], "name", None, {1: 2}])
def test_what_is_no_table_at_all_is_refused(given: Any) -> None:
    with pytest.raises(UserError):
        parse(given)


def test_it_travels_between_processes() -> None:
    import pickle

    spec = parse(tomllib.loads(FULL))
    assert pickle.loads(pickle.dumps(spec)) == spec
    assert Spec.model_validate_json(spec.model_dump_json()) == spec


def test_a_byte_order_mark_does_no_harm(tmp_path: Path, spec: Callable[..., Any]) -> None:
    (tmp_path / "asal.toml").write_text(to_toml(parse(spec()).model_dump(mode="json")), encoding="utf-8-sig")
    assert load(tmp_path) == parse(spec())


def test_a_former_name_of_a_setting_is_still_read() -> None:
    tables = {"gaal-sure": {"kind": "gaal", "sure": 0.9}, "random": {}}
    old = parse({**MINIMAL, "strategies": tables})
    new = parse({**MINIMAL, "strategies": {**tables, "gaal-sure": {"kind": "gaal", "min_confidence": 0.9}}})
    assert old == new and old.strategies["gaal-sure"].min_confidence == 0.9
    assert not old.strategies["gaal-sure"].options and "sure" not in old.model_dump()["strategies"]["gaal-sure"]


def test_a_setting_under_both_its_names_is_refused() -> None:
    with pytest.raises(UserError, match="'sure' is the former name of 'min_confidence', and both are given"):
        parse({**MINIMAL, "strategies": {"gaal": {"sure": 0.9, "min_confidence": 0.5}}})


def test_people_label_with_the_first_strategy_and_with_spread_where_there_is_none() -> None:
    assert parse(MINIMAL | {"strategies": {}}).default_strategy == "spread"
    two = {"strategies": {"subset": {}, "spread": {}}}
    assert parse(MINIMAL | two).default_strategy == "subset"
    assert parse(MINIMAL | two | {"labelling": {"strategy": "random"}}).default_strategy == "random"
    assert check(parse(MINIMAL | {"strategies": {}}), ["spread"]).strategies["spread"].space == "", (
        "it needs no features"
    )


def test_the_hash_is_that_of_earlier_versions() -> None:
    """Run folders know their spec by it: renaming a setting must not make them those of another spec."""
    spec = parse({**MINIMAL, "strategies": {"gaal": {"sure": 0.9, "steps": 5}, "random": {}}})
    assert spec.hash == "c5b3b1e49309"


def test_an_index_sees_the_first_of_ordered_dimensions() -> None:
    plain = FeatureTable(kind="pixels")
    assert "index_dimensions" not in plain.model_dump(), "specs from before there was such a key stay the same"
    assert FeatureTable(kind="pixels", dimensions=9, index_dimensions=4).model_dump()["index_dimensions"] == 4
    for table in ({"dimensions": 0, "index_dimensions": 4}, {"dimensions": 3, "index_dimensions": 4}):
        with pytest.raises(UserError, match="index_dimensions = 4 are the first of dimensions = "):
            parse({"name": "a", "source": {"kind": "digits"}, "features": {"pixels": table}})
