"""Label Studio's exports JSON and JSON-MIN: tasks with the annotations that people made, one row for each.

JSON has tasks with `data` (the image's address) and `annotations`; an annotation is cancelled where its person pressed
"Skip", which is "can't tell". JSON-MIN has one object for each annotation, with the choice under the control's name,
and leaves cancelled ones out. Drafts and predictions are no labels. Tested with exports of Label Studio 1.23.2.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asal.errors import UserError, unknown
from asal.labelling.exchange.image_names import image_name
from asal.labelling.exchange.json_files import load
from asal.labelling.exchange.names import UPLOADS
from asal.labelling.exchange.rows import Assume, LabelRow

if TYPE_CHECKING:
    from asal.labelling.exchange.columns import Columns

IMAGE, POOL = "asal_id", "asal_pool"  # what asal puts into a task: the image's id, and the pool that it is of
KEY = "key"  # in the data of a task that asal exported: the image's key
CHOICES, CONTROL = "choices", "label"
OWN = {"id", "annotator", "annotation_id", "created_at", "updated_at", "lead_time", "agreement", "inner_id"}  # of MIN
LOOKS_LIKE_AN_IMAGE = re.compile(
    r"://|^/?data/|^data:image/|\.(png|jpe?g|webp|gif|bmp|tiff?|avif|heic)$", re.IGNORECASE
)


def label_studio_rows(path: Path, columns: Columns, assume: Assume) -> Iterator[LabelRow]:
    """Yield a row for each annotation of each task, and one for a task without any.

    Raises:
        UserError: several controls or several images stand in a task, and no option says which.
        ValueError: the file is not Label Studio's.
    """
    tasks = load(path)
    tasks = [tasks] if isinstance(tasks, dict) else tasks
    if not isinstance(tasks, list) or not all(isinstance(task, dict) for task in tasks):
        raise ValueError("it is no list of tasks")
    if any("data" in task for task in tasks):
        yield from _full(path, tasks, columns, assume)
    else:
        yield from _minimal(path, tasks, columns)


def _full(path: Path, tasks: Sequence[Mapping[str, Any]], columns: Columns, assume: Assume) -> Iterator[LabelRow]:
    control = _control(path, _controls(tasks), columns.label)
    image = _image_field(path, [_object(task.get("data")) for task in tasks], columns.key)
    for line, task in enumerate(tasks, 1):
        data, meta, annotations = _object(task.get("data")), _object(task.get("meta")), _annotations(task)
        if task.get("predictions") or task.get("drafts"):
            assume("drafts and predictions are no labels, and were left out")
        named = _named(line, data.get(image), data, meta)
        by = str(data["by"]) if POOL in data and data.get("by") else None  # asal's export says who it was
        if not annotations:
            yield LabelRow(**named, unlabelled=True)
        for annotation in annotations:
            yield _answer(named, annotation, control, by)


def _annotations(task: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    found = task.get("annotations", task.get("completions"))  # the name in old versions
    return [_object(one) for one in found] if isinstance(found, list) else []


def _answer(named: Mapping[str, Any], annotation: Mapping[str, Any], control: str, by: str | None) -> LabelRow:
    by = by or _person(annotation.get("completed_by"))
    if annotation.get("was_cancelled") or annotation.get("skipped"):
        return LabelRow(**named, by=by)
    results = annotation.get("result")
    found = [_object(one) for one in results] if isinstance(results, list) else []
    chosen = [one for one in found if one.get("from_name") == control]
    labels = [str(name) for one in chosen for name in _object(one.get("value")).get(CHOICES) or ()]
    return _labelled(named, labels, by)


def _labelled(named: Mapping[str, Any], labels: Sequence[str], by: str | None) -> LabelRow:
    if not labels:
        return LabelRow(**{**named, "wrong": named.get("wrong") or "nothing was chosen"}, by=by)
    if len(labels) > 1:
        return LabelRow(**{**named, "wrong": f"{len(labels)} classes were chosen: {', '.join(labels)}"}, by=by)
    return LabelRow(**named, label=labels[0], by=by, label_is="name")


def _controls(tasks: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Return what people were asked, by name, and of which type each was."""
    results = [
        _object(one) for task in tasks for annotation in _annotations(task) for one in annotation.get("result") or ()
    ]
    return {str(one["from_name"]): str(one.get("type")) for one in results if one.get("from_name")}


