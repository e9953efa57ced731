"""A spec held against the parts as they are: refuse in the first second what could not work after hours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from asal.core import Learner
from asal.data.sources import sources
from asal.errors import UserError, unknown
from asal.features import features
from asal.index import indexes
from asal.models.generators import generators
from asal.models.learners import learners
from asal.project.spec import PartTable, Spec, StrategyTable
from asal.registry import Registry
from asal.session.oracles import oracles
from asal.strategies import scoring, strategies
from asal.strategies.scores import scores

REGISTRIES: Mapping[str, Registry] = {
    "sources": sources,
    "generators": generators,
    "features": features,
    "indexes": indexes,
    "learners": learners,
    "oracles": oracles,
    "scores": scores,
    "strategies": strategies,
}

OF_LEARNER = {  # what a strategy may need of the classifier, and why
    "gradient": "climbs a score by gradient, so its classifier must have one",
    "linear": "asks for images near a plane, which stands still only where a linear classifier's features do",
    "loss": "asks where the classifier expects to be wrong, so it must foretell its loss",
}


def check(spec: Spec, chosen: Sequence[str] | None = None) -> dict[str, StrategyTable]:
    """Refuse whatever cannot work, and return the chosen strategies' tables.

    Args:
        chosen: names of the spec's strategies, or of registered ones with their defaults; None takes the spec's.

    Raises:
        UserError: an unknown part or option, or a strategy whose needs the spec does not meet.
    """
    for registry, table in ((sources, spec.source), (indexes, spec.index), (learners, spec.learner)):
        made(registry, table)  # a learner of one's own is looked up when it is made
    if spec.generator is not None:
        options_of(generators, spec.generator)
    supervised(spec)
    options_of(oracles, spec.annotator)
    if "images" not in oracles[spec.annotator.kind].provides:
        raise unknown("annotator of made-up images", spec.annotator.kind, _able(oracles, "images"))
    for name in spec.features:
        check_features(spec, name)
    if needs := scores[spec.protocol.score].needs:
        raise UserError(
            f"score = '{spec.protocol.score}', which needs a {', '.join(needs)}",
            rule="new picks are measured by a score of every classifier's probabilities",
            hint="set `score` under [protocol] to 'entropy'",
        )
    tables = {name: table_of(spec, name) for name in (chosen if chosen is not None else spec.strategies)}
    for name, table in tables.items():
        _check_strategy(spec, name, table)
    return tables


def options_of(registry: Registry, table: PartTable) -> dict[str, Any]:
    """Return all options of a part, those that the table does not give at their defaults."""
    return registry[table.kind].options(table.options)


def made(registry: Registry, table: PartTable) -> Any:
    """Return the part that a table asks for."""
    return registry[table.kind].bind(table.options)


def supervised(spec: Spec) -> Learner | None:
    """Return the learner of the fully supervised line, or None where the spec asks for none."""
    if spec.reference is None:
        return None
    learner: Learner = learners[spec.learner.kind].bind({**spec.learner.options, **spec.reference.options})
    return learner


def table_of(spec: Spec, name: str) -> StrategyTable:
    """Return a strategy's table: the spec's, or a plain one of a registered strategy."""
    if name in spec.strategies:
        return spec.strategies[name]
    if name in strategies:
        return StrategyTable(kind=name)
    raise unknown("strategy", name, {*spec.strategies, *strategies})


def needs_of(table: StrategyTable) -> frozenset[str]:
    """Return what a strategy needs, its score's needs among them."""
    return scoring.needs_of(strategies[table.kind], table.options)


def check_features(spec: Spec, name: str) -> None:
    """Refuse a feature space that the spec does not have, or whose own needs it does not meet."""
    if name not in spec.features:
        raise unknown("feature space of this spec", name, spec.features)
    options_of(features, spec.features[name])
    if "generator" in features[spec.features[name].kind].needs and spec.generator is None:
        raise unmet(f"features '{name}'", "a generator", "a [generator] section")


def space_of(spec: Spec, name: str, table: StrategyTable) -> str:
    """Return the space that a strategy matches in: the one it names, or the spec's first prepared one that suits it."""
    if table.features is not None:
        return table.features
    wanted = needs_of(table) & {"latents"}
    for space, its in spec.features.items():
        if wanted <= features[its.kind].provides and "model" not in features[its.kind].needs:
            return space
    example = "[features.latent] section with dimensions = 0" if wanted else "[features.autoencoder] section"
    raise unmet(f"strategy '{name}'", "a feature space", f"a {example}")


