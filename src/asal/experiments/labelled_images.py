"""Labelled images that a project's classifier is assessed on: those that it holds out, or a folder of class folders."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from asal.core import Ids, as_ids
from asal.data.concat_pool import ConcatPool, places
from asal.data.duplicates import hashes_of
from asal.data.ingest_shard import decoded
from asal.data.originals import keyed
from asal.data.sources import UNKNOWN, Raw
from asal.data.sources.folder import Folder
from asal.errors import UserError, counted, quoted
from asal.experiments.assessment import Assessment
from asal.experiments.evaluation import held_out
from asal.project.images import format_of
from asal.project.prediction import Predictor
from asal.project.project import Project
from asal.runtime.progress import Pace

PARTS = ("test", "validation")


@dataclass(frozen=True)
class Assessed:
    """An assessment, and of which images it is.

    Args:
        what: the images, in words.
        names: of each image.
        trained_on: labels of the classifier.
        events: of the record, up to the classifier's last label.
        unreadable: name → why it could not be read.
        without_class: files that lie in no class folder, and were left out.
    """

    assessment: Assessment
    what: str
    names: list[str]
    trained_on: int
    events: int
    unreadable: dict[str, str]
    without_class: int = 0
    learned: int = 0  # images that the classifier was trained on, and that were left out


def assess(project: Project, folder: Path | None = None, strategy: str = "") -> Assessed:
    """Let the classifier of all labels of a project predict labelled images that it was not trained on.

    Args:
        folder: of class folders; by default the project's test set, or else its validation set.
        strategy: one of the spec's, where it has a classifier of its own.

    Raises:
        UserError: there is no classifier, no such images, or they are of classes that the project lacks.
    """
    predictor = Predictor.of(project, strategy)
    session = predictor.classifier.session
    trained_on, events = len(session.labelled), session.state.seq
    if folder is None:
        return _of_held_out(predictor, trained_on, events)
    source = Folder(str(folder))
    split, columns = _split(source), _columns(predictor, source)
    known = source.labels(split)
    assert known is not None  # there are classes
    with_class = as_ids(np.flatnonzero(known != UNKNOWN))
    labelled = _not_learned(predictor, source, split, with_class)
    labels, names, probs = dict[str, int](), list[str](), []
    unreadable: dict[str, str] = {}

    def items() -> Iterator[tuple[str, Raw]]:
        for record, row in zip(source.records(split, labelled), labelled.tolist(), strict=True):
            labels[record.key] = columns[int(known[row])]
            yield record.key, record.raw

    pace = Pace()
    for block in predictor.of_images(items()):
        names += block.names
        probs.append(block.probs)
        unreadable |= block.unreadable
        if pace.due(always=len(names) + len(unreadable) == len(labelled)):
            project.progress("predicting", len(names) + len(unreadable), len(labelled))
    if not names:
        raise UserError(
            f"nothing is left of the {counted(len(with_class), 'file')} in {folder}",
            rule="a classifier is assessed on images that can be read, and that it was not trained on",
            hint="give other images",
        )
    assessment = Assessment(
        predictor.classifier.classes, as_ids([labels[name] for name in names]), np.concatenate(probs)
    )
    what = f"{counted(len(names), 'image')} in {folder}"
    left_out = len(known) - len(with_class), len(with_class) - len(labelled)
    return Assessed(assessment, what, names, trained_on, events, unreadable, *left_out)


def _not_learned(predictor: Predictor, source: Folder, split: str, rows: Ids) -> Ids:
    """Return the rows of a folder whose images the classifier was not trained on, as far as their pixels tell.

    Cost: decoding each image once more; nothing for a pool of an earlier version, whose hashes are not known.
    """
    project, learned = predictor.project, predictor.classifier.with_label
    if keyed(project.pool) is None:
        return rows
    folders, hashes = [project.root / "pool", *project.folder.additions], set[bytes]()
    sizes = project.pool.sizes if isinstance(project.pool, ConcatPool) else [len(project.pool)]
    for part, _, own in places(learned, sizes):
        stored = hashes_of(folders[part])
        hashes |= set() if stored is None else {row.tobytes() for row in stored[own]}
    if not hashes:
        return rows
    with closing(decoded(source.records(split, rows), format_of(project.root, project.spec.pool))) as images:
        known = [each.digest in hashes for each in images]
    return as_ids(rows[~np.array(known, bool)])


def _of_held_out(predictor: Predictor, trained_on: int, events: int) -> Assessed:
    project, classifier = predictor.project, predictor.classifier
    sets = held_out(project, classifier.session)
    part = next((part for part in PARTS if part in sets), None)
    if part is None:
        raise UserError(
            "the project holds no labelled images of its classes out",
            rule="a classifier is assessed on images that it was not trained on",
            hint="give a folder with a sub-folder of images for each class: asal evaluate PROJECT FOLDER",
        )
    found = list(sets[part].predictions(classifier.model))
    labels, probs = (np.concatenate([block[which] for block in found]) for which in (0, 1))
    images: Any = project.images(part)
    names = images.keys(as_ids(np.flatnonzero(sets[part].labels >= 0)))
    what = f"the {counted(len(labels), 'image')} of the {part} set"
    return Assessed(Assessment(classifier.classes, labels, probs), what, names, trained_on, events, {})


def _split(source: Folder) -> str:
    """Return the one split of a folder."""
    splits = [split for split, images in source.splits.items() if images]
    if len(splits) != 1 or not source.classes:
        held = f"has the splits {quoted(splits)}" if splits else "holds no images"
        raise UserError(
            f"{source.path} {held if source.classes or not splits else 'has no class folders'}",
            rule="images to assess a classifier on lie in a folder for each class",
            hint="give such a folder, for example one split's",
        )
    return splits[0]


def _columns(predictor: Predictor, source: Folder) -> list[int]:
    """Return the classifier's column for each class of a folder, under a name that the class has or had."""
    classes = predictor.classifier.session.class_list
    missing = [name for name in source.classes if len(classes.known(name)) != 1]
    if missing:
        raise UserError(
            f"the project has no class {quoted(missing, 'or')}",
            rule=f"its classes are {', '.join(predictor.classifier.classes)}",
            hint=f"rename the folder, or move it out of {source.path}",
        )
    return [int(classes.columns[classes.find(name)]) for name in source.classes]
