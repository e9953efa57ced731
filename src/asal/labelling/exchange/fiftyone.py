"""FiftyOne's image classification: `labels.json` with classes and labels, and the images in `data/` beside it.

A label is a number of the file's own list of classes, or a name where there is no such list; null is an image without
a label. An image is called as its file is, without the ending. See
https://docs.voxel51.com/user_guide/import_datasets.html (FiftyOneImageClassificationDataset).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asal.data.sources.class_names import name_of
from asal.labelling.exchange.json_files import load
from asal.labelling.exchange.rows import Assume, LabelRow

if TYPE_CHECKING:
    from asal.labelling.exchange.columns import Columns

LABELS, DATA = "labels.json", "data"


def fiftyone_rows(path: Path, columns: Columns, assume: Assume) -> Iterator[LabelRow]:
    """Yield a row for each image of a labels.json, or of the folder that holds it.

    Raises:
        ValueError: the file is not FiftyOne's.
    """
    file = path / LABELS if path.is_dir() else path
    data = load(file)
    if not isinstance(data, dict) or not isinstance(labels := data.get("labels"), dict):
        raise ValueError("it has no object `labels`, as FiftyOne's image classification has")
    classes = data.get("classes")
    if classes is not None and not (isinstance(classes, list) and all(isinstance(name, str) for name in classes)):
        raise ValueError("its `classes` are no list of names")
    if classes:
        assume(f"the classes are named in the file: {', '.join(classes)}")
    files = _files(file.parent / DATA)
    for line, (name, value) in enumerate(labels.items(), 1):
        yield _row(line, name, value, classes, files)


def _files(folder: Path) -> Mapping[str, list[str]]:
    """Return the files in the folder of images, by their paths without endings."""
    found: defaultdict[str, list[str]] = defaultdict(list)
    if folder.is_dir():
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                name = path.relative_to(folder)
                found[name.with_suffix("").as_posix()].append(name.as_posix())
    return found


def _row(line: int, name: str, value: Any, classes: Sequence[str] | None, files: Mapping[str, list[str]]) -> LabelRow:
    names = files.get(name, [name])
    if len(names) > 1:
        return LabelRow(line, key=name, wrong=f"several images have this name: {', '.join(names)}")
    try:
        label, kind = _label(value, classes)
    except ValueError as error:
        return LabelRow(line, key=names[0], wrong=str(error))
    if label is None:
        return LabelRow(line, key=names[0], partial=True, unlabelled=True)
    return LabelRow(line, key=names[0], label=label, partial=True, label_is=kind)  # type: ignore[arg-type]


def _label(value: Any, classes: Sequence[str] | None) -> tuple[str | None, str]:
    """Return a class's name, and whether the file defines it; None without a label.

    Raises:
        ValueError: it has several labels, or a number without a name.
    """
    if isinstance(value, dict):  # with a confidence or other facts beside it
        value = value.get("label")
    if isinstance(value, list):  # several classifications of one image
        if len(value) > 1:
            raise ValueError(f"it has {len(value)} labels")
        return _label(value[0], classes) if value else (None, "name")
    if value is None or value == "":
        return None, "name"
    if isinstance(value, str):
        return value, "name" if classes else "text"
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"{value!r} is no label")
    return (name_of(value, classes), "name") if classes else (str(value), "number")
