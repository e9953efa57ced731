"""A project folder and a Label Studio server, as the command line names them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from asal.errors import UserError
from asal.labelling.consensus import OverlapRules
from asal.labelling.label_studio.bridge import FILE, Bridge
from asal.labelling.label_studio.client import LabelStudio, token_of
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
    """Open a project's session and its place in Label Studio.

    Args:
        folder: a prepared project.
        url: of the server; the one of the last time where none is given.
        number: of a Label Studio project; the one of the last time, or a new one, where none is given.
        token_file: holds the token; the environment does where none is named.
        strategy: one of the spec's; the one that it names under [labelling], or its first, where none is given.

    Raises:
        UserError: whatever of this is not there, or does not fit.
    """
    project, token = Project.open(folder), token_of(token_file)
    if not url and not (folder / FILE).exists():
        raise UserError(
            f"no --url, and there is no {folder / FILE}",
            rule="the first time, Label Studio's URL is given",
            hint="add, for example, --url http://localhost:8080",
        )
    server = url or artifacts.read_json(folder / FILE)["url"]
    spec = project.spec
    with Record.open(spec.labelling.place(folder)) as record:
        begun = fold(State(), record.read()).opened or {"seed": 0}
    name = strategy or spec.labelling.strategy or next(iter(spec.strategies), "random")
    session = project.session(name, seed=int(begun["seed"]))
    rules = OverlapRules(spec.labelling.overlap, spec.labelling.share)
    try:
        with LabelStudio(server, token) as studio:
            yield Bridge(session, studio, folder, f"asal {spec.name}", number, rules)
    finally:
        session.record.close()


def size(folder: Path, batch: int = 0) -> Callable[[Session], int]:
    """Return how to tell how many images a session's next batch holds: as the spec's protocol has it, 0 at its end.

    Args:
        batch: of every batch, also the first; the protocol's where it is 0.
    """
    protocol = load(folder).protocol

    def next_size(session: Session) -> int:
        wanted = batch or (protocol.batch if session.state.rounds else protocol.initial)
        return max(0, min(wanted, protocol.budget - session.state.spent, session.left))

    return next_size
