"""What preparing a new project will do, how long that takes here, and what would change it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from asal.data.splits import Split, make_splits
from asal.errors import UserError
from asal.features import features
from asal.project import durations
from asal.project.durations import duration
from asal.project.preparer import PlannedStep, Preparer
from asal.project.project import Project
from asal.project.spec import Spec
from asal.project.trial import measure
from asal.runtime import slowness
from asal.runtime.devices import here


def forecast(root: Path) -> list[str]:
    """Return lines with the steps of `asal prepare` and what each of them takes, measured here in a few seconds.

    Args:
        root: a project that has been started, and not prepared.
    """
    try:
        return _forecast(Project.open(root))
    except UserError as error:  # a library is missing, or a URL does not answer: the spec has been written all the same
        return [f"How long `asal prepare` takes is not known: {error.got}"]


def _forecast(project: Project) -> list[str]:
    preparer, spec = Preparer(project), project.spec
    plan = preparer.plan()
    parts = make_splits(preparer.source, Split(**spec.pool.split.model_dump()), spec.pool.keep)
    images = {name: len(part.rows) for name, part in parts.items()}
    steps = measure(preparer.source, spec, project.root).applied(plan, images)
    for step in reversed(steps):  # for `prepare`, which comes next; of a kind the first step, which is about the pool
        if step.estimate.seconds and step.estimate.basis == "measured" and step.work.units > 1:
            durations.remember(step.work, project.device.name(), step.estimate.seconds)
    return [*_listed(steps), *_otherwise(spec)]


def _listed(steps: Sequence[PlannedStep]) -> list[str]:
    known = [step.estimate.seconds for step in steps if step.estimate.seconds is not None]
    rest = "" if len(known) == len(steps) else ", and what is not known yet"
    width = max(len(step.name) for step in steps) + 2
    lines = [f"  {step.name:<{width}}{step.estimate}" for step in steps]
    return ["`asal prepare` will", *lines, f"  {'in all':<{width}}about {duration(sum(known))}{rest}"]


def _otherwise(spec: Spec) -> list[str]:
    """Return what would differ with a GPU, or with other parts."""
    on_cpu = here().type == "cpu"
    lines = [f"This is longer than it could be: {others}"] if (others := slowness.causes().get("others")) else []
    if spec.generator is not None:
        if on_cpu:
            lines.append("With a GPU the generator takes minutes (not measured here: there is none).")
        lines.append("Without it: delete [generator], [features.autoencoder] and [strategies.asal] in asal.toml.")
    elif any("originals" in features[table.kind].provides for table in spec.features.values()):
        if on_cpu:
            lines.append("With a GPU the features take a small part of that (not measured here: there is none).")
        lines.append(
            'A larger network, kind = "pretrained", takes several times as long: docs/how-to/pretrained-features.md'
        )
    return lines
