"""What people look at beside the image: how far they are, why an image was chosen, who agrees with whom."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np

from asal.labelling.agreement import alpha, kappas, with_others
from asal.labelling.annotators import Annotator, Annotators
from asal.labelling.service import AnnotationService
from asal.labelling.supervisor import WorkerSupervisor
from asal.session.state import State

RECENT = 20.0  # seconds over which the rate of answering is taken


@dataclass(frozen=True)
class Dashboard:
    """Puts together what the desk, the worker and the people's list know. Nothing here writes."""

    service: AnnotationService
    supervisor: WorkerSupervisor
    people: Annotators
    budget: int

    def progress(self) -> dict[str, int]:
        """Return how far the labelling is, in answers."""
        state = self.service.state
        return {
            "answers": len(state.answers),
            "skipped": len(state.skips),
            "spent": state.spent,
            "budget": self.budget,
            "open": len(state.waiting),
            "round": state.number,
        }

    def status(self, who: Annotator) -> dict[str, Any]:
        """Return all that the page shows beside the image."""
        state, story = self.service.refresh(), self.service.timeline.of(who.name)
        counts = np.bincount(state.labels, minlength=len(self.service.classes))
        criteria = self.supervisor.stopping["criteria"]
        return {
            "progress": self.progress(),
            "counts": counts.tolist(),
            "curve": self.curve(),
            "doing": self.supervisor.doing,
            "stopping": {
                "met": sum(bool(one["met"]) for one in criteria),
                "of": len(criteria),
                "advice": self.supervisor.stopping["advice"],
            },
            "mine": {
                "answers": sum(entry.label is not None for entry in story.all()),
                "skipped": sum(entry.label is None for entry in story.all()),
                "median_seconds": story.median_seconds,
            },
        }

    def curve(self) -> list[dict[str, Any]]:
        """Return the accuracy of each classifier so far: on the validation set, or the test set where there is none."""
        found = []
        for row in self.supervisor.rows:
            accuracy = row.accuracy if row.validation is None else row.validation
            if accuracy is not None:
                found.append({"labels": row.labels, "accuracy": accuracy, "round": row.round})
        return found

    def stopping(self) -> dict[str, Any]:
        """Return what the stopping criteria say."""
        return {**self.supervisor.stopping, "curve": self.curve()}

    def rate(self) -> float:
        """Return how many answers came in a second of late."""
        now = time.time()
        times = [datetime.fromisoformat(at).timestamp() for at in list(self.service.timeline.recent)]
        late = [at for at in times if at > now - RECENT]
        return len(late) / max(1.0, min(RECENT, now - min(late))) if len(late) > 1 else 0.0

    def why(self, image: int) -> dict[str, Any] | None:
        """Return why an image was chosen, or None where it was never asked."""
        state = self.service.state
        pick = state.pick(image)
        if pick is None:
            return None
        asked, told = state.rounds[pick.round], self.supervisor.reason(image) or {}
        facts: Mapping[str, Any] = told.get("why", {})
        return {
            "image": image,
            "round": pick.round,
            "strategy": asked.strategy,
            "score": pick.score,
            "chosen_from": _sentence(state, image, asked.because, bool(told.get("synthetic"))),
            "synthetic": f"/why/{image}.png" if told.get("synthetic") else None,
            "synthetic_score": facts.get("synthetic_score"),
            "distance": facts.get("distance"),
            "seen_labels": asked.labelled,
            "topped": asked.topped,
        }

    def team(self, who: Annotator) -> dict[str, Any]:
        """Return who did what, and how far people agree; to adjudicators also what they disagree about."""
        state = self.service.refresh()
        doubly = {image: votes for image, votes in state.votes.items() if len(votes) > 1}
        together = with_others(doubly)
        listed = {person.name: person.role for person in self.people.all()}
        roles = {**dict.fromkeys(list(self.service.timeline.stories), "left"), **listed}
        disputed, disputes = self.service.disputed(who)
        return {
            "people": [self._person(name, role, together.get(name)) for name, role in sorted(roles.items())],
            "alpha": alpha(doubly),
            "kappa": [vars(pair) for pair in kappas(doubly)],
            "doubly": len(doubly),
            "disputed": [vars(task) for task in disputed],
            "disputes": disputes,
        }

    def _person(self, name: str, role: str, agreement: float | None) -> dict[str, Any]:
        story, votes = self.service.timeline.of(name), self.service.state.votes.values()
        return {
            "name": name,
            "role": role,
            "answers": sum(entry.label is not None for entry in story.all()),
            "skipped": sum(entry.label is None for entry in story.all()),
            "votes": sum(name in told for told in votes),
            "median_seconds": story.median_seconds,
            "agreement": agreement,
        }


def _sentence(state: State, image: int, because: str | None, synthetic: bool) -> str:
    if image in state.made:
        return (
            "The generator made this image up; nobody has seen it before. If it shows nothing, say that you can't tell."
        )
    if because:
        return f"There was no classifier yet that could choose ({because}), so this one is of the first kind of batch."
    if synthetic:
        return (
            "The generator made up an image that the classifier was unsure of; of the real images, this is near to it."
        )
    return "The strategy gave this image one of the highest scores of those that it looked at."
