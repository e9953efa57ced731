"""The options of [pool] that say how images become pixels: those asked for, those a pool was made with, the defaults.

A pool keeps the options that it was made with, and what is added to it later is made with the same. A manifest from
before there were such options holds none of them: its images were cut to their centres, laid over white, and read as
16 bits of 0 … 65,535.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, TypedDict

from asal.data.decoding import ANY, LIMIT, WHITE, Conversion, Fit, Range, Ranges
from asal.data.decoding.transparency import AUTO, hexadecimal
from asal.errors import UserError
from asal.runtime import artifacts

PARTS = ("pool", "validation", "test")
BEFORE: Mapping[str, Any] = MappingProxyType({"fit": "crop", "background": WHITE, "range": None})
NEW: Mapping[str, Any] = MappingProxyType({"fit": "crop", "background": AUTO, "range": AUTO})
FITS: Mapping[str, Fit] = MappingProxyType({"folder": "pad"})  # by the source's kind: photographs of any shape


class ImageOptions(TypedDict, total=False):
    """Options of [pool]; one that is absent or None is not asked for."""

    size: int | None  # pixels; the images' own by default
    gray: bool
    fit: Fit | None
    background: str | None  # a colour, or "auto"
    range: tuple[float, float] | Literal["auto", "image"] | None
    pixel_limit: int | None


def settled(kind: str, root: Path, asked: ImageOptions) -> dict[str, Any]:
    """Return the options for a project's manifests: those asked for, or else those it has, or else the defaults.

    Args:
        kind: the source's.
        root: a project; it may have no pool yet.
    """
    there = made_with(root)
    options = dict(NEW, fit=FITS.get(kind, "crop")) if there is None else _options(there)
    wanted = _asked(asked)
    if there is not None and _same_range(wanted.get("range"), there):
        del wanted["range"]
    options.update(wanted)
    images = {"size": asked.get("size"), "gray": asked.get("gray", False)}
    return images | {name: value for name, value in options.items() if value != BEFORE[name]}


def made_with(root: Path) -> dict[str, Any] | None:
    """Return the facts that a project's folders of images were made from, finished or not; None if there are none."""
    for name in PARTS:
        if artifacts.is_complete(root / name):
            return artifacts.manifest(root / name)
        begun = root / f"{name}.partial" / artifacts.SCRATCH / artifacts.MADE_FROM
        if begun.exists():
            return artifacts.read_json(begun)
    return None


def ranges_of(root: Path) -> dict[str, Range]:
    """Return the ranges that a project's pool and what was added to it were read with, from samples of their images."""
    ranges: dict[str, Range] = {}
    for folder in (root / "pool", *sorted((root / artifacts.ADDITIONS).glob("[0-9]*"))):
        if artifacts.is_complete(folder):
            ranges |= stored_ranges(artifacts.manifest(folder))
    return ranges


def stored_ranges(facts: Mapping[str, Any]) -> dict[str, Range]:
    """Return the ranges of a manifest."""
    return {kind: (low, high) for kind, (low, high) in facts.get("ranges", {}).items()}


def conversion(options: Mapping[str, Any], ranges: Mapping[str, Range], limit: int | None) -> Conversion:
    """Return how images become pixels.

    Args:
        options: a manifest's.
        ranges: from a sample; used where the option says "auto".
        limit: pixels; None is the default.
    """
    its = _options({"options": options})
    wanted = its["range"]
    how: Ranges
    if isinstance(wanted, (list, tuple)):
        how = {ANY: (wanted[0], wanted[1])}
    else:
        how = dict(ranges) if wanted == AUTO else wanted
    return Conversion(its["fit"], its["background"], how, limit or LIMIT)


def check_added(root: Path, asked: ImageOptions) -> None:
    """Refuse to add images otherwise than the pool's were made.

    Raises:
        UserError: an option is asked for that the pool was not made with.
    """
    facts = artifacts.manifest(root / "pool")
    options = _options(facts)
    for name, value in _asked(asked).items():
        if value != options[name] and not (name == "range" and _same_range(value, facts)):
            raise UserError(
                f"{root / 'pool'} was made with {name} = {options[name]!r}, and the spec says {value!r}",
                rule="all images of a pool are made in the same way",
                hint=f"drop `{name}` under [pool], or start another project folder",
            )


def _options(facts: Mapping[str, Any]) -> dict[str, Any]:
    return {name: facts["options"].get(name, before) for name, before in BEFORE.items()}


def _asked(asked: ImageOptions) -> dict[str, Any]:
    """Return what is asked for of `BEFORE`, as a manifest holds it."""
    given: dict[str, Any] = {}
    if (fit := asked.get("fit")) is not None:
        given["fit"] = fit
    if (background := asked.get("background")) is not None:
        given["background"] = hexadecimal(background)
    if (wanted := asked.get("range")) is not None:
        given["range"] = wanted if isinstance(wanted, str) else list(wanted)
    return given


def _same_range(wanted: Any, facts: Mapping[str, Any]) -> bool:
    """Say whether a range that is asked for is the one that the sample gave."""
    found = [list(of) for of in stored_ranges(facts).values()]
    return isinstance(wanted, list) and facts["options"].get("range") == AUTO and found == [wanted]
