"""Labels into a project: what is new is written, all of it or nothing; what disagrees is told, and left as it is.

A label of an image that waits is its answer; one of an image that was never asked is written as imported. The same file
again writes nothing. Beside the file comes a report that says of every row what became of it.
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
from asal.errors import BusyError, UserError
from asal.labelling.exchange.filenames import folders
from asal.labelling.exchange.matching import SEVERAL, UNKNOWN, matched
from asal.labelling.exchange.readers import Columns, LabelRow, form_of, given
from asal.labelling.exchange.records import CANT_TELL
from asal.labelling.exchange.writers import sheet
from asal.project.folder import ProjectFolder
from asal.runtime import artifacts
from asal.session.events import Event, Record
from asal.session.plan import Plan, draw
from asal.session.session import Session
from asal.session.state import State, fold

TRIES = 20  # times that others may write while a file is weighed
USUAL = Columns()
REPORT = ("line", "id", "key", "label", "outcome", "detail")
ENDING = ".import.csv"  # of a report, behind the file's name

# Outcomes that write an event.
NEW, ANSWERED, SKIPPED, CORRECTED = "new", "answers what waits", "can't tell what waits", "corrected"
WRITES: Mapping[str, str] = {NEW: "imported", ANSWERED: "answered", SKIPPED: "skipped", CORRECTED: "corrected"}
# Outcomes that write nothing.
SAME, AGAIN = "same as before", "same as an earlier row"
AGAINST, WITHIN = "conflicts with the record", "conflicts within the file"
NO_IMAGE, NO_ONE_IMAGE, NO_CLASS = "unknown image", "fits several images", "unknown class"
UNREADABLE, NOT_ASKED = "unreadable", "can't tell, and was never asked"
FINE = (*WRITES, SAME, AGAIN)


@dataclass(frozen=True)
class ImportOptions:
    """How a file is taken."""

    form: str = ""  # csv, jsonl, parquet, folders or datasets; told by the name where it is not said
    columns: Columns = USUAL
    by: str | None = None  # who labelled; each row's own `by` where nobody is named
    replace: bool = False  # what conflicts with the record becomes a correction


@dataclass(frozen=True)
class Imported:
    """What an import came to, in rows."""

    outcomes: Mapping[str, int]
    written: int  # events
    report: Path

    @property
    def lines(self) -> list[str]:
        """The same, in words."""
        counted = ", ".join(f"{outcome}: {rows:,}" for outcome, rows in self.outcomes.items()) or "no rows"
        wrong = sum(rows for outcome, rows in self.outcomes.items() if outcome not in FINE)
        told = f"{wrong:,} rows were not taken" if wrong else "every row was taken"
        return [f"{self.written:,} labels written. {counted}.", f"{told}; row by row: {self.report}"]


@dataclass(frozen=True, slots=True)
class _Row:
    """A row, the image that it means, its class, and what becomes of it."""

    given: LabelRow
    image: int
    label: int | None = None
    outcome: str = ""
    detail: str = ""


def import_labels(project: ProjectFolder, path: Path, how: ImportOptions) -> Imported:
    """Take labels from a file, a tree of class folders or a data set's folder into a project's record.

    Raises:
        UserError: it cannot be read as a whole, or has no column of labels, or of ids and keys.
        BusyError: others wrote without a pause; nothing of this was written.
    """
    form, place = form_of(path) if not how.form else (how.form, path)
    report = _report_of(path)
    rows = given(place, form, how.columns)
    with Record.open(project.spec.labelling.place(project.root)) as record:
        session = _session(project, record)
        known = _told(rows, matched(project.pool, session.state.made, rows), session.plan.classes, form)
        for _ in range(TRIES):
            weighed = list(_weighed(known, session.refresh(), session.plan.classes, how.replace))
            events = list(_events(weighed, session.state, path.name, how.by))
            fold(session.state, [*session.opening(), *events])  # what contradicts the record is not written into it
            _write_report(report, weighed, session.plan.classes)
            try:
                written = record.append([*session.opening(), *events], after=session.state.seq) if events else []
            except BusyError:
                continue
            outcomes = Counter(row.outcome for row in weighed)
            return Imported(outcomes, sum(event.kind != "opened" for event in written), report)
    raise BusyError(
        f"{TRIES} times somebody wrote meanwhile",
        rule="labels are imported when nobody else writes for a moment",
        hint="run the same command again: nothing was written",
    )


class _NoLearner:
    """Stands in for a learner in a session that asks nothing, so that importing labels loads no network."""

    def fit(self, images: Images, labels: Labels, classes: int, rng: np.random.Generator) -> Model:
        """Refuse: nothing is trained here."""
        raise NotImplementedError


def _session(project: ProjectFolder, record: Record) -> Session:
    """Return a session that asks nothing: with the record's classes and seed, or the project's where it is new."""
    opened = fold(State(), record.read()).opened or {}
    classes = tuple(opened.get("classes") or project.classes)
    return Session(project.pool, record, Plan(classes, _NoLearner(), draw, seed=int(opened.get("seed", 0))))


def _told(rows: Sequence[LabelRow], images: Sequence[int], classes: Sequence[str], form: str) -> list[_Row]:
    """Return rows with the numbers of their images and classes, or with what is wrong with them."""
    numbers: dict[str, int] = {name: number for number, name in enumerate(classes)}
    if form == "folders":  # a folder is called after a class as far as a folder can
        numbers = {name: numbers[of] for of, name in folders(classes).items()} | numbers
    return [_one(row, image, numbers) for row, image in zip(rows, images, strict=True)]


def _one(row: LabelRow, image: int, numbers: Mapping[str, int]) -> _Row:
    if row.wrong:
        return _Row(row, UNKNOWN, None, UNREADABLE, row.wrong)
    if image == UNKNOWN:
        return _Row(row, UNKNOWN, None, NO_IMAGE, "no image of this project has such a key or id")
    if image == SEVERAL:
        return _Row(row, UNKNOWN, None, NO_ONE_IMAGE, "give more of its path, or its id")
    if row.label is not None and row.label not in numbers:
        return _Row(row, image, None, NO_CLASS, f"the classes are {', '.join(numbers)}")
    return _Row(row, image, None if row.label is None else numbers[row.label])


def _weighed(rows: Sequence[_Row], state: State, classes: Sequence[str], replaces: bool) -> Iterator[_Row]:
    """Yield the rows with what becomes of them: of an image's rows the first one counts, if all agree."""
    said: defaultdict[int, set[int | None]] = defaultdict(set)
    for row in rows:
        if not row.outcome:
            said[row.image].add(row.label)
    seen: set[int] = set()
    for row in rows:
        if row.outcome:
            yield row
        elif len(said[row.image]) > 1:
            others = said[row.image] - {row.label}
            yield replace(row, outcome=WITHIN, detail=f"another row says {_names(others, classes)}")
        elif row.image in seen:
            yield replace(row, outcome=AGAIN)
        else:
            seen.add(row.image)
            outcome, detail = _fate(row, state, classes, replaces)
            yield replace(row, outcome=outcome, detail=detail)