def _control(path: Path, controls: Mapping[str, str], wanted: str) -> str:
    choices = [name for name, kind in controls.items() if kind == CHOICES]
    if wanted:
        if controls and wanted not in choices:
            raise unknown(f"control with choices of {path.name}", wanted, choices)
        return wanted
    if controls and not choices:
        asked = ", ".join(f"{name} ({kind})" for name, kind in controls.items())
        raise UserError(
            f"nobody chose a class in {path}: its annotations are {asked}",
            rule="labels are read from a control of the type Choices",
            hint="export the answers to a Choices control",
        )
    if len(choices) > 1 and CONTROL not in choices:
        raise UserError(
            f"{path} has several controls with choices: {', '.join(choices)}", hint="name one with --label-column"
        )
    return CONTROL if CONTROL in choices or not choices else choices[0]


def _image_field(path: Path, data: Sequence[Mapping[str, Any]], wanted: str) -> str:
    """Return the name under which tasks have the image's address."""
    names = dict.fromkeys(name for one in data for name in one)
    if wanted:
        if wanted not in names:
            raise unknown(f"field of the tasks of {path.name}", wanted, list(names))
        return wanted
    if "image" in names:
        return "image"
    fits = [name for name in names if any(LOOKS_LIKE_AN_IMAGE.search(str(one.get(name) or "")) for one in data)]
    if len(fits) != 1:
        which = f"several fields look like an image: {', '.join(fits)}" if fits else "no field looks like an image"
        raise UserError(
            f"in the tasks of {path}, {which}; they have {', '.join(names) or 'none'}",
            hint="name the field with --key-column",
        )
    return fits[0]


def _named(line: int, address: Any, data: Mapping[str, Any], meta: Mapping[str, Any]) -> dict[str, Any]:
    """Return which image a task is of, as fields of a row."""
    fields: dict[str, Any] = {"line": line, "partial": True}
    if isinstance(pool := meta.get(POOL, data.get(POOL)), str):  # asal made the task
        number = meta.get(IMAGE, data.get(IMAGE))
        if isinstance(number, int) and not isinstance(number, bool) and number >= 0:
            fields |= {"image": number, "pool": pool, "id_text": str(number)}
        key = data.get(KEY)
        return fields | ({"key": key} if isinstance(key, str) and key else {})
    name = image_name(str(address or ""))
    if name is None:
        what = "the image itself stands in the task, without its name" if address else "the task names no image"
        return fields | {"wrong": what}
    return fields | {"key": str(address) if UPLOADS.search(str(address)) else name}  # the folder tells uploads apart


def _minimal(path: Path, tasks: Sequence[Mapping[str, Any]], columns: Columns) -> Iterator[LabelRow]:
    data = [{name: value for name, value in task.items() if name not in OWN} for task in tasks]
    image = _image_field(path, data, columns.key)
    control = columns.label or _control_of_minimal(path, data, image)
    if not any(control in one for one in data):
        raise unknown(f"field of {path.name}", control, list(dict.fromkeys(name for one in data for name in one)))
    for line, (task, one) in enumerate(zip(tasks, data, strict=True), 1):
        named, value = _named(line, one.get(image), one, {}), one.get(control)
        if value is None and task.get("annotation_id") is None:
            yield LabelRow(**named, unlabelled=True)
            continue
        labels = _object(value).get(CHOICES) if isinstance(value, dict) else [value] if value else []
        yield _labelled(named, [str(label) for label in labels or ()], _person(task.get("annotator")))


def _control_of_minimal(path: Path, data: Sequence[Mapping[str, Any]], image: str) -> str:
    """Return the field of the choices: JSON-MIN does not say which fields are answers."""
    names = dict.fromkeys(name for one in data for name in one if name != image and not name.startswith("asal_"))
    texts = [name for name in names if all(isinstance(one.get(name), str | dict | None) for one in data)]
    for usual in (CONTROL, "choice"):
        if usual in names:
            return usual
    texts = [name for name in texts if name != KEY]
    if len(texts) != 1:
        raise UserError(
            f"{path} does not say which of its fields is the answer: {', '.join(texts) or 'there is none'}",
            hint="name it with --label-column, or export as JSON",
        )
    return texts[0]


def _person(value: Any) -> str | None:
    """Return who answered: an e-mail, or the user's number in Label Studio."""
    if isinstance(value, dict):
        value = value.get("email") or value.get("id")
    return None if value in (None, "") else str(value)


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
