"""From a spec's names to working parts."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from asal.core import Extractor, Index, Learner, Model
from asal.data.append import Added, add
from asal.data.augmented_pool import AugmentedPool
from asal.data.concat_pool import ConcatPool, additions, open_all
from asal.data.ingest import IngestContext, ingest
from asal.data.ingest_shard import ImageFormat
from asal.data.pool import LABELS, StoredPool
from asal.data.sources import Source, apart, sources
from asal.data.splits import Split
from asal.errors import UserError
from asal.features import ExtractorInputs, features
from asal.features.extract_shard import ExtractorRecipe, TrainedPart
from asal.index import Indexer, indexes
from asal.index.sharded import Sharded
from asal.models.generators import TrainedGenerator, generators
from asal.models.generators.quality import write_quality
from asal.models.learners import learners
from asal.project import prepare as stages
from asal.project import validate
from asal.project.prepare import Compression, CountingExtractor, PrepareContext, Space
from asal.project.resources import ProjectResources
from asal.project.spec import FeatureTable, Spec, StrategyTable, load
from asal.runtime import artifacts
from asal.runtime.devices import Device
from asal.runtime.engine import Engine, InProcess
from asal.runtime.meter import Meter
from asal.runtime.progress import Progress, no_progress, report_to
from asal.runtime.remote_files import Storage
from asal.session.events import Record
from asal.session.oracles import oracles
from asal.session.oracles.stored import Stored
from asal.session.oracles.teacher import TeacherModel
from asal.session.plan import Chooser, Plan, draw
from asal.session.session import Session
from asal.strategies import strategies
from asal.strategies.class_balance import balanced


class Project:
    """A project folder and its spec: opens every part when it is first wanted.

    `prepare` touches the parts in the same way, and while it holds the folder, touching makes what is not there.
    """

    def __init__(
        self,
        root: Path,
        spec: Spec,
        device: Device | None = None,
        progress: Progress = no_progress,
        engine: Engine | None = None,
        storage: str = "",
        spread: Callable[[Indexer], Sharded] | None = None,
    ) -> None:
        """Name what there is to work with; nothing is opened yet.

        Args:
            device: where generators and encoders are trained.
            engine: does what is done shard by shard; this process alone where none is given.
            storage: a URL by which the engine's machines exchange files, where they do not see the project's folder.
            spread: puts the spec's index in parts, such as `lambda kind: Sharded(kind, 8, Ray("auto"))`.
        """
        self.root, self.spec, self.device, self.progress = root, spec, device or Device(), progress
        self.engine, self.storage, self._spread = engine or InProcess(), storage, spread
        self._making = False
        self._spaces: dict[str, Space] = {}
        self._indexes: dict[str, Index] = {}
        self._own: dict[str, Any] = {}

    @classmethod
    def open(cls, folder: str | Path, progress: Progress = no_progress) -> Project:
        """Open a project folder by the `asal.toml` in it."""
        return cls(Path(folder), load(Path(folder)), progress=progress)

    def session(
        self, strategy: str = "asal", *, classes: Sequence[str] = (), seed: int = 0, record: str | Path = ""
    ) -> Session:
        """Ask and tell over this project, going on where its record ends.

        Args:
            strategy: one of the spec's, or a registered one.
            classes: their names; the spec's under [labelling], or those that came with the images, where none is given.
            record: a file or a database URL; the spec's, or `labels.db` in the project, where none is given.
        """
        plan, where = self.plan(strategy, tuple(classes) or self.classes, seed), self.spec.labelling.place(self.root)
        return Session(self.pool, Record.open(record or where), plan, self.tools(strategy))

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the spec's classes under [labelling], or of those that came with the images."""
        return self.spec.labelling.classes or self.oracle("pool").classes

    def prepare(self, chosen: Sequence[str] | None = None) -> None:
        """Make all that the chosen strategies need; everything in the spec where None is chosen.

        Raises:
            UserError: whatever is wrong with the spec, before any work is done.
        """
        tables = validate.check(self.spec, chosen)
        if self.storage:
            Storage(self.storage).entry("asal")  # refuses what no file could go through
        with self._held():
            self._take_in()
            if self._labelled:
                classes = self.oracle("pool").classes
                for name, table in tables.items():
                    validate.check_classes(name, table, classes)
            spaces = self.spec.features if chosen is None else ()
            # What needs no generator comes first: what is wrong with it is said before hours are spent on one.
            for name in sorted(spaces, key=lambda name: "generator" in features[self.spec.features[name].kind].needs):
                if "model" not in features[self.spec.features[name].kind].needs:
                    self.index(name)
            if chosen is None and self.spec.generator:
                self.generator  # noqa: B018  touching is making
            for name, table in tables.items():
                self.tools(name).open()
                if table.first and "features" in strategies[table.first.kind].needs:
                    self.index(validate.first_space_of(self.spec, name, table))
            if any("images" in strategies[table.kind].provides for table in tables.values()) and self._labelled:
                self.teacher  # noqa: B018

    def ingest(self) -> None:
        """Take the source's images in, once."""
        validate.check(self.spec, [])
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
        source = validate.made(sources, self.spec.source)
        # Machines that do not see this folder could not put images into it.
        context = IngestContext(InProcess() if self.storage else self.engine, self.progress)
        ingest(source, self.root, split, keep=table.keep, size=table.size, gray=table.gray, context=context)
        self._let_go()

    def add(self, images: Source | None = None) -> Added:
        """Take in what the source has by now and the project does not, under ids behind the present ones.

        Generators, encoders and projections stay as they were trained; `prepare` then computes the new images' features
        and grows the indexes.

        Args:
            images: another source, whose training images are taken; the spec's own where none is given.

        Returns:
            How many images were new, known, or of classes that are not kept.

        Raises:
            UserError: there is no pool yet, or the source has labels that are no class of the project.
        """
        table = self.spec.pool
        with self._held():
            context = IngestContext(InProcess() if self.storage else self.engine, self.progress)
            form = ImageFormat(table.size, table.gray, StoredPool.open(self.root / "pool").shape)
            source = images or validate.made(sources, self.spec.source)
            if isinstance(place := getattr(source, "path", None), str) and "://" not in place:
                apart(self.root, Path(place))
            counts = add(source, self.root, table.keep, form, context)
        self._let_go()
        return counts

    def _let_go(self) -> None:
        """Forget what hangs on how many images there are."""
        for name in ("pool", "_added"):
            self.__dict__.pop(name, None)
        self._spaces.clear()
        self._indexes.clear()

    @cached_property
    def _added(self) -> list[Path]:
        return additions(self.root)

    @cached_property
    def pool(self) -> StoredPool | AugmentedPool | ConcatPool:
        """The images to choose from."""
        return open_all(self.root, self._added)

    @property
    def original(self) -> StoredPool | AugmentedPool:
        """The images that the pool began with: what is trained on them serves those that were added, too."""
        return self.pool.parts[0] if isinstance(self.pool, ConcatPool) else self.pool

    @cached_property
    def test(self) -> StoredPool:
        """The images that accuracy is measured on; nothing else reads them."""
        if not artifacts.is_whole(self.root / "test"):
            raise UserError(
                f"{self.spec.name} has none",
                rule="accuracy is measured on a test set",
                hint="add `test = 500`, or the name of the source's test split, under [pool.split]",
            )
        return StoredPool.open(self.root / "test")

    @property
    def _context(self) -> PrepareContext:
        make, engine, storage = self._making, self.engine, self.storage
        return PrepareContext(
            self.root, self.original, self.spec.seed, self.device, self.progress, make, engine, storage
        )

    @cached_property
    def _trained_generator(self) -> tuple[Path, TrainedGenerator]:
        if self.spec.generator is None:
            raise validate.unmet("this part", "a generator", "a [generator] section")
        table, part = self.spec.generator, validate.made(generators, self.spec.generator)

        def judged(folder: Path) -> None:
            write_quality(part.load(folder, self.pool.shape), self._yardstick, self.original, folder, self.spec.seed)

        folder = stages.trained(self._context, table.kind, part, validate.options_of(generators, table), also=judged)
        return folder, part.load(folder, self.pool.shape)

    @property
    def generator(self) -> TrainedGenerator:
        """The trained generator, with its critic."""
        return self._trained_generator[1]

    @property
    def _yardstick(self) -> Extractor:
        table = next(
            (t for t in self.spec.features.values() if t.kind == "autoencoder"), FeatureTable(kind="autoencoder")
        )
        return self._trained_features(table)[1]

    def _trained_features(self, table: FeatureTable) -> tuple[Path, Extractor]:
        part = validate.made(features, table)
        options, given = dict(validate.options_of(features, table)), ExtractorInputs()
        if "generator" in features[table.kind].needs:
            home, generator = self._trained_generator
            options["generator"], given = home.name, ExtractorInputs(generator)
        folder = stages.trained(self._context, table.kind, part, options)
        return folder, part.load(folder, self.pool.shape, given)

    def _recipe(self, table: FeatureTable, folder: Path) -> ExtractorRecipe:
        """Return how another process opens a trained extractor."""
        generator = None
        if self.spec.generator and "generator" in features[table.kind].needs:
            kind, options = self.spec.generator.kind, json.dumps(self.spec.generator.options, default=str)
            generator = TrainedPart(kind, options, self._trained_generator[0].absolute())
        extractor = TrainedPart(table.kind, json.dumps(table.options, default=str), folder.absolute())
        return ExtractorRecipe(
            (self.root / "pool").absolute(), extractor, generator, None, half=table.storage == "float16"
        )

    def space(self, name: str) -> Space:
        """Return a feature space of the spec."""
        if name not in self._spaces:
            validate.check_features(self.spec, name)
            table = self.spec.features[name]
            if "model" in features[table.kind].needs:
                validate.made(features, table).load(
                    Path(), self.pool.shape, ExtractorInputs()
                )  # refuses: nothing is stored
            folder, extractor = self._trained_features(table)
            compression, recipe = Compression.of(table), self._recipe(table, folder)
            space = stages.extracted(self._context, name, extractor, folder, compression, recipe)
            self._spaces[name] = stages.extended(self._context, name, space, self._added, recipe)
        return self._spaces[name]

    def index(self, name: str) -> Index:
        """Return the index over a feature space."""
        if name not in self._indexes:
            space, spread = self.space(name), self._spread
            self._indexes[name] = self._sharded(spread, space) if spread else self._indexed(self._context, space)
        return self._indexes[name]

    def _indexed(self, context: PrepareContext, space: Space) -> Index:
        table = self.spec.index
        options = validate.options_of(indexes, table)
        return stages.indexed(context, table.kind, validate.made(indexes, table), options, space)

    def _sharded(self, spread: Callable[[Indexer], Sharded], space: Space) -> Index:
        if space.more:
            raise UserError(
                f"{len(space.more)} additions",
                rule="an index in parts is over a pool that has not grown",
                hint="drop `spread`, or start a project with all images",
            )
        table, indexer = self.spec.index, spread(validate.made(indexes, self.spec.index))
        options = {**validate.options_of(indexes, table), "parts": indexer.parts}
        return stages.indexed(self._context, f"{table.kind}-in-parts", indexer, options, space)

    def passing(self, name: str, model: Model, meter: Meter, keeper: object) -> tuple[Space, Index]:
        """Return a space that hangs on the present classifier and its index; their files go when `keeper` does.

        Cost: a network evaluation for every image of the pool, and for those that PCA is fitted on.
        """
        table = self.spec.features[name]
        extractor = CountingExtractor(
            validate.made(features, table).load(Path(), self.pool.shape, ExtractorInputs(model=model))
        )
        context = replace(stages.passing(self._context, keeper), pool=self.pool)
        with meter.part("score"):
            compression = Compression.of(table)
            space = stages.extracted(context, name, extractor, Path("present"), compression)
            index = self._indexed(context, space)
        meter.evaluations += extractor.images
        return replace(
            space, extractor=CountingExtractor(space.extractor, meter)
        ), index  # made-up images go through it next

    def own(self, name: str) -> Any:
        """Return what a strategy prepares for itself."""
        if name not in self._own:
            table = validate.table_of(self.spec, name)
            part, options = strategies[table.kind].bind(table.options), validate.options_of(strategies, table)
            made_from = {key: options[key] for key in part.made_from}
            self._own[name] = part.load(stages.trained(self._context, table.kind, part, made_from), self.pool.shape)
        return self._own[name]

    def oracle(self, part: str) -> Stored:
        """Return the stored labels of "pool" or "test"."""
        more = self._added if part == "pool" else []
        return Stored.open(self.root / part).followed_by(*map(Stored.open, more))

    @property
    def _labelled(self) -> bool:
        return LABELS in artifacts.manifest(self.root / "pool")["files"]

    @cached_property
    def teacher(self) -> TeacherModel:
        """Who answers for made-up images: trained on every label of the pool that the project began with."""
        oracle, part = Stored.open(self.root / "pool"), validate.made(oracles, self.spec.annotator)
        labels = oracle.answer(np.arange(len(self.original)))
        facts = {
            "kind": self.spec.annotator.kind,
            "options": validate.options_of(oracles, self.spec.annotator),
            "pool": self.pool.fingerprint,
            "labels": artifacts.manifest(self.root / "pool")["files"][LABELS]["sha256"],
            "seed": self.spec.seed,
        }

        def fill(folder: Path) -> None:
            with report_to(self.progress, "teacher"):
                part.train(self.original, labels, len(oracle.classes), folder, self.spec.seed)

        folder = stages.stage(self._context, "parts", self.spec.annotator.kind, facts, fill)
        answering: TeacherModel = part.load(folder, self.pool.shape, len(oracle.classes))
        return answering

    def plan(self, name: str, classes: tuple[str, ...], seed: int = 0, first: Chooser = draw) -> Plan:
        """Return a session's plan for one of the spec's strategies, or a registered one.

        Args:
            first: chooses the first batch, unless the strategy's table names a strategy that does.
        """
        table = validate.check(self.spec, [name])[name]
        part, first_name = strategies[table.kind], table.first.kind if table.first else "random"
        validate.check_classes(name, table, classes)
        chooser, lines, first = part.bind(table.options), "lines" in part.provides, self._first(name, table) or first
        learner = chooser.learner(self.tools(name)) if lines else self.learner(validate.needs_of(table))
        return Plan(classes, learner, balanced(chooser, table.balance), name, seed, first, first_name, lines)

    def learner(self, needs: frozenset[str] = frozenset()) -> Learner:
        """Return the spec's learner, as a strategy with these needs wants it."""
        learner = validate.made(learners, self.spec.learner)
        trained_by: Learner = learner.loss_predicting() if "loss" in needs else learner
        return trained_by

    def _first(self, name: str, table: StrategyTable) -> Chooser | None:
        if table.first is None:
            return None
        part = strategies[table.first.kind]
        space = validate.first_space_of(self.spec, name, table) if "features" in part.needs else ""
        chooser, tools = part.bind(table.first.options), ProjectResources(self, name, space, part.needs)
        return lambda now, n, rng: chooser(replace(now, tools=tools), n, rng)

    def tools(self, name: str) -> ProjectResources:
        """Return what a strategy declared in its needs, each opened at its first use."""
        table = validate.table_of(self.spec, name)
        needs = validate.needs_of(table)
        space = validate.space_of(self.spec, name, table) if "features" in needs else ""
        return ProjectResources(self, name, space, needs)
