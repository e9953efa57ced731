"""Figure 2: synthetic images of high entropy, and what each feature space finds for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from asal.core import NO_IDS, Ids, Labels, Model, Probs, Resources, Round, Scores
from asal.errors import UserError
from asal.experiments.run import Initial
from asal.experiments.statistics import estimate
from asal.features import features
from asal.paper.claims import MINUS, Finding, of_signs
from asal.paper.context import CheckedClaim
from asal.paper.plots import Row
from asal.project.project import Project
from asal.project.resources import ProjectResources
from asal.runtime.meter import Meter
from asal.runtime.rng import stream
from asal.session.missing import NO_MODEL
from asal.strategies.asal import nearest_untaken
from asal.strategies.latent_optimisation import LatentOptimisation
from asal.strategies.scores.entropy import entropy
from asal.strategies.synthesis import Synthetic, of_score, synthesise

SHOWN = 10  # columns of the picture
MADE = 100  # synthetic images that the figures beside it are taken over
USUAL = 1_000  # random images of the pool that their entropy is held against
SURE = 0.95  # a teacher's probability from which an image counts as labelable
CORRELATED = 1.96 / (MADE - 1) ** 0.5  # a rank correlation beyond this is rare by chance: one in twenty


@dataclass(frozen=True)
class Matched:
    """What a feature space found for the synthetic images; m of each."""

    space: str
    ids: Ids  # (m,)
    labels: Labels  # (m,)
    distances: Scores  # (m,)
    scores: Scores  # (m,) entropy of the matches
    fixed: bool  # the space does not hang on the present classifier


@dataclass(frozen=True)
class Showcase:
    """Synthetic images, who could label them, and their matches in each space."""

    made: Synthetic
    answers: Probs  # (m, k) the teacher's
    spaces: tuple[Matched, ...]
    usual: float  # mean entropy of random images of the pool
    classes: tuple[str, ...]
    project: Project

    def picture(self) -> list[Row]:
        """Return the rows of the picture: what was made up, then what each space finds for it."""
        pool, made = self.project.pool, self.made
        entropies = [f"{score:.2f}" for score in made.scores[:SHOWN]]
        picture = [Row("synthetic", f"mean entropy {made.scores.mean():.3f}", made.images[:SHOWN], entropies)]
        for found in self.spaces:
            names = [f"{self.classes[label]}\n{image}" for label, image in zip(found.labels, found.ids, strict=True)]
            note = f"mean entropy {found.scores.mean():.3f}"
            picture.append(Row(f"matched by {found.space}", note, pool.read(found.ids[:SHOWN]), names[:SHOWN]))
        return picture

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

    def claims(self) -> list[CheckedClaim]:
        """Return what the paper says of such images, checked."""
        return [
            CheckedClaim("labelling synthetic samples is possible", "5.3", self.labelable()),
            CheckedClaim(
                "the closer the representations, the more likely they will score a similar entropy",
                "3.2",
                self.nearer_is_liker(),
            ),
            CheckedClaim(
                "there exists a fixed feature space (independent of the classifier), where nearby representations "
                "have a similar entropy",
                "5.4",
                self.as_uncertain(),
            ),
            CheckedClaim("A match is of the class that is seen in its synthetic image.", "ours", self.alike()),
        ]

    def labelable(self) -> Finding:
        """Check that labelling the synthetic images is possible: a teacher is sure of half of them or more."""
        share = _Share.of(self.answers.max(axis=1) >= SURE)
        told = f"a network trained on every label is at least {SURE:.0%} sure of {share} of {MADE} synthetic images"
        return Finding(told, of_signs([share.sign]))

    def nearer_is_liker(self) -> Finding:
        """Check that the nearer a match is, the more like its synthetic image's its entropy is: by ranks."""
        rhos = {space.space: self._rho(space) for space in self.spaces}
        told = ", ".join(f"{space} {rho:+.2f}" for space, rho in rhos.items()).replace("-", MINUS)
        signs = [int(rho > CORRELATED) - int(rho < -CORRELATED) for rho in rhos.values()]
        about = f"Spearman’s ρ of distance and difference in entropy, the synthetic entropy held fixed, {MADE} matches"
        return Finding(f"{about}: {told}; by chance within ± {CORRELATED:.2f}", of_signs(signs))

    def _rho(self, space: Matched) -> float:
        from scipy.stats import rankdata

        made = self.made.scores
        columns = [space.distances, np.abs(space.scores - made), made]
        if any(np.ptp(column) == 0 for column in columns):
            return 0.0  # without ranks there is no order to agree with
        r = np.corrcoef([rankdata(column) for column in columns]).round(12)
        left = (1 - r[0, 2] ** 2) * (1 - r[1, 2] ** 2)  # what the synthetic entropy does not explain
        return float((r[0, 1] - r[0, 2] * r[1, 2]) / left**0.5) if left > 0 else 0.0

    def as_uncertain(self) -> Finding:
        """Check that in one fixed space the matches' entropy is nearer to the synthetic images' than to the pool's."""
        made = float(self.made.scores.mean())
        told = ", ".join(f"matches by {space.space} {space.scores.mean():.3f}" for space in self.spaces)
        middle = (self.made.scores + self.usual) / 2
        signs = [estimate(space.scores - middle).sign for space in self.spaces if space.fixed]
        verdict = of_signs([max(signs)])
        return Finding(f"mean entropy: synthetic {made:.3f}, {told}, random images {self.usual:.3f}", verdict)

    def alike(self) -> Finding:
        """Check that most matches are of the class that the teacher sees in the synthetic image, in every space."""
        seen = self.answers.argmax(axis=1)
        shares = {found.space: _Share.of(found.labels == seen) for found in self.spaces}
        told = ", ".join(f"{space} {share}" for space, share in shares.items())
        chance = f"matches of the class that the network sees: {told}; chance {1 / len(self.classes):.0%}"
        return Finding(chance, of_signs([share.sign for share in shares.values()]))


