"""The contact sheet of a project: a picture of what its classifier sees, some images of each class.

It lies beside the folders of images and not in one, because those are sealed by their manifests. Cost: a few thousand
labels and at most 64 images are read, whatever the pool's size.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from asal.core import Ids, Images
from asal.data.image_options import BEFORE
from asal.data.originals_pool import OriginalsPool, sentence
from asal.errors import UserError, counted
from asal.project.validate import learner_space
from asal.runtime import artifacts
from asal.runtime.rng import stream

if TYPE_CHECKING:
    from asal.project.project import Project

FILE = "sample.png"
CELLS, COLUMNS, ROWS = 64, 8, 16  # images, images in a row, classes: at most
DRAWN = 20_000  # images among which those of each class are looked for
EDGE = 128  # pixels; smaller pictures are enlarged, by a factor without a fraction
FITS = {"pad": "padded", "crop": "cut to the centre", "squeeze": "squeezed"}
GAP, TEXT, SIZE = 6, 26, 15  # pixels: between pictures, of a line of text, of its letters
INK, PAPER = "#202124", "#ffffff"


@dataclass(frozen=True)
class _Row:
    """Images of one class; of all, where there are none."""

    name: str
    ids: Ids


def write(project: Project) -> Path:
    """Draw the contact sheet of a project whose images have been taken in; return its place, PROJECT/sample.png."""
    rows, note = _chosen(project)
    images, seen = _pictures(project, np.concatenate([row.ids for row in rows]))
    shown = f"{counted(len(images), 'image')} of {len(project.original):,} as the classifier sees them: {seen}{note}"
    place = project.root / FILE
    with artifacts.explain_disk_errors(place):
        artifacts.write(place, _drawn(rows, images, shown))
    return place


def _chosen(project: Project) -> tuple[list[_Row], str]:
    """Return the images to be drawn, the same in every call, and what is said of those left out."""
    pool, rng = project.original, stream(project.spec.seed, "contact sheet")
    ids = np.sort(rng.choice(len(pool), min(DRAWN, len(pool)), replace=False))
    rng.shuffle(ids)
    try:
        oracle = project.oracle("pool")
    except UserError:  # the images came without labels
        return [_Row("", part) for part in np.split(ids[:CELLS], range(COLUMNS, min(CELLS, len(ids)), COLUMNS))], ""
    labels = oracle.answer(ids)
    counts = np.bincount(labels[labels >= 0], minlength=len(oracle.classes))
    largest = np.sort(np.argsort(-counts, kind="stable")[:ROWS])
    largest = largest[counts[largest] > 0]
    columns = min(COLUMNS, CELLS // max(1, len(largest)))
    rows = [_Row(oracle.classes[label], ids[labels == label][:columns]) for label in largest.tolist()]
    left_out = len(oracle.classes) - len(rows)
    return rows or [_Row("", ids[:COLUMNS])], f"; {counted(left_out, 'class')} not shown" if left_out else ""


def _pictures(project: Project, ids: Ids) -> tuple[Images, str]:
    """Return what the classifier sees of these images, and how it is made, in words."""
    images, source = project.pool.read(ids), ""
    if (pool := _read_by_classifier(project)) is not None:
        with suppress(UserError):  # the source cannot be reached now
            images, source = pool.read(ids), " of the originals"
            source += f", {replaced}" if (replaced := sentence(pool.replaced)) else ""
    height, width = images.shape[1:3]
    manifest = artifacts.manifest(project.root / "pool")
    return images, f"{width} × {height} pixels{source}, {FITS[manifest['options'].get('fit', BEFORE['fit'])]}"


def _read_by_classifier(project: Project) -> OriginalsPool | None:
    """Return the originals at the size that the network reads whose features the classifier learns from."""
    space = learner_space(project.spec)
    if not space:
        return None
    try:
        pool = project.images_for(project.spec.features[space])
    except UserError:  # the network is not there yet
        return None
    return pool if isinstance(pool, OriginalsPool) else None


def _drawn(rows: Sequence[_Row], images: Images, title: str) -> bytes:
    """Return the sheet as a PNG."""
    height, width = (side * max(1, EDGE // max(images.shape[1:3])) for side in images.shape[1:3])
    font = _font()
    left = GAP + max((round(font.getlength(row.name)) + 2 * GAP for row in rows if row.name), default=0)
    columns = max(len(row.ids) for row in rows)
    across = max(left + columns * (width + GAP), round(font.getlength(title)) + 2 * GAP)
    sheet = Image.new("RGB", (across, TEXT + 2 * GAP + len(rows) * (height + GAP)), PAPER)
    pen = ImageDraw.Draw(sheet)
    pen.text((GAP, GAP), title, INK, font)
    pictures = iter(images)
    for number, row in enumerate(rows):
        top = TEXT + 2 * GAP + number * (height + GAP)
        pen.text((GAP, top + height // 2), row.name, INK, font, anchor="lm")
        for column, pixels in zip(range(len(row.ids)), pictures, strict=False):
            picture = Image.fromarray(pixels.squeeze()).convert("RGB")
            sheet.paste(picture.resize((width, height), Image.Resampling.NEAREST), (left + column * (width + GAP), top))
    written = io.BytesIO()
    sheet.save(written, "PNG")
    return written.getvalue()


def _font() -> ImageFont.FreeTypeFont:
    """Return a font with the letters of most alphabets, which matplotlib brings."""
    import matplotlib

    return ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf", SIZE)
