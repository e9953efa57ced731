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
import pkgutil
import typing
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib import metadata
from typing import Any, TypeVar

from asal.errors import UserError, unknown

F = TypeVar("F", bound=Callable[..., Any])

WORDS = {  # what parts need and provide
    "generator": "a trained generator with its critic",
    "features": "a feature space, every image's place in it stored",
    "index": "an index over that space",
    "model": "the present classifier: such features are found anew in every round",
    "gradient": "a classifier whose logits can be differentiated",
    "linear": "a classifier that is linear in features that stand still",
    "loss": "a classifier that foretells its loss",
    "latents": "features that are whole latents of the generator",
    "own": "what the strategy prepares for itself, once, by its `train`, and opens by its `load`",
    "two classes": "no more and no fewer",
    "first": "a strategy that needs no classifier, and so can choose a first batch",
    "images": "a strategy that makes images up, to be labelled in place of the pool's; an oracle that answers for them",
    "lines": "a strategy that brings its own classifier, by its `learner`, which learns from how images were made",
}


@dataclass(frozen=True)
class Part:
    """One registered part: what makes it, and what it declares of itself."""

    kind: str
    name: str
    make: Callable[..., Any]
    needs: frozenset[str]  # of a project: generator, features, index, gradient …
    provides: frozenset[str]
    cost: str  # in the pool's size: "constant" or "linear"

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

        Raises:
            UserError: an option that the part does not have, or a value that does not fit its type.
        """
        for name in given:
            if name not in self.parameters:
                raise unknown(f"option of {self.kind} '{self.name}'", name, self.parameters)
        return dict(self._schema(given))

    def bind(self, given: Mapping[str, Any]) -> Any:
        """Return the part with its options, ready to be called: an instance of a class, or a function with them bound.

        Raises:
            UserError: as `options`.
        """
        if inspect.isclass(self.make):
            return self.make(**self.options(given))
        return functools.partial(self.make, **self.options(given))

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
            for made in dataclasses.fields(self.make):
                if made.default_factory is not dataclasses.MISSING:
                    fields[made.name] = (hints[made.name], pydantic.Field(default_factory=made.default_factory))
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
    first = error.errors()[0]
    where = ".".join(str(step) for step in first["loc"]) or place
    if first["type"] == "missing":
        return UserError(f"'{where}' is missing from the {place}", hint=f"add `{where} = …`")
    return UserError(
        f"{where} = {first['input']!r} does not fit the {place}",
        rule=f"{where}: {first['msg'][0].lower()}{first['msg'][1:]}",
        hint=f"change '{where}'",
    )


class Registry(Mapping[str, Part]):
    """The parts of one kind. Reading it imports every module of the kind's folder, once."""

    def __init__(self, kind: str, package: str | None, group: str | None = None) -> None:
        self.kind, self.package = kind, package
        self.group = group or package  # of entry points: a contract, wherever the package lies
        self._parts: dict[str, Part] = {}
        self._loaded = package is None

    def register(
        self, name: str, *, needs: tuple[str, ...] = (), provides: tuple[str, ...] = (), cost: str = "constant"
    ) -> Callable[[F], F]:
        """Enter the decorated function or class under `name`."""

        def enter(make: F) -> F:
            if name in self._parts and self._parts[name].make is not make:
                raise ValueError(f"two parts want to be the {self.kind} called '{name}'")
            self._parts[name] = Part(self.kind, name, make, frozenset(needs), frozenset(provides), cost)
            return make

        return enter

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
        for entry in metadata.entry_points(group=self.group or name):  # parts of other distributions
            entry.load()

    def __getitem__(self, name: str) -> Part:
        parts = self._load()
        if name not in parts:
            raise unknown(self.kind, name, parts)
        return parts[name]

    def __contains__(self, name: object) -> bool:  # a mapping's own would have to catch a KeyError
        return name in self._load()

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._load()))

    def __len__(self) -> int:
        return len(self._load())
