"""From a spec's names to working parts: the only file that knows every registry."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from asal import artifacts
from asal.core import Extractor, Index, Learner
from asal.devices import Device
from asal.divide import Split
from asal.errors import UserError, unknown
from asal.events import Record
from asal.features import features
from asal.generators import Adversary, generators
from asal.index import indexes
from asal.ingest import ingest
from asal.learners import learners
from asal.oracles import oracles
from asal.oracles.stored import Stored
from asal.pool import StoredPool
from asal.prepare import Shop, Space, extracted, indexed, trained
from asal.progress import Watch, unwatched
from asal.quality import judge
from asal.registry import Registry
from asal.scores import scores
from asal.session import Chooser, Plan, Session, draw
from asal.sources import sources
from asal.spec import FeatureTable, PartTable, Spec, StrategyTable, load
from asal.strategies import strategies
from asal.vectors import StoredVectors

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


def check(spec: Spec, chosen: Sequence[str] | None = None) -> dict[str, StrategyTable]:
    """Refuse in the first second what could not work after hours, and return the chosen strategies' tables.

    Args:
        chosen: names of the spec's strategies, or of registered ones with their defaults; None takes the spec's.

    Raises:
        UserError: an unknown part or option, or a strategy whose needs the spec does not meet.
    """
    for registry, table in ((sources, spec.source), (indexes, spec.index), (learners, spec.learner)):
        _make(registry, table)  # a learner of one's own is looked up when it is made
    if spec.generator is not None:
        _options(generators, spec.generator)
    for name in spec.features:
        _check_features(spec, name)
    scores[spec.protocol.score]
    tables = {name: _table(spec, name) for name in (chosen if chosen is not None else spec.strategies)}
    for name, table in tables.items():
        _check_strategy(spec, name, table)
    return tables


def _options(registry: Registry, table: PartTable) -> dict[str, Any]:
    return registry[table.kind].options(table.options)


def _make(registry: Registry, table: PartTable) -> Any:
    return registry[table.kind].make(**_options(registry, table))


def _table(spec: Spec, name: str) -> StrategyTable:
    if name in spec.strategies:
        return spec.strategies[name]
    if name in strategies:
        return StrategyTable(kind=name)
    raise unknown("strategy", name, {*spec.strategies, *strategies})


def _check_features(spec: Spec, name: str) -> None:
    if name not in spec.features:
        raise unknown("feature space of this spec", name, spec.features)
    _options(features, spec.features[name])
    if "generator" in features[spec.features[name].kind].needs and spec.generator is None:
        raise _unmet(f"features '{name}'", "a generator", "a [generator] section")


def _check_strategy(spec: Spec, name: str, table: StrategyTable) -> None:
    part = strategies[table.kind]
    options = part.options(table.options)
    if "score" in options:
        scores[options["score"]]
    if "generator" in part.needs and spec.generator is None:
        raise _unmet(f"strategy '{name}'", "a generator", "a [generator] section")
    if "features" in part.needs:
        _check_features(spec, _space_of(spec, name, table))
    if "gradient" in part.needs and "gradient" not in learners[spec.learner.kind].provides:
        able = ", ".join(kind for kind in learners if "gradient" in learners[kind].provides)
        raise UserError(
            f"strategy '{name}' climbs a score by gradient, so its classifier must have one",
            came=f"the learner '{spec.learner.kind}', which has none",
            remedy=f"use one of {able}, or another strategy",
        )


def _space_of(spec: Spec, name: str, table: StrategyTable) -> str:
    if table.features is None and not spec.features:
        raise _unmet(f"strategy '{name}'", "a feature space", "a [features.autoencoder] section")
    return table.features or next(iter(spec.features))


def _unmet(who: str, what: str, remedy: str) -> UserError:
    return UserError(f"{who} needs {what}", came="the spec has none", remedy=f"add {remedy}")


class Project:
    """A project folder and its spec: opens every part when it is first wanted.

    `prepare` touches the parts in the same way, and while it holds the folder, touching makes what is not there.
    """

    def __init__(self, root: Path, spec: Spec, device: Device | None = None, watch: Watch = unwatched) -> None:
        self.root, self.spec, self.device, self.watch = root, spec, device or Device(), watch
        self._making = False
        self._spaces: dict[str, Space] = {}
        self._indexes: dict[str, Index] = {}

    @classmethod
    def open(cls, folder: str | Path, watch: Watch = unwatched) -> Project:
        """Open a project folder by the `asal.toml` in it."""
        return cls(Path(folder), load(Path(folder)), watch=watch)

    def session(
        self, strategy: str = "asal", *, classes: Sequence[str] = (), seed: int = 0, record: str | Path = ""
    ) -> Session:
        """Ask and tell over this project, going on where its record ends.

        Args:
            strategy: one of the spec's, or a registered one.
            classes: their names; those that came with the images where none is given.
            record: a file or a database URL; `labels.db` in the project where none is given.
        """
        names = tuple(classes) or self.oracle("pool").classes
        plan = self.plan(strategy, names, seed)
        return Session(self.pool, Record.open(record or self.root / "labels.db"), plan, self.tools(strategy))

    def prepare(self, chosen: Sequence[str] | None = None) -> None:
        """Make all that the chosen strategies need; everything in the spec where None is chosen.

        Raises:
            UserError: whatever is wrong with the spec, before any work is done.
        """
        tables = check(self.spec, chosen)
        with self._held():
            self._take_in()
            needs = {name: strategies[table.kind].needs for name, table in tables.items()}
            if chosen is None:
                spaces = set(self.spec.features)
            else:
                spaces = {_space_of(self.spec, n, tables[n]) for n, needed in needs.items() if "features" in needed}
            if (chosen is None and self.spec.generator) or any("generator" in needed for needed in needs.values()):
                self.generator  # noqa: B018  touching is making
            for name in spaces:
                self.index(name)

    def ingest(self) -> None:
        """Take the source's images in, once."""
        check(self.spec, [])
        with self._held():
            self._take_in()

    @contextmanager
    def _held(self) -> Iterator[None]:
        with artifacts.alone(self.root):
            self._making = True
            try:
                yield
            finally:
                self._making = False

    def _take_in(self) -> None:
        table = self.spec.pool
        split = Split(**table.split.model_dump())
        source = _make(sources, self.spec.source)
        ingest(source, self.root, split, keep=table.keep, size=table.size, gray=table.gray, watch=self.watch)
        if "pool" in self.__dict__:
            del self.pool

    @cached_property
    def pool(self) -> StoredPool:
        """The images to choose from."""
        return StoredPool.open(self.root / "pool")

    @cached_property
    def test(self) -> StoredPool:
        """The images that accuracy is measured on; nothing else reads them."""
        if not artifacts.is_whole(self.root / "test"):
            raise UserError(
                "accuracy is measured on a test set",
                came=f"{self.spec.name} has none",
                remedy="add `test = 500`, or the name of the source's test split, under [pool.split]",
            )
        return StoredPool.open(self.root / "test")

    @property
    def _shop(self) -> Shop:
        return Shop(self.root, self.pool, self.spec.seed, self.device, self.watch, make=self._making)

    @cached_property
    def _adversary(self) -> tuple[Path, Adversary]:
        if self.spec.generator is None:
            raise _unmet("this part", "a generator", "a [generator] section")
        table = self.spec.generator
        part = _make(generators, table)

        def judged(folder: Path) -> None:
            judge(part.load(folder, self.pool.shape), self._yardstick, self.pool, folder, self.spec.seed)

        folder = trained(self._shop, table.kind, part, _options(generators, table), also=judged)
        return folder, part.load(folder, self.pool.shape)

    @property
    def generator(self) -> Adversary:
        """The trained generator, with its critic."""
        return self._adversary[1]

    @property
    def _yardstick(self) -> Extractor:
        table = next(
            (t for t in self.spec.features.values() if t.kind == "autoencoder"), FeatureTable(kind="autoencoder")
        )
        return self._trained_features(table)[1]

    def _trained_features(self, table: FeatureTable) -> tuple[Path, Extractor]:
        part = _make(features, table)
        options = dict(_options(features, table))
        critic = None
        if "generator" in features[table.kind].needs:
            home, critic = self._adversary
            options["generator"] = home.name
        folder = trained(self._shop, table.kind, part, options)
        return folder, part.load(folder, self.pool.shape, critic)

    def space(self, name: str) -> Space:
        """Return a feature space of the spec."""
        if name not in self._spaces:
            _check_features(self.spec, name)
            table = self.spec.features[name]
            folder, extractor = self._trained_features(table)
            self._spaces[name] = extracted(self._shop, name, extractor, folder, table.dimensions, table.fit_on or None)
        return self._spaces[name]

    def index(self, name: str) -> Index:
        """Return the index over a feature space."""
        if name not in self._indexes:
            table = self.spec.index
            indexer, options = _make(indexes, table), _options(indexes, table)
            self._indexes[name] = indexed(self._shop, table.kind, indexer, options, self.space(name))
        return self._indexes[name]

    def learner(self) -> Learner:
        """Return the spec's learner."""
        made: Learner = _make(learners, self.spec.learner)
        return made

    def oracle(self, part: str) -> Stored:
        """Return the stored labels of "pool" or "test"."""
        return Stored.open(self.root / part)

    def plan(self, name: str, classes: tuple[str, ...], seed: int = 0, first: Chooser = draw) -> Plan:
        """Return a session's plan for one of the spec's strategies, or a registered one."""
        table = check(self.spec, [name])[name]
        part = strategies[table.kind]
        chooser = partial(part.make, **part.options(table.options))
        return Plan(classes, self.learner(), chooser, name, seed, first)

    def tools(self, name: str) -> ProjectTools:
        """Return what a strategy declared in its needs, each opened at its first use."""
        table = _table(self.spec, name)
        needs = strategies[table.kind].needs
        space = _space_of(self.spec, name, table) if "features" in needs else ""
        return ProjectTools(self, space, needs)


@dataclass(frozen=True)
class ProjectTools:
    """The tools of one strategy, in one feature space."""

    project: Project
    features: str
    needs: frozenset[str]

    def open(self) -> None:
        """Open all of them now, so that no round is charged for it."""
        if "generator" in self.needs:
            self.project.generator  # noqa: B018  touching is opening
        if "features" in self.needs:
            self.project.index(self.features)

    @property
    def generator(self) -> Adversary:
        return self.project.generator

    @property
    def extractor(self) -> Extractor:
        return self.project.space(self.features).extractor

    @property
    def vectors(self) -> StoredVectors:
        return self.project.space(self.features).vectors

    @property
    def index(self) -> Index:
        return self.project.index(self.features)
