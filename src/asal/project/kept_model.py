"""The newest classifier on the disk, so that its guesses are there at once when people come back.

PROJECT/labelling/model holds the weights (safetensors) and model.json, which says what they were trained on. A file
that is damaged, or of other labels or options, is not used: the classifier is trained again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from asal.core import Model
from asal.errors import UserError
from asal.project.validate import learner_space
from asal.runtime import artifacts
from asal.runtime.meter import Meter
from asal.session.proposals import Trained
from asal.session.session import Session
from asal.session.state import State

if TYPE_CHECKING:
    from asal.project.project import Project

FOLDER = "model"
FACTS = "model.json"
FORMAT = 1
NOT_A_MODEL = (OSError, UserError, ValueError, TypeError, KeyError, IndexError, RuntimeError)  # what reading one raises

Tensors = Mapping[str, npt.NDArray[Any]]


@runtime_checkable
class Storable(Protocol):
    """A classifier that can be stored: its weights are all of it."""

    def tensors(self) -> Tensors: ...


@runtime_checkable
class Restoring(Protocol):
    """A learner that makes a classifier of stored weights; `shape` is that of one input."""

    def restored(self, tensors: Tensors, shape: Sequence[int], classes: int) -> Model: ...


@dataclass(frozen=True)
class KeptModel:
    """Where the newest classifier of one strategy is kept."""

    project: Project
    strategy: str
    seed: int

    @property
    def folder(self) -> Path:
        """Where its files are."""
        return self.project.root / "labelling" / FOLDER

    def keep(self, trained: Trained | None) -> None:
        """Write a classifier, if it can be stored; a disk that is full costs a training later, and nothing now."""
        if trained is None or not isinstance(trained.model, Storable):
            return
        from safetensors.numpy import save

        digest = self._digest(trained.state, trained.number)
        weights = save({name: np.ascontiguousarray(each) for name, each in trained.model.tensors().items()})
        name = f"{digest}.safetensors"
        facts = {
            "format": FORMAT,
            "seq": trained.state.seq,
            "round": trained.number,
            "digest": digest,
            "file": name,
            "sha256": hashlib.sha256(weights).hexdigest(),
        }
        with suppress(OSError):
            self.folder.mkdir(parents=True, exist_ok=True)
            artifacts.write(self.folder / name, weights)
            artifacts.write_json(self.folder / FACTS, facts)
            for other in self.folder.glob("*.safetensors"):
                if other.name != name:
                    other.unlink()

    def load(self, session: Session) -> Trained | None:
        """Return the classifier that is kept, if it was trained in this session, on labels that it has had."""
        learner = session.plan.learner
        if not isinstance(learner, Restoring) or not (self.folder / FACTS).exists():
            return None
        with suppress(*NOT_A_MODEL):
            return self._loaded(session, learner, artifacts.read_json(self.folder / FACTS))
        return None

    def _loaded(self, session: Session, learner: Restoring, facts: Mapping[str, Any]) -> Trained | None:
        from safetensors.numpy import load

        seq, number = int(facts["seq"]), int(facts["round"])
        if facts["format"] != FORMAT or seq > session.state.seq:
            return None
        state = session.as_of(seq).state
        if facts["digest"] != self._digest(state, number):
            return None
        weights = (self.folder / Path(str(facts["file"])).name).read_bytes()
        if hashlib.sha256(weights).hexdigest() != facts["sha256"]:
            return None
        shape = session.inputs(state.labelled[:1]).shape[1:]
        model = learner.restored(load(weights), shape, len(state.classes.live))
        return Trained(state, number, model, Meter())

    def _digest(self, state: State, number: int) -> str:
        """Return what changes with whatever a classifier depends on."""
        project, space = self.project, learner_space(self.project.spec)
        return artifacts.fingerprint(
            {
                "labels": hashlib.sha256(state.labelled.tobytes() + state.labels.tobytes()).hexdigest(),
                "classes": sorted(state.classes.live),
                "learner": project.spec.learner.model_dump(mode="json"),
                "strategy": self.strategy if self._depends_on_strategy else "",
                "features": project.parts.features(space).folder.name if space else "",
                "pool": project.pool.fingerprint,
                "seed": self.seed,
                "round": number,
            }
        )

    @property
    def _depends_on_strategy(self) -> bool:
        """Whether another strategy would have another classifier trained."""
        strategy = self.project.validate([self.strategy]).strategies[self.strategy]
        return bool(strategy.needs & {"loss"}) or "lines" in strategy.provides
