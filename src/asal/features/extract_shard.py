"""The features of one shard of the pool: a task that any process on any machine can run.

A task holds names and numbers; the process that runs it opens the pool, the extractor and the projection once. It
computes with one thread on a CPU: sums are split by threads, and the last bit must not depend on who computed which
shard. Many tasks at a time use a machine as well as many threads would.
"""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from asal.core import Extractor, Features, Ids, Pool
from asal.data.augmented_pool import AugmentedPool, in_full
from asal.data.originals_pool import OriginalImages, OriginalsPool
from asal.data.pool import FACTS, KEYS, StoredPool, images_fingerprint, shard_name
from asal.errors import UserError
from asal.features import ExtractorInputs, features
from asal.features.pca import Pca, Reduced
from asal.features.store import BATCH, Compute, ids_of, shard_path, write_shard
from asal.models.generators import generators
from asal.runtime import artifacts
from asal.runtime.progress import Progress
from asal.runtime.remote_files import Storage, cache_folder
from asal.runtime.threads import limited_threads


@dataclass(frozen=True)
class TrainedPart:
    """A trained part by its names: its kind, its options in the spec (JSON), and its folder."""

    kind: str
    options: str
    folder: Path


@dataclass(frozen=True)
class ExtractorRecipe:
    """Everything that the features of an image are computed from.

    Args:
        pool: the folder of the images.
        extractor: computes their features.
        generator: the generator that the extractor needs, if it does.
        pca: the folder of the projection, if there is one.
        digest: of the contents of these folders; recipes of other features have another.
        half: whether features are stored as float16, in half the bytes.
        originals: of the pool's images, where they are read in place of its pictures; part of the digest.
    """

    pool: Path
    extractor: TrainedPart
    generator: TrainedPart | None
    pca: Path | None
    digest: str = ""
    half: bool = False
    originals: OriginalImages | None = field(default=None, compare=False)

    def with_digest(self) -> ExtractorRecipe:
        """Return the recipe with its digest."""
        parts = [part.folder for part in (self.extractor, self.generator) if part]
        files = [folder / artifacts.MANIFEST for folder in parts] + ([self.pca / Pca.FILE] if self.pca else [])
        facts: dict[str, Any] = {
            "pool": images_fingerprint(self.pool),
            "files": [artifacts.sha256(file) for file in files],
        }
        facts |= {"half": True} if self.half else {}
        facts |= {"originals": self.originals.first} if self.originals else {}
        return replace(self, digest=artifacts.fingerprint(facts))

    def extractor_alone(self) -> Extractor:
        """Open the extractor, without the projection after it."""
        shape, inputs = _pool(self).shape, ExtractorInputs()
        if self.generator:
            generator = generators[self.generator.kind].bind(json.loads(self.generator.options))
            inputs = ExtractorInputs(generator.load(self.generator.folder, shape))
        part = features[self.extractor.kind].bind(json.loads(self.extractor.options))
        extractor: Extractor = part.load(self.extractor.folder, shape, inputs)
        return extractor


@lru_cache(2)
def _pool(recipe: ExtractorRecipe) -> StoredPool | AugmentedPool:
    return in_full(_stored(recipe.pool))


def _stored(folder: Path) -> StoredPool:
    # Not checked against its manifest: the main process did so, and a remote machine fetches only some of the shards.
    return StoredPool(folder, artifacts.read_json(folder / FACTS), images_fingerprint(folder))


@lru_cache(2)  # a process computes one space at a time, and networks are large
def _images_and_extractor(recipe: ExtractorRecipe) -> tuple[Pool, Extractor]:
    pool, extractor = _pool(recipe), recipe.extractor_alone()
    if recipe.originals is None:
        return pool, extractor
    return recipe.originals.of(pool, input_size(extractor)), extractor


def input_size(extractor: Extractor) -> int:
    """Return the pixels of the squares that an extractor reads: of a kind that provides "originals"."""
    size: int = extractor.size  # type: ignore[attr-defined]  # see `asal.features.OriginalsExtractor`
    return size


@lru_cache(2)
def _compute(recipe: ExtractorRecipe) -> Compute:
    images, extractor = _images_and_extractor(recipe)
    extract: Extractor = Reduced(extractor, Pca.load(recipe.pca)) if recipe.pca else extractor

    def compute(ids: Ids) -> Features:
        features = extract(images.read(ids))
        return as_float16(features) if recipe.half else features

    return compute


def as_float16(features: Features) -> Features:
    """Return features as float16; values beyond its range become infinite, which the store refuses."""
    with np.errstate(over="ignore"):
        return features.astype(np.float16)


