"""What a file that ends in .json holds: it is looked into, because many tools' files are called so."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from asal.errors import UserError
from asal.labelling.exchange.rows import Row

FORMS = {
    "label-studio": "Label Studio's JSON or JSON-MIN: a list of tasks with `data`, or with `annotator`",
    "coco": "COCO: an object with `images`, `annotations` and `categories`",
    "fiftyone": "FiftyOne's labels.json: an object with `classes` and `labels`",
    "json": 'a list of objects such as {"file": …, "label": …}, or one object of names and labels',
    "jsonl": "an object in each line",
}


def load(path: Path) -> Any:
    """Return what a JSON file holds.

    Raises:
        ValueError: it is not JSON.
    """
    try:
        return json.loads(path.read_bytes().decode("utf-8-sig"), object_pairs_hook=_object)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object; a name that stands there twice would hide a label."""
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{next(name for name in names if names.count(name) > 1)!r} stands twice in one object")
    return found


def form_of_json(path: Path) -> str:
    """Return the form of a JSON file's labels, by what stands in it.

    Raises:
        UserError: it is not JSON, or of no form that asal knows.
    """
    try:
        form = _form(load(path))
    except ValueError as error:
        if isinstance(error, json.JSONDecodeError) and _first_line_is_an_object(path):
            return "jsonl"
        raise UserError(f"{path} is not JSON: {error}", hint="correct the file, or name its form with --as") from None
    if form in FORMS:
        return form
    known = "; ".join(f"{name} ({what})" for name, what in FORMS.items())
    raise UserError(
        f"{path} holds {form}, which is no form of labels that asal knows",
        rule=f"JSON files hold {known}",
        hint="export it in one of these forms, or name its form with --as",
    )


def _form(value: Any) -> str:
    """Return a form, or what the value looks like instead."""
    if isinstance(value, dict):
        return _form_of_object(value)
    if not isinstance(value, list):
        return f"a single {type(value).__name__}"
    if not value or not all(isinstance(entry, dict) for entry in value):
        return "a list of other things than objects" if value else "an empty list"
    first = value[0]
    if isinstance(first.get("data"), dict) or {"annotator", "annotation_id"} & first.keys():
        return "label-studio"
    return "json"


def _form_of_object(value: dict[str, Any]) -> str:
    if isinstance(value.get("data"), dict) and {"annotations", "completions", "result"} & value.keys():
        return "label-studio"
    if isinstance(value.get("images"), list) and isinstance(value.get("annotations"), list):
        return "coco"
    if isinstance(value.get("labels"), dict):
        return "fiftyone"
    if value and all(isinstance(label, str | int) for label in value.values()):
        return "json"
    return f"an object with {', '.join(map(repr, list(value)[:8])) or 'nothing in it'}"


def _first_line_is_an_object(path: Path) -> bool:
    with path.open("rb") as file:
        line = next((line for line in file if line.strip()), b"")
    try:
        return isinstance(json.loads(line.decode("utf-8-sig")), dict)
    except (ValueError, RecursionError):
        return False


def json_rows(path: Path) -> Iterator[Row]:
    """Yield the objects of a list, or the entries of an object of names and labels, as rows.

    Raises:
        ValueError: it holds neither.
    """
    value = load(path)
    if isinstance(value, dict):
        value = [{"key": key, "label": label} for key, label in value.items()]
    if not isinstance(value, list):
        raise ValueError("it is neither a list nor an object")
    for line, entry in enumerate(value, 1):
        yield (line, entry, "") if isinstance(entry, dict) else (line, None, "it is not a JSON object")
