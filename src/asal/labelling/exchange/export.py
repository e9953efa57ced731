"""Labels out of a project: complete or not at all, and never over files that asal did not write.

OUT/part.json       what was exported, and the sha256 of every file
    conflicts.csv   where people disagree, where a vote differs from the label
    labels.csv      or labels.jsonl, labels.parquet, a folder for each class, or what another tool opens
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from asal.data.duplicates import copies_of
from asal.data.sources import not_there
from asal.errors import UserError, unknown
from asal.labelling.exchange.copies import conflicts_of_copies, with_copies
from asal.labelling.exchange.import_report import ENDING, is_report
from asal.labelling.exchange.records import CANT_TELL, Conflict, LabelRecords, count, keys_of, read, rows, votes_json
from asal.labelling.exchange.writers import (
    CONFLICTS,
    FORMS,
    WITH_CANT_TELL,
    WITH_IMAGES,
    ExportData,
    write_table,
)
from asal.project.folder import ProjectFolder
from asal.project.images import folder_of
from asal.runtime import artifacts
from asal.session.events import Record
from asal.session.record_file import is_there
from asal.session.synthetic_pool import PoolWithSynthetic

OF_CONFLICT = ("id", "key", "label", "conflict", "opinions")


@dataclass(frozen=True)
class Exported:
    """What was exported, in images."""

    folder: Path
    labelled: int
    cant_tell: int
    conflicts: Mapping[str, int]  # kind → images
    missing: int  # whose original files are not there: the pool's pixels were written
    left_out: int = 0  # of those with "can't tell", because the form has no place for them
    synthetic: int = 0  # among the labelled ones
    copies: int = 0  # of the labelled: exact copies of images that were answered
    waiting: int = 0  # chosen, and not answered yet

    @property
    def lines(self) -> list[str]:
        """The same as sentences."""
        lines = [f'{count(self.labelled, "label")}, {self.cant_tell:,} answered with "can\'t tell": {self.folder}']
        if self.waiting:
            lines.append(f"{count(self.waiting, 'image is', 'images are')} chosen and not answered yet")
        if self.left_out:
            images = count(self.left_out, "image")
            lines.append(f'left out: {images} with "can\'t tell", for which this form has no place')
        if self.synthetic:
            lines.append(f"{count(self.synthetic, 'image is', 'images are')} synthetic, and in no source")
        if self.copies:
            are = "is an exact copy of an image" if self.copies == 1 else "are exact copies of images"
            lines.append(f"{self.copies:,} of them {are} that was answered, and have its label: column copy_of")
        if self.missing:
            files = count(self.missing, "file is", "files are")
            lines.append(f"{files} no longer in the source: the pool's pixels were written instead")
        if self.conflicts:
            counts = ", ".join(f"{kind}: {images:,}" for kind, images in self.conflicts.items())
            lines.append(f"Conflicts are not resolved, and listed in {self.folder / CONFLICTS}: {counts}")
        return lines


def export(project: ProjectFolder, out: Path, form: str = "csv", *, originals: bool = False) -> Exported:
    """Write the labels of a project into a folder, with the conflicts beside them.

    Args:
        form: one of `FORMS`; `asal.labelling.exchange.model_folder` writes the classifier in place of the labels.
        originals: for forms with images: take the original files, if the source is a folder, and not the pool's pixels.

    Raises:
        UserError: there are no labels yet, or the folder holds files that no export wrote, or that were changed since.
        DamageError: the record is damaged.
    """
    if form not in FORMS:
        raise unknown("form of labels", form, FORMS)
    root = _source_folder(project, form) if originals else None
    records = records_of(project)
    data = _export_data(project, records, root)
    clear_for_export(out, project)
    conflicts = [*records.conflicts(), *conflicts_of_copies(records.entries, copies_of(project.root))]
    facts = {"export": form, "originals": originals, "pool": project.pool.fingerprint, "events": records.state.seq}
    facts["record"] = records.name
    with artifacts.explain_disk_errors(out), artifacts.building(out, facts) as partial:
        missing = FORMS[form](data, partial) or []
        write_table(partial / CONFLICTS, OF_CONFLICT, _conflict_rows(project, records, conflicts))
    skipped = sum(row["status"] == CANT_TELL for row in data.rows)
    counts = Counter(conflict.kind for conflict in conflicts)
    left_out = 0 if form in WITH_CANT_TELL else skipped
    synthetic = sum(bool(row["made"]) for row in data.labelled)
    copies = sum(row["copy_of"] is not None for row in data.rows)
    waiting = len(records.state.waiting)
    return Exported(out, len(data.rows) - skipped, skipped, counts, len(missing), left_out, synthetic, copies, waiting)


def records_of(project: ProjectFolder) -> LabelRecords:
    """Return the labels in a project's record.

    Raises:
        UserError: there is no record, it is empty, or it belongs to another pool.
    """
    place = project.spec.labelling.place(project.root)
    if isinstance(place, Path) and not is_there(place):
        raise _nothing(str(place))
    with Record.open(place, readonly=True) as record:
        records, name = read(record.read()), record.name
    if records.state.opened is None:
        raise _nothing(name)
    if (pool := records.state.opened["pool"]) != project.pool.fingerprint:
        raise UserError(
            f"the labels in {name} are of the pool {pool}, and the project has {project.pool.fingerprint}",
            hint="put the record into the project that it belongs to",
        )
    return records


def _nothing(name: str) -> UserError:
    return UserError(f"there are no labels in {name}", hint="label some images first: asal label")


def _source_folder(project: ProjectFolder, form: str) -> Path:
    source = project.spec.source
    if form not in WITH_IMAGES or source.kind != "folder" or "://" in str(source.options.get("path", "")):
        raise UserError(
            f"--originals does not work with the form '{form}' and a source of kind '{source.kind}'",
            rule=f"original files are taken with {', '.join(WITH_IMAGES)}, from a source that is a folder",
            hint="leave --originals out: then the pool's pixels are written",
        )
    root = Path(folder_of(project.root, source))
    if not root.is_dir():
        raise not_there("folder", str(root), "put it back, or leave --originals out")
    return root


def _export_data(project: ProjectFolder, records: LabelRecords, originals: Path | None) -> ExportData:
    pool = PoolWithSynthetic(project.pool, records.state.synthetic)
    entries = with_copies(records.entries, project.copies, records.state.waiting)
    table = rows(project.pool, entries, records.classes)
    return ExportData(records.classes, table, pool.read, originals, project.pool.fingerprint)


def _conflict_rows(
    project: ProjectFolder, records: LabelRecords, conflicts: Sequence[Conflict]
) -> list[dict[str, Any]]:
    keys, classes = keys_of(project.pool, [conflict.image for conflict in conflicts]), records.classes
    return [
        {
            "id": conflict.image,
            "key": key,
            "label": None if conflict.label is None else classes[conflict.label],
            "conflict": conflict.kind,
            "opinions": votes_json(conflict.votes, classes),
        }
        for conflict, key in zip(conflicts, keys, strict=True)
    ]


def clear_for_export(out: Path, project: ProjectFolder) -> None:
    """Make room for an export, and refuse to overwrite what no export wrote.

    Raises:
        UserError: the folder is the project's or its images', or holds other files, or changed ones.
    """
    if out.resolve() == project.root.resolve() or project.root.resolve().is_relative_to(out.resolve()):
        raise _occupied(out, "it is the project folder, or contains it")
    images = folder_of(project.root, project.spec.source)
    if images and "://" not in images and out.resolve().is_relative_to(Path(images).resolve()):
        raise _occupied(out, "it lies among the source images of the project")
    if not out.exists():
        out.parent.mkdir(parents=True, exist_ok=True)
        return
    if out.is_dir() and not any(out.iterdir()):
        out.rmdir()
        return
    if not out.is_dir() or not artifacts.is_complete(out) or "export" not in (wrote := artifacts.manifest(out)):
        raise _occupied(out, "it is not an earlier export")
    artifacts.tidy(out)
    files = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    more = sorted(name for name in files - {*wrote["files"], artifacts.MANIFEST} if not _is_left_over(out / name))
    if more:
        raise _occupied(out, f"no export wrote {more[0]}")
    if changed := [path for path, _ in artifacts.faults(out) if path.exists()]:
        raise _occupied(out, f"{changed[0].name} was changed after the export")


def _is_left_over(path: Path) -> bool:
    """Whether an import of an earlier version left its report in the folder, or Python what it compiled."""
    return path.parent.name == "__pycache__" or (path.name.endswith(ENDING) and is_report(path))


def _occupied(out: Path, why: str) -> UserError:
    return UserError(
        f"{out} cannot be replaced: {why}", rule="an export replaces only an earlier one", hint="choose another folder"
    )
