"""Labels into a project: what is new is written, all of it or nothing; conflicts are reported and left as they are.

A label of an open image is its answer; one of an image that was never asked is written as imported. Importing the same
file again writes nothing. A report beside the file gives the outcome of every row.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from asal.core import Images, Labels, Model
from asal.data.moves import aliases
from asal.errors import BusyError, UserError, unknown
from asal.labelling.exchange.choosing import Match
from asal.labelling.exchange.class_text import class_of
from asal.labelling.exchange.columns import Columns
from asal.labelling.exchange.copies import LabelsOfGroups
from asal.labelling.exchange.filenames import folders
from asal.labelling.exchange.import_report import (
    AGAIN,
    AGAINST,
    ANSWERED,
    CORRECTED,
    FINE,
    NEW,
    NO_CLASS,
    NO_MATCH,
    NOT_ASKED,
    SAME,
    SKIPPED,
    UNLABELLED,
    UNREADABLE,
    WITHIN,
    WRITES,
    Imported,
    ImportedRow,
    imported,
    nothing_taken,
    report_of,
    write_report,
)
from asal.labelling.exchange.matching import PoolImages, match_rows
from asal.labelling.exchange.numbers import MEANINGS, Numbers, with_meaning
from asal.labelling.exchange.provenance import Provenance, provenance
from asal.labelling.exchange.readers import form_of, read_rows
from asal.labelling.exchange.records import record_name
from asal.labelling.exchange.rows import LabelRow
from asal.project.folder import ProjectFolder
from asal.project.images import held_out_keys
from asal.runtime.retry import retry
from asal.session.classes import ClassList
from asal.session.events import Event, Record
from asal.session.plan import Plan, draw
from asal.session.session import Session
from asal.session.state import State, fold

TRIES = 20  # attempts while other processes write
USUAL = Columns()


@dataclass(frozen=True)
class ImportOptions:
    """How a file is imported."""

    form: str = ""  # one of `readers.FORMS_IN`; by the file's name and contents if empty
    columns: Columns = USUAL
    by: str | None = None  # who labelled; if None, each row's `by`
    replace: bool = False  # labels that conflict with the record correct it
    numbers: Numbers = ""  # whether labels that are numbers are names or positions; refused where both may be
    own_ids: bool = False  # ids alone are this pool's
    by_names: bool = False  # file names alone identify images


def import_labels(project: ProjectFolder, path: Path, options: ImportOptions) -> Imported:
    """Write the labels of a file, a tree of class folders or a data set's folder into a project's record.

    Raises:
        UserError: it cannot be read, or has no column of labels, or none of ids or keys, or its labels are numbers
            that may be names or positions.
        BusyError: others wrote all the time; nothing was written.
    """
    form, place = form_of(path) if not options.form else (options.form, path)
    report = report_of(path, place)
    if options.numbers not in ("", *MEANINGS):
        raise unknown("meaning of numbers", options.numbers, MEANINGS)
    assumed: dict[str, None] = {}
    found = read_rows(place, form, options.columns, assumed.setdefault)
    _ = project.pool  # refuses a project without images before a record is begun
    with Record.open(project.spec.labelling.place(project.root)) as record:
        session = _session(project, record)
        _check_positions(session, options)
        names = list(session.classes.values())
        rows, meaning = with_meaning(_trimmed(found, names), names, options.numbers)
        origin = provenance(place)
        images = _images(project, session, origin, options, record_name(record.read()))
        matches = match_rows(images, [_of_pool(row, origin) for row in rows], options.own_ids)
        if meaning:
            assumed[meaning] = None

        def attempt() -> Imported:
            state = session.refresh()
            known = _matched_rows(rows, matches, session.class_list, form)
            groups = LabelsOfGroups(project.copies, dict(state.answers))
            results = list(_with_outcomes(known, state, session.class_list, groups, replaces=options.replace))
            events = list(_events(results, session.state, path.name, options.by))
            fold(session.state, [*session.opening(), *events])  # refuses events that contradict the record
            write_report(report, results)
            if not any(row.outcome in FINE for row in results):
                raise nothing_taken(results, report, project.pool, names)
            written = record.append([*session.opening(), *events], after=session.state.seq) if events else []
            return imported(results, sum(event.kind != "opened" for event in written), report, tuple(assumed))

        try:
            return retry(attempt, tries=TRIES, on=BusyError)
        except BusyError:
            raise BusyError(
                f"other processes wrote to the record during each of {TRIES} attempts, and nothing was imported",
                hint="run the same command again",
            ) from None


def _images(
    project: ProjectFolder, session: Session, origin: Provenance, options: ImportOptions, record: str
) -> PoolImages:
    """Return the images that rows may mean; synthetic ones only if the file or the options say whose they are."""
    source = project.spec.source
    path = str(source.options.get("path", "")) if source.kind == "folder" else ""
    own = options.own_ids or (origin.record == record != "")
    synthetic = session.state.synthetic if own else {}
    folder = Path(path) if path and "://" not in path else None
    held_out = partial(held_out_keys, project)
    return PoolImages(project.pool, synthetic, folder, aliases(project.root), options.by_names, held_out)


def _of_pool(row: LabelRow, origin: Provenance) -> LabelRow:
    return replace(row, pool=origin.pool) if origin.pool and not row.pool else row


def _check_positions(session: Session, options: ImportOptions) -> None:
    """Refuse positions after a class was merged or dropped: they would be counted without it."""
    if options.numbers == "positions" and session.class_list.hidden:
        raise UserError(
            "classes of this project were merged or dropped, so that positions may be those of before or of now",
            rule="a position counts the classes of one list",
            hint="write the names of the classes into the file",
        )


class _NoLearner:
    """Stands in for a learner in a session that asks nothing, so that importing labels loads no network."""

    def fit(self, images: Images, labels: Labels, classes: int, rng: np.random.Generator) -> Model:
        """Refuse: nothing is trained here."""
        raise RuntimeError("a session that imports labels asks nothing, so it trains nothing")


def _session(project: ProjectFolder, record: Record) -> Session:
    """Return a session that asks nothing, with the record's seed; classes that asal.toml has got since are added."""
    state = fold(State(), record.read())
    opened = state.opened or {}
    classes = tuple(project.spec.labelling.classes or state.classes.numbers or project.classes)
    plan = Plan(classes, _NoLearner(), draw, seed=int(opened.get("seed", 0)))
    return Session(project.pool, record, plan, project=str(project.root))


