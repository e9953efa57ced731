"""Checks a spec against the registered parts: refuses in the first second what would fail after hours."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from asal.core import Learner
from asal.data.sources import sources
from asal.errors import UserError, counted, unknown
from asal.features import features
from asal.index import indexes
from asal.models.generators import generators
from asal.models.learners import learners
from asal.project.spec import PartTable, Spec, StrategyTable
from asal.registry import WORDS, Registry
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
    "gradient": "follows the gradient of a score, so its classifier must have one",
    "linear": "asks for images near a hyperplane, so its classifier must be linear in features that do not change",
    "loss": "asks where the classifier expects to be wrong, so the classifier must predict its loss",
    "dropout": "asks where predictions differ under dropout, so the classifier must be a network or a linear one",
}


@dataclass(frozen=True)
class ValidatedStrategy:
    """A strategy of a spec that has been checked: its table, what it needs, and where it works."""

    name: str
    table: StrategyTable
    needs: frozenset[str]
    provides: frozenset[str]
    space: str  # the feature space that it matches in; "" where it needs none
    first_space: str  # the one that the first batch is chosen in; "" where that needs none

    @property
    def first(self) -> str:
        """The strategy that chooses the first batch."""
        return self.table.first.kind if self.table.first else "random"

    def check_classes(self, classes: Sequence[str]) -> None:
        """Refuse a strategy for two classes where there are more.

        Raises:
            UserError: there are not two.
        """
        check_classes(self.name, self.table, classes)


@dataclass(frozen=True)
class ValidatedSpec:
    """A spec that has been checked against the parts as they are: made once in a command, and passed on.

    Args:
        strategies: those that were chosen, by name.
    """

    spec: Spec
    strategies: Mapping[str, ValidatedStrategy]

    @property
    def tables(self) -> dict[str, StrategyTable]:
        """The tables of the chosen strategies."""
        return {name: strategy.table for name, strategy in self.strategies.items()}

    def including(self, names: Iterable[str]) -> ValidatedSpec:
        """Return the same with more strategies; what has been checked is not checked again.

        Raises:
            UserError: an unknown strategy, or one whose needs the spec does not meet.
        """
        more = {name: _validated(self.spec, name) for name in names if name not in self.strategies}
        return replace(self, strategies={**self.strategies, **more}) if more else self

    def only(self, names: Iterable[str]) -> ValidatedSpec:
        """Return the same with these strategies alone, in this order; each of them has been checked."""
        return replace(self, strategies={name: self.strategies[name] for name in names})


def check(spec: Spec, chosen: Sequence[str] | None = None) -> ValidatedSpec:
    """Refuse whatever cannot work, and return the spec as checked, with the chosen strategies.

    Args:
        chosen: names of the spec's strategies, or of registered ones with their defaults; None takes the spec's.

    Raises:
        UserError: an unknown part or option, or a strategy whose needs the spec does not meet.
    """
    for registry, table in ((sources, spec.source), (indexes, spec.index), (learners, spec.learner)):
        made(registry, table)  # a learner given by its path is looked up when it is made
    if space := learner_space(spec):
        _check_learner_space(spec, space)
    if spec.generator is not None:
        options_of(generators, spec.generator)
    supervised(spec)
    options_of(oracles, spec.annotator)
    if "images" not in oracles[spec.annotator.kind].provides:
        raise unknown("annotator of synthetic images", spec.annotator.kind, _able(oracles, "images"))
    for name in spec.features:
        check_features(spec, name)
    if needs := scores[spec.protocol.score].needs:
        wanted = ", ".join(WORDS[need] for need in sorted(needs))
        raise UserError(
            f"score = '{spec.protocol.score}' under [protocol] needs {wanted}",
            rule="picks are measured by a score of the classifier's probabilities, whatever the classifier",
            hint="set `score` under [protocol] to 'entropy'",
        )
    return ValidatedSpec(spec, {}).including(spec.strategies if chosen is None else chosen)


def _validated(spec: Spec, name: str) -> ValidatedStrategy:
    table = table_of(spec, name)
    _check_strategy(spec, name, table)
    needs = needs_of(table)
    space = space_of(spec, name, table) if "features" in needs else ""
    at_first = table.first is not None and "features" in strategies[table.first.kind].needs
    first_space = first_space_of(spec, name, table) if at_first else ""
    return ValidatedStrategy(name, table, needs, strategies[table.kind].provides, space, first_space)


def options_of(registry: Registry, table: PartTable) -> dict[str, Any]:
    """Return the options of a part that folders are named by; defaults where the table gives none."""
    return registry[table.kind].facts(table.options)


def made(registry: Registry, table: PartTable) -> Any:
    """Return the part that a table asks for."""
    return registry[table.kind].bind(table.options)


def supervised(spec: Spec) -> Learner | None:
    """Return the learner of the fully supervised line, or None where the spec asks for none."""
    if spec.reference is None:
        return None
    learner: Learner = learners[spec.learner.kind].bind({**spec.learner.options, **spec.reference.options})
    return learner


def learner_space(spec: Spec) -> str:
    """Return the space whose stored vectors the learner reads: the one it names, or the first prepared one.

    "" where it reads pictures.

    Raises:
        UserError: it needs one, and the spec has none.
    """
    kind, named = spec.learner.kind, spec.learner.features
    if named is not None:
        return named
    if "features" not in learners[kind].needs:
        return ""
    met = {"generator"} if spec.generator else set[str]()
    for space, its in spec.features.items():
        if features[its.kind].needs <= met:
            return space
    raise unmet(f"learner '{kind}'", "a feature space", "a [features.autoencoder] section")


def _check_learner_space(spec: Spec, space: str) -> None:
    kind = spec.learner.kind
    if "features" not in learners[kind].needs | learners[kind].provides:
        able = [name for name in learners if "features" in learners[name].needs | learners[name].provides]
        raise UserError(
            f"`features` does not go with the learner '{kind}', which reads pictures",
            rule=f"the learners {', '.join(able)} read stored features",
            hint="drop `features` under [learner], or use one of these",
        )
    check_features(spec, space)


def table_of(spec: Spec, name: str) -> StrategyTable:
    """Return a strategy's table: the spec's, or a plain one of a registered strategy; `space` is settled.

    Raises:
        UserError: no strategy has the name, or its kind or options are wrong.
    """
    if name in spec.strategies:
        return _with_space(spec, name, spec.strategies[name])
    if name in strategies:
        return _with_space(spec, name, StrategyTable(kind=name))
    raise unknown("strategy", name, {*spec.strategies, *strategies})


def _with_space(spec: Spec, name: str, table: StrategyTable) -> StrategyTable:
    """Return a table that says where distances are measured, if it leaves that open: where there are stored features.

    Of a batch that needs no distances it says the same as specs from before there was a choice.
    """
    part = strategies[table.kind]
    if part.value_of("space", table.options) != "auto":
        return table
    stored = part.value_of("batch", table.options) == "top"
    with suppress(UserError):
        stored = bool(space_of(spec, name, table)) or stored
    options = {**table.options, part.roles["space"]: "stored" if stored else "penultimate"}
    return table.model_copy(update={"options": options})


def needs_of(table: StrategyTable) -> frozenset[str]:
    """Return what a strategy needs, its score's needs among them."""
    return scoring.needs_of(strategies[table.kind], table.options)


