"""Errors that a user can put right: what happened, the rule where it helps, and a hint."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable


class UserError(Exception):
    """Something that the user can put right. Each part is one line of plain English.

    Args:
        got: what happened, as a sentence that stands alone: it is what people read first.
        rule: what holds instead, where that helps; empty where `got` says enough.
        hint: what to do about it.
    """

    exit_code = 2  # of the command that it ends

    def __init__(self, got: str, *, hint: str, rule: str = "") -> None:
        super().__init__(got, rule, hint)
        self.got, self.rule, self.hint = got, rule, hint

    def __reduce__(self) -> tuple[object, ...]:  # keyword-only arguments do not survive pickling between processes
        return _rebuild, (type(self), self.got, self.rule, self.hint)

    def __str__(self) -> str:
        return "; ".join(part for part in (self.got, self.rule, self.hint) if part)

    def to_json(self) -> dict[str, str]:
        """Return its parts by name."""
        return {"got": self.got, "rule": self.rule, "hint": self.hint}


def _rebuild(kind: type[UserError], got: str, rule: str, hint: str) -> UserError:
    return kind(got, rule=rule, hint=hint)


class PluginWarning(RuntimeWarning):
    """A plug-in could not be imported; everything else works."""


class DamageError(UserError):
    """A stored file is not what was written."""


class NoRowTakenError(UserError):
    """A file was read, and none of its rows could be used."""

    exit_code = 1


class BusyError(UserError):
    """Another process is at work in the same place."""


class OutageError(UserError):
    """A disk or a database does not take what is written, or does not answer: later it may."""


def unknown(kind: str, name: str, known: Iterable[str]) -> UserError:
    """Return the error for a name that is not known, with the closest name that is.

    >>> print(unknown("strategy", "corset", ["asal", "coreset", "random"]))
    no strategy is called 'corset'; the strategies are asal, coreset, random; did you mean 'coreset'?
    """
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1)
    no_names = "leave it out" if kind.startswith("option of ") else "leave it out, or define it first"
    hint = f"did you mean '{close[0]}'?" if close else "choose one of them" if names else no_names
    rule = f"the {plural(kind)} are {', '.join(names)}" if names else f"there are no {plural(kind)}"
    return UserError(f"no {kind} is called '{name}'", rule=rule, hint=hint)


def plural(noun: str) -> str:
    """Return the plural of an English noun phrase, whose first noun counts: "option of it", "options of it".

    >>> [plural(noun) for noun in ("strategy", "class", "feature space", "split for the test set")]
    ['strategies', 'classes', 'feature spaces', 'splits for the test set']
    """
    head, of, rest = re.match(r"(.*?)( of | for |$)(.*)", noun).groups()  # type: ignore[union-attr]
    if head.endswith(("s", "x", "ch", "sh")):
        head += "es"
    elif head.endswith("y") and head[-2] not in "aeiou":
        head = f"{head[:-1]}ies"
    else:
        head += "s"
    return head + of + rest


def counted(number: int, noun: str) -> str:
    """Return a number with its noun.

    >>> counted(1, "image"), counted(2_000, "image")
    ('1 image', '2,000 images')
    """
    return f"{number:,} {noun if number == 1 else plural(noun)}"


def quoted(names: Iterable[object], word: str = "and") -> str:
    """Return names as a sentence lists them.

    >>> quoted(["cat"]), quoted(["cat", "dog", 3])
    ("'cat'", "'cat', 'dog' and '3'")
    """
    *first, last = [f"'{name}'" for name in names] or ["none"]
    return f"{', '.join(first)} {word} {last}" if first else last


def reason(error: BaseException) -> str:
    """Return what an exception says, on one line; its type's name where it says nothing.

    >>> reason(KeyError("it lacks 'x'")), reason(RecursionError())
    ("it lacks 'x'", 'RecursionError')
    """
    text = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
    return " ".join(text.split()) or type(error).__name__


def without_secrets(text: str) -> str:
    """Return a text without what URLs in it keep secret: names and passwords before the host, and what follows a `?`.

    >>> without_secrets("ftp://me:p@ss@host/x and https://host/y?sig=abc")
    'ftp://host/x and https://host/y?…'
    """
    return re.sub(r"(\w://[^\s?]*)\?\S*", r"\1?…", re.sub(r"//[^/\s]*@", "//", text))
