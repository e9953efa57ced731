"""The classifier that a project's labels give by now: the one that is kept on the disk, or trained as in a session."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np

from asal.core import Ids, Model
from asal.errors import UserError
from asal.project.kept_model import KeptModel
from asal.runtime.progress import report_to
from asal.session.events import Record, RecordSnapshot
from asal.session.plan import untrainable
from asal.session.proposals import Trained
from asal.session.record_file import is_there
from asal.session.session import Session
from asal.session.state import State, fold

if TYPE_CHECKING:
    from asal.project.project import Project

NEWEST = 2**62  # behind every event


@dataclass(frozen=True)
class Classifier:
    """A classifier with what it was trained on.

    Args:
        session: of the labels; it can be read, and not written to.
        strategy: that the spec chooses images by.
    """

    session: Session
    strategy: str
    trained: Trained

    @property
    def model(self) -> Model:
        """What predicts."""
        return self.trained.model

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of its classes, in the order of its probabilities."""
        return tuple(self.session.class_list.live.values())

    @property
    def counts(self) -> dict[str, int]:
        """How many images of each class it was trained on."""
        return self.session.counts

    @property
    def with_label(self) -> Ids:
        """The images that have a label: those that were answered, and exact copies of them."""
        pool, answered = len(self.session.pool), self.session.labelled
        answered = answered[answered < pool]
        return np.union1d(answered, self.session.copies.of(answered))


def classifier_of(project: Project, strategy: str = "") -> Classifier:
    """Return the classifier of all labels in a project's record, which is read and left as it is.

    Cost: reading the one that is kept, if it was trained on the same labels; else its training.

    Args:
        strategy: one of the spec's; by default the one that `asal label` uses. Some have classifiers of their own.

    Raises:
        UserError: there are no labels, or of one class only, or features that it reads are not prepared.
    """
    place = project.folder.record_place
    if isinstance(place, Path) and not is_there(place):
        raise _nothing(str(place))
    with Record.open(place, readonly=True) as record:
        session = _session(project, cast(Record, RecordSnapshot(record, NEWEST)), strategy or usual_strategy(project))
        name, state = session.plan.name, session.state
        if why := untrainable(state):
            raise UserError(
                f"{record.name}: {why}", rule="a classifier is trained on two or more classes", hint="label more images"
            )
        session.trained = _known(project, session)
        if session.trained is None:
            with report_to(project.progress, "training"):
                session.model()
    assert session.trained is not None
    project.trained[name] = session.trained
    return Classifier(session, name, session.trained)


def _known(project: Project, session: Session) -> Trained | None:
    """Return a classifier of the present labels that is there: in this process, or kept by the labelling page."""
    name, state = session.plan.name, session.state
    for trained in (project.trained.get(name), KeptModel(project, name, session.plan.seed).load(session)):
        if trained is not None and trained.fits(state, trained.number):
            return trained
    return None


def usual_strategy(project: Project) -> str:
    """Return the strategy that people label with, unless they name another one."""
    return project.spec.default_strategy


def _session(project: Project, record: Record, strategy: str) -> Session:
    state = fold(State(), record.read())
    if state.opened is None:
        raise _nothing(record.name)
    plan = project.plan(strategy, tuple(state.classes.live.values()), int(state.opened["seed"]))
    return Session(project.pool, record, plan, project.tools(strategy), str(project.root), copies=project.copies)


def _nothing(name: str) -> UserError:
    return UserError(f"there are no labels in {name}", hint="label some images first: asal label")
