"""Changes of a record's classes, checked before they are written: added, renamed, merged, dropped, restored.

>>> from asal.session.state import fold
>>> state = fold(State(), [Event("opened", body={"format": 4, "classes": ["cat", "dog", "kitten"]})])
>>> event, = change_events(state, ClassChange("merge", ("kitten",), to="cat"), by="Ada")
>>> dict(event.body), fold(state, [event]).classes.live
({'change': 'merged', 'class': 2, 'into': 0}, {0: 'cat', 1: 'dog'})
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from asal.errors import UserError, counted, quoted, unknown
from asal.session.classes import ClassList
from asal.session.events import Event
from asal.session.state import State

NamedClass = int | str  # a class's number, or its name


@dataclass(frozen=True)
class ClassChange:
    """A change that somebody wants.

    Args:
        kind: "add", "rename", "merge", "drop" or "restore".
        classes: names to add; else the one class that changes, by its name or number.
        to: the new name, the class to merge into, or the one that answers of a dropped class count as.
        skipped: answers of a dropped class count as "can't tell".
    """

    kind: str
    classes: tuple[NamedClass, ...]
    to: NamedClass | None = None
    skipped: bool = False


def change_events(state: State, change: ClassChange, by: str | None = None) -> list[Event]:
    """Return the events of a change; none where it changes nothing, as when it was made before.

    Raises:
        UserError: a class is not there, a name is taken or empty, fewer than two classes would be left, or labels
            would be left without a class.
    """
    if change.kind not in CHANGES:
        raise unknown("change of classes", change.kind, CHANGES)
    if change.kind != "add" and len(change.classes) != 1:
        raise UserError(f"{change.kind} was given {len(change.classes)} classes", hint="change one class at a time")
    bodies = CHANGES[change.kind](state, change)
    return [Event("classes", state.number, by=by, body=body) for body in bodies]


def counts(state: State) -> Counter[int]:
    """Return how many images each number has been said of, in a label or a vote: as people said it, by numbers."""
    said = {image: {label} for image, label in state.raw_answers.items()}
    for image, votes in state.raw_votes.items():
        said.setdefault(image, set()).update(label for label in votes.values() if label is not None)
    return Counter(label for labels in said.values() for label in labels)


def _add(state: State, change: ClassChange) -> list[dict[str, Any]]:
    classes, bodies, new = state.classes, list[dict[str, Any]](), list[str]()
    taken = {unicodedata.normalize("NFC", each) for each in classes.numbers}
    for given in change.classes:
        name = checked_name(str(given))
        if name in taken or name in new:
            continue
        gone = [number for number in classes.hidden if classes.names[number] == name]
        if not gone:
            new.append(name)
        elif (into := classes.present(gone[-1])) is not None:
            raise UserError(
                f"'{name}' was merged into '{classes.names[into]}'",
                rule="a class that was merged keeps its number and its answers",
                hint=f"take the merger back (`asal classes PROJECT restore '{name}'`), or choose another name",
            )
        else:
            bodies.append({"change": "restored", "class": gone[-1]})
    return [*bodies, {"change": "added", "names": new}] if new else bodies


def _rename(state: State, change: ClassChange) -> list[dict[str, Any]]:
    classes, name = state.classes, checked_name(str(change.to or ""))
    (given,) = change.classes
    taken = classes.numbers.get(name)
    number = _number(classes, given, done=lambda each: each == taken)
    if number is None or number == taken:
        return []
    if taken is not None:
        raise UserError(
            f"there is a class called '{name}' already",
            rule="every class has a name of its own",
            hint=f"to count both as one: asal classes PROJECT merge '{classes.names[number]}' '{name}'",
        )
    return [{"change": "renamed", "class": number, "name": name}]


def _merge(state: State, change: ClassChange) -> list[dict[str, Any]]:
    classes = state.classes
    (given,) = change.classes
    if change.to is None:
        raise UserError("the class to merge into is missing", hint="name both: asal classes PROJECT merge FROM INTO")
    into = _number(classes, change.to)
    number = _number(classes, given, done=lambda each: classes.present(each) == into)
    if number is None:
        return []
    if number == into:
        raise UserError(f"'{classes.names[number]}' cannot be merged into itself", hint="name two classes")
    _two_are_left(classes, number)
    return [{"change": "merged", "class": number, "into": into}]


def _drop(state: State, change: ClassChange) -> list[dict[str, Any]]:
    if change.to is not None:
        return _merge(state, change)
    classes = state.classes
    (given,) = change.classes
    number = _number(classes, given, done=lambda each: classes.present(each) is None)
    if number is None:
        return []
    _two_are_left(classes, number)
    said = counts(state)
    labels = sum(count for each, count in said.items() if classes.present(each) == number)
    if labels and not change.skipped:
        name = classes.names[number]
        raise UserError(
            f"'{name}' has been answered for {counted(labels, 'image')}",
            rule="a class is dropped only if that leaves no answer without a class",
            hint=f"say what they count as: asal classes PROJECT drop '{name}' --to CLASS, or --cant-tell",
        )
    return [{"change": "dropped", "class": number}]


def _restore(state: State, change: ClassChange) -> list[dict[str, Any]]:
    classes = state.classes
    (given,) = change.classes
    gone = [number for number in classes.hidden if given in (number, classes.names[number])]
    if not gone and (given in classes.live or given in classes.numbers):
        return []
    if not gone:
        names = {classes.names[number] for number in classes.hidden}
        raise unknown("merged or dropped class", str(given), names)
    if classes.names[gone[-1]] in classes.numbers:
        name = classes.names[gone[-1]]
        raise UserError(
            f"there is another class called '{name}' by now", hint=f"rename that one first, then restore '{name}'"
        )
    return [{"change": "restored", "class": gone[-1]}]


CHANGES: Mapping[str, Callable[[State, ClassChange], list[dict[str, Any]]]] = {
    "add": _add,
    "rename": _rename,
    "merge": _merge,
    "drop": _drop,
    "restore": _restore,
}


def checked_name(name: str) -> str:
    """Return a class's name without blanks around it, composed (NFC), as keyboards write it.

    Raises:
        UserError: nothing is left, or it has a line break or another control character.
    """
    text = unicodedata.normalize("NFC", name).strip()
    if not text or any(unicodedata.category(each) == "Cc" for each in text):
        raise UserError(
            f"{name!r} is no name of a class",
            rule="a name has a letter, a digit or a sign, and stands in one line",
            hint="choose another name",
        )
    return text


def _number(classes: ClassList, given: NamedClass, done: Callable[[int], bool] | None = None) -> int | None:
    """Return the number of a live class, by its number or its present name; None where the change was made before.

    Args:
        done: says of a number, which the class once had under this name, that the change has been made.
    """
    if isinstance(given, int):
        if given in classes.live:
            return given
        before: Sequence[int] = [given] if given in classes.hidden else []
        name = classes.names[given] if before else str(given)
    else:
        if given in classes.numbers:
            return classes.numbers[given]
        name = given
        before = [n for n in range(len(classes.names)) if given in classes.named(n)]
    if done is not None and any(map(done, before)):
        return None
    now = sorted({classes.names[n] for each in before if (n := classes.present(each)) is not None})
    if now:
        raise UserError(
            f"'{name}' is {quoted(now, 'or')} by now",
            rule=f"the classes are {', '.join(classes.numbers)}",
            hint="use the present name",
        )
    raise unknown("class", name, classes.numbers)


def _two_are_left(classes: ClassList, number: int) -> None:
    if len(classes.live) <= 2:
        rest = [name for each, name in classes.live.items() if each != number]
        raise UserError(
            f"without '{classes.names[number]}' only {quoted(rest)} would be left",
            rule="a classifier tells two or more classes apart",
            hint="add another class first",
        )
