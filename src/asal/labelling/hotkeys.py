"""Which key chooses which class: on the labelling page, and in Label Studio."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Sequence

SYMBOLS = 0x2190  # from this code point on come arrows, pictures and scripts that no key types at one press
TYPED = frozenset("LNPS")  # general categories: letters, numbers, punctuation, symbols


def hotkeys(classes: Sequence[str], keys: str, *, typed: bool = False) -> list[str]:
    """Return the key of each class, "" where no key is left.

    A class whose name is one character keeps that character as its key, in capitals or not. The others get the
    remaining keys in order. No class gets a key that is another class's name, whatever its case, its script's digits or
    its width: whoever presses it means the other class. Where two names differ by case alone, their letter is nobody's
    key, because Caps Lock would exchange them.

    Args:
        keys: what may be used, the first choice first: digits and small letters.
        typed: every character that a keyboard types at one press is the key of the class of this name, also where it is
            not among `keys`.

    >>> hotkeys(["5", "A"], "123456a"), hotkeys(["cat", "1"], "123456a"), hotkeys(["1", "3", "10"], "123456a")
    (['5', 'a'], ['2', '1'], ['1', '3', '2'])
    >>> hotkeys(["A", "a", "é", "+"], "123456a"), hotkeys(["A", "a", "é", "+"], "123456a", typed=True)
    (['1', '2', '3', '4'], ['1', '2', 'é', '+'])
    """
    names = [unicodedata.normalize("NFC", name.strip()) for name in classes]
    own = _unlike([_typed(name, keys, typed) for name in names], names)
    claimed = {*own, *(name.casefold() for name in names)}
    wide = _unlike(["" if key else _reading(name, keys) for name, key in zip(names, own, strict=True)], names)
    own = [key or (other if other not in claimed else "") for key, other in zip(own, wide, strict=True)]
    taken = {*own, *(reading for name in names for reading in _readings(name))}
    free = (key for key in keys if key not in taken)
    return [key or next(free, "") for key in own]


def _unlike(own: Sequence[str], names: Sequence[str]) -> list[str]:
    """Return the keys without those that two classes would have, and those of names that differ by case alone."""
    keys, alike = Counter(own), Counter(name.casefold() for name in names)
    return [key if keys[key] == 1 == alike[name.casefold()] else "" for key, name in zip(own, names, strict=True)]


def _typed(name: str, keys: str, typed: bool) -> str:
    """Return the key on which a name of one character stands, "" where there is none."""
    if len(name) != 1:
        return ""
    key = name.lower() if len(name.lower()) == 1 else name
    known = typed and ord(key) < SYMBOLS and unicodedata.category(key)[0] in TYPED
    return key if key in keys or known else ""


def _reading(name: str, keys: str) -> str:
    """Return the key for which a character stands that no key types, such as ① or a wide 1."""
    reading = unicodedata.normalize("NFKC", name).casefold()
    return reading if len(name) == len(reading) == 1 and ord(name) >= SYMBOLS and reading in keys else ""


def _readings(name: str) -> set[str]:
    """Return the characters that people may press for a name of one character."""
    if len(name) != 1:
        return set()
    plain = unicodedata.normalize("NFKC", name)
    value = unicodedata.digit(plain, None) if len(plain) == 1 else None
    return {name.casefold(), plain.casefold(), "" if value is None else str(value)}