def check_features(spec: Spec, name: str) -> None:
    """Refuse a feature space that the spec does not have, or whose own needs it does not meet."""
    if name not in spec.features:
        raise unknown("feature space of this spec", name, spec.features)
    options_of(features, spec.features[name])
    needs = features[spec.features[name].kind].needs
    if "generator" in needs and spec.generator is None:
        raise unmet(f"features '{name}'", "a generator", "a [generator] section")
    if "model" in needs and (space := learner_space(spec)):
        raise UserError(
            f"features '{name}' are the classifier's last hidden layer, and the classifier reads features itself",
            rule="features of kind 'classifier' are those that a network learns from pictures",
            hint=f"drop '{name}' and use '{space}', or a learner that reads pictures"
            if space != name
            else "name another space under [learner], or use a learner that reads pictures",
        )


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
            f"strategy '{name}' is for two classes, and there are {len(classes)}",
            hint="leave it out, or keep two classes with `keep` under [pool]",
        )


def unmet(who: str, what: str, hint: str) -> UserError:
    """Return the error for a need that a spec does not meet."""
    return UserError(f"{who} needs {what}, and the spec has none", hint=f"add {hint}")


def _check_strategy(spec: Spec, name: str, table: StrategyTable) -> None:
    needs = needs_of(table)
    if "generator" in needs and spec.generator is None:
        raise unmet(f"strategy '{name}'", "a generator", "a [generator] section")
    if "features" in needs:
        _check_space(spec, name, space_of(spec, name, table), needs)
    if "lines" not in strategies[table.kind].provides:  # which brings its own classifier
        _check_learner(spec, name, needs)
        if "gradient" in needs and (space := learner_space(spec)):
            _check_gradient(spec, name, space)
    _check_first(spec, name, table)
    _check_size(spec, name, table)
    _check_synthetic(name, table)


