"""The 1,797 hand-written digits that come with scikit-learn: 8 × 8 gray, no download."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from asal.core import Ids, Labels
from asal.data.sources import SourceImage, sources
from asal.errors import unknown


@sources.register("digits")
@dataclass(frozen=True)
class Digits:
    """scikit-learn's 1,797 digits, 8 × 8 gray, in one split; values 0 … 16 become 0 … 255."""

    @cached_property
    def _set(self) -> Any:
        from sklearn.datasets import load_digits  # here, because importing it takes seconds

        return load_digits()

    @property
    def classes(self) -> tuple[str, ...]:
        return tuple("0123456789")

    @property
    def splits(self) -> Mapping[str, int]:
        return {"train": 1797}

    @property
    def fingerprint(self) -> str | None:
        return "digits"  # the same in every installation

    def labels(self, split: str) -> Labels | None:
        self._check(split)
        return np.asarray(self._set.target, np.int64)

    def records(self, split: str, rows: Ids) -> Iterator[SourceImage]:
        self._check(split)
        images: npt.NDArray[np.uint8] = np.rint(self._set.images * (255 / 16)).astype(np.uint8)
        for row in rows.tolist():
            yield SourceImage(f"{split}/{row}", images[row])

    def _check(self, split: str) -> None:
        if split not in self.splits:
            raise unknown("split", split, self.splits)
