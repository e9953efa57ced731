"""The steps that happen once, each an idempotent fill of one folder that is named by what went into it.

    parts/wgan-gp-1f3a…      trained on the pool
    parts/autoencoder-77b0…  trained on the pool
    features/…               every image's features, compressed by PCA
    indexes/…                whatever makes searching them quick

A step whose folder is complete checks it and leaves it; one that was interrupted goes on where it was.
`asal.project.parts` says which steps a spec asks for.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from math import prod
from pathlib import Path
from typing import Any

from asal.core import Extractor, Features, Ids, Images
from asal.data.pool import StoredPool, facts_of, images_fingerprint
from asal.features.extract_shard import ExtractorRecipe, ExtractShardTask, as_float16, push
from asal.features.pca import Pca, Reduced, fit_pca
from asal.features.store import (
    Compute,
    ConcatVectors,
    StoredVectors,
    finish_shards,
    missing_shards,
    shard_path,
    start_shards,
    write_vectors,
)
from asal.project.spec import FeatureTable
from asal.project.step import Fill, PrepareContext, Step, Work, nothing
from asal.runtime import artifacts
from asal.runtime.engine import InProcess
from asal.runtime.meter import Meter
from asal.runtime.progress import Progress, no_progress
from asal.runtime.remote_files import Storage
from asal.runtime.rng import stream

REBUILD = 4  # times as many vectors as an index was built over: then it is built again, and not grown
PASSING = ".passing"  # in a project: spaces that go with their round
SHARD = 16_384  # vectors: what a kill may cost, under a minute at 300 images a second


def training(
    context: PrepareContext, name: str, kind: str, part: Any, options: Mapping[str, Any], also: Fill = nothing
) -> Step:
    """Return the step that trains a generator or an encoder on the pool.

    Args:
        name: of the step, for people: "train the generator wgan-gp".
        part: has `train(pool, folder, seed, device, progress)`.
        options: all of its options; part of the folder's name.
        also: adds to the folder before it is sealed.
    """
    facts = {"kind": kind, "options": dict(options), "pool": context.pool.fingerprint, "seed": context.seed}

    def fill(folder: Path) -> None:
        part.train(context.pool, folder, context.seed, context.device, context.progress)
        also(folder)

    return Step(
        name, context.folder("parts", kind, facts), facts, fill, _work_of_training(context, kind, part, options)
    )


def _work_of_training(context: PrepareContext, kind: str, part: Any, options: Mapping[str, Any]) -> Work:
    """Return the pixels that go through a network: steps × batch × pixels; a network's width counts as well."""
    known = [options.get(name, 1) for name in ("steps", "batch", "width")]
    numbers = [value if isinstance(value, int | float) else 1 for value in known]
    height, width, channels = context.pool.shape
    steps = numbers[0] * numbers[1] * numbers[2] if "steps" in options else 0
    layers = " of residual blocks" if getattr(part, "is_residual", lambda shape: False)(context.pool.shape) else ""
    return Work(f"train {kind}{layers}", float(steps * height * width * channels))


@dataclass(frozen=True)
class Space:
    """A feature space: every image's place in it, and how a new image gets there."""

    folder: Path
    vectors: StoredVectors | ConcatVectors
    extractor: Extractor
    more: tuple[Path, ...] = ()  # folders of the features of what was added to the pool

    def first(self, parts: int) -> StoredVectors | ConcatVectors:
        """Return the vectors of the first pool and of what was added to it first, so many parts in all."""
        if not isinstance(self.vectors, ConcatVectors):
            return self.vectors
        return ConcatVectors(self.vectors.parts[:parts]) if parts > 1 else self.vectors.parts[0]


@dataclass(frozen=True)
class Compression:
    """How PCA compresses features.

    Args:
        dimensions: components that are kept; 0 leaves the features as they are.
        fit_on: images it is fitted on, drawn at random; None fits it on all, in a stream.
        half: store what comes of it as float16.
    """

    dimensions: int
    fit_on: int | None
    half: bool = False

    @classmethod
    def of(cls, table: FeatureTable) -> Compression:
        """Return what a spec's table asks for."""
        return cls(table.dimensions, table.fit_on or None, table.storage == "float16")

    def fit(self, context: PrepareContext, raw: Compute, folder: Path, progress: Progress) -> None:
        """Fit it, unless that was done."""
        if self.dimensions and not (folder / Pca.FILE).exists():
            rng = stream(context.seed, "pca")
            fit_pca(raw, len(context.pool), self.dimensions, sample=self.fit_on, rng=rng, progress=progress).save(
                folder
            )


