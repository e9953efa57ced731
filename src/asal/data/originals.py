"""The originals of a pool's images: the files that its pictures were made from, read by id where they are now.

People see originals, and networks that bring their own preprocessing read them; a pool's picture stands in for one that
is gone. Nothing here is decoded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path
from typing import Any, Protocol, cast, runtime_checkable

from asal.core import Ids
from asal.data import moves
from asal.data.augmented_pool import AugmentedPool
from asal.data.concat_pool import ConcatPool, additions
from asal.data.places import absolute_place
from asal.data.pool import StoredPool, facts_of
from asal.data.sources import Lost, Raw, Source, sources
from asal.errors import UserError
from asal.runtime import artifacts

GONE = "there is no such file"


@runtime_checkable
class KeepsOriginals(Protocol):
    """A source whose images can be read again by their keys."""

    def originals(self, keys: Sequence[str]) -> Iterator[Raw]:
        """Yield the image of each key, in this order; `Lost` where it is gone."""
        ...


class Keyed(Protocol):
    """A pool whose images have names in their source."""

    def keys(self, ids: Ids) -> list[str]:
        """Return the key of each image."""
        ...


@dataclass(frozen=True)
class Addition:
    """Images that were added from elsewhere: their ids go from `first` to before `end`."""

    first: int
    end: int
    source: Source


@dataclass(frozen=True, eq=False)
class Originals:
    """The originals of some of a project's images. It can be pickled: another process opens the sources again.

    Args:
        source: where they are.
        additions: images that were added from other places, where their keys are looked up first; and those of other
            images last, for files that were moved there.
        names: further names of images, by id: of files that were moved or renamed since, the newest first.
    """

    source: Source
    additions: tuple[Addition, ...] = ()
    names: Mapping[int, tuple[str, ...]] = field(default_factory=dict)

    def __getstate__(self) -> dict[str, Any]:
        """Return what is pickled: the options of the sources, and nothing of what they have listed."""
        additions = tuple(replace(each, source=_fresh(each.source)) for each in self.additions)
        return {"source": _fresh(self.source), "additions": additions, "names": dict(self.names)}

    def raw(self, pool: Keyed, ids: Ids) -> Iterator[Raw]:
        """Yield the files of these ids of a pool, in this order; `Lost` where there is none any more.

        Raises:
            UserError: the source cannot be reached.
        """
        keys = pool.keys(ids)
        images = ids.tolist()
        start = 0
        for home, group in groupby(images, self.home):  # those of one source together, for it may read ahead
            part = keys[start : start + sum(1 for _ in group)]
            for image, key, found in zip(images[start:], part, _read(home, part), strict=False):
                yield self._elsewhere(image, key) if isinstance(found, Lost) else found
            start += len(part)

    def places(self, image: int, key: str) -> Iterator[Raw]:
        """Yield what lies at each place where the original of an image may be, the most probable one first.

        A file under the image's key may be another one by now, and the image's own be there under a later name.
        """
        home = self.home(image)
        others = [each.source for each in self.additions if each.source != home]
        if home != self.source:
            others.append(self.source)
        for source, name in [
            (home, key),
            *((source, name) for name in self.names.get(image, ()) for source in (home, *others)),
            *((source, key) for source in others),
        ]:
            yield from _read(source, [name])

    def home(self, image: int) -> Source:
        """Return the source that an image was taken from."""
        return next((each.source for each in self.additions if each.first <= image < each.end), self.source)

    def _elsewhere(self, image: int, key: str) -> Raw:
        return next((found for found in self.places(image, key) if not isinstance(found, Lost)), Lost(GONE))

    def only(self, image: int) -> Originals:
        """Return the originals of one image alone, to be sent to another process."""
        names = {image: self.names[image]} if image in self.names else {}
        return replace(self, names=names)

    def with_sources(self, opened: Callable[[Source], Source]) -> Originals:
        """Return the same originals, read from sources that are open already."""
        additions = tuple(replace(each, source=opened(each.source)) for each in self.additions)
        return replace(self, source=opened(self.source), additions=additions)


def _fresh(source: Source) -> Source:
    fresh: Source = replace(cast(Any, source))
    return fresh


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
    return Originals(source, tuple(_additions(root, source)) if part == "pool" else (), names)


def _additions(root: Path, source: Source) -> Iterator[Addition]:
    """Yield what was added from other sources than the project's own."""
    end = len_of(root / "pool")
    for folder in additions(root):
        first, end = end, end + len_of(folder)
        options = dict(artifacts.manifest(folder)["options"]["source"])
        kind = options.pop("name")
        if isinstance(path := options.get("path"), str):
            options["path"] = absolute_place(path, root)
        try:
            other: Source = sources[kind].bind(options)
        except UserError:  # a source of a plug-in that is not installed any more
            continue
        if isinstance(other, KeepsOriginals) and other != source:
            yield Addition(first, end, other)


def len_of(folder: Path) -> int:
    """Return how many images a finished folder of images holds, without opening it."""
    return int(facts_of(folder)["images"])


def keyed(pool: object) -> StoredPool | ConcatPool | None:
    """Return a pool whose images have keys of their own, or None: those of an augmented one are made from others."""
    if isinstance(pool, ConcatPool):
        return None if any(isinstance(part, AugmentedPool) for part in pool.parts) else pool
    return pool if isinstance(pool, StoredPool) else None
