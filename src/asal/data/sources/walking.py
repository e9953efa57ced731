"""Lists the files of a tree, folder by folder in natural order, without what no data set means to have."""

from __future__ import annotations

import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from asal.data.sources.passed_over import may_be_image, system_name, without_sidecars


@dataclass
class Walked:
    """The files of a tree.

    Args:
        files: relative to the root, folder by folder in natural order.
        passed: how many files were passed over, by what they are.
        empty: folders without any file.
    """

    files: list[str] = field(default_factory=list)
    passed: Counter[str] = field(default_factory=Counter)
    empty: list[str] = field(default_factory=list)

    def images(self) -> dict[str, int]:
        """Return for each folder how many files right in it may be images; "" is the root."""
        found: dict[str, int] = {}
        for file in self.files:
            folder, _, name = file.rpartition("/")
            found[folder] = found.get(folder, 0) + may_be_image(name)
        return found

    def tidy(self) -> Walked:
        """Pass over annotations beside images, and folders in which nothing may be an image."""
        images = self.images()
        with_images = {part for folder, number in images.items() if number for part in _parents(folder)}
        if not with_images or all(map(may_be_image, self.files)):
            return self
        by_folder = defaultdict(list)
        for file in self.files:
            folder, _, name = file.rpartition("/")
            by_folder[folder].append(name)
        kept = set()
        for folder, names in by_folder.items():
            if folder and folder not in with_images:
                self.passed[f"in '{printable(folder)}', which holds no image"] += len(names)
                continue
            rest = [*without_sidecars(names)]
            kept |= {f"{folder}/{name}" if folder else name for name in rest}
            if len(rest) < len(names):
                self.passed["called as the image beside them"] += len(names) - len(rest)
        self.files = [file for file in self.files if file in kept]
        return self


def _parents(folder: str) -> Iterator[str]:
    """Yield a folder and all that it lies in."""
    while folder:
        yield folder
        folder = folder.rpartition("/")[0]
    yield ""


def walked(root: Path) -> Walked:
    """List the files below a folder.

    Links are followed, but not in circles. A folder that may not be listed is named as a file: decoding it gives the
    reason.
    """
    found, parents = Walked(), list[tuple[int, int]]()

    def visit(place: Path, prefix: str) -> None:
        status = place.stat()
        if (status.st_dev, status.st_ino) in parents:
            return
        parents.append((status.st_dev, status.st_ino))
        with os.scandir(place) as entries:
            is_folder = {entry.name: entry.is_dir() for entry in entries}
        if not is_folder and prefix:
            found.empty.append(prefix.rstrip("/"))
        for name in sorted(is_folder, key=natural):
            if what := system_name(name, folder=is_folder[name]):
                _pass_over(found, place / name, what, is_folder[name])
            elif is_folder[name] and os.access(place / name, os.R_OK | os.X_OK):
                visit(place / name, f"{prefix}{name}/")
            else:
                found.files.append(prefix + name)
        parents.pop()

    visit(root, "")
    return found.tidy()


def _pass_over(found: Walked, place: Path, what: str, is_folder: bool) -> None:
    inside = sum(len(files) for _, _, files in os.walk(place)) if is_folder else 1
    what = f"in {place.name}" if is_folder and what != "hidden" else what
    found.passed[what] += inside


def walked_names(names: Iterable[str]) -> Walked:
    """List files that are given by their names, as `walked` lists them."""
    found = Walked()
    for name in names:
        *steps, file = name.split("/")
        bin_ = next((step for step in steps if system_name(step, folder=True)), "")
        hidden = bin_ and system_name(bin_, folder=True) == "hidden"
        if what := "hidden" if hidden else f"in {bin_}" if bin_ else system_name(file):
            found.passed[what] += 1
        else:
            found.files.append(name)
    found.files.sort(key=in_order)
    return found.tidy()


def in_order(name: str) -> list[tuple[list[str | int], str]]:
    """Return a key that sorts folder by folder."""
    return [natural(step) for step in name.split("/")]


def natural(name: str) -> tuple[list[str | int], str]:
    """Return a key that sorts the numbers in names by their values, not by their digits."""
    parts = re.split("([0-9]+)", name)
    return [int(part) if i % 2 else part for i, part in enumerate(parts)], name


def printable(name: str) -> str:
    """Return a file's name as valid UTF-8, escaping the bytes that are not."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")
