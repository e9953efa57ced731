"""Data sets of the Hugging Face hub, or local folders in its layout, read with the `datasets` library."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from asal.core import Ids, Labels
from asal.data.sources import UNKNOWN, Raw, SourceImage, sources
from asal.data.sources.class_names import names_in
from asal.errors import UserError, unknown
from asal.runtime.artifacts import fingerprint
from asal.runtime.optional import require

LABELS = ("int", "uint", "bool", "string", "large_string")  # types of a column of labels
BLOCK = 32  # images read at once: many enough to be fast, few enough to hold photographs in memory


@sources.register("hub")
@dataclass(frozen=True)
class Hub:
    """A data set of the Hugging Face hub by its id, or a local folder in that layout.

    `owner/name` is read from $ASAL_DATA_DIR/name if that folder exists. If the columns `image` and `label` do not
    exist, the only column of images and the only one of classes are used. `label = "none"` reads no labels. Classes
    are called as the files' own metadata name them (ClassLabel); a number that has no name there is no label.
    """

    id: str
    image: str = "image"
    label: str = "label"
    config: str | None = None

    @property
    def _place(self) -> Path | None:
        """The local folder, if there is one."""
        home = os.environ.get("ASAL_DATA_DIR")
        local = [Path(home) / self.id.rpartition("/")[2]] if home else []
        return next((folder for folder in (*local, Path(self.id)) if folder.is_dir()), None)

    @cached_property
    def _sets(self) -> Any:
        """The splits by name, their images left encoded."""
        datasets = _library()
        try:
            with _quiet(datasets):
                sets = datasets.load_dataset(str(self._place or self.id), self.config)
        except Exception as error:  # the library raises a dozen kinds: no network, unknown id, missing config …
            raise UserError(
                f"the data set '{self.id}' cannot be loaded: {' '.join(str(error).split())}",
                rule="a data set is on the Hugging Face hub, or in a local folder in its layout",
                hint="check the id, `config` and the network, or put a copy into $ASAL_DATA_DIR",
            ) from None
        image = self._image_column(next(iter(sets.values())).features)
        return {split: _encoded(datasets, rows, image) for split, rows in sets.items()}

    @property
    def _features(self) -> Mapping[str, Any]:
        features: Mapping[str, Any] = next(iter(self._sets.values())).features
        return features

    def _image_column(self, features: Mapping[str, Any]) -> str:
        return _column("image", self.image, features, "Image", ("binary", "struct of bytes"))

    @cached_property
    def _label_column(self) -> str | None:
        default = self.label == "label" and not any(_kind(f) == "ClassLabel" for f in self._features.values())
        if self.label == "none" or (default and "label" not in self._features):
            return None
        return _column("label", self.label, self._features, "ClassLabel", LABELS)

    @cached_property
    def _values(self) -> list[Any]:
        """The label's distinct values in order: the classes of a data set that does not name them."""
        column = self._label_column
        values = {value for rows in self._sets.values() for value in rows.unique(column)} - {None, UNKNOWN}
        return sorted(values)

    @cached_property
    def classes(self) -> tuple[str, ...]:
        if self._label_column is None:
            return ()
        feature = self._features[self._label_column]
        if _kind(feature) != "ClassLabel":
            return tuple(map(str, self._values))
        self._check_names(self._label_column, list(feature.names))
        return tuple(feature.names)

    def _check_names(self, column: str, names: list[str]) -> None:
        """Refuse a local folder in which another file numbers its classes otherwise: `datasets` looks at one alone."""
        import pyarrow.parquet as pq

        for file in sorted(self._place.rglob("*.parquet")) if self._place else ():
            others = names_in(pq.read_schema(file).metadata).get(column, names)
            if others != names:
                raise UserError(
                    f"the Parquet files in {self._place} name the classes of '{column}' differently: "
                    f"{', '.join(names)} elsewhere, and {', '.join(others)} in {file.name}",
                    rule="a class has one number in all files of a data set",
                    hint="write the files again with the same names, or read them as two data sets",
                )

    @property
    def splits(self) -> Mapping[str, int]:
        return {split: len(rows) for split, rows in self._sets.items()}

    @property
    def fingerprint(self) -> str | None:
        folder = self._place
        if folder is None:
            return None  # the hub is not checked: a pool is a snapshot
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        return fingerprint({str(path.relative_to(folder)): path.stat().st_size for path in files})

    def labels(self, split: str) -> Labels | None:
        rows = self._split(split)
        column = self._label_column
        if column is None:
            return None
        stored = rows.with_format("arrow")[column][:]
        if _kind(self._features[column]) == "ClassLabel":
            numbers = np.asarray(stored.fill_null(UNKNOWN).to_numpy(), np.int64)
            return np.where((numbers >= 0) & (numbers < len(self.classes)), numbers, UNKNOWN)
        number = {value: label for label, value in enumerate(self._values)}
        return np.array([number.get(value, UNKNOWN) for value in stored.to_pylist()], np.int64)

    def records(self, split: str, rows: Ids) -> Iterator[SourceImage]:
        images = self._split(split).with_format("arrow")
        column = self._image_column(self._features)
        images = images.select_columns([column])
        for start in range(0, len(rows), BLOCK):
            block = rows[start : start + BLOCK].tolist()
            for row, cell in zip(block, images[block].column(column).to_pylist(), strict=True):
                yield SourceImage(f"{split}/{row}", _raw(cell))

    def _split(self, split: str) -> Any:
        if split not in self._sets:
            raise unknown("split", split, self._sets)
        return self._sets[split]


def _library() -> Any:
    return require("datasets", extra="hub", why="the source 'hub' reads with the library `datasets`")


@contextmanager
def _quiet(datasets: Any) -> Iterator[None]:
    """Hide the library's own progress bars: asal shows one."""
    were_shown = not datasets.utils.are_progress_bars_disabled()
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        if were_shown:
            datasets.enable_progress_bars()


def _kind(feature: Any) -> str:
    return type(feature).__name__


def _dtype(feature: Any) -> str:
    """Return how a column is stored; an image of a plain Parquet file is a struct of bytes and path."""
    if isinstance(feature, dict):
        return f"struct of {', '.join(sorted(feature))}"
    return str(getattr(feature, "dtype", _kind(feature)))


def _column(role: str, name: str, features: Mapping[str, Any], kind: str, values: tuple[str, ...]) -> str:
    """Return the column called `name` if its type fits, or the only one of its kind if `name` is the default."""
    fits = [c for c, f in features.items() if _kind(f) == kind]
    if name in features:
        if name in fits or _dtype(features[name]).startswith(values):
            return name
    elif name == role and len(fits) == 1:
        return fits[0]
    columns = ", ".join(f"{c} ({_dtype(f)})" for c, f in features.items())
    wrong = f"the column '{name}' does not hold {role}s" if name in features else f"no column is called '{name}'"
    raise UserError(
        wrong,
        rule=f"the source 'hub' needs a column of {role}s; the columns are {columns}",
        hint=f"set `{role}` to the right column" + (', or to "none"' if role == "label" else ""),
    )


def _encoded(datasets: Any, rows: Any, image: str) -> Any:
    return rows.cast_column(image, datasets.Image(decode=False)) if _kind(rows.features[image]) == "Image" else rows


def _raw(cell: Any) -> Raw:
    if isinstance(cell, bytes):
        return cell
    if not cell:
        return b""
    return cell["bytes"] or (Path(cell["path"]) if cell["path"] else b"")
