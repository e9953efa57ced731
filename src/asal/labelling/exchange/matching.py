"""Which image each row of a file means: by an id that is proven to be this pool's, or by a name.

Cost: a look-up for rows whose ids fit their keys; one pass over the pool's keys, block by block, where others are left.
Memory: the rows', whatever the pool's size.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from os.path import commonprefix
from pathlib import Path
from typing import Any

import numpy as np

from asal.core import as_ids
from asal.errors import NoRowTakenError
from asal.labelling.exchange.choosing import ELSEWHERE, Folders, Match, Name, choose
from asal.labelling.exchange.names import (
    MOVED,
    SHORTER,
    UPLOAD,
    Fit,
    Spelling,
    composed,
    fit,
    spellings,
    split_ending,
    uploaded_name,
)
from asal.labelling.exchange.rows import LabelRow

BLOCK = 2**16  # keys of the pool in memory at once
MOST = 2  # images kept of those that a name fits in one way
BY_ID, BY_BOTH, BY_NUMBER = "id", "id and key", "its number as a name"


@dataclass(frozen=True)
class PoolImages:
    """The images that rows may mean."""

    pool: Any  # knows its images' keys, and its fingerprint
    synthetic: Mapping[int, Any]  # the ids of synthetic images, which have no key
    source: Path | None = None  # the folder of the originals
    aliases: Mapping[str, int] | None = None  # other names of images: files that were renamed or copied
    by_names: bool = False  # file names alone identify images
    held_out: Callable[[], Iterable[str]] = tuple  # keys of the source's images that are not for the pool


def match_rows(images: PoolImages, rows: Sequence[LabelRow], own_ids: bool = False) -> list[Match]:
    """Return the image of each row.

    An id counts where its key says the same, or where the file or `own_ids` says that it is of this pool. Otherwise a
    key decides, or the id is the name of a file, if it can be nothing else.

    Raises:
        NoRowTakenError: the file has ids alone, and nothing shows what they are.
    """
    matches = [Match()] * len(rows)
    keys = _keys_of_ids(images, rows)
    proven = own_ids or _agree(rows, keys)
    named, numbered = [], []
    for place, row in enumerate(rows):
        if row.wrong:
            continue
        if row.key is None:
            if own_ids or ((row.pool or proven) and row.pool in ("", _fingerprint(images))):
                matches[place] = _by_id(images, row)
            elif row.synthetic or row.pool:
                matches[place] = Match(why="nothing shows that its id is of this pool")
            else:
                numbered.append(place)
        elif keys.get(place) == row.key:
            matches[place] = Match(row.image or 0, BY_BOTH)
        elif place in keys and (own_ids or row.pool == _fingerprint(images) != ""):
            matches[place] = Match(ELSEWHERE, why=f"its id is of '{keys[place]}', and its key is another")
        else:
            named.append(place)
    names = {place: (rows[place].key, rows[place].below) for place in named}
    names |= {place: (_digits(rows[place]), None) for place in numbered}
    found = _by_name(images, rows, names)
    if numbered:
        _check_numbers(images, [rows[place] for place in numbered], [found[place] for place in numbered])
    for place, match in found.items():
        matches[place] = _explained(rows[place], match, place in keys)
    return matches


def _fingerprint(images: PoolImages) -> str:
    return str(getattr(images.pool, "fingerprint", ""))


def _digits(row: LabelRow) -> str:
    return row.id_text or str(row.image)


def _explained(row: LabelRow, match: Match, other_id: bool) -> Match:
    if row.key is None and match.how:
        return replace(match, how=f"{BY_NUMBER}, {match.how}")
    if other_id and match.image >= 0:
        return replace(match, why="its id is another image's here")
    return match


def _by_id(images: PoolImages, row: LabelRow) -> Match:
    known = row.image in images.synthetic or (row.image is not None and row.image < len(images.pool))
    fits = known and (row.image in images.synthetic or not row.synthetic)
    return Match(row.image or 0, BY_ID) if fits else Match()


def _keys_of_ids(images: PoolImages, rows: Sequence[LabelRow]) -> dict[int, str]:
    """Return the keys that the pool has at the ids of the rows that have both."""
    both = [
        (place, row.image)
        for place, row in enumerate(rows)
        if row.image is not None and row.key is not None and not row.wrong and row.image < len(images.pool)
    ]
    keys: dict[int, str] = {}
    for first in range(0, len(both), BLOCK):
        block = sorted(both[first : first + BLOCK], key=lambda entry: entry[1])
        own = images.pool.keys(as_ids([image for _, image in block]))
        keys |= {place: key for (place, _), key in zip(block, own, strict=True)}
    return keys


def _agree(rows: Sequence[LabelRow], keys: Mapping[int, str]) -> bool:
    """Whether the ids are this pool's because all that have keys fit them, and those are no fewer than the others."""
    both = [place for place, row in enumerate(rows) if row.image is not None and row.key is not None and not row.wrong]
    alone = sum(row.image is not None and row.key is None and not row.wrong for row in rows)
    return bool(both) and len(both) >= alone and all(keys.get(place) == rows[place].key for place in both)