def _fate(row: _Row, state: State, classes: Sequence[str], replaces: bool) -> tuple[str, str]:
    image, label = row.image, row.label
    if image in state.waiting:
        return (SKIPPED if label is None else ANSWERED), ""
    if image not in state.answers and image not in state.skips:
        return (NOT_ASKED, "there is no label to be kept") if label is None else (NEW, "")
    before = state.answers.get(image)
    if before == label:
        return SAME, ""
    who = state.authors.get(image)
    detail = f"{_names({before}, classes)} before" + (f", by {who}" if who else "")
    return (CORRECTED if replaces else AGAINST), detail


def _names(labels: set[int | None], classes: Sequence[str]) -> str:
    return " and ".join(sorted(CANT_TELL if label is None else classes[label] for label in labels))


def _events(rows: Sequence[_Row], state: State, file: str, by: str | None) -> Iterator[Event]:
    for row in rows:
        if kind := WRITES.get(row.outcome):
            asked = state.waiting[row.image].round if row.image in state.waiting else state.number
            yield Event(kind, asked, row.image, row.label, by or row.given.by, {"file": file})


def _report_of(path: Path) -> Path:
    """Return where the report goes: beside the file, and over nothing but an earlier report."""
    report = path.absolute().with_name(path.absolute().name + ENDING)
    if report.exists():
        with report.open(encoding="utf-8", errors="replace", newline="") as file:
            if next(csv.reader(file), None) != list(REPORT):
                raise UserError(
                    f"{report} is something else", rule="the report of an import goes beside its file", hint="move it"
                )
    return report


def _write_report(path: Path, rows: Sequence[_Row], classes: Sequence[str]) -> None:
    with artifacts.explain_disk_errors(path):
        scratch = path.with_name(f".{path.name}.part")
        sheet(scratch, REPORT, [_line(row) for row in rows])
        scratch.replace(path)


def _line(row: _Row) -> dict[str, Any]:
    label = row.given.label if row.given.label is not None or row.given.wrong else CANT_TELL
    image = row.given.image if row.image == UNKNOWN else row.image
    return {
        "line": row.given.line,
        "id": image,
        "key": row.given.key,
        "label": label,
        "outcome": row.outcome,
        "detail": row.detail,
    }
