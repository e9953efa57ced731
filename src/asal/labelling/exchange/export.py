"""Labels out of a project: whole or not at all, and over nothing that asal did not write.

OUT/part.json       what was exported, and the sha256 of every file
    conflicts.csv   where people disagree, where an opinion is against the label, what still waits
    labels.csv      or labels.jsonl, labels.parquet, a folder for each class, or what `datasets` saves
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from asal.data.sources import not_there
from asal.errors import UserError, unknown
from asal.labelling.exchange.records import CANT_TELL, Conflict, LabelRecords, keys_of, read, rows, told
from asal.labelling.exchange.writers import CONFLICTS, FORMS, Outgoing, sheet
from asal.project.folder import ProjectFolder
from asal.runtime import artifacts
from asal.session.events import Record
from asal.session.synthetic_pool import PoolWithSynthetic

OF_CONFLICT = ("id", "key", "label", "conflict", "opinions")


@dataclass(frozen=True)
class Exported:
    """What an export came to, in images."""

    folder: Path
    labelled: int
    cant_tell: int
    conflicts: Mapping[str, int]  # what it is → images
    gone: int  # whose own files were wanted and are not there: the pool's pixels were written

    @property
    def lines(self) -> list[str]:
        """The same, in words."""
        found = [f"{self.labelled:,} labels, {self.cant_tell:,} that nobody could tell: {self.folder}"]
        if self.gone:
            found.append(f"{self.gone:,} files are not in the source any more: the pool's pixels stand in their place")
        if self.conflicts:
            counted = ", ".join(f"{what}: {images:,}" for what, images in self.conflicts.items())
            found.append(f"Not settled here, and listed in {self.folder / CONFLICTS}: {counted}")
        return found


def export(project: ProjectFolder, out: Path, form: str = "csv", *, originals: bool = False) -> Exported:
    """Write the labels of a project into a folder, with the conflicts beside them.

    Args:
        form: csv, jsonl, folders, datasets, parquet or torch.
        originals: of class folders: copy the source's own files, where the source is a folder, not the pool's pixels.

    Raises:
        UserError: nothing is recorded yet, or the folder holds what an export did not write, or wrote otherwise.
        DamageError: the record is not whole.
    """
    if form not in FORMS:
        raise unknown("form of labels", form, FORMS)
    root = _source_folder(project, form) if originals else None
    ledger = ledger_of(project)
    outgoing = _outgoing(project, ledger, root)
    _clear(out, project)
    conflicts = ledger.conflicts()
    facts = {"export": form, "originals": originals, "pool": project.pool.fingerprint, "events": ledger.state.seq}
    with artifacts.explain_disk_errors(out), artifacts.building(out, facts) as partial:
        gone = FORMS[form](outgoing, partial) or []
        sheet(partial / CONFLICTS, OF_CONFLICT, _listed(project, ledger, conflicts))
    skipped = sum(row["status"] == CANT_TELL for row in outgoing.rows)
    counts = Counter(conflict.what for conflict in conflicts)
    return Exported(out, len(outgoing.rows) - skipped, skipped, counts, len(gone))


def ledger_of(project: ProjectFolder) -> LabelRecords:
    """Return what a project's record comes to.

    Raises:
        UserError: there is none, it is empty, or it belongs to another pool.
    """
    place = project.spec.labelling.place(project.root)
    if isinstance(place, Path) and not place.is_file():
        raise _nothing(str(place))
    with Record.open(place) as record:
        ledger, name = read(record.read()), record.name
    if ledger.state.opened is None:
        raise _nothing(name)
    if (pool := ledger.state.opened["pool"]) != project.pool.fingerprint:
        raise UserError(
            f"{name} was begun with the pool {pool}, and the project has {project.pool.fingerprint}",
            rule="labels belong to the images that they were given to",
            hint="put the record into the project that it came from",
        )
    return ledger


def _nothing(name: str) -> UserError:
    return UserError(
        f"nothing is recorded in {name}", rule="labels are exported when there are some", hint="label some images"
    )


def _source_folder(project: ProjectFolder, form: str) -> Path:
    source = project.spec.source
    if form != "folders" or source.kind != "folder" or "://" in str(source.options.get("path", "")):
        raise UserError(
            f"the form '{form}' and a source of kind '{source.kind}'",
            rule="the source's own files are copied into class folders, from a source that is a folder",
            hint="drop --originals: the pool's pixels are written",
        )
    root = Path(str(source.options["path"]))
    if not root.is_dir():
        raise not_there("a folder of image files", str(root), "put it back, or drop --originals")
    return root


def _outgoing(project: ProjectFolder, ledger: LabelRecords, originals: Path | None) -> Outgoing:
    pool = PoolWithSynthetic(project.pool, ledger.state.made)
    return Outgoing(ledger.classes, rows(project.pool, ledger.entries, ledger.classes), pool.read, originals)


def _listed(project: ProjectFolder, ledger: LabelRecords, conflicts: Sequence[Conflict]) -> list[dict[str, Any]]:
    keys, classes = keys_of(project.pool, [conflict.image for conflict in conflicts]), ledger.classes
    return [
        {
            "id": it.image,
            "key": key,
            "label": None if it.label is None else classes[it.label],
            "conflict": it.what,
            "opinions": told(it.opinions, classes),
        }
        for it, key in zip(conflicts, keys, strict=True)
    ]


def _clear(out: Path, project: ProjectFolder) -> None:
    """Make room for an export, and refuse to write over what one did not write."""
    if out.resolve() == project.root.resolve() or project.root.resolve().is_relative_to(out.resolve()):
        raise _in_the_way(out, "it is the project, or holds it")
    images = str(project.spec.source.options.get("path", ""))
    if images and "://" not in images and out.resolve().is_relative_to(Path(images).resolve()):
        raise _in_the_way(out, "it lies among the project's own images")
    if not out.exists():
        out.parent.mkdir(parents=True, exist_ok=True)
        return
    if out.is_dir() and not any(out.iterdir()):
        out.rmdir()
        return
    if not out.is_dir() or not artifacts.is_complete(out) or "export" not in (wrote := artifacts.manifest(out)):
        raise _in_the_way(out, "no export wrote it")
    artifacts.tidy(out)
    there = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    if more := sorted(there - {*wrote["files"], artifacts.MANIFEST}):
        raise _in_the_way(out, f"{more[0]} is not of an export")
    if changed := [path for path, _ in artifacts.faults(out) if path.exists()]:
        raise _in_the_way(out, f"{changed[0].name} was changed since it was exported")


def _in_the_way(out: Path, what: str) -> UserError:
    return UserError(
        f"{out}: {what}", rule="an export writes over nothing but an earlier one", hint="choose another folder"
    )
