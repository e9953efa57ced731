"""The classes of a record: numbers that stay, and names that people add, change, merge and drop while they label.

A number is given once and means the same class for ever. What people said stays in the events; a class that was merged
or dropped keeps its number, and `present` says what the number counts as now.

>>> classes = ClassList.of(["cat", "dog", "kitten"]).after({"change": "merged", "class": 2, "into": 0})
>>> classes = classes.after({"change": "renamed", "class": 1, "name": "hound"})
>>> classes.live, [classes.present(number) for number in (0, 1, 2)], classes.find("kitten"), classes.find("dog")
({0: 'cat', 1: 'hound'}, [0, 1, 0], 0, 1)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from types import MappingProxyType
from typing import Any

import numpy as np

from asal.core import Ids, Labels
from asal.errors import UserError, quoted, unknown

EMPTY: MappingProxyType[Any, Any] = MappingProxyType({})


@dataclass(frozen=True)
class ClassList:
    """The classes as the events say by now. A value: a change makes another one."""

    names: tuple[str, ...] = ()  # by number; of a class that is hidden, its last one
    hidden: Mapping[int, int | None] = field(default_factory=lambda: EMPTY)  # merged into which number; None: dropped
    former: tuple[tuple[str, int], ...] = ()  # names that classes had before
    past: frozenset[frozenset[str]] = frozenset()  # the names of all classes, as they were at any time
    seq: int = 0  # of the last event that changed something

    @classmethod
    def of(cls, names: Iterable[str]) -> ClassList:
        """Return the list that a record begins with."""
        names = tuple(names)
        return cls(names, past=frozenset([frozenset(names)]))

    @cached_property
    def live(self) -> dict[int, str]:
        """The classes that can be chosen: number → name, by ascending numbers."""
        return {number: name for number, name in enumerate(self.names) if number not in self.hidden}

    @cached_property
    def numbers(self) -> dict[str, int]:
        """The same by names."""
        return {name: number for number, name in self.live.items()}

    @cached_property
    def columns(self) -> Ids:
        """The place of each number among the live classes, −1 where it is hidden: a classifier's columns."""
        places = np.full(len(self.names), -1)
        places[list(self.live)] = np.arange(len(self.live))
        places.flags.writeable = False
        return places

    def present(self, number: int | None) -> int | None:
        """Return the live class that a number counts as, or None where it was dropped, or is None ("can't tell")."""
        while number is not None and number in self.hidden:
            number = self.hidden[number]
        return number

    def name(self, number: int | None) -> str:
        """Return the name of the class that a number counts as now; "can't tell" for None and dropped classes."""
        now = self.present(number)
        return "can't tell" if now is None else self.names[now]

    def column_labels(self, labels: Labels) -> Labels:
        """Return labels (n,) of live classes as a classifier's columns."""
        return np.asarray(self.columns[labels], np.int64) if self.hidden else labels

    def present_labels(self, labels: Labels) -> Labels:
        """Return the numbers (n,) that labels count as now; those of dropped classes stay what they were."""
        if not self.hidden:
            return labels
        now = {number: self.present(number) for number in np.unique(labels).tolist()}
        table = {number: number if into is None else into for number, into in now.items()}
        return np.array([table[number] for number in labels.tolist()], np.int64)

    def present_probs(self, probs: Sequence[float]) -> list[float]:
        """Return probabilities by numbers, those of merged classes with the other's; 0 for what is no class by now."""
        now = [0.0] * len(self.names)
        for number, prob in enumerate(probs):
            if (place := self.present(number)) is not None:
                now[place] += prob
        return now

    def named(self, number: int) -> set[str]:
        """Return every name that a number has or had."""
        now = {self.names[number]} if 0 <= number < len(self.names) else set()
        return now | {name for name, each in self.former if each == number}

    def knows(self, name: str) -> bool:
        """Say whether any class has or had this name, also one that was dropped."""
        return any(name in self.named(number) for number in range(len(self.names)))

    def known(self, name: str) -> set[int]:
        """Return the live classes that a name means: of a live class, else of those that had it, or took it in."""
        if name in self.numbers:
            return {self.numbers[name]}
        had = [number for number, last in enumerate(self.names) if last == name]
        had += [number for before, number in self.former if before == name]
        return {now for number in had if (now := self.present(number)) is not None}

    def find(self, name: str) -> int:
        """Return the number of a class by its name, or by a name that it had before.

        Raises:
            UserError: no class has or had this name, several had it, or the class was dropped.
        """
        numbers = self.known(name)
        if len(numbers) == 1:
            return numbers.pop()
        if numbers:
            names = quoted(self.names[number] for number in sorted(numbers))
            raise UserError(f"'{name}' was the name of several classes: {names}", hint="use the present name")
        if name in self.names:
            raise UserError(
                f"the class '{name}' was dropped",
                rule=f"the classes are {', '.join(self.numbers)}",
                hint="choose one of them, or bring it back: asal classes PROJECT restore NAME",
            )
        raise unknown("class", name, self.numbers)

    def numbers_of(self, names: Sequence[str], began_with: Sequence[str]) -> list[int | None] | None:
        """Return the live classes that another list means, None where one was dropped; None if it is of other classes.

        Args:
            names: as a test set has them.
            began_with: the names that the record began with: their places are their numbers.
        """
        if tuple(names) == tuple(began_with):
            return [self.present(number) for number in range(len(names))]
        if set(names) == set(self.numbers):
            return [self.numbers[name] for name in names]
        return None

    def after(self, body: Mapping[str, Any], seq: int = 0) -> ClassList:
        """Return the list after an event's body.

        Raises:
            ValueError, KeyError, TypeError: it is no change of these classes.
        """
        changed = CHANGES[body["change"]](self, body)
        if len(changed.live) < 2 or len(changed.numbers) < len(changed.live):
            raise ValueError("two or more classes have a name each")
        return replace(changed, past=changed.past | {frozenset(changed.numbers)}, seq=seq or self.seq)

    def _live(self, number: Any) -> int:
        if not isinstance(number, int) or number not in self.live:
            raise ValueError(f"{number!r} is not a class")
        return number

    def labels(self, said: Mapping[int, int]) -> Mapping[int, int]:
        """Return what answers (image → number) count as now, without those of dropped classes."""
        if not self.hidden:
            return said
        now = {image: self.present(number) for image, number in said.items()}
        return MappingProxyType({image: number for image, number in now.items() if number is not None})

    def votes(self, said: Mapping[int, Mapping[str, int | None]]) -> Mapping[int, Mapping[str, int | None]]:
        """Return what votes (image → who → number) count as now; None is "can't tell"."""
        if not self.hidden:
            return said
        return MappingProxyType(
            {image: {who: self.present(number) for who, number in each.items()} for image, each in said.items()}
        )


