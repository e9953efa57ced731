"""The test set, and what a classifier trained on every label gets in it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from asal.core import Labels, Model, Pool, Probs, Reader
from asal.errors import UserError
from asal.project.project import Project
from asal.project.spec import Spec
from asal.project.validate import supervised
from asal.runtime import artifacts
from asal.runtime.progress import Progress, report_to
from asal.runtime.rng import stream
from asal.session.session import Session

SUPERVISED = "fully-supervised"  # where in a run folder the accuracies of such classifiers lie


@dataclass(frozen=True)
class Evaluation:
    """The test set, which nothing but `accuracy` sees."""

    pool: Pool
    labels: Labels
    features: Reader | None = None  # stored, where the project's learner reads them

    @classmethod
    def of(cls, project: Project, part: str = "test") -> Evaluation:
        """Open the test set of a project, or another part of it; images without a label are left out.

        Raises:
            UserError: there is no test set, or not one of its images has a label.
        """
        pool = project.images(part)
        test_set = cls(pool, project.oracle(part).answer(np.arange(len(pool))), project.learner_features(part))
        if not (test_set.labels >= 0).any():
            raise UserError(
                f"no image of the {part} set has a label",
                rule="accuracy is measured on labelled images",
                hint=f"set `{part}` under [pool.split] to a number, or to a split with labels",
            )
        return test_set

    def relabelled(self, columns: Sequence[int]) -> Evaluation:
        """Return it with the labels that a classifier of other classes has for these.

        Args:
            columns: of each class here, its place in the classifier's predictions, −1 where it has none.
        """
        table = np.array([*columns, -1])  # one entry more: the unknown label −1 indexes the last
        return replace(self, labels=table[self.labels])

    def in_classes_of(self, session: Session, names: Sequence[str]) -> Evaluation | None:
        """Return it with the columns of a session's classifier as labels, if it is of the session's classes.

        Args:
            names: of the test set's classes.
        """
        began_with = tuple((session.state.opened or {}).get("classes", session.plan.classes))
        numbers = session.class_list.numbers_of(names, began_with)
        if numbers is None:
            return None
        columns = session.class_list.columns
        found = self.relabelled([-1 if number is None else int(columns[number]) for number in numbers])
        return found if (found.labels >= 0).any() else None

    def accuracy(self, model: Model) -> float:
        """Return the share of test images whose likeliest class is their own."""
        right = sum(int((probs.argmax(1) == labels).sum()) for labels, probs in self.predictions(model))
        return right / int((self.labels >= 0).sum())

    def predictions(self, model: Model) -> Iterator[tuple[Labels, Probs]]:
        """Yield the labels (m,) of blocks of test images, and their probabilities (m, k)."""
        reads = getattr(model, "reads", "images")  # a plug-in's model from before there was `reads`
        ids, reader = np.flatnonzero(self.labels >= 0), self.pool if reads == "images" else self.features
        assert reader is not None, "the classifier reads features, and the project's learner pictures"
        for block in np.array_split(ids, -(-len(ids) // 4096)):
            yield self.labels[block], model.predict(reader.read(block))


def held_out(project: Project, session: Session) -> dict[str, Evaluation]:
    """Return what accuracy is measured on: the validation and the test set, as far as they are there with labels.

    Their classes are to be those of the session, under the present names or those that it began with.
    """
    sets: dict[str, Evaluation] = {}
    for part in ("validation", "test"):
        if artifacts.is_complete(project.root / part):
            with suppress(UserError):  # it has no labels
                found = Evaluation.of(project, part).in_classes_of(session, project.oracle(part).classes)
                sets |= {} if found is None else {part: found}
    return sets


@dataclass(frozen=True)
class Supervised:
    """One training on every label of the pool: the line at the top of the curves."""

    root: Path
    spec: Spec
    seed: int
    out: Path

    size = 1
    needs_torch = True

    @property
    def name(self) -> str:
        return f"fully supervised, seed {self.seed}"

    @property
    def path(self) -> Path:
        return self.out / SUPERVISED / f"seed-{self.seed}.json"

    def run(self, progress: Progress) -> str:
        """Train and measure, unless that was done, and return the accuracy in words; a kill costs this one training.

        Memory: the pool, as bytes.
        """
        if not self.path.exists():
            project, learner = Project(self.root, self.spec), supervised(self.spec)
            assert learner is not None
            oracle = project.oracle("pool")
            labels = oracle.answer(np.arange(len(project.pool)))
            known = np.flatnonzero(labels >= 0)
            rng = stream(self.seed, "fully supervised")
            with report_to(progress, self.name):
                model = learner.fit(project.inputs().read(known), labels[known], len(oracle.classes), rng)
            self.path.parent.mkdir(parents=True, exist_ok=True)
            results = {
                "seed": self.seed,
                "labels": len(known),
                "accuracy": round(Evaluation.of(project).accuracy(model), 6),
            }
            artifacts.write_json(self.path, results)
        return f"accuracy {artifacts.read_json(self.path)['accuracy']:.3f}"


def references(project: Project, out: Path) -> list[Supervised]:
    """Return the fully supervised trainings that the spec asks for."""
    table = project.spec.reference
    return [Supervised(project.root, project.spec, seed, out) for seed in range(table.seeds)] if table else []


def add_reference(out: Path) -> None:
    """Write the accuracies of the fully supervised trainings into `run.json`."""
    results = [artifacts.read_json(path) for path in sorted((out / SUPERVISED).glob("seed-*.json"))]
    if results:
        accuracies = [result["accuracy"] for result in results]
        seeds, labels = [result["seed"] for result in results], results[0]["labels"]
        facts = {"accuracy": float(np.mean(accuracies)), "accuracies": accuracies, "seeds": seeds, "labels": labels}
        artifacts.write_json(out / "run.json", {**artifacts.read_json(out / "run.json"), "reference": facts})
