"""The originals of a pool's images: the files that its pictures were made from, read by id where they are now.

People see originals, and networks that bring their own preprocessing read them; a pool's picture stands in for one that
is gone. Nothing here is decoded.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol, cast, runtime_checkable

from asal.core import Ids
from asal.data import moves
from asal.data.augmented_pool import AugmentedPool
from asal.data.concat_pool import ConcatPool, additions
from asal.data.places import absolute_place
from asal.data.pool import StoredPool
from asal.data.sources import Lost, Raw, Source, sources
from asal.errors import UserError
from asal.runtime import artifacts

GONE = "there is no such file"


@runtime_checkable
class KeepsOriginals(Protocol):
    """A source whose images can be read again by their keys."""

    def originals(self, keys: Sequence[str]) -> Iterator[Raw]:
        """Yield the image of each key, in any order of keys; `Lost` where it is gone."""
        ...


@dataclass(frozen=True, eq=False)
class Originals:
    """The originals of some of a project's images. It can be pickled: another process opens the source again.

    Args:
        source: where they are.
        others: sources that were added from elsewhere, in which a key is looked up that the first one does not have.
        names: further names of images, by id: of files that were moved or renamed since.
    """

    source: Source
    others: tuple[Source, ...] = ()
    names: Mapping[int, tuple[str, ...]] = field(default_factory=dict)

    def __getstate__(self) -> dict[str, Any]:
        """Return what is pickled: the options of the sources, and nothing of what they have listed."""
        fresh = [replace(cast(Any, source)) for source in (self.source, *self.others)]
        return {"source": fresh[0], "others": tuple(fresh[1:]), "names": dict(self.names)}

    def raw(self, pool: StoredPool | ConcatPool, ids: Ids) -> Iterator[Raw]:
        """Yield the files of these ids of a pool, in this order; `Lost` where there is none any more.

        Raises:
            UserError: the source cannot be reached.
        """
        keys = pool.keys(ids)
        for image, key, found in zip(ids.tolist(), keys, self._read(self.source, keys), strict=True):
            yield self._elsewhere(image, key) if isinstance(found, Lost) else found

    def _elsewhere(self, image: int, key: str) -> Raw:
        """Look for one that is gone from its place: under its other names, and in the other sources."""
        for source, name in [
            *((self.source, name) for name in self.names.get(image, ())),
            *((source, key) for source in self.others),
        ]:
            for found in self._read(source, [name]):
                if not isinstance(found, Lost):
                    return found
        return Lost(GONE)

    @staticmethod
    def _read(source: Source, keys: Sequence[str]) -> Iterator[Raw]:
        return cast(KeepsOriginals, source).originals(keys)


def originals_of(source: Source, root: Path, part: str = "pool") -> Originals | None:
    """Return the originals of a project's pool, with what was added to it, or of another part of it.

    Returns:
        None where the source's images cannot be read again by their keys: the pool's pictures are all there is.
    """
    if not isinstance(source, KeepsOriginals):
        return None
    names: dict[int, tuple[str, ...]] = {}
    for alias in moves.read_aliases(root):
        if alias.part == part:
            names[alias.image] = (alias.key, *names.get(alias.image, ()))  # the newest first
    others = tuple(_sources_of_additions(root, source)) if part == "pool" else ()
    return Originals(source, others, names)


def _sources_of_additions(root: Path, source: Source) -> Iterator[Source]:
    """Yield the sources that images were added from, except the project's own."""
    for folder in additions(root):
        options = dict(artifacts.manifest(folder)["options"]["source"])
        kind = options.pop("name")
        if isinstance(path := options.get("path"), str):
            options["path"] = absolute_place(path, root)
        try:
            other: Source = sources[kind].bind(options)
        except UserError:  # a source of a plug-in that is not installed any more
            continue
        if isinstance(other, KeepsOriginals) and other != source:
            yield other


def keyed(pool: object) -> StoredPool | ConcatPool | None:
    """Return a pool whose images have keys of their own, or None: those of an augmented one are made from others."""
    if isinstance(pool, ConcatPool):
        return None if any(isinstance(part, AugmentedPool) for part in pool.parts) else pool
    return pool if isinstance(pool, StoredPool) else None
