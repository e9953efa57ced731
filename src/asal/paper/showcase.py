"""Figure 2: synthetic images of high entropy, and their matches in each feature space."""

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
SYNTHETIC = 100  # images that the generator makes, and the means are over
RANDOM = 1_000  # random images of the pool, whose entropy is compared with theirs
MIN_CONFIDENCE = 0.95  # of the teacher, from which an image counts as labelable
CORRELATED = 1.96 / (SYNTHETIC - 1) ** 0.5  # one in twenty rank correlations is beyond this by chance


@dataclass(frozen=True)
class Matches:
    """The matches of the synthetic images in a feature space; m of each."""

    space: str
    ids: Ids  # (m,)
    labels: Labels  # (m,)
    distances: Scores  # (m,)
    scores: Scores  # (m,) entropy of the matches
    fixed: bool  # the space does not depend on the present classifier


@dataclass(frozen=True)
class Showcase:
    """Synthetic images, a teacher's labels for them, and their matches in each space."""

    synthetic: Synthetic
    teacher: Probs  # (m, k)
    spaces: tuple[Matches, ...]
    random_entropy: float  # mean over random images of the pool
    classes: tuple[str, ...]
    project: Project

    def picture(self) -> list[Row]:
        """Return the rows of the picture: the synthetic images, then their matches in each space."""
        pool, synthetic = self.project.pool, self.synthetic
        entropies = [f"{score:.2f}" for score in synthetic.scores[:SHOWN]]
        note = f"mean entropy {synthetic.scores.mean():.3f}"
        picture = [Row("synthetic", note, synthetic.images[:SHOWN], entropies)]
        for matches in self.spaces:
            pairs = zip(matches.labels, matches.ids, strict=True)
            names = [f"{self.classes[label]}\n{image}" for label, image in pairs]
            note = f"mean entropy {matches.scores.mean():.3f}"
            picture.append(Row(f"matched by {matches.space}", note, pool.read(matches.ids[:SHOWN]), names[:SHOWN]))
        return picture

    def rows(self) -> list[dict[str, Any]]:
        """Return one row for each synthetic image and space."""
        return [
            {
                "space": matches.space, "column": i, "id": int(matches.ids[i]),
                "class": self.classes[matches.labels[i]], "distance": float(matches.distances[i]),
                "entropy_of_match": float(matches.scores[i]), "entropy_of_synthetic": float(self.synthetic.scores[i]),
                "teacher": self.classes[self.teacher[i].argmax()], "teacher_probability": float(self.teacher[i].max()),
            }
            for matches in self.spaces
            for i in range(len(matches.ids))
        ]  # fmt: skip

    def claims(self) -> list[CheckedClaim]:
        """Return the paper's claims on such images, checked."""
        return [
            CheckedClaim("labelling synthetic samples is possible", "5.3", self.labelable()),
            CheckedClaim(
                "the closer the representations, the more likely they will score a similar entropy",
                "3.2",
                self.nearer_is_more_similar(),
            ),
            CheckedClaim(
                "there exists a fixed feature space (independent of the classifier), where nearby representations "
                "have a similar entropy",
                "5.4",
                self.as_uncertain(),
            ),
            CheckedClaim(
                "A match has the class that a network predicts for its synthetic image.", "ours", self.same_class()
            ),
        ]

    def labelable(self) -> Finding:
        """Check that labelling the synthetic images is possible: a teacher is confident on half of them or more."""
        share = _Share.of(self.teacher.max(axis=1) >= MIN_CONFIDENCE)
        network = f"a network trained on every label is at least {MIN_CONFIDENCE:.0%} confident"
        return Finding(f"{network} on {share} of {SYNTHETIC} synthetic images", of_signs([share.sign]))

    def nearer_is_more_similar(self) -> Finding:
        """Check that the nearer a match is, the closer its entropy is to its synthetic image's: by ranks."""
        rhos = {space.space: self._rho(space) for space in self.spaces}
        correlations = ", ".join(f"{space} {rho:+.2f}" for space, rho in rhos.items()).replace("-", MINUS)
        signs = [int(rho > CORRELATED) - int(rho < -CORRELATED) for rho in rhos.values()]
        about = (
            f"Spearman’s ρ of distance and difference in entropy, the synthetic entropy held fixed, {SYNTHETIC} matches"
        )
        return Finding(f"{about}: {correlations}; by chance within ± {CORRELATED:.2f}", of_signs(signs))

    def _rho(self, space: Matches) -> float:
        from scipy.stats import rankdata

        synthetic = self.synthetic.scores
        columns = [space.distances, np.abs(space.scores - synthetic), synthetic]
        if any(np.ptp(column) == 0 for column in columns):
            return 0.0  # a constant column has no ranks
        r = np.corrcoef([rankdata(column) for column in columns]).round(12)
        unexplained = (1 - r[0, 2] ** 2) * (1 - r[1, 2] ** 2)  # by the synthetic entropy
        return float((r[0, 1] - r[0, 2] * r[1, 2]) / unexplained**0.5) if unexplained > 0 else 0.0

    def as_uncertain(self) -> Finding:
        """Check that in one fixed space the matches' entropy is closer to the synthetic images' than to the pool's."""
        synthetic = float(self.synthetic.scores.mean())
        matches = ", ".join(f"matches by {space.space} {space.scores.mean():.3f}" for space in self.spaces)
        middle = (self.synthetic.scores + self.random_entropy) / 2
        signs = [estimate(space.scores - middle).sign for space in self.spaces if space.fixed]
        verdict = of_signs([max(signs)])
        random = f"random images {self.random_entropy:.3f}"
        return Finding(f"mean entropy: synthetic {synthetic:.3f}, {matches}, {random}", verdict)

    def same_class(self) -> Finding:
        """Check that most matches have the class that the teacher predicts for the synthetic image, in every space."""
        predicted = self.teacher.argmax(axis=1)
        shares = {matches.space: _Share.of(matches.labels == predicted) for matches in self.spaces}
        parts = ", ".join(f"{space} {share}" for space, share in shares.items())
        measured = f"matches of the class that the network predicts: {parts}; chance {1 / len(self.classes):.0%}"
        return Finding(measured, of_signs([share.sign for share in shares.values()]))


