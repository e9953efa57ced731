"""Labels into a project: what is new is written, all of it or nothing; conflicts are reported and left as they are.

A label of an open image is its answer; one of an image that was never asked is written as imported. Importing the same
file again writes nothing. A report beside the file gives the outcome of every row.
"""

from __future__ import annotations

import csv
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from asal.core import Images, Labels, Model
from asal.errors import BusyError, UserError, unknown
from asal.labelling.exchange.filenames import folders
from asal.labelling.exchange.matching import SEVERAL, UNKNOWN, matched
from asal.labelling.exchange.numbers import MEANINGS, Numbers, with_meaning
from asal.labelling.exchange.readers import Columns, form_of, read_rows
from asal.labelling.exchange.records import CANT_TELL, count
from asal.labelling.exchange.rows import LabelRow
from asal.labelling.exchange.writers import table_bytes
from asal.project.folder import ProjectFolder
from asal.runtime import artifacts
from asal.runtime.retry import retry
from asal.session.classes import ClassList
from asal.session.events import Event, Record
from asal.session.plan import Plan, draw
from asal.session.session import Session
from asal.session.state import State, fold

TRIES = 20  # attempts while other processes write
USUAL = Columns()
REPORT = ("line", "id", "key", "label", "outcome", "detail")
ENDING = ".import.csv"  # of a report, after the file's name

# Outcomes that write an event.
NEW, ANSWERED, SKIPPED, CORRECTED = "new", "answers an open image", "can't tell an open image", "corrected"
WRITES: Mapping[str, str] = {NEW: "imported", ANSWERED: "answered", SKIPPED: "skipped", CORRECTED: "corrected"}
# Outcomes that write nothing.
SAME, AGAIN, UNLABELLED = "same as before", "same as an earlier row", "no label in the file"
AGAINST, WITHIN = "conflicts with the record", "conflicts within the file"
NO_IMAGE, NO_ONE_IMAGE, NO_CLASS = "unknown image", "fits several images", "unknown class"
UNREADABLE, NOT_ASKED = "unreadable", "can't tell, and was never asked"
FINE = (*WRITES, SAME, AGAIN, UNLABELLED)


@dataclass(frozen=True)
class ImportOptions:
    """How a file is imported."""

    form: str = ""  # csv, jsonl, parquet, folders or datasets; by the file's name if empty
    columns: Columns = USUAL
    by: str | None = None  # who labelled; if None, each row's `by`
    replace: bool = False  # labels that conflict with the record correct it
    numbers: Numbers = ""  # whether labels that are numbers are names or positions; refused where both may be


@dataclass(frozen=True)
class Imported:
    """What was imported, in rows."""

    outcomes: Mapping[str, int]
    written: int  # events
    report: Path
    assumed: Sequence[str] = ()  # how the file was read, in sentences

    @property
    def lines(self) -> list[str]:
        """The same as sentences."""
        counts = ", ".join(f"{outcome}: {rows:,}" for outcome, rows in self.outcomes.items()) or "no rows"
        wrong = sum(rows for outcome, rows in self.outcomes.items() if outcome not in FINE)
        taken = f"{count(wrong, 'row was', 'rows were')} not taken" if wrong else "every row was taken"
        summary = [f"{count(self.written, 'label')} written. {counts}.", f"{taken}; row by row: {self.report}"]
        return [*(f"Assumed: {sentence}." for sentence in self.assumed), *summary]


@dataclass(frozen=True, slots=True)
class _Row:
    """A row, the image that it means, its class, and its outcome."""

    source: LabelRow
    image: int
    label: int | None = None
    outcome: str = ""
    detail: str = ""


