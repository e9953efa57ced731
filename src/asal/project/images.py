"""The images of a project: its source, with paths that are relative to the project's folder."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from asal.data.image_options import PARTS, check_added, conversion, ranges_of
from asal.data.ingest import IngestContext, ingest
from asal.data.ingest_shard import ImageFormat
from asal.data.originals import KeepsOriginals, keyed, originals_of
from asal.data.originals_pool import OriginalImages
from asal.data.places import absolute_place, relative_place
from asal.data.pool import facts_of, made_from
from asal.data.source_changes import Keyed, accept_place, known_keys
from asal.data.sources import Source, check_outside, sources
from asal.data.splits import Split
from asal.errors import UserError
from asal.project.folder import ProjectFolder
from asal.project.spec import FILE, PartTable, PoolTable, Spec, load
from asal.runtime import artifacts


def held_out_keys(project: ProjectFolder) -> Iterator[str]:
    """Yield the keys of images that are not for the pool: those of its held-out sets, and of a folder's other splits.

    Cost: a listing of the folder, if it is on this machine.
    """
    for part in PARTS[1:]:
        if artifacts.is_complete(project.root / part):
            yield from known_keys(project.root / part)
    table = project.spec.source
    if table.kind != "folder" or "://" in folder_of(project.root, table):
        return
    with suppress(UserError, OSError):  # a folder may have gone: what was taken in stands without it
        source = source_of(project.root, table)
        if isinstance(source, Keyed):
            for split in source.splits:
                if split != "train":
                    yield from source.keys(split)


def take_in(root: Path, spec: Spec, context: IngestContext) -> None:
    """Take the images of a project in, once. The caller has locked the project and checked its spec."""
    table = spec.pool
    split = Split(**table.split.model_dump())
    ingest(source_of(root, spec.source), root, split, keep=table.keep, context=context, **table.images)


def source_of(root: Path, table: PartTable) -> Source:
    """Return a project's source. A relative path in its asal.toml is relative to the project's folder.

    Raises:
        UserError: an unknown source or option.
    """
    options = _placed(table.options, root) if (root / FILE).exists() else table.options
    source: Source = sources[table.kind].bind(options)
    return source


def keeps_originals(root: Path, spec: Spec, pool: object) -> bool:
    """Whether the images of a project's pool can be read again, by their keys, from where they came."""
    return keyed(pool) is not None and isinstance(source_of(root, spec.source), KeepsOriginals)


def originals_in(root: Path, spec: Spec, pool: object, part: str = "pool", first: int = 0) -> OriginalImages | None:
    """Return the originals of a part of a project, and how they become squares: as the pool's pictures did.

    Args:
        pool: the project's.
        part: "pool", "validation" or "test".
        first: the id of the first image: of an addition, how many images there were before it.

    Returns:
        None where the source's images cannot be read again by their keys, or are not the pool's.
    """
    if keyed(pool) is None:
        return None
    originals = originals_of(source_of(root, spec.source), root, part)
    if originals is None:
        return None
    options = artifacts.manifest(root / "pool")["options"]
    return OriginalImages(originals, conversion(options, ranges_of(root), spec.pool.pixel_limit), first)


def format_of(root: Path, table: PoolTable) -> ImageFormat:
    """Return how the images of a project's pool were made, so that others are made alike.

    Raises:
        UserError: there is no pool, or the spec asks for other images than those in it.
    """
    options = made_from(root / "pool")["options"]
    height, width, channels = facts_of(root / "pool")["shape"]
    check_added(root, table.images)
    how = conversion(options, ranges_of(root), table.pixel_limit)
    return ImageFormat(table.size, table.gray, (height, width, channels), how)


def folder_of(root: Path, table: PartTable) -> str:
    """Return the path that a project's source has, "" where it has none."""
    path = str(table.options.get("path", ""))
    return absolute_place(path, root) if (root / FILE).exists() and path else path


def _placed(options: Any, root: Path) -> dict[str, Any]:
    placed = {key: _placed(value, root) if isinstance(value, dict) else value for key, value in options.items()}
    if isinstance(path := placed.get("path"), str):
        placed["path"] = absolute_place(path, root)
    return placed


def move_images(root: Path, place: str) -> str:
    """Write the new place of a project's images into its asal.toml, and return the path that was written.

    The rest of the file stays as it is. The images are compared with those of the project first.

    Raises:
        UserError: there are other images at the new place, or the file has no line with a path.
    """
    spec, file = load(root), root / FILE
    table = spec.source
    base = table.options.get("base", table.options)
    if "path" not in base:
        raise UserError(
            f"the source '{table.kind}' of {file} has no `path`",
            rule="images can be moved where they lie at a path",
            hint="edit [source] in that file",
        )
    path = place if "://" in place else str(Path(place).absolute())
    if "://" not in path:
        if not Path(path).exists():
            raise UserError(f"there is nothing at {path}", hint="give the folder or file that the images are in now")
        check_outside(root, Path(path))
    moved = {**table.options, "base": {**base, "path": path}} if "base" in table.options else {**base, "path": path}
    written = relative_place(path, root)
    text = _edited(file, written)
    with artifacts.exclusive(root):
        accept_place(sources[table.kind].bind(moved), root)
        artifacts.write(file, text.encode())
    return written


def _edited(file: Path, path: str) -> str:
    """Return the text of a spec with another path of its source, and everything else as it was."""
    import json
    import tomllib

    text = file.read_text(encoding="utf-8-sig")
    before = tomllib.loads(text)
    wanted = tomllib.loads(text)
    table = wanted["source"].get("base", wanted["source"])
    table["path"] = path
    value = json.dumps(path, ensure_ascii=False)
    for match in re.finditer(r"""(path["']?\s*=\s*)("(?:[^"\\\n]|\\.)*"|'[^'\n]*')""", text):
        changed = f"{text[: match.start(2)]}{value}{text[match.end(2) :]}"
        try:
            if tomllib.loads(changed) == wanted:
                return changed
        except tomllib.TOMLDecodeError:
            continue
    if before == wanted:
        return text
    raise UserError(f"no line of {file} was recognised as the path of the source", hint=f"write path = {value} there")
