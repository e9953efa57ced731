"""A project folder and a Label Studio server, as the command line names them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from asal.errors import UserError
from asal.labelling.consensus import OverlapRules
from asal.labelling.label_studio.bridge import FILE, Bridge
from asal.labelling.label_studio.client import LabelStudio, token_of
from asal.labelling.photos import Photos
from asal.project.folder import ProjectFolder
from asal.project.project import Project
from asal.project.spec import load
from asal.runtime import artifacts
from asal.session.events import Record
from asal.session.session import Session
from asal.session.state import State, fold


@contextmanager
def bridged(
    folder: Path, url: str = "", number: int = 0, token_file: Path | None = None, strategy: str = ""
) -> Iterator[Bridge]:
    """Open a project's session and its project in Label Studio.

    Args:
        folder: a prepared project.
        url: of the server; the one of the last time if empty.
        number: of a Label Studio project; 0 for the one of the last time, or a new one.
        token_file: holds the token; if None, the environment does.
        strategy: one of the spec's; if empty, the one named under [labelling], or the first.

    Raises:
        UserError: one of these is missing or does not fit.
    """
    project, token = Project.open(folder), token_of(token_file)
    if not url and not (folder / FILE).exists():
        raise UserError(
            f"Label Studio's URL is missing: no --url is given, and there is no {folder / FILE}",
            hint="add --url, for example --url http://localhost:8080",
        )
    server = url or artifacts.read_json(folder / FILE)["url"]
    spec = project.spec
    with Record.open(spec.labelling.place(folder)) as record:
        opened = fold(State(), record.read()).opened or {"seed": 0}
    name = strategy or spec.default_strategy
    session = project.session(name, seed=int(opened["seed"]))
    rules = OverlapRules(spec.labelling.overlap, spec.labelling.share)
    try:
        with LabelStudio(server, token) as studio, Photos(ProjectFolder(folder, spec)) as photos:
            yield Bridge(session, studio, folder, f"asal {spec.name}", number, rules, photos)
    finally:
        session.record.close()


def size(folder: Path, batch: int = 0) -> Callable[[Session], int]:
    """Return a function for the size of a session's next batch: as the spec's protocol says, 0 at its end.

    Args:
        batch: of every batch, also the first; the protocol's if 0.
    """
    protocol = load(folder).protocol

    def next_size(session: Session) -> int:
        wanted = batch or (protocol.batch if session.state.rounds else protocol.initial)
        return max(0, min(wanted, protocol.budget - session.state.spent, session.left))

    return next_size
