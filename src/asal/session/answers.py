"""Answers as people and programs give them, checked before a single one is written."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from asal.errors import UserError
from asal.session.classes import ClassList
from asal.session.state import State

Answers: TypeAlias = Mapping[int, int | str | None] | Iterable[tuple[int, int | str | None]]


def checked(
    answers: Answers, images: int, classes: ClassList | Sequence[str], listed: Sequence[str] = ()
) -> list[tuple[int, int | None]]:
    """Return (id, class number) pairs, with None for "can't tell".

    Args:
        answers: id → label, or (id, label) pairs; a label is a class's number or name, or None. A name that a class had
            before counts as that class.
        images: how many the pool holds.
        classes: their names, in order.
        listed: the caller's own list. A number that means another class there than in `classes` is refused.

    Raises:
        UserError: an id that is not in the pool or is answered twice, or a label that is not a class.

    >>> checked({4: "dog", 2: 0, 3: None}, images=5, classes=["cat", "dog"])
    [(4, 1), (2, 0), (3, None)]
    >>> checked({4: "dgo"}, images=5, classes=["cat", "dog"])
    Traceback (most recent call last):
    ...
    asal.errors.UserError: no class is called 'dgo'; the classes are cat, dog; did you mean 'dog'?
    """
    known = classes if isinstance(classes, ClassList) else ClassList.of(classes)
    numbers: dict[int, int | None] = {}
    for pair in answers.items() if isinstance(answers, Mapping) else answers:
        image, label = _pair(pair)
        if not 0 <= image < images:
            raise UserError(f"image id {image} is outside 0 … {images - 1:,}", hint="pass ids that `ask` returned")
        if image in numbers:
            raise UserError(f"image {image} is answered twice in one call", hint="pass it once")
        numbers[image] = _number(image, label, known, listed)
    return list(numbers.items())


def not_waiting(image: int, state: State) -> UserError:
    """Return the error for an answer to an image that is not in the open batch."""
    if image in state.answers or image in state.skips:
        got, hint = f"image {image} is answered already", f"change its answer with `correct({{{image}: …}})`"
    elif state.waiting:
        got, hint = f"image {image} is not in the open batch", "answer those of `ask`, which returns the open batch"
    else:
        got, hint = f"image {image}, while no batch is open", "call `ask` first"
    return UserError(got, rule="an answer belongs to an image that was asked", hint=hint)


def _pair(pair: Any) -> tuple[int, Any]:
    try:
        image, label = pair
        return operator.index(image), label
    except (TypeError, ValueError):
        raise UserError(
            f"{pair!r} is not an answer",
            rule="an answer is an image's id, a whole number, and a label",
            hint="pass {id: label} or (id, label) pairs",
        ) from None


def _number(image: int, label: Any, classes: ClassList, listed: Sequence[str]) -> int | None:
    if label is None:
        return None
    if isinstance(label, str):
        return classes.find(label)
    try:
        number = operator.index(label)
    except TypeError:
        number = -1
    if 0 <= number < len(classes.names) and classes.present(number) is not None:
        if number < len(listed) and listed[number] not in classes.named(number):
            raise UserError(
                f"the label {number}, for image {image}, is '{classes.names[number]}' in the record, and "
                f"'{listed[number]}' in this session's list",
                rule="a class keeps the number that the record gave it",
                hint="pass the class's name",
            )
        return number
    name = str(label)
    last, gaps = len(classes.names) - 1, len(classes.live) < len(classes.names)
    numbers = ", ".join(map(str, classes.live)) if gaps else f"0 … {last}"
    raise UserError(
        f"{label!r} is not a label, for image {image}",
        rule=f"a label is a class's number, {numbers}, or its name",
        hint=f"pass the name as text: '{name}'"
        if name in classes.numbers
        else f"the classes are {', '.join(classes.numbers)}",
    )
