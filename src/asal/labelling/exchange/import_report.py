"""What an import did: the outcome of each row, as a file beside what was imported, as sentences, and as an error.

The report of an export's folder, or of a file in one, goes beside that folder, so that the next export may replace it.
"""

from __future__ import annotations

import csv
import difflib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from asal.errors import NoRowTakenError, UserError, quoted
from asal.labelling.exchange.choosing import ELSEWHERE, SEVERAL, UNKNOWN, Match
from asal.labelling.exchange.records import CANT_TELL, count
from asal.labelling.exchange.rows import LabelRow
from asal.labelling.exchange.writers import table_bytes
from asal.runtime import artifacts

REPORT = ("line", "id", "key", "label", "matched", "outcome", "detail")
FORMER = ("line", "id", "key", "label", "outcome", "detail")  # of older versions
ENDING = ".import.csv"  # of a report, after the file's name

# Outcomes that write an event.
NEW, ANSWERED, SKIPPED, CORRECTED = "new", "answers an open image", "can't tell an open image", "corrected"
WRITES: Mapping[str, str] = {NEW: "imported", ANSWERED: "answered", SKIPPED: "skipped", CORRECTED: "corrected"}
# Outcomes that write nothing.
SAME, AGAIN, UNLABELLED = "same as before", "same as an earlier row", "no label in the file"
AGAINST, WITHIN = "conflicts with the record", "conflicts within the file"
NO_IMAGE, NO_ONE_IMAGE, NO_CLASS = "unknown image", "fits several images", "unknown class"
OTHER_FOLDER = "may be of another folder"
UNREADABLE, NOT_ASKED = "unreadable", "can't tell, and was never asked"
FINE = (*WRITES, SAME, AGAIN, UNLABELLED)
NO_MATCH: Mapping[int, tuple[str, str]] = {  # for images that are none: the outcome, and what the report says
    UNKNOWN: (NO_IMAGE, "no image of this project has this key or id"),
    SEVERAL: (NO_ONE_IMAGE, "give more of its path, or its id"),
    ELSEWHERE: (OTHER_FOLDER, ""),
}
GUESSED = 2000  # keys that the nearest one is searched among
SHOWN = 3


@dataclass(frozen=True, slots=True)
class ImportedRow:
    """A row, the image that it means, its class, and its outcome."""

    source: LabelRow
    match: Match
    label: int | None = None
    outcome: str = ""
    detail: str = ""
    note: str = ""  # how its class was read

    @property
    def image(self) -> int:
        """The id of its image, or a negative number."""
        return self.match.image


@dataclass(frozen=True)
class Imported:
    """What was imported, in rows."""

    outcomes: Mapping[str, int]
    written: int  # events
    report: Path
    assumed: Sequence[str] = ()  # how the file was read, in sentences
    matched: Mapping[str, int] | None = None  # how rows were matched to images → rows

    @property
    def lines(self) -> list[str]:
        """The same as sentences."""
        counts = ", ".join(f"{outcome}: {rows:,}" for outcome, rows in self.outcomes.items()) or "no rows"
        wrong = sum(rows for outcome, rows in self.outcomes.items() if outcome not in FINE)
        taken = f"{count(wrong, 'row was', 'rows were')} not taken" if wrong else "every row was taken"
        ways = "; ".join(f"{how}: {rows:,}" for how, rows in (self.matched or {}).items())
        return [
            f"{count(self.written, 'label')} written. {counts}.",
            f"{taken}; row by row: {self.report}",
            *([f"Images were matched: {ways}."] if ways else []),
            *(f"Assumed: {sentence}." for sentence in self.assumed),
        ]


def imported(rows: Sequence[ImportedRow], written: int, report: Path, assumed: Sequence[str]) -> Imported:
    """Return what was imported, from the rows with their outcomes."""
    ways = Counter(row.match.how for row in rows if row.image >= 0 and row.match.how)
    read = Counter(f"'{row.source.label}' was {row.note}" for row in rows if row.note)
    return Imported(Counter(row.outcome for row in rows), written, report, [*assumed, *read], ways)


