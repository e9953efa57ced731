"""What a project folder holds, and whether every file is as it was written."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from shlex import quote

from asal.data.concat_pool import ADDITIONS
from asal.data.decoding.ranges import range_lines
from asal.data.image_options import stored_ranges
from asal.data.moves import UNREADABLE, listed_unreadable, unreadable_now
from asal.data.originals_pool import sentence
from asal.data.pool import facts_of
from asal.errors import DamageError, UserError, counted, without_secrets
from asal.features.store import FACTS, VECTORS
from asal.project.folder import IMAGES, ProjectFolder
from asal.project.spec import FILE, load
from asal.runtime import artifacts
from asal.session.events import Record
from asal.session.record_file import is_there
from asal.session.state import State, fold
from asal.session.synthetic_pool import decoded

DERIVED = ("parts", "features", "indexes")
LABELS = "labels.db"  # a project's record, where its spec names no other


def folders(root: Path) -> Iterator[Path]:
    """Yield every derived folder of a project, complete or not; of a derived folder, that one alone."""
    if artifacts.is_complete(root):
        yield root
        return
    images = (root / f"{name}{end}" for name in IMAGES for end in ("", ".partial"))
    yield from (path for path in images if path.is_dir())
    for kind in (ADDITIONS, *DERIVED):
        if (root / kind).is_dir():
            yield from sorted(path for path in (root / kind).iterdir() if path.is_dir())


def summary(root: Path) -> list[tuple[str, str, str]]:
    """Return (what, state, detail) for everything there is.

    Raises:
        UserError: there is no such folder.
    """
    if not root.is_dir():
        raise UserError(f"no folder at {root}", rule="a project is a folder", hint="check the path")
    rows, left = [], abandoned(root)
    for folder in folders(root):
        name = str(folder.relative_to(root))
        if folder in left:
            rows.append(
                (name, "abandoned", f"{_megabytes(folder)}; of an earlier asal.toml: rm -r {quote(str(folder))}")
            )
            continue
        if not artifacts.is_complete(folder) or folder.suffix == ".partial":
            command = "add" if folder.parent.name == ADDITIONS else "prepare"
            rows.append((name, "unfinished", f"the next `asal {command}` goes on with it"))
            continue
        try:
            rows.append((name, "complete", _contents(folder)))
        except UserError as error:
            rows.append((name, "damaged", error.got))
    return rows + _labels(root)


def abandoned(root: Path) -> set[Path]:
    """Return the half-made folders with which no step of the present asal.toml goes on: it has changed since.

    Where that cannot be known, because the spec or the images are not there or not right, none is returned.
    """
    half = {path for path in folders(root) if path.parent.name in DERIVED and path.suffix == artifacts.UNFINISHED}
    if not half or not (root / FILE).exists() or not artifacts.is_complete(root / "pool"):
        return set()
    from asal.project.preparer import Preparer  # here: it loads torch, and most projects have no such folder
    from asal.project.project import Project

    try:
        plan = Preparer(Project.open(root)).plan()
    except UserError:
        return set()
    return half - {root / f"{step.makes}{artifacts.UNFINISHED}" for step in plan}


def _megabytes(folder: Path) -> str:
    return f"{sum(path.stat().st_size for path in folder.rglob('*') if path.is_file()) / 1e6:,.1f} MB"


def _labels(root: Path) -> list[tuple[str, str, str]]:
    """Return the row of the record, where there is one."""
    if (place := _record_place(root)) is None:
        return []
    name = place.name if isinstance(place, Path) else without_secrets(place)
    try:
        with Record.open(place, readonly=True) as record:
            state = fold(State(), record.read())
    except UserError as error:
        return [(name, "damaged" if isinstance(error, DamageError) else "not readable", error.got)]
    people = len({by for by in state.authors.values() if by})
    by = f" by {people} {'person' if people == 1 else 'people'}" if people else ""
    labels = counted(len(state.answers), "label")
    labels += _copies(root, state)
    detail = f"{labels}{by}, {len(state.skips):,} nobody could tell, {len(state.waiting):,} open"
    return [(name, "complete", detail)]


def _copies(root: Path, state: State) -> str:
    """Return how many exact copies have the label of an image that was answered."""
    if not (root / FILE).exists() or not artifacts.is_complete(root / "pool"):
        return ""
    answered = ProjectFolder.open(root).copies.answered_by(state.labelled)
    copies = sum(image not in state.answers and image not in state.skips for image in answered)
    return f" that {counted(copies, 'exact copy')} {'has' if copies == 1 else 'have'}, too" if copies else ""


def _contents(folder: Path) -> str:
    artifacts.verify(folder, contents_up_to=0)  # the sizes: `doctor` reads every byte
    files = artifacts.manifest(folder)["files"]
    megabytes = sum(entry["bytes"] for entry in files.values()) / 1e6
    return f"{counted(len(files), 'file')}, {megabytes:,.1f} MB{_quality(folder)}{_images(folder)}{_replaced(folder)}"


def _replaced(folder: Path) -> str:
    """Return how many pictures of the pool stood in for originals when features were computed."""
    if folder.parent.name != "features" or not (facts := folder / VECTORS / FACTS).exists():
        return ""
    return f"; {what}" if (what := sentence(artifacts.read_json(facts).get("replaced", {}))) else ""


def _quality(folder: Path) -> str:
    path = folder / "quality.json"
    if not path.exists():
        return ""
    quality = artifacts.read_json(path)
    if quality["frechet"] is None:
        return "; too few images for a Fréchet distance"
    return f"; Fréchet distance {quality['frechet']:.2f}, of real images {quality['frechet_real']:.2f}"


def _images(folder: Path) -> str:
    if folder.name not in IMAGES and folder.parent.name != ADDITIONS:
        return ""
    from asal.data.augmented_pool import open_pool
    from asal.data.pool import StoredPool

    pool, stored = open_pool(folder), StoredPool.open(folder)
    height, width, channels = pool.shape
    base = f", augmented from {len(stored):,}" if len(pool) > len(stored) else ""
    unread = _unreadable(folder)
    return f"; {counted(len(pool), 'image')} of {height} × {width} × {channels}{base}{unread}"


def notes(root: Path) -> list[str]:
    """Return what to know about how a project's images were read: ranges of values, and warnings about a sample."""
    lines = []
    for folder in finished(root):
        if folder.name in IMAGES or folder.parent.name == ADDITIONS:
            with suppress(DamageError):  # which `summary` shows
                facts, name = facts_of(folder), folder.relative_to(root)
                lines += [f"{name}: {line}" for line in range_lines(stored_ranges(artifacts.manifest(folder)))]
                lines += [f"{name}: warning: {line}" for line in facts.get("warnings", [])]
    return lines


