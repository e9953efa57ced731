"""The steps that compute features: of the pool, of what is added to it, and of the held-out sets.

A network with a preprocessing of its own is slow, and reads originals where the source keeps them. Its features are
computed once, in small shards, and kept until PCA is fitted to them and they are projected, unless they are too many.
Features of other kinds are computed again when they are projected.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from asal.core import Extractor, Features, Ids, Pool
from asal.data.originals_pool import sentence
from asal.data.pool import StoredPool, facts_of, images_fingerprint
from asal.errors import DamageError, UserError
from asal.features.extract_shard import (
    ExtractorRecipe,
    ExtractShardTask,
    as_float16,
    fetch_shard,
    input_size,
    push,
    receipts_of,
)
from asal.features.pca import Pca, fit_pca
from asal.features.store import (
    BATCH,
    FACTS,
    VECTORS,
    Compute,
    StoredVectors,
    finish_shards,
    missing_shards,
    shard_path,
    start_shards,
    write_vectors,
)
from asal.project.spec import FeatureTable
from asal.project.step import PrepareContext, Step, Work
from asal.runtime import artifacts
from asal.runtime.engine import InProcess
from asal.runtime.progress import Progress, no_progress
from asal.runtime.rng import stream

SHARD = 16_384  # vectors: what a kill may cost, under a minute at 300 images a second
SHARDS, LEAST = 64, 256  # of a slow network: as many shards, so that all workers have some, of so many images or more
FEW = 2  # shards of a slow network, which are computed before other processes would have begun
SLOW_BATCH = 64  # images that a slow network is given at a time: a report every second or two
NOMINAL = (64, 64, 3)  # the shape that an image counts as in estimates, whatever the network makes of it
RAW_VALUES = 2**29  # numbers of raw features that are kept until they are projected: 2 GB of disk
RAW = f"{artifacts.SCRATCH}/raw"  # in a folder of features under construction: before PCA


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
        if not self.dimensions or _is_fitted(folder):
            return
        n, rng = len(context.pool), stream(context.seed, "pca")
        pca = fit_pca(raw, n, self.dimensions, sample=self.fit_on, rng=rng, progress=progress)
        pca.save(folder)
        if pca.dim < self.dimensions:
            why = f"{n:,} images vary in no more" if n > self.dimensions else f"there are {n:,} images"
            progress("pca", 0, 0, f"{pca.dim} dimensions in place of {self.dimensions}: {why}")


def _is_fitted(folder: Path) -> bool:
    """Whether the projection of an unfinished folder is there and right; a damaged one is fitted again, to the same."""
    if (folder / Pca.FILE).exists():
        with suppress(DamageError):
            Pca.load(folder)
            return True
    return False


@dataclass(frozen=True)
class Extraction:
    """How the features of a space are computed.

    Args:
        name: what the space is called; part of the folder's name.
        extractor: opens the trained extractor.
        source: its folder; whose name stands for all that went into it.
        recipe: how another process opens it; with it the context's engine does the work, without it this process does.
        slow: whether it is a network with a preprocessing of its own.
        reads_originals: whether it reads originals in place of the pool's pictures; part of the folder's name.
    """

    name: str
    extractor: Callable[[], Extractor]
    source: Path
    compression: Compression
    recipe: Callable[[], ExtractorRecipe] | None = None
    slow: bool = False
    reads_originals: bool = False


def extraction(context: PrepareContext, it: Extraction) -> Step:
    """Return the step that computes the features of the whole pool."""
    dimensions, images = it.compression.dimensions, len(context.pool)
    facts = {
        "kind": it.name,
        "extractor": it.source.name,
        "dimensions": dimensions,
        "fit_on": it.compression.fit_on,
        "seed": context.seed,
        **({"storage": "float16"} if it.compression.half else {}),
        **({"reads": "originals"} if it.reads_originals else {}),
    }

    def fill(folder: Path) -> None:
        fill_features(context, it, folder)

    work = _work_of_extraction(images, context.pool.shape, it)
    pca = float(min(images, it.compression.fit_on or images) if dimensions else 0)
    stages = (
        (("features", float(images)), ("pca", pca / 50)) if it.slow else (("pca", pca), ("features", float(images)))
    )
    title, folder = f"compute the features '{it.name}'", context.folder("features", it.name, facts)
    return Step(title, folder, facts, fill, work, stages=stages)


def fill_features(context: PrepareContext, it: Extraction, folder: Path) -> None:
    """Fit the projection, and write all vectors."""
    compression, vectors = it.compression, folder / VECTORS

    def progress(stage: str, done: int, total: int, note: str = "") -> None:
        context.progress(f"{it.name}: {stage}", done, total, note)

    opened, recipe = it.extractor(), it.recipe() if it.recipe else None
    if recipe:
        _check_reachable(recipe, context.storage)
    if recipe and it.slow and compression.dimensions and len(context.pool) * opened.dim <= RAW_VALUES:
        fill_from_raw(context, it, recipe, folder, progress)
        return
    pool: Pool = context.pool
    if recipe and recipe.originals:
        pool = recipe.originals.of(pool, input_size(opened))

    def raw(ids: Ids) -> Features:
        step = SLOW_BATCH if it.slow else BATCH
        return np.concatenate([opened(pool.read(ids[at : at + step])) for at in range(0, len(ids), step)])

    compression.fit(context, raw, folder, progress)
    if recipe is not None:
        sealed = replace(recipe, pca=folder.absolute() if compression.dimensions else None).with_digest()
        write_features(context, it.name, sealed, vectors, progress, slow=it.slow)
        return
    reduced = cache(Pca.load)

    def compressed(ids: Ids) -> Features:
        progress("features", int(ids[0]), len(context.pool))
        features = reduced(folder).apply(raw(ids)) if compression.dimensions else raw(ids)
        return as_float16(features) if compression.half else features

    write_vectors(vectors, compressed, len(context.pool), rows=SHARD, progress=progress)


def fill_from_raw(
    context: PrepareContext, it: Extraction, recipe: ExtractorRecipe, folder: Path, progress: Progress
) -> None:
    """Compute the features once, fit the projection to them, and project them: not twice, which takes twice as long."""
    write_features(context, it.name, replace(recipe, half=False).with_digest(), folder / RAW, progress, slow=True)
    raw = StoredVectors.open(folder / RAW)
    it.compression.fit(context, raw.read, folder, progress)
    pca = Pca.load(folder)

    def projected(ids: Ids) -> Features:
        features = pca.apply(raw.read(ids))
        return as_float16(features) if it.compression.half else features

    write_vectors(folder / VECTORS, projected, len(raw), rows=SHARD, progress=no_progress)
    _note_replaced(folder / VECTORS, replaced_in(folder / RAW))


def _work_of_extraction(images: int, shape: Sequence[int], it: Extraction) -> Work:
    """Return the pixels that go through a network; one with a preprocessing of its own takes as long for any image."""
    each = prod(NOMINAL if it.slow else shape)
    return Work(f"extract {it.source.name.rpartition('-')[0]}", float(images * each))


@dataclass(frozen=True)
class Part:
    """Images besides those that the pool began with: what was added to it, or a held-out set.

    Args:
        folder: theirs.
        title: for people, such as "addition 0001".
        facts: what distinguishes them; part of the folder's name.
    """

    folder: Path
    title: str
    facts: dict[str, Any]


def addition_part(folder: Path) -> Part:
    """Return the images that were added to a pool at once."""
    return Part(folder, f"addition {folder.name}", {"addition": images_fingerprint(folder)})


def held_out_part(folder: Path) -> Part:
    """Return a held-out set, "validation" or "test"; it may not be there yet."""
    images = images_fingerprint(folder) if artifacts.is_complete(folder) else ""
    return Part(folder, f"the {folder.name} set", {"part": folder.name, "images": images})


def extension(
    context: PrepareContext, it: Extraction, base: Step, part: Part, recipe: Callable[[], ExtractorRecipe]
) -> Step:
    """Return the step that computes the features of further images, by the same projection.

    The images are opened, and checked, when the step is run.

    Args:
        base: computed those of the first pool.
        recipe: how another process opens the extractor, for these images.
    """
    facts = {"kind": it.name, "of": base.folder.name, **part.facts}
    stored: dict[str, Any] = {"images": 0, "shape": (0,)}
    if artifacts.is_complete(part.folder):
        stored = facts_of(part.folder)

    def progress(stage: str, done: int, total: int, note: str = "") -> None:
        context.progress(f"{stage} '{it.name}' of {part.title}", done, total, note)

    def fill(folder: Path) -> None:
        pca = base.folder.absolute() if (base.folder / Pca.FILE).exists() else None
        sealed = replace(recipe(), pool=part.folder.absolute(), pca=pca).with_digest()
        here = replace(context, pool=StoredPool.open(part.folder))
        write_features(here, it.name, sealed, folder / VECTORS, progress, slow=it.slow)

    work = _work_of_extraction(stored["images"], stored["shape"], it)
    title = f"compute the features '{it.name}' of {part.title}"
    return Step(title, context.folder("features", it.name, facts), facts, fill, work)


# Shards ---------------------------------------------------------------------------------------------------------------


def rows_of_slow(images: int) -> int:
    """Return how many vectors of a slow network make a shard: a power of two, by the number of images alone.

    >>> rows_of_slow(60), rows_of_slow(3_068), rows_of_slow(100_000), rows_of_slow(16_000_000)
    (256, 256, 2048, 16384)
    """
    return min(SHARD, max(LEAST, 1 << (-(-images // SHARDS) - 1).bit_length()))


def write_features(
    context: PrepareContext,
    name: str,
    recipe: ExtractorRecipe,
    folder: Path,
    progress: Progress,
    *,
    slow: bool = False,
) -> None:
    """Write the shards that are missing, by the context's engine."""
    n = len(context.pool)
    size, batch = (n, rows_of_slow(n) if slow else SHARD), SLOW_BATCH if slow else BATCH
    start_shards(folder, n)
    _check_reachable(recipe, context.storage)
    remote = push(recipe, context.storage) if context.storage else None
    tasks = [
        ExtractShardTask(name, recipe, folder.absolute(), shard, *size, remote, batch)
        for shard in missing_shards(folder, *size)
    ]
    counted = _Count(progress, n, n - sum(task.size for task in tasks))
    if slow and recipe.originals is None:
        side = " × ".join(map(str, context.pool.shape[:2]))
        counted.note = f"of the pool's pictures, {side} pixels: the source keeps no originals"
    counted.report()
    counted.note = ""
    few = len(tasks) <= (FEW if slow else 1)
    for task, _ in (InProcess() if few else context.engine).map_unordered(tasks, counted):
        if remote:
            fetch_shard(remote, task, shard_path(folder, task.shard))
        counted.note = sentence(receipts_of(folder)) if recipe.originals else ""
        counted(task.name, task.size, task.size)
    finish_shards(folder, *size)
    if recipe.originals:
        _note_replaced(folder, receipts_of(folder))