def extraction(
    context: PrepareContext,
    name: str,
    extractor: Callable[[], Extractor],
    source: Path,
    compression: Compression,
    recipe: Callable[[], ExtractorRecipe] | None = None,
) -> Step:
    """Return the step that computes the features of the whole pool.

    Args:
        name: what the space is called; part of the folder's name.
        extractor: opens the trained extractor.
        source: its folder; whose name stands for all that went into it.
        recipe: how another process opens it; with it the context's engine does the work, without it this process does.
    """
    dimensions = compression.dimensions
    facts = {
        "kind": name,
        "extractor": source.name,
        "dimensions": dimensions,
        "fit_on": compression.fit_on,
        "seed": context.seed,
        **({"storage": "float16"} if compression.half else {}),
    }

    def fill(folder: Path) -> None:
        opened = extractor()

        def progress(stage: str, done: int, total: int, note: str = "") -> None:
            context.progress(f"{name}: {stage}", done, total, note)

        def raw(ids: Ids) -> Features:
            return opened(context.pool.read(ids))

        def compressed(ids: Ids) -> Features:
            progress("features", int(ids[0]), len(context.pool))
            vectors = reduced(folder).apply(raw(ids)) if dimensions else raw(ids)
            return as_float16(vectors) if compression.half else vectors

        compression.fit(context, raw, folder, progress)
        if recipe is not None:
            sealed = replace(recipe(), pca=folder.absolute() if dimensions else None).with_digest()
            write_features(context, name, sealed, folder / "vectors", progress)
        else:
            reduced = cache(Pca.load)
            write_vectors(folder / "vectors", compressed, len(context.pool), rows=SHARD, progress=progress)

    work = _work_of_extraction(len(context.pool), context.pool.shape, source)
    images = len(context.pool)
    stages = (
        ("pca", float(min(images, compression.fit_on or images) if dimensions else 0)),
        ("features", float(images)),
    )
    title = f"compute the features '{name}'"
    return Step(title, context.folder("features", name, facts), facts, fill, work, stages=stages)


def _work_of_extraction(images: int, shape: Sequence[int], source: Path) -> Work:
    return Work(f"extract {source.name.rpartition('-')[0]}", float(images * prod(shape)))


def opened_space(step: Step, extractor: Extractor, compression: Compression) -> Space:
    """Open the features that a step computed."""
    space = Reduced(extractor, Pca.load(step.folder)) if compression.dimensions else extractor
    return Space(step.folder, StoredVectors.open(step.folder / "vectors"), space)


def extension(
    context: PrepareContext, name: str, base: Step, addition: Path, recipe: Callable[[], ExtractorRecipe]
) -> Step:
    """Return the step that computes the features of images that were added to the pool, by the same projection.

    The images are opened, and checked, when the step is run.

    Args:
        base: computed those of the first pool.
        addition: the folder of what was added.
    """
    facts = {"kind": name, "of": base.folder.name, "addition": images_fingerprint(addition)}
    stored = facts_of(addition)

    def progress(stage: str, done: int, total: int, note: str = "") -> None:
        context.progress(f"{name}: {stage} of addition {addition.name}", done, total, note)

    def fill(folder: Path) -> None:
        pca = base.folder.absolute() if (base.folder / Pca.FILE).exists() else None
        sealed = replace(recipe(), pool=addition.absolute(), pca=pca).with_digest()
        write_features(replace(context, pool=StoredPool.open(addition)), name, sealed, folder / "vectors", progress)

    work = _work_of_extraction(stored["images"], stored["shape"], Path(str(base.facts["extractor"])))
    title = f"compute the features '{name}' of addition {addition.name}"
    return Step(title, context.folder("features", name, facts), facts, fill, work)


def extended(space: Space, folders: tuple[Path, ...]) -> Space:
    """Return a space with the features of what was added to the pool, oldest first."""
    if not folders:
        return space
    assert isinstance(space.vectors, StoredVectors)
    stores = [space.vectors, *(StoredVectors.open(folder / "vectors") for folder in folders)]
    return replace(space, vectors=ConcatVectors(tuple(stores)), more=folders)