@contextmanager
def memory_errors_named(what: str) -> Iterator[None]:
    """Turn an out-of-memory error into a UserError that names what the memory was for."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "memory" not in str(error):
            raise
        raise UserError(
            f"there was too little memory for {what}",
            rule="a batch of images and a network's activations must fit into memory",
            hint="run the same command again with fewer --workers: it resumes",
        ) from None


@dataclass(frozen=True)
class ExtractShardTask:
    """The features of one shard.

    Args:
        space: name of the features.
        recipe: how they are computed; its paths are those of the main process.
        vectors: folder of the shard, where all machines share their files.
        shard: its number.
        images: in the pool.
        rows: vectors per shard.
        remote: where machines with other files find the recipe's folders, and put the shard.
        batch: images computed at a time.
    """

    space: str
    recipe: ExtractorRecipe
    vectors: Path
    shard: int
    images: int
    rows: int
    remote: RemoteLayout | None = None
    batch: int = BATCH
    needs_torch: ClassVar[bool] = True

    @property
    def name(self) -> str:
        """Name for the progress display."""
        return f"{self.space}: shard {self.shard}"

    @property
    def size(self) -> int:
        """Number of images."""
        return len(ids_of(self.shard, self.images, self.rows))

    def run(self, progress: Progress) -> None:
        """Write the shard; a complete one is kept."""
        if self.remote is None:
            self._write(self.recipe, self.vectors, progress)
            return
        storage, name = Storage(self.remote.url), self.remote.shard(self.shard, self.rows)
        if storage.entry(name) is None:
            recipe = fetch_inputs(self.recipe, self.remote, ids_of(self.shard, self.images, self.rows))
            with tempfile.TemporaryDirectory(dir=cache_folder()) as folder:
                path = self._write(recipe, Path(folder), progress)
                if receipt_path(path).exists():
                    storage.offer(receipt_path(path), f"{name}{RECEIPT}")
                storage.offer(path, name)

    def _write(self, recipe: ExtractorRecipe, folder: Path, progress: Progress) -> Path:
        first = self.shard * self.rows

        def compute(ids: Ids) -> Features:
            progress(self.name, int(ids[0]) - first, self.size)
            return extract(ids)

        with limited_threads(1), memory_errors_named(self.name):
            extract = _compute(recipe)
            with artifacts.explain_disk_errors(folder):
                folder.mkdir(parents=True, exist_ok=True)
                if recipe.originals is None:
                    return write_shard(folder, self.shard, compute, (self.images, self.rows), self.batch)
                return self._write_with_receipt(recipe, folder, compute)

    def _write_with_receipt(self, recipe: ExtractorRecipe, folder: Path, compute: Compute) -> Path:
        """Write beside the shard, and before it, how many pictures of the pool stood in for originals, if any did."""
        images, _ = _images_and_extractor(recipe)
        assert isinstance(images, OriginalsPool)
        images.replaced.clear()
        receipt, end = receipt_path(shard_path(folder, self.shard)), min((self.shard + 1) * self.rows, self.images)

        def noted(ids: Ids) -> Features:
            features = compute(ids)
            if int(ids[-1]) + 1 == end:
                receipt.unlink(missing_ok=True)  # of an attempt that was cut before its shard was there
                if images.replaced:
                    artifacts.write_json(receipt, dict(images.replaced))
            return features

        return write_shard(folder, self.shard, noted, (self.images, self.rows), self.batch)


# How many originals were replaced ------------------------------------------------------------------------------------

RECEIPT = ".json"  # at the end of a shard's name


def receipt_path(shard: Path) -> Path:
    """Return the file beside a shard that says how many pictures of the pool stood in for originals, by reason."""
    return shard.with_name(f"{shard.name}{RECEIPT}")


def receipts_of(folder: Path) -> Mapping[str, int]:
    """Return how many pictures stood in, in all shards of a folder together, by reason."""
    total: Counter[str] = Counter()
    for path in sorted(folder.glob(f"[0-9]*.npy{RECEIPT}")):
        total.update(artifacts.read_json(path))
    return total


# Through a remote storage --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class RemoteLayout:
    """The names of a recipe's folders in a storage; each name is unique to its contents."""

    url: str
    pool: str
    extractor: str
    generator: str
    features: str

    def shard(self, number: int, rows: int) -> str:
        """Return the name of a shard."""
        return f"{self.features}/{number:05d}-of-{rows}.npy"


def push(recipe: ExtractorRecipe, url: str) -> RemoteLayout:
    """Upload everything that a recipe needs to a storage, except what is there already, and return its names."""
    storage, names = Storage(url), []
    for folder in (recipe.pool, recipe.extractor.folder, recipe.generator.folder if recipe.generator else None):
        names.append(f"{folder.name}-{artifacts.sha256(folder / artifacts.MANIFEST)[:12]}" if folder else "")
        if folder:
            storage.push(folder, names[-1])
    home = f"features-{recipe.digest}"
    if recipe.pca:
        storage.offer(recipe.pca / Pca.FILE, f"{home}/{Pca.FILE}")
    return RemoteLayout(url, names[0], names[1], names[2], home)


def fetch_shard(remote: RemoteLayout, task: ExtractShardTask, path: Path) -> None:
    """Download a shard that a machine put into the storage, and its receipt, if it has one."""
    storage, name = Storage(remote.url), remote.shard(task.shard, task.rows)
    if storage.entry(f"{name}{RECEIPT}"):
        storage.fetch(f"{name}{RECEIPT}", receipt_path(path))
    storage.fetch(name, path)


def fetch_inputs(recipe: ExtractorRecipe, remote: RemoteLayout, ids: Ids) -> ExtractorRecipe:
    """Download what the features of these images need, once per machine, and return the recipe with local paths."""
    storage, here = Storage(remote.url), cache_folder()
    for name in filter(None, (remote.extractor, remote.generator)):
        storage.pull(name, here / name, storage.manifest(name, here / name))
    pool, entries = here / remote.pool, storage.manifest(remote.pool, here / remote.pool)
    known = (FACTS, KEYS) if recipe.originals else (FACTS,)
    storage.pull(remote.pool, pool, {file: entries[file] for file in known})
    stored = _stored(pool)
    files = {shard_name(number) for number in np.unique(stored.shards_of(ids % len(stored))).tolist()}
    storage.pull(remote.pool, pool, {file: entries[file] for file in files})
    if recipe.pca:
        storage.fetch(f"{remote.features}/{Pca.FILE}", here / remote.features / Pca.FILE)
    return replace(
        recipe,
        pool=pool,
        extractor=replace(recipe.extractor, folder=here / remote.extractor),
        generator=recipe.generator and replace(recipe.generator, folder=here / remote.generator),
        pca=recipe.pca and here / remote.features,
    )
