"""Which image a name means, of those that it fits: never a guess between two, and one reading for a whole file.

A name that fits images in several ways is clear where one of them has exactly this key and no other row of the file
has to be read in a way that would lead to another image. Paths are judged over all rows:

- names that leave out the first folders of a key count if no row of the file is a whole key, and if every image of the
  pool lies in those folders, so that they tell nothing apart, and no
  held-out image of the source fits, too. Where the caller says that file names alone identify
  images, they count if all of them are bare names, or leave out the same folders. The names that Label Studio gives to
  uploaded files have no folders by nature, and count;
- names with more folders than the key count if these are the same for the file, and are the source's by their path or
  by their last name. Others count if they stand before every name of the file, and begin at a root or a drive, as paths
  of another machine do, or the caller says that file names identify images. A folder that exists and is not the source
  is another one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from asal.labelling.exchange.names import ABSOLUTE, LONGER, SHORTER, SPELLED, UPLOAD, UPLOADS, Fit

UNKNOWN: Final = -1
SEVERAL: Final = -2
ELSEWHERE: Final = -3  # it may be an image of another folder
HELD_OUT = "a held-out image of the source is called so, too: --match-names takes the pool's"


@dataclass(frozen=True, slots=True)
class Match:
    """The image of a row."""

    image: int = UNKNOWN  # or SEVERAL, or ELSEWHERE
    how: str = ""  # it was matched
    why: str = ""  # it was not, or what else the report says


@dataclass(frozen=True)
class Name:
    """A name of a row, the images that it fits, and whether only its whole key counts."""

    texts: Sequence[str]  # in each spelling, as it is first
    fits: Sequence[Fit]
    partial: bool = True
    alone: bool = True  # False: it has another name too, so that none of its fits is better than another
    uploaded: bool = False  # it looks like a name that Label Studio gives to an uploaded file
    held_out: bool = False  # it may also be the name of a held-out image of the source


@dataclass(frozen=True)
class Folders:
    """What is known of the folders of a pool's images."""

    source: Path | None = None  # the folder of the originals, if they are in one
    common: str = ""  # folders that all keys begin with, with a slash behind
    by_names: bool = False  # file names alone identify images


def choose(names: Sequence[Name], pool: Folders) -> list[Match]:
    """Return the image of each name."""
    uploads = all(name.uploaded for name in names)
    own = [[fit for fit in name.fits if _counts(fit, name, uploads)] for name in names]
    used: frozenset[str] = frozenset().union(*(_best(fits).changes for fits in own if _images(fits) == 1))
    chosen = [_one(fits, used, name.alone) for name, fits in zip(names, own, strict=True)]
    refused = _of_other_folders(names, chosen, pool)
    return [
        _match(fits, fit, refused.get(place, ""))
        for place, (fits, fit) in enumerate(zip(own, chosen, strict=True))
    ]  # fmt: skip


def _counts(fit: Fit, name: Name, uploads: bool) -> bool:
    if not name.partial:
        return fit.strength == 0
    # Without Label Studio's folder, its prefix counts if all names of a file have one.
    return uploads or UPLOAD not in fit.changes or any(UPLOADS.search(text) for text in name.texts)


def _match(fits: Sequence[Fit], fit: Fit | None, refusal: str) -> Match:
    if refusal:
        return Match(ELSEWHERE, why=refusal)
    if fit is None:
        return Match(SEVERAL if fits else UNKNOWN)
    return Match(fit.image, described(fit))


def described(fit: Fit) -> str:
    """Return how a name was matched, for the report."""
    if not fit.changes:
        return "whole key"
    base = [] if fit.changes - SPELLED else ["whole key"]
    below = [f"below '{fit.before}'"] if LONGER in fit.changes else []
    return ", ".join([*base, *sorted(fit.changes - {LONGER}), *below])


def _images(fits: Iterable[Fit]) -> int:
    return len({fit.image for fit in fits})


def _best(fits: Sequence[Fit]) -> Fit:
    return min(fits, key=lambda fit: (fit.strength, len(fit.changes)))


def _one(fits: Sequence[Fit], used: frozenset[str], alone: bool) -> Fit | None:
    """Return the fit that counts, None if none does or several could."""
    if not fits:
        return None
    if _images(fits) == 1:
        return _best(fits)
    best = _best(fits)
    exact = {fit.image for fit in fits if fit.strength == 0}
    if not alone or len(exact) != 1:
        return None
    others = [fit for fit in fits if fit.image != best.image and fit.changes <= used]
    return None if others else best