def write_features(
    context: PrepareContext, name: str, recipe: ExtractorRecipe, folder: Path, progress: Progress
) -> None:
    """Write the shards that are missing, by the context's engine."""
    n, size, begun = len(context.pool), (len(context.pool), SHARD), time.monotonic()
    start_shards(folder, n)
    remote = push(recipe, context.storage) if context.storage else None
    tasks = [
        ExtractShardTask(name, recipe, folder.absolute(), shard, *size, remote)
        for shard in missing_shards(folder, *size)
    ]
    images = dict.fromkeys((task.name for task in tasks), 0)
    present = n - sum(task.size for task in tasks)

    def count(stage: str, done: int, total: int, note: str = "") -> None:
        images[stage] = max(images[stage], done)  # reports may arrive late
        rate = sum(images.values()) / max(time.monotonic() - begun, 1e-3)
        progress("features", present + sum(images.values()), n, f"{rate:,.0f} images/s")

    progress("features", present, n)
    for task, _ in (context.engine if len(tasks) > 1 else InProcess()).map_unordered(tasks, count):
        if remote:
            Storage(remote.url).fetch(remote.shard(task.shard, SHARD), shard_path(folder, task.shard))
        count(task.name, task.size, task.size)
    finish_shards(folder, *size)


class CountingExtractor:
    """An extractor that counts the images that go through it; where it has a meter, as synthetic images there."""

    def __init__(self, extractor: Extractor, meter: Meter | None = None) -> None:
        self._extractor, self._meter, self.images = extractor, meter, 0

    @property
    def dim(self) -> int:
        """The extractor's dimensions."""
        return self._extractor.dim

    def __call__(self, images: Images) -> Features:
        """Count and extract."""
        self.images += len(images)
        if self._meter is not None:
            self._meter.generated += len(images)
        return self._extractor(images)


def temporary_context(context: PrepareContext, keeper: object) -> PrepareContext:
    """Return a context in a folder of its own, which is removed with `keeper`: for what is not to stay."""
    homes = context.root / PASSING
    homes.mkdir(exist_ok=True)
    for left in homes.iterdir():  # by a process that was killed
        if not _lives(left.name.partition("-")[0]):
            shutil.rmtree(left, ignore_errors=True)
    home = tempfile.mkdtemp(prefix=f"{os.getpid()}-", dir=homes)
    weakref.finalize(keeper, shutil.rmtree, home, ignore_errors=True)
    return replace(context, root=Path(home), progress=no_progress)


def _lives(process: str) -> bool:
    try:
        os.kill(int(process), 0)
    except (ValueError, ProcessLookupError):
        return False
    except PermissionError:  # somebody else's
        return True
    return True


@dataclass(frozen=True)
class IndexParts:
    """What an index is built from: an indexer, its options, and the folders of the features, the first pool's first."""

    kind: str
    indexer: Any
    options: Mapping[str, Any]
    features: tuple[Path, ...]
    space: Callable[[], Space]  # opens them

    def facts(self, parts: int) -> dict[str, Any]:
        """Return what an index over the first parts is made from."""
        first, *more = (folder.name for folder in self.features[:parts])
        facts: dict[str, Any] = {"kind": self.kind, "options": dict(self.options), "features": first, "version": 2}
        return facts | ({"more": more} if more else {})


def indexing(context: PrepareContext, name: str, it: IndexParts, parts: int = 0) -> Step:
    """Return the step that builds an index over a space: over its first parts, or all of them where it is 0.

    It is grown from the largest index over fewer parts that there is, as long as the pool has not grown fourfold since
    one was built: then it is built again. So the parts alone decide what it is. Those over fewer parts go when it is
    complete.
    """
    parts = parts or len(it.features)
    fewer = {number: context.folder("indexes", it.kind, it.facts(number)) for number in range(1, parts)}

    def fill(folder: Path) -> None:
        space = it.space()
        vectors, base = space.first(parts), 1
        for number in range(2, parts + 1):
            base = number if len(space.first(number)) >= REBUILD * len(space.first(base)) else base
        if parts == base:
            it.indexer.build(vectors, folder, progress=context.progress)
            return
        complete = [number for number, other in fewer.items() if number >= base and artifacts.is_complete(other)]
        held = max(complete, default=base)
        before = fewer[held] if complete else indexing(context, name, it, base).make()
        artifacts.verify(before)
        it.indexer.grow(before, len(space.first(held)), vectors, folder, progress=context.progress)

    def after(folder: Path) -> None:
        for other in fewer.values():
            if other.exists():
                dropped = other.with_name(f"{other.name}.partial")  # what a kill leaves of it is no index
                other.replace(dropped)
                shutil.rmtree(dropped)

    facts = it.facts(parts)
    work, folder = Work(f"index {it.kind}", float(len(context.pool))), context.folder("indexes", it.kind, facts)
    return Step(f"build the index over '{name}'", folder, facts, fill, work, after)
