"""`pairs.npz` of a run: a few synthetic images, each beside the pool image that it led to."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from asal.errors import DamageError, reason
from asal.experiments.results import rebuild_hint
from asal.runtime import artifacts
from asal.session.events import Event

if TYPE_CHECKING:  # a report reads pairs without it
    from asal.project.project import Project

FILE = "pairs.npz"
COLUMNS = 10  # pairs that are kept of a run
KEYS = ("synthetic", "matched", "ids", "labels", "scores", "match_scores")

Arrays: TypeAlias = dict[str, npt.NDArray[Any]]


def read(path: Path, classes: int) -> Arrays:
    """Return the arrays of a run's pairs, p of them: images (p, h, w, c), ids, labels and scores (p,).

    Raises:
        DamageError: the file is not what was written; the hint says how it is made again.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            arrays = {key: np.asarray(stored[key]) for key in KEYS}
        if len({len(array) for array in arrays.values()}) != 1:
            raise ValueError("its arrays differ in length")
        if arrays["labels"].max(initial=-1) >= classes:
            raise ValueError(f"a label is none of {classes} classes")
    except (OSError, ValueError, TypeError, LookupError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise artifacts.damaged(
            path, f"it does not hold a run's pairs ({reason(error)})", hint=rebuild_hint(path)
        ) from None
    return arrays


def save(project: Project, events: Sequence[Event], folder: Path) -> None:
    """Write the pairs of a finished run, unless they are there and readable: the first pick of each of a few rounds."""
    firsts = [(e.body["ids"][0], e.body["notes"][0]) for e in events if e.kind == "asked" and e.body["notes"]]
    picks = [(image, note) for image, note in firsts if "latent" in note and image < len(project.pool)]
    if not picks:
        return
    places = np.linspace(0, len(picks) - 1, min(COLUMNS, len(picks))).round().astype(int)
    chosen = [picks[place] for place in places]
    ids = np.array([image for image, _ in chosen], np.int64)
    if not _is_there(folder / FILE, ids, len(project.oracle("pool").classes)):
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **_arrays(project, ids, [note for _, note in chosen]))
        artifacts.write(folder / FILE, buffer.getvalue())


def _is_there(path: Path, ids: npt.NDArray[np.int64], classes: int) -> bool:
    try:
        return path.exists() and np.array_equal(read(path, classes)["ids"], ids)
    except DamageError:
        return False


def _arrays(project: Project, ids: npt.NDArray[np.int64], notes: Sequence[Mapping[str, Any]]) -> Any:
    import torch

    from asal.models.tensors import to_images

    with torch.inference_mode():
        synthetic = to_images(project.generator.decode(torch.tensor([note["latent"] for note in notes])))
    return {
        "synthetic": synthetic,
        "matched": project.pool.read(ids),
        "ids": ids,
        "labels": project.oracle("pool").answer(ids),
        "scores": np.array([note["synthetic_score"] for note in notes]),
        "match_scores": np.array([note["score"] for note in notes]),
    }
