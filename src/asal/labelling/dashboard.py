"""What the page shows beside the image: progress, why an image was chosen, who agrees with whom."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np

from asal.labelling.agreement import agreement_with_others, alpha, kappas
from asal.labelling.annotators import Annotator, Annotators
from asal.labelling.messages import Reason
from asal.labelling.reasons import Line, lines, sentence
from asal.labelling.service import AnnotationService
from asal.labelling.supervisor import WorkerSupervisor

RECENT = 20.0  # seconds over which the rate of answers is measured


@dataclass(frozen=True)
class Dashboard:
    """Combines what the service, the worker and the list of annotators know. It writes nothing."""

    service: AnnotationService
    supervisor: WorkerSupervisor
    annotators: Annotators
    budget: int

    def progress(self) -> dict[str, int]:
        """Return the progress of the labelling, in answers."""
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
        """Return what the page shows beside the image."""
        state, history = self.service.refresh(), self.service.history.of(who.name)
        counts = np.bincount(state.labels, minlength=len(self.service.class_list.names))  # by the classes' numbers
        stopping = self.supervisor.stopping
        return {
            "progress": self.progress(),
            "counts": counts.tolist(),
            "classes": self.service.class_list.seq,
            "curve": self.curve(),
            "doing": self.supervisor.activity.to_json(),
            "stopping": {
                "met": sum(verdict.met for verdict in stopping.verdicts),
                "of": len(stopping.verdicts),
                "advice": stopping.advice,
            },
            "mine": {
                "answers": sum(entry.label is not None for entry in history.all()),
                "skipped": sum(entry.label is None for entry in history.all()),
                "median_seconds": history.median_seconds,
            },
        }

    def curve(self) -> list[dict[str, Any]]:
        """Return the accuracy of each classifier so far: on the validation set, or the test set where there is none."""
        points = []
        for row in self.supervisor.rows:
            accuracy = row.accuracy if row.validation is None else row.validation
            if accuracy is not None:
                points.append({"labels": row.labels, "accuracy": accuracy, "round": row.round})
        return points

    def stopping(self) -> dict[str, Any]:
        """Return what the stopping criteria say."""
        return {**self.supervisor.stopping.to_json(), "curve": self.curve()}

    def rate(self) -> float:
        """Return how many answers people gave per second, of late."""
        now = time.time()
        times = [datetime.fromisoformat(at).timestamp() for at in list(self.service.history.recent)]
        recent = [at for at in times if at > now - RECENT]
        return len(recent) / max(1.0, min(RECENT, now - min(recent))) if len(recent) > 1 else 0.0

    def why(self, image: int) -> dict[str, Any] | None:
        """Return why an image was chosen, or None where it was never asked."""
        state = self.service.state
        pick = state.pick(image)
        if pick is None:
            return None
        asked, reason = state.rounds[pick.round], self.supervisor.reason(image) or Reason()
        return {
            "image": image,
            "round": pick.round,
            "strategy": asked.strategy,
            "score": pick.score,
            "chosen_from": sentence(
                reason.facts, asked.strategy, asked.fallback_reason, synthetic=image in state.synthetic
            ),
            "facts": _facts(reason, pick.score, asked.fallback_reason is None),
            "score_name": reason.score or None,
            "synthetic": f"/why/{image}.png" if reason.synthetic else None,
            "synthetic_score": reason.facts.get("synthetic_score"),
            "distance": reason.facts.get("distance"),
            "trained_on": asked.labelled if asked.fallback_reason is None else None,
            "topped": asked.topped,
        }

    def guess(self, image: int) -> list[float] | None:
        """Return the classifier's probabilities by the classes' numbers, where the worker has reported them."""
        probs = self.supervisor.guess(image)
        return None if probs is None else self.service.class_list.present_probs(probs)

    def team(self, who: Annotator) -> dict[str, Any]:
        """Return who did what, and how far people agree; for adjudicators also the disputed images."""
        state = self.service.refresh()
        several = {image: votes for image, votes in state.votes.items() if len(votes) > 1}
        agreement = agreement_with_others(several)
        listed = {person.name: person.role for person in self.annotators.all()}
        roles = {**dict.fromkeys(list(self.service.history.by_person), "left"), **listed}
        disputed, disputes = self.service.disputed(who)
        return {
            "people": [self._person(name, role, agreement.get(name)) for name, role in sorted(roles.items())],
            "alpha": alpha(several),
            "kappa": [vars(pair) for pair in kappas(several)],
            "several": len(several),
            "disputed": [vars(task) for task in disputed],
            "disputes": disputes,
        }

    def _person(self, name: str, role: str, agreement: float | None) -> dict[str, Any]:
        history, votes = self.service.history.of(name), self.service.state.votes.values()
        return {
            "name": name,
            "role": role,
            "answers": sum(entry.label is not None for entry in history.all()),
            "skipped": sum(entry.label is None for entry in history.all()),
            "votes": sum(name in each for each in votes),
            "median_seconds": history.median_seconds,
            "agreement": agreement,
        }


def _facts(reason: Reason, score: float, by_classifier: bool) -> list[Line]:
    """Return what the strategy noted, in words; where it noted no score and no gain, the score that it ranked by."""
    own = {"score": score} if by_classifier and (reason.score or score) and "gain" not in reason.facts else {}
    return lines({**own, **reason.facts}, reason.score)
