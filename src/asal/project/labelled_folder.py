"""From a folder of images to a project that people can label: the project lies beside the folder."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from shlex import quote

import tomlkit

from asal.data.sources.remote import is_url
from asal.errors import UserError, quoted
from asal.project.folder import ProjectFolder
from asal.project.images import source_of
from asal.project.parts import needs_generator
from asal.project.scaffold import start
from asal.project.spec import FILE, Spec, load
from asal.project.validate import check, learner_space
from asal.runtime import artifacts
from asal.session.plan import check_names

SUFFIX = "-asal"  # photos → photos-asal
NAMES = 'name the classes: --classes "cat,dog"'


@dataclass(frozen=True)
class LabelledFolder:
    """A project to label.

    Args:
        lines: what was done and found, for people.
        images: the folder of images that was given; None where that was a project.
    """

    root: Path
    lines: list[str] = field(default_factory=list)
    images: Path | None = None


def project_of(place: Path, project: Path | None = None, classes: Sequence[str] = ()) -> LabelledFolder:
    """Return the project that a place stands for: itself, or the one beside a folder of images, made where it is not.

    Args:
        project: where the project of a folder of images is to be.
        classes: their names, where no sub-folders name them.

    Raises:
        UserError: the place holds neither, the folders name no classes and none are given, or there is a project of
            other images.
    """
    if (place / FILE).exists() or not place.is_dir():
        if project is not None or classes:
            raise UserError(
                f"{place} is no folder of images without a project",
                rule="--project and --classes are for a folder of images",
                hint="leave them out; classes of a project are changed by `asal classes`",
            )
        return LabelledFolder(place)
    root = project or _beside(place)
    if classes:
        check_names(classes)
    if (root / FILE).exists():
        _check_same_images(root, place)
        _check_classes(root, classes)
        return LabelledFolder(root, [f"Going on with the project {root}."], place)
    return LabelledFolder(root, _made(root, place, classes), place)


def _beside(images: Path) -> Path:
    named = images if images.name not in ("", "..") else images.resolve()
    return named.with_name(f"{named.name}{SUFFIX}")


def _made(root: Path, images: Path, classes: Sequence[str]) -> list[str]:
    """Make the project, or nothing at all."""
    was_there = root.exists()
    started = start(root, images)
    try:
        if started.doubt:
            raise UserError(
                " ".join(started.found),
                hint=f"say which: asal init {_q(root)} --images {_q(images)} --layout classes (or splits); then "
                f"asal label {_q(root)}",
            )
        if not (started.classes or classes):
            raise UserError(
                f"the folders in {images} name no classes",
                rule="sub-folders name the classes, or you do",
                hint=NAMES,
            )
    except UserError:
        started.file.unlink()
        if not was_there:
            root.rmdir()
        raise
    if classes:
        _write_classes(started.file, classes)
    return [*started.found, f"Made the project {root}. Its settings are in {started.file}."]


def _write_classes(file: Path, classes: Sequence[str]) -> None:
    document = tomlkit.parse(file.read_text(encoding="utf-8"))
    table = document.setdefault("labelling", tomlkit.table())
    table["classes"] = list(classes)
    artifacts.write(file, tomlkit.dumps(document).encode())


def _check_same_images(root: Path, images: Path) -> None:
    """Refuse a project of other images."""
    place = getattr(source_of(root, load(root).source), "path", None)
    if isinstance(place, str) and not is_url(place) and Path(place).resolve() == images.resolve():
        return
    raise UserError(
        f"there is a project of other images at {root}",
        rule="a project belongs to one folder of images",
        hint=f"choose another place with --project; or asal label {_q(root)}, which labels those",
    )


def _check_classes(root: Path, classes: Sequence[str]) -> None:
    """Refuse other classes than those of a project."""
    present = _present_classes(root) if classes else ()
    if classes and present and set(classes) != set(present):
        raise UserError(
            f"--classes names {quoted(classes)}, and the project {root} has {quoted(present)}",
            rule="classes of a project are changed by a command, which says what becomes of their labels",
            hint=f"leave --classes out, and see asal classes {_q(root)} --help",
        )
    if classes and not present:
        _write_classes(root / FILE, classes)


def _present_classes(root: Path) -> tuple[str, ...]:
    """Return the classes of a project: those that its spec names, or its images; none before these are taken in."""
    with suppress(UserError):
        return ProjectFolder(root, load(root)).classes
    return ()


def strategy_at_once(found: LabelledFolder, spec: Spec, strategy: str, prepare: bool) -> str:
    """Return the strategy to label with: one for which nothing has to be trained for hours, unless that is asked for.

    Args:
        strategy: the name that was asked for; "" for the spec's.
        prepare: also what takes hours is prepared.

    Raises:
        UserError: the project's strategy needs a generator, and there is none yet.
    """
    chosen = strategy or spec.default_strategy
    if prepare or not _needs_hours(found.root, spec, chosen):
        return chosen
    others = [name for name in spec.strategies if not _needs_hours(found.root, spec, name)]
    if found.images is not None and not strategy and others:
        return others[0]
    instead = f"; or label with --strategy {others[0]}, which needs none" if others else ""
    raise UserError(
        f"strategy '{chosen}' needs a generator, which is not prepared: training it takes hours",
        rule="`asal label` prepares by itself what takes minutes",
        hint=f"first asal prepare {_q(found.root)}, or --prepare, which does it while you label{instead}",
    )


def _needs_hours(root: Path, spec: Spec, name: str) -> bool:
    strategy = check(spec, [name]).strategies[name]
    spaces = {strategy.space, strategy.first_space, learner_space(spec)} - {""}
    generates = "generator" in strategy.needs or any(needs_generator(spec.features[space]) for space in spaces)
    if not generates or spec.generator is None:
        return False
    kind = spec.generator.kind.replace(":", ".")
    return not any(artifacts.is_complete(folder) for folder in (root / "parts").glob(f"{kind}-*"))


def _q(path: Path) -> str:
    return quote(str(path))
