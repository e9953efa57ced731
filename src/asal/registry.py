"""Parts by name: a new part is one file in its kind's folder and one `register` line.

>>> strategies = Registry("strategy", package=None)
>>> @strategies.register("first", cost="constant")
... def first(now, n, rng, *, offset: int = 0):
...     '''The first n candidates.'''
>>> strategies["first"].summary
'The first n candidates.'
>>> strategies["first"].options({"offset": 3})
{'offset': 3}
"""

from __future__ import annotations

import dataclasses
import functools
import importlib
import inspect
import os
import pkgutil
import sys
import typing
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from importlib import metadata
from typing import Any, TypeAlias, TypeVar

from asal.errors import PluginWarning, UserError, reason, unknown

F = TypeVar("F", bound=Callable[..., Any])
Complete: TypeAlias = Callable[[Mapping[str, Any]], dict[str, Any]]

WORDS = {  # what parts need and provide
    "generator": "a trained generator with its critic",
    "features": "a feature space, with the features of every image stored; a learner that provides it can read them",
    "index": "an index over that space",
    "model": "the present classifier: such features are computed again in every round",
    "gradient": "a classifier whose logits can be differentiated; features that can be",
    "linear": "a classifier that is linear in features that do not change from round to round",
    "loss": "a classifier that predicts its loss",
    "dropout": "a classifier that can predict with dropout of its last layer's inputs",
    "latents": "features that are complete latents of the generator",
    "originals": "features that are computed from originals, where the source keeps them, at the network's own size",
    "own": "what the strategy prepares for itself, once, by its `train`, and opens by its `load`",
    "two classes": "no more and no fewer",
    "first": "a strategy that needs no classifier, and so can choose a first batch",
    "images": "a strategy that asks about synthetic images in place of the pool's; an oracle that answers for them",
    "lines": "a strategy that brings its own classifier, by its `learner`, which learns from how images were made",
}
COSTS = {
    "constant": "a batch costs the same whatever the pool's size",
    "linear": "a batch costs work for every image of the pool",
}
ROLES = {  # what an option means to others: declared with the option's name
    "score": "names a score, whose needs the part has too",
    "hidden": "units of a hidden layer: a classifier that has any is not linear",
    "search": "how candidates are found: only through a 'generator' is one needed, and a gradient",
    "subset": "how many random images a batch is chosen from: more than the batch",
    "batch": "names a batch rule: 'top' needs no distances",
    "space": "where distances are measured: in 'stored' features, which the part needs then, or in the classifier's; "
    "'auto' is the first where a spec has features",
}


