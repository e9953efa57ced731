"""A folder on a share that does not answer for some files, for tests: other processes can open it, too."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from asal.core import Ids, Labels
from asal.data.sources import Lost, Raw, SourceImage
from asal.data.sources.folder import Folder


@dataclass(frozen=True)
class Stalling:
    """Files whose names hold "slow" take as many seconds as the file `seconds` beside the folder says; those with
    "death" end the process that reads them.
    """

    path: str
    remote: str = ""

    @property
    def _folder(self) -> Folder:
        return Folder(self.path)

    @property
    def classes(self) -> tuple[str, ...]:
        return self._folder.classes

    @property
    def splits(self) -> Mapping[str, int]:
        return self._folder.splits

    @property
    def fingerprint(self) -> str | None:
        return self._folder.fingerprint

    def labels(self, split: str) -> Labels | None:
        return self._folder.labels(split)

    def records(self, split: str, rows: Ids) -> Iterator[SourceImage]:
        return self._folder.records(split, rows)

    def originals(self, keys: Sequence[str]) -> Iterator[Raw]:
        for key in keys:
            if "slow" in key:
                time.sleep(float((Path(self.path).parent / "seconds").read_text()))
            if "death" in key:
                os._exit(9)
            if "hunger" in key:
                yield bytes(2**33)
            yield Path(self.path) / key if (Path(self.path) / key).is_file() else Lost("there is no such file")