@dataclass(frozen=True)
class _Share:
    """A share of some images, compared with half of them."""

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
        """1 for most of them, −1 for fewer than half, and 0 where there are too few images to decide."""
        return int(self.low > 0.5) - int(self.high < 0.5)

    def __str__(self) -> str:
        return f"{self.mean:.0%} ({self.low:.0%} … {self.high:.0%})"


def showcase(project: Project, spaces: Sequence[str], labels: int, seed: int = 0) -> Showcase:
    """Train a classifier on random labels, synthesise images that it is uncertain about, and match them.

    Every space matches the same synthetic images, without replacement, as in the paper's algorithm 1.

    Raises:
        UserError: the pool is too small, or the labels do not hold every class.
    """
    oracle, pool = project.oracle("pool"), project.pool
    if labels + SYNTHETIC > len(pool):
        raise UserError(
            f"{labels:,} labels leave too few images in a pool of {len(pool):,}",
            rule=f"the {SYNTHETIC} matches are images that the classifier was not trained on",
            hint=f"lower --budget to {len(pool) - SYNTHETIC:,} or less",
        )
    nothing = Round(0, pool, NO_IDS, NO_IDS, _none(NO_MODEL), _none(None))
    initial = Initial(oracle, project.spec.protocol.draw, seed)
    known = initial(nothing, labels, stream(seed, "initial")).ids
    learner, inputs = project.learner(), project.inputs()
    model = learner.fit(inputs.read(known), oracle.answer(known), len(oracle.classes), stream(seed, "learner", 0))
    tools: Resources = ProjectResources(project, "asal", "", frozenset({"generator"})).at(model, Meter())
    now = Round(0, pool, known, oracle.answer(known), model, tools, reader=inputs)
    synthetic = synthesise(
        now,
        SYNTHETIC,
        of_score(model, "entropy"),
        LatentOptimisation(steps=100, step_size=0.05),
        stream(seed, "strategy", 0),
    )
    matches = tuple(_matched(project, space, model, synthetic, known) for space in spaces)
    teacher = project.teacher.model.predict(synthetic.images)
    sample = now.candidates.sample(min(RANDOM, len(now.candidates)), stream(seed, "usual"))
    random_entropy = float(np.mean(entropy(model.predict(inputs.read(sample)))))
    return Showcase(synthetic, teacher, matches, random_entropy, oracle.classes, project)


def _none(value: Any) -> Any:
    """Return a part of a round that is not used."""
    return value


def _matched(project: Project, space: str, model: Model, synthetic: Synthetic, known: Ids) -> Matches:
    tools = ProjectResources(project, "asal", space, frozenset({"features", "index"})).at(model, Meter())
    near = tools.index.search(tools.extractor(synthetic.images), SYNTHETIC, without=np.sort(known))
    ids = nearest_untaken(near.ids, SYNTHETIC)
    places = (near.ids == ids[:, None]).argmax(axis=1)
    distances = near.distances[np.arange(SYNTHETIC), places]
    scores = np.asarray(entropy(model.predict(project.inputs().read(ids))))
    fixed = "model" not in features[project.spec.features[space].kind].needs
    return Matches(space, ids, project.oracle("pool").answer(ids), distances, scores, fixed)