class _Count:
    """Adds up what tasks report, and reports it with the images a second since the first report of one."""

    def __init__(self, progress: Progress, total: int, present: int) -> None:
        self._progress, self._total, self._present = progress, total, present
        self._done: dict[str, int] = {}
        self._begun: float | None = None  # when the first task had opened what it needs
        self.note = ""  # what else the progress says

    def __call__(self, stage: str, done: int, total: int, note: str = "") -> None:
        self._done[stage] = max(self._done.get(stage, 0), done)  # reports may arrive late
        if self._begun is None:
            self._begun = time.monotonic()
        self.report()

    def report(self) -> None:
        """Report how many are there, and how quickly they come."""
        done = sum(self._done.values())
        seconds = time.monotonic() - self._begun if self._begun else 0.0
        rate = f"{done / seconds:,.0f} images/s" if done and seconds > 0 else ""
        self._progress("features", self._present + done, self._total, "; ".join(filter(None, (rate, self.note))))


def _check_reachable(recipe: ExtractorRecipe, storage: str) -> None:
    """Refuse originals of a folder that is not there, or that machines with other files would have to read."""
    if recipe.originals and (place := recipe.originals.missing_place):
        raise UserError(
            f"the originals are not at {place}: there is nothing",
            rule="a network with a preprocessing of its own reads originals, and the features it makes are kept",
            hint="connect the disk, or `asal move-images PROJECT FOLDER` if they were moved; if they are lost, "
            "make an empty folder there, and the pool's small pictures stand in for them",
        )
    if storage and recipe.originals and (place := recipe.originals.local):
        raise UserError(
            f"the originals lie at {place}, which machines that exchange files by {storage} may not see",
            rule="a network with a preprocessing of its own reads originals, not the pool's pictures",
            hint="leave --storage out, where all machines see that folder; or let `path` under [source] be a URL",
        )


def replaced_in(folder: Path) -> dict[str, int]:
    """Return how many pictures of the pool stood in for originals in a folder of vectors, by reason."""
    found: dict[str, int] = artifacts.read_json(folder / FACTS).get("replaced", {})
    return found


def _note_replaced(folder: Path, replaced: Mapping[str, int]) -> None:
    """Write into the facts of a folder of vectors how many pictures of the pool stood in for originals."""
    if replaced:
        artifacts.write_json(folder / FACTS, artifacts.read_json(folder / FACTS) | {"replaced": dict(replaced)})
