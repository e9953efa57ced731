"""What every trained generator and encoder must do: learn from images alone, and resume after an interruption.

`CHECKS[name](make)` raises AssertionError where the part fails. `make` is called without arguments and returns the
part, the same options each time; they should let it train on 8 × 8 gray images in a fraction of a second and report
progress three times or more. A part that learns nothing, and so reports none, passes.

After each step, a part that can resume asks `asal.models.checkpoints.due` whether to save; a check lets it always be
due.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy as np

from asal.core import Ids, Images, Pool
from asal.runtime.artifacts import SCRATCH
from asal.runtime.devices import Device
from asal.runtime.progress import Progress, no_progress
from asal.testing.toys import ToyPool, toy_world

Files: TypeAlias = dict[str, bytes]  # by their path in the part's folder


class Trainable(Protocol):
    """What generators and kinds of features share."""

    def train(self, pool: Pool, folder: Path, seed: int, device: Device, progress: Progress) -> None: ...


Make: TypeAlias = Callable[[], Trainable]


@lru_cache(8)
def toy_pool(shape: tuple[int, int, int] = (8, 8, 1)) -> ToyPool:
    """Return forty toy images of three classes."""
    return toy_world(images=40, shape=shape).pool


@contextmanager
def workshop() -> Iterator[Path]:
    """Give a folder as `asal.runtime.artifacts.building` does."""
    with tempfile.TemporaryDirectory() as home:
        (Path(home) / SCRATCH).mkdir()
        yield Path(home)


def train(
    part: Trainable, folder: Path, *, pool: Pool | None = None, seed: int = 0, progress: Progress = no_progress
) -> Files:
    """Train on the toy pool, and return what is in the folder then, but the scratch."""
    part.train(pool or toy_pool(), folder, seed, Device("cpu"), progress)
    paths = [path.relative_to(folder) for path in folder.rglob("*") if path.is_file()]
    return {str(path): (folder / path).read_bytes() for path in sorted(paths) if SCRATCH not in path.parts}


class ImagesAlone:
    """A pool that has what the protocol says and not one attribute more."""

    def __init__(self, pool: Pool) -> None:
        self.__pool = pool
        self.fingerprint, self.shape = pool.fingerprint, pool.shape

    def __len__(self) -> int:
        return len(self.__pool)

    def read(self, ids: Ids) -> Images:
        """Return the images of these ids."""
        return self.__pool.read(ids)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise AssertionError(f"training looks for '{name}' in the pool: it may see images and nothing else")


def reads_images_only(make: Make) -> None:
    """Training reads images of the pool, and looks for nothing else there: no label, no path, no test set."""
    with workshop() as folder:
        train(make(), folder, pool=ImagesAlone(toy_pool()))


def same_seed_same_files(make: Make) -> None:
    """The same seed gives the same bytes, and another seed gives others."""
    with workshop() as one, workshop() as two, workshop() as three:
        first = train(make(), one)
        assert train(make(), two) == first, "trained twice from one seed, the files differ"
        assert not first or train(make(), three, seed=1) != first, "trained from another seed, the files are the same"


def does_not_depend_on_global_random_state(make: Make) -> None:
    """The global random state of numpy and torch makes no difference."""
    found = []
    for seed in (1, 2):
        with workshop() as folder, global_streams(seed):
            found.append(train(make(), folder))
    assert found[0] == found[1], "the files depend on the global random state: draw everything from streams of the seed"


@contextmanager
def global_streams(seed: int) -> Iterator[None]:
    """Seed the global streams of numpy and torch, and put them back as they were."""
    import torch

    before = np.random.get_state()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        np.random.seed(seed)
        try:
            yield
        finally:
            np.random.set_state(before)


class Cut(Exception):  # noqa: N818  not an error: the user's Ctrl-C, or the machine's end
    """Stands for a process that is ended while it works."""


def resumes_after_an_interruption(make: Make) -> None:
    """Interrupted twice and called again, training resumes where it was, and ends with the very same bytes."""
    reported: list[int] = []
    with workshop() as folder:
        uncut = train(make(), folder, progress=lambda stage, done, total, note="": reported.append(done))
    if not reported:
        return
    assert len(reported) > 2, f"it reported progress {len(reported)} times: give it more steps, so that it can be cut"
    again: list[int] = []
    with workshop() as folder, saving_always():
        for place in (reported[1], reported[-1]):
            with suppress(Cut):
                train(make(), folder, progress=_cutting(place))
                raise AssertionError("an exception in the progress callback did not end the training")
        cut = train(make(), folder, progress=lambda stage, done, total, note="": again.append(done))
    assert again[0] > reported[0], f"it began from the start: the first step it reported was {again[0]}, as when uncut"
    differing = sorted({name for name in uncut.keys() | cut.keys() if uncut.get(name) != cut.get(name)})
    assert not differing, f"cut and resumed, it leaves other bytes than an uninterrupted run: {', '.join(differing)}"


def _cutting(place: int) -> Progress:
    def progress(stage: str, done: int, total: int, note: str = "") -> None:
        if done >= place:
            raise Cut

    return progress


@contextmanager
def saving_always() -> Iterator[None]:
    """Make every training save its state after every step."""
    from asal.models import checkpoints

    before = checkpoints.CHECKPOINT_SECONDS
    checkpoints.CHECKPOINT_SECONDS = 0.0
    try:
        yield
    finally:
        checkpoints.CHECKPOINT_SECONDS = before


CHECKS: dict[str, Callable[[Make], None]] = {
    "reads images only": reads_images_only,
    "same seed, same files": same_seed_same_files,
    "does not depend on global random state": does_not_depend_on_global_random_state,
    "resumes after an interruption": resumes_after_an_interruption,
}
