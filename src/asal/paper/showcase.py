"""Figure 2: synthetic images of high entropy, and what each feature space finds for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from asal.build import Project, ProjectTools
from asal.core import NO_IDS, Ids, Labels, Model, Probs, Round, Scores, Tools
from asal.experiment import Initial
from asal.meter import Meter
from asal.paper.claims import Finding, Verdict
from asal.plots import Pairs
from asal.rng import stream
from asal.scores.entropy import entropy
from asal.session import NO_MODEL
from asal.strategies.asal import nearest_untaken
from asal.strategies.synthesis import Climb, Synthetic, of_score, synthesise

SHOWN = 10  # columns of the picture
MADE = 100  # synthetic images that the figures beside it are taken over
SURE = 0.95  # a teacher's probability from which an image counts as labelable


@dataclass(frozen=True)
class Matched:
    """What a feature space found for the synthetic images; m of each."""

    space: str
    ids: Ids  # (m,)
    labels: Labels  # (m,)
    distances: Scores  # (m,)
    scores: Scores  # (m,) entropy of the matches


@dataclass(frozen=True)
class Showcase:
    """Synthetic images, who could label them, and their matches in each space."""

    made: Synthetic
    answers: Probs  # (m, k) the teacher's
    spaces: tuple[Matched, ...]
    classes: tuple[str, ...]
    project: Project

    def blocks(self) -> list[Pairs]:
        """Return the rows of the picture."""
        blocks = []
        for found in self.spaces:
            matched = self.project.pool.read(found.ids[:SHOWN])
            names = [f"{self.classes[label]}\n{image}" for label, image in zip(found.labels, found.ids, strict=True)]
            means = float(self.made.scores.mean()), float(found.scores.mean())
            blocks.append(Pairs(found.space, self.made.images[:SHOWN], matched, names[:SHOWN], means))
        return blocks

    def rows(self) -> list[dict[str, Any]]:
        """Return one row for each synthetic image and space."""
        return [
            {
                "space": found.space, "column": i, "id": int(found.ids[i]), "class": self.classes[found.labels[i]],
                "distance": float(found.distances[i]), "entropy_of_match": float(found.scores[i]),
                "entropy_of_synthetic": float(self.made.scores[i]),
                "teacher": self.classes[self.answers[i].argmax()], "teacher_probability": float(self.answers[i].max()),
            }
            for found in self.spaces
            for i in range(len(found.ids))
        ]  # fmt: skip

    def labelable(self) -> Finding:
        """Check that labelling the synthetic images is possible (section 5.3)."""
        share = float((self.answers.max(axis=1) >= SURE).mean())
        told = f"a network trained on every label is at least {SURE:.0%} sure of {share:.0%} of {MADE} synthetic images"
        return Finding(told, "agrees" if share >= 0.5 else "disagrees")

    def alike(self) -> Finding:
        """Check that matches look like what they match: they are of the class that the teacher sees in it."""
        seen = self.answers.argmax(axis=1)
        shares = {found.space: float((found.labels == seen).mean()) for found in self.spaces}
        chance = 1 / len(self.classes)
        told = ", ".join(f"{space} {share:.0%}" for space, share in shares.items())
        verdict: Verdict = "agrees" if min(shares.values()) >= 2 * chance else "disagrees"
        return Finding(f"matches of the class that the teacher sees: {told}; chance {chance:.0%}", verdict)

    def nearer_is_liker(self) -> Finding:
        """Check that the nearer a match is, the more like its synthetic image's its entropy is: by ranks."""
        from scipy.stats import spearmanr

        found = {}
        for space in self.spaces:
            found[space.space] = float(spearmanr(space.distances, np.abs(space.scores - self.made.scores)).statistic)
        told = ", ".join(f"{space} {rho:+.2f}" for space, rho in found.items())
        verdict: Verdict = "agrees" if min(found.values()) > 2 / np.sqrt(MADE) else "undecided"
        return Finding(f"Spearman’s ρ of distance and difference in entropy, {MADE} matches: {told}", verdict)

    def as_uncertain(self) -> Finding:
        """Tell how much of the synthetic images' entropy their matches have."""
        made = float(self.made.scores.mean())
        told = ", ".join(f"{found.space} {found.scores.mean():.3f}" for found in self.spaces)
        kept = [found.scores.mean() / made for found in self.spaces]
        return Finding(f"mean entropy: synthetic {made:.3f}; {told}", "agrees" if min(kept) > 0.5 else "disagrees")


def showcase(project: Project, spaces: Sequence[str], labels: int, seed: int = 0) -> Showcase:
    """Train a classifier on so many random labels, make up images that it is unsure of, and match them.

    Every space matches the same synthetic images, without replacement, as in the paper's algorithm 1.
    """
    oracle, pool = project.oracle("pool"), project.pool
    nothing = Round(0, pool, NO_IDS, NO_IDS, _none(NO_MODEL), _none(None))
    initial = Initial(oracle, project.spec.protocol.draw, seed)
    known = initial(nothing, labels, stream(seed, "initial")).ids
    learner = project.learner()
    model = learner.fit(pool.read(known), oracle.answer(known), len(oracle.classes), stream(seed, "learner", 0))
    tools: Tools = project.tools("asal")
    now = Round(0, pool, known, oracle.answer(known), model, tools)
    made = synthesise(
        now, MADE, of_score(model, "entropy"), Climb(steps=100, step_size=0.05), stream(seed, "strategy", 0)
    )
    found = tuple(_matched(project, space, model, made, known) for space in spaces)
    answers = project.teacher.model.predict(made.images)
    return Showcase(made, answers, found, oracle.classes, project)


def _none(value: Any) -> Any:
    """Return what a round holds that is never looked at."""
    return value


def _matched(project: Project, space: str, model: Model, made: Synthetic, known: Ids) -> Matched:
    tools = ProjectTools(project, "asal", space, frozenset({"features", "index"})).at(model, Meter())
    near = tools.index.search(tools.extractor(made.images), MADE, without=np.sort(known))
    ids = nearest_untaken(near.ids, MADE)
    places = (near.ids == ids[:, None]).argmax(axis=1)
    distances = near.distances[np.arange(MADE), places]
    scores = np.asarray(entropy(model.predict(project.pool.read(ids))))
    return Matched(space, ids, project.oracle("pool").answer(ids), distances, scores)
