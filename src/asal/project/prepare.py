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
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from asal.core import Extractor, Features, Images
from asal.project.spaces import Space
from asal.project.step import Fill, PrepareContext, Step, Work, nothing
from asal.runtime import artifacts
from asal.runtime.meter import Meter
from asal.runtime.progress import no_progress

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
    if "steps" not in options:
        return Work(f"make {kind}", 1.0)
    known = [options.get(name, 1) for name in ("steps", "batch", "width")]
    steps, batch, wide = (value if isinstance(value, int | float) else 1 for value in known)
    height, width, channels = context.pool.shape
    passes = steps * (1 + options.get("critic_steps", 0))
    layers = " of residual blocks" if getattr(part, "is_residual", lambda shape: False)(context.pool.shape) else ""
    return Work(f"train {kind}{layers}", float(steps * batch * wide * height * width * channels), float(passes))


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
    dimensions: int = 0  # the first ones of each vector; 0 is all

    def facts(self, parts: int) -> dict[str, Any]:
        """Return what an index over the first parts is made from."""
        first, *more = (folder.name for folder in self.features[:parts])
        facts: dict[str, Any] = {"kind": self.kind, "options": dict(self.options), "features": first, "version": 2}
        facts |= {"dimensions": self.dimensions} if self.dimensions else {}
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
