"""COCO: images, the categories of their annotations, and the numbers that tie them together.

An image has the label of its only annotation, or of those that agree; where they differ, of the largest one. Numbers
are those of the file: a category is looked up by its `id`, which need not start at 1 nor be without gaps. See
https://cocodataset.org/#format-data.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asal.labelling.exchange.image_names import image_name
from asal.labelling.exchange.json_files import load
from asal.labelling.exchange.rows import Assume, LabelRow

if TYPE_CHECKING:
    from asal.labelling.exchange.columns import Columns


def coco_rows(path: Path, columns: Columns, assume: Assume) -> Iterator[LabelRow]:
    """Yield a row for each image.

    Raises:
        ValueError: the file is not COCO's.
    """
    data = load(path)
    images, annotations = _list(data, "images"), _list(data, "annotations")
    names = _unique({}, _list(data, "categories"), "category")
    numbered = _unique({}, images, "image")
    by_image: defaultdict[Any, list[Mapping[str, Any]]] = defaultdict(list)
    for annotation in annotations:
        by_image[annotation.get("image_id")].append(annotation)
    if lost := [number for number in by_image if number not in numbered]:
        assume(f"annotations of {len(lost):,} images that the file does not list were left out")
    for line, image in enumerate(images, 1):
        yield _row(line, image, by_image.get(image["id"], ()), names, assume)


def _list(data: Any, name: str) -> list[dict[str, Any]]:
    found = data.get(name) if isinstance(data, dict) else None
    if not isinstance(found, list) or not all(isinstance(entry, dict) for entry in found):
        raise ValueError(f"it has no list `{name}` of objects, as COCO has")
    return found


def _unique(found: dict[Any, Any], entries: Sequence[Mapping[str, Any]], what: str) -> dict[Any, Any]:
    for entry in entries:
        if not isinstance(number := entry.get("id"), int | str):
            raise ValueError(f"a {what} has no `id`")
        if number in found:
            raise ValueError(f"two of its {what} entries have the id {number}")
        found[number] = entry.get("name") if what == "category" else entry
    return found


def _row(
    line: int,
    image: Mapping[str, Any],
    annotations: Sequence[Mapping[str, Any]],
    names: Mapping[Any, Any],
    assume: Assume,
) -> LabelRow:
    key = image_name(str(image.get("file_name") or image.get("coco_url") or ""))
    if key is None:
        return LabelRow(line, wrong="the image has no `file_name`")
    if not annotations:
        return LabelRow(line, key=key, partial=True, unlabelled=True)
    labels = [names.get(annotation.get("category_id")) for annotation in annotations]
    if unknown := [a.get("category_id") for a, name in zip(annotations, labels, strict=True) if name in (None, "")]:
        return LabelRow(line, key=key, wrong=f"no category has the id {unknown[0]}")
    note = ""
    if len(set(labels)) > 1:
        largest = _largest(annotations)
        if largest is None:
            return LabelRow(line, key=key, wrong="its annotations have several categories, and none is the largest")
        label, note = labels[largest], f"the largest of {len(labels)} annotations"
        assume("an image with annotations of several categories has the category of the largest one")
    else:
        label = labels[0]
    return LabelRow(line, key=key, label=str(label), partial=True, note=note, label_is="name")


def _largest(annotations: Sequence[Mapping[str, Any]]) -> int | None:
    """Return the place of the largest annotation; None where a size is missing, or two categories have the largest."""
    sizes = [_size(annotation) for annotation in annotations]
    if any(size is None for size in sizes):
        return None
    most = max(size for size in sizes if size is not None)
    places = [place for place, size in enumerate(sizes) if size == most]
    return places[0] if len({annotations[place].get("category_id") for place in places}) == 1 else None


def _size(annotation: Mapping[str, Any]) -> float | None:
    """Return an annotation's area, or that of its box, in pixels."""
    area, box = annotation.get("area"), annotation.get("bbox")
    if isinstance(area, int | float) and not isinstance(area, bool):
        return float(area)
    if isinstance(box, list) and len(box) == 4 and all(isinstance(side, int | float) for side in box):
        return float(box[2] * box[3])
    return None
