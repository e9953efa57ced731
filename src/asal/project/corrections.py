"""Labels that follow a file which was moved to another class folder: as corrections, on somebody's word."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from asal.data import moves
from asal.data.moves import Correction
from asal.errors import BusyError, counted
from asal.project.folder import ProjectFolder
from asal.runtime.retry import retry
from asal.session.events import Event, Record
from asal.session.state import State, fold

TRIES = 20  # attempts while other processes write


@dataclass(frozen=True)
class Corrected:
    """How many labels were corrected."""

    stored: int  # labels that came with the images
    answers: int  # in the record

    @property
    def line(self) -> str:
        """The same as a sentence."""
        answers = f", and {counted(self.answers, 'answer')} in the record" if self.answers else ""
        return f"{counted(self.stored, 'stored label')} corrected{answers}: the classes are those of the folders now"


def take(project: ProjectFolder, waiting: Sequence[Correction]) -> Corrected:
    """Write corrections: events where somebody has answered, and stored labels. The caller has locked the project.

    Raises:
        BusyError: others wrote to the record all the time.
    """
    answers = 0
    if waiting and project.has_record:
        with project.record() as record:
            answers = retry(lambda: _correct(record, waiting), tries=TRIES, on=BusyError)
    moves.take_corrections(project.root, waiting)  # last: after a kill before this line they are found again
    moves.write_moved(project.root, ())
    return Corrected(len(waiting), answers)


def _correct(record: Record, waiting: Sequence[Correction]) -> int:
    state = fold(State(), record.read())
    events = [
        Event("corrected", state.number, each.image, number, None, {"file": each.now_at})
        for each in waiting
        if each.part == "pool"
        and (number := _number(state, each.label)) is not None
        and _answered_otherwise(state, each.image, number)
    ]
    return len(record.append(events, after=state.seq)) if events else 0


def _number(state: State, label: str) -> int | None:
    """Return the class that a folder means: the one that the record began with under this name, else a later one."""
    began_with = list((state.opened or {}).get("classes", ()))
    if label in began_with:
        return state.classes.present(began_with.index(label))
    numbers = state.classes.known(label)
    return numbers.pop() if len(numbers) == 1 else None


def _answered_otherwise(state: State, image: int, number: int) -> bool:
    return image in state.skips or state.answers.get(image, number) != number