def _path(fit: Fit) -> bool:
    return bool(fit.changes & {LONGER, SHORTER})


def _of_other_folders(names: Sequence[Name], chosen: Sequence[Fit | None], pool: Folders) -> dict[int, str]:
    """Return the places of the names that may mean images of other folders, with the reasons."""
    judged = {n: fit for n, fit in enumerate(chosen) if fit is not None and names[n].partial}
    whole = any(not _path(fit) and not fit.absolute for n, fit in judged.items() if names[n].alone)
    shorter = {n: fit for n, fit in judged.items() if SHORTER in fit.changes and UPLOAD not in fit.changes}
    refused = _leaving_out(shorter, whole, pool)
    ends = {n for n, fit in judged.items() if SHORTER in fit.changes and names[n].held_out}
    refused |= dict.fromkeys(ends, HELD_OUT)
    for absolute in (False, True):
        longer = {n: fit for n, fit in judged.items() if LONGER in fit.changes and fit.absolute == absolute}
        inside = not absolute and (whole or bool(shorter))
        refused |= _below(longer, _readings(names, absolute), pool, inside)
    return refused


def _readings(names: Sequence[Name], absolute: bool) -> list[list[str]]:
    """Return the spellings of every name that begins at a root, or of those that do not."""
    readings = ([text for text in name.texts if bool(ABSOLUTE.match(text)) == absolute] for name in names)
    return [texts for texts in readings if texts]


def _leaving_out(shorter: Mapping[int, Fit], whole: bool, pool: Folders) -> dict[int, str]:
    if whole:
        return {n: f"the file has whole keys, and this leaves out '{fit.before}'" for n, fit in shorter.items()}
    if not pool.by_names:
        why = "it leaves out '{}', and other images are in other folders: --match-names takes file names alone"
        return {n: why.format(fit.before) for n, fit in shorter.items() if not pool.common.startswith(fit.before)}
    befores = sorted({fit.before for fit in shorter.values()})
    if len(befores) > 1 and not all(fit.bare for fit in shorter.values()):
        several = " and ".join(f"'{before}'" for before in befores[:2])
        return {n: f"rows of the file leave out different folders, such as {several}" for n in shorter}
    return {}


def _below(longer: Mapping[int, Fit], readings: Sequence[Sequence[str]], pool: Folders, inside: bool) -> dict[int, str]:
    """Return which names with more folders than the key do not count. `inside`: other rows begin at the source."""
    befores = {fit.before for fit in longer.values()}
    mine = {before for before in befores if _is_source(before, pool.source)}
    if mine or inside or len(befores) > 1:
        why = "other rows of the file do not begin with '{}'"
        return {n: why.format(fit.before) for n, fit in longer.items() if fit.before not in mine}
    if not longer:
        return {}
    (before,) = befores
    if why := _objection(before, readings, pool):
        return dict.fromkeys(longer, why.format(before))
    return {}


def _objection(before: str, readings: Sequence[Sequence[str]], pool: Folders) -> str:
    """Return why folders that stand before the keys may be others than the source's."""
    if _is_another(before, pool.source):
        return "'{}' is there, and is another folder than the source"
    if _ends_like(before, pool.source):
        return ""
    if pool.source is not None and pool.source.name in _plain(before).split("/"):
        return "'{}' goes on below the source's folder, where the key does not"
    if not all(any(text.startswith(before) for text in texts) for texts in readings):
        return "other rows of the file do not begin with '{}'"
    if not ABSOLUTE.match(before) and not pool.by_names:
        return "'{}' is not the source's folder: --match-names takes what follows it alone"
    return ""


def _is_source(before: str, source: Path | None) -> bool:
    """Whether these folders are the source's, by its path or on this disk."""
    if source is None:
        return False
    return _plain(before) == _plain(str(source)) or _same(Path(before), source)


def _plain(folder: str) -> str:
    return folder.replace("\\", "/").strip("/")


def _same(folder: Path, source: Path) -> bool:
    try:
        return folder.is_absolute() and folder.samefile(source)
    except OSError:
        return False


def _is_another(before: str, source: Path | None) -> bool:
    """Whether there is a folder of this name, beside the source where the name is relative, that is not the source."""
    if source is None:
        return False
    folder = source.parent / before  # an absolute one stays as it is
    try:
        return folder.is_dir() and not folder.samefile(source)
    except OSError:
        return False


def _ends_like(before: str, source: Path | None) -> bool:
    return source is not None and _plain(before).rpartition("/")[2] == source.name
