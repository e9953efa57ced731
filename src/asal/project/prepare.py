"""The stages that happen once, each an idempotent fill of one folder that is named by what went into it.

    parts/wgan-gp-1f3a…      trained on the pool
    parts/autoencoder-77b0…  trained on the pool
    features/…               every image's features, compressed by PCA
    indexes/…                whatever makes searching them quick

A stage whose folder is whole is checked and left; one that was cut goes on where it was.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

from asal.core import Extractor, Features, Ids, Images, Index, Pool
from asal.data.pool import StoredPool, images_fingerprint
from asal.errors import UserError
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
from asal.runtime import artifacts
from asal.runtime.devices import Device
from asal.runtime.engine import Engine, InProcess
from asal.runtime.meter import Meter
from asal.runtime.progress import Progress, no_progress
from asal.runtime.remote_files import Storage
from asal.runtime.rng import stream

Fill = Callable[[Path], None]
REBUILD = 4  # times as many vectors as an index was built over: then it is built anew, and not grown
PASSING = ".passing"  # in a project: spaces that go with their round
SHARD = 16_384  # vectors: what a kill may cost, under a minute at 300 images a second


@dataclass(frozen=True)
class PrepareContext:
    """Where preparation happens, and with what."""

    root: Path
    pool: Pool
    seed: int = 0
    device: Device = field(default_factory=Device)
    progress: Progress = no_progress
    make: bool = True  # what is not there; else it is an error, for whoever makes has to hold the folder
    engine: Engine = field(default_factory=InProcess)  # does what can be done in pieces
    storage: str = ""  # the URL by which its machines exchange files, where they see no common ones


def trained(
    context: PrepareContext, kind: str, part: Any, options: Mapping[str, Any], also: Fill | None = None
) -> Path:
    """Train a generator or an encoder on the pool, or find it trained, and return its folder.

    Args:
        part: has `train(pool, folder, seed, device, watch)`.
        options: all of its options; part of the folder's name.
        also: adds to the folder before it is sealed.
    """
    facts = {"kind": kind, "options": dict(options), "pool": context.pool.fingerprint, "seed": context.seed}

    def fill(folder: Path) -> None:
        part.train(context.pool, folder, context.seed, context.device, context.progress)
        if also is not None:
            also(folder)

    return stage(context, "parts", kind, facts, fill)


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


def extracted(
    context: PrepareContext,
    name: str,
    extractor: Extractor,
    source: Path,
    compression: Compression,
    recipe: ExtractorRecipe | None = None,
) -> Space:
    """Compute the features of the whole pool, or find them computed.

    Args:
        name: what the space is called; part of the folder's name.
        source: the folder of the trained extractor; its name stands for all that went into it.
        recipe: how to open the extractor; with it the shop's engine does the work, without it this process does.
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
        def progress(stage: str, done: int, total: int, note: str = "") -> None:
            context.progress(f"{name}: {stage}", done, total, note)

        def raw(ids: Ids) -> Features:
            return extractor(context.pool.read(ids))

        def compressed(ids: Ids) -> Features:
            progress("features", int(ids[0]), len(context.pool))
            found = reduced(folder).apply(raw(ids)) if dimensions else raw(ids)
            return as_float16(found) if compression.half else found

        compression.fit(context, raw, folder, progress)
        if recipe is not None:
            pieces(
                context,
                name,
                replace(recipe, pca=folder.absolute() if dimensions else None).with_digest(),
                folder / "vectors",
                progress,
            )
        else:
            reduced = cache(Pca.load)
            write_vectors(folder / "vectors", compressed, len(context.pool), rows=SHARD, progress=progress)

    folder = stage(context, "features", name, facts, fill)
    space = Reduced(extractor, Pca.load(folder)) if dimensions else extractor
    return Space(folder, StoredVectors.open(folder / "vectors"), space)


def extended(context: PrepareContext, name: str, space: Space, added: Sequence[Path], recipe: ExtractorRecipe) -> Space:
    """Compute the features of images that were added to the pool, or find them computed: by the same projection.

    Args:
        added: the folders of the additions, oldest first.
    """
    folders = []
    for addition in added:
        facts = {"kind": name, "of": space.folder.name, "addition": images_fingerprint(addition)}
        pca = space.folder.absolute() if (space.folder / Pca.FILE).exists() else None
        own = replace(recipe, pool=addition.absolute(), pca=pca).with_digest()
        part = replace(context, pool=StoredPool.open(addition))

        def progress(stage: str, done: int, total: int, note: str = "", *, what: str = addition.name) -> None:
            context.progress(f"{name}: {stage} of addition {what}", done, total, note)

        def fill(
            folder: Path, *, part: PrepareContext = part, own: ExtractorRecipe = own, progress: Progress = progress
        ) -> None:
            pieces(part, name, own, folder / "vectors", progress)

        folders.append(stage(context, "features", name, facts, fill))
    assert isinstance(space.vectors, StoredVectors)
    stores = [space.vectors, *(StoredVectors.open(folder / "vectors") for folder in folders)]
    return replace(space, vectors=ConcatVectors(tuple(stores)), more=tuple(folders)) if folders else space