@dataclass(frozen=True)
class Part:
    """One registered part: what makes it, and what it declares of itself."""

    kind: str
    name: str
    make: Callable[..., Any]
    needs: frozenset[str]  # of WORDS
    provides: frozenset[str]  # of WORDS
    cost: str  # in the pool's size: of COSTS
    renamed: Mapping[str, str] = field(default_factory=dict, hash=False)  # an option's former name → its present one
    added: Mapping[str, Any] = field(default_factory=dict, hash=False)  # a later option → its value in older folders
    formerly: Mapping[str, Any] = field(default_factory=dict, hash=False)  # an option → its default in older folders
    roles: Mapping[str, str] = field(default_factory=dict, hash=False)  # of ROLES → the option's name
    completed: Complete | None = field(default=None, hash=False)  # gives options that are None their defaults

    @property
    def summary(self) -> str:
        """The first line of its docstring."""
        return (inspect.getdoc(self.make) or "").partition("\n")[0]

    @cached_property
    def parameters(self) -> dict[str, inspect.Parameter]:
        """Its options: a class's constructor arguments, or a function's keyword-only ones."""
        everything = inspect.signature(self.make).parameters
        by_place = inspect.isclass(self.make)  # a function's positional arguments are what a round gives it
        return {name: p for name, p in everything.items() if by_place or p.kind is inspect.Parameter.KEYWORD_ONLY}

    def options(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return every option with its value, checked against the signature; defaults where none was given.

        An option may be given under its former name.

        Raises:
            UserError: an option that the part does not have, one under both its names, or a value of a wrong type.
        """
        for old, new in self.renamed.items():
            if old in given and new in given:
                raise UserError(f"'{old}' is the former name of '{new}', and both are given", hint=f"drop '{old}'")
        present = {self.renamed.get(name, name): value for name, value in given.items()}
        for name in present:
            if name not in self.parameters:
                raise unknown(f"option of {self.kind} '{self.name}'", name, self.parameters)
        options = dict(self._schema(present))
        return self.completed(options) if self.completed else options

    def options_of_older(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return every option with its value in a folder that an older asal wrote: with the defaults of that time.

        Raises:
            UserError: as `options`.
        """
        present = {self.renamed.get(name, name) for name in given}
        before = {name: value for name, value in {**self.added, **self.formerly}.items() if name not in present}
        return self.options({**before, **given})

    def facts(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return the options that a folder made by the part is named by: without later ones that mean what was before.

        Raises:
            UserError: as `options`.
        """
        options = self.options(given)
        return {name: value for name, value in options.items() if name not in self.added or value != self.added[name]}

    def bind(self, given: Mapping[str, Any]) -> Any:
        """Return the part with its options, ready to be called: an instance of a class, or a function with them bound.

        Raises:
            UserError: as `options`.
        """
        if inspect.isclass(self.make):
            return self.make(**self.options(given))
        return functools.partial(self.make, **self.options(given))

    def value_of(self, role: str, given: Mapping[str, Any]) -> Any:
        """Return the value of the option that is declared to play a role, of ROLES; None where no option does.

        Raises:
            UserError: as `options`.
        """
        options = self.options(given)
        return options[self.roles[role]] if role in self.roles else None

    def _schema(self, given: Mapping[str, Any]) -> Mapping[str, Any]:
        import pydantic  # here, because the command line's help must not wait for it

        hints = typing.get_type_hints(
            self.make.__init__ if inspect.isclass(self.make) else self.make, include_extras=True
        )
        fields: dict[str, Any] = {
            name: (hints.get(name, Any), ... if p.default is inspect.Parameter.empty else p.default)
            for name, p in self.parameters.items()
        }
        if dataclasses.is_dataclass(self.make):
            for one in dataclasses.fields(self.make):
                if one.default_factory is not dataclasses.MISSING:
                    fields[one.name] = (hints[one.name], pydantic.Field(default_factory=one.default_factory))
        config = pydantic.ConfigDict(
            extra="forbid", protected_namespaces=(), arbitrary_types_allowed=True, allow_inf_nan=False
        )
        model = pydantic.create_model(self.name, __config__=config, **fields)
        try:
            checked = model(**given)
        except pydantic.ValidationError as error:
            raise explain(f"options of {self.kind} '{self.name}'", error) from None
        return {name: getattr(checked, name) for name in fields}


def explain(place: str, error: Any) -> UserError:
    """Turn a pydantic error about "options of …" or "settings in …" into one that names the value and the rule."""
    errors = error.errors()
    first, loc = errors[0], errors[0]["loc"]
    same = [one for one in errors if one["loc"][:-1] == loc[:-1] and one["input"] == first["input"]]
    # Of a value that may be a number or a word, such as "auto", each kind has an error of its own at loc + its name.
    kinds = same if len(loc) > 1 and any("[" in str(one["loc"][-1]) for one in same) else []
    where = ".".join(str(step) for step in (loc[:-1] if kinds else loc)) or place
    if first["type"] == "missing":
        return UserError(f"'{where}' is missing from the {place}", hint=f"add `{where} = …`")
    rules = [one["msg"].replace("Input should be ", "") for one in kinds]
    message = f"the value should be {', or '.join(rules)}" if kinds else first["msg"].replace("Input", "the value", 1)
    if first["type"] == "value_error":  # raised by a check of several values, whose message names them
        message = message.removeprefix("Value error, ")
        return UserError(f"the {place} do not fit together: {message}", hint="change one of them")
    return UserError(
        f"{where} = {first['input']!r} does not fit the {place}",
        rule=message[0].lower() + message[1:],
        hint="set another value",
    )


@dataclass(frozen=True)
class FailedPlugin:
    """An entry point of another distribution that could not be imported."""

    entry: str
    distribution: str  # its name and version
    error: str

    def __str__(self) -> str:
        return f"the plug-in '{self.entry}' of {self.distribution} cannot be imported: {self.error}"


class Registry(Mapping[str, Part]):
    """The parts of one kind. Reading it imports every module of the kind's folder, once, and then the plug-ins.

    A plug-in that cannot be imported is left out with a warning, and stands in `failed`.

    Args:
        dotted: `registry["package.module:name"]` finds a function or class that need not be registered.
    """

    def __init__(self, kind: str, package: str | None, group: str | None = None, *, dotted: bool = False) -> None:
        self.kind, self.package, self.dotted = kind, package, dotted
        self.group = group or package  # of entry points: a contract, wherever the package lies
        self._parts: dict[str, Part] = {}
        self._failed: list[FailedPlugin] = []
        self._loaded = package is None

    def register(  # noqa: PLR0913  each is a declaration of its own
        self,
        name: str,
        *,
        needs: tuple[str, ...] = (),
        provides: tuple[str, ...] = (),
        cost: str = "constant",
        renamed: Mapping[str, str] | None = None,
        roles: Mapping[str, str] | None = None,
        added: Mapping[str, Any] | None = None,
        formerly: Mapping[str, Any] | None = None,
        completed: Complete | None = None,
    ) -> Callable[[F], F]:
        """Enter the decorated function or class under `name`.

        Args:
            needs: what has to be there before it can run, in WORDS.
            provides: what it offers to other parts, in WORDS.
            cost: "constant" or "linear" in the pool's size.
            renamed: former names of options, which specs may still use, and their present names.
            roles: options that mean something to others: ROLES → the option's name.
            added: options that came later, each with the value that means what was before: with that one, the names of
                folders stay as they were.
            formerly: options whose default changed, each with its former default: a folder that was written before
                keeps its meaning. (A part that folders are named by needs none: its name holds every option.)
            completed: returns all options with defaults for those that are None, where these depend on other options.

        Raises:
            UserError: a word or an option that does not exist.
            ValueError: another part of this kind has the name.
        """

        def enter(make: F) -> F:
            if name in self._parts and self._parts[name].make is not make:
                raise ValueError(f"two parts want to be the {self.kind} called '{name}'")
            part = Part(
                self.kind, name, make, frozenset(needs), frozenset(provides), cost, dict(renamed or {}),
                dict(added or {}), dict(formerly or {}), dict(roles or {}), completed,
            )  # fmt: skip
            _check_declarations(part)
            self._parts[name] = part
            return make

        return enter

    @property
    def failed(self) -> tuple[FailedPlugin, ...]:
        """The plug-ins that could not be imported."""
        self._load()
        return tuple(self._failed)

    def _load(self) -> dict[str, Part]:
        if not self._loaded and self.package is not None:
            self._loaded = True  # before the imports: a part may look its siblings' registry up
            try:
                self._import(self.package)
            except BaseException:
                self._loaded = False  # or the next reading would find fewer parts, and say nothing
                raise
        return self._parts

    def _import(self, name: str) -> None:
        package = importlib.import_module(name)
        for module in pkgutil.iter_modules(package.__path__):
            importlib.import_module(f"{name}.{module.name}")
        self._failed.clear()
        for entry in metadata.entry_points(group=self.group or name):  # parts of other distributions
            try:
                entry.load()
            except Exception as error:
                self._failed.append(_failed(entry, error))
        for plugin in self._failed:
            warnings.warn(f"{plugin}; its {self.kind} is left out", PluginWarning, stacklevel=2)

    def __getitem__(self, name: str) -> Part:
        parts = self._load()
        if name in parts:
            return parts[name]
        if self.dotted and ":" in name:
            return self._by_path(name)
        error = unknown(self.kind, name, parts)
        if self._failed:
            raise UserError(error.got, rule="; ".join(map(str, [error.rule, *self._failed])), hint=error.hint)
        raise error

    def _by_path(self, path: str) -> Part:
        make = resolve(path, self.kind)
        for part in self._parts.values():  # importing its module may have registered it
            if part.make is make:
                return part
        return Part(self.kind, path, make, frozenset(), frozenset(), "constant")

    def get(self, name: str, default: Any = None) -> Any:  # likewise
        """Return a part, or a default where none has the name."""
        return self[name] if name in self else default  # noqa: SIM401  this is what `get` means

    def __contains__(self, name: object) -> bool:  # a mapping's own would have to catch a KeyError
        return name in self._load()

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._load()))

    def __len__(self) -> int:
        return len(self._load())


def _check_declarations(part: Part) -> None:
    what = f"{part.kind} '{part.name}'"
    declared = (("need", part.needs, WORDS), ("provision", part.provides, WORDS), ("role", part.roles, ROLES))
    for kind, words, known in (*declared, ("cost", (part.cost,), COSTS)):
        for word in words:
            if word not in known:
                raise unknown(f"{kind} of {what}", word, known)
    for option in (*part.renamed.values(), *part.added, *part.formerly, *part.roles.values()):
        if option not in part.parameters:
            raise unknown(f"option of {what}", option, part.parameters)


def _failed(entry: metadata.EntryPoint, error: Exception) -> FailedPlugin:
    distribution = f"{entry.dist.name} {entry.dist.version}" if entry.dist else "an unknown distribution"
    return FailedPlugin(entry.name, distribution, f"{type(error).__name__}: {error}")


def resolve(path: str, what: str = "factory") -> Callable[..., Any]:
    """Return what `package.module:name` names; modules in the working directory are found too.

    Raises:
        UserError: the module cannot be imported, or holds nothing callable of this name.
    """
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    module, _, name = path.partition(":")
    if not module or not name:
        raise _unresolved(path, what, f"it names no {'function' if module else 'module'}")
    try:
        imported = importlib.import_module(module)
    except UserError:
        raise
    except ImportError as error:
        raise _unresolved(path, what, reason(error)) from None
    except Exception as error:  # a module that somebody writes just now raises whatever it meets
        why = f"its module stops at a {type(error).__name__}: {reason(error)}"
        raise _unresolved(path, what, why, f"fix the module '{module}'") from None
    try:
        result = getattr(imported, name)
    except AttributeError as error:
        raise _unresolved(path, what, reason(error)) from None
    if not callable(result):
        raise _unresolved(path, what, f"it is not callable, but {result!r}")
    found: Callable[..., Any] = result
    return found


def _unresolved(path: str, what: str, why: str, hint: str = "") -> UserError:
    return UserError(
        f"the {what} '{path}' cannot be imported: {why}",
        rule=f"a {what} is named as 'package.module:function'",
        hint=hint or "check the spelling, and that the package is installed in this environment",
    )
