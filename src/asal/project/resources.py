"""The parts that a strategy works with, each opened at its first use."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from asal.core import Extractor, Features, Ids, Images, Index, Model, Resources
from asal.errors import UserError
from asal.features import features
from asal.features.store import StoredVectors, Vectors
from asal.models.generators import TrainedGenerator
from asal.project.spaces import Space
from asal.registry import WORDS
from asal.runtime.meter import Meter

if TYPE_CHECKING:
    from asal.project.project import Project


@dataclass(frozen=True)
class LearnerFeatures:
    """The features that the spec's learner reads of one part of the images; opened at their first use."""

    project: Project
    space: str
    part: str  # "pool", "test" or "validation"

    def read(self, ids: Ids) -> Features:
        """Return the features (n, d) of these ids."""
        return self.project.space(self.space).stored.read(ids) if self.part == "pool" else self._held_out.read(ids)

    def extract(self, images: Images) -> Features:
        """Return the features (n, d) of other images."""
        return self.extractor(images)

    @property
    def extractor(self) -> Extractor:
        """What extracts them; a `DifferentiableExtractor` where the space's kind provides "gradient"."""
        return self.project.space(self.space).stored_extractor

    @cached_property
    def _held_out(self) -> StoredVectors:
        return self.project.held_out_vectors(self.space, self.part)


@dataclass(frozen=True)
class ProjectResources:
    """The tools of one strategy, in one feature space."""

    project: Project
    strategy: str
    features: str
    needs: frozenset[str]

    @property
    def _of_classifier(self) -> bool:
        """Whether the features depend on the present classifier."""
        return bool(self.features) and "model" in features[self.project.spec.features[self.features].kind].needs

    def open(self) -> None:
        """Open all of them now, so that no round is charged for it."""
        if "generator" in self.needs:
            self.generator  # noqa: B018  touching is opening
        if "features" in self.needs and not self._of_classifier:
            self.vectors  # noqa: B018
            if "index" in self.needs:
                self.index  # noqa: B018
        if "own" in self.needs:
            self.own  # noqa: B018

    def at(self, model: Model, meter: Meter) -> Resources:
        """Return the tools of a round."""
        return RoundResources(self, model, meter) if self._of_classifier else self

    @property
    def generator(self) -> TrainedGenerator:
        self.check_declared("generator", "generator")
        return self.project.generator

    @property
    def extractor(self) -> Extractor:
        return self._space("extractor").extractor

    @property
    def vectors(self) -> Vectors:
        return self._space("vectors").vectors

    @property
    def index(self) -> Index:
        self.check_declared("index", "index")
        return self.project.index(self.features)

    @property
    def own(self) -> Any:
        self.check_declared("own", "own")
        return self.project.strategy_part(self.strategy)

    def _space(self, tool: str) -> Space:
        self.check_declared(tool, "features")
        return self.project.space(self.features)

    def check_declared(self, tool: str, need: str) -> None:
        """Refuse a tool that the strategy has not declared: nothing has been checked or prepared for it.

        Raises:
            UserError: it has not.
        """
        if need in self.needs:
            return
        declared = f"declares only {', '.join(sorted(self.needs))}" if self.needs else "declares no needs"
        words = {*self.needs, need} | ({"features"} if need == "index" else set())  # an index is over features
        needs = ", ".join(f'"{word}"' for word in sorted(words & {*WORDS}))
        raise UserError(
            f"the strategy '{self.strategy}' uses `{tool}` but {declared}",
            rule="a strategy declares what it works with, so that it is checked and prepared",
            hint=f'register its function: @strategies.register("…", needs=({needs},))',
        )


class RoundResources:
    """The tools of one round, in a feature space that depends on its classifier and is removed with it."""

    def __init__(self, tools: ProjectResources, model: Model, meter: Meter) -> None:
        self._tools, self._model, self._meter = tools, model, meter

    @cached_property
    def _space(self) -> Space:
        return self._tools.project.space_of_round(self._tools.features, self._model, self._meter, self)

    @property
    def generator(self) -> TrainedGenerator:
        return self._tools.generator

    @property
    def extractor(self) -> Extractor:
        return self._space.extractor

    @property
    def vectors(self) -> Vectors:
        return self._space.vectors

    @cached_property
    def index(self) -> Index:
        self._tools.check_declared("index", "index")
        return self._tools.project.index_of_round(self._space, self._meter, self)

    @property
    def own(self) -> Any:
        return self._tools.own
