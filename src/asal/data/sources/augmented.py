"""A large pool from a small source: the base is ingested, and the pool's other images are computed when read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from asal.core import Ids, Labels
from asal.data.sources import Source, SourceImage, sources
from asal.errors import UserError


@sources.register("augmented")
@dataclass(frozen=True)
class Augmented:
    """A pool of `images` small shifts of another source's images; only that source's pool is stored.

    `base` is the other source's table, `[source.base]`, with its `kind`. It is split, filtered and ingested as usual:
    validation and test set are the base's, and the pool has no shifts of their images. Image i of the pool is image
    i mod n of the base's pool, moved by up to two pixels and, with `mirror`, mirrored half of the time, both drawn
    from (`seed`, i); the first n are the base's images, unchanged. A shift has its original's label (paper, 5.5).
    """

    images: int
    base: Mapping[str, Any]
    seed: int = 0
    mirror: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.base.get("kind"), str):
            raise UserError("[source.base] has no `kind`", hint="write `[source.base]` with its `kind` under [source]")
        if self.base["kind"] == "augmented":
            raise UserError(
                "[source.base] is itself of the kind 'augmented'", hint="name one other source as its `kind`"
            )
        if self.images < 1:
            raise UserError(
                f"images = {self.images} is too few",
                rule="a pool has one image or more",
                hint="set `images` to 1 or more",
            )
        if not 0 <= self.seed < 2**24:
            raise UserError(f"the seed {self.seed} is outside 0 … {2**24 - 1:,}", hint="set `seed` to a number in it")
        _ = self.origin  # checks its options

    @cached_property
    def origin(self) -> Source:
        """The base."""
        options = {key: value for key, value in self.base.items() if key != "kind"}
        source: Source = sources[self.base["kind"]].bind(options)
        return source

    @property
    def path(self) -> str | None:
        """Where the base's images lie, if in one place."""
        return getattr(self.origin, "path", None)

    @property
    def enlarges(self) -> Mapping[str, Any]:
        """The options of the pool."""
        return {"images": self.images, "seed": self.seed, "mirror": self.mirror}

    @property
    def classes(self) -> tuple[str, ...]:
        return self.origin.classes

    @property
    def splits(self) -> Mapping[str, int]:
        return self.origin.splits

    @property
    def fingerprint(self) -> str | None:
        return self.origin.fingerprint

    def labels(self, split: str) -> Labels | None:
        return self.origin.labels(split)

    def records(self, split: str, rows: Ids) -> Iterator[SourceImage]:
        return self.origin.records(split, rows)