def _added(classes: ClassList, body: Mapping[str, Any]) -> ClassList:
    return replace(classes, names=(*classes.names, *map(_text, body["names"])))


def _renamed(classes: ClassList, body: Mapping[str, Any]) -> ClassList:
    number, names = classes._live(body["class"]), list(classes.names)
    before, names[number] = names[number], _text(body["name"])
    return replace(classes, names=tuple(names), former=(*classes.former, (before, number)))


def _merged(classes: ClassList, body: Mapping[str, Any]) -> ClassList:
    number, into = classes._live(body["class"]), classes._live(body["into"])
    if number == into:
        raise ValueError("a class is merged into another one")
    return replace(classes, hidden=MappingProxyType({**classes.hidden, number: into}))


def _dropped(classes: ClassList, body: Mapping[str, Any]) -> ClassList:
    return replace(classes, hidden=MappingProxyType({**classes.hidden, classes._live(body["class"]): None}))


def _restored(classes: ClassList, body: Mapping[str, Any]) -> ClassList:
    number = body["class"]
    if number not in classes.hidden:
        raise ValueError(f"{number!r} is not a class that was merged or dropped")
    rest = {each: into for each, into in classes.hidden.items() if each != number}
    return replace(classes, hidden=MappingProxyType(rest))


CHANGES: Mapping[str, Callable[[ClassList, Mapping[str, Any]], ClassList]] = {
    "added": _added,
    "renamed": _renamed,
    "merged": _merged,
    "dropped": _dropped,
    "restored": _restored,
}


def _text(name: Any) -> str:
    if not isinstance(name, str) or not name.strip():
        raise ValueError(f"{name!r} is not a name")
    return name


def described(classes: ClassList, body: Mapping[str, Any]) -> str:
    """Return the change of an event's body as a sentence; `classes` are those before it."""
    if body["change"] == "added":
        first = len(classes.names)
        numbered = [f"{name} (number {first + place})" for place, name in enumerate(body["names"])]
        return f"Added {', '.join(numbered)}."
    name = classes.names[body["class"]]
    if body["change"] == "renamed":
        return f"{name} is called {body['name']} now, with the same number {body['class']}."
    if body["change"] == "merged":
        return f"{name} counts as {classes.names[body['into']]} from now on; what people said stays in the record."
    if body["change"] == "dropped":
        return f"{name} is no longer a class; its number {body['class']} is not used again."
    return f"{name} is a class again, with its number {body['class']} and the answers that people gave with it."