def _by_name(
    images: PoolImages, rows: Sequence[LabelRow], names: Mapping[int, tuple[str | None, str | None]]
) -> dict[int, Match]:
    """Return the images of the rows by these names: a key, and another name that it may have instead."""
    ways = {text: spellings(text) for pair in names.values() for text in pair if text}
    fits, common = _fits(images, ways) if ways else ({}, "")
    is_short = any(SHORTER in one.changes for group in fits.values() for one in group)
    held_out = _held_out(images, ways) if is_short and not images.by_names else frozenset()
    given = []
    for place, (key, below) in names.items():
        both = [text for text in (key, below) if text]
        given.append(
            Name(
                [way.text for text in both for way in ways[text]],
                [found for text in both for found in fits.get(text, ())],
                rows[place].partial,
                alone=below is None,
                uploaded=any(UPLOAD in way.changes for text in both for way in ways[text]),
                held_out=not held_out.isdisjoint(both),
            )
        )
    return dict(zip(names, choose(given, Folders(images.source, common, images.by_names)), strict=True))


def _fits(images: PoolImages, ways: Mapping[str, Sequence[Spelling]]) -> tuple[dict[str, list[Fit]], str]:
    """Return the images that these names fit, by the names, and the folders that all keys of the pool begin with.

    Of a name that many images fit no more are kept than tell so.
    """
    index, common = _Index(ways), None
    found: defaultdict[str, list[Fit]] = defaultdict(list)
    for first in range(0, len(images.pool), BLOCK):
        keys = images.pool.keys(np.arange(first, min(first + BLOCK, len(images.pool))))
        common = _common(keys, common)
        for image, own in enumerate(keys, first):
            for name, spelling in index.of(own) if index.may_have(own) else ():
                _add(found[name], fit(spelling, own, image))
    for own, image in (images.aliases or {}).items():
        for name, spelling in index.of(own):
            if (one := fit(spelling, own, image)) is not None:
                _add(found[name], replace(one, changes=one.changes | {MOVED}))
    return found, composed(common or "")


def _held_out(images: PoolImages, ways: Mapping[str, Sequence[Spelling]]) -> frozenset[str]:
    """Return the names that may also mean a held-out image of the source. Cost: a pass over their keys."""
    index, found = _Index(ways), set[str]()
    for own in images.held_out():
        fitting = index.of(own) if index.may_have(own) else ()
        found |= {name for name, spelling in fitting if fit(spelling, own, 0) is not None}
    return frozenset(found)


