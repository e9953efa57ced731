"""Prepares a project: an explicit list of steps, which can be printed before any is run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from asal.core import Ids, Images
from asal.data.append import Added, add
from asal.data.found import found, mistaken_for_classes
from asal.data.image_options import PARTS
from asal.data.ingest import IngestContext
from asal.data.ingest_check import check_ingested
from asal.data.source_changes import accept_place, changes_of
from asal.data.sources import Source, check_outside
from asal.data.splits import Split
from asal.errors import UserError
from asal.models.generators import quality
from asal.project import corrections, durations
from asal.project.corrections import Corrected
from asal.project.durations import Estimate
from asal.project.images import format_of, source_of, take_in
from asal.project.outlook import INGEST, Expected, Outlook
from asal.project.parts import ProjectParts
from asal.project.step import PrepareContext, Status, Step, Work, status_of
from asal.project.validate import ValidatedSpec
from asal.runtime import artifacts
from asal.runtime.engine import Engine, InProcess
from asal.runtime.remote_files import Storage

if TYPE_CHECKING:
    from asal.project.project import Project

UNKNOWN = "…"  # in place of a hash, before the images are there


@dataclass(frozen=True)
class PlannedStep:
    """A step as it is printed: what it does, what it makes, whether that is there, and how long it will take."""

    name: str
    makes: str
    status: Status
    estimate: Estimate
    work: Work = field(default_factory=Work)


class Preparer:
    """Makes what a project's spec asks for, step by step; called again, it goes on.

    Args:
        project: opens what a step needs of the steps before it.
    """

    def __init__(self, project: Project) -> None:
        self._project = project
        self._outlook = Outlook(project.progress, project.device.name())

    def left(self) -> float | None:
        """Return the seconds until `run` has made all, while it runs; None where that is not known."""
        return self._outlook.left()

    def plan(self, chosen: Sequence[str] | None = None) -> list[PlannedStep]:
        """Return every step of `run`, in order, and make nothing.

        Raises:
            UserError: whatever is wrong with the spec.
        """
        project = self._project
        validated = project.validate(chosen)
        ingest_step = self._planned_ingest()
        return [ingest_step, *map(self._planned, self._steps(validated, chosen is None))]

    def run(self, chosen: Sequence[str] | None = None) -> None:
        """Make all that the chosen strategies need; with None all that the spec's need, and its features.

        Raises:
            UserError: whatever is wrong with the spec, before any work is done.
        """
        project = self._project
        validated, device = project.validate(chosen), project.device.name()
        if project.storage:
            Storage(project.storage).entry("asal")  # refuses what no file could go through
        with artifacts.exclusive(project.root):
            outlook = self._outlook = Outlook(project.progress, device)
            ahead = not project.folder.has("pool")
            if ahead:
                unknown = self._steps(validated, chosen is None)
                images = durations.estimate(self._ingest_work, device)
                outlook.expect([Expected(INGEST, "to do", images), *(Expected.of(step, device) for step in unknown)])
            with outlook.step(1):
                self._take_in(IngestContext(self._ingest_engine, outlook))
                self._check_images()
            steps = self._steps(validated, chosen is None)
            outlook.expect(
                [Expected(INGEST, "to do" if ahead else "there"), *(Expected.of(step, device) for step in steps)]
            )
            for number, step in enumerate(steps, 2):
                with outlook.step(number), durations.measured(step, device):
                    step.make()

    def warnings(self, chosen: Sequence[str] | None = None) -> list[str]:
        """Return what to know before the chosen strategies choose: whether the generator draws what the pool shows.

        Args:
            chosen: names of strategies; None takes all of the spec.
        """
        project = self._project
        if project.spec.generator is None or not project.folder.has("pool"):
            return []
        strategies = project.validate(chosen).strategies.values()
        unknown = chosen is None and not strategies  # such a spec says nothing of what will be used
        if not unknown and not any("generator" in strategy.needs for strategy in strategies):
            return []
        return list(filter(None, [quality.warning(project.parts.generator().folder)]))

    def missing(self, chosen: Sequence[str] | None = None) -> list[Step]:
        """Return the steps of `run` whose folders are not there, and make nothing. The images are there.

        Raises:
            UserError: whatever is wrong with the spec.
        """
        return [step for step in self._steps(self._project.validate(chosen), chosen is None) if step.status != "there"]

    def ingest(self) -> None:
        """Take the source's images in, once."""
        self._project.validate([])
        with artifacts.exclusive(self._project.root):
            self._take_in(self._ingest_context)

    def add(self, images: Source | None = None, *, new_classes: bool = False) -> Added:
        """Take in what the source has by now and the project does not, under ids behind the present ones.

        Generators, encoders and projections stay as they were trained; `run` then computes the new images' features and
        grows the indexes.

        Args:
            images: another source, whose training images are taken; the spec's own where none is given.
            new_classes: a class that the project lacks becomes one of it.

        Returns:
            How many images were new, known, or of classes that are not kept.

        Raises:
            UserError: there is no pool yet, or the source has labels that are no class of the project.
        """
        project, table = self._project, self._project.spec.pool
        with artifacts.exclusive(project.root):
            form = format_of(project.root, table)
            source = images or self.source
            if isinstance(place := getattr(source, "path", None), str) and "://" not in place:
                check_outside(project.root, Path(place))
            if images is None:
                accept_place(source, project.root)
            how: dict[str, bool] = {"own": images is None, "new_classes": new_classes}
            counts = add(source, project.root, table.keep, form, self._ingest_context, **how)
        project.refresh()
        return counts

    def take_corrections(self, added: Added) -> Corrected:
        """Let labels follow the files that `add` found in another class folder."""
        with artifacts.exclusive(self._project.root):
            return corrections.take(self._project.folder, added.found.waiting)

    @cached_property
    def source(self) -> Source:
        """Where the project's images come from."""
        return source_of(self._project.root, self._project.spec.source)

    def found(self) -> list[str]:
        """Return what is found, before anything is kept: of a new source all, later what has changed since.

        Raises:
            UserError: two readings of the source are possible, or it has other images than the project.
        """
        project, table = self._project, self._project.spec.pool
        project.validate([])
        if not project.folder.has("pool"):
            return found(self.source)
        changes = changes_of(self.source, project.root)
        classes = artifacts.manifest(project.root / "pool").get("classes", ())
        mistaken = mistaken_for_classes(classes, self.source)
        return [*changes.lines(part_of_source=table.split.train is not None), *mistaken]

    @property
    def _ingest_engine(self) -> Engine:
        # Machines that do not see this folder could not put images into it.
        return InProcess() if self._project.storage else self._project.engine

    @property
    def _ingest_context(self) -> IngestContext:
        return IngestContext(self._ingest_engine, self._project.progress)

    def _take_in(self, context: IngestContext) -> None:
        take_in(self._project.root, self._project.spec, context)
        self._project.refresh()

    def _check_images(self) -> None:
        """Check every folder of images, those that no step reads as well.

        Raises:
            DamageError: a file is not as it was written.
        """
        root, folder = self._project.root, self._project.folder
        for images in (*(root / name for name in PARTS if folder.has(name)), *folder.additions):
            artifacts.verify(images, newer=True)

    # The list ---------------------------------------------------------------------------------------------------------

    def _steps(self, validated: ValidatedSpec, everything: bool) -> list[Step]:
        project = self._project
        if not project.folder.has("pool"):
            parts = ProjectParts(project, self._unknown_context(), project.folder.additions)
            provided = frozenset[str]().union(*(strategy.provides for strategy in validated.strategies.values()))
            return parts.needed(validated, everything, labelled="images" in provided and self._source_is_labelled())
        labelled = project.folder.is_labelled()
        if labelled:
            classes = project.oracle("pool").classes
            for strategy in validated.strategies.values():
                strategy.check_classes(classes)
        context = replace(project.context, progress=self._outlook)
        return ProjectParts(project, context, project.folder.additions).needed(validated, everything, labelled)

    def _unknown_context(self) -> PrepareContext:
        """Return a context without images; pixels and their number as far as spec and source give them, else 0."""
        project, table = self._project, self._project.spec.pool
        side = table.size or 0
        pool = _UnknownPool((side, side, 1 if table.gray else 3), table.split.train or self._images_of_source())
        return PrepareContext(project.root, pool, project.spec.seed)

    @property
    def _ingest_work(self) -> Work:
        """The images that are taken in; none where the source cannot be read now."""
        try:
            return Work("ingest", float(sum(dict(self.source.splits).values())))
        except UserError:
            return Work("ingest")

    def _images_of_source(self) -> int:
        """Return about how many images the pool will have; 0 where the source cannot be read now."""
        split = self._project.spec.pool.split
        try:
            images = dict(self.source.splits).get("train", 0)
        except UserError:
            return 0
        held_out = (number for number in (split.validation, split.test) if isinstance(number, int))
        return max(0, images - sum(held_out))

    def _source_is_labelled(self) -> bool:
        """Whether the source has labels; one that cannot be read now is taken to have them."""
        try:
            return bool(self.source.classes)
        except UserError:
            return True

    def _planned(self, step: Step) -> PlannedStep:
        root, folder, status = self._project.root, step.folder, step.status
        if not self._project.folder.has("pool"):  # whose images are in the hash
            kind = folder.name.rpartition("-")[0]
            alike = {path.name.removesuffix(".partial").rpartition("-")[0] for path in folder.parent.glob(f"{kind}-*")}
            folder, status = folder.with_name(f"{kind}-{UNKNOWN}"), "unknown" if kind in alike else "to do"
        estimate = durations.estimate(step.work, self._project.device.name())
        if status in ("there", "unknown"):
            estimate = durations.nothing if status == "there" else Estimate()
        estimate = replace(estimate, at_most=status == "partly done")
        return PlannedStep(step.name, str(folder.relative_to(root)), status, estimate, step.work)

    def _planned_ingest(self) -> PlannedStep:
        root, table = self._project.root, self._project.spec.pool
        split = Split(**table.split.model_dump())
        names = split.parts
        states = {status_of(root / name) for name in names}
        if "there" in states:
            source = self.source
            check_ingested(source, root, split, keep=table.keep, **table.images)
        status: Status = "there" if states == {"there"} else "to do" if states == {"to do"} else "partly done"
        device = self._project.device.name()
        made = durations.nothing if status == "there" else durations.estimate(self._ingest_work, device)
        return PlannedStep(INGEST, ", ".join(names), status, made)


@dataclass(frozen=True)
class _UnknownPool:
    """Images that have not been taken in: steps over them can be named, and no more."""

    shape: tuple[int, int, int]
    size: int
    fingerprint: str = ""

    def __len__(self) -> int:
        return self.size

    def read(self, ids: Ids) -> Images:
        """Refuse: there is none."""
        raise RuntimeError("the images have not been taken in, so none can be read")