@dataclass(frozen=True)
class _Share:
    """How many of some images, held against half of them."""

    mean: float
    low: float  # of the 95% interval (Wilson 1927)
    high: float

    @classmethod
    def of(cls, true: npt.NDArray[np.bool_]) -> _Share:
        from scipy.stats import binomtest

        span = binomtest(int(true.sum()), len(true)).proportion_ci(method="wilson")
        return cls(float(true.mean()), float(span.low), float(span.high))

    @property
    def sign(self) -> int:
        """1 for most of them, −1 for fewer than half, and 0 where so few images cannot tell."""
        return int(self.low > 0.5) - int(self.high < 0.5)

    def __str__(self) -> str:
        return f"{self.mean:.0%} ({self.low:.0%} … {self.high:.0%})"


def showcase(project: Project, spaces: Sequence[str], labels: int, seed: int = 0) -> Showcase:
    """Train a classifier on so many random labels, make up images that it is unsure of, and match them.

    Every space matches the same synthetic images, without replacement, as in the paper's algorithm 1.

    Raises:
        UserError: the pool is too small, or so few labels hold not every class.
    """
    oracle, pool = project.oracle("pool"), project.pool
    if labels + MADE > len(pool):
        raise UserError(
            f"{labels:,} labels in a pool of {len(pool):,}",
            rule=f"{MADE} matches are found beside what the classifier has seen",
            hint=f"lower --budget to {len(pool) - MADE:,} or less",
        )
    nothing = Round(0, pool, NO_IDS, NO_IDS, _none(NO_MODEL), _none(None))
    initial = Initial(oracle, project.spec.protocol.draw, seed)
    known = initial(nothing, labels, stream(seed, "initial")).ids
    learner = project.learner()
    model = learner.fit(pool.read(known), oracle.answer(known), len(oracle.classes), stream(seed, "learner", 0))
    tools: Resources = project.tools("asal")
    now = Round(0, pool, known, oracle.answer(known), model, tools)
    made = synthesise(
        now,
        MADE,
        of_score(model, "entropy"),
        LatentOptimisation(steps=100, step_size=0.05),
        stream(seed, "strategy", 0),
    )
    found = tuple(_matched(project, space, model, made, known) for space in spaces)
    answers = project.teacher.model.predict(made.images)
    some = now.candidates.sample(min(USUAL, len(now.candidates)), stream(seed, "usual"))
    usual = float(np.mean(entropy(model.predict(pool.read(some)))))
    return Showcase(made, answers, found, usual, oracle.classes, project)


def _none(value: Any) -> Any:
    """Return what a round holds that is never looked at."""
    return value


def _matched(project: Project, space: str, model: Model, made: Synthetic, known: Ids) -> Matched:
    tools = ProjectResources(project, "asal", space, frozenset({"features", "index"})).at(model, Meter())
    near = tools.index.search(tools.extractor(made.images), MADE, without=np.sort(known))
    ids = nearest_untaken(near.ids, MADE)
    places = (near.ids == ids[:, None]).argmax(axis=1)
    distances = near.distances[np.arange(MADE), places]
    scores = np.asarray(entropy(model.predict(project.pool.read(ids))))
    fixed = "model" not in features[project.spec.features[space].kind].needs
    return Matched(space, ids, project.oracle("pool").answer(ids), distances, scores, fixed)
