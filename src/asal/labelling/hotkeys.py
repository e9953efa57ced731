"""Which key chooses which class."""

from __future__ import annotations

from collections.abc import Sequence


def hotkeys(classes: Sequence[str], keys: str, *, mixed: bool = False) -> list[str]:
    """Return the key of each class, "" where no key is left.

    A class whose name is one of the keys gets that key; the others get the remaining keys in order.

    Args:
        keys: what may be used, the first choice first.
        mixed: names are keys even where other classes have longer names, and capitals count. Otherwise names are keys
            only where every name is one, in capitals or not.

    >>> hotkeys(["5", "A"], "123456a"), hotkeys(["cat", "5"], "123456a"), hotkeys(["cat", "1"], "123456a", mixed=True)
    (['5', 'a'], ['1', '2'], ['2', '1'])
    """
    names = list(classes) if mixed else [name.lower() for name in classes]
    own = {number: name for number, name in enumerate(names) if len(name) == 1 and name in keys}
    if len(set(own.values())) < len(own) or (not mixed and len(own) < len(names)):
        own = {}
    free = (key for key in keys if key not in own.values())
    return [own[number] if number in own else next(free, "") for number in range(len(names))]
