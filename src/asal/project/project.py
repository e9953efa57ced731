"""A project folder and the parts in it: opens what has been prepared."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from asal.core import Extractor, Index, Learner, Model, Pool, Reader
from asal.data import moves
from asal.data.append import Added
from asal.data.augmented_pool import AugmentedPool
from asal.data.concat_pool import ConcatPool
from asal.data.duplicates import Copies
from asal.data.pool import StoredPool
from asal.data.sources import Source
from asal.errors import UserError
from asal.features import ExtractorInputs, features
from asal.features.extract_shard import input_size
from asal.features.store import VECTORS, StoredVectors
from asal.index import Indexer
from asal.index.sharded import Sharded
from asal.models.generators import TrainedGenerator, generators
from asal.models.learners import learners
from asal.project import extraction, prediction, prepare, spaces, validate
from asal.project.corrections import Corrected
from asal.project.extraction import Compression, Extraction
from asal.project.folder import ProjectFolder
from asal.project.parts import ProjectParts, needs_generator, of_classifier
from asal.project.prediction import Images, Predictions
from asal.project.prepare import CountingExtractor
from asal.project.preparer import Preparer
from asal.project.resources import LearnerFeatures, ProjectResources
from asal.project.spaces import Space
from asal.project.spec import FeatureTable, Spec, load
from asal.project.step import PrepareContext
from asal.project.validate import ValidatedSpec, ValidatedStrategy
from asal.runtime import artifacts
from asal.runtime.devices import Device
from asal.runtime.engine import Engine, InProcess
from asal.runtime.meter import Meter
from asal.runtime.progress import Progress, no_progress
from asal.session.events import Record
from asal.session.oracles import oracles
from asal.session.oracles.stored import Stored
from asal.session.oracles.teacher import TeacherModel
from asal.session.plan import Chooser, Plan, draw
from asal.session.proposals import Trained
from asal.session.session import Session
from asal.strategies import strategies
from asal.strategies.class_balance import balanced


class Project:
    """A project folder and its spec: opens each part when it is first used, and makes none.

    What is not there raises a `UserError` that says so. `prepare`, `ingest` and `add` hand the project to a `Preparer`.
    """

    def __init__(
        self,
        root: Path,
        spec: Spec | ValidatedSpec,
        device: Device | None = None,
        progress: Progress = no_progress,
        engine: Engine | None = None,
        storage: str = "",
        spread: Callable[[Indexer], Sharded] | None = None,
    ) -> None:
        """Name what there is to work with; nothing is opened yet.

        Args:
            spec: one that has been validated is not validated again.
            device: where generators and encoders are trained.
            engine: does what is done shard by shard; this process alone where none is given.
            storage: a URL by which the engine's machines exchange files, where they do not see the project's folder.
            spread: puts the spec's index in parts, such as `lambda kind: Sharded(kind, 8, Ray("auto"))`.
        """
        self._validated = spec if isinstance(spec, ValidatedSpec) else None
        self.folder = ProjectFolder(root, spec.spec if isinstance(spec, ValidatedSpec) else spec)
        self.root, self.spec = root, self.folder.spec
        self.device, self.progress = device or Device(), progress
        self.engine, self.storage, self.spread = engine or InProcess(), storage, spread
        self._spaces: dict[str, Space] = {}
        self._indexes: dict[str, Index] = {}
        self._strategy_parts: dict[str, Any] = {}
        self.trained: dict[str, Trained] = {}  # by strategy, the newest classifier that `predict` has used

    @classmethod
    def open(cls, folder: str | Path, progress: Progress = no_progress) -> Project:
        """Open a project folder by the `asal.toml` in it."""
        return cls(Path(folder), load(Path(folder)), progress=progress)

    def validate(self, chosen: Sequence[str] | None = None) -> ValidatedSpec:
        """Return the spec as checked, with the chosen strategies and no others; each of them is checked once.

        Args:
            chosen: names of the spec's strategies, or of registered ones; None takes the spec's.

        Raises:
            UserError: whatever is wrong with the spec.
        """
        names = tuple(self.spec.strategies if chosen is None else chosen)
        if self._validated is None:
            self._validated = validate.check(self.spec, names)
        else:
            self._validated = self._validated.including(names)
        return self._validated.only(names)

    def _strategy(self, name: str) -> ValidatedStrategy:
        return self.validate([name]).strategies[name]

    def session(
        self, strategy: str = "", *, classes: Sequence[str] = (), seed: int = 0, record: str | Path = ""
    ) -> Session:
        """Ask and tell over this project, going on where its record ends.

        Args:
            strategy: one of the spec's, or a registered one; the one that people label with, where none is given.
            classes: their names; the spec's under [labelling], or those that came with the images, where none is given.
                Names that the record lacks are added to it; it may have others by now: see `Session.classes`.
            record: a file or a database URL; the spec's, or `labels.db` in the project, where none is given.
        """
        strategy = strategy or self.spec.default_strategy
        plan = self.plan(strategy, tuple(classes) or self.classes, seed)
        opened, root = Record.open(record or self.folder.record_place), str(self.root)
        try:
            session = Session(self.pool, opened, plan, self.tools(strategy), root, copies=self.copies)
            self._strategy(strategy).check_classes([*session.classes.values()])
        except BaseException:
            opened.close()
            raise
        return session

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the spec's classes under [labelling], or of those that came with the images."""
        return self.spec.labelling.classes or self.oracle("pool").classes

    def predict(self, images: Images, *, strategy: str = "") -> Predictions:
        """Return what the classifier of all labels says of images that are not in the project.

        They are decoded, fitted and described as `add` and `prepare` do it; nothing of them is kept. The classifier
        is trained again after labels have changed, and used again until then.

        Args:
            images: a path, a folder, an array of pixels, or several of these, or of the bytes of files.
            strategy: one of the spec's, where it has a classifier of its own; the first one by default.

        Raises:
            UserError: there are no labels of two classes, or the features that the classifier reads are not prepared.
        """
        return prediction.predict(self, images, strategy)

    # Preparing -------------------------------------------------------------------------------------------------------

    def prepare(self, chosen: Sequence[str] | None = None) -> None:
        """Make all that the chosen strategies need; with None all that the spec's need, and its features.

        Raises:
            UserError: whatever is wrong with the spec, before any work is done.
        """
        Preparer(self).run(chosen)

    def ingest(self) -> None:
        """Take the source's images in, once."""
        Preparer(self).ingest()

    def add(self, images: Source | None = None, *, new_classes: bool = False) -> Added:
        """Take in what the source has by now and the project does not; see `Preparer.add`."""
        return Preparer(self).add(images, new_classes=new_classes)

    def take_corrections(self, added: Added) -> Corrected:
        """Let labels follow the files that `add` found in another class folder; see `Preparer.take_corrections`."""
        return Preparer(self).take_corrections(added)

    def refresh(self) -> None:
        """Forget what depends on how many images there are: it is opened again."""
        for name in ("pool", "_additions"):
            self.__dict__.pop(name, None)
        self.trained.clear()
        self.folder = ProjectFolder(self.root, self.spec)
        self._spaces.clear()
        self._indexes.clear()

    # Images ----------------------------------------------------------------------------------------------------------

    @cached_property
    def _additions(self) -> list[Path]:
        return self.folder.additions

    @cached_property
    def pool(self) -> StoredPool | AugmentedPool | ConcatPool:
        """The images to choose from."""
        return self.folder.pool

    @property
    def copies(self) -> Copies:
        """The exact copies among the pool's images about which people are not asked."""
        return self.folder.copies

    @property
    def original(self) -> StoredPool | AugmentedPool:
        """The images that the pool began with: what is trained on them serves those that were added, too."""
        return self.pool.parts[0] if isinstance(self.pool, ConcatPool) else self.pool

    @cached_property
    def test(self) -> StoredPool:
        """The images that accuracy is measured on; nothing else reads them."""
        if not artifacts.is_complete(self.root / "test"):
            raise UserError(
                f"the project {self.spec.name} has no test set",
                rule="accuracy is measured on a test set",
                hint="add `test = 500`, or the name of the source's test split, under [pool.split]",
            )
        return StoredPool.open(self.root / "test")

    def images(self, part: str) -> Pool:
        """Return the images of "pool", "test" or "validation"."""
        if part == "pool":
            return self.pool
        return self.test if part == "test" else StoredPool.open(self.root / part)

    def inputs(self, part: str = "pool") -> Reader:
        """Return what the spec's learner reads of "pool", "test" or "validation": pictures, or stored features."""
        return self.learner_features(part) or self.images(part)

    def learner_features(self, part: str = "pool") -> LearnerFeatures | None:
        """Return the stored features that the spec's learner reads, opened when used; None where it reads pictures."""
        space = validate.learner_space(self.spec)
        return LearnerFeatures(self, space, part) if space else None

    def oracle(self, part: str) -> Stored:
        """Return the stored labels of "pool" or "test"."""
        more = self._additions if part == "pool" else []
        stored = Stored.open(self.root / part).followed_by(*map(Stored.open, more))
        return stored.corrected(moves.corrections(self.root, part))

    # Parts -----------------------------------------------------------------------------------------------------------

    @property
    def context(self) -> PrepareContext:
        """Where the parts of this project are prepared, and with what."""
        return PrepareContext(
            self.root, self.original, self.spec.seed, self.device, self.progress, self.engine, self.storage
        )

    @property
    def parts(self) -> ProjectParts:
        """The steps that make the parts: which folders they are."""
        return ProjectParts(self, self.context, self._additions)

    @cached_property
    def generator(self) -> TrainedGenerator:
        """The trained generator, with its critic."""
        folder = self.parts.generator().open()
        assert self.spec.generator is not None  # or there would be no such step
        opened: TrainedGenerator = validate.made(generators, self.spec.generator).load(folder, self.pool.shape)
        return opened

    def extractor(self, table: FeatureTable) -> Extractor:
        """Return the trained extractor that a table of the spec asks for."""
        inputs = ExtractorInputs(self.generator) if needs_generator(table) else ExtractorInputs()
        folder = self.parts.extractor(table).open()
        opened: Extractor = validate.made(features, table).load(folder, self.pool.shape, inputs)
        return opened

    def images_for(self, table: FeatureTable) -> Pool:
        """Return the pool's images as an extractor reads them: decoded from originals, or its pictures.

        Those that the pool began with; what was added to it has its own.
        """
        originals = self.parts.originals(table)
        return originals.of(self.original, input_size(self.extractor(table))) if originals else self.original

    def space(self, name: str) -> Space:
        """Return a feature space of the spec."""
        if name not in self._spaces:
            validate.check_features(self.spec, name)
            table = self.spec.features[name]
            if of_classifier(table):  # refuses: nothing is stored
                validate.made(features, table).load(Path(), self.pool.shape, ExtractorInputs())
            extractor, step = self.extractor(table), self.parts.features(name)
            step.open()
            space = spaces.opened_space(step, extractor, table.index_dimensions)
            self._spaces[name] = spaces.extended(space, tuple(more.open() for more in self.parts.additions(name)))
        return self._spaces[name]

    def held_out_vectors(self, name: str, part: str) -> StoredVectors:
        """Return the stored features of "validation" or "test" in a space of the spec: all their dimensions.

        Raises:
            UserError: they are not prepared, or there is no such set.
        """
        return StoredVectors.open(self.parts.held_out(name, part).open() / VECTORS)

    def index(self, name: str) -> Index:
        """Return the index over a feature space."""
        if name not in self._indexes:
            space, parts = self.space(name), self.parts
            self._indexes[name] = parts.indexer().load(space.vectors, parts.index(name).open())
        return self._indexes[name]

    def space_of_round(self, name: str, model: Model, meter: Meter, keeper: object) -> Space:
        """Return a space that depends on the present classifier; its files go when `keeper` does.

        Cost: a network evaluation for every image of the pool, and for those that PCA is fitted on.
        """
        table = self.spec.features[name]
        part = validate.made(features, table)
        extractor = CountingExtractor(part.load(Path(), self.pool.shape, ExtractorInputs(model=model)))
        with meter.part("score"):
            it = Extraction(name, lambda: extractor, Path("present"), Compression.of(table))
            step = extraction.extraction(self._context_of_round(keeper), it)
            step.make()
            space = spaces.opened_space(step, extractor, table.index_dimensions)
        meter.evaluations += extractor.images
        # Synthetic images go through it next.
        return replace(space, stored_extractor=CountingExtractor(space.stored_extractor, meter))

    def index_of_round(self, space: Space, meter: Meter, keeper: object) -> Index:
        """Return the index over a space that depends on the present classifier; its files go when `keeper` does."""
        parts = self.parts
        with meter.part("score"):
            folder = parts.index_of_round(self._context_of_round(keeper), space).make()
            index: Index = parts.indexer_of_round().load(space.vectors, folder)
        return index

    def _context_of_round(self, keeper: object) -> PrepareContext:
        return replace(prepare.temporary_context(self.context, keeper), pool=self.pool)

    def strategy_part(self, name: str) -> Any:
        """Return what a strategy prepares for itself."""
        if name not in self._strategy_parts:
            strategy = self._strategy(name)
            folder = self.parts.strategy_part(strategy).open()
            part = strategies[strategy.table.kind].bind(strategy.table.options)
            self._strategy_parts[name] = part.load(folder, self.pool.shape)
        return self._strategy_parts[name]

    @cached_property
    def teacher(self) -> TeacherModel:
        """Who answers for synthetic images: trained on every label of the pool that the project began with."""
        folder, classes = self.parts.teacher().open(), Stored.open(self.root / "pool").classes
        part = validate.made(oracles, self.spec.annotator)
        opened: TeacherModel = part.load(folder, self.pool.shape, len(classes))
        return opened

    # Strategies ------------------------------------------------------------------------------------------------------

    def plan(self, name: str, classes: tuple[str, ...], seed: int = 0, first: Chooser = draw) -> Plan:
        """Return a session's plan for one of the spec's strategies, or a registered one.

        Args:
            first: chooses the first batch, unless the strategy's table names a strategy that does.
        """
        strategy = self._strategy(name)
        strategy.check_classes(classes)
        table, lines = strategy.table, "lines" in strategy.provides
        chooser = strategies[table.kind].bind(table.options)
        learner = chooser.learner(self.tools(name)) if lines else self.learner(strategy.needs)
        features = None if lines else self.learner_features()
        chooses_first = self._first(strategy) or first
        balanced_chooser = balanced(chooser, table.balance)
        return Plan(classes, learner, balanced_chooser, name, seed, chooses_first, strategy.first, lines, features)

    def learner(self, needs: frozenset[str] = frozenset()) -> Learner:
        """Return the spec's learner, as a strategy with these needs wants it."""
        learner: Any = validate.made(learners, self.spec.learner)
        features = self.learner_features()
        if features is not None and "gradient" in needs:
            learner = learner.through(lambda: features.extractor)
        trained_by: Learner = learner.loss_predicting() if "loss" in needs else learner
        return trained_by

    def _first(self, strategy: ValidatedStrategy) -> Chooser | None:
        table = strategy.table.first
        if table is None:
            return None
        part = strategies[table.kind]
        chooser = part.bind(table.options)
        tools = ProjectResources(self, strategy.name, strategy.first_space, part.needs)
        return lambda now, n, rng: chooser(replace(now, tools=tools), n, rng)

    def tools(self, name: str) -> ProjectResources:
        """Return what a strategy declared in its needs, each opened at its first use."""
        strategy = self._strategy(name)
        return ProjectResources(self, name, strategy.space, strategy.needs)