def first_space_of(spec: Spec, name: str, table: StrategyTable) -> str:
    """Return the space that the first batch is chosen in: there is no classifier yet that could make one."""
    named = spec.features.get(table.features or "")
    prepared = named is not None and "model" not in features[named.kind].needs
    first = "" if table.first is None else table.first.kind
    return space_of(spec, name, StrategyTable(kind=first, features=table.features if prepared else None))


def check_classes(name: str, table: StrategyTable, classes: Sequence[str]) -> None:
    """Refuse a strategy for two classes where there are more."""
    if "two classes" in strategies[table.kind].needs and len(classes) != 2:
        raise UserError(
            f"{len(classes)} of them",
            rule=f"strategy '{name}' draws lines between two classes",
            hint="leave it out, or keep two classes under [pool]",
        )


def unmet(who: str, what: str, hint: str) -> UserError:
    """Return the error for a need that a spec does not meet."""
    return UserError("the spec has none", rule=f"{who} needs {what}", hint=f"add {hint}")


def _check_strategy(spec: Spec, name: str, table: StrategyTable) -> None:
    needs = needs_of(table)
    if "generator" in needs and spec.generator is None:
        raise unmet(f"strategy '{name}'", "a generator", "a [generator] section")
    if "features" in needs:
        _check_space(spec, name, space_of(spec, name, table), needs)
    if "lines" not in strategies[table.kind].provides:  # which brings its own classifier
        _check_learner(spec, name, needs)
    _check_first(spec, name, table)
    _check_size(spec, name, table)
    if table.balance and "images" in strategies[table.kind].provides:
        raise UserError(
            f"strategy '{name}', which makes images up",
            rule="`balance` chooses the picks of rare classes, and synthetic images have no class yet",
            hint=f"drop `balance` under [strategies.{name}]",
        )
    if table.sure and "images" not in strategies[table.kind].provides:
        raise UserError(
            f"strategy '{name}', which asks about the pool's",
            rule="`sure` is about made-up images, whose answers nobody has stored",
            hint=f"drop `sure` under [strategies.{name}]",
        )


def _check_size(spec: Spec, name: str, table: StrategyTable) -> None:
    part = strategies[table.kind]
    size = part.value_of("subset", table.options)
    batch = spec.protocol.batch * max(table.balance, 1)
    if size is not None and size <= batch:
        times = f" × balance = {table.balance}" if table.balance else ""
        raise UserError(
            f"{part.roles['subset']} = {size} of strategy '{name}', and batch = {spec.protocol.batch}{times}",
            rule="what a batch is chosen from is larger than the batch, or the choice is a random one",
            hint=f"raise `{part.roles['subset']}` under [strategies.{name}], or lower `batch` under [protocol]",
        )


def _check_space(spec: Spec, name: str, space: str, needs: frozenset[str]) -> None:
    check_features(spec, space)
    table = spec.features[space]
    if "latents" in needs and ("latents" not in features[table.kind].provides or table.dimensions):
        raise UserError(
            f"'{space}', of kind '{table.kind}' with dimensions = {table.dimensions}",
            rule=f"strategy '{name}' draws from the features it works in, so they must be whole latents",
            hint="use a space of kind 'latent' with dimensions = 0",
        )


def _check_learner(spec: Spec, name: str, needs: frozenset[str]) -> None:
    for need, why in OF_LEARNER.items():
        if need in needs and need not in learners[spec.learner.kind].provides:
            able = ", ".join(_able(learners, need))
            raise UserError(
                f"the learner '{spec.learner.kind}', which has none"
                if need == "gradient"
                else f"the learner '{spec.learner.kind}', which does not",
                rule=f"strategy '{name}' {why}",
                hint=f"use one of {able}, or another strategy",
            )


def _able(registry: Registry, need: str) -> list[str]:
    """Return the parts that provide it."""
    return [name for name in registry if need in registry[name].provides]


def _check_first(spec: Spec, name: str, table: StrategyTable) -> None:
    if table.first is None:
        return
    if table.first.kind not in (able := _able(strategies, "first")):
        raise unknown("strategy for a first batch", table.first.kind, able)
    options_of(strategies, table.first)
    if "features" in strategies[table.first.kind].needs:
        _check_space(spec, name, first_space_of(spec, name, table), frozenset())