def _matched_rows(
    rows: Sequence[LabelRow], matches: Sequence[Match], classes: ClassList, form: str
) -> list[ImportedRow]:
    """Return rows with the numbers of their images and classes, or with what is wrong with them."""
    numbers = dict(classes.numbers)
    if form in ("folders", "yolo"):  # some class names cannot be folder names
        numbers = {name: numbers[label] for label, name in folders(list(classes.numbers)).items()} | numbers
    return [_matched_row(row, match, numbers, classes) for row, match in zip(rows, matches, strict=True)]


def _matched_row(row: LabelRow, match: Match, numbers: Mapping[str, int], classes: ClassList) -> ImportedRow:
    if row.wrong:
        return ImportedRow(row, match, outcome=UNREADABLE, detail=row.wrong)
    if row.unlabelled:
        return ImportedRow(row, match, outcome=UNLABELLED)
    if match.image < 0:
        outcome, detail = NO_MATCH[match.image]
        return ImportedRow(row, match, outcome=outcome, detail=match.why or detail)
    label, note = (None, "") if row.label is None else class_of(row.label, numbers, classes)
    if row.label is not None and label is None:
        return ImportedRow(row, match, outcome=NO_CLASS, detail=note)
    return ImportedRow(row, match, label, note=note)


def _trimmed(rows: Sequence[LabelRow], classes: Sequence[str]) -> Sequence[LabelRow]:
    """Return the rows with blanks removed around labels that are numbers, so that they are judged as numbers."""
    return [
        replace(row, label=row.label.strip()) if row.label and row.label not in classes and _is_number(row) else row
        for row in rows
    ]


def _is_number(row: LabelRow) -> bool:
    return row.label is not None and row.label.strip().isdigit()


def _with_outcomes(
    rows: Sequence[ImportedRow], state: State, classes: ClassList, groups: LabelsOfGroups, *, replaces: bool
) -> Iterator[ImportedRow]:
    """Yield the rows with their outcomes: of an image's rows the first one counts, if all agree."""
    labels: defaultdict[int, set[int | None]] = defaultdict(set)
    for row in rows:
        if not row.outcome:
            labels[row.image].add(row.label)
    seen: set[int] = set()
    for row in rows:
        if row.outcome:
            yield row
        elif len(labels[row.image]) > 1:
            others = labels[row.image] - {row.label}
            yield replace(row, outcome=WITHIN, detail=f"another row says {_names(others, classes)}")
        elif row.image in seen:
            yield replace(row, outcome=AGAIN)
        else:
            seen.add(row.image)
            outcome, detail = _outcome(row, state, classes, replaces)
            if outcome == NEW and (copy := groups.of(row.image)) is not None:
                outcome, detail = _outcome_of_copy(row, copy, state, classes)
            if outcome in WRITES:
                groups.add(row.image, row.label)
            yield replace(row, outcome=outcome, detail="; ".join(filter(None, (row.detail, detail))))


def _outcome(row: ImportedRow, state: State, classes: ClassList, replaces: bool) -> tuple[str, str]:
    image, label = row.image, row.label
    if image in state.waiting:
        return (SKIPPED if label is None else ANSWERED), ""
    if image not in state.answers and image not in state.skips:
        return (NOT_ASKED, "there is no label to write") if label is None else (NEW, "")
    before = state.answers.get(image)
    if before == label:
        return SAME, ""
    who = state.authors.get(image)
    detail = f"it was {_names({before}, classes)} before" + (f", by {who}" if who else "")
    return (CORRECTED if replaces else AGAINST), detail


def _outcome_of_copy(
    row: ImportedRow, copy: tuple[int, int | None], state: State, classes: ClassList
) -> tuple[str, str]:
    """Return the outcome of the first label of an image of which an exact copy has one, in the record or the file."""
    image, label = copy
    if label == row.label:
        same = f"as image {image}, of which it is an exact copy"
        return (SAME, same) if image in state.answers else (NEW, "")
    return NEW, f"image {image}, of which it is an exact copy, is {_names({label}, classes)}"


def _names(labels: set[int | None], classes: ClassList) -> str:
    return " and ".join(sorted(map(classes.name, labels)))


def _events(rows: Sequence[ImportedRow], state: State, file: str, by: str | None) -> Iterator[Event]:
    for row in rows:
        if kind := WRITES.get(row.outcome):
            asked = state.waiting[row.image].round if row.image in state.waiting else state.number
            yield Event(kind, asked, row.image, row.label, by or row.source.by, {"file": file})
