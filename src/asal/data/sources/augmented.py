"""A large pool from a small source: what is taken in is the base, and the pool's other images are made when read."""

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
    """A pool of `images`, small shifts of those that another source's pool has; nothing but that pool is stored.

    `base` is that source's own table, `[source.base]`, with its `kind`. It is split, filtered and taken in as it would
    be alone: validation and test set are the base's, and no shift of their images is in the pool. Image i of the pool
    is image i mod n of the base's pool, moved by up to two pixels and, if `mirror` is on, mirrored half of the time,
    as (`seed`, i) say; the first n are the base's own. A copy has its original's label (paper, section 5.5).
    """

    images: int
    base: Mapping[str, Any]
    seed: int = 0
    mirror: bool = False

    def __post_init__(self) -> None:
        rule = None
        if not isinstance(self.base.get("kind"), str) or self.base["kind"] == "augmented":
            rule, got = "a pool is augmented from one other source", f"base = {dict(self.base)}"
        elif self.images < 1 or not 0 <= self.seed < 2**24:
            rule, got = "a pool has one image or more, and a seed from 0 to 2²⁴ − 1", f"{self.images} and {self.seed}"
        if rule:
            hint = "write `[source.base]` with its `kind`, `images = …`, and `seed = 0` or more, under [source]"
            raise UserError(got, rule=rule, hint=hint)
        _ = self.origin  # whose options are checked as it is made

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
        """What the pool is to be made of it."""
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
