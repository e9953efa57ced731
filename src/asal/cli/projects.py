"""`asal init | prepare | add | status | doctor | list`: a project folder, and what is in it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated, Optional

import typer
from rich.table import Table

from asal.cli.common import CORES, ProjectOption, SpecPath, console, print_lines, root_of
from asal.cli.errors import print_error
from asal.errors import counted, unknown

if TYPE_CHECKING:
    from asal.project.folder import ProjectFolder
    from asal.project.preparer import PlannedStep

WorkersOption = Annotated[
    int,
    typer.Option(
        "--workers",
        min=0,
        help="Shards at a time, each with one thread. [default: one for each core, one where there is a GPU; with "
        "ray, as many as the cluster has room for]",
        show_default=False,
    ),
]
StorageOption = Annotated[
    str,
    typer.Option(
        "--storage",
        help="A URL where the cluster's machines exchange files if they share no disk, such as s3://bucket/folder "
        "or sftp://machine/folder.",
    ),
]


ForOption = Annotated[
    str,
    typer.Option(
        "--for",
        help="What the images are: photographs, or small-images like those of MNIST and CIFAR-10. [default: what a "
        "sample of them looks like]",
        show_default=False,
    ),
]
SizeOption = Annotated[
    Optional[int],  # noqa: UP045  typer reads it at run time
    typer.Option(
        "--size",
        min=8,
        help="Pixels of the squares that the project keeps. [default: 64; of small images their own, up to 32]",
        show_default=False,
    ),
]
GrayOption = Annotated[
    Optional[bool],  # noqa: UP045
    typer.Option("--gray/--colour", help="One channel or three. [default: one for small gray images]"),
]
LayoutOption = Annotated[
    str,
    typer.Option(
        "--layout",
        help="What the sub-folders are, where that is not clear: classes, splits, or classes/splits. [default: by "
        "their names]",
    ),
]
EstimateOption = Annotated[
    bool, typer.Option("--estimate/--no-estimate", help="Measure for a few seconds how long preparing takes.")
]


def init(
    folder: Annotated[Path, typer.Argument(help="The project folder to make.")],
    images: Annotated[
        str, typer.Option("--images", help="A folder of image files, or a URL of one; sub-folders are classes, if any.")
    ],
    kind: ForOption = "auto",
    size: SizeOption = None,
    gray: GrayOption = None,
    layout: LayoutOption = "auto",
    estimate: EstimateOption = True,
) -> None:
    """Start a project with your own images: looks at some of them and writes FOLDER/asal.toml, which suits them.

    Prints what was found, what the project will do with it, and how long that takes. Photographs get features of a
    network that was trained on others, and a classifier on these; small images get a small network that is trained on
    their pixels.

    For example: `asal init my-project --images photos`
    """
    from asal.project.scaffold import Wish, start

    started = start(folder, images, Wish(kind, size, gray, layout))
    print_lines(started.found)
    if estimate and not started.doubt:
        from asal.project.forecast import forecast

        print_lines(forecast(folder))
    first = "choose `layout` in that file, then " if started.doubt else ""
    print_lines([f"Wrote {started.file}. Next: {first}asal prepare {quote(str(folder))}"])


def move_images(
    folder: Annotated[Path, typer.Argument(help="A project folder.", metavar="PROJECT")],
    place: Annotated[str, typer.Argument(help="Where its images are now: a folder, a file or a URL.", metavar="PLACE")],
) -> None:
    """Write the new place of a project's images into its asal.toml, after comparing them with those of the project.

    The rest of the file stays as it is. A place with other files is refused. Editing **path** by hand does the same:
    the next **asal prepare** compares.

    For example: `asal move-images my-project /mnt/disk2/photos`
    """
    from asal.project.images import move_images as move

    written = move(folder, place)
    print_lines([f'The images of {folder} are at {place} now: wrote path = "{written}" under [source].'])


def prepare(
    spec: SpecPath,
    project: ProjectOption = None,
    devices: Annotated[
        int, typer.Option("--devices", min=1, help="GPUs, or processes, to train the generator on.")
    ] = 1,
    engine: Annotated[
        str, typer.Option("--engine", help="What extracts features: local (processes) or ray.")
    ] = "local",
    workers: WorkersOption = 0,
    address: Annotated[
        str,
        typer.Option("--address", help="Address of a Ray cluster; auto finds this machine's, local starts one."),
    ] = "auto",
    cpus: Annotated[float, typer.Option("--cpus", min=0, help="CPUs that a shard reserves on a Ray cluster.")] = 1,
    gpus: Annotated[float, typer.Option("--gpus", min=0, help="GPUs, likewise; 0.25 lets four shards share one.")] = 0,
    storage: StorageOption = "",
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="List the steps, what is there already and how long the rest takes; make nothing."
        ),
    ] = False,
) -> None:
    """Take the images in, train the generator and the encoders, store the features, build the index.

    Each is done once: what is there is kept, and what was interrupted goes on. **--dry-run** lists the steps.

    Features are extracted shard by shard, by several processes at a time (**--workers**) or by the machines of a Ray
    cluster (**--engine ray**), with the same bytes as result. See docs/how-to/a-cluster.md.

    For example: `asal prepare SPEC --dry-run`, `asal prepare SPEC --engine ray --address 10.0.0.1:6379`
    """
    from asal.cli.progress import show_progress
    from asal.data.duplicates import report
    from asal.project import contact_sheet
    from asal.project.preparer import Preparer
    from asal.project.project import Project
    from asal.project.spec import load
    from asal.runtime.devices import Device
    from asal.runtime.engine.choice import chosen

    settings = load(spec)
    root = root_of(spec, project, settings.name)
    if dry_run:
        preparer = Preparer(Project(root, settings, Device(count=devices)))
        print_lines(preparer.found())
        _print_plan(preparer.plan())
        return
    extraction = chosen(engine, workers, address, cpus, gpus)
    with show_progress(console) as progress:
        opened = Project(root, settings, Device(count=devices), progress, extraction, storage)
        preparer = Preparer(opened)
        print_lines(preparer.found())
        preparer.run()
        sheet = contact_sheet.write(opened)
    status(root)
    print_lines([*report(root).lines, *opened.folder.scarce(), f"What the classifier sees: {sheet}"])
    print_lines([*(f"warning: {warning}" for warning in preparer.warnings()), *_next(spec, opened.folder)])


def _next(spec: Path, folder: ProjectFolder) -> list[str]:
    """Return the commands that follow: labelling, and a comparison of strategies where the labels are known."""
    from asal.project.spec import FILE

    root, settings, lines = folder.root, folder.spec, []
    own, labelled = (root / FILE).exists(), folder.is_labelled()
    if own:
        named = labelled or bool(settings.labelling.classes)
        first = "" if named else f"name the classes in {root / FILE} under [labelling], then "
        lines.append(f"Next: {first}asal label {quote(str(root))}")
    if settings.strategies and folder.has("test") and labelled:
        project = "" if own else f" --project {quote(str(root))}"
        command = f"asal run {quote(str(spec))}{project} --out {quote(str(Path('runs') / settings.name))}"
        lines.append(f"Or, since the labels are known: {command}" if lines else f"Next: {command}")
    return lines


def _print_plan(plan: Sequence[PlannedStep]) -> None:
    table = Table("step", "makes", "status", "time", box=None, pad_edge=False)
    for step in plan:
        table.add_row(step.name, step.makes, step.status, str(step.estimate))
    console.print(table)


def add(
    spec: SpecPath,
    images: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--images", help="A folder of image files. [default: the spec's source, read again]"),
    ] = None,
    project: ProjectOption = None,
    workers: Annotated[int, typer.Option("--workers", min=1, help="Processes that read images.")] = CORES,
    take_corrections: Annotated[
        bool,
        typer.Option("--take-corrections", help="Let labels follow files that were moved to another class folder."),
    ] = False,
    new_classes: Annotated[
        bool, typer.Option("--new-classes", help="A class folder that the project lacks becomes one of its classes.")
    ] = False,
) -> None:
    """Add new images to a project, with ids that follow the present ones; then **prepare** again.

    An image is new if the project does not know its key, such as a file's path below the images' folder. Images that a
    split left out (**train = 5000** of more) are new as well. All of them go to the pool, and the next batch may ask
    for them. A file that was moved, renamed or copied holds an image that the project has: it is not taken in again.
    A file that could not be read before, and can be now, is taken in.

    What was trained is kept; features are computed for the new images alone, and the index grows by them.
    Start a new project when new images no longer look like those that the generator was trained on.
    """
    from asal.cli.progress import show_progress
    from asal.data.duplicates import report
    from asal.data.sources.folder import Folder
    from asal.project.project import Project
    from asal.project.spec import load
    from asal.runtime.engine.choice import chosen

    settings = load(spec)
    root = root_of(spec, project, settings.name)
    with show_progress(console) as progress:
        opened = Project(root, settings, progress=progress, engine=chosen("local", workers))
        added = opened.add(Folder(str(images)) if images else None, new_classes=new_classes)
        corrected = opened.take_corrections(added) if take_corrections else None
    others = f", {added.others:,} of other classes" if added.others else ""
    then = f"Next: asal prepare {quote(str(root))}" if added.new else "Nothing has changed."
    new = counted(added.new, "new image")
    console.print(f"{new}; {added.known:,} known{others}. {then}", highlight=False, soft_wrap=True)
    print_lines(added.lines)
    print_lines([corrected.line] if corrected else [])
    print_lines(report(root).lines)


def duplicates(
    folder: Annotated[Path, typer.Argument(help="A project folder.", metavar="PROJECT")] = Path(),
    near: Annotated[
        bool, typer.Option("--near", help="Compare all images, and list those that look alike, too.")
    ] = False,
    out: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--out", help="The list of images that look alike. [default: PROJECT/near-duplicates.csv]"),
    ] = None,
) -> None:
    """Show exact copies among the images; with **--near** list the images that look alike. Nothing is changed.

    Exact copies were found when the images were taken in: pool/duplicates.csv lists them, and people are asked about
    one of each group, unless asal.toml says `duplicates = "each"` under **[labelling]**.
    """
    from asal.cli.progress import show_progress
    from asal.data.duplicates import report
    from asal.data.near_duplicates import write_near
    from asal.project.folder import ProjectFolder

    images = ProjectFolder.open(folder).pool  # refuses a project without one
    found = report(folder)
    unknown_here = "Exact copies are not known: the pool was taken in by an earlier version of asal."
    print_lines(found.lines or [unknown_here if found.unknown else "No image is an exact copy of another one."])
    if near:
        place = out or folder / "near-duplicates.csv"
        with show_progress(console) as progress:
            alike = write_near(folder, images, place, progress)
        groups = counted(len(alike.groups), "group")
        print_lines([f"{counted(alike.images, 'image')} in {groups} look alike, listed in {place}"])


def list_parts(kind: Annotated[str, typer.Argument(help="One kind, such as strategies. [default: all]")] = "") -> None:
    """List the parts of every kind, one line each."""
    from asal.project.validate import REGISTRIES

    if kind and kind not in REGISTRIES:
        raise unknown("kind of parts", kind, REGISTRIES)
    for title, registry in REGISTRIES.items():
        if kind in ("", title):
            table = Table("name", "what it is", title=title, title_justify="left", box=None, pad_edge=False)
            for name in registry:
                table.add_row(name, registry[name].summary)
            console.print(table)
            print_lines([*registry.failed, ""])


def status(folder: Annotated[Path, typer.Argument(help="A project folder.", metavar="PROJECT")] = Path()) -> None:
    """Show what a project folder holds: images, parts, features, labels, and what is unfinished."""
    from asal.project.status import notes, summary

    table = Table("folder", "state", "what is in it", box=None, pad_edge=False)
    for row in summary(folder):
        table.add_row(*row)
    console.print(table if table.row_count else f"There is nothing in {folder} that asal made.")
    print_lines(notes(folder))


def doctor(
    folder: Annotated[Optional[Path], typer.Argument(help="A project folder to check byte by byte.")] = None,  # noqa: UP045
    repair: Annotated[
        bool,
        typer.Option("--repair", help="Remove damaged files: the next `asal prepare` makes them again, and only them."),
    ] = False,
    mend: Annotated[bool, typer.Option("--mend", hidden=True)] = False,  # what --repair was called
) -> None:
    """Show what is installed and which device is used; check every file of a project folder."""
    from asal.project import status
    from asal.runtime import environment
    from asal.runtime.devices import here

    facts = environment.facts()
    for name, value in {**facts["versions"], **facts["hardware"], "device": here(), "commit": facts["commit"]}.items():
        console.print(f"{name:18} {value if value is not None else 'not found'}", highlight=False)
    wrong = status.damage(folder) if folder else []
    for error in wrong:
        print_error(error)
    if folder:
        removed = status.repair(folder) if repair or mend else []
        again = "`asal prepare` makes it again, or `asal add` what was added"
        print_lines(f"removed {path}: {again}" for path in removed)
        result = counted(len(wrong), "fault") if wrong else "every file is as it was written"
        print_lines([f"{folder}: {result}"])
        wrong = wrong[len(removed) :]
    raise typer.Exit(1 if wrong else 0)
