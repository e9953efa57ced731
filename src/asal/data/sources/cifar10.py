"""CIFAR-10 from its official binary version."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from asal.core import Ids, Labels
from asal.data.sources import SourceImage, apportion, damaged, file_missing, files_fingerprint, sources
from asal.errors import DamageError, UserError, unknown

BATCHES = {"train": tuple(f"data_batch_{number}.bin" for number in range(1, 6)), "test": ("test_batch.bin",)}
NAMES = "batches.meta.txt"  # the classes, one per line
SHAPE = (3, 32, 32)
RECORD = 1 + 3 * 32 * 32  # bytes: a label, then the red, the green and the blue plane, row by row


@sources.register("cifar10")
@dataclass(frozen=True)
class Cifar10:
    """CIFAR-10's 50,000 + 10,000 images of 32 × 32 from its binary version, `cifar-10-batches-bin`.

    `path` is that folder, or the one that it was unpacked in. The pickled python version is refused: asal opens no
    pickle, because that runs the code in it. Source of the layout: A. Krizhevsky, "The CIFAR-10 dataset",
    section "Binary version" (https://www.cs.toronto.edu/~kriz/cifar.html). Keys are `data_batch_1.bin/0` …: the file,
    and the number in it. Memory: the labels, and one batch of 30 MB while they are read.
    """

    path: str

    @property
    def _place(self) -> Path | None:
        root = Path(self.path)
        return next((f for f in (root, root / "cifar-10-batches-bin") if (f / BATCHES["train"][0]).is_file()), None)

    @cached_property
    def _folder(self) -> Path:
        if self._place is not None:
            return self._place
        root = Path(self.path)
        for folder in (root, root / "cifar-10-batches-py"):
            if (folder / "data_batch_1").is_file():
                raise UserError(
                    f"'{folder}' holds the pickled python version of CIFAR-10",
                    rule="CIFAR-10 is read from its binary version, because opening a pickle runs the code in it",
                    hint="download cifar-10-binary.tar.gz, or use the hub: kind = 'hub', id = 'uoft-cs/cifar10'",
                )
        raise file_missing(
            BATCHES["train"][0],
            self.path,
            rule="CIFAR-10 is the folder cifar-10-batches-bin",
            hint="check the path, or unpack cifar-10-binary.tar.gz there",
        )

    def _file(self, name: str) -> Path:
        file = self._folder / name
        if not file.is_file():
            raise DamageError(f"{file} is missing", hint="download it again")
        return file

    @cached_property
    def classes(self) -> tuple[str, ...]:
        return tuple(self._file(NAMES).read_text(encoding="ascii", errors="replace").split())

    @cached_property
    def _sizes(self) -> dict[str, dict[str, int]]:
        """For each split its files, and how many images each holds."""
        return {split: {name: _size(self._file(name)) for name in names} for split, names in BATCHES.items()}

    @property
    def splits(self) -> Mapping[str, int]:
        return {split: sum(sizes.values()) for split, sizes in self._sizes.items()}

    @property
    def fingerprint(self) -> str | None:
        place = self._place
        names = (NAMES, *BATCHES["train"], *BATCHES["test"])
        return None if place is None else files_fingerprint({name: place / name for name in names})

    def labels(self, split: str) -> Labels | None:
        files = map(self._file, self._parts(split))
        labels = np.concatenate([np.fromfile(file, np.uint8)[::RECORD].astype(np.int64) for file in files])
        if labels.max() >= len(self.classes):
            raise damaged(self._folder, f"it has a label {labels.max()}, and {NAMES} names {len(self.classes)} classes")
        return labels

    def records(self, split: str, rows: Ids) -> Iterator[SourceImage]:
        for name, rows_of_file in apportion(self._parts(split), rows):
            with self._file(name).open("rb") as stream:
                for row in rows_of_file.tolist():
                    stream.seek(row * RECORD + 1)
                    planes = np.frombuffer(stream.read(RECORD - 1), np.uint8).reshape(SHAPE)
                    yield SourceImage(f"{name}/{row}", np.ascontiguousarray(planes.transpose(1, 2, 0)))

    def _parts(self, split: str) -> Mapping[str, int]:
        if split not in BATCHES:
            raise unknown("split", split, BATCHES)
        return self._sizes[split]


def _size(file: Path) -> int:
    images, rest = divmod(file.stat().st_size, RECORD)
    if rest or not images:
        raise damaged(file, f"{file.stat().st_size:,} bytes are not a multiple of {RECORD:,}, the size of an image")
    return images