def report_of(path: Path, place: Path) -> Path:
    """Return where the report goes: beside the file or the export's folder, never over anything but a report.

    Raises:
        UserError: another file has that name.
    """
    folder = place.parent if place.is_file() else place
    if folder != path and is_export(folder):
        path = folder
    report = path.absolute().with_name(path.absolute().name + ENDING)
    if report.exists() and not is_report(report):
        raise UserError(f"{report} is not the report of an import, which would go there", hint="move it away")
    return report


def is_export(folder: Path) -> bool:
    """Whether `asal export` wrote a folder."""
    return artifacts.is_complete(folder) and "export" in artifacts.manifest(folder)


def is_report(path: Path) -> bool:
    """Whether a file is the report of an import."""
    with path.open(encoding="utf-8", errors="replace", newline="") as file:
        return next(csv.reader(file), None) in (list(REPORT), list(FORMER))


def write_report(path: Path, rows: Sequence[ImportedRow]) -> None:
    """Write the outcome of each row."""
    with artifacts.explain_disk_errors(path):
        artifacts.write(path, table_bytes(REPORT, [_line(row) for row in rows]))


def _line(row: ImportedRow) -> dict[str, Any]:
    is_known = row.source.label is not None or row.source.wrong or row.source.unlabelled
    why = row.match.why if row.image >= 0 else ""
    return {
        "line": row.source.line,
        "id": row.image if row.image >= 0 else row.source.image,
        "key": row.source.key,
        "label": row.source.label if is_known else CANT_TELL,
        "matched": row.match.how,
        "outcome": row.outcome,
        "detail": "; ".join(filter(None, (row.detail, why, row.note, row.source.note))),
    }


def nothing_taken(rows: Sequence[ImportedRow], report: Path, pool: Any, classes: Sequence[str]) -> NoRowTakenError:
    """Return the error for a file of which no row was taken: examples of both sides, and the nearest guess."""
    if not rows:
        return NoRowTakenError("the file has no rows", hint="check the file")
    counts = Counter(row.outcome for row in rows)
    listed = ", ".join(f"{outcome}: {number:,}" for outcome, number in counts.most_common())
    kind = next(iter(counts.most_common(1)))[0]
    first = [row for row in rows if row.outcome == kind]
    reasons = f"; the first: {first[0].detail}" if first[0].detail and kind not in (NO_IMAGE, NO_CLASS) else ""
    got = f"no row was taken ({listed}{reasons})"
    if kind in (AGAINST, WITHIN):  # the images are known: names of others would not help
        by = "--replace writes them as corrections; " if kind == AGAINST else "keep one row for each image; "
        return NoRowTakenError(got, hint=f"{by}row by row: {report}")
    if kind == NO_CLASS:
        theirs = list(dict.fromkeys(str(row.source.label) for row in first))
        rule, guess = f"the file has the labels {quoted(theirs[:SHOWN])}, the classes are {quoted(classes)}", classes
    else:
        theirs = [row.source.key or row.source.id_text for row in first if row.source.key or row.source.id_text]
        guess = _some_keys(pool)
        rule = f"the file has images such as {quoted(theirs[:SHOWN])}, the project such as {quoted(guess[:SHOWN])}"
    near = _nearest(theirs, guess)
    return NoRowTakenError(got, rule=rule, hint=f"{near}row by row: {report}")


def _some_keys(pool: Any) -> list[str]:
    return list(pool.keys(np.arange(min(GUESSED, len(pool)))))


def _nearest(theirs: Sequence[str], ours: Sequence[str]) -> str:
    for name in theirs[:SHOWN]:
        if close := difflib.get_close_matches(name, ours, n=1, cutoff=0.4):
            return f"nearest to '{name}' is '{close[0]}'; "
    return ""
