"""Which steps make the parts of a project. Naming a step opens and trains nothing."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from asal.data.originals_pool import OriginalImages
from asal.data.pool import LABELS, facts_of
from asal.errors import UserError
from asal.features import features
from asal.features.extract_shard import ExtractorRecipe, TrainedPart
from asal.features.store import VectorPool
from asal.index import indexes
from asal.models.generators import generators
from asal.models.generators.quality import write_quality
from asal.project import extraction, prepare, validate
from asal.project.extraction import Compression, Extraction, Part, addition_part, held_out_part
from asal.project.images import keeps_originals, originals_in
from asal.project.prepare import IndexParts
from asal.project.spaces import Space
from asal.project.spec import FeatureTable
from asal.project.step import PrepareContext, Step
from asal.project.validate import ValidatedSpec, ValidatedStrategy
from asal.runtime import artifacts
from asal.runtime.progress import report_to
from asal.session.oracles import oracles
from asal.session.oracles.stored import Stored
from asal.strategies import strategies

if TYPE_CHECKING:
    from asal.project.project import Project


class ProjectParts:
    """The steps of one project, each by the part that it makes.

    Args:
        project: opens what a step needs of the steps before it, when it is run.
        context: where it is prepared, and with what.
        added: folders of what was added to the pool, oldest first.
    """

    def __init__(self, project: Project, context: PrepareContext, added: list[Path]) -> None:
        self._project, self._context, self._added, self._spec = project, context, added, project.spec

    def generator(self) -> Step:
        """The step that trains the generator, and measures how its images compare with real ones."""
        if self._spec.generator is None:
            raise UserError(
                f"the project {self._spec.name} has no generator",
                hint="add a [generator] section to its asal.toml, and run `asal prepare`",
            )
        table, part = self._spec.generator, validate.made(generators, self._spec.generator)

        def judged(folder: Path) -> None:
            pool, encoder = self._context.pool, self._project.extractor(self.reference_table)
            write_quality(part.load(folder, pool.shape), encoder, pool, folder, self._spec.seed)

        options = validate.options_of(generators, table)
        return prepare.training(self._context, f"train the generator {table.kind}", table.kind, part, options, judged)

    @property
    def reference_table(self) -> FeatureTable:
        """The auto-encoder in whose features a generator's images are compared with real ones."""
        tables = self._spec.features.values()
        return next((table for table in tables if table.kind == "autoencoder"), FeatureTable(kind="autoencoder"))

    def extractor(self, table: FeatureTable) -> Step:
        """The step that trains an extractor of features; those that need no training have a folder as well."""
        options = dict(validate.options_of(features, table))
        if needs_generator(table):
            options["generator"] = self.generator().folder.name
        part = validate.made(features, table)
        return prepare.training(self._context, f"make the extractor {table.kind}", table.kind, part, options)

    def features(self, name: str) -> Step:
        """The step that computes the features of the images that the pool began with."""
        return extraction.extraction(self._context, self._extraction(name))

    def additions(self, name: str) -> list[Step]:
        """The steps that compute the features of what was added to the pool, oldest first."""
        before = [self._project.root / "pool", *self._added][: len(self._added)]
        sizes = [int(facts_of(folder)["images"]) for folder in before]
        return [
            self._further(name, addition_part(folder), "pool", sum(sizes[:number]))
            for number, folder in enumerate(self._added, 1)
        ]

    def held_out(self, name: str, part: str) -> Step:
        """The step that computes the features of a held-out set, "validation" or "test", by the pool's projection."""
        return self._further(name, held_out_part(self._project.root / part), part)

    def _further(self, name: str, part: Part, of: str, first: int = 0) -> Step:
        it, table = self._extraction(name), self._spec.features[name]
        return extraction.extension(
            self._context, it, self.features(name), part, lambda: self._recipe(table, it.source, of, first)
        )

    def _extraction(self, name: str) -> Extraction:
        table = self._spec.features[name]
        source, slow = self.extractor(table).folder, "originals" in features[table.kind].provides
        return Extraction(
            name,
            lambda: self._project.extractor(table),
            source,
            Compression.of(table),
            lambda: self._recipe(table, source),
            slow,
            slow and keeps_originals(self._project.root, self._spec, self._context.pool),
        )

    def _recipe(self, table: FeatureTable, folder: Path, part: str = "pool", first: int = 0) -> ExtractorRecipe:
        """Return how another process opens a trained extractor, and the originals of images, if it reads them.

        Args:
            part: "pool", "validation" or "test".
            first: the id of the first image.
        """
        generator = None
        if self._spec.generator and needs_generator(table):
            kind, options = self._spec.generator.kind, json.dumps(self._spec.generator.options, default=str)
            generator = TrainedPart(kind, options, self.generator().folder.absolute())
        extractor = TrainedPart(table.kind, json.dumps(table.options, default=str), folder.absolute())
        pool, half = (self._project.root / "pool").absolute(), table.storage == "float16"
        originals = self.originals(table, part, first)
        return ExtractorRecipe(pool, extractor, generator, None, half=half, originals=originals)

    def originals(self, table: FeatureTable, part: str = "pool", first: int = 0) -> OriginalImages | None:
        """Return the originals that an extractor reads, or None where it reads the pool's pictures; see `_recipe`."""
        if "originals" not in features[table.kind].provides:
            return None
        return originals_in(self._project.root, self._spec, self._context.pool, part, first)

    def index(self, name: str) -> Step:
        """The step that builds the index over a feature space."""
        folders = tuple(step.folder for step in (self.features(name), *self.additions(name)))
        kind, indexer, options = self._indexer(len(folders) - 1)
        dimensions = self._spec.features[name].index_dimensions
        it = IndexParts(kind, indexer, options, folders, lambda: self._project.space(name), dimensions)
        return prepare.indexing(self._context, name, it)

    def indexer(self) -> Any:
        """Return what opens the project's indexes."""
        return self._indexer(len(self._added))[1]

    def _indexer(self, additions: int) -> tuple[str, Any, dict[str, Any]]:
        table, spread = self._spec.index, self._project.spread
        indexer, options = validate.made(indexes, table), validate.options_of(indexes, table)
        if spread is None:
            return table.kind, indexer, options
        if additions:
            raise UserError(
                f"the pool has {additions} additions",
                rule="an index in parts is over a pool that has not grown",
                hint="drop `spread`, or start a project with all images",
            )
        sharded = spread(indexer)
        return f"{table.kind}-in-parts", sharded, {**options, "parts": sharded.parts}

    def indexer_of_round(self) -> Any:
        """Return what opens an index over a space of the present classifier."""
        return validate.made(indexes, self._spec.index)

    def index_of_round(self, context: PrepareContext, space: Space) -> Step:
        """The step that builds the index over a space of the present classifier."""
        table = self._spec.index
        indexer, options = validate.made(indexes, table), validate.options_of(indexes, table)
        it = IndexParts(table.kind, indexer, options, (space.folder,), lambda: space, space.index_dimensions)
        return prepare.indexing(context, space.folder.name, it)

    def strategy_part(self, strategy: ValidatedStrategy) -> Step:
        """The step that trains what a strategy prepares for itself."""
        table = strategy.table
        part, options = strategies[table.kind].bind(table.options), validate.options_of(strategies, table)
        made_from = {key: options[key] for key in part.made_from}
        title = f"train the part of the strategy '{strategy.name}'"
        return prepare.training(self._reading_features("linear" in strategy.needs), title, table.kind, part, made_from)

    def _reading_features(self, same_as_learner: bool) -> PrepareContext:
        """Return the context; with the vectors of the learner's space as its pool, where it reads any."""
        name = validate.learner_space(self._spec)
        if not (name and same_as_learner):
            return self._context
        vectors, n = self.features(name), len(self._context.pool)
        shape = (1, 1, self._spec.features[name].dimensions)
        pool = VectorPool(vectors.folder.name, n, shape, lambda: self._project.space(name).stored)
        return replace(self._context, pool=pool)

    def teacher(self) -> Step:
        """The step that trains who answers for synthetic images, on every label of the pool."""
        pool, table = self._project.root / "pool", self._spec.annotator
        part, labels_hash = validate.made(oracles, table), ""
        if artifacts.is_complete(pool):  # before that, the step can be named and not run
            Stored.open(pool)  # refuses: there are no labels
            labels_hash = artifacts.manifest(pool)["files"][LABELS]["sha256"]
        facts = {
            "kind": table.kind,
            "options": validate.options_of(oracles, table),
            "pool": self._context.pool.fingerprint,
            "labels": labels_hash,
            "seed": self._spec.seed,
        }

        def fill(folder: Path) -> None:
            images, oracle = self._context.pool, Stored.open(pool)
            labels = oracle.answer(np.arange(len(images)))
            with report_to(self._context.progress, "teacher"):
                part.train(images, labels, len(oracle.classes), folder, self._spec.seed)

        folder = self._context.folder("parts", table.kind, facts)
        return Step(f"train the {table.kind} that labels synthetic images", folder, facts, fill)

    # Everything, in order --------------------------------------------------------------------------------------------

    def needed(self, validated: ValidatedSpec, everything: bool, labelled: bool) -> list[Step]:
        """Return the steps for the chosen strategies, each folder once, in an order in which they can be run.

        What needs no generator comes first: what is wrong with it is reported before hours are spent on one.

        Args:
            everything: also the features that the spec has and no strategy needs; where no strategy is chosen, the
                generator and an index over each space, too.
            labelled: whether the pool's images came with labels.
        """
        steps: dict[Path, Step] = {}
        for step in self._in_order(validated, everything, labelled):
            steps.setdefault(step.folder, step)
        return list(steps.values())

    def _in_order(self, validated: ValidatedSpec, everything: bool, labelled: bool) -> Iterator[Step]:
        chosen = validated.strategies.values()
        if everything:
            yield from self._for_spec(chosen)
        if space := validate.learner_space(self._spec):
            yield from self._for_features(space)
            for part in self._held_out_parts():
                yield self.held_out(space, part)
        for strategy in chosen:
            yield from self._for_strategy(strategy)
        if labelled and any("images" in strategy.provides for strategy in chosen):
            yield self.teacher()

    def _for_spec(self, chosen: Collection[ValidatedStrategy]) -> Iterator[Step]:
        """Yield the features of the spec, with a generator only where a strategy has one trained in any case.

        A spec without strategies says nothing of what will be used: for it, all that it has is made.
        """
        tables = self._spec.features
        generates = not chosen or any(self._generates(strategy) for strategy in chosen)
        searched = {strategy.space for strategy in chosen if "index" in strategy.needs} if chosen else {*tables}
        for name in sorted(tables, key=lambda name: needs_generator(tables[name])):
            if not of_classifier(tables[name]) and (generates or not needs_generator(tables[name])):
                yield from self._for_index(name) if name in searched else self._for_features(name)
        if not chosen and self._spec.generator:
            yield from self._for_generator()

    def _generates(self, strategy: ValidatedStrategy) -> bool:
        """Whether a strategy needs the generator, itself or for its features."""
        spaces = {strategy.space, strategy.first_space} - {""}
        return "generator" in strategy.needs or any(needs_generator(self._spec.features[space]) for space in spaces)

    def _held_out_parts(self) -> Iterator[str]:
        split, has = self._spec.pool.split, self._project.folder.has
        for part, asked in (("validation", split.validation), ("test", split.test)):
            if has(part) or (asked and not has("pool")):
                yield part

    def _for_strategy(self, strategy: ValidatedStrategy) -> Iterator[Step]:
        if "generator" in strategy.needs:
            yield from self._for_generator()
        if strategy.space and not of_classifier(self._spec.features[strategy.space]):
            yield from self._for_space(strategy.space, strategy.needs)
        if "own" in strategy.needs:
            yield self.strategy_part(strategy)
        if strategy.first_space:
            yield from self._for_space(strategy.first_space, strategies[strategy.first].needs)

    def _for_generator(self) -> Iterator[Step]:
        generator = self.generator()
        if generator.status != "there":  # once it is judged, what judged it is not needed
            yield self.extractor(self.reference_table)
        yield generator

    def _for_space(self, name: str, needs: frozenset[str]) -> Iterator[Step]:
        return self._for_index(name) if "index" in needs else self._for_features(name)

    def _for_index(self, name: str) -> Iterator[Step]:
        yield from self._for_features(name)
        yield self.index(name)

    def _for_features(self, name: str) -> Iterator[Step]:
        table = self._spec.features[name]
        if needs_generator(table):
            yield from self._for_generator()
        yield self.extractor(table)
        yield self.features(name)
        yield from self.additions(name)


def needs_generator(table: FeatureTable) -> bool:
    """Whether a feature space is computed with the generator or its critic."""
    return "generator" in features[table.kind].needs


def of_classifier(table: FeatureTable) -> bool:
    """Whether a feature space is the present classifier's: computed in every round, and not prepared."""
    return "model" in features[table.kind].needs
