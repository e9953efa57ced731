"""One step of preparing a project: a folder, what it is made from, and how it is filled."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from asal.core import Pool
from asal.errors import UserError
from asal.runtime import artifacts
from asal.runtime.devices import Device
from asal.runtime.engine import Engine, InProcess
from asal.runtime.progress import Progress, no_progress

Fill = Callable[[Path], None]
Status = Literal["there", "to do", "partly done", "unknown"]  # unknown: its folder has no name while the pool is away


@dataclass(frozen=True)
class PrepareContext:
    """Where preparation happens, and with what."""

    root: Path
    pool: Pool
    seed: int = 0
    device: Device = field(default_factory=Device)
    progress: Progress = no_progress
    engine: Engine = field(default_factory=InProcess)  # does what can be done in pieces
    storage: str = ""  # the URL by which its machines exchange files, where they see no common ones

    def folder(self, home: str, kind: str, facts: Mapping[str, Any]) -> Path:
        """Return the folder of what is made from these facts."""
        return self.root / home / f"{kind.replace(':', '.')}-{artifacts.fingerprint(facts)}"


@dataclass(frozen=True)
class Work:
    """How much there is to do, as far as it is known before: what an estimate of seconds is made from.

    Args:
        kind: of work, such as "train wgan-gp"; seconds a unit are measured for each.
        units: pixels that go through, in all; 0 where that is not known.
        passes: of batches through a network; each costs something however small it is.
    """

    kind: str = ""
    units: float = 0.0
    passes: float = 0.0


def nothing(folder: Path) -> None:
    """Do nothing after a step."""


@dataclass(frozen=True)
class Step:
    """One folder to be made: from what, and how.

    Args:
        name: what it does, for people, a verb and what it makes: "train the generator wgan-gp".
        folder: what it makes, named by the facts.
        facts: what goes into it; its manifest holds them.
        fill: writes its files; the steps before it have been done by then.
        work: for an estimate.
        stages: what it reports, in order, each with its share of the work; none where it reports one stage alone.
        after: is called when the folder is complete, each time.
    """

    name: str
    folder: Path
    facts: Mapping[str, Any]
    fill: Fill
    work: Work = Work()
    after: Fill = nothing
    stages: tuple[tuple[str, float], ...] = ()

    @property
    def status(self) -> Status:
        """Whether the folder is there."""
        return status_of(self.folder)

    def open(self) -> Path:
        """Return the folder, checked against its manifest.

        Raises:
            UserError: it is not there.
            DamageError: it is not as it was written.
        """
        if not artifacts.is_complete(self.folder):
            what = self.name.partition(" ")[2] or self.name
            raise UserError(f"{what} is not prepared: no folder at {self.folder}", hint="run `asal prepare`")
        artifacts.verify(self.folder)
        return self.folder

    def make(self) -> Path:
        """Make the folder, or go on with it, unless it is complete; then it is checked.

        Raises:
            DamageError: it is not as it was written.
        """
        if artifacts.is_complete(self.folder):
            artifacts.verify(self.folder, newer=True)
            artifacts.tidy(self.folder)
        else:
            with artifacts.building(self.folder, self.facts) as partial:
                self.fill(partial)
        self.after(self.folder)
        return self.folder


def status_of(folder: Path) -> Status:
    """Return whether a derived folder is there, complete or begun."""
    if artifacts.is_complete(folder):
        return "there"
    return "partly done" if folder.with_name(f"{folder.name}.partial").exists() else "to do"
