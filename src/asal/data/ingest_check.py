"""Compares what a project's images were made from with what its spec says now.

Where the images lie is no option: a project and its images may be moved. Files that are new or gone since do no harm
either, because a pool is a snapshot; `asal.data.source_changes` says which they are.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, Unpack, cast

import numpy as np

from asal.core import Labels
from asal.data.image_options import BEFORE, ImageOptions, settled
from asal.data.places import PLACES, relative_place
from asal.data.source_changes import compared, keys_of_receipts
from asal.data.sources import Listed, Source, check_outside, kind_of
from asal.data.splits import Split, SplitPart
from asal.errors import UserError, counted, quoted, without_secrets
from asal.runtime import artifacts


def check_ingested(
    source: Source, project: Path, split: Split, *, keep: tuple[str, ...], **images: Unpack[ImageOptions]
) -> tuple[dict[str, Any], list[str]]:
    """Return what `ingest` makes a project's folders from, and the names of those that it would make; write nothing.

    Raises:
        UserError: a folder is there, and was made from other options.
    """
    options = {
        "source": described(source, project),
        "split": split.facts(), "keep": list(keep), **settled(kind_of(source), project, images),
    }  # fmt: skip
    options = json.loads(json.dumps(options))  # as they are read from a folder's manifest: lists for tuples
    if isinstance(place := getattr(source, "path", None), str) and "://" not in place:
        check_outside(project, Path(place))
    made_from = {"options": options, "source": source.fingerprint}
    return made_from, [name for name in split.parts if not _stands(project / name, source, options)]


def described(source: Source, project: Path | None = None) -> dict[str, Any]:
    """Return the kind and the options of a source as a pool's manifest holds them: URLs without their secrets.

    Args:
        project: a path beside or below its parent is written relative to it.
    """
    options = asdict(cast(Any, source))
    for one in fields(cast(Any, source)):
        if "omitted if" in one.metadata and options[one.name] == one.metadata["omitted if"]:
            del options[one.name]
    return {"name": kind_of(source), **_written(options, project)}


def _written(value: Any, project: Path | None, name: str = "") -> Any:
    if isinstance(value, Mapping):
        return {key: _written(inner, project, key) for key, inner in value.items()}
    if isinstance(value, str) and "://" in value:
        return without_secrets(value)
    return relative_place(value, project) if name in PLACES and project and isinstance(value, str) else value


def _as_written_now(options: Mapping[str, Any], source: Source) -> dict[str, Any]:
    """Return a manifest's options with the source's kind, where an older version wrote the name of its class."""
    written = options["source"]
    same = written["name"] == type(source).__name__.lower()
    return {**options, "source": {**written, "name": kind_of(source)}} if same else dict(options)


def _stands(folder: Path, source: Source, options: Mapping[str, Any]) -> bool:
    """Say whether the folder is there already, and refuse one that was made from other options."""
    if not artifacts.is_complete(folder):
        return False
    stored = {**BEFORE, **_as_written_now(artifacts.manifest(folder)["options"], source)}
    if differing := list(_differences("", stored, {**BEFORE, **options})):
        raise UserError(
            f"{folder} was made from other options: {'; '.join(differing)}",
            rule=f"the {folder.name} of a project stays as it was made, because labels belong to its ids",
            hint=f"{_back(differing)}, or start another project folder",
        )
    return True


def _back(differing: Sequence[str]) -> str:
    """Say how to have a pool's options again: those of `BEFORE` are as the pool was made where they are not given."""
    names = [each.partition(" was ")[0] for each in differing]
    later = all(name in BEFORE for name in names)
    return f"drop {quoted([f'{name} =' for name in names])} under [pool]" if later else "restore them"


def _differences(name: str, there: Any, here: Any) -> Iterator[str]:
    if isinstance(there, dict) and isinstance(here, dict):
        for key in sorted(there.keys() | here.keys()):
            if key not in PLACES and not (key == "layout" and key not in there):  # which asks for what was found
                yield from _differences(f"{name}.{key}" if name else key, there.get(key), here.get(key))
    elif there != here:
        yield f"{name} was {there!r} and is {here!r}"


def check_listing(source: Source, folders: Mapping[str, Path], missing: Sequence[str]) -> None:
    """Refuse to make missing folders beside those of another list: an image could be in two of them."""
    there = [folder for name, folder in folders.items() if name not in missing]
    now = source.listing if isinstance(source, Listed) else source.fingerprint
    if now is None or not {artifacts.manifest(folder)["source"] for folder in there} - {None, now}:
        return
    if all(artifacts.was_complete(folders[name].with_name(f"{name}.partial")) for name in missing):
        return  # they are made again from the images that they held
    gone = compared(source, there[0].parent).gone  # which of the others are new cannot be said without what is missing
    raise UserError(
        f"the {' and the '.join(missing)} of {there[0].parent} is missing, and the source has changed since {there[0]} "
        "was made" + (f": {counted(len(gone), 'file')} gone, such as {gone[0]}" if gone else ""),
        rule="all parts of a split are drawn from one list of images, or an image could be in two of them",
        hint="make the source's files those that it had then; or, if nothing is labelled, delete "
        f"{', '.join(map(str, there))} and run the same command; or start another project folder, and bring labels "
        "there with `asal export` and `asal import`",
    )


def repaired(source: Source, folder: Path, facts: dict[str, Any], part: SplitPart) -> tuple[dict[str, Any], SplitPart]:
    """Return what a folder that `doctor --repair` took files from was made from, and its very images.

    They are found by their keys, so the source may have moved, and have other files beside them.
    """
    partial = folder.with_name(f"{folder.name}.partial")
    if not artifacts.was_complete(partial):
        return facts, part
    made_from = artifacts.read_json(partial / artifacts.SCRATCH / artifacts.MADE_FROM)
    stored = {**BEFORE, **_as_written_now(made_from["options"], source)}
    if list(_differences("", stored, {**BEFORE, **facts["options"]})):
        return facts, part  # which is refused where it is built
    if not isinstance(source, Listed) or made_from["source"] in (None, facts["source"]):
        same = facts["source"] == made_from["source"] or None in (made_from["source"], facts["source"])
        return (made_from if same else facts), part
    held = list(keys_of_receipts(partial))
    if any(name.startswith("receipts/") for name in artifacts.read_json(partial / artifacts.SCRATCH / artifacts.WAS)):
        held = []
    everything = source.records(part.split, np.arange(source.splits[part.split]))
    row_of = {record.key: row for row, record in enumerate(everything)}
    if not held or any(key not in row_of for key in held):
        lost = next((key for key in held if key not in row_of), "")
        raise UserError(
            f"{folder} cannot be repaired: {f'{lost} is gone from the source' if lost else 'its receipts are damaged'}",
            rule="damaged files are made again from the images that they held",
            hint=f"put that file back, or restore {folder} from a copy",
        )
    rows = np.array([row_of[key] for key in held], np.int64)
    labels = source.labels(part.split)
    classes = tuple(made_from["classes"])
    numbered = None if labels is None or part.labels is None else _numbered(source.classes, classes, labels[rows])
    return made_from, SplitPart(part.split, rows, numbered, classes)


def _numbered(names: Sequence[str], classes: Sequence[str], labels: Labels) -> Labels:
    """Return labels, whose numbers stand for these names, by the numbers of these classes; −1 for any other."""
    number = {name: place for place, name in enumerate(classes)}
    table = np.array([*(number.get(name, -1) for name in names), -1])
    return np.asarray(table[labels], np.int64)