def pieces(context: PrepareContext, name: str, recipe: ExtractorRecipe, folder: Path, progress: Progress) -> None:
    """Have the shop's engine write the shards that are missing."""
    n, size, begun = len(context.pool), (len(context.pool), SHARD), time.monotonic()
    start_shards(folder, n)
    remote = push(recipe, context.storage) if context.storage else None
    works = [
        ExtractShardTask(name, recipe, folder.absolute(), shard, *size, remote)
        for shard in missing_shards(folder, *size)
    ]
    images = dict.fromkeys((work.name for work in works), 0)
    there = n - sum(work.size for work in works)

    def hear(stage: str, done: int, total: int, note: str = "") -> None:
        images[stage] = max(images[stage], done)  # words may come late
        rate = sum(images.values()) / (time.monotonic() - begun)
        progress("features", there + sum(images.values()), n, f"{rate:,.0f} images/s")

    progress("features", there, n)
    for work, _ in (context.engine if len(works) > 1 else InProcess()).map_unordered(works, hear):
        if remote:
            Storage(remote.url).fetch(remote.shard(work.shard, SHARD), shard_path(folder, work.shard))
        hear(work.name, work.size, work.size)
    finish_shards(folder, *size)


class CountingExtractor:
    """An extractor that counts the images that went through it, on a meter too where it has one: made-up images."""

    def __init__(self, extractor: Extractor, meter: Meter | None = None) -> None:
        self._extractor, self._meter, self.images = extractor, meter, 0

    @property
    def dim(self) -> int:
        """The extractor's own."""
        return self._extractor.dim

    def __call__(self, images: Images) -> Features:
        """Count and extract."""
        self.images += len(images)
        if self._meter is not None:
            self._meter.generated += len(images)
        return self._extractor(images)


def passing(context: PrepareContext, keeper: object) -> PrepareContext:
    """Return a shop in a folder of its own that goes when `keeper` is let go of, for what is not to stay."""
    homes = context.root / PASSING
    homes.mkdir(exist_ok=True)
    for left in homes.iterdir():  # by a process that was killed
        if not _lives(left.name.partition("-")[0]):
            shutil.rmtree(left, ignore_errors=True)
    home = tempfile.mkdtemp(prefix=f"{os.getpid()}-", dir=homes)
    weakref.finalize(keeper, shutil.rmtree, home, ignore_errors=True)
    return replace(context, root=Path(home), progress=no_progress, make=True)


def _lives(process: str) -> bool:
    try:
        os.kill(int(process), 0)
    except (ValueError, ProcessLookupError):
        return False
    except PermissionError:  # somebody else's
        return True
    return True


def indexed(context: PrepareContext, kind: str, indexer: Any, options: Mapping[str, Any], space: Space) -> Index:
    """Build an index over a space, or find it built, and open it; of a pool that grew, grow it part by part."""
    folder = _index_of(context, kind, indexer, dict(options), space, 1 + len(space.more))
    index: Index = indexer.load(space.vectors, folder)
    return index


def _index_of(
    context: PrepareContext, kind: str, indexer: Any, options: dict[str, Any], space: Space, parts: int
) -> Path:
    """Return the folder of the index over the first parts; those over fewer go when it is whole.

    It is grown from the largest one there is, as long as the pool has not grown fourfold since one was built: then it
    is built anew. So what it is hangs on the parts alone.
    """

    def facts_of(parts: int) -> dict[str, Any]:
        facts: dict[str, Any] = {"kind": kind, "options": options, "features": space.folder.name, "version": 2}
        return facts | ({"more": [folder.name for folder in space.more[: parts - 1]]} if parts > 1 else {})

    vectors, base = space.first(parts), 1
    for number in range(2, parts + 1):
        base = number if len(space.first(number)) >= REBUILD * len(space.first(base)) else base
    fewer = {number: _named(context, "indexes", kind, facts_of(number)) for number in range(1, parts)}

    def fill(folder: Path) -> None:
        if parts == base:
            indexer.build(vectors, folder, progress=context.progress)
            return
        there = [number for number, other in fewer.items() if number >= base and artifacts.is_whole(other)]
        held = max(there, default=base)
        before = fewer[held] if there else _index_of(context, kind, indexer, options, space, base)
        artifacts.verify(before)
        indexer.grow(before, len(space.first(held)), vectors, folder, progress=context.progress)

    folder = stage(context, "indexes", kind, facts_of(parts), fill)
    for other in fewer.values() if context.make else ():
        if other.exists():
            dropped = other.with_name(f"{other.name}.partial")  # what a kill leaves of it is no index
            other.replace(dropped)
            shutil.rmtree(dropped)
    return folder


def _named(context: PrepareContext, home: str, kind: str, facts: Mapping[str, Any]) -> Path:
    return context.root / home / f"{kind}-{artifacts.fingerprint(facts)}"


def stage(context: PrepareContext, home: str, kind: str, facts: Mapping[str, Any], fill: Fill) -> Path:
    """Return the folder that these facts name, filled; a whole one is checked against its manifest.

    Raises:
        UserError: it is not there, and this shop does not make.
        DamageError: it is not as it was written.
    """
    folder = _named(context, home, kind, facts)
    if artifacts.is_whole(folder):
        artifacts.verify(folder)
        if context.make:
            artifacts.tidy(folder)
    elif not context.make:
        raise UserError(
            f"there is no {folder}", rule="a part is used when it has been prepared", hint="run `asal prepare`"
        )
    else:
        with artifacts.building(folder, facts) as partial:
            fill(partial)
    return folder
