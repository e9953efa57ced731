"""Errors that a user can mend: the rule, what came, and the remedy."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable


class UserError(Exception):
    """Something the user can put right. One line each: the rule, what came instead, what to do."""

    def __init__(self, rule: str, *, came: str, remedy: str) -> None:
        super().__init__(rule, came, remedy)
        self.rule, self.came, self.remedy = rule, came, remedy

    def __reduce__(self) -> tuple[object, ...]:  # keyword-only arguments do not survive pickling between processes
        return _rebuild, (type(self), self.rule, self.came, self.remedy)

    def __str__(self) -> str:
        return f"{self.rule}: {self.came}; {self.remedy}"


def _rebuild(kind: type[UserError], rule: str, came: str, remedy: str) -> UserError:
    return kind(rule, came=came, remedy=remedy)


class DamageError(UserError):
    """A stored file is not what was written."""


class BusyError(UserError):
    """Another process is at work in the same place."""


class OutageError(UserError):
    """A disk or a database does not take what is written, or does not answer: later it may."""


def unknown(kind: str, name: str, known: Iterable[str]) -> UserError:
    """Return the error for a name that nothing goes by, with the likeliest one that was meant.

    >>> print(unknown("strategy", "corset", ["asal", "coreset", "random"]))
    a strategy goes by one of these names: asal, coreset, random: 'corset' is none; did you mean 'coreset'?
    """
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1)
    remedy = f"did you mean '{close[0]}'?" if close else "choose one of them" if names else "leave it out"
    article = "an" if kind[0] in "aeiou" else "a"
    rule = f"{article} {kind} goes by one of these names: {', '.join(names)}" if names else f"there is no {kind}"
    return UserError(rule, came=f"'{name}' is none", remedy=remedy)


def without_secrets(text: str) -> str:
    """Return a text without what URLs in it keep secret: names and passwords before the host, and what follows a `?`.

    >>> without_secrets("ftp://me:p@ss@host/x and https://host/y?sig=abc")
    'ftp://host/x and https://host/y?…'
    """
    return re.sub(r"(\w://[^\s?]*)\?\S*", r"\1?…", re.sub(r"//[^/\s]*@", "//", text))
