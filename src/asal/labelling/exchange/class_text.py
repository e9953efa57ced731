"""Which class the text of a label means: its name, a former one, or one that differs in blanks, capitals or Unicode."""

from __future__ import annotations

from collections.abc import Mapping

from asal.labelling.exchange.names import composed
from asal.session.classes import ClassList


def class_of(label: str, numbers: Mapping[str, int], classes: ClassList | None = None) -> tuple[int | None, str]:
    """Return the number of a class, or None, and what the report says of it; `classes` knows former names.

    >>> class_of("Cat ", {"cat": 0, "dog": 1}), class_of("cat", {"Cat": 0, "CAT": 1})
    ((0, "read as 'cat'"), (None, "it may be 'CAT' or 'Cat'"))
    """
    if label in numbers:
        return numbers[label], _called_so_before(label, numbers[label], classes)
    former = classes.known(label) if classes else set()
    found = {number: classes.names[number] for number in former} if classes else {}
    for same in (_plain, _folded):
        alike = {number: name for name, number in numbers.items() if same(name) == same(label)}
        if alike:
            found |= alike
            break
    if len(found) == 1:
        number, name = next(iter(found.items()))
        return number, f"read as '{name}'" + (", its name by now" if former else "")
    if found:
        before = "the name of several classes before; " if len(former) > 1 else ""
        return None, f"{before}it may be {' or '.join(repr(name) for name in sorted(found.values()))}"
    return None, f"the classes are {', '.join(numbers)}"


def _called_so_before(label: str, number: int, classes: ClassList | None) -> str:
    """Return a note where another class had the name of this one before, as a file of that time may mean it."""
    if classes is None:
        return ""
    had = {classes.present(each) for each in range(len(classes.names)) if label in classes.named(each)}
    names = sorted(classes.name(each) for each in had - {number, None})
    return f"read as the present class of this name; {' and '.join(map(repr, names))} had it before" if names else ""


def _plain(name: str) -> str:
    return composed(name).strip()


def _folded(name: str) -> str:
    return composed(composed(name).casefold()).strip()