def _check_synthetic(name: str, table: StrategyTable) -> None:
    synthetic = "images" in strategies[table.kind].provides
    if table.balance and synthetic:
        raise UserError(
            f"`balance` does not go with strategy '{name}', which asks about synthetic images",
            rule="`balance` prefers picks of rare classes, and synthetic images have no class yet",
            hint=f"drop `balance` under [strategies.{name}]",
        )
    if table.min_confidence and not synthetic:
        raise UserError(
            f"`min_confidence` does not go with strategy '{name}', which asks about the pool's images",
            rule="`min_confidence` is about synthetic images, for which no labels are stored",
            hint=f"drop `min_confidence` under [strategies.{name}]",
        )


def _check_size(spec: Spec, name: str, table: StrategyTable) -> None:
    part = strategies[table.kind]
    size = part.value_of("subset", table.options)
    batch = spec.protocol.batch * max(table.balance, 1)
    if size is not None and size <= batch:
        times = f" × balance = {table.balance}" if table.balance else ""
        raise UserError(
            f"strategy '{name}' has {part.roles['subset']} = {size}, no more than batch = {spec.protocol.batch}{times}",
            rule="a batch is chosen from more images than it has, or the choice is random",
            hint=f"raise `{part.roles['subset']}` under [strategies.{name}], or lower `batch` under [protocol]",
        )


def _check_space(spec: Spec, name: str, space: str, needs: frozenset[str]) -> None:
    check_features(spec, space)
    table = spec.features[space]
    if "latents" in needs and ("latents" not in features[table.kind].provides or table.dimensions):
        latents = "latents" in features[table.kind].provides
        compressed = f"are compressed to {counted(table.dimensions, 'dimension')}"
        reason = compressed if latents else f"are of kind '{table.kind}'"
        raise UserError(
            f"strategy '{name}' cannot work in the features '{space}', which {reason}",
            rule="it turns features back into images, so they must be the generator's latents, uncompressed",
            hint="use a space of kind 'latent' with dimensions = 0",
        )


def provided(table: PartTable) -> frozenset[str]:
    """Return what a learner with these options provides: one with a hidden layer is not linear."""
    part = learners[table.kind]
    return part.provides - ({"linear"} if part.value_of("hidden", table.options) else set())


def _check_learner(spec: Spec, name: str, needs: frozenset[str]) -> None:
    for need, why in OF_LEARNER.items():
        if need in needs and need not in provided(spec.learner):
            raise UserError(
                f"strategy '{name}' does not go with the learner '{spec.learner.kind}'",
                rule=f"'{name}' {why}",
                hint="set `hidden = 0` under [learner], or use another strategy"
                if need in learners[spec.learner.kind].provides
                else f"use one of the learners {', '.join(_able(learners, need))}, or another strategy",
            )


def _check_gradient(spec: Spec, name: str, space: str) -> None:
    kind = spec.features[space].kind
    if "gradient" not in features[kind].provides:
        able = ", ".join(f"'{able}'" for able in _able(features, "gradient"))
        raise UserError(
            f"strategy '{name}' follows a gradient from an image to the classifier, which reads the features '{space}'",
            rule=f"features of kind '{kind}' have no gradient; those of kind {able} have one",
            hint="let the learner read another space, or use a strategy that needs no gradient, such as 'subset'",
        )


def _able(registry: Registry, need: str) -> list[str]:
    """Return the names of the parts that provide something."""
    return [name for name in registry if need in registry[name].provides]


def _check_first(spec: Spec, name: str, table: StrategyTable) -> None:
    if table.first is None:
        return
    if table.first.kind not in (able := _able(strategies, "first")):
        raise unknown("strategy for a first batch", table.first.kind, able)
    options_of(strategies, table.first)
    if "features" in strategies[table.first.kind].needs:
        _check_space(spec, name, first_space_of(spec, name, table), frozenset())