def import_labels(project: ProjectFolder, path: Path, options: ImportOptions) -> Imported:
    """Write the labels of a file, a tree of class folders or a data set's folder into a project's record.

    Raises:
        UserError: it cannot be read, or has no column of labels, or none of ids or keys, or its labels are numbers
            that may be names or positions.
        BusyError: others wrote all the time; nothing was written.
    """
    form, place = form_of(path) if not options.form else (options.form, path)
    report = _report_of(path)
    if options.numbers not in ("", *MEANINGS):
        raise unknown("meaning of numbers", options.numbers, MEANINGS)
    reading = read_rows(place, form, options.columns)
    with Record.open(project.spec.labelling.place(project.root)) as record:
        session = _session(project, record)
        rows, meaning = with_meaning(reading.rows, list(session.classes.values()), options.numbers)
        images = matched(project.pool, session.state.synthetic, rows)
        assumed = [*reading.assumed, *([meaning] if meaning else [])]

        def attempt() -> Imported:
            state = session.refresh()
            known = _matched_rows(rows, images, session.class_list, form)
            results = list(_with_outcomes(known, state, session.class_list, options.replace))
            events = list(_events(results, session.state, path.name, options.by))
            fold(session.state, [*session.opening(), *events])  # refuses events that contradict the record
            _write_report(report, results)
            written = record.append([*session.opening(), *events], after=session.state.seq) if events else []
            outcomes = Counter(row.outcome for row in results)
            return Imported(outcomes, sum(event.kind != "opened" for event in written), report, assumed)

        try:
            return retry(attempt, tries=TRIES, on=BusyError)
        except BusyError:
            raise BusyError(
                f"other processes wrote to the record during each of {TRIES} attempts, and nothing was imported",
                hint="run the same command again",
            ) from None


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


def _matched_rows(rows: Sequence[LabelRow], images: Sequence[int], classes: ClassList, form: str) -> list[_Row]:
    """Return rows with the numbers of their images and classes, or with what is wrong with them."""
    numbers = dict(classes.numbers)
    if form == "folders":  # some class names cannot be folder names
        numbers = {name: numbers[label] for label, name in folders(list(classes.numbers)).items()} | numbers
    return [_matched_row(row, image, numbers, classes) for row, image in zip(rows, images, strict=True)]


def _matched_row(row: LabelRow, image: int, numbers: Mapping[str, int], classes: ClassList) -> _Row:
    if row.wrong:
        return _Row(row, UNKNOWN, None, UNREADABLE, row.wrong)
    if row.unlabelled:
        return _Row(row, image if image >= 0 else UNKNOWN, None, UNLABELLED)
    if image == UNKNOWN:
        return _Row(row, UNKNOWN, None, NO_IMAGE, "no image of this project has this key or id")
    if image == SEVERAL:
        return _Row(row, UNKNOWN, None, NO_ONE_IMAGE, "give more of its path, or its id")
    if row.label is None:
        return _Row(row, image)
    if row.label in numbers:
        return _Row(row, image, numbers[row.label])
    former = classes.known(row.label)  # the file is older than a change of the classes
    if len(former) != 1:
        why = "the name of several classes before; " if former else ""
        return _Row(row, image, None, NO_CLASS, f"{why}the classes are {', '.join(classes.numbers)}")
    return _Row(row, image, number := former.pop(), detail=f"{row.label} is {classes.names[number]} by now")


def _with_outcomes(rows: Sequence[_Row], state: State, classes: ClassList, replaces: bool) -> Iterator[_Row]:
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
            yield replace(row, outcome=outcome, detail="; ".join(filter(None, (row.detail, detail))))


def _outcome(row: _Row, state: State, classes: ClassList, replaces: bool) -> tuple[str, str]:
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


def _names(labels: set[int | None], classes: ClassList) -> str:
    return " and ".join(sorted(map(classes.name, labels)))


def _events(rows: Sequence[_Row], state: State, file: str, by: str | None) -> Iterator[Event]:
    for row in rows:
        if kind := WRITES.get(row.outcome):
            asked = state.waiting[row.image].round if row.image in state.waiting else state.number
            yield Event(kind, asked, row.image, row.label, by or row.source.by, {"file": file})


def _report_of(path: Path) -> Path:
    """Return where the report goes: beside the file, never over anything but an earlier report."""
    report = path.absolute().with_name(path.absolute().name + ENDING)
    if report.exists():
        with report.open(encoding="utf-8", errors="replace", newline="") as file:
            if next(csv.reader(file), None) != list(REPORT):
                raise UserError(f"{report} is not the report of an import, which would go there", hint="move it away")
    return report


def _write_report(path: Path, rows: Sequence[_Row]) -> None:
    with artifacts.explain_disk_errors(path):
        artifacts.write(path, table_bytes(REPORT, [_line(row) for row in rows]))


def _line(row: _Row) -> dict[str, Any]:
    is_known = row.source.label is not None or row.source.wrong or row.source.unlabelled
    label = row.source.label if is_known else CANT_TELL
    image = row.source.image if row.image == UNKNOWN else row.image
    return {
        "line": row.source.line,
        "id": image,
        "key": row.source.key,
        "label": label,
        "outcome": row.outcome,
        "detail": "; ".join(filter(None, (row.detail, row.source.note))),
    }