def _unreadable(folder: Path) -> str:
    """Return how many of the files that a folder lists as unreadable still are, and where they are listed."""
    listed = listed_unreadable(folder)
    root = folder.parent.parent if folder.parent.name == ADDITIONS else folder.parent
    if (now := unreadable_now(root)) is None:
        return f", {len(listed):,} unreadable ({folder / UNREADABLE})" if listed else ""
    left = len(listed.keys() & now.keys())
    return f", {left:,} unreadable ({root / ADDITIONS / UNREADABLE})" if left else ""


def damage(root: Path) -> list[UserError]:
    """Check the spec, the record and every byte of every finished folder, and return what is wrong.

    Raises:
        UserError: there is no such folder.
    """
    summary(root)
    wrong: list[UserError] = []
    for folder in finished(root):
        try:
            wrong += [artifacts.damaged(path, what) for path, what in artifacts.faults(folder)]
        except UserError as error:  # its manifest cannot be read
            wrong.append(error)
    checks: list[Callable[[], object]] = []
    if (root / FILE).exists():
        checks.append(partial(load, root))
    checks.append(partial(_read_record, root))
    for check in checks:
        try:
            check()
        except UserError as error:
            wrong.append(error)
    return wrong


def finished(root: Path) -> Iterator[Path]:
    """Yield every derived folder that is finished."""
    yield from (path for path in folders(root) if artifacts.is_complete(path) and path.suffix != ".partial")


def repair(root: Path) -> list[Path]:
    """Remove the files that are not as they were written, so that `asal prepare` makes these again and no others.

    Args:
        root: a project folder, or one of its derived folders.

    Raises:
        UserError: there is no such folder, or another process is at work in the project.
    """
    summary(root)
    home = next((path for path in (root, *root.absolute().parents) if (path / FILE).exists()), root)
    with artifacts.exclusive(home):
        removed = []
        for folder in finished(root):
            with suppress(DamageError):  # a manifest that cannot be read says nothing of the other files
                removed += artifacts.repair(folder)
    return removed


def _record_place(root: Path) -> str | Path | None:
    """Return where a project's record is, or None where there is none yet."""
    if not (root / FILE).exists():
        return root / LABELS if is_there(root / LABELS) else None
    folder = ProjectFolder.open(root)
    return folder.record_place if folder.has_record else None


def _read_record(root: Path) -> None:
    if (place := _record_place(root)) is None:
        return
    with Record.open(place, readonly=True) as record:
        for synthetic in fold(State(), record.read()).synthetic.values():
            decoded(synthetic.picture)
