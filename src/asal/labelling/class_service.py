"""Changes of the classes while people label: their events, the open images that they settle, what the page reads."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from asal.errors import BusyError
from asal.labelling.consensus import OverlapRules
from asal.labelling.decisions import settled_events
from asal.runtime.retry import retry
from asal.session.class_changes import ClassChange, change_events, counts
from asal.session.classes import ClassList, described
from asal.session.events import Event
from asal.session.state import State, fold

TRIES = 50  # attempts while other processes write


@dataclass(frozen=True)
class ChangedClasses:
    """What a change did."""

    classes: ClassList
    lines: list[str]  # as sentences
    settled: int = 0  # open images whose votes agree by now


def class_events(
    state: State, change: ClassChange, rules: OverlapRules, by: str | None, body: dict[str, Any] | None = None
) -> list[Event]:
    """Return the events of a change, with the answers to open images whose votes agree because of it.

    Args:
        body: goes into each event of the change: the key of a request.
    """
    events = [replace(event, body={**event.body, **(body or {})}) for event in change_events(state, change, by)]
    return [*events, *settled_events(state, fold(state, events), rules)] if events else []


def sentences(state: State, events: Sequence[Event]) -> list[str]:
    """Return what the events of a change say; `state` is the one before them."""
    lines, classes = [], state.classes
    for event in events:
        if event.kind == "opened":
            classes = ClassList.of(event.body["classes"])
        elif event.kind == "classes":
            lines.append(described(classes, event.body))
            classes = classes.after(event.body)
    return lines


def write_change(
    read: Callable[[], State], write: Callable[[State, list[Event]], object], events: Callable[[State], list[Event]]
) -> tuple[State, list[Event]]:
    """Write the events of a change behind whatever others write meanwhile; return the state before, and the events.

    Raises:
        UserError: the change is not possible.
        BusyError: others were writing all the time, and nothing of this was written.
    """

    def attempt() -> tuple[State, list[Event]]:
        state = read()
        new = events(state)
        if new:
            write(state, new)
        return state, new

    return retry(attempt, tries=TRIES, on=BusyError, pause=lambda *_: random.random() * 0.01)


def to_json(state: State) -> dict[str, Any]:
    """Return the classes as the page reads them: those that can be chosen, those that are hidden, and their labels."""
    classes, said = state.classes, counts(state)
    present: dict[int, int] = {}
    for label in state.answers.values():
        present[label] = present.get(label, 0) + 1
    return {
        "seq": classes.seq,
        "classes": [{"number": n, "name": name, "labels": present.get(n, 0)} for n, name in classes.live.items()],
        "hidden": [
            {"number": n, "name": classes.names[n], "into": classes.present(n), "labels": said[n]}
            for n in sorted(classes.hidden)
        ],
    }