def _common(keys: Sequence[str], before: str | None) -> str:
    """Return the folders that all of these keys, and those before, begin with."""
    ends = (min(keys), max(keys))
    start = commonprefix([*ends, *([] if before is None else [before])])  # noqa: RUF071  cut at a slash below
    return start[: start.rfind("/") + 1]


def _add(fits: list[Fit], one: Fit | None) -> None:
    """Keep a fit, if it says more than those that are there."""
    if one is None:
        return
    alike = {fit.image for fit in fits if fit.changes == one.changes}
    if one.image not in alike and len(alike) < MOST:
        fits.append(one)


class _Index:
    """The names of a file, to be found by a key of the pool: by equal paths, and by paths that end alike."""

    def __init__(self, ways: Mapping[str, Sequence[Spelling]]) -> None:
        self.whole: defaultdict[str, list[tuple[str, Spelling]]] = defaultdict(list)
        self.ends: defaultdict[str, list[tuple[str, Spelling]]] = defaultdict(list)
        self.last: set[str] = set()
        self.uploads = any(UPLOAD in spelling.changes for group in ways.values() for spelling in group)
        for name, group in ways.items():
            for spelling in group:
                folder, slash, last = composed(spelling.text).rpartition("/")
                for stem in {last, split_ending(last)[0]}:
                    self.last.add(stem)
                    path = f"{folder}{slash}{stem}"
                    self.whole[path].append((name, spelling))
                    for end in _ends(path):
                        self.ends[end].append((name, spelling))

    def may_have(self, own: str) -> bool:
        """Whether some name may fit a key; of most keys this says no, and quickly."""
        name = own[own.rfind("/") + 1 :]
        return self.uploads or name in self.last or name[: name.rfind(".")] in self.last or not name.isascii()

    def of(self, own: str) -> Iterator[tuple[str, Spelling]]:
        """Yield the names that may fit a key."""
        folder, slash, last = own.rpartition("/")
        stem = composed(split_ending(last)[0])
        stems = {stem, split_ending(uploaded_name(composed(last)))[0]} if self.uploads else (stem,)
        for stem in stems:
            if stem not in self.last:
                continue
            path = f"{composed(folder)}{slash}{stem}"
            yield from self.ends.get(path, ())
            yield from self.whole.get(path, ())
            for end in _ends(path):
                yield from self.whole.get(end, ())


def _ends(path: str) -> Iterator[str]:
    """Yield the ends of a path, itself aside.

    >>> list(_ends("a/b/c"))
    ['b/c', 'c']
    """
    while "/" in path:
        path = path.partition("/")[2]
        yield path


def _check_numbers(images: PoolImages, rows: Sequence[LabelRow], matches: Sequence[Match]) -> None:
    """Refuse ids alone that may be this pool's, unless they are the same images as names of files too.

    Raises:
        NoRowTakenError: names the choices.
    """
    fitting = [n for n, match in enumerate(matches) if match.image >= 0]
    if len(fitting) == len(rows) and all(matches[n].image == rows[n].image for n in fitting):
        return
    beyond = any(row.image is not None and row.image >= len(images.pool) for row in rows)
    if beyond and fitting and 2 * len(fitting) >= min(len(rows), len(images.pool)):
        return
    n = fitting[0] if fitting else 0
    here = rows[n].image
    key = images.pool.keys(as_ids([here]))[0] if here is not None and here < len(images.pool) else None
    named = images.pool.keys(as_ids([matches[n].image]))[0] if fitting else ""
    readings = [f"the file '{named}' by its name"] if named else []
    readings += [f"the image with this number in the pool, '{key}'"] if key else []
    raise NoRowTakenError(
        f"the rows have an id and no key, and nothing shows whose ids they are: {_digits(rows[n])} may be "
        + (" or ".join(readings) or "anything"),
        rule="an id alone counts if the file has asal's keys beside some ids, or says which pool it is of",
        hint="--key-column id takes the numbers as names of files; --ids-are-this-pools takes them as this pool's ids",
    )
